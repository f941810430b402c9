"""The dragonfly: groups of fully joined routers, each group joined to every other."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import networkx as nx

from topo.errors import FabricError
from topologies import checks
from topologies.graph import accelerator, cable, circle, switch


def dragonfly(
    groups: int,
    routers: int,
    hosts: int,
    bandwidth: checks.Quantities = checks.DEFAULT_BANDWIDTH,
    latency: checks.Quantities = checks.DEFAULT_LATENCY,
    global_links: int | None = None,
) -> nx.DiGraph:
    """Groups of routers with accelerators.

    Routers of a group are joined each to each by one cable.  The global ports of a group are numbered over
    its routers; those towards the group ``d`` places further start at ``(d - 1)`` times the cables per pair of
    groups, so that every group sees the others alike.

    Parameters
    ----------
    groups, routers, hosts : int
        Groups, routers in each, accelerators on each router.
    bandwidth : float, text or sequence [3]
        Bytes/s per direction of every cable, or of host, local and global cables.
    latency : float, text or sequence [3]
        Seconds of every link, or of host, local and global links.
    global_links : int, optional
        Global ports of a router; default the fewest that join every pair of groups.  Each pair gets
        ``routers * global_links // (groups - 1)`` cables, ports left over stay empty.

    Returns
    -------
    networkx.DiGraph
        Accelerators ``g0.r1.gpu2``, routers ``g0.r1``; the domain is the group.

    Raises
    ------
    TopoError
        A number below 1, too few global ports, or a value that is no bandwidth or latency.

    Notes
    -----
    Source: J. Kim, W. J. Dally, S. Scott and D. Abts, "Technology-driven, highly-scalable dragonfly
    topology", ISCA 2008: p = hosts, a = routers, h = global_links, g = groups.
    """
    groups, routers = checks.whole(groups, "groups"), checks.whole(routers, "routers per group")
    hosts = checks.whole(hosts, "hosts per router")
    needed = -(-(groups - 1) // routers)
    ports = needed if global_links is None else checks.whole(global_links, "global_links")
    if ports < needed:
        raise FabricError(
            f"{routers} routers with {ports} global links reach {routers * ports} groups, not {groups - 1}",
            f"use global_links={needed}",
        )
    name = f"dragonfly:{groups}x{routers}x{hosts}"
    links = groups * routers * (2 * hosts + routers - 1 + ports)
    checks.affordable(name, groups * routers * (hosts + 1), links)
    rates = checks.bandwidths(bandwidth, 3, "host, local, global")
    delays = checks.latencies(latency, 3, "host, local, global")
    graph = nx.DiGraph(name=name)
    # Radii that keep neighbouring groups and neighbouring routers apart.
    inner = max(1.0, routers * hosts / 6)
    outer = max(2.5, groups * inner / 2) if groups > 1 else 0.0
    for g, centre in enumerate(circle(groups, radius=outer)):
        places = circle(routers * hosts, centre, inner)
        for i, place in enumerate(places):
            accelerator(graph, f"g{g}.r{i // hosts}.gpu{i % hosts}", place, g)
    for g, centre in enumerate(circle(groups, radius=outer)):
        for r, place in enumerate(circle(routers, centre, 0.6 * inner)):
            switch(graph, f"g{g}.r{r}", place)
    for g in range(groups):
        for r in range(routers):
            for h in range(hosts):
                cable(graph, f"g{g}.r{r}.gpu{h}", f"g{g}.r{r}", rates[0], delays[0])
        for r, s in combinations(range(routers), 2):
            cable(graph, f"g{g}.r{r}", f"g{g}.r{s}", rates[1], delays[1])
    for (one, other), count in global_cables(groups, routers, ports).items():
        a, b = (f"g{group}.r{router}" for group, router in (one, other))
        cable(graph, a, b, rates[2], delays[2], count, "scale-out")
    return graph


def global_cables(groups: int, routers: int, ports: int) -> Counter[tuple[tuple[int, int], tuple[int, int]]]:
    """Cables between two (group, router), by pair; every group sees the others alike."""
    count: Counter[tuple[tuple[int, int], tuple[int, int]]] = Counter()
    per_pair = routers * ports // (groups - 1) if groups > 1 else 0
    for a, b in combinations(range(groups), 2):
        for link in range(per_pair):
            port_a = (b - a - 1) % groups * per_pair + link
            port_b = (a - b - 1) % groups * per_pair + link
            count[(a, port_a // ports), (b, port_b // ports)] += 1
    return count
