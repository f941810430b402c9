"""Fabrics: graphs in, arrays out, and each wrong node or edge named."""

from __future__ import annotations

import math
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import strategies as some
from topo.errors import FabricError
from topo.fabric import Fabric, Grid, labels_of, spread


def pair(
    edge: dict[str, Any] | None = None,
    node: dict[str, Any] | None = None,
    graph: dict[str, Any] | None = None,
) -> Fabric:
    """Two accelerators and a cable, with attributes of the first node, of one edge or of the graph changed."""
    drawn = nx.DiGraph()
    drawn.add_node("a", **(node or {}))
    drawn.add_node("b")
    drawn.add_edge("a", "b", **({"bandwidth": 1e9, "latency": 0.0} | (edge or {})))
    drawn.add_edge("b", "a", bandwidth=1e9)
    drawn.graph.update(graph or {})
    return Fabric.from_networkx(drawn)


# ------------------------------------------------------------------------------------------------------- compiling


@given(some.graphs())
def test_arrays_say_what_the_graph_said(graph: nx.DiGraph) -> None:
    fabric = Fabric.from_networkx(graph, "random")
    assert fabric.nodes == tuple(graph.nodes)
    assert fabric.links == graph.number_of_edges()
    assert [fabric.nodes[i] for i in fabric.accelerators] == [
        node for node, data in graph.nodes(data=True) if data.get("kind", "accelerator") == "accelerator"
    ]
    for link in range(fabric.links):
        data = graph.edges[fabric.nodes[fabric.source[link]], fabric.nodes[fabric.target[link]]]
        assert fabric.bandwidth[link] == data["bandwidth"] * data["cables"]
        assert fabric.latency[link] == data["latency"]
        assert fabric.cables[link] == data["cables"]


@given(st.one_of(some.fabrics(), some.grids(), some.stars()))
def test_there_and_back(fabric: Fabric) -> None:
    again = Fabric.from_networkx(fabric.to_networkx(), fabric.name)
    assert again.nodes == fabric.nodes
    assert again.grid == fabric.grid
    assert again.routing == fabric.routing
    for name in ["kind", "accelerators", "domain", "multicast", "reduce"]:
        np.testing.assert_array_equal(getattr(again, name), getattr(fabric, name))
    links = {
        (a, b): (bandwidth, latency, cables, out)
        for a, b, bandwidth, latency, cables, out in zip(
            fabric.source,
            fabric.target,
            fabric.bandwidth,
            fabric.latency,
            fabric.cables,
            fabric.scale_out,
            strict=True,
        )
    }
    for i in range(again.links):
        bandwidth, latency, cables, out = links[again.source[i], again.target[i]]
        assert again.bandwidth[i] == pytest.approx(bandwidth, rel=1e-12)
        assert (again.latency[i], again.cables[i], again.scale_out[i]) == (latency, cables, out)


def test_an_undirected_graph_means_both_ways() -> None:
    graph = nx.Graph()
    graph.add_edge("x", "y", bandwidth="50GB/s", latency="1us", cables=2)
    fabric = Fabric.from_networkx(graph)
    assert fabric.links == 2
    assert fabric.bandwidth.tolist() == [1e11, 1e11]
    assert fabric.latency.tolist() == [1e-6, 1e-6]


def test_domains_are_numbered_as_they_appear() -> None:
    graph = nx.complete_graph(4)
    nx.set_edge_attributes(graph, 1e9, "bandwidth")
    nx.set_node_attributes(graph, {0: 7, 1: 3, 2: 7, 3: 12}, "domain")
    fabric = Fabric.from_networkx(graph)
    assert fabric.domain.tolist() == [0, 1, 0, 2]
    assert fabric.domains == 3


def test_name_order_and_ports() -> None:
    fabric = some.domains_on_a_switch(2, 3)
    assert fabric.name == "2x3"
    assert fabric.ranks == 6
    assert fabric.egress.tolist() == fabric.ingress.tolist() == [4.5e11] * 6
    assert fabric.rank_of_node[fabric.accelerators].tolist() == list(range(6))
    assert (fabric.rank_of_node < 0).sum() == 3
    assert fabric.in_network
    assert not some.star(3).in_network
    assert labels_of(some.ring(4), [2, 0]) == ["2", "0"]


# ------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("edge", "words"),
    [
        ({"bandwidth": -1}, "bandwidth -1.0 is not a positive number"),
        ({"bandwidth": 0}, "bandwidth 0.0 is not a positive number"),
        ({"bandwidth": math.nan}, "bandwidth nan"),
        ({"bandwidth": math.inf}, "bandwidth inf"),
        ({"bandwidth": None}, "bandwidth and latency are numbers"),
        ({"bandwidth": [1, 2]}, "bandwidth and latency are numbers"),
        ({"bandwidth": "50GB"}, "50GB/s"),
        ({"bandwidth": "fast"}, "'fast' cannot be read"),
        ({"latency": -1e-6}, "latency -1e-06"),
        ({"latency": math.nan}, "latency nan"),
        ({"latency": "soon"}, "'soon' cannot be read"),
        ({"cables": 0}, "cables 0 is not a whole number"),
        ({"cables": 1.5}, "cables 1.5 is not a whole number"),
        ({"cables": math.inf}, "cables"),
        ({"cables": math.nan}, "cables"),
        ({"cables": "many"}, "cables"),
        ({"cables": 10**30}, "is not a whole number"),
        ({"tier": "scaleout"}, "tier 'scaleout' is unknown; use scale-up or scale-out"),
    ],
)
def test_a_wrong_edge_is_named(edge: dict[str, Any], words: str) -> None:
    with pytest.raises(FabricError, match="edge 'a' -> 'b'") as caught:
        pair(edge)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"kind": "acelerator"}, "did you mean 'accelerator'"),
        ({"kind": None}, "use accelerator, switch, nic"),
        ({"kind": ["switch"]}, "kind"),
        ({"position": (1, 2, 3)}, "give (x, y)"),
        ({"position": "here"}, "give (x, y)"),
        ({"position": (1, math.nan)}, "give (x, y)"),
        ({"position": 5}, "give (x, y)"),
    ],
)
def test_a_wrong_node_is_named(node: dict[str, Any], words: str) -> None:
    with pytest.raises(FabricError, match="node 'a'") as caught:
        pair(node=node)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        ({"grid": (2,)}, "is no Grid"),
        ({"grid": Grid((3,), (True,))}, "has 3 places but the graph has 2 accelerators"),
        ({"grid": Grid((2,), ())}, "give one for each dimension"),
        ({"routing": "scenic"}, "routing 'scenic' is unknown"),
        ({"routing": "dimension-order"}, "needs the graph attribute grid"),
    ],
)
def test_a_wrong_graph_attribute(graph: dict[str, Any], words: str) -> None:
    with pytest.raises(FabricError) as caught:
        pair(graph=graph)
    assert words in str(caught.value)


def test_graphs_that_are_no_fabric() -> None:
    loop = nx.DiGraph()
    loop.add_edge("a", "a", bandwidth=1.0)
    silent = nx.DiGraph([("a", "b"), ("b", "a")])
    switches = nx.DiGraph()
    switches.add_node("s", kind="switch")
    for graph, words in (
        ({"a": 1}, "a dict is no graph"),
        (None, "a NoneType is no graph"),
        (nx.MultiGraph(), "cables=n"),
        (nx.DiGraph(), "no accelerators"),
        (switches, "no accelerators"),
        (loop, "joins a node to itself"),
        (silent, "edge 'a' -> 'b' has no bandwidth"),
    ):
        with pytest.raises(FabricError) as caught:
            Fabric.from_networkx(graph)
        assert words in str(caught.value)


def test_accelerators_that_cannot_meet() -> None:
    oneway = nx.DiGraph()
    oneway.add_edge("a", "b", bandwidth=1.0)
    with pytest.raises(FabricError, match="no way from b to a"):
        Fabric.from_networkx(oneway)
    apart = nx.DiGraph()
    for a, b in (("a", "b"), ("b", "a"), ("c", "d"), ("d", "c")):
        apart.add_edge(a, b, bandwidth=1.0)
    with pytest.raises(FabricError, match=r"no way from a to c \(2 accelerators out of reach\)"):
        Fabric.from_networkx(apart)


def test_an_idle_switch_may_stand_apart() -> None:
    graph = some.ring(3).to_networkx()
    graph.add_node("spare", kind="switch")
    assert Fabric.from_networkx(graph).ranks == 3


# --------------------------------------------------------------------------------------------------- lost cables


def test_losing_cables_one_by_one() -> None:
    fabric = some.torus((2, 3))
    assert fabric.cables.max() == 2
    once = fabric.without([(0, 3)])
    assert once.links == fabric.links
    between = once.links_between(np.array([0, 3]), np.array([3, 0]))
    assert once.cables[between].tolist() == [1, 1]
    assert once.bandwidth[between].tolist() == [5e10, 5e10]
    assert fabric.without([(0, 3), (3, 0)]).links == fabric.links - 2
    assert fabric.without([]).links == fabric.links
    with pytest.raises(FabricError, match="no cable 0-3 is left"):
        fabric.without([(0, 3)] * 3)
    with pytest.raises(FabricError, match="no cable 0-4 is left"):
        fabric.without([(0, 4)])
    with pytest.raises(FabricError, match="node 77 is not in"):
        fabric.without([(0, 77)])
    with pytest.raises(FabricError, match="disconnected"):
        some.torus((3,), wrap=(False,)).without([(0, 1)])


@given(some.fabrics(), st.floats(0.1, 10), st.floats(0, 10))
def test_scaling(fabric: Fabric, faster: float, slower: float) -> None:
    other = fabric.scaled(faster, slower)
    np.testing.assert_allclose(other.bandwidth, fabric.bandwidth * faster)
    np.testing.assert_allclose(other.latency, fabric.latency * slower)


@pytest.mark.parametrize(("bandwidth", "latency"), [(0, 1), (-1, 1), (math.nan, 1), (1, -1), (1, math.inf)])
def test_scaling_to_nonsense(bandwidth: float, latency: float) -> None:
    with pytest.raises(FabricError, match="more than 0"):
        some.ring(3).scaled(bandwidth, latency)


# ---------------------------------------------------------------------------------------------------- coordinates


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4))
def test_coordinates_there_and_back(shape: list[int]) -> None:
    grid = Grid(tuple(shape), (True,) * len(shape))
    nodes = np.arange(grid.size)
    assert grid.numbers(grid.coordinates(nodes)).tolist() == nodes.tolist()
    for d in grid.dimensions:
        onward = grid.neighbours(nodes, d, 1)
        assert grid.neighbours(onward, d, -1).tolist() == nodes.tolist()
        assert sorted(onward.tolist()) == nodes.tolist()
    assert grid.dimensions == tuple(d for d, k in enumerate(shape) if k > 1)


def test_meshes_end() -> None:
    grid = Grid((2, 3), (False, False))
    assert grid.neighbours(np.arange(6), 1, 1).tolist() == [1, 2, -1, 4, 5, -1]
    assert grid.neighbours(np.arange(6), 0, -1).tolist() == [-1, -1, -1, 0, 1, 2]


@pytest.mark.parametrize("k", [2, 4])
def test_the_twist_of_a_cube_pair(k: int) -> None:
    """k x k x 2k: going up across the wrap of x or y adds k to z; the rings along x then have 2k nodes."""
    grid = Grid((k, k, 2 * k), (True,) * 3, ((0, 0, k), (0, 0, k), (0, 0, 0)))
    assert grid.twisted
    for dimension in range(3):
        at, seen = np.array([0]), 0
        while True:
            at, seen = grid.neighbours(at, dimension, 1), seen + 1
            if at[0] == 0:
                break
        assert seen == 2 * k
    last = grid.numbers(np.array([[k - 1, 0, 0]]))
    assert grid.coordinates(grid.neighbours(last, 0, 1)).tolist() == [[0, 0, k]]
    for dimension in range(3):
        nodes = np.arange(grid.size)
        assert grid.neighbours(grid.neighbours(nodes, dimension, 1), dimension, -1).tolist() == nodes.tolist()


def test_spread() -> None:
    pointer = np.array([0, 2, 2, 5])
    assert spread(pointer, np.array([2, 0, 1, 2])).tolist() == [2, 3, 4, 0, 1, 2, 3, 4]
    assert spread(pointer, np.zeros(0, dtype=np.int64)).tolist() == []
