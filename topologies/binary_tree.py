"""A complete binary tree of accelerators."""

from __future__ import annotations

import networkx as nx

from topologies import checks
from topologies.graph import accelerator, cable


def binary_tree(
    depth: int,
    bandwidth: checks.Quantity = checks.DEFAULT_BANDWIDTH,
    latency: checks.Quantity = checks.DEFAULT_LATENCY,
) -> nx.DiGraph:
    """Accelerators 0 .. 2**(depth+1)-2, a cable from each to its children 2i+1 and 2i+2.

    Parameters
    ----------
    depth : int
        Links from the root to a leaf.
    bandwidth : float or text
        Bytes/s per direction of each cable.
    latency : float or text
        Seconds of each link.

    Raises
    ------
    TopoError
        A depth out of range, or a value that is no bandwidth or latency.

    Notes
    -----
    Source: the complete binary tree in heap order.
    """
    depth = checks.whole(depth, "tree depth", 0, 18)
    rate, delay = checks.bandwidth(bandwidth), checks.latency(latency)
    graph = nx.DiGraph(name=f"binary-tree:{depth}")
    for level in range(depth + 1):
        for i in range(2**level):
            accelerator(graph, 2**level - 1 + i, ((i + 0.5) * 2.0 ** (depth - level), float(depth - level)))
    for child in range(1, 2 ** (depth + 1) - 1):
        cable(graph, (child - 1) // 2, child, rate, delay)
    return graph
