"""Accelerators around one non-blocking switch."""

from __future__ import annotations

import networkx as nx

from topologies import checks
from topologies import graph as draw


def switch(
    n: int,
    bandwidth: checks.Quantity = checks.DEFAULT_BANDWIDTH,
    latency: checks.Quantity = checks.DEFAULT_LATENCY,
    multicast: bool = False,
    reduce: bool = False,
) -> nx.DiGraph:
    """A star: every accelerator has one cable to one ideal crossbar, so a path is two links.

    Parameters
    ----------
    n : int
        Accelerators.
    bandwidth : float or text
        Bytes/s per direction of each cable.
    latency : float or text
        Seconds of each link; an accelerator reaches another after two of them.
    multicast, reduce : bool
        Whether the switch copies data to several ports, and adds data from several ports.

    Returns
    -------
    networkx.DiGraph
        Accelerators ``gpu0`` .. around ``switch0``.

    Raises
    ------
    TopoError
        ``n`` below 1, or a value that is no bandwidth or latency.

    Notes
    -----
    Source: the ideal crossbar, as in any textbook of interconnection networks.
    """
    n = checks.whole(n, "accelerators of a switch")
    checks.affordable(f"switch:{n}", n + 1, 2 * n)
    rate, delay = checks.bandwidth(bandwidth), checks.latency(latency)
    graph = nx.DiGraph(name=f"switch:{n}")
    for i, position in enumerate(draw.circle(n)):
        draw.accelerator(graph, f"gpu{i}", position)
    draw.switch(graph, "switch0", (0.0, 0.0), multicast, reduce)
    for i in range(n):
        draw.cable(graph, f"gpu{i}", "switch0", rate, delay)
    return graph
