"""Bucket algorithms: rings along the dimensions of a grid, one dimension after another.

Source: Sack and Gropp, "Collective algorithms for multiported torus networks" (2015); Jain and Sabharwal,
"Optimal bucket algorithms for large MPI collectives on torus interconnects" (2010).  On a torus with link
bandwidth B: one direction, one dimension at a time 2 sum(k_i - 1) a + 2(N-1)/N S/B for all-reduce; both
directions half the bandwidth term; 2D concurrent instances on k^D reach 2 D (k-1) a + (N-1)/N S/(D B).

A dimension without wrap links is folded into a ring: 0, 2, 4 ... and back over 5, 3, 1, two links a step; every
link then carries one stream each way, which is all that the ends of a line allow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from topo.algorithms.bucket_split import Instance, split
from topo.algorithms.homes import torus
from topo.algorithms.parameters import choice
from topo.algorithms.registry import Site, algorithm
from topo.algorithms.ring import GATHERING, REDUCING, RING_OPERATIONS, Rings, folded_places
from topo.collective import EVERY_RANK, Chunks, Collective
from topo.fabric import FloatArray, Grid, IntArray
from topo.schedule import Schedule, ScheduleBuilder, Table, rows_of


def on_a_grid(collective: Collective, site: Site) -> str:
    """Bucket algorithms need the whole of a plain grid."""
    if site.fabric.grid is None:
        return "it needs a torus or mesh"
    if site.grid is None:
        return "it needs all ranks of the grid"
    if site.grid.twisted:
        return "rings along the dimensions of a twisted torus do not close; twisted-bucket does"
    return ""


@dataclass(frozen=True, eq=False)
class Bucket:
    """One run of the bucket algorithm over a part of the data.

    Parameters
    ----------
    grid : Grid
        The coordinates that the run goes by.
    rank : int array [nodes of the grid]
        The rank at each place of the grid.
    instance : Instance
        Order of dimensions, direction, share of the data.
    part, parts : int
        Chunk ``owner * parts + part`` is the owner's share of this part.
    shifts : (Grid, int array [dimensions of ``grid``, dimensions of that Grid]), optional
        When a step along each dimension is the same shift for every rank: the coordinates of ranks, and the shifts.
    """

    grid: Grid
    rank: IntArray
    instance: Instance
    part: int
    parts: int
    shifts: tuple[Grid, IntArray] | None = None

    def places(self, dimension: int) -> IntArray:
        """Place in its ring of each coordinate of a dimension."""
        length = self.grid.shape[dimension]
        place = np.arange(length) if self.grid.wrap[dimension] else folded_places(length)
        return place * self.instance.direction % length

    def at(self) -> IntArray:
        """Coordinates of each rank [ranks, dimensions]."""
        return self.grid.coordinates(np.argsort(self.rank))

    def rings(self, dimension: int) -> Rings:
        """The rings along a dimension, members in rank order."""
        length = self.grid.shape[dimension]
        onward = self.at()
        places = self.places(dimension)
        place = places[onward[:, dimension]]
        onward[:, dimension] = np.argsort(places)[(place + 1) % length]
        ring = Rings(np.arange(self.grid.size), self.rank[self.grid.numbers(onward)], place, length)
        if self.shifts is None or not self.grid.wrap[dimension]:
            return ring
        grid, shifts = self.shifts
        return replace(ring, grid=grid, shift=shifts[dimension] * self.instance.direction)

    def chunks(self, done: int, shares: IntArray) -> Table:
        """Chunks of one share per rank along the dimension that comes after ``done`` others.

        Along dimensions already reduced a rank works on its own coordinate only; along later ones on all.
        """
        order = self.instance.order
        free = list(order[done + 1 :])
        place = self.at()
        place[:, order[done]] = np.argsort(self.places(order[done]))[shares]
        rows = place[:, None, :]
        if free:
            ways = np.stack(np.meshgrid(*[np.arange(self.grid.shape[d]) for d in free], indexing="ij"), -1)
            ways = ways.reshape(-1, len(free))
            rows = np.repeat(rows, len(ways), axis=1)
            rows[:, :, free] = ways[None]
        owners = self.rank[self.grid.numbers(rows).reshape(self.grid.size, -1)]
        return rows_of(owners * self.parts + self.part)

    def _shares(self, total: float) -> list[float]:
        """Bytes that a rank sends in one step along each dimension, in order."""
        shares, left = [], total * self.instance.share
        for dimension in self.instance.order:
            left /= self.grid.shape[dimension]
            shares.append(left)
        return shares

    def scatter(self, builder: ScheduleBuilder, after: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Add the reduce-scatter; every rank ends with its own share."""
        for i, share in enumerate(self._shares(builder.collective.bytes)):
            rings = self.rings(self.instance.order[i])
            after = (rings.reduce_scatter(builder, share, partial(self.chunks, i), after),)
        return after

    def gather(self, builder: ScheduleBuilder, after: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Add the all-gather from every rank's own share."""
        for i, share in reversed(list(enumerate(self._shares(builder.collective.bytes)))):
            rings = self.rings(self.instance.order[i])
            after = (rings.all_gather(builder, share, partial(self.chunks, i), after),)
        return after

    def add(self, builder: ScheduleBuilder) -> None:
        """Add what the builder's collective asks for."""
        operation = builder.collective.operation
        before: tuple[int, ...] = ()
        if operation in REDUCING:
            before = self.scatter(builder)
        if operation in GATHERING:
            self.gather(builder, before)


def shared_out(collective: Collective, shares: FloatArray) -> Chunks:
    """One chunk per owner and part, ``owner * parts + part``, each part with its share of the data."""
    n, operation = collective.ranks, collective.operation
    owner = np.repeat(np.arange(n), len(shares))
    every = np.full(len(owner), EVERY_RANK)
    return Chunks(
        np.tile(collective.bytes / n * shares, n),
        owner if operation == "all-gather" else every,
        owner if operation == "reduce-scatter" else every,
    )


def dimension_speeds(site: Site, grid: Grid) -> FloatArray:
    """Bandwidth of the slowest link one way along each dimension [dimensions], bytes/s; 0 where there is none."""
    node = site.fabric.accelerators
    speed = np.zeros(len(grid.shape))
    for d in grid.dimensions:
        onward = grid.neighbours(np.arange(grid.size), d, 1)
        link = site.fabric.links_between(node, np.where(onward < 0, -1, node[onward]))
        if (link >= 0).any():
            speed[d] = site.fabric.bandwidth[link[link >= 0]].min()
    return speed


def fast_first(site: Site, grid: Grid) -> list[int]:
    """Dimensions by falling bandwidth: the most bytes move along the first."""
    speed = dimension_speeds(site, grid)
    return sorted(grid.dimensions, key=lambda d: -speed[d])


def _schedule(
    collective: Collective, name: str, grid: Grid, instances: Sequence[Instance], detail: str = ""
) -> Schedule:
    shares = np.asarray([instance.share for instance in instances])
    builder = ScheduleBuilder(collective, name, partial(shared_out, collective, shares), detail)
    for part, instance in enumerate(instances):
        shifts = (grid, np.eye(len(grid.shape), dtype=np.int64))
        Bucket(grid, np.arange(grid.size), instance, part, len(shares), shifts).add(builder)
    return builder.build()


def _grid(site: Site) -> Grid:
    grid = site.grid
    assert grid is not None, "fits() was asked before"
    return grid


def _one_way_time(collective: Collective, site: Site, chunks: int, parts: int = 1) -> float | None:
    """On a torus: sum over dimensions of (k-1)(a + share/B), twice for all-reduce; ``parts`` ways at once."""
    links, grid = torus(site), site.grid
    if links is None or grid is None or any(k == 2 for k in grid.shape):
        return None
    speed = dict(zip(grid.dimensions, links, strict=True))
    total, share = 0.0, collective.bytes / parts
    for d in fast_first(site, grid):
        share /= grid.shape[d]
        total += (grid.shape[d] - 1) * speed[d].time(share)
    return 2 * total if collective.operation == "all-reduce" else total


@algorithm("bucket", RING_OPERATIONS, fits=on_a_grid, closed_form=_one_way_time)
def bucket(collective: Collective, site: Site, chunks: int) -> Schedule:
    """Rings along one dimension after another, one direction, fastest dimension first."""
    grid = _grid(site)
    return _schedule(collective, "bucket", grid, [Instance(tuple(fast_first(site, grid)), 1, 1.0)])


def _two_way_time(collective: Collective, site: Site, chunks: int) -> float | None:
    """On a torus: half the bandwidth term of one way."""
    return _one_way_time(collective, site, chunks, 2)


@algorithm("bidirectional-bucket", RING_OPERATIONS, fits=on_a_grid, closed_form=_two_way_time)
def bidirectional_bucket(collective: Collective, site: Site, chunks: int) -> Schedule:
    """Bucket with half the data each way round every ring."""
    grid = _grid(site)
    order = tuple(fast_first(site, grid))
    both = [Instance(order, 1, 0.5), Instance(order, -1, 0.5)]
    return _schedule(collective, "bidirectional-bucket", grid, both)


def _concurrent_time(collective: Collective, site: Site, chunks: int, *, shares: str) -> float | None:
    """On k^D with equal links: D (k-1) a + (N-1)/N S/(2 D B), twice for all-reduce."""
    links, grid = torus(site), site.grid
    if links is None or grid is None or chunks > 1 or len(set(links)) != 1:
        return None
    lengths = {grid.shape[d] for d in grid.dimensions}
    if len(lengths) != 1 or lengths == {2}:
        return None
    n, d = grid.size, len(grid.dimensions)
    serial = (n - 1) / n * collective.bytes / (2 * d * links[0].bandwidth)
    once = d * (lengths.pop() - 1) * links[0].latency + serial
    return 2 * once if collective.operation == "all-reduce" else once


@algorithm(
    "concurrent-bucket",
    RING_OPERATIONS,
    fits=on_a_grid,
    pipelines=True,
    parameters=(choice("shares", ("best", "equal", "optimal")),),
    closed_form=_concurrent_time,
)
def concurrent_bucket(collective: Collective, site: Site, chunks: int, *, shares: str) -> Schedule:
    """Buckets at once in several orders of dimensions, data split so that every link works all the time."""
    grid = _grid(site)
    optimal = shares == "optimal" or (shares == "best" and chunks > 1)
    instances, detail = split(grid, dimension_speeds(site, grid), optimal=optimal)
    return _schedule(collective, "concurrent-bucket", grid, instances, detail).pipelined(chunks)
