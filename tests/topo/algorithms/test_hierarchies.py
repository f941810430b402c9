"""Hierarchical forms, BlueConnect, multi-rail rings and the dispatch of tokens to experts."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.topo.algorithms.sites import built, clusters, collective_on, dimmed, seconds, star, timed
from topo.algorithms import Site, build, find, with_variants
from topo.algorithms.blueconnect import level_times, prime_factors
from topo.algorithms.dispatch import Tokens, dispatch, drawn_tokens, reached_domains, uniform_dispatch
from topo.algorithms.hierarchical import closed_form
from topo.algorithms.homes import Link
from topo.algorithms.multi_rail import rail_walk
from topo.collective import Collective
from topo.errors import AlgorithmError, TopoError
from topo.fabric import Fabric

INSIDE, ACROSS = Link(2e-6, 4e11), Link(6e-6, 5e10)


def _leaves_too(fabric: Fabric) -> Fabric:
    """The cluster with leaf switches that add and copy."""
    return replace(fabric, multicast=fabric.kind == 1, reduce=fabric.kind == 1, one_pass=None, cache={})


@pytest.mark.parametrize(("nodes", "gpus"), [(2, 2), (3, 4), (4, 8)])
def test_rings_inside_and_across_are_the_formula(nodes: int, gpus: int) -> None:
    size = 9.6e8
    formula = closed_form(size, gpus, nodes, INSIDE, ACROSS)
    assert timed("hierarchical", clusters(nodes, gpus), "all-reduce", size) == pytest.approx(
        formula, rel=1e-9
    )
    assert timed("blueconnect", clusters(nodes, gpus), "all-reduce", size) == pytest.approx(formula, rel=1e-9)


def test_many_chunks_leave_the_slower_level() -> None:
    size, nodes, gpus = 9.6e8, 4, 4
    slower = max(2 * 3 / 4 * size / 4e11, 2 * 3 / 4 * size / gpus / 5e10)
    time = timed("hierarchical", clusters(nodes, gpus), "all-reduce", size, 64)
    assert slower < time < 1.1 * slower


@pytest.mark.parametrize("operation", ["all-reduce", "all-gather", "reduce-scatter"])
@pytest.mark.parametrize(("nodes", "gpus"), [(2, 2), (3, 4), (4, 4)])
def test_every_form_proves_itself(operation: str, nodes: int, gpus: int) -> None:
    fabric = _leaves_too(clusters(nodes, gpus))
    collective = collective_on(fabric, operation)
    forms = with_variants(find("hierarchical"), collective, Site(fabric, np.arange(fabric.ranks)))
    names = {entry.name for entry in forms}
    if operation == "all-reduce":
        for nccl in ("ring,across=tree", "nvls,across=ring", "nvls,across=tree", "direct,across=sharp"):
            assert f"hierarchical:inside={nccl}" in names
    for entry in forms:
        for chunks in (1, 2):
            built(entry.name, fabric, collective, chunks)


def test_forms_that_the_fabric_cannot_do_are_refused() -> None:
    fabric = clusters(2, 2, multicast=False, reduce=False)
    collective = collective_on(fabric, "all-reduce")
    names = {e.name for e in with_variants(find("hierarchical"), collective, Site(fabric, np.arange(4)))}
    assert not any("nvls" in name or "sharp" in name for name in names)
    schedule = build("hierarchical:inside=nvls", collective, Site(fabric, np.arange(4)))
    with pytest.raises(TopoError, match="cannot reduce"):
        seconds(schedule, fabric)
    for across in ("tree", "binary", "sharp"):
        with pytest.raises(AlgorithmError, match="does not do all-gather"):
            build(
                f"hierarchical:across={across}",
                collective_on(fabric, "all-gather"),
                Site(fabric, np.arange(4)),
            )
    odd = clusters(3, 2)
    with pytest.raises(AlgorithmError, match="not 3; take ring"):
        build("hierarchical:across=halving", collective_on(odd, "all-reduce"), Site(odd, np.arange(6)))


@pytest.mark.parametrize("domains", [2, 3, 5, 6, 7, 12])
def test_doubling_takes_a_logarithmic_number_of_rounds_among_any_domains(domains: int) -> None:
    """ceil(log2 n) a2 + (n-1)/n S/(G B2) over the rails, after the phases inside; twice for all-reduce."""
    fabric = clusters(domains, 4)
    rounds = (domains - 1).bit_length()
    size = 4e6
    for operation, phases in (("all-gather", 1), ("reduce-scatter", 1), ("all-reduce", 2)):
        collective = Collective(operation, fabric.ranks, size)
        schedule = built("hierarchical:inside=direct,across=bruck", fabric, collective)
        ring = built("hierarchical:inside=direct,across=ring", fabric, collective)
        assert schedule.steps == phases * (1 + rounds)
        np.testing.assert_allclose(schedule.bytes_sent(), ring.bytes_sent(), rtol=1e-12)
        slow, fast = seconds(ring, fabric), seconds(schedule, fabric)
        assert fast < slow if domains > 3 else fast == pytest.approx(slow, rel=1e-9)


def test_ranks_of_domains_may_be_interleaved() -> None:
    fabric = clusters(4, 4)
    ranks = np.asarray([0, 4, 8, 12, 1, 5, 9, 13])
    collective = Collective("all-reduce", 8, 8e6)
    for name in (
        "hierarchical",
        "hierarchical:inside=direct,across=tree",
        "hierarchical:inside=nvls,across=halving",
        "hierarchical:inside=direct,across=bruck",
    ):
        schedule = build(name, collective, Site(fabric, ranks))
        schedule.verify()
        assert seconds(schedule, fabric, ranks=ranks.tolist()) > 0
    build("hierarchical", Collective("all-to-all", 8, 8e6), Site(fabric, ranks)).verify()


@pytest.mark.parametrize(("nodes", "gpus"), [(2, 2), (4, 4), (3, 4), (5, 3)])
def test_multi_rail_rings_use_each_rail_once_per_border(nodes: int, gpus: int) -> None:
    members = np.arange(nodes * gpus).reshape(nodes, gpus)
    used = np.zeros((nodes, gpus), dtype=int)
    for rail in range(gpus):
        walk = rail_walk(members, rail)
        assert sorted(walk.tolist()) == list(range(nodes * gpus))
        for node in range(nodes):
            leaving, entering = walk[(node + 1) * gpus - 1], walk[(node + 1) * gpus % len(walk)]
            used[node, leaving % gpus] += 1
            if node + 1 < nodes or nodes % 2 == 0:
                assert leaving % gpus == entering % gpus
    assert (used == 1).all()


def test_multi_rail_rings_carry_little_over_each_rail() -> None:
    nodes, gpus, size = 4, 4, 1.6e9
    n = nodes * gpus
    rails = 2 * (n - 1) / n * size / gpus / 5e10
    assert timed("multi-rail-ring", clusters(nodes, gpus), "all-reduce", size) == pytest.approx(
        rails, rel=0.02
    )


# ------------------------------------------------------------------------------------------ blueconnect


@pytest.mark.parametrize("factors", [(12,), (2, 6), (4, 3), (3, 2, 2)])
def test_blueconnect_over_any_factors_is_its_formula(factors: tuple[int, ...]) -> None:
    fabric, port = star(12), Link(1e-6, 5e10)
    collective = collective_on(fabric, "all-reduce", 1.2e7)
    formula = level_times(collective, [(p, port) for p in factors])
    name = "blueconnect:factors=" + "x".join(map(str, factors))
    assert timed(name, fabric, "all-reduce", 1.2e7) == pytest.approx(formula, rel=1e-9)


def test_the_fast_dimension_comes_first() -> None:
    from topologies.grid import torus

    size = 1.6e8
    for rates in ([1e11, 2.5e10], [2.5e10, 1e11]):
        fabric = Fabric.from_networkx(torus((4, 4), rates, 1e-6))
        assert timed("blueconnect", fabric, "all-reduce", size) == pytest.approx(4.812e-3, rel=1e-9)


@pytest.mark.parametrize("number", [2, 7, 12, 49, 64, 97, 360])
def test_prime_factors(number: int) -> None:
    found = prime_factors(number)
    assert math.prod(found) == number and list(found) == sorted(found)
    assert all(p > 1 and all(p % d for d in range(2, p)) for p in found)


# --------------------------------------------------------------------------------------------- dispatch


@pytest.mark.parametrize("top_k", [1, 2, 5])
@pytest.mark.parametrize(("nodes", "gpus"), [(2, 2), (3, 4)])
def test_a_uniform_dispatch_crosses_once_per_domain(nodes: int, gpus: int, top_k: int) -> None:
    n, size = nodes * gpus, 8.4e6
    top_k = min(top_k, n)
    fabric = clusters(nodes, gpus)
    schedule = uniform_dispatch(Collective("all-to-all", n, size), Site(fabric, np.arange(n)), top_k)
    schedule.verify()
    crossing = schedule.batches[0].bytes.sum() / n
    expected = size / top_k * reached_domains(n, nodes, top_k) * (nodes - 1) / nodes
    assert crossing == pytest.approx(expected, rel=1e-12)
    assert crossing <= size * (nodes - 1) / nodes * (1 + 1e-12)


def test_reached_domains_agrees_with_drawing() -> None:
    n, nodes, top_k = 16, 4, 3
    drawn = drawn_tokens(n, 400, top_k, 1.0, seed=5)
    mean = sum(t.bytes * len({r // 4 for r in t.targets}) for t in drawn) / sum(t.bytes for t in drawn)
    assert mean == pytest.approx(reached_domains(n, nodes, top_k), rel=0.02)


def test_a_drawn_dispatch_delivers_every_token_and_saves_rails() -> None:
    n, nodes = 8, 2
    fabric = clusters(nodes, 4)
    tokens = drawn_tokens(n, 60, 4, 1e4, seed=1)
    schedule = dispatch(tokens, Site(fabric, np.arange(n)))
    schedule.verify()
    plain = schedule.collective.blocks()
    crossing = plain[:4, 4:].sum() + plain[4:, :4].sum()
    assert schedule.batches[0].bytes.sum() < 0.7 * crossing
    # Same routing without sharing: the direct all-to-all of the same matrix.
    direct = build("direct", schedule.collective, Site(fabric, np.arange(n)))
    assert seconds(schedule, fabric) < seconds(direct, fabric)


def test_wrong_routings_are_refused() -> None:
    fabric = clusters(2, 2)
    site = Site(fabric, np.arange(4))
    with pytest.raises(AlgorithmError, match="go to ranks"):
        dispatch([Tokens(0, (1, 1), 5.0)], site)
    with pytest.raises(AlgorithmError, match="two scale-up domains"):
        dispatch([Tokens(0, (1,), 5.0)], Site(star(4), np.arange(4)))
    with pytest.raises(AlgorithmError, match="5 of 4 ranks"):
        uniform_dispatch(Collective("all-to-all", 4, 1e6), site, 5)
    with pytest.raises(AlgorithmError, match="equal blocks"):
        uniform_dispatch(Collective("all-gather", 4, 1e6), site, 1)
    wide = clusters(2, 12)
    schedule = uniform_dispatch(Collective("all-to-all", 24, 1e6), Site(wide, np.arange(24)), 2)
    with pytest.raises(AlgorithmError, match="proof of a dispatch"):
        schedule.verify()


def test_nothing_hierarchical_on_a_torus() -> None:
    fabric = dimmed((4, 4))
    for name in ("hierarchical", "multi-rail-ring"):
        with pytest.raises(AlgorithmError, match="at least two scale-up domains"):
            build(name, collective_on(fabric, "all-reduce"), Site(fabric, np.arange(16)))
