"""A path: accelerators in a line, each joined to the next."""

from __future__ import annotations

import networkx as nx

from topo.fabric import Grid
from topologies import checks
from topologies.graph import accelerator, cable


def path(
    n: int,
    bandwidth: checks.Quantities = checks.DEFAULT_BANDWIDTH,
    latency: checks.Quantities = checks.DEFAULT_LATENCY,
) -> nx.DiGraph:
    """A line of accelerators 0 .. n-1.

    Parameters
    ----------
    n : int
        Accelerators.
    bandwidth : float, text or sequence [n - 1]
        Bytes/s per direction of every link, or of each link in turn.
    latency : float, text or sequence [n - 1]
        Seconds of every link, or of each link in turn.

    Returns
    -------
    networkx.DiGraph
        With a one-dimensional grid without wrap.

    Raises
    ------
    TopoError
        ``n`` below 1, a wrong number of values, or a value that is no bandwidth or latency.

    Notes
    -----
    Source: the definition of the path graph P_n.
    """
    n = checks.whole(n, "path length")
    checks.affordable(f"path:{n}", n, 2 * n)
    rates = checks.bandwidths(bandwidth, n - 1, "link")
    delays = checks.latencies(latency, n - 1, "link")
    graph = nx.DiGraph(name=f"path:{n}", grid=Grid((n,), (False,)), routing="dimension-order")
    for i in range(n):
        accelerator(graph, i, (float(i), 0.0))
    for i in range(n - 1):
        cable(graph, i, i + 1, rates[i], delays[i])
    return graph
