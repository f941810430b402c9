"""The loop of a sweep: compute what is not recorded yet, record it, say how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from topo.sweep.evaluate import OK, Call, Outcome
from topo.sweep.point import Point
from topo.sweep.record import record_of
from topo.sweep.store import Store


class Executor(Protocol):
    """What computes points, here or elsewhere, and gives their outcomes as they come."""

    def run(self, call: Call, points: Iterator[Point]) -> Iterator[tuple[Point, Outcome]]:
        """Take points one by one, a few ahead; leave nothing behind when the caller stops."""
        ...


@dataclass(frozen=True)
class Summary:
    """What a sweep did.

    Parameters
    ----------
    points : int
        Different points asked for.
    computed, kept : int
        Computed now; recorded before.
    failed : int
        Points, of all, whose record is an error.
    keys : tuple of str
        Their addresses, in the order of the sweep.
    """

    points: int
    computed: int
    kept: int
    failed: int
    keys: tuple[str, ...]


def sweep(
    points: Iterable[Point],
    store: Store,
    executor: Executor,
    call: Call,
    *,
    retry: bool = False,
    progress: Callable[[str], object] = lambda outcome: None,
) -> Summary:
    """Bring the records of a store up to date with a list of points.

    Parameters
    ----------
    points : iterable of Point
        Taken one by one; equal ones count once.
    store : Store
        Open.
    executor : Executor
    call : callable
        What runs a command; see :data:`topo.sweep.evaluate.Call`.
    retry : bool
        Compute again also what failed for its inputs.
    progress : callable
        Called with the outcome for every point that is recorded; with an empty text for one that was before.
    """
    keys: dict[str, None] = {}
    computed = 0

    def missing() -> Iterator[Point]:
        for point in points:
            if point.key in keys:
                continue
            keys[point.key] = None
            if store.done(point.key, retry):
                progress("")
            else:
                yield point

    for point, outcome in executor.run(call, missing()):
        store.add(record_of(point, outcome))
        computed += 1
        progress(outcome.outcome)
    failed = sum(store.outcomes[key] != OK for key in keys)
    return Summary(len(keys), computed, len(keys) - computed, failed, tuple(keys))
