"""A Trainium3 UltraServer: sled switches, rack switches, and direct links between racks."""

from __future__ import annotations

import networkx as nx

from topo.errors import FabricError
from topologies import checks
from topologies.graph import accelerator, cable, switch


def trn3(
    sleds: int,
    chips_per_sled: int,
    racks: int,
    sled_links: int,
    rack_links: int,
    interrack_links: int,
    bandwidth: checks.Quantity,
    latency: checks.Quantity,
) -> nx.DiGraph:
    """Chips joined within a sled, within a rack, and to their counterpart in the other rack.

    Parameters
    ----------
    sleds, chips_per_sled, racks : int
        Sleds in all, chips in each, and racks (1 or 2) over which the sleds are shared out evenly.
    sled_links, rack_links, interrack_links : int
        Cables of a chip to its sled's switch, to its rack's switch (taken as one ideal switch), and to the
        chip at the same place in the other rack.
    bandwidth : float or text
        Bytes/s per direction of one cable.
    latency : float or text
        Seconds of each link.

    Returns
    -------
    networkx.DiGraph
        Chips ``s0.chip0`` .., switches ``s0.switch`` and ``rack0``; one scale-up domain.

    Raises
    ------
    TopoError
        A number below 1, sleds that do not divide over the racks, or a value that is no bandwidth or latency.

    Notes
    -----
    Source: SemiAnalysis, "AWS Trainium3 deep dive", on the first and second generation racks.
    """
    sleds, chips = checks.whole(sleds, "sleds"), checks.whole(chips_per_sled, "chips_per_sled")
    racks = checks.whole(racks, "racks", 1, 2)
    if sleds % racks:
        raise FabricError(f"{sleds} sleds do not divide over {racks} racks", f"use a multiple of {racks}")
    low, mid = checks.whole(sled_links, "sled_links"), checks.whole(rack_links, "rack_links")
    across = checks.whole(interrack_links, "interrack_links", 0 if racks == 1 else 1)
    checks.affordable(f"{sleds} sleds of {chips}", sleds * (chips + 1) + racks, 5 * sleds * chips)
    rate, delay = checks.bandwidth(bandwidth), checks.latency(latency)
    graph = nx.DiGraph(name=f"trn3:{sleds * chips}")
    per_rack = sleds // racks
    # A rack is a column of sleds, a sled a row of chips; two racks face each other, their switches outside.  Rows
    # lean, so that cables to the other rack do not lie on each other.
    pitch = 2.0 if per_rack <= 8 else 1.3
    width = chips + 2.0

    def facing(rack: int, x: float) -> float:
        return x if rack == 0 else 2 * width + 2.0 - x

    for s in range(sleds):
        rack, y = s // per_rack, -pitch * (s % per_rack)
        for j in range(chips):
            accelerator(graph, f"s{s}.chip{j}", (facing(rack, 2.0 + j), y + 0.09 * pitch * j))
    for s in range(sleds):
        rack, y = s // per_rack, -pitch * (s % per_rack)
        switch(graph, f"s{s}.switch", (facing(rack, chips / 2 + 1.5), y - 0.42 * pitch))
    for r in range(racks):
        switch(graph, f"rack{r}", (facing(r, 0.0), -pitch * (per_rack - 1) / 2))
    for s in range(sleds):
        for j in range(chips):
            cable(graph, f"s{s}.chip{j}", f"s{s}.switch", rate, delay, low)
            cable(graph, f"s{s}.chip{j}", f"rack{s // per_rack}", rate, delay, mid)
            if racks == 2 and s < per_rack:
                cable(graph, f"s{s}.chip{j}", f"s{s + per_rack}.chip{j}", rate, delay, across)
    return graph
