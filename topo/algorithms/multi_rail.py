"""The flat multi-rail ring: one ring over all ranks per rail, as NCCL builds its channels.

Every ring visits all ranks of a scale-up domain and goes on to the next domain over its own rail, so that each of
the G rails carries 2 (nG - 1)/(nG) S/G of an all-reduce of S among n domains of G ranks: as little as the
hierarchical form, but in 2 (nG - 1) latency steps.  Rings walk even domains upwards from their rail and odd domains
back to it, as NCCL does on rail-optimised networks; with an odd number of domains the last hop changes rails.
Source: NVIDIA NCCL, src/graph/rings.cc and search.cc.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from topo.algorithms.hierarchical import has_levels
from topo.algorithms.invariance import members_by_domain
from topo.algorithms.registry import Site, algorithm
from topo.algorithms.ring import GATHERING, REDUCING, RING_OPERATIONS, Rings
from topo.collective import Collective, cut
from topo.fabric import IntArray
from topo.schedule import Schedule, ScheduleBuilder, Table, one_each


def rail_walk(members: IntArray, rail: int) -> IntArray:
    """Ranks in the order of one ring."""
    width = members.shape[1]
    upwards = (rail + np.arange(width)) % width
    return np.concatenate([row[upwards if i % 2 == 0 else upwards[::-1]] for i, row in enumerate(members)])


@algorithm("multi-rail-ring", RING_OPERATIONS, fits=has_levels, scales=False)
def multi_rail_ring(collective: Collective, site: Site, chunks: int) -> Schedule:
    """One flat ring per rail, each with its share of the data."""
    members = members_by_domain(site)
    assert members is not None, "fits() was asked before"
    n, rails = collective.ranks, members.shape[1]
    builder = ScheduleBuilder(
        collective, "multi-rail-ring", partial(cut, collective, rails), f"{rails} rings"
    )
    share = collective.bytes / (n * rails)
    place = np.arange(n)
    for rail in range(rails):
        walk = rail_walk(members, rail)
        rings = Rings(walk, np.roll(walk, -1), place, n)
        chunks_of = partial(_chunks, walk, rails, rail)
        before: tuple[int, ...] = ()
        if collective.operation in REDUCING:
            before = (rings.reduce_scatter(builder, share, chunks_of),)
        if collective.operation in GATHERING:
            rings.all_gather(builder, share, chunks_of, before)
    return builder.build()


def _chunks(walk: IntArray, rails: int, rail: int, shares: IntArray) -> Table:
    return one_each(walk[shares] * rails + rail)
