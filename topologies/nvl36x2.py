"""Two NVL36 racks whose switch planes are joined pairwise."""

from __future__ import annotations

import networkx as nx

from topologies import checks
from topologies.graph import accelerator, cable, row, switch


def nvl36x2(
    racks: int,
    gpus_per_rack: int,
    planes: int,
    bandwidth: checks.Quantity,
    latency: checks.Quantity,
    cross_links_per_plane: int,
    multicast: bool = False,
    reduce: bool = False,
) -> nx.DiGraph:
    """Racks of switch planes; switch ``p`` of each rack is joined to switch ``p`` of every other rack.

    Parameters
    ----------
    racks, gpus_per_rack, planes : int
        Racks, accelerators in each, and switches in each, every accelerator having one cable to each switch.
    bandwidth : float or text
        Bytes/s per direction of one cable.
    latency : float or text
        Seconds of each link: two within a rack, three across.
    cross_links_per_plane : int
        Cables between two switches of one plane.
    multicast, reduce : bool
        What the switches can do to data that passes.

    Returns
    -------
    networkx.DiGraph
        Accelerators ``r0.gpu0`` .., switches ``r0.nvswitch0`` ..; one scale-up domain.

    Raises
    ------
    TopoError
        A number below 1, or a value that is no bandwidth or latency.

    Notes
    -----
    Source: SemiAnalysis, "GB200 hardware architecture and component supply chain", on NVL36x2.
    """
    racks, gpus = checks.whole(racks, "racks"), checks.whole(gpus_per_rack, "gpus_per_rack")
    planes = checks.whole(planes, "planes")
    crossing = checks.whole(cross_links_per_plane, "cross_links_per_plane")
    links = 2 * racks * gpus * planes + planes * racks * (racks - 1)
    checks.affordable(f"{racks} racks of {gpus}", racks * (gpus + planes), links)
    rate, delay = checks.bandwidth(bandwidth), checks.latency(latency)
    graph = nx.DiGraph(name=f"nvl{gpus}x{racks}")
    width, height = float(gpus), max(2.0, gpus / 6)
    # Two racks face each other, switches between them; more stand side by side.
    facing = racks == 2
    left_of = [0.0 if facing else rack * width * 1.1 for rack in range(racks)]
    level = [(3 * height, 2 * height) if facing and rack else (0.0, height) for rack in range(racks)]
    for rack in range(racks):
        left = left_of[rack]
        for i, position in enumerate(row(gpus, level[rack][0], left, left + width)):
            accelerator(graph, f"r{rack}.gpu{i}", position)
    for rack in range(racks):
        left = left_of[rack]
        for p, position in enumerate(row(planes, level[rack][1], left, left + width)):
            switch(graph, f"r{rack}.nvswitch{p}", position, multicast, reduce, one_pass=False)
        for i in range(gpus):
            for p in range(planes):
                cable(graph, f"r{rack}.gpu{i}", f"r{rack}.nvswitch{p}", rate, delay)
    for p in range(planes):
        for a in range(racks):
            for b in range(a + 1, racks):
                cable(graph, f"r{a}.nvswitch{p}", f"r{b}.nvswitch{p}", rate, delay, crossing)
    return graph
