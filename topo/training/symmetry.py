"""Symmetries that a fabric and a placement share, and the orbits of links and groups under them.

A *move* turns the coordinate of one axis in equal blocks: within every run of ``span`` places, by ``by`` places.  It
is a symmetry when it extends to all nodes of the fabric and takes every link to a link of the same bandwidth and
latency; that is checked link by link, never assumed.  Moves keep the pipeline stage, so what one stage does alone
stays alone.

What is invariant under moves needs one group of each orbit only: with every row standing for its images, and each
link for its orbit, the rates are those of the whole.  (Max-min rates are unique, so a symmetry of all flows maps
equal rates to equal rates; see :mod:`topo.network.refine` for the folding of what is left.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from topo.fabric import Fabric, IntArray
from topo.training.placement import AXES, Placement, divisors
from topo.translation import Orbits, link_image, shifted

MOVED_AXES = ("tp", "cp", "dp")


@dataclass(frozen=True)
class Move:
    """Turn the coordinate of an axis by ``by`` places within every run of ``span`` places."""

    axis: str
    span: int
    by: int

    def of(self, size: int) -> IntArray:
        """Where each place of the axis goes [size]."""
        place = np.arange(size)
        within = place % self.span
        return place - within + (within + self.by) % self.span

    @property
    def order(self) -> int:
        """Times after which everything is back in place."""
        return self.span // int(np.gcd(self.span, self.by))


class Symmetry:
    """The moves of a placement that its fabric admits, and what is known about them.

    Parameters
    ----------
    placement : Placement
    """

    def __init__(self, placement: Placement) -> None:
        self.placement = placement
        self.fabric = placement.fabric
        self._ranks: dict[Move, IntArray] = {}
        self._links: dict[Move, IntArray | None] = {}
        self._orbits: dict[tuple[Move, ...], Orbits] = {}

    def ranks(self, move: Move) -> IntArray:
        """Where a move takes every rank of the fabric [ranks]."""
        if move not in self._ranks:
            self._ranks[move] = self._find_ranks(move)
        return self._ranks[move]

    def _find_ranks(self, move: Move) -> IntArray:
        rank = self.placement.rank
        axis = 3 - AXES.index(move.axis)
        image = np.empty(rank.size, dtype=np.int64)
        image[rank.ravel()] = np.take(rank, move.of(rank.shape[axis]), axis=axis).ravel()
        return image

    def links(self, move: Move) -> IntArray | None:
        """Where a move takes every link; None when it is no symmetry of the fabric."""
        if move not in self._links:
            self._links[move] = _link_image(self.fabric, self.ranks(move))
        return self._links[move]

    def moves(self, accept: Callable[[Move], bool]) -> tuple[Move, ...]:
        """Moves that the fabric admits and that are accepted, axis by axis, from long spans to short ones."""
        found: list[Move] = []
        for axis in MOVED_AXES:
            size = self.placement.degree(axis)
            spans = divisors(size)
            while len(spans) > 1:
                span = spans[-1]
                steps = (Move(axis, span, by) for by in spans[:-1])
                move = next((m for m in steps if accept(m) and self.links(m) is not None), None)
                if move is None:
                    spans.pop()
                else:
                    found.append(move)
                    spans = divisors(move.by)
        return tuple(found)

    def orbits(self, moves: Sequence[Move]) -> Orbits:
        """Links by orbit under the group that moves generate."""
        key = tuple(moves)
        if key not in self._orbits:
            images = [image for move in moves if (image := self.links(move)) is not None]
            label = np.arange(self.fabric.links)
            before = None
            # Once over commuting maps is enough; of switches that are twins, images need not commute.
            while before is None or (label != before).any():
                before = label
                for move, image in zip(moves, images, strict=True):
                    if (label != label[image]).any():
                        label = smallest(label, image, move.order)
            first, of_link, size = np.unique(label, return_inverse=True, return_counts=True)
            self._orbits[key] = Orbits(of_link, first, size)
        return self._orbits[key]


def smallest(label: IntArray, image: IntArray, order: int) -> IntArray:
    """The smallest label along each cycle of a map, up to 2 * order places along it."""
    step = image
    for _ in range(max(int(np.ceil(np.log2(order))), 1)):
        label = np.minimum(label, label[step])
        step = step[step]
    return label


def _link_image(fabric: Fabric, rank_image: IntArray) -> IntArray | None:
    """The map of links that follows from a map of ranks; None unless it is a symmetry of the fabric and its ways."""
    if fabric.grid is not None and fabric.routing == "dimension-order":
        # Ways by dimension follow translations, not every symmetry.
        origin = fabric.grid.coordinates(np.zeros(1, dtype=np.int64))
        shift = fabric.grid.coordinates(rank_image[:1]) - origin
        if not (shifted(fabric.grid, np.arange(fabric.ranks), shift) == rank_image).all():
            return None
    return link_image(fabric, rank_image)
