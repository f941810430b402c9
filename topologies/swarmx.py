"""Wafers below a broadcast-reduce tree, as Cerebras' SwarmX under MemoryX."""

from __future__ import annotations

import networkx as nx

from topologies import checks
from topologies.graph import accelerator, cable, row, switch


def swarmx_tree(
    systems: int,
    bandwidth: checks.Quantity,
    latency: checks.Quantity,
    fan_out: int = 4,
) -> nx.DiGraph:
    """A tree of switches that multicast downwards and add upwards.

    Parameters
    ----------
    systems : int
        Wafers, the leaves.
    bandwidth : float or text
        Bytes/s per direction of every edge of the tree.
    latency : float or text
        Seconds of each link.
    fan_out : int
        Children of a node of the tree.

    Returns
    -------
    networkx.DiGraph
        Accelerators ``wafer0`` .., switches ``swarmx0`` .. level by level upwards, and at the root
        ``memoryx``, which sends weights down and takes gradients up.

    Raises
    ------
    TopoError
        A number out of range, or a value that is no bandwidth or latency.

    Notes
    -----
    Source: Cerebras, glossary entry SwarmX: a bidirectional tree of broadcast-reduce nodes of 1:4.
    """
    systems, fan_out = checks.whole(systems, "systems"), checks.whole(fan_out, "fan_out", 2)
    checks.affordable(f"swarmx tree of {systems}", 2 * systems + 2, 4 * systems + 2)
    rate, delay = checks.bandwidth(bandwidth), checks.latency(latency)
    graph = nx.DiGraph(name=f"swarmx:{systems}")
    width = float(systems)
    level = [f"wafer{i}" for i in range(systems)]
    for wafer, position in zip(level, row(systems, 0.0), strict=True):
        accelerator(graph, wafer, position)
    made, height = 0, 1.0
    while made == 0 or len(level) > 1:
        parents = [f"swarmx{made + i}" for i in range(-(-len(level) // fan_out))]
        for parent, position in zip(parents, row(len(parents), height, 0.0, width), strict=True):
            switch(graph, parent, position, multicast=True, reduce=True)
        for i, child in enumerate(level):
            cable(graph, child, parents[i // fan_out], rate, delay)
        made, height, level = made + len(parents), height + 1.0, parents
    switch(graph, "memoryx", (width / 2, height), multicast=True, reduce=True)
    cable(graph, level[0], "memoryx", rate, delay)
    return graph
