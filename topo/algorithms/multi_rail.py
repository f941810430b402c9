"""The flat multi-rail ring: one ring over all ranks per rail, as NCCL builds its channels.

Every ring visits all ranks of a scale-up domain and goes on to the next domain over its own rail, so that each of
the G rails carries 2 (nG - 1)/(nG) S/G of an all-reduce of S among n domains of G ranks: as little as the
hierarchical form, but in 2 (nG - 1) latency steps.  Rings walk even domains upwards from their rail and odd domains
back to it, as NCCL does on rail-optimised networks; with an odd number of domains the last hop changes rails.
Source: NVIDIA NCCL, src/graph/rings.cc and search.cc.
"""

from __future__ import annotations

import numpy as np

from topo.algorithms.domain_grids import members_by_domain
from topo.algorithms.hierarchical import has_levels
from topo.algorithms.registry import Site, algorithm
from topo.algorithms.ring import RING_OPERATIONS, rings_through
from topo.collective import Collective
from topo.fabric import IntArray
from topo.schedule import Schedule


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
    walks = [rail_walk(members, rail) for rail in range(members.shape[1])]
    return rings_through(collective, walks, "multi-rail-ring")
