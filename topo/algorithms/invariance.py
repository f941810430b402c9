"""Schedules that look the same from every rank: the group of shifts behind them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from topo.algorithms.registry import Site
from topo.fabric import Grid, IntArray
from topo.schedule import ScheduleBuilder, Table
from topo.translation import shifted

PairChunks = Callable[[IntArray, IntArray], Table]
"""From sending and receiving ranks, one each per transfer, to the chunks that each transfer carries."""


def members_by_domain(site: Site) -> IntArray | None:
    """Ranks as a matrix [domains, members], or None when the domains are of unequal size or fewer than two."""
    domains, counts = np.unique(site.domain, return_counts=True)
    if len(domains) < 2 or len(set(counts.tolist())) != 1 or counts[0] < 2:
        return None
    return np.argsort(site.domain, kind="stable").reshape(len(domains), -1)


def shift_grid(site: Site) -> Grid:
    """The coordinates by which ranks are shifted.

    Those of a grid; of (unit, domain in it, place in that), where a unit is the domains that share a leaf switch;
    or the rank alone.
    """
    if site.grid is not None:
        return site.grid
    members = members_by_domain(site)
    ranks = np.arange(len(site.ranks))
    if members is None or (members.ravel() != ranks).any():
        return Grid((len(ranks),), (True,))
    domains, width = members.shape
    unit = _unit(site, members)
    if 1 < unit < domains and domains % unit == 0:
        return Grid((domains // unit, unit, width), (True, True, True))
    return Grid((domains, width), (True, True))


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
