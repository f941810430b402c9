"""Bucket algorithms: rings along the dimensions of a grid, one dimension after another.

Source: Sack and Gropp, "Collective algorithms for multiported torus networks" (2015); Jain and Sabharwal,
"Optimal bucket algorithms for large MPI collectives on torus interconnects" (2010).  On a torus with link
bandwidth B: one direction, one dimension at a time 2 sum(k_i - 1) a + 2(N-1)/N S/B for all-reduce; both
directions half the bandwidth term; 2D concurrent instances on k^D reach 2 D (k-1) a + (N-1)/N S/(D B).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from topo.algorithms.registry import Site, algorithm
from topo.algorithms.ring import GATHERING, REDUCING, RING_OPERATIONS, Rings
from topo.collective import Collective, cut
from topo.fabric import Grid, IntArray
from topo.schedule import Schedule, ScheduleBuilder, Table, rows_of


def on_a_grid(collective: Collective, site: Site) -> str:
    """Bucket algorithms need the whole of a plain grid."""
    if site.fabric.grid is None:
        return "it needs a torus or mesh"
    if site.grid is None:
        return "it needs all ranks of the grid"
    if site.grid.twisted:
        return "rings along the dimensions of a twisted torus do not close"
    return ""


class _Instance:
    """One run of the bucket algorithm over a part of the data, in one order of dimensions and directions."""

    def __init__(self, grid: Grid, order: Sequence[int], direction: int, part: int, parts: int) -> None:
        self.grid, self.order, self.direction = grid, list(order), direction
        self.part, self.parts = part, parts
        self.rank = np.arange(grid.size)
        self.place = grid.coordinates(self.rank)

    def rings(self, dimension: int) -> Rings:
        length = self.grid.shape[dimension]
        onward = self.place.copy()
        onward[:, dimension] = (onward[:, dimension] + self.direction) % length
        place = self.place[:, dimension] * self.direction % length
        shift = np.zeros(len(self.grid.shape), dtype=np.int64)
        shift[dimension] = self.direction
        return Rings(self.rank, self.grid.numbers(onward), place, length, self.grid, shift)

    def chunks(self, done: int, shares: IntArray) -> Table:
        """Chunks of one share per rank along dimension ``order[done]``.

        Along dimensions already reduced a rank works on its own coordinate only; along later ones on all.
        """
        free = self.order[done + 1 :]
        place = self.place.copy()
        dimension = self.order[done]
        place[:, dimension] = shares * self.direction % self.grid.shape[dimension]
        rows = place[:, None, :]
        if free:
            ways = np.stack(np.meshgrid(*[np.arange(self.grid.shape[d]) for d in free], indexing="ij"), -1)
            ways = ways.reshape(-1, len(free))
            rows = np.repeat(rows, len(ways), axis=1)
            rows[:, :, free] = ways[None]
        return rows_of(self.grid.numbers(rows).reshape(self.grid.size, -1) * self.parts + self.part)

    def add(self, builder: ScheduleBuilder, total: float) -> None:
        shares = [total / self.parts]
        for dimension in self.order:
            shares.append(shares[-1] / self.grid.shape[dimension])
        before: tuple[int, ...] = ()
        operation = builder.collective.operation
        if operation in REDUCING:
            for i, dimension in enumerate(self.order):
                chunks = partial(self.chunks, i)
                before = (self.rings(dimension).reduce_scatter(builder, shares[i + 1], chunks, before),)
        if operation in GATHERING:
            for i, dimension in reversed(list(enumerate(self.order))):
                chunks = partial(self.chunks, i)
                before = (self.rings(dimension).all_gather(builder, shares[i + 1], chunks, before),)


def _fast_first(site: Site, grid: Grid) -> list[int]:
    """Dimensions by falling bandwidth: the most bytes move along the first."""
    node = site.fabric.accelerators
    speed = []
    for d in grid.dimensions:
        onward = grid.neighbours(np.arange(grid.size), d, 1)
        link = site.fabric.links_between(node, np.where(onward < 0, -1, node[onward]))
        speed.append(float(site.fabric.bandwidth[link[link >= 0]].min()) if (link >= 0).any() else 0.0)
    return [d for _, d in sorted(zip(speed, grid.dimensions, strict=True), key=lambda pair: -pair[0])]


def _schedule(
    collective: Collective, name: str, grid: Grid, instances: Sequence[tuple[Sequence[int], int]]
) -> Schedule:
    builder = ScheduleBuilder(collective, name, partial(cut, collective, len(instances)))
    for part, (order, direction) in enumerate(instances):
        _Instance(grid, order, direction, part, len(instances)).add(builder, collective.bytes)
    return builder.build()


def _grid(site: Site) -> Grid:
    grid = site.grid
    assert grid is not None, "fits() was asked before"
    return grid


@algorithm("bucket", RING_OPERATIONS, fits=on_a_grid)
def bucket(collective: Collective, site: Site, chunks: int) -> Schedule:
    """Rings along one dimension after another, one direction, fastest dimension first."""
    grid = _grid(site)
    return _schedule(collective, "bucket", grid, [(_fast_first(site, grid), 1)])


@algorithm("bidirectional-bucket", RING_OPERATIONS, fits=on_a_grid)
def bidirectional_bucket(collective: Collective, site: Site, chunks: int) -> Schedule:
    """Bucket with half the data each way round every ring."""
    grid = _grid(site)
    order = _fast_first(site, grid)
    return _schedule(collective, "bidirectional-bucket", grid, [(order, 1), (order, -1)])


@algorithm("concurrent-bucket", RING_OPERATIONS, fits=on_a_grid)
def concurrent_bucket(collective: Collective, site: Site, chunks: int) -> Schedule:
    """2D buckets at once, one per starting dimension and direction, so that every link works all the time."""
    grid = _grid(site)
    order = list(grid.dimensions)
    rotations = [order[d:] + order[:d] for d in range(len(order))]
    instances = [(rotation, direction) for rotation in rotations for direction in (1, -1)]
    return _schedule(collective, "concurrent-bucket", grid, instances)
