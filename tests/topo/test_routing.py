"""Ways through a fabric: shares, lengths, latencies, seeds, trees."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import topo
from tests import naive
from tests import strategies as some
from topo.errors import RoutingError
from topo.fabric import Fabric
from topo.routing import Routes, find_routes, tree_routes


def all_pairs(fabric: Fabric) -> tuple[np.ndarray, np.ndarray]:
    source, target = (
        a.ravel() for a in np.meshgrid(np.arange(fabric.ranks), np.arange(fabric.ranks), indexing="ij")
    )
    return source[source != target], target[source != target]


def conserved(fabric: Fabric, routes: Routes, source: np.ndarray, target: np.ndarray) -> None:
    """The whole transfer leaves its source and reaches its target, and nothing is lost or made between."""
    nodes = len(fabric.nodes)
    rows = routes.rows()
    net = np.bincount(rows * nodes + fabric.source[routes.link], routes.fraction, len(routes) * nodes)
    net -= np.bincount(rows * nodes + fabric.target[routes.link], routes.fraction, len(routes) * nodes)
    expected = np.zeros((len(routes), nodes))
    expected[np.arange(len(routes)), fabric.accelerators[source]] = 1
    expected[np.arange(len(routes)), fabric.accelerators[target]] = -1
    np.testing.assert_allclose(net.reshape(len(routes), nodes), expected, atol=1e-12)
    assert (routes.fraction > 0).all() and (routes.fraction <= 1 + 1e-12).all()


def hops(routes: Routes) -> np.ndarray:
    """Mean number of links of each route."""
    return np.bincount(routes.rows(), routes.fraction, len(routes))


@given(st.one_of(some.fabrics(), some.grids()))
def test_routes_are_those_of_the_naive_engine(fabric: Fabric) -> None:
    source, target = all_pairs(fabric)
    routes = find_routes(fabric, source, target)
    conserved(fabric, routes, source, target)
    for i, (a, b) in enumerate(zip(source.tolist(), target.tolist(), strict=True)):
        shares, latency = naive.route(fabric, a, b)
        entries = slice(routes.pointer[i], routes.pointer[i + 1])
        assert dict(zip(routes.link[entries].tolist(), routes.fraction[entries].tolist(), strict=True)) == (
            pytest.approx(shares)
        )
        assert routes.latency[i] == pytest.approx(latency, rel=1e-12)


@given(some.fabrics(ranks=(3, 6)))
def test_shortest_ways_have_the_fewest_links(fabric: Fabric) -> None:
    source, target = all_pairs(fabric)
    lengths = hops(find_routes(fabric, source, target, "shortest"))
    graph = fabric.to_networkx()
    for a, b, length in zip(source.tolist(), target.tolist(), lengths, strict=True):
        ends = (fabric.nodes[fabric.accelerators[a]], fabric.nodes[fabric.accelerators[b]])
        assert length == pytest.approx(nx.shortest_path_length(graph, *ends))


@pytest.mark.parametrize("shape", [(5,), (4,), (2, 3), (4, 4), (3, 4, 5), (2, 2, 2)])
@pytest.mark.parametrize("wrap", [True, False])
def test_dimension_order_is_minimal(shape: tuple[int, ...], wrap: bool) -> None:
    fabric = some.torus(shape, wrap=[wrap] * len(shape))
    assert fabric.grid is not None
    source, target = all_pairs(fabric)
    routes = find_routes(fabric, source, target)
    conserved(fabric, routes, source, target)
    apart = np.abs(fabric.grid.coordinates(source) - fabric.grid.coordinates(target))
    if wrap:
        apart = np.minimum(apart, np.asarray(shape) - apart)
    np.testing.assert_allclose(hops(routes), apart.sum(axis=1))
    np.testing.assert_allclose(routes.latency, apart.sum(axis=1) * 1e-6)


def test_dimension_order_goes_dimension_by_dimension() -> None:
    fabric = some.torus((3, 5))
    route = find_routes(fabric, np.array([0]), np.array([5 + 2]))
    walked = {(int(fabric.source[link]), int(fabric.target[link])) for link in route.link}
    assert walked == {(0, 5), (5, 6), (6, 7)}


def test_half_ring_ties_split_in_two() -> None:
    fabric = some.torus((4, 6))
    route = find_routes(fabric, np.array([0]), np.array([2 * 6 + 3]))
    assert route.fraction.tolist() == [0.5] * (2 * 2 + 2 * 3)


@pytest.mark.parametrize("lengths", [(4,), (5,), (8,), (4, 4), (5, 5), (4, 8), (3, 3, 3)])
def test_uniform_traffic_on_a_torus(lengths: tuple[int, ...]) -> None:
    """Load of a link in a dimension of length L: N L / 8 for even L, N (L^2 - 1) / (8 L) for odd."""
    fabric = some.torus(lengths)
    assert fabric.grid is not None
    routes = find_routes(fabric, *all_pairs(fabric))
    load = np.bincount(routes.link, routes.fraction, fabric.links)
    ends = fabric.grid.coordinates(fabric.source) != fabric.grid.coordinates(fabric.target)
    for dimension, length in enumerate(lengths):
        ideal = fabric.ranks * (length / 8 if length % 2 == 0 else (length**2 - 1) / (8 * length))
        np.testing.assert_allclose(load[ends[:, dimension]], ideal)


@pytest.mark.parametrize("shape", ["2x2x4", "4x4x8", "2x4x4", "4x8x8"])
def test_uniform_traffic_on_a_twisted_torus(shape: str) -> None:
    """Mean distance 7k/8 - 1/(4k) for k x k x 2k and 35k/32 - 1/(4k) for k x 2k x 2k, the same load everywhere."""
    fabric = topo.load(f"twisted-torus:{shape}").fabric
    lengths = [int(k) for k in shape.split("x")]
    k, ranks = lengths[0], fabric.ranks
    mean = 7 * k / 8 - 1 / (4 * k) if lengths[1] == k else 35 * k / 32 - 1 / (4 * k)
    routes = find_routes(fabric, *all_pairs(fabric))
    assert hops(routes).sum() == pytest.approx(ranks**2 * mean)
    if k > 2:
        load = np.bincount(routes.link, routes.fraction, fabric.links)
        np.testing.assert_allclose(load, ranks * mean / 6)


def test_ties_split_by_bandwidth() -> None:
    """Two ways of two links, one three times as wide at its first link."""
    graph = nx.DiGraph()
    graph.add_nodes_from("ab")
    for switch, bandwidth, latency in (("s", 1e9, 1e-6), ("t", 3e9, 5e-6)):
        graph.add_node(switch, kind="switch")
        for a, b in (("a", switch), (switch, "b"), ("b", switch), (switch, "a")):
            graph.add_edge(a, b, bandwidth=bandwidth, latency=latency)
    fabric = Fabric.from_networkx(graph)
    route = find_routes(fabric, np.array([0]), np.array([1]))
    shares = dict(zip([fabric.link_label(link) for link in route.link], route.fraction.tolist(), strict=True))
    assert shares == {"a -> s": 0.25, "s -> b": 0.25, "a -> t": 0.75, "t -> b": 0.75}
    assert route.latency.tolist() == [1e-5]


def test_a_direct_link_is_taken_alone() -> None:
    fabric = some.domains_on_a_switch(1, 3)
    graph = fabric.to_networkx()
    graph.add_edge((0, 0), (0, 1), bandwidth=1.0)
    wired = Fabric.from_networkx(graph)
    route = find_routes(wired, np.array([0]), np.array([1]))
    assert [wired.link_label(link) for link in route.link] == ["(0, 0) -> (0, 1)"]


def test_a_dead_link_sends_its_pairs_round() -> None:
    fabric = some.ring(6).without([(5, 0)])
    route = find_routes(fabric, np.array([5, 2]), np.array([0, 3]))
    assert hops(route).tolist() == [5, 1]
    assert route.latency.tolist() == pytest.approx([5e-6, 1e-6])
    torus = some.torus((4, 4)).without([(0, 1), (4, 5)])
    source, target = all_pairs(torus)
    conserved(torus, find_routes(torus, source, target), source, target)


def test_repeated_pairs_and_their_order() -> None:
    fabric = some.torus((3, 4))
    source, target = np.array([3, 0, 3, 0]), np.array([5, 7, 5, 7])
    routes = find_routes(fabric, source, target)
    alone = find_routes(fabric, source[:2], target[:2])
    assert routes.link.tolist() == alone.link.tolist() * 2
    assert routes.take(np.array([1])).link.tolist() == alone.take(np.array([1])).link.tolist()


@given(some.fabrics())
def test_nothing_to_route(fabric: Fabric) -> None:
    none = np.zeros(0, dtype=np.int64)
    for policy in ("auto", "shortest", "ecmp"):
        assert len(find_routes(fabric, none, none, policy)) == 0


@pytest.mark.parametrize(
    ("fabric", "ends", "policy", "words"),
    [
        (some.ring(4), (0, 1), "scenic", "routing 'scenic' is unknown; one of auto"),
        (some.ring(4), (2, 2), "auto", "rank 2 has no route to itself"),
        (some.star(4), (0, 1), "dimension-order", "has no plain grid to route by dimension; use shortest"),
    ],
)
def test_bad_input(fabric: Fabric, ends: tuple[int, int], policy: str, words: str) -> None:
    with pytest.raises(RoutingError) as caught:
        find_routes(fabric, np.array([ends[0]]), np.array([ends[1]]), policy)
    assert words in str(caught.value)


# ------------------------------------------------------------------------------------------------------------ ecmp


@settings(max_examples=40)
@given(some.fabrics(), st.integers(0, 2**31))
def test_ecmp_takes_one_shortest_way(fabric: Fabric, seed: int) -> None:
    source, target = all_pairs(fabric)
    routes = find_routes(fabric, source, target, "ecmp", seed)
    conserved(fabric, routes, source, target)
    assert set(routes.fraction.tolist()) == {1.0}
    np.testing.assert_allclose(hops(routes), hops(find_routes(fabric, source, target, "shortest")))
    np.testing.assert_allclose(
        routes.latency, np.bincount(routes.rows(), fabric.latency[routes.link], len(routes)), rtol=1e-12
    )
    again = find_routes(fabric, source, target, "ecmp", seed)
    assert again.link.tolist() == routes.link.tolist()


def test_ecmp_draws_ways_by_bandwidth_and_seed() -> None:
    """Four spines, one as wide as the other three together; 600 flows."""
    graph = nx.Graph()
    for host, leaf in ((0, "l0"), (1, "l1")):
        graph.add_node(host)
        graph.add_node(leaf, kind="switch")
        graph.add_edge(host, leaf, bandwidth=1e12)
    for spine, bandwidth in (("s0", 3e9), ("s1", 1e9), ("s2", 1e9), ("s3", 1e9)):
        graph.add_node(spine, kind="switch")
        for leaf in ("l0", "l1"):
            graph.add_edge(leaf, spine, bandwidth=bandwidth)
    fabric = Fabric.from_networkx(graph)
    zeros, ones = np.zeros(600, dtype=np.int64), np.ones(600, dtype=np.int64)
    first, second = (find_routes(fabric, zeros, ones, "ecmp", seed) for seed in (1, 2))
    assert first.link.tolist() != second.link.tolist()
    wide = fabric.links_between(np.array([fabric.nodes.index("l0")]), np.array([fabric.nodes.index("s0")]))
    for routes in (first, second):
        assert 250 < (routes.link == wide[0]).sum() < 350


# ------------------------------------------------------------------------------------------------------------ trees


def labels(fabric: Fabric, route: Routes) -> dict[str, float]:
    return dict(zip([fabric.link_label(link) for link in route.link], route.fraction.tolist(), strict=True))


def test_a_tree_on_one_switch() -> None:
    fabric = some.star_of([(1e9, 1e-6), (1e9, 2e-6), (1e9, 5e-6)], in_network=True)
    route = tree_routes(fabric, np.arange(3), np.array([1]))
    assert set(labels(fabric, route)) == {"0 -> switch", "1 -> switch", "2 -> switch", "switch -> 1"}
    assert route.latency.tolist() == pytest.approx([5e-6 + 2e-6])
    assert set(route.fraction.tolist()) == {1.0}


def two_tiers(spines: tuple[float, ...] = (1e9,)) -> Fabric:
    graph = nx.Graph()
    for leaf in range(2):
        graph.add_node(f"leaf{leaf}", kind="switch", multicast=True, reduce=True)
        for host in range(2):
            graph.add_edge(2 * leaf + host, f"leaf{leaf}", bandwidth=1e9, latency=1e-6)
        for number, bandwidth in enumerate(spines):
            graph.add_node(f"spine{number}", kind="switch", multicast=True, reduce=True)
            graph.add_edge(f"leaf{leaf}", f"spine{number}", bandwidth=bandwidth, latency=3e-6)
    return Fabric.from_networkx(graph)


def test_a_tree_adds_on_the_way_up() -> None:
    """One stream on each link, however many ranks are behind it."""
    fabric = two_tiers()
    route = tree_routes(fabric, np.arange(4), np.array([0]))
    found = labels(fabric, route)
    assert found == dict.fromkeys(
        [f"{i} -> leaf{i // 2}" for i in range(4)]
        + ["leaf0 -> spine0", "leaf1 -> spine0", "spine0 -> leaf0", "leaf0 -> 0"],
        1.0,
    )
    assert route.latency.tolist() == pytest.approx([8e-6])
    near = tree_routes(fabric, np.arange(2), np.array([0]))
    assert set(labels(fabric, near)) == {"0 -> leaf0", "1 -> leaf0", "leaf0 -> 0"}


def test_trees_split_over_their_roots_by_width() -> None:
    fabric = two_tiers((0.75e9, 0.25e9))
    found = labels(fabric, tree_routes(fabric, np.arange(4), np.arange(4)))
    assert found["0 -> leaf0"] == pytest.approx(1.0)
    assert found["leaf0 -> spine0"] == pytest.approx(0.75)
    assert found["spine1 -> leaf1"] == pytest.approx(0.25)


def test_trees_that_cannot_be() -> None:
    plain = some.star(3)
    with pytest.raises(RoutingError, match="cannot reduce"):
        tree_routes(plain, np.arange(3), np.array([0]))
    with pytest.raises(RoutingError, match="cannot multicast"):
        tree_routes(plain, np.array([0]), np.arange(3))
    with pytest.raises(RoutingError, match="no switch of 4 joins these 4 ranks"):
        tree_routes(some.ring(4), np.arange(4), np.arange(4))


def test_a_switch_that_hears_but_cannot_answer_is_no_root() -> None:
    """All ranks reach the switch, but its way to rank 0 leads through rank 1, and ranks are leaves only."""
    graph = nx.DiGraph()
    graph.add_nodes_from(range(3))
    graph.add_node("s", kind="switch", multicast=True, reduce=True)
    for rank in range(3):
        graph.add_edge(rank, "s", bandwidth=1e9)
        if rank:
            graph.add_edge("s", rank, bandwidth=1e9)
    graph.add_edge(1, 0, bandwidth=1e9)
    fabric = Fabric.from_networkx(graph)
    with pytest.raises(RoutingError, match="no switch"):
        tree_routes(fabric, np.arange(3), np.arange(3))
    assert set(labels(fabric, tree_routes(fabric, np.arange(3), np.array([2])))) == {
        "0 -> s",
        "1 -> s",
        "2 -> s",
        "s -> 2",
    }


def test_a_way_up_and_another_way_down() -> None:
    """Up through one switch, down through the next."""
    graph = nx.DiGraph()
    graph.add_nodes_from(range(3))
    for switch in "st":
        graph.add_node(switch, kind="switch", multicast=True, reduce=True)
    for rank in range(3):
        graph.add_edge(rank, "s", bandwidth=1e9)
        graph.add_edge("t", rank, bandwidth=1e9)
    graph.add_edge("s", "t", bandwidth=1e9)
    route = tree_routes(Fabric.from_networkx(graph), np.arange(3), np.arange(3))
    assert len(route.link) == 7


@pytest.mark.parametrize("policy", ["shortest", "ecmp"])
@pytest.mark.parametrize("name", ["tpu-v5e:8x8*3", "trn2-ultra*2", "wse3*2,blocks=3x4", "dgx1-v100*2"])
def test_traffic_within_a_domain_stays_there(name: str, policy: str) -> None:
    """Two network interfaces would be a way of two links, where a torus takes up to eight."""
    fabric = topo.load(name).fabric
    source, target = all_pairs(fabric)
    some_pairs = np.random.default_rng(3).integers(len(source), size=400)
    source, target = source[some_pairs], target[some_pairs]
    routes = find_routes(fabric, source, target, policy)
    conserved(fabric, routes, source, target)
    out = np.bincount(routes.rows(), fabric.scale_out[routes.link], len(routes)) > 0
    np.testing.assert_array_equal(out, fabric.domain[source] != fabric.domain[target])


def test_a_domain_whose_own_links_do_not_join_it_uses_the_network() -> None:
    graph = nx.DiGraph(name="two halves")
    for i in range(4):
        graph.add_node(f"gpu{i}", kind="accelerator", domain=i // 2)
    graph.add_node("leaf", kind="switch")
    for i in range(4):
        for a, b in ((f"gpu{i}", "leaf"), ("leaf", f"gpu{i}")):
            graph.add_edge(a, b, bandwidth=1e9, latency=1e-6, tier="scale-out")
    graph.add_edge("gpu2", "gpu3", bandwidth=9e9, latency=1e-6)
    graph.add_edge("gpu3", "gpu2", bandwidth=9e9, latency=1e-6)
    fabric = Fabric.from_networkx(graph)
    routes = find_routes(fabric, np.asarray([0, 2]), np.asarray([1, 3]))
    assert hops(routes).tolist() == [2, 1]


@pytest.mark.parametrize(
    "name",
    [
        "trn2-ultra*3",
        "dgx-h100*40",
        "twisted-torus:4x4x8",
        "mesh:5x6x7",
        "fat-tree:8",
        "torus:6x6x6,failed=0.0.0-0.0.1",
    ],
)
def test_ways_from_both_ends_are_those_from_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fabric = topo.load(name).fabric
    random = np.random.default_rng(1)
    source, target = random.integers(0, fabric.ranks, (2, 300))
    apart = source != target
    found = []
    for small in (0, 1 << 60):
        monkeypatch.setattr("topo.routing.SMALL", small)
        fabric.cache.clear()
        found.append(find_routes(fabric, source[apart], target[apart], "shortest"))
    one, other = found
    assert (one.pointer == other.pointer).all() and (one.link == other.link).all()
    np.testing.assert_allclose(one.fraction, other.fraction, rtol=1e-12)
    np.testing.assert_allclose(one.latency, other.latency, rtol=1e-12)
