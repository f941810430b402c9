"""Whole runs: what holds for every fabric, operation and algorithm, and how ``auto`` chooses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import topo
from tests import strategies as some
from topo.algorithms import Site, build, fitting
from topo.bounds import Bound, lower_bound
from topo.choose import Options
from topo.collective import Collective
from topo.errors import CollectiveError, InternalError, NetworkError, TopoError
from topo.fabric import Fabric
from topo.simulate import group_of, require_bound, run_schedule, simulate
from topo.system import System

OPERATIONS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "broadcast", "reduce", "send-recv")
FABRICS = {
    "ring": some.ring(6),
    "path": some.torus((5,), wrap=(False,)),
    "torus": some.torus((3, 4)),
    "mesh": some.torus((2, 3), wrap=(False, False)),
    "star": some.star(8, in_network=True),
    "uneven": some.star_of([(1e10, 1e-6), (3e10, 0.0), (5e9, 5e-6), (1e10, 1e-6), (2e10, 1e-5)]),
    "domains": some.domains_on_a_switch(2, 4),
    "damaged": some.torus((4, 4)).without([(0, 1), (5, 9)]),
    "twisted": topo.load("twisted-torus:2x2x4").fabric,
    "mesh4": topo.load("full-mesh:4").fabric,
}
SIZES = (1.0, 1e4, 1e8)


def system(fabric: Fabric) -> System:
    return System(fabric.name, fabric)


def seconds(fabric: Fabric, collective: Collective, algorithm: str, options: Options | None = None) -> float:
    site = Site(fabric, np.arange(fabric.ranks))
    return run_schedule(build(algorithm, collective, site), fabric, options=options)


def able(fabric: Fabric, collective: Collective) -> list[str]:
    """Names of the algorithms that fit and are quick to build."""
    site = Site(fabric, np.arange(fabric.ranks))
    return [entry.name for entry in fitting(collective, site) if not entry.costly]


# ----------------------------------------------------------------------------------------------- bounds and parts


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("name", FABRICS)
def test_no_run_beats_its_bound(name: str, operation: str) -> None:
    fabric = FABRICS[name]
    for size in SIZES:
        collective = Collective(operation, fabric.ranks, size)
        bound = lower_bound(collective, fabric)
        assert bound.seconds > 0
        for algorithm in able(fabric, collective):
            for barrier in (False, True):
                time = seconds(fabric, collective, algorithm, Options(barrier=barrier))
                assert time >= bound.seconds * (1 - 1e-9), (algorithm, size, barrier, bound.kind)


@pytest.mark.parametrize("name", FABRICS)
def test_time_is_made_of_its_parts(name: str) -> None:
    for operation in ("all-reduce", "all-to-all"):
        result = topo.simulate(FABRICS[name], operation, "1MB", certify=True)
        parts = (result.latency_s, result.serialisation_s, result.contention_s)
        assert all(part >= 0 for part in parts)
        assert sum(parts) == pytest.approx(result.time_s, rel=1e-9)
        assert result.busbw_Bps == pytest.approx(
            result.algbw_Bps * Collective(operation, result.ranks, 1e6).busbw_factor
        )
        assert result.algbw_Bps == pytest.approx(1e6 / result.time_s)
        assert result.bound_ratio == pytest.approx(result.time_s / result.bound_s)
        assert 0 < result.bottleneck_utilisation <= 1


def test_parts_of_a_time_in_closed_form() -> None:
    """Three of one switch send to one: 2a of latency, S/B alone, twice that again by sharing the last link."""
    result = topo.simulate(some.star(4, 1e10, 1e-6), "reduce", "10MB", algorithm="direct")
    assert result.latency_s == pytest.approx(2e-6)
    assert result.serialisation_s == pytest.approx(1e-3)
    assert result.contention_s == pytest.approx(2e-3)
    assert result.bottleneck == "link switch -> 0, 99.9% busy"


# --------------------------------------------------------------------------------------- what changes nothing


@settings(max_examples=25)
@given(st.sampled_from(sorted(FABRICS)), st.sampled_from(OPERATIONS), st.floats(0.01, 100), st.data())
def test_faster_links_and_longer_cables(
    name: str, operation: str, factor: float, data: st.DataObject
) -> None:
    """Bytes and bandwidth times a factor: the same time.  Latency and bytes times a factor: the time times it."""
    fabric = FABRICS[name]
    collective = Collective(operation, fabric.ranks, data.draw(some.sizes()))
    algorithm = data.draw(st.sampled_from(able(fabric, collective)))
    time = seconds(fabric, collective, algorithm)
    more = replace(collective, bytes=collective.bytes * factor)
    assert seconds(fabric.scaled(bandwidth=factor), more, algorithm) == pytest.approx(time, rel=1e-7)
    assert seconds(fabric.scaled(latency=factor), more, algorithm) == pytest.approx(time * factor, rel=1e-7)


@settings(max_examples=25)
@given(st.sampled_from(sorted(FABRICS)), st.sampled_from(OPERATIONS), st.data())
def test_folding_changes_nothing(name: str, operation: str, data: st.DataObject) -> None:
    fabric = FABRICS[name]
    collective = Collective(operation, fabric.ranks, data.draw(some.sizes()))
    algorithm = data.draw(st.sampled_from(able(fabric, collective)))
    for barrier in (False, True):
        folded, plain = (
            seconds(fabric, collective, algorithm, Options(barrier=barrier, folding=folding, certify=True))
            for folding in (True, False)
        )
        assert folded == pytest.approx(plain, rel=1e-9)


@settings(max_examples=25)
@given(st.one_of(some.graphs(), some.graphs((6, 8), 0)), st.sampled_from(OPERATIONS), st.data())
def test_names_and_the_order_of_drawing_change_nothing(
    graph: object, operation: str, data: st.DataObject
) -> None:
    """Edges and switches drawn in another order under other names; ranks keep their order."""
    import networkx as nx

    assert isinstance(graph, nx.DiGraph)
    fabric = Fabric.from_networkx(graph)
    random = np.random.default_rng(data.draw(st.integers(0, 1000)))
    moved = nx.DiGraph()
    ranks = [node for node, kind in graph.nodes(data="kind", default="accelerator") if kind == "accelerator"]
    others = [node for node in graph if node not in ranks]
    for node in [*ranks, *(others[i] for i in random.permutation(len(others)))]:
        moved.add_node(("new", node), **graph.nodes[node])
    edges = list(graph.edges(data=True))
    for i in random.permutation(len(edges)):
        a, b, values = edges[i]
        moved.add_edge(("new", a), ("new", b), **values)
    renamed = Fabric.from_networkx(moved)
    collective = Collective(operation, fabric.ranks, 1e6)
    for algorithm in able(fabric, collective):
        one, other = (seconds(which, collective, algorithm) for which in (fabric, renamed))
        assert one == pytest.approx(other, rel=1e-9), algorithm


@pytest.mark.parametrize("shape", [(6,), (4, 4), (3, 5)])
def test_translating_a_torus_changes_nothing(shape: tuple[int, ...]) -> None:
    """Ranks numbered from another corner: rooted operations from any root take as long."""
    fabric = some.torus(shape)
    for operation in ("broadcast", "reduce"):
        for algorithm in ("direct", "binomial-tree"):
            times = [
                seconds(fabric, Collective(operation, fabric.ranks, 1e6, root=root), algorithm)
                for root in (0, 1, 4)
            ]
            if algorithm == "direct":
                assert times == pytest.approx([times[0]] * 3, rel=1e-9)
            assert min(times) > 0


# ------------------------------------------------------------------------------------------------------ monotony


@pytest.mark.parametrize("name", FABRICS)
@pytest.mark.parametrize("operation", ["all-reduce", "all-to-all"])
def test_more_bytes_never_take_less_time(name: str, operation: str) -> None:
    fabric = FABRICS[name]
    for algorithm in able(fabric, Collective(operation, fabric.ranks, 1.0)):
        times = [
            seconds(fabric, Collective(operation, fabric.ranks, size), algorithm)
            for size in (1e3, 1e5, 1e7, 1e9)
        ]
        assert times == sorted(times), algorithm


# ---------------------------------------------------------------------------------------------------------- auto


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("name", ["ring", "torus", "star", "domains", "damaged"])
def test_auto_is_the_fastest(name: str, operation: str) -> None:
    """Within the half per mille at which it stops looking; and its own name gives its own time."""
    fabric = FABRICS[name]
    for size in (1e3, 1e8):
        collective = Collective(operation, fabric.ranks, size)
        chosen = simulate(system(fabric), collective)
        for algorithm in able(fabric, collective):
            assert chosen.time_s <= seconds(fabric, collective, algorithm) * 1.0005, algorithm
        again = simulate(system(fabric), collective, algorithm=chosen.algorithm, chunks=chosen.chunks)
        assert again.time_s == pytest.approx(chosen.time_s, rel=1e-9)


def test_what_is_kept_for_other_sizes_is_right() -> None:
    """Compiled programs serve other sizes; a fresh fabric must give the same times."""
    for operation in ("all-reduce", "all-to-all", "broadcast"):
        used = some.domains_on_a_switch(2, 4)
        for size in (1e3, 3.3e5, 7e8, 1e3):
            fresh = some.domains_on_a_switch(2, 4)
            for algorithm in able(fresh, Collective(operation, 8, size)):
                one, other = (topo.simulate(f, operation, size, algorithm=algorithm) for f in (used, fresh))
                assert one.time_s == pytest.approx(other.time_s, rel=1e-12), algorithm
                assert one.bottleneck == other.bottleneck
                assert one.transfers == other.transfers


@pytest.mark.parametrize("switching", ["cut-through", "store-and-forward"])
@pytest.mark.parametrize("routing", ["auto", "shortest", "ecmp"])
def test_every_option_with_certificates(switching: str, routing: str) -> None:
    for name, fabric in FABRICS.items():
        result = topo.simulate(
            fabric,
            "all-reduce",
            "1MB",
            algorithm="ring",
            switching=switching,
            routing=routing,
            seed=3,
            certify=True,
        )
        assert result.time_s >= result.bound_s * (1 - 1e-9), name
        assert (result.switching, result.algorithm) == (switching, "ring")


def test_ecmp_is_reproducible() -> None:
    fabric = topo.load("fat-tree:4x4").fabric
    times = {
        seed: topo.simulate(fabric, "all-to-all", "16MB", routing="ecmp", seed=seed).time_s
        for seed in range(4)
    }
    assert times == {
        seed: topo.simulate(fabric, "all-to-all", "16MB", routing="ecmp", seed=seed).time_s
        for seed in range(4)
    }
    assert len(set(times.values())) > 1


# -------------------------------------------------------------------------------------------------------- groups


@settings(max_examples=40)
@given(st.sampled_from(sorted(FABRICS)), st.sampled_from(OPERATIONS), st.data())
def test_any_group_in_any_order(name: str, operation: str, data: st.DataObject) -> None:
    fabric = FABRICS[name]
    group = data.draw(st.lists(st.integers(0, fabric.ranks - 1), min_size=2, max_size=6, unique=True))
    result = topo.simulate(fabric, operation, "64KiB", ranks=group, certify=True)
    assert result.ranks == len(group)
    assert result.time_s >= result.bound_s * (1 - 1e-9)


def test_groups_by_number_and_by_name() -> None:
    fabric = FABRICS["torus"]
    assert group_of(fabric, None).tolist() == list(range(12))
    assert group_of(fabric, 3).tolist() == [0, 1, 2]
    assert group_of(fabric, [5, 2]).tolist() == [5, 2]


@pytest.mark.parametrize(
    ("ranks", "words"),
    [
        (1, "a group of 1 ranks on 3x4; give 2 to 12"),
        (13, "a group of 13 ranks"),
        (0, "a group of 0 ranks"),
        (-3, "a group of -3 ranks"),
        ([0, 12], "has no rank 12; ranks run from 0 to 11"),
        ([0, -1], "has no rank -1"),
        ([3, 3], "a rank is named twice"),
        ([3], "a collective among 1 rank moves nothing"),
        ([], "a collective among 0 ranks moves nothing"),
    ],
)
def test_groups_that_are_none(ranks: int | list[int], words: str) -> None:
    with pytest.raises(CollectiveError) as caught:
        topo.simulate(FABRICS["torus"], "all-reduce", "1MB", ranks=ranks)
    assert words in str(caught.value)


# ----------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"engine": "crystal-ball"}, "engine 'crystal-ball' is unknown"),
        ({"algorithm": "rng"}, "algorithm 'rng' is unknown; did you mean 'ring'"),
        ({"algorithm": "bucket"}, "bucket cannot run all-reduce on star"),
        ({"algorithm": "pairwise"}, "pairwise does not do all-reduce"),
        ({"algorithm": "ring", "chunks": 0}, "0 chunks make no sense"),
        ({"algorithm": "ring", "switching": "wormhole"}, "switching 'wormhole' is unknown"),
        ({"algorithm": "ring", "routing": "scenic"}, "routing 'scenic' is unknown"),
        ({"algorithm": "ring", "routing": "dimension-order"}, "no plain grid"),
        ({"chunks": "few"}, "chunks 'few' is no number"),
    ],
)
def test_options_that_cannot_be(options: dict[str, object], words: str) -> None:
    with pytest.raises(TopoError) as caught:
        topo.simulate(some.star(4), "all-reduce", "1MB", **options)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_collective_for_another_group() -> None:
    with pytest.raises(CollectiveError, match="is for 5 ranks but the group has 6"):
        simulate(system(FABRICS["ring"]), Collective("all-reduce", 5, 1e6))


def test_a_time_below_its_bound_is_our_own_error() -> None:
    bound = Bound(1.0, "ports", "because")
    require_bound(1.0, bound, "test")
    require_bound(1.0 - 1e-10, bound, "test")
    with pytest.raises(
        InternalError, match=r"test: the simulated time 0.99 s lies below the ports bound 1 s"
    ):
        require_bound(0.99, bound, "test")


def test_library_names() -> None:
    with pytest.raises(NetworkError, match="library 'ncl' is unknown"):
        topo.simulate(some.star(4), "all-reduce", "1MB", ccl="ncl")
