"""Hierarchical collectives of domains that are grids: dimension by dimension inside, over the rails between them.

Among n domains, each a grid of sides m1 x m2 ..: a reduce-scatter ring along one dimension after another leaves
every accelerator with S/(m1 m2 ..), which its rail of n equals reduces; all-gathers lead back.  The data is cut so
that every dimension, and on tori each direction too, is first for an equal part.  Slices of a torus on a data-centre
network thus use all their links, where a ring through each slice uses one in 2 D.  With across=sharp the rails are
streams through switches that add and copy, as wafers under a broadcast-reduce tree: S over the bandwidth of all
network interfaces of a domain is then the least that any algorithm needs, and what this one tends to in chunks.
Sources: Jain and Sabharwal, "Optimal bucket algorithms for large MPI collectives on torus interconnects" (2010), for
the inside; Cho et al., "BlueConnect" (2019), for the levels; Cerebras, glossary entry SwarmX, for the tree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np

from topo.algorithms.domain_grids import domain_grid, members_by_domain
from topo.algorithms.groups import Groups, doubling_kind
from topo.algorithms.nvls import joined_by_switch
from topo.algorithms.parameters import choice
from topo.algorithms.registry import Site, algorithm
from topo.algorithms.ring import GATHERING, REDUCING, RING_OPERATIONS, Rings
from topo.collective import Collective, cut
from topo.errors import AlgorithmError
from topo.fabric import Grid, IntArray
from topo.schedule import Schedule, ScheduleBuilder, Table, rows_of

ACROSS = ("ring", "halving", "bruck", "tree", "sharp")
ONLY_ALL_REDUCE = ("tree", "sharp")


@dataclass(frozen=True, eq=False)
class _Domains:
    """Domains of one shape, and how the data is cut.

    Parameters
    ----------
    members : int array [domains, cells]
    grid : Grid
        Of one domain.
    ways : tuple of (order of dimensions, direction)
        One for each part of the data.
    halves : int
        Chunks of one part of one rank's share.
    """

    members: IntArray
    grid: Grid
    ways: tuple[tuple[tuple[int, ...], int], ...]
    halves: int

    @property
    def at(self) -> IntArray:
        """Coordinates of the cells [cells, dimensions]."""
        return self.grid.coordinates(np.arange(self.grid.size))

    @property
    def whole(self) -> Grid | None:
        """Coordinates (domain, cell ..) by which all ranks look alike; None where cells do not, or ranks are mixed."""
        natural = (self.members.ravel() == np.arange(self.members.size)).all()
        if not natural or not all(self.grid.wrap):
            return None
        shape = (len(self.members), *self.grid.shape)
        return Grid(shape, (True,) * len(shape))

    def chunks(self, domain: IntArray, cell: IntArray, part: int) -> IntArray:
        """Chunks of a part that end in cells of domains [.., halves]."""
        first = (self.members[domain, cell] * len(self.ways) + part) * self.halves
        return first[..., None] + np.arange(self.halves)

    def lines(self, part: int, depth: int) -> Rings:
        """Rings along the dimension that comes ``depth``-th in a part's order, in all domains at once."""
        order, direction = self.ways[part]
        d = order[depth]
        length = self.grid.shape[d]
        at, onward = self.at, self.at
        onward[:, d] = (at[:, d] + direction) % length
        next_cell = self.grid.numbers(onward)
        count = len(self.members)
        grid = self.whole
        shift = np.zeros(1 + len(self.grid.shape), dtype=np.int64)
        shift[1 + d] = direction
        place = np.tile(at[:, d] * direction % length, count)
        return Rings(
            self.members.ravel(),
            self.members[:, next_cell].ravel(),
            place,
            length,
            grid,
            shift if grid else None,
        )

    def shares(self, part: int, depth: int, share: IntArray) -> Table:
        """Chunks of shares of lines, one share for each rank: what ends where that dimension has the share's place.

        The dimensions before it are those of the rank itself, the later ones and the domain are free.
        """
        order, direction = self.ways[part]
        sides = self.grid.shape
        fixed, free = order[: depth + 1], order[depth + 1 :]
        at = np.tile(self.at, (len(self.members), 1))
        goal = at.copy()
        goal[:, order[depth]] = share * direction % sides[order[depth]]
        loose = np.indices([sides[d] for d in free]).reshape(len(free), prod(sides[d] for d in free)).T
        cell = np.zeros((len(at), len(loose)), dtype=np.int64)
        for d in range(len(sides)):
            stride = prod(sides[d + 1 :])
            cell += stride * (goal[:, d, None] if d in fixed else loose[None, :, free.index(d)])
        domain = np.arange(len(self.members))
        found = self.chunks(domain[None, None, :], cell[:, :, None], part)
        return rows_of(found.reshape(len(at), -1))


def on_grids(collective: Collective, site: Site) -> str:
    """It needs at least two scale-up domains, each the same grid of two or more dimensions."""
    if members_by_domain(site) is None:
        return "it needs at least two scale-up domains of equal size"
    if domain_grid(site) is None:
        return "its scale-up domains must be grids of two or more dimensions"
    return ""


def _forms(collective: Collective, site: Site) -> list[str]:
    members = members_by_domain(site)
    if members is None:
        return []
    across = [doubling_kind(len(members))]
    if collective.operation == "all-reduce":
        across.append("tree")
        if not joined_by_switch(site, members[:, 0], True, True, one_pass=True):
            across.append("sharp")
    return [f"hierarchical-bucket:across={a}" for a in across]


@algorithm(
    "hierarchical-bucket",
    RING_OPERATIONS,
    fits=on_grids,
    pipelines=True,
    parameters=(choice("across", ACROSS),),
    variants=_forms,
)
def hierarchical_bucket(collective: Collective, site: Site, chunks: int, *, across: str) -> Schedule:
    """Dimension by dimension inside scale-up domains that are grids, over the rails between them, inside again."""
    members, grid = members_by_domain(site), domain_grid(site)
    assert members is not None and grid is not None, "fits() was asked before"
    operation = collective.operation
    if across in ONLY_ALL_REDUCE and operation != "all-reduce":
        raise AlgorithmError(
            f"hierarchical-bucket:across={across} does not do {operation}", "take across=ring"
        )
    domains = _Domains(members, grid, _ways(grid), 2 if across == "tree" else 1)
    parts = len(domains.ways)
    detail = f"{len(members)} x {'x'.join(map(str, grid.shape))}" + (
        f", {across}" if across != "ring" else ""
    )
    cutting = partial(cut, collective, parts * domains.halves)
    builder = ScheduleBuilder(collective, "hierarchical-bucket", cutting, detail)
    for part, (order, _) in enumerate(domains.ways):
        sizes = [
            collective.bytes / parts / prod(grid.shape[d] for d in order[: i + 1]) for i in range(len(order))
        ]
        before: tuple[int, ...] = ()
        if operation in REDUCING:
            for depth, size in enumerate(sizes):
                pieces = partial(domains.shares, part, depth)
                before = (domains.lines(part, depth).reduce_scatter(builder, size, pieces, before),)
        before = _between(domains, builder, part, across, sizes[-1] / len(members), before)
        if operation in GATHERING:
            for depth in reversed(range(len(order))):
                pieces = partial(domains.shares, part, depth)
                before = (domains.lines(part, depth).all_gather(builder, sizes[depth], pieces, before),)
    return builder.build().pipelined(chunks)


def _ways(grid: Grid) -> tuple[tuple[tuple[int, ...], int], ...]:
    """Every dimension once first; both ways round where the grid closes, for a ring on a line uses both anyway."""
    long = [d for d, side in enumerate(grid.shape) if side > 1]
    orders = [tuple(long[i:] + long[:i]) for i in range(len(long))]
    closed = any(grid.wrap[d] and grid.shape[d] > 2 for d in long)
    return tuple((order, direction) for direction in ((1, -1) if closed else (1,)) for order in orders)


def _between(
    domains: _Domains,
    builder: ScheduleBuilder,
    part: int,
    across: str,
    share: float,
    after: Sequence[int],
) -> tuple[int, ...]:
    """The phase over the rails: equals of all domains."""
    operation = builder.collective.operation

    def pieces(rail: IntArray, place: IntArray) -> IntArray:
        return domains.chunks(place, rail, part)

    onward = np.eye(1, 1 + len(domains.grid.shape), dtype=np.int64)[0]
    shifts = None if domains.whole is None else (domains.whole, onward)
    rails = Groups(domains.members, 0, pieces, shifts)
    if operation == "all-reduce":
        return rails.reduce_all(across, builder, share, after)
    if operation == "reduce-scatter":
        return rails.scatter(across, builder, share, after)
    return rails.gather(across, builder, share, after)
