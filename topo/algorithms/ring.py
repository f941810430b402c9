"""Rings: one or both directions, and the pieces that other families build on.

Source: Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations" (2009).
Ring times on dedicated links of bandwidth B and latency a among N ranks: reduce-scatter or all-gather
(N-1)(a + S/(N B)); all-reduce twice that; half the bandwidth term with both directions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from topo.algorithms.registry import Site, algorithm
from topo.collective import Collective, cut
from topo.fabric import IntArray
from topo.schedule import Schedule, ScheduleBuilder, Table, one_each

REDUCING = ("all-reduce", "reduce-scatter")
GATHERING = ("all-reduce", "all-gather")
RING_OPERATIONS = ("all-reduce", "all-gather", "reduce-scatter")

ShareChunks = Callable[[IntArray], Table]
"""From one share number per member to the chunks of that share."""


@dataclass(frozen=True, eq=False)
class Rings:
    """Disjoint directed rings of equal length.

    Parameters
    ----------
    rank : int array [members]
        Ranks that take part.
    next : int array [members]
        The rank after each.
    place : int array [members]
        Position of each in its ring, 0 .. length - 1, rising along the ring.
    length : int
    """

    rank: IntArray
    next: IntArray
    place: IntArray
    length: int

    def reduce_scatter(
        self, builder: ScheduleBuilder, bytes: float, chunks: ShareChunks, after: Sequence[int] = ()
    ) -> int:
        """Each member ends with the share numbered as its place, reduced over its ring."""
        return builder.add(
            self.rank,
            self.next,
            bytes,
            lambda repeat: chunks((self.place - 1 - repeat) % self.length),
            repeat=self.length - 1,
            reduce=True,
            after=after,
        )

    def all_gather(
        self, builder: ScheduleBuilder, bytes: float, chunks: ShareChunks, after: Sequence[int] = ()
    ) -> int:
        """Each member starts with the share numbered as its place and ends with all shares of its ring."""
        return builder.add(
            self.rank,
            self.next,
            bytes,
            lambda repeat: chunks((self.place - repeat) % self.length),
            repeat=self.length - 1,
            after=after,
        )


def ring_order(site: Site) -> IntArray:
    """Ranks of the group in the order of a ring.

    On a grid a boustrophedon, so that neighbours in the ring are neighbours in the fabric; elsewhere rank order,
    which keeps scale-up domains together.
    """
    grid = site.grid
    if grid is None:
        return np.arange(len(site.ranks))
    place = grid.coordinates(np.arange(grid.size))
    turned = place.copy()
    for d in range(1, len(grid.shape)):
        # Every other line of the walk so far runs backwards.
        backwards = place[:, :d].sum(axis=1) % 2 == 1 if d == 1 else _walk(place, grid.shape, d) % 2 == 1
        turned[backwards, d] = grid.shape[d] - 1 - place[backwards, d]
    return np.lexsort(tuple(turned[:, d] for d in reversed(range(len(grid.shape)))))


def _walk(place: IntArray, shape: tuple[int, ...], depth: int) -> IntArray:
    """Number, in walking order, of the line that each node's first ``depth`` coordinates name."""
    number = place[:, 0].copy()
    for d in range(1, depth):
        along = np.where(number % 2 == 1, shape[d] - 1 - place[:, d], place[:, d])
        number = number * shape[d] + along
    return number


def one_ring(order: IntArray) -> Rings:
    """A ring through ranks in the given order; each rank's place is its position."""
    return Rings(order, np.roll(order, -1), np.arange(len(order)), len(order))


def _ring_schedule(collective: Collective, site: Site, name: str, directions: int) -> Schedule:
    order = ring_order(site)
    builder = ScheduleBuilder(collective, name, partial(cut, collective, directions))
    share = collective.bytes / (len(order) * directions)
    for direction in range(directions):
        walk = order if direction == 0 else order[::-1]

        def chunks(shares: IntArray, walk: IntArray = walk, direction: int = direction) -> Table:
            return one_each(walk[shares] * directions + direction)

        rings = one_ring(walk)
        before: tuple[int, ...] = ()
        if collective.operation in REDUCING:
            before = (rings.reduce_scatter(builder, share, chunks),)
        if collective.operation in GATHERING:
            rings.all_gather(builder, share, chunks, before)
    return builder.build()


@algorithm("ring", RING_OPERATIONS)
def ring(collective: Collective, site: Site, chunks: int) -> Schedule:
    """One ring, one direction: (N-1)(a + S/(N B)) each for reduce-scatter and all-gather."""
    return _ring_schedule(collective, site, "ring", 1)


@algorithm("bidirectional-ring", RING_OPERATIONS)
def bidirectional_ring(collective: Collective, site: Site, chunks: int) -> Schedule:
    """Half the data each way round the ring: 2(N-1)(a + S/(2 N B)) for all-reduce."""
    return _ring_schedule(collective, site, "bidirectional-ring", 2)
