"""Rings over direct links that share no cable, each both ways with its share of the data.

As NCCL builds its channels on directly wired machines (src/graph/search.cc): the DGX-1's hybrid cube mesh holds
three such rings.  R rings of bandwidth B each way among N ranks: all-reduce 2(N-1)(a + S/(2 R N B)); broadcast and
reduce as chains along the rings, in k segments (N-1) a + (N + k - 2) S/(2 R k B).
"""

from __future__ import annotations

from functools import partial

import numpy as np

from topo.algorithms.registry import Site, algorithm
from topo.algorithms.ring import RING_OPERATIONS, rings_through
from topo.algorithms.ring_search import MOST_RANKS, disjoint_rings
from topo.algorithms.trees import Stream, Tree, along_tree
from topo.collective import Collective, segments
from topo.fabric import IntArray
from topo.schedule import Schedule, ScheduleBuilder

ROOTED = ("broadcast", "reduce")


def over_links(collective: Collective, site: Site) -> str:
    """It needs at least one ring of direct links."""
    if len(site.ranks) > MOST_RANKS:
        return f"its search is for groups of up to {MOST_RANKS} ranks"
    return "" if disjoint_rings(site.fabric, site.ranks)[0] else "no ring of direct links joins its ranks"


def _time(collective: Collective, site: Site, chunks: int) -> float | None:
    """Where all links are equally wide and quick and no rank of another group is on the way."""
    fabric = site.fabric
    rings, unit = disjoint_rings(fabric, site.ranks)
    if (fabric.latency != fabric.latency[0]).any() or (fabric.bandwidth != unit).any():
        return None
    n, latency, speed = collective.ranks, float(fabric.latency[0]), 2 * len(rings) * unit
    if collective.operation in ROOTED:
        return (n - 1) * latency + (n + chunks - 2) * collective.bytes / (chunks * speed)
    if chunks > 1:
        return None
    once = (n - 1) * (latency + collective.bytes / (n * speed))
    return 2 * once if collective.operation == "all-reduce" else once


@algorithm("multi-ring", (*RING_OPERATIONS, *ROOTED), fits=over_links, pipelines=True, closed_form=_time)
def multi_ring(collective: Collective, site: Site, chunks: int) -> Schedule:
    """Rings over direct links that share no cable, both ways, each with its share of the data."""
    orders, _ = disjoint_rings(site.fabric, site.ranks)
    walks = [walk for order in orders for walk in (order, np.roll(order[::-1], 1))]
    detail = f"{len(orders)} rings"
    if collective.operation in ROOTED:
        return _chains(collective, walks, chunks, detail)
    return rings_through(collective, walks, "multi-ring", detail).pipelined(chunks)


def _chains(collective: Collective, walks: list[IntArray], chunks: int, detail: str) -> Schedule:
    """A chain from or to the root along every ring."""
    parts = len(walks)
    if chunks > 1:
        detail += f", {chunks} chunks"
    builder = ScheduleBuilder(collective, "multi-ring", partial(segments, collective, parts * chunks), detail)
    for part, walk in enumerate(walks):
        line = np.roll(walk, -int(np.flatnonzero(walk == collective.root)[0]))
        parent = np.empty_like(line)
        parent[line] = np.concatenate([[-1], line[:-1]])
        stream = Stream(collective.bytes / (parts * chunks), chunks, part, parts)
        along_tree(builder, Tree(parent, collective.root), stream)
    return builder.build()
