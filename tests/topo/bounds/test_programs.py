"""The linear programs against closed forms, weaker programs and their own certificates."""

from __future__ import annotations

import time

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.topo.bounds.graphs import boxes, enumerated, eulerian, ring, star, unit_graph
from topo.bounds import all_bounds, lower_bound
from topo.bounds.all_reduce_lp import all_reduce_bound
from topo.bounds.all_to_all_lp import all_to_all_bound
from topo.bounds.group import group_of
from topo.collective import Collective
from topo.errors import BoundError
from topo.fabric import Fabric
from topologies.full_mesh import full_mesh
from topologies.grid import mesh, torus, twisted_torus
from topologies.hypercube import hypercube
from topologies.rail import rail
from topologies.switched_planes import switched_planes


def all_reduce(fabric: Fabric, size: float = 1.0, in_network: bool | None = None) -> float:
    collective = Collective("all-reduce", fabric.ranks, size)
    return all_reduce_bound(collective, group_of(collective, fabric), in_network).seconds


def all_to_all(fabric: Fabric, block: float = 1.0) -> float:
    collective = Collective("all-to-all", fabric.ranks, block * fabric.ranks)
    return all_to_all_bound(collective, group_of(collective, fabric)).seconds


def fabric(graph: nx.DiGraph) -> Fabric:
    return Fabric.from_networkx(graph)


# ---------------------------------------------------------------------------------------------- all-reduce


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        (unit_graph(6, [(i, i + 1, 1) for i in range(5)]), 1.0),
        (ring(6, 1.0), 2 * 5 / 6 / 2),
        (star(6, 1.0), 5 / 3),
        (star(6, 1.0, multicast=True), 5 / 3),
        (star(6, 1.0, reduce=True), 5 / 3),
        (star(6, 1.0, multicast=True, reduce=True), 1.0),
        (boxes(2, 3, 10, 1, 1.0), 1 / 3),
        (torus((8, 8, 8), 1.0, 0.0), 2 * 511 / 512 / 6),
        (twisted_torus((4, 4, 8), 1.0, 0.0), 2 * 127 / 128 / 6),
        (hypercube(5, 1.0, 0.0), 2 * 31 / 32 / 5),
    ],
)
def test_all_reduce_closed_forms(graph: nx.DiGraph, expected: float) -> None:
    assert all_reduce(fabric(graph)) == pytest.approx(expected, rel=1e-7)


def test_a_dead_cable_costs_little_at_the_optimum() -> None:
    healthy = fabric(torus((3, 3), 1.0, 0.0))
    damaged = healthy.without([("0.0", "0.1")])
    assert all_reduce(healthy) == pytest.approx(16 / 36)
    assert all_reduce(damaged) == pytest.approx(16 / 34)
    assert all_reduce(fabric(ring(6, 1.0)).without([(5, 0)])) == pytest.approx(1.0)


@given(eulerian(most=5, switches=3, able=True))
@settings(max_examples=60)
def test_trees_never_beat_what_holds_for_every_algorithm(found: Fabric) -> None:
    collective = Collective("all-reduce", found.ranks, 840.0)
    best = all_reduce(found, 840.0)
    assert enumerated(collective, found) <= best * (1 + 1e-7)
    assert all_bounds(collective, found)[0].seconds <= best * (1 + 1e-7)


@given(eulerian(most=6, switches=0))
@settings(max_examples=20)
def test_dual_lengths_prove_the_bound_by_shortest_trees(found: Fabric) -> None:
    collective = Collective("all-reduce", found.ranks, 840.0)
    bound = all_reduce_bound(collective, group_of(collective, found))
    assert bound.lengths is not None
    graph = nx.DiGraph()
    for link in range(found.links):
        graph.add_edge(
            int(found.source[link]), int(found.target[link]), weight=max(float(bound.lengths[link]), 1e-9)
        )
    shortest = min(
        _arborescence(graph, root) + _arborescence(graph.reverse(), root) for root in range(found.ranks)
    )
    proved = 840.0 * shortest / float(bound.lengths @ found.bandwidth)
    assert proved == pytest.approx(bound.seconds, rel=1e-5)


def _arborescence(graph: nx.DiGraph, root: int) -> float:
    """Length of the shortest tree that leads from a root to every node."""
    rooted = nx.DiGraph(graph)
    rooted.remove_edges_from(list(graph.in_edges(root)))
    return float(nx.minimum_spanning_arborescence(rooted).size("weight"))


def test_in_network_help_can_be_left_aside_but_not_invented() -> None:
    able = fabric(star(6, 1.0, multicast=True, reduce=True))
    assert all_reduce(able, in_network=True) == pytest.approx(1.0)
    assert all_reduce(able, in_network=False) == pytest.approx(5 / 3)
    with pytest.raises(BoundError, match="no switch"):
        all_reduce(fabric(star(6, 1.0)), in_network=True)


def test_without_patience_the_bound_is_weaker_but_holds() -> None:
    random = np.random.default_rng(5)
    graph = nx.random_regular_graph(4, 24, seed=5)
    found = fabric(unit_graph(24, [(a, b, int(random.integers(1, 5))) for a, b in graph.edges]))
    collective = Collective("all-reduce", 24, 1e3)
    group = group_of(collective, found)
    hasty, patient = (all_reduce_bound(collective, group, patience=seconds) for seconds in (0.0, 20.0))
    assert patient.data["exact"] and not hasty.data["exact"] and "0 s of CPU" in hasty.data["why"]
    assert 0 < hasty.seconds <= patient.seconds * (1 + 1e-9)


def test_32_accelerators_within_the_half_minute() -> None:
    random = np.random.default_rng(7)
    graph = nx.random_regular_graph(4, 32, seed=7)
    found = fabric(unit_graph(32, [(a, b, int(random.integers(1, 4))) for a, b in graph.edges]))
    start = time.process_time()
    bound = lower_bound(Collective("all-reduce", 32, 1e3), found, exact=True)
    assert time.process_time() - start < 30
    assert bound.kind == "all-reduce-lp"


# ---------------------------------------------------------------------------------------------- all-to-all


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        (torus((4, 4, 8), 1.0, 0.0), 128.0),
        (torus((5, 5), 1.0, 0.0), 25 * 24 / 40),
        (twisted_torus((4, 4, 8), 1.0, 0.0), 220 / 3),
        (twisted_torus((8, 4, 8), 1.0, 0.0), 184.0),
        (twisted_torus((8, 8, 16), 1.0, 0.0), 3568 / 3),
        (mesh((8, 8), 1.0, 0.0), 32 * 32 / 8),
        (hypercube(6, 1.0, 0.0), 32.0),
        (full_mesh(7, 1.0, 0.0), 1.0),
        (star(9, 1.0), 8.0),
        (switched_planes(12, [1, 2], 1.0, 0.0), 11 / 3),
    ],
)
def test_all_to_all_closed_forms(graph: nx.DiGraph, expected: float) -> None:
    assert all_to_all(fabric(graph)) == pytest.approx(expected, rel=1e-9)


def test_all_to_all_of_a_cluster_is_folded_to_one_source() -> None:
    found = rail(16, 8, bandwidth=9.0, latency=0.0, nic=1.0, nic_latency=0.0)
    collective = Collective("all-to-all", 128, 128.0)
    bound = all_to_all_bound(collective, group_of(collective, found))
    assert bound.seconds == pytest.approx(8 * 120 / 8)
    assert bound.data["links_with_length"] <= found.links


@given(eulerian(most=5))
@settings(max_examples=30)
def test_folding_changes_nothing(found: Fabric) -> None:
    uniform = Collective("all-to-all", found.ranks, 840.0)
    spelled = Collective(
        "all-to-all", found.ranks, 840.0, matrix=((840.0 / found.ranks,) * found.ranks,) * found.ranks
    )  # with a matrix no symmetry is used
    group = group_of(uniform, found)
    folded, plain = all_to_all_bound(uniform, group), all_to_all_bound(spelled, group)
    assert folded.seconds == pytest.approx(plain.seconds, rel=1e-7)
    assert all_bounds(uniform, found)[0].seconds <= plain.seconds * (1 + 1e-7)


def test_unequal_blocks() -> None:
    found = fabric(star(4, 1.0))
    blocks = np.ones((4, 4))
    blocks[:, 2] = 10.0
    collective = Collective("all-to-all", 4, 1.0, matrix=tuple(map(tuple, blocks.tolist())))
    bound = lower_bound(collective, found, exact=True)
    assert bound.kind == "all-to-all-lp" and bound.seconds == pytest.approx(30.0)


def test_nothing_to_exchange() -> None:
    empty = Collective("all-to-all", 4, 1.0, matrix=((0.0,) * 4,) * 4)
    with pytest.raises(BoundError, match="no rank sends"):
        all_to_all_bound(empty, group_of(empty, fabric(star(4, 1.0))))


@pytest.mark.parametrize("dims", [(8, 8, 16), (16, 16, 16)])
def test_thousands_of_nodes_within_two_seconds(dims: tuple[int, int, int]) -> None:
    found = fabric(torus(dims, 1.0, 0.0))
    all_to_all(fabric(torus((4,), 1.0, 0.0)))  # imports
    start = time.process_time()
    assert all_to_all(found) == pytest.approx(found.ranks * max(dims) / 8)
    assert time.process_time() - start < 2


# ------------------------------------------------------------------------------------------------- too large


@pytest.mark.parametrize(
    ("operation", "module", "kind"),
    [("all-to-all", "all_to_all_lp", ("cut", "capacity")), ("all-reduce", "all_reduce_lp", ("ports",))],
)
def test_programs_that_are_too_large(
    monkeypatch: pytest.MonkeyPatch, operation: str, module: str, kind: tuple[str, ...]
) -> None:
    monkeypatch.setattr(f"topo.bounds.{module}.MOST_VARIABLES", 10)
    found = fabric(torus((4, 4), 1.0, 0.0)).without([("0.0", "0.1")])
    solve = all_reduce if operation == "all-reduce" else all_to_all
    with pytest.raises(BoundError, match=r"variables \(.* 62 links\), more than 10; use the"):
        solve(found)
    bound = lower_bound(Collective(operation, 16, 1e6), found, exact=True)
    assert bound.kind in kind and "variables" in bound.data["why"] and bound.data["exact"] is False


def test_a_simple_certificate_is_quoted() -> None:
    bound = lower_bound(Collective("all-to-all", 64, 64e6), fabric(torus((4, 4, 4))), exact=True)
    assert bound.kind == "all-to-all-lp" and bound.certificate.startswith("the slab with coordinate 0")
    assert bound.data["simpler"] == "cut" and bound.data["program"]["exact"] is True


@given(st.sampled_from([torus((3, 4)), hypercube(3), star(5, 1e9), mesh((2, 5))]), st.floats(0.01, 100.0))
@settings(max_examples=12)
def test_units_do_not_matter(graph: nx.DiGraph, factor: float) -> None:
    found = fabric(graph)
    for solve in (all_reduce, all_to_all):
        slow = found.scaled(latency=0.0)
        assert solve(slow.scaled(bandwidth=factor)) * factor == pytest.approx(solve(slow), rel=1e-7)
