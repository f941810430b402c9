"""Groq's software-scheduled dragonflies of TSPs: nodes alone (264), and racks of nodes (10,440)."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import networkx as nx

from topologies import checks
from topologies.graph import Position, accelerator, cable, circle

_RACK_LINKS = 2
"""Cables between two nodes of a rack."""


def dragonfly_groq_small(
    bandwidth: checks.Quantity, latency: checks.Quantity, nodes: int = 33, chips_per_node: int = 8
) -> nx.DiGraph:
    """Nodes of TSPs, full meshes within, one cable between every two nodes.

    Node ``a`` reaches node ``b`` by its port ``q = (b-a-1) mod nodes``; ports are shared out over its TSPs in
    order, four to each of the eight in a system of 33 nodes.

    Parameters
    ----------
    bandwidth : float or text
        Bytes/s per direction of one cable.
    latency : float or text
        Seconds of each link.
    nodes, chips_per_node : int
        Nodes, and TSPs in each.

    Returns
    -------
    networkx.DiGraph
        TSPs ``n0.tsp0`` ..; one scale-up domain, for all cables are alike.

    Raises
    ------
    TopoError
        A number below 1, or a value that is no bandwidth or latency.

    Notes
    -----
    Source: D. Abts et al., "A software-defined tensor streaming multiprocessor for large-scale machine
    learning", ISCA 2022, doi:10.1145/3470496.3527405.  Port placement is a valid choice, not published.
    """
    nodes, chips = checks.whole(nodes, "nodes"), checks.whole(chips_per_node, "chips_per_node")
    checks.affordable(f"{nodes} nodes of {chips}", nodes * chips, nodes * (chips * chips + nodes))
    rate, delay = checks.bandwidth(bandwidth), checks.latency(latency)
    graph = nx.DiGraph(name=f"groq-{nodes * chips}")
    for node, centre in enumerate(circle(nodes, radius=nodes / 2)):
        _node(graph, f"n{node}", chips, centre, rate, delay)
    share = -(-(nodes - 1) // chips)
    for a, b in combinations(range(nodes), 2):
        one, other = _port(a, b, nodes) // share, _port(b, a, nodes) // share
        cable(graph, f"n{a}.tsp{one}", f"n{b}.tsp{other}", rate, delay)
    return graph


def dragonfly_groq_large(
    bandwidth: checks.Quantity,
    latency: checks.Quantity,
    racks: int = 145,
    nodes_per_rack: int = 9,
    chips_per_node: int = 8,
) -> nx.DiGraph:
    """Racks of nodes of TSPs: two cables between every two nodes of a rack, one between every two racks.

    Cable ``k`` (0, 1) from node ``a`` of a rack to node ``c`` leaves by port ``2 ((c-a-1) mod nodes) + k``;
    rack ``A`` reaches rack ``B`` by port ``(B-A-1) mod racks``.  Ports are shared out in order over the TSPs
    of a node, and over the nodes of a rack and their TSPs.

    Parameters
    ----------
    bandwidth : float or text
        Bytes/s per direction of one cable.
    latency : float or text
        Seconds of each link.
    racks, nodes_per_rack, chips_per_node : int
        Racks, nodes in each, and TSPs in each node.

    Returns
    -------
    networkx.DiGraph
        TSPs ``r0.n0.tsp0`` .., of 145 x 9 x 8 each with 7 local, 2 in-rack and 2 inter-rack cables; one
        scale-up domain.

    Raises
    ------
    TopoError
        A number below 1, or a value that is no bandwidth or latency.

    Notes
    -----
    Source: D. Abts et al., "A software-defined tensor streaming multiprocessor for large-scale machine
    learning", ISCA 2022, doi:10.1145/3470496.3527405.  Port placement is a valid choice, not published.
    """
    racks, nodes = checks.whole(racks, "racks"), checks.whole(nodes_per_rack, "nodes_per_rack")
    chips = checks.whole(chips_per_node, "chips_per_node")
    tsps = racks * nodes * chips
    links = tsps * (chips - 1) + 2 * racks * nodes * nodes + racks * racks
    checks.affordable(f"{racks} racks of {nodes} nodes of {chips}", tsps, links)
    rate, delay = checks.bandwidth(bandwidth), checks.latency(latency)
    graph = nx.DiGraph(name=f"groq-{tsps}")
    for rack, middle in enumerate(circle(racks, radius=2.0 * racks)):
        for node, centre in enumerate(circle(nodes, middle, nodes / 2)):
            _node(graph, f"r{rack}.n{node}", chips, centre, rate, delay)
    in_rack = _rack_cables(nodes, chips)
    for rack in range(racks):
        for ((a, i), (c, j)), cables in in_rack.items():
            cable(graph, f"r{rack}.n{a}.tsp{i}", f"r{rack}.n{c}.tsp{j}", rate, delay, cables)
    per_node = -(-(racks - 1) // nodes)
    per_chip = -(-per_node // chips)
    for a, b in combinations(range(racks), 2):
        ports = _port(a, b, racks), _port(b, a, racks)
        one, other = (f"n{port // per_node}.tsp{port % per_node // per_chip}" for port in ports)
        cable(graph, f"r{a}.{one}", f"r{b}.{other}", rate, delay)
    return graph


def _port(here: int, there: int, count: int) -> int:
    """Port towards another of ``count`` things, the same seen from each."""
    return (there - here - 1) % count


def _node(graph: nx.DiGraph, name: str, chips: int, centre: Position, rate: float, delay: float) -> None:
    for i, position in enumerate(circle(chips, centre)):
        accelerator(graph, f"{name}.tsp{i}", position)
    for i, j in combinations(range(chips), 2):
        cable(graph, f"{name}.tsp{i}", f"{name}.tsp{j}", rate, delay)


def _rack_cables(nodes: int, chips: int) -> Counter[tuple[tuple[int, int], tuple[int, int]]]:
    """Cables between two (node, TSP) of a rack."""
    share = -(-_RACK_LINKS * (nodes - 1) // chips)
    cables: Counter[tuple[tuple[int, int], tuple[int, int]]] = Counter()
    for a, c in combinations(range(nodes), 2):
        for k in range(_RACK_LINKS):
            one = (_RACK_LINKS * _port(a, c, nodes) + k) // share
            other = (_RACK_LINKS * _port(c, a, nodes) + k) // share
            cables[(a, one), (c, other)] += 1
    return cables
