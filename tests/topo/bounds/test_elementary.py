"""The elementary bounds against closed forms."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings

from tests.topo.bounds.graphs import eulerian
from topo.bounds import all_bounds, bisection, diameter, lower_bound
from topo.collective import Collective
from topo.errors import BoundError
from topo.fabric import Fabric
from topologies.grid import mesh, torus, twisted_torus
from topologies.hypercube import hypercube
from topologies.path import path
from topologies.switch import switch

B, A, S = 50e9, 1e-6, 64e6


def fabric(graph: object) -> Fabric:
    return graph if isinstance(graph, Fabric) else Fabric.from_networkx(graph)


@pytest.mark.parametrize(
    ("graph", "operation", "expected"),
    [
        (torus((4, 4, 4)), "all-reduce", 2 * 63 / 64 * S / (6 * B) + A),
        (torus((4, 4, 4)), "all-gather", 63 / 64 * S / (6 * B) + A),
        (torus((4, 4, 4)), "reduce-scatter", 63 / 64 * S / (6 * B) + A),
        # N L/8 m/B, the bisection of the longest dimension
        (torus((4, 4, 8)), "all-to-all", 128 * 8 / 8 * S / 128 / B + A),
        (torus((5, 5)), "all-to-all", 25 * 24 / (8 * 5) * S / 25 / B + A),
        # sum of distances over degree: N (7k/8 - 1/(4k)) / 6 m/B
        (twisted_torus((4, 4, 8)), "all-to-all", 128 * (7 * 4 / 8 - 1 / 16) / 6 * S / 128 / B + A),
        (path(7), "all-to-all", 3 * 4 * S / 7 / B + A),
        (path(8), "all-gather", 7 / 8 * S / B + A),
        (path(8), "broadcast", S / B + A),
        (switch(8), "all-reduce", 2 * 7 / 8 * S / B + 2 * A),
        (switch(8), "all-to-all", 7 / 8 * S / B + 2 * A),
        (switch(8), "send-recv", S / B + 2 * A),
        (mesh((4, 4)), "barrier", 6 * A),
        (hypercube(5), "barrier", 5 * A),
    ],
)
def test_closed_forms(graph: object, operation: str, expected: float) -> None:
    it = fabric(graph)
    bound = lower_bound(Collective(operation, it.ranks, S), it)
    assert bound.seconds == pytest.approx(expected, rel=1e-9)
    assert bound.certificate and bound.data


@pytest.mark.parametrize("operation", ["all-reduce", "all-gather", "reduce-scatter", "broadcast", "reduce"])
def test_in_network_help_leaves_what_each_port_must_pass(operation: str) -> None:
    it = fabric(switch(8))
    helped = Fabric.from_networkx(_able(it))
    bound = lower_bound(Collective(operation, 8, S), helped)
    share = 7 / 8 if operation in ("all-gather", "reduce-scatter") else 1
    assert bound.seconds == pytest.approx(share * S / B + 2 * A, rel=1e-9)


def _able(it: Fabric) -> object:
    graph = it.to_networkx()
    for _, data in graph.nodes(data=True):
        if data["kind"] == "switch":
            data["multicast"] = data["reduce"] = True
    return graph


def test_a_slow_link_far_away_is_seen_in_latency_and_cut() -> None:
    graph = path(4)
    for a, b in ((1, 2), (2, 1)):
        graph.edges[a, b].update(bandwidth=1e9, latency=5e-3)
    bound = lower_bound(Collective("all-reduce", 4, S), fabric(graph))
    assert bound.kind == "cut"
    assert bound.seconds == pytest.approx(S / 1e9 + 5e-3)
    assert sorted(bound.data["links"]) == ["1 -> 2"] or sorted(bound.data["links"]) == ["2 -> 1"]


def test_a_group_of_some_ranks() -> None:
    it = fabric(torus((4, 4)))
    row = np.asarray([0, 1, 2, 3])
    bounds = all_bounds(Collective("all-gather", 4, S), it, row)
    assert bounds[0].seconds == pytest.approx(3 / 4 * S / (4 * B) + A)
    assert max(b.seconds for b in bounds if b.kind == "latency") == pytest.approx(2 * A)


@pytest.mark.parametrize("ranks", [[0, 1, 2], [0, 1, 2, 99], [0, 1, 2, 2]])
def test_bad_groups(ranks: list[int]) -> None:
    with pytest.raises(BoundError, match="rank"):
        lower_bound(Collective("all-gather", 4, S), fabric(torus((4, 4))), np.asarray(ranks))


def test_group_larger_than_the_fabric() -> None:
    with pytest.raises(BoundError, match="16 accelerators"):
        lower_bound(Collective("all-gather", 17, S), fabric(torus((4, 4))))


def test_matrix_of_blocks() -> None:
    matrix = np.ones((4, 4)) * 1e6
    matrix[0, 3] = 50e6
    collective = Collective("all-to-all", 4, S, matrix=tuple(map(tuple, matrix.tolist())))
    bounds = all_bounds(collective, fabric(path(4)))
    # over the middle of the path: three blocks of 1 MB and one of 50 MB each way
    assert bounds[0].seconds == pytest.approx(53e6 / B + A)


@pytest.mark.parametrize(
    ("graph", "expected", "hops"),
    [
        (torus((4, 4, 8)), 2 * 128 / 8 * B, 8),
        (torus((16, 16, 16)), 2 * 4096 / 16 * B, 24),
        (mesh((4, 6)), 24 / 6 * B, 8),
        (switch(8), 4 * B, 2),
        (hypercube(6), 32 * B, 6),
        (path(9), B, 8),
    ],
)
def test_bisection_and_diameter(graph: object, expected: float, hops: int) -> None:
    it = fabric(graph)
    assert bisection(it)[0] == pytest.approx(expected)
    assert diameter(it) == hops


def test_damage_moves_the_bisection() -> None:
    it = fabric(torus((4, 4))).without([("0.0", "0.1")])
    assert bisection(it)[0] == pytest.approx(7 * B)
    assert diameter(it) == 4


@given(eulerian(most=7, switches=4))
@settings(max_examples=40)
def test_diameter_and_latency_of_any_graph(it: Fabric) -> None:
    graph = it.to_networkx()
    hops = dict(nx.all_pairs_shortest_path_length(graph))
    labels = [it.nodes[node] for node in it.accelerators]
    longest = max(hops[a][b] for a in labels for b in labels)
    assert diameter(it) == longest
    slow = it.scaled()
    slow.latency[:] = 1.0
    assert lower_bound(Collective("barrier", it.ranks, 0), slow).seconds == longest


@pytest.mark.parametrize(
    "failed", [[("0.0.0", "0.0.1")], [("0.0.0", "0.0.1"), ("1.2.3", "1.3.3"), ("2.2.0", "2.2.1")]]
)
def test_diameter_of_damaged_tori(failed: list[tuple[str, str]]) -> None:
    it = fabric(torus((4, 4, 4))).without(failed)
    assert diameter(it) == nx.diameter(it.to_networkx().to_undirected())
