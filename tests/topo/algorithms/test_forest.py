"""Forests: proved, as fast as the cut bound, on healthy and damaged graphs with and without switches."""

from __future__ import annotations

import time
from fractions import Fraction

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.topo.algorithms.examples import (
    UNIT,
    boxes,
    cabled,
    cut_torus,
    grid,
    known,
    line,
    schedule,
    seconds,
    star,
)
from topo.algorithms import Site, build, find, refusal
from topo.algorithms.forest import _plan
from topo.algorithms.synthesis.forest import spreading
from topo.algorithms.synthesis.streams import Pace
from topo.bounds import lower_bound
from topo.choose import History
from topo.collective import Collective
from topo.errors import AlgorithmError, ScheduleError
from topo.fabric import Fabric
from topo.schedule import Schedule
from topo.simulate import run_schedule, simulate
from topo.system import System

KNOWN = known()
OPERATIONS = ("all-reduce", "all-gather", "reduce-scatter", "broadcast", "reduce")
LARGE = 4e9
CHUNKS = 1024
MESH = [(i, i + 3, 1.0) for i in range(6)] + [(i, i + 1, 1.0) for i in range(9) if i % 3 < 2]


def _share_of_chunks(fabric: Fabric, operation: str, chunks: int) -> Schedule:
    made = schedule("forest", fabric, operation, 840_000.0 * fabric.ranks, chunks, root=1)
    made.verify()
    return made


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("name", KNOWN)
def test_every_schedule_is_proved_and_beats_no_bound(name: str, operation: str) -> None:
    fabric = KNOWN[name][0]
    for chunks in (1, 2, 5):
        made = _share_of_chunks(fabric, operation, chunks)
        time = run_schedule(made, fabric)
        assert time >= lower_bound(made.collective, fabric, exact=True).seconds * (1 - 1e-9)


@pytest.mark.parametrize("operation", ["all-gather", "reduce-scatter"])
@pytest.mark.parametrize("name", KNOWN)
def test_gathering_tends_to_the_cut_bound(name: str, operation: str) -> None:
    fabric, ratio, _ = KNOWN[name]
    ideal = float(ratio) * LARGE / fabric.ranks / UNIT
    time = seconds("forest", fabric, operation, LARGE, CHUNKS)
    assert ideal <= time <= 1.01 * ideal


@pytest.mark.parametrize("name", KNOWN)
def test_all_reduce_tends_to_the_joint_bound(name: str) -> None:
    fabric, _, ratio = KNOWN[name]
    ideal = float(ratio) * LARGE / UNIT
    time = seconds("forest", fabric, "all-reduce", LARGE, CHUNKS)
    assert ideal <= time <= 1.02 * ideal


@pytest.mark.parametrize("operation", ["all-gather", "reduce-scatter", "all-reduce", "broadcast"])
@pytest.mark.parametrize("name", KNOWN)
def test_no_step_takes_longer_than_the_pace_says(name: str, operation: str) -> None:
    fabric = KNOWN[name][0]
    for size in (1e4, 1e6, LARGE):
        collective = Collective(operation, fabric.ranks, size)
        roots, hops, _ = _plan(collective, Site(fabric, np.arange(fabric.ranks)))
        pace = Pace.of(hops, fabric.bandwidth)
        for chunks in (1, 2, 3, 7, 64):
            tree = size / len(roots)
            most = pace.whole(chunks, pace.best_lag(chunks, tree), tree)
            assert seconds(f"forest:pieces={chunks}", fabric, operation, size) <= most * (1 + 1e-9)


@pytest.mark.parametrize("name", KNOWN)
def test_the_number_of_chunks_is_found(name: str) -> None:
    fabric, gathering, reducing = KNOWN[name]
    for operation, ideal in (
        ("all-gather", float(gathering) * LARGE / fabric.ranks / UNIT),
        ("reduce-scatter", float(gathering) * LARGE / fabric.ranks / UNIT),
        ("all-reduce", float(reducing) * LARGE / UNIT),
    ):
        assert ideal <= seconds("forest", fabric, operation, LARGE) <= 1.02 * ideal
        few, found = (seconds(f"forest{how}", fabric, operation, 1e5) for how in (":pieces=1", ""))
        assert found <= few * (1 + 1e-9)


def test_all_reduce_is_faster_than_its_two_halves_where_the_graph_is_irregular() -> None:
    fabric = KNOWN["cut cable"][0]
    halves = sum(seconds("forest", fabric, op, LARGE, 256) for op in ("reduce-scatter", "all-gather"))
    assert seconds("forest", fabric, "all-reduce", LARGE, 256) < 0.8 * halves


@pytest.mark.parametrize(
    ("fabric", "ratio"),
    [
        (cabled("mesh3x3", range(9), MESH), Fraction(16, 24)),
        (line(6), Fraction(1)),
        (cut_torus(3, 3), Fraction(16, 34)),
    ],
    ids=["mesh", "path", "cut torus"],
)
def test_all_reduce_on_graphs_where_no_even_split_is_best(fabric: Fabric, ratio: Fraction) -> None:
    ideal = float(ratio) * LARGE / UNIT
    _share_of_chunks(fabric, "all-reduce", 3)
    assert ideal <= seconds("forest", fabric, "all-reduce", LARGE, CHUNKS) <= 1.03 * ideal


@pytest.mark.parametrize("operation", ["broadcast", "reduce"])
def test_from_one_root_the_smallest_cut_counts(operation: str) -> None:
    for fabric, cut in ((grid(3, 4), 4), (KNOWN["cut cable"][0], 3), (boxes(2, 4), 4), (star(5), 1)):
        ideal = LARGE / (cut * UNIT)
        time = seconds("forest", fabric, operation, LARGE, CHUNKS, root=2)
        assert ideal <= time <= 1.03 * ideal, fabric.name


def test_a_twisted_torus_is_used_in_full() -> None:
    from topologies.grid import twisted_torus

    fabric = Fabric.from_networkx(twisted_torus((2, 2, 4), UNIT, 1e-6))
    _share_of_chunks(fabric, "all-gather", 2)
    ideal = 15 / 16 * LARGE / (6 * UNIT)
    assert seconds("forest", fabric, "all-gather", LARGE, CHUNKS) <= 1.01 * ideal


def test_links_wider_one_way_are_used_as_they_are() -> None:
    graph = nx.DiGraph()
    for i in range(6):
        graph.add_edge(i, (i + 1) % 6, bandwidth=3 * UNIT, latency=1e-6)
        graph.add_edge((i + 1) % 6, i, bandwidth=UNIT, latency=1e-6)
    fabric = Fabric.from_networkx(graph, "uneven ring")
    for operation in OPERATIONS:
        _share_of_chunks(fabric, operation, 3)
    ideal = 5 / 6 * LARGE / (4 * UNIT)
    assert ideal <= seconds("forest", fabric, "all-gather", LARGE, CHUNKS) <= 1.01 * ideal
    assert seconds("forest", fabric, "all-reduce", LARGE, CHUNKS) <= 2.02 * ideal


def test_one_way_links_are_enough() -> None:
    graph = nx.DiGraph()
    for i in range(5):
        graph.add_edge(i, (i + 1) % 5, bandwidth=UNIT, latency=1e-6)
    fabric = Fabric.from_networkx(graph, "one-way ring")
    for operation in OPERATIONS:
        _share_of_chunks(fabric, operation, 2)
    assert seconds("forest", fabric, "all-gather", LARGE, CHUNKS) <= 1.01 * 4 / 5 * LARGE / UNIT


def test_accelerators_outside_the_group_pass_bytes_on() -> None:
    fabric = grid(4, 4)
    ranks = np.asarray([9, 3, 1, 12])
    for operation in OPERATIONS:
        made = build("forest", Collective(operation, 4, 4e9), Site(fabric, ranks), 8)
        made.verify()
        time = run_schedule(made, fabric, ranks=ranks)
        assert time >= lower_bound(made.collective, fabric, ranks, exact=True).seconds * (1 - 1e-9)


def test_parallel_planes_are_one_wide_switch() -> None:
    cables = [(rank, f"plane{plane}", 1.0) for rank in range(4) for plane in range(3)]
    fabric = cabled("planes", range(4), cables)
    _share_of_chunks(fabric, "all-gather", 2)
    ideal = 3 / 4 * LARGE / (3 * UNIT)
    assert ideal <= seconds("forest", fabric, "all-gather", LARGE, 64) <= 1.001 * ideal


def test_bandwidths_that_are_no_round_numbers() -> None:
    third = cabled("thirds", range(5), [(i, (i + 1) % 5, 1 / 3) for i in range(5)])
    ideal = 4 / 5 * LARGE / (2 / 3 * UNIT)
    assert ideal * (1 - 1e-9) <= seconds("forest", third, "all-gather", LARGE, CHUNKS) <= 1.01 * ideal
    random = np.random.default_rng(3)
    odd = cabled("odd", range(5), [(i, j, random.uniform(1, 9)) for i in range(5) for j in range(i)])
    made = schedule("forest", odd, "all-gather", LARGE, 256)
    assert "rounded down" in made.detail
    bound = lower_bound(made.collective, odd, exact=True).seconds
    assert bound * (1 - 1e-5) <= run_schedule(made, odd) <= 1.03 * bound


def test_a_switch_that_cannot_give_out_what_it_takes_in_is_refused_by_name() -> None:
    graph = star(3).to_networkx()
    graph.edges[0, "switch"]["bandwidth"] *= 2
    fabric = Fabric.from_networkx(graph, "lopsided")
    with pytest.raises(AlgorithmError, match=r"on lopsided: .* reach switch but .* leave it"):
        schedule("forest", fabric, "all-gather", 1e6)


def test_too_many_nodes_are_refused() -> None:
    graph = nx.path_graph(3000)
    nx.set_edge_attributes(graph, UNIT, "bandwidth")
    fabric = Fabric.from_networkx(graph, "long")
    site = Site(fabric, np.arange(8))
    assert "3000 nodes" in refusal(find("forest"), Collective("all-gather", 8, 1e6), site)
    assert "1025 ranks" in refusal(
        find("forest"), Collective("all-gather", 1025, 1e6), Site(fabric, np.arange(1025))
    )


def test_auto_does_not_search_on_its_own() -> None:
    assert find("forest").costly
    assert find("synthesised").costly


def test_the_detail_says_what_was_packed() -> None:
    assert (
        schedule("forest", grid(3, 4), "all-gather", 1e6, 4).detail == "48 trees of height 3, 4 chunks a tree"
    )


def test_a_broken_tree_does_not_pass_the_proof() -> None:
    made = schedule("forest", line(4), "all-gather", 1e6, 2)
    missing = Schedule(made.collective, made.algorithm, made.batches[:-1], made.cutting, made.detail)
    with pytest.raises(ScheduleError, match="incomplete"):
        missing.verify()


@st.composite
def duplex_graphs(draw: st.DrawFn) -> Fabric:
    """Connected graphs of full-duplex cables, some nodes of which are switches."""
    ranks = draw(st.integers(2, 6))
    switches = draw(st.integers(0, 3))
    nodes: list[object] = [*range(ranks), *(f"s{i}" for i in range(switches))]
    capacity = st.integers(1, 4)
    cables = {}
    for i in range(1, len(nodes)):
        cables[draw(st.integers(0, i - 1)), i] = draw(capacity)
    for _ in range(draw(st.integers(0, 5))):
        i, j = sorted((draw(st.integers(0, len(nodes) - 1)), draw(st.integers(0, len(nodes) - 1))))
        if i != j:
            cables[i, j] = draw(capacity)
    return cabled("random", range(ranks), [(nodes[i], nodes[j], c) for (i, j), c in cables.items()])


@given(duplex_graphs(), st.sampled_from(OPERATIONS))
@settings(max_examples=60)
def test_on_any_duplex_graph_the_forest_is_right_and_tends_to_the_bound(
    fabric: Fabric, operation: str
) -> None:
    made = _share_of_chunks(fabric, operation, 2)
    assert run_schedule(made, fabric) > 0
    bound = lower_bound(Collective(operation, fabric.ranks, LARGE), fabric, exact=True)
    time = seconds("forest", fabric, operation, LARGE, CHUNKS)
    assert bound.seconds * (1 - 1e-6) <= time
    assert time <= 1.04 * bound.seconds, bound.certificate


def test_sixty_four_accelerators_within_the_minute() -> None:
    for fabric in (cut_torus(4, 4, 4), boxes(8, 8, 9, 1)):
        start = time.process_time()
        for operation in ("all-gather", "all-reduce"):
            schedule("forest", fabric, operation, 1e9, 16)
        assert time.process_time() - start < 60


@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (4, 4, 4)])
def test_trees_of_one_root_stay_flat_and_share_no_link(shape: tuple[int, ...]) -> None:
    """2 D trees on a torus, growing in turn: none much higher than the farthest rank is away."""
    fabric = grid(*shape)
    weights = np.zeros(fabric.ranks, dtype=np.int64)
    weights[0] = 1
    trees = spreading(fabric, np.arange(fabric.ranks), weights)
    assert trees.trees == 2 * len(shape)
    used = [link for tree in trees.way for way in tree[tree >= 0] for link in trees.ways[way].links]
    assert len(used) == len(set(used)) == trees.trees * (fabric.ranks - 1)
    assert trees.height <= sum(side // 2 for side in shape) + 2


@pytest.mark.parametrize("operation", ["broadcast", "reduce"])
def test_auto_takes_the_trees_where_nothing_else_comes_near(operation: str) -> None:
    fabric = grid(4, 4)
    system = System("torus", fabric)
    result = simulate(system, Collective(operation, fabric.ranks, 2.0**30))
    assert result.algorithm == "forest" and result.bound_ratio < 1.05


def test_auto_goes_on_with_the_trees_while_sizes_fall() -> None:
    fabric = grid(4, 4)
    system, history = System("torus", fabric), History()
    found = [
        simulate(system, Collective("broadcast", fabric.ranks, size), history=history)
        for size in (2.0**30, 2.0**26, 2.0**10)
    ]
    assert [result.algorithm == "forest" for result in found] == [True, True, False]
    for result in found:
        alone = simulate(system, Collective("broadcast", fabric.ranks, result.bytes))
        assert result.time_s <= alone.time_s * 1.02
