"""Small graphs for the tests of bounds, and second opinions by enumeration."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import networkx as nx
import numpy as np
from hypothesis import strategies as st

from topo.collective import Collective
from topo.fabric import Fabric
from topologies.grid import torus, twisted_torus


def unit_graph(
    accelerators: int,
    cables: list[tuple[Any, Any, float]],
    unit: float = 1.0,
    switch: dict[str, bool] | None = None,
) -> nx.DiGraph:
    """Accelerators 0 .. n-1, and switches wherever a cable ends at text; capacities in units."""
    graph = nx.DiGraph()
    graph.add_nodes_from(range(accelerators), kind="accelerator")
    for a, b, capacity in cables:
        for end in (a, b):
            if isinstance(end, str):
                graph.add_node(end, kind="switch", **(switch or {}))
        for start, stop in ((a, b), (b, a)):
            graph.add_edge(start, stop, bandwidth=capacity * unit, latency=0.0)
    return graph


def star(n: int, unit: float, **abilities: bool) -> nx.DiGraph:
    """Accelerators on one switch."""
    return unit_graph(n, [(i, "switch", 1) for i in range(n)], unit, abilities)


def boxes(count: int, size: int, inside: float, between: float, unit: float) -> nx.DiGraph:
    """Boxes of accelerators on a switch each, every accelerator also on one common switch."""
    cables: list[tuple[Any, Any, float]] = []
    for i in range(count * size):
        cables += [(i, f"box{i // size}", inside), (i, "common", between)]
    return unit_graph(count * size, cables, unit)


def ring(n: int, unit: float) -> nx.DiGraph:
    """A ring."""
    return unit_graph(n, [(i, (i + 1) % n, 1) for i in range(n)], unit)


def oracle_graph(case: dict[str, Any]) -> nx.DiGraph:
    """The graph of a case of ``collectives.json`` in the groups bounds and a2a_bound."""
    topology = case["topology"]
    kind, unit = topology["kind"], float(case["link_bandwidth_Bps"])
    if kind in ("torus", "twisted_torus"):
        build = torus if kind == "torus" else twisted_torus
        return build(topology["dims"], unit, case["link_latency_s"])
    if kind.startswith("ar_lp_star6"):
        return star(6, unit, multicast=topology["switch_multicast"], reduce=topology["switch_reduce"])
    return {
        "star8": lambda: star(8, unit),
        "path8": lambda: unit_graph(8, [(a, b, 1) for a, b in pairwise(range(8))], unit),
        "dumbbell_2x3": lambda: unit_graph(
            6, [(0, 1, 1), (1, 2, 1), (2, 0, 1), (3, 4, 1), (4, 5, 1), (5, 3, 1), (2, 3, 1)], unit
        ),
        "twobox_2x4": lambda: boxes(2, 4, 10, 1, unit),
        "ar_lp_twobox_2x3": lambda: boxes(2, 3, 10, 1, unit),
        "ar_lp_ring6": lambda: ring(6, unit),
        "torus3x3_1node_down": lambda: _without_node(torus((3, 3), unit, 0.0), "1.1"),
        "ar_lp_torus3x3_cable_down": lambda: _without_cable(torus((3, 3), unit, 0.0), "0.0", "0.1"),
    }[kind]()


def _without_node(graph: nx.DiGraph, node: Any) -> nx.DiGraph:
    graph.remove_node(node)
    del graph.graph["grid"], graph.graph["routing"]
    return graph


def _without_cable(graph: nx.DiGraph, a: Any, b: Any) -> nx.DiGraph:
    graph.remove_edges_from([(a, b), (b, a)])
    return graph


# ------------------------------------------------------------------------------------------- random graphs


@st.composite
def eulerian(draw: st.DrawFn, most: int = 6, switches: int = 2, able: bool = False) -> Fabric:
    """A connected fabric in which every node's links carry in what they carry out.

    Parameters
    ----------
    able : bool
        Whether some switches may multicast and reduce.
    """
    n = draw(st.integers(2, most))
    relays = [f"s{i}" for i in range(draw(st.integers(0, switches)))]
    nodes = [*range(n), *relays]
    graph = nx.DiGraph()
    graph.add_nodes_from(range(n), kind="accelerator")
    for relay in relays:
        copies, adds = (able and draw(st.booleans()) for _ in range(2))
        graph.add_node(relay, kind="switch", multicast=copies, reduce=adds)
    for node in graph:
        graph.nodes[node]["domain"] = draw(st.integers(0, 2))

    def add(a: Any, b: Any, capacity: int) -> None:
        known = graph.edges[a, b]["bandwidth"] if graph.has_edge(a, b) else 0.0
        graph.add_edge(a, b, bandwidth=known + capacity, latency=0.0)

    for i in range(1, len(nodes)):  # a tree of cables keeps it connected
        a, capacity = nodes[draw(st.integers(0, i - 1))], draw(st.integers(1, 4))
        add(a, nodes[i], capacity)
        add(nodes[i], a, capacity)
    for _ in range(draw(st.integers(0, 4))):  # one-way rings
        around = draw(st.lists(st.sampled_from(nodes), min_size=2, max_size=4, unique=True))
        capacity = draw(st.integers(1, 3))
        for a, b in pairwise([*around, around[0]]):
            add(a, b, capacity)
    return Fabric.from_networkx(graph)


def node_sets(fabric: Fabric) -> Iterator[np.ndarray]:
    """Every set of nodes that divides the accelerators, as a mask."""
    count = len(fabric.nodes)
    for number in range(1, 2**count - 1):
        inside = (number >> np.arange(count) & 1).astype(bool)
        held = inside[fabric.accelerators]
        if held.any() and not held.all():
            yield inside


def enumerated(collective: Collective, fabric: Fabric) -> float:
    """The tightest cut bound, without latency, over all node sets."""
    n, size, op = collective.ranks, collective.bytes, collective.operation
    best = 0.0
    for inside in node_sets(fabric):
        held = inside[fabric.accelerators]
        out = fabric.bandwidth[inside[fabric.source] & ~inside[fabric.target]].sum()
        volume = {
            "all-reduce": size,
            "all-gather": held.sum() * size / n,
            "reduce-scatter": (n - held.sum()) * size / n,
            "broadcast": size * held[collective.root],
            "reduce": size * (not held[collective.root]),
            "send-recv": size * (held[collective.root] and not held[collective.peer]),
        }[op]
        best = max(best, volume / out)
    return float(best)
