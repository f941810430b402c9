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
    label: str = "gpu",
    switch_label: str = "switch",
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
    label, switch_label : str
        What the accelerators and the switch are called: ``gpu0`` .. and ``switch0``.

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
        draw.accelerator(graph, f"{label}{i}", position)
    hub = f"{switch_label}0"
    draw.switch(graph, hub, (0.0, 0.0), multicast, reduce)
    for i in range(n):
        draw.cable(graph, f"{label}{i}", hub, rate, delay)
    return graph
