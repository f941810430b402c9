"""A full mesh: every pair of accelerators has its own cables."""

from __future__ import annotations

from itertools import combinations

import networkx as nx

from topologies import checks
from topologies.graph import accelerator, cable, circle


def full_mesh(
    n: int,
    bandwidth: checks.Quantity = checks.DEFAULT_BANDWIDTH,
    latency: checks.Quantity = checks.DEFAULT_LATENCY,
    links_per_pair: int = 1,
    label: str = "",
) -> nx.DiGraph:
    """Accelerators joined each to each.

    Parameters
    ----------
    n : int
        Accelerators.
    bandwidth : float or text
        Bytes/s per direction of one cable.
    latency : float or text
        Seconds of each link.
    links_per_pair : int
        Parallel cables between two accelerators.
    label : str
        What they are called: numbers when empty, else ``label0``, ``label1``.

    Raises
    ------
    TopoError
        A number below 1, or a value that is no bandwidth or latency.

    Notes
    -----
    Source: the definition of the complete graph K_n; MI300X and Gaudi nodes are wired like this.
    """
    n = checks.whole(n, "accelerators of a full mesh")
    cables = checks.whole(links_per_pair, "links_per_pair")
    checks.affordable(f"full-mesh:{n}", n, n * (n - 1))
    rate, delay = checks.bandwidth(bandwidth), checks.latency(latency)
    graph = nx.DiGraph(name=f"full-mesh:{n}")
    names: list[int | str] = [f"{label}{i}" if label else i for i in range(n)]
    for name, position in zip(names, circle(n), strict=True):
        accelerator(graph, name, position)
    for a, b in combinations(names, 2):
        cable(graph, a, b, rate, delay, cables)
    return graph
