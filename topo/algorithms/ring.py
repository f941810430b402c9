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

from topo.algorithms.homes import Link, star
from topo.algorithms.homes import ring as ring_link
from topo.algorithms.parameters import whole
from topo.algorithms.registry import Site, algorithm
from topo.algorithms.ring_search import ring_over_links
from topo.collective import Collective, cut
from topo.fabric import Grid, IntArray
from topo.schedule import Pieces, Schedule, ScheduleBuilder, Table, one_each

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
    grid, shift : Grid and int array [dimensions], optional
        When every rank of the group takes part, in rank order, and the next rank is the same shift away from
        each.
    """

    rank: IntArray
    next: IntArray
    place: IntArray
    length: int
    grid: Grid | None = None
    shift: IntArray | None = None

    def _add(
        self, builder: ScheduleBuilder, bytes: float, pieces: Pieces, after: Sequence[int], reduce: bool
    ) -> int:
        repeat = self.length - 1
        if self.grid is not None and self.shift is not None:
            return builder.add_shifts(
                self.grid, self.shift[None], bytes, pieces, repeat=repeat, reduce=reduce, after=after
            )
        return builder.add(self.rank, self.next, bytes, pieces, repeat=repeat, reduce=reduce, after=after)

    def reduce_scatter(
        self, builder: ScheduleBuilder, bytes: float, chunks: ShareChunks, after: Sequence[int] = ()
    ) -> int:
        """Each member ends with the share numbered as its place, reduced over its ring."""

        def pieces(repeat: int) -> Table:
            return chunks((self.place - 1 - repeat) % self.length)

        return self._add(builder, bytes, pieces, after, reduce=True)

    def all_gather(
        self, builder: ScheduleBuilder, bytes: float, chunks: ShareChunks, after: Sequence[int] = ()
    ) -> int:
        """Each member starts with the share numbered as its place and ends with all shares of its ring."""

        def pieces(repeat: int) -> Table:
            return chunks((self.place - repeat) % self.length)

        return self._add(builder, bytes, pieces, after, reduce=False)


def folded_places(length: int) -> IntArray:
    """Place of each node of a line in the ring 0, 2, 4 ... 5, 3, 1, whose steps are two links at most."""
    node = np.arange(length)
    return np.where(node % 2 == 0, node // 2, length - (node + 1) // 2)


def ring_order(site: Site) -> IntArray:
    """Ranks of the group in the order of a ring.

    On a grid a walk over neighbours: boustrophedon where dimension 0 wraps; on a plain mesh a walk that closes if
    there is one, and on a line the line folded.  Among accelerators with direct links of another kind a ring over
    those links, where one is found.  Elsewhere rank order, which keeps scale-up domains together.
    """
    grid = site.grid
    if grid is None:
        found = ring_over_links(site.fabric, site.ranks)
        return walk_order(site) if found is None else found
    if not any(grid.wrap) and not grid.twisted:
        closed = _closed_walk(grid)
        if closed is not None:
            return closed
    return walk_order(site)


def walk_order(site: Site) -> IntArray:
    """Ranks of the group in the order of a walk over neighbours, boustrophedon on a grid; it need not close."""
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


def _closed_walk(grid: Grid) -> IntArray | None:
    """A ring through a line (folded) or a plane of even size without wraps; None for others."""
    sides = [grid.shape[d] for d in grid.dimensions]
    if len(sides) == 1:
        return np.argsort(folded_places(sides[0]))
    if len(sides) != 2 or (sides[0] % 2 and sides[1] % 2):
        return None
    number = np.arange(grid.size).reshape(sides)
    if sides[0] % 2:
        number = number.T
    # Down the first column's neighbours to and fro, and home along the first column.
    rows = [row[1:] if i % 2 == 0 else row[:0:-1] for i, row in enumerate(number)]
    return np.concatenate([*rows, number[::-1, 0]])


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


def rings_through(
    collective: Collective, orders: Sequence[IntArray], name: str, detail: str = ""
) -> Schedule:
    """Rings through all ranks in the given orders at once, each with its share of the data.

    Parameters
    ----------
    collective : Collective
        One of :data:`RING_OPERATIONS`.
    orders : sequence of int array [ranks]
        Ranks of the group in the order of each ring.
    name, detail : str
        Of the Schedule; ``detail`` is the number of rings by default.
    """
    parts = len(orders)
    builder = ScheduleBuilder(collective, name, partial(cut, collective, parts), detail or f"{parts} rings")
    share = collective.bytes / (collective.ranks * parts)
    for part, order in enumerate(orders):
        rings, chunks = one_ring(order), partial(_chunks, order, parts, part)
        before: tuple[int, ...] = ()
        if collective.operation in REDUCING:
            before = (rings.reduce_scatter(builder, share, chunks),)
        if collective.operation in GATHERING:
            rings.all_gather(builder, share, chunks, before)
    return builder.build()


def _chunks(order: IntArray, parts: int, part: int, shares: IntArray) -> Table:
    return one_each(order[shares] * parts + part)


def group_ring(site: Site, direction: int = 1) -> Rings:
    """A ring through all ranks of a group, one way or the other; the first rank's place is 0."""
    walk = ring_order(site)
    length = len(walk)
    position = np.arange(length)
    onward = walk[(position + direction) % length]
    place = position * direction % length
    if (walk == position).all():
        return Rings(walk, onward, place, length, Grid((length,), (True,)), np.asarray([direction]))
    return Rings(walk, onward, place, length)


def _ring_schedule(collective: Collective, site: Site, name: str, directions: Sequence[int]) -> Schedule:
    parts = len(directions)
    builder = ScheduleBuilder(collective, name, partial(cut, collective, parts))
    share = collective.bytes / (collective.ranks * parts)
    for part, direction in enumerate(directions):
        rings = group_ring(site, direction)

        def chunks(
            shares: IntArray, rings: Rings = rings, part: int = part, direction: int = direction
        ) -> Table:
            return one_each(rings.rank[shares * direction % rings.length] * parts + part)

        before: tuple[int, ...] = ()
        if collective.operation in REDUCING:
            before = (rings.reduce_scatter(builder, share, chunks),)
        if collective.operation in GATHERING:
            rings.all_gather(builder, share, chunks, before)
    return builder.build()


def _one_way(collective: Collective, link: Link) -> float:
    n = collective.ranks
    once = (n - 1) * link.time(collective.bytes / n)
    return 2 * once if collective.operation == "all-reduce" else once


def _ring_time(collective: Collective, site: Site, chunks: int, *, channels: int) -> float | None:
    """On a ring or a star: (N-1)(a + S/(N B)), twice for all-reduce; channels share the links."""
    link = ring_link(site) or star(site)
    return None if link is None else _one_way(collective, link)


def _two_way_time(collective: Collective, site: Site, chunks: int) -> float | None:
    """On a ring half the bandwidth term of one way; on a star, whose port carries both ways, no gain."""
    link, port = ring_link(site), star(site)
    if link is not None:
        return _one_way(collective, Link(link.latency, 2 * link.bandwidth))
    return None if port is None else _one_way(collective, port)


@algorithm("ring", RING_OPERATIONS, parameters=(whole("channels", 1),), closed_form=_ring_time)
def ring(collective: Collective, site: Site, chunks: int, *, channels: int) -> Schedule:
    """One ring, one direction: (N-1)(a + S/(N B)) each for reduce-scatter and all-gather."""
    return _ring_schedule(collective, site, "ring", (1,) * channels)


@algorithm("bidirectional-ring", RING_OPERATIONS, closed_form=_two_way_time)
def bidirectional_ring(collective: Collective, site: Site, chunks: int) -> Schedule:
    """Half the data each way round the ring: 2(N-1)(a + S/(2 N B)) for all-reduce."""
    return _ring_schedule(collective, site, "bidirectional-ring", (1, -1))
