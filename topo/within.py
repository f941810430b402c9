"""Traffic within a scale-up domain stays there, however much shorter the way over two network interfaces would be.

NCCL, XLA and their like reach the peers of a scale-up domain over its own links.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from topo.fabric import Fabric, IntArray
from topo.routes import Routes, routes_from_entries


def at_home(
    fabric: Fabric,
    source: IntArray,
    target: IntArray,
    ways: Callable[[Fabric, IntArray, IntArray], Routes],
) -> Routes:
    """Routes by a rule; those within a scale-up domain that would leave it are found again on its own links.

    Parameters
    ----------
    fabric : Fabric
    source, target : int arrays [transfers]
        Ranks.
    ways : callable
        ``ways(fabric, source, target)`` finds routes.
    """
    found = ways(fabric, source, target)
    if fabric.domains == 1 or not fabric.scale_out.any():
        return found
    leaving = np.bincount(found.rows(), fabric.scale_out[found.link], len(found)) > 0
    strays = np.flatnonzero(leaving & (fabric.domain[source] == fabric.domain[target]))
    if not len(strays):
        return found
    inside, link_of, part = _inside(fabric)
    joined = part[fabric.accelerators[source[strays]]] == part[fabric.accelerators[target[strays]]]
    strays = strays[joined]
    if not len(strays):
        return found
    own = ways(inside, source[strays], target[strays])
    latency = found.latency.copy()
    latency[strays] = own.latency
    rows = found.rows()
    keep = ~np.isin(rows, strays)
    return routes_from_entries(
        len(found),
        np.concatenate([rows[keep], strays[own.rows()]]),
        np.concatenate([found.link[keep], link_of[own.link]]),
        np.concatenate([found.fraction[keep], own.fraction]),
        latency,
        fabric.links,
    )


def _inside(fabric: Fabric) -> tuple[Fabric, IntArray, IntArray]:
    """The fabric without its scale-out links, their numbers in the whole, and what is joined [nodes]."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if "inside" not in fabric.cache:
        kept = np.flatnonzero(~fabric.scale_out)
        inside = replace(
            fabric,
            source=fabric.source[kept],
            target=fabric.target[kept],
            bandwidth=fabric.bandwidth[kept],
            latency=fabric.latency[kept],
            cables=fabric.cables[kept],
            scale_out=fabric.scale_out[kept],
            cache={},
        )
        size = len(fabric.nodes)
        ones = np.ones(len(kept), dtype=np.int8)
        graph = coo_array((ones, (inside.source, inside.target)), shape=(size, size))
        _, part = connected_components(graph.tocsr(), directed=True, connection="strong")
        fabric.cache["inside"] = (inside, kept, part.astype(np.int64))
    known: tuple[Fabric, IntArray, IntArray] = fabric.cache["inside"]
    return known
