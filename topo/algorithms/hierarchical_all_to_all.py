"""Hierarchical all-to-all: inside the scale-up domain first, then over the rails.

Every rank hands the blocks for place j of any domain to its own domain's rank at place j, which sends them over its
rail: messages between domains are G times larger and G times fewer.  Source: NVIDIA NCCL 2.12, PXN ("PCI x NVLink").
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from topo.algorithms.direct import cut_blocks
from topo.algorithms.invariance import add_by_shift
from topo.collective import Collective
from topo.fabric import Grid, IntArray
from topo.schedule import Schedule, ScheduleBuilder, Table, rows_of


def rail_all_to_all(collective: Collective, members: IntArray) -> Schedule:
    """Blocks go to the local rank on the goal's rail, then over that rail.

    Parameters
    ----------
    collective : Collective
    members : int array [domains, places]
        Ranks.
    """
    domains, width = members.shape
    n = collective.ranks
    builder = ScheduleBuilder(
        collective, "hierarchical", partial(cut_blocks, collective), f"{domains} x {width}"
    )
    share = collective.bytes / n
    domain = np.empty(n, dtype=np.int64)
    local = np.empty(n, dtype=np.int64)
    domain[members], local[members] = np.indices(members.shape)

    def through(source: IntArray, relay: IntArray) -> Table:
        return rows_of(source[:, None] * n + members[:, local[relay]].T)

    def gathered(source: IntArray, target: IntArray) -> Table:
        return rows_of(members[domain[source]] * n + target[:, None])

    inside = np.stack([np.zeros(width - 1, dtype=np.int64), np.arange(1, width)], axis=1)
    between = np.stack([np.arange(1, domains), np.zeros(domains - 1, dtype=np.int64)], axis=1)
    first = _add(builder, members, inside, share * domains, through)
    _add(builder, members, between, share * width, gathered, (first,))
    return builder.build()


def _add(
    builder: ScheduleBuilder,
    members: IntArray,
    shifts: IntArray,
    blocks: float,
    chunks: Callable[[IntArray, IntArray], Table],
    after: tuple[int, ...] = (),
) -> int:
    """Every rank sends by each shift in (domain, place)."""
    collective = builder.collective
    grid = Grid((members.shape[0], members.shape[1]), (True, True))
    rank = members.ravel()
    if (rank == np.arange(rank.size)).all():
        return add_by_shift(builder, grid, shifts, blocks, chunks, after)
    place = grid.coordinates(np.tile(np.arange(rank.size), len(shifts)))
    goal = (place + np.repeat(shifts, rank.size, axis=0)) % members.shape
    source, target = members[place[:, 0], place[:, 1]], members[goal[:, 0], goal[:, 1]]
    pointer, ids = chunks(source, target)
    sizes = np.add.reduceat(collective.blocks().ravel()[ids], pointer[:-1])
    return builder.add(source, target, sizes, chunks(source, target), after=after)
