"""A ring of accelerators."""

from __future__ import annotations

import networkx as nx

from topo.fabric import Grid
from topologies import checks
from topologies.graph import accelerator, cable, circle


def ring(
    n: int,
    bandwidth: checks.Quantities = checks.DEFAULT_BANDWIDTH,
    latency: checks.Quantities = checks.DEFAULT_LATENCY,
) -> nx.DiGraph:
    """Accelerators 0 .. n-1 in a circle, each joined to the next and the last to the first.

    Parameters
    ----------
    n : int
        Accelerators, 2 or more.  A ring of 2 is one cable.
    bandwidth : float, text or sequence [cables]
        Bytes/s per direction of every cable, or of each cable in turn, the last one closing the ring.
    latency : float, text or sequence [cables]
        Seconds of every cable, or of each cable in turn.

    Returns
    -------
    networkx.DiGraph
        With a one-dimensional grid that wraps (not for 2 accelerators, where nothing is left to close).

    Raises
    ------
    TopoError
        ``n`` below 2, a wrong number of values, or a value that is no bandwidth or latency.

    Notes
    -----
    Source: the definition of the cycle graph C_n.
    """
    n = checks.whole(n, "ring length", 2)
    checks.affordable(f"ring:{n}", n, 2 * n)
    count = n if n > 2 else 1
    rates = checks.bandwidths(bandwidth, count, "cable")
    delays = checks.latencies(latency, count, "cable")
    graph = nx.DiGraph(name=f"ring:{n}", grid=Grid((n,), (n > 2,)), routing="dimension-order")
    for i, position in enumerate(circle(n)):
        accelerator(graph, i, position)
    for i in range(count):
        cable(graph, i, (i + 1) % n, rates[i], delays[i])
    return graph
