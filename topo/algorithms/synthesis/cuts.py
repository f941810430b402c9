"""Minimum cuts between roots and ranks."""

from __future__ import annotations

import numpy as np

from topo.bounds.maxflow import MOST, Network
from topo.errors import InternalError
from topo.fabric import BoolArray, IntArray


def fed(capacity: IntArray, nodes: IntArray, feed: IntArray) -> Network:
    """A flow network that feeds some nodes of a table of capacities [nodes, nodes]."""
    source, target = np.nonzero(capacity)
    units = capacity[source, target]
    if max(int(units.sum()), int(feed.sum())) > MOST:
        raise InternalError("capacities beyond 32 bits; the network was to keep them small")
    return Network(len(capacity), source, target, units, nodes, feed)


def lacking(capacity: IntArray, weights: IntArray) -> list[BoolArray]:
    """Cuts through which not all of the roots' weight can leave.

    Trees of total weight ``weights[r]`` rooted at each rank r, each reaching all ranks, can be packed only if
    from a super-source that feeds the roots every rank can be sent the whole weight (Edmonds).

    Returns
    -------
    list of bool arrays [nodes]
        Node sets, each with a rank outside it, whose roots weigh more than the capacity that leaves; one for
        every rank that is not sent everything.
    """
    roots = np.flatnonzero(weights)
    network = fed(capacity, roots, weights[roots])
    cuts = [network.cut_below(rank) for rank in range(len(weights))]
    return [inside for inside in cuts if inside is not None]


def leaving(capacity: IntArray, inside: BoolArray) -> int:
    """Capacity of the edges that leave a node set."""
    return int(capacity[np.ix_(inside, ~inside)].sum())
