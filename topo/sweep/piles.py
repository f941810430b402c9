"""Points ahead, in piles by system, so that what is worked out about a fabric serves all its points."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from topo.sweep.point import Point

AHEAD = 2000
"""Points looked at ahead of time."""
SYSTEM = "on"
"""The parameter that names a system."""


class Piles:
    """Points that wait, those of one system together.

    Parameters
    ----------
    points : iterator of Point
        Taken a few thousand ahead.
    """

    def __init__(self, points: Iterator[Point]) -> None:
        self._points = points
        self._piles: dict[str, deque[Point]] = {}
        self._waiting = 0

    def take(self, like: Point | None, others: list[Point] | None = None) -> Point | None:
        """The next point for a worker; None when there is none left.

        Parameters
        ----------
        like : Point, optional
            The worker's last one: another of its system comes next.
        others : list of Point, optional
            What others are at: their systems come only when nothing else is left.
        """
        while self._waiting < AHEAD and (point := next(self._points, None)) is not None:
            self._piles.setdefault(_pile(point), deque()).append(point)
            self._waiting += 1
        if not self._piles:
            return None
        self._waiting -= 1
        if like is not None and (own := _pile(like)) in self._piles:
            return self._from(own, last=False)
        at = {_pile(point) for point in others or ()}
        free = next((name for name in self._piles if name not in at), None)
        if free is not None:
            return self._from(free, last=False)
        return self._from(max(self._piles, key=lambda name: len(self._piles[name])), last=True)

    def _from(self, name: str, *, last: bool) -> Point:
        pile = self._piles[name]
        point = pile.pop() if last else pile.popleft()
        if not pile:
            del self._piles[name]
        return point


def piled(points: Iterator[Point]) -> Iterator[Point]:
    """The points, those of one system one after the other."""
    piles, last = Piles(points), None
    while (last := piles.take(last)) is not None:
        yield last


def _pile(point: Point) -> str:
    return f"{point.command} {point.inputs.get(SYSTEM)}"
