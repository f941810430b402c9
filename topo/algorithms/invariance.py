"""Schedules that look the same from every rank: the group of shifts behind them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from topo.algorithms.domain_grids import domain_grid, members_by_domain
from topo.algorithms.registry import Site
from topo.fabric import Grid, IntArray
from topo.schedule import ScheduleBuilder, Table
from topo.translation import shifted

PairChunks = Callable[[IntArray, IntArray], Table]
"""From sending and receiving ranks, one each per transfer, to the chunks that each transfer carries."""


def shift_grid(site: Site) -> Grid:
    """The coordinates by which ranks are shifted.

    Those of a grid; of (unit, domain in it, place in that), where a unit is the domains that share a leaf switch and
    the place is one in a torus, if the domains are tori; or the rank alone.
    """
    if site.grid is not None:
        return site.grid
    members = members_by_domain(site)
    ranks = np.arange(len(site.ranks))
    if members is None or (members.ravel() != ranks).any():
        return Grid((len(ranks),), (True,))
    domains, width = members.shape
    inside = domain_grid(site)
    shape = inside.shape if inside is not None and all(inside.wrap) else (width,)
    unit = _unit(site, members)
    units = (domains // unit, unit) if 1 < unit < domains and domains % unit == 0 else (domains,)
    shape = (*units, *shape)
    return Grid(shape, (True,) * len(shape))


def _unit(site: Site, members: IntArray) -> int:
    """How many domains share a scale-out switch with the first."""
    fabric = site.fabric
    first = fabric.accelerators[site.ranks[members[0, 0]]]
    leaves = fabric.target[(fabric.source == first) & fabric.scale_out]
    if not len(leaves):
        return len(members)
    under = fabric.rank_of_node[fabric.source[np.isin(fabric.target, leaves)]]
    return len(np.unique(fabric.domain[under[under >= 0]]))


def add_by_shift(
    builder: ScheduleBuilder,
    grid: Grid,
    shifts: IntArray,
    blocks: float,
    chunks: PairChunks,
    after: tuple[int, ...] = (),
    reduce: bool = False,
) -> int:
    """A batch in which every rank sends one transfer by each shift.

    Parameters
    ----------
    shifts : int array [transfers, dimensions]
    blocks : float
        Bytes of every transfer; where the collective has blocks of unequal size (all-to-all-v), transfers get the
        bytes of the chunks that they carry instead.
    """
    collective = builder.collective

    def ends() -> tuple[IntArray, IntArray]:
        source = np.tile(np.arange(grid.size), len(shifts))
        return source, shifted(grid, source, np.repeat(shifts, grid.size, axis=0))

    if collective.matrix is None:
        return builder.add_shifts(
            grid, shifts, blocks, lambda repeat: chunks(*ends()), after=after, reduce=reduce
        )
    source, target = ends()
    pointer, ids = chunks(source, target)
    sizes = np.add.reduceat(collective.blocks().ravel()[ids], pointer[:-1])
    moved = np.flatnonzero(sizes > 0)
    table = chunks(source[moved], target[moved])
    return builder.add(source[moved], target[moved], sizes[moved], table, after=after, reduce=reduce)


def all_shifts(grid: Grid) -> IntArray:
    """Every shift but the one that stays [size - 1, dimensions]."""
    return grid.coordinates(np.arange(1, grid.size))
