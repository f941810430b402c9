"""Accelerators joined by several switch planes, as in an NVSwitch rack."""

from __future__ import annotations

from collections.abc import Sequence

import networkx as nx

from topologies import checks
from topologies.graph import accelerator, cable, row, switch


def switched_planes(
    n_endpoints: int,
    links_to_each_switch: Sequence[int],
    bandwidth: checks.Quantity,
    latency: checks.Quantity,
    multicast: bool = False,
    reduce: bool = False,
    label: str = "gpu",
    switch_label: str = "nvswitch",
) -> nx.DiGraph:
    """Every accelerator has ``m_s`` cables to switch ``s``; switches are not joined to each other.

    Parameters
    ----------
    n_endpoints : int
        Accelerators.
    links_to_each_switch : sequence of int
        Cables ``m_s`` from each accelerator to switch ``s``.
    bandwidth : float or text
        Bytes/s per direction of one cable.
    latency : float or text
        Seconds of each link; an accelerator reaches another after two of them.
    multicast, reduce : bool
        What the switches can do to data that passes.
    label, switch_label : str
        What accelerators and switches are called: ``gpu0`` .., ``nvswitch0`` ..

    Raises
    ------
    TopoError
        A number below 1, or a value that is no bandwidth or latency.

    Notes
    -----
    Source: NVIDIA's NVSwitch systems, which stripe the traffic of one accelerator over all planes; for
    example an H100 has 5, 4, 4 and 5 links to 4 switches.
    """
    n = checks.whole(n_endpoints, "n_endpoints")
    planes = checks.wholes(links_to_each_switch, "links_to_each_switch")
    checks.affordable(f"{n} accelerators on {len(planes)} switches", n + len(planes), 2 * n * len(planes))
    rate, delay = checks.bandwidth(bandwidth), checks.latency(latency)
    graph = nx.DiGraph(name=f"switched-planes:{n}x{len(planes)}")
    for i, position in enumerate(row(n, 0.0)):
        accelerator(graph, f"{label}{i}", position)
    for s, position in enumerate(row(len(planes), max(2.0, n / 6), 0.0, float(n))):
        switch(graph, f"{switch_label}{s}", position, multicast, reduce, one_pass=False)
    for i in range(n):
        for s, cables in enumerate(planes):
            cable(graph, f"{label}{i}", f"{switch_label}{s}", rate, delay, cables)
    return graph
