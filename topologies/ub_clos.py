"""The two-level Clos of several planes of CloudMatrix384."""

from __future__ import annotations

import networkx as nx

from topologies import checks
from topologies.graph import accelerator, cable, row, switch


def ub_clos(
    nodes: int,
    npus: int,
    planes: int,
    l2_per_plane: int,
    npu_l1_bandwidth: checks.Quantity,
    l1_l2_bandwidth: checks.Quantity,
    latency: checks.Quantities,
) -> nx.DiGraph:
    """Nodes with one first-level switch per plane; every plane has its own second level.

    Parameters
    ----------
    nodes, npus, planes : int
        Nodes, accelerators in each, and planes.
    l2_per_plane : int
        Second-level switches of each plane; every first-level switch has one cable to each.
    npu_l1_bandwidth : float or text
        Bytes/s per direction between an accelerator and the first-level switch of each plane.
    l1_l2_bandwidth : float or text
        Bytes/s per direction between a first-level and a second-level switch.
    latency : float, text or sequence [2]
        Seconds of every link, or of the links within a node and of those above it.

    Returns
    -------
    networkx.DiGraph
        Accelerators ``n0.npu0``, switches ``n0.l1p0`` (of plane 0) and ``p0.l2s0``; one scale-up domain.

    Raises
    ------
    TopoError
        A number below 1, or a value that is no bandwidth or latency.

    Notes
    -----
    Source: P. Zuo et al., "Serving Large Language Models on Huawei CloudMatrix384", arXiv:2506.12708.
    """
    nodes, npus = checks.whole(nodes, "nodes"), checks.whole(npus, "npus")
    planes, seconds = checks.whole(planes, "planes"), checks.whole(l2_per_plane, "l2_per_plane")
    total = nodes * (npus + planes) + planes * seconds
    checks.affordable(f"{nodes} nodes of {npus}", total, 2 * nodes * planes * (npus + seconds))
    low, high = checks.bandwidth(npu_l1_bandwidth), checks.bandwidth(l1_l2_bandwidth)
    near, far = checks.latencies(latency, 2, "level")
    graph = nx.DiGraph(name=f"ub-clos:{nodes}x{npus}")
    width = float(nodes * npus)
    for i, position in enumerate(row(nodes * npus, 0.0)):
        accelerator(graph, f"n{i // npus}.npu{i % npus}", position)
    for i, position in enumerate(row(nodes * planes, width / 8, 0.0, width)):
        switch(graph, f"n{i // planes}.l1p{i % planes}", position)
    for i, position in enumerate(row(planes * seconds, width / 4, 0.0, width)):
        switch(graph, f"p{i // seconds}.l2s{i % seconds}", position)
    for node in range(nodes):
        for plane in range(planes):
            first = f"n{node}.l1p{plane}"
            for npu in range(npus):
                cable(graph, f"n{node}.npu{npu}", first, low, near)
            for second in range(seconds):
                cable(graph, first, f"p{plane}.l2s{second}", high, far)
    return graph
