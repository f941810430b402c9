"""Greedy synthesis: proved, exactly as fast as its own timeline, repeatable, near the bounds."""

from __future__ import annotations

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
from topo.algorithms.synthesis.greedy import edges_of, greedy
from topo.algorithms.synthesis.network import network_of
from topo.bounds import lower_bound
from topo.collective import Collective
from topo.errors import AlgorithmError
from topo.fabric import Fabric
from topo.network.program import compile_program
from topo.network.solver import run_alone
from topo.simulate import run_schedule

KNOWN = known()
OPERATIONS = ("all-reduce", "all-gather", "reduce-scatter")


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("name", KNOWN)
def test_every_schedule_is_proved_and_beats_no_bound(name: str, operation: str) -> None:
    fabric = KNOWN[name][0]
    for size in (1e3 * fabric.ranks, 1e6 * fabric.ranks):
        made = schedule("synthesised", fabric, operation, size)
        made.verify()
        time = run_schedule(made, fabric)
        assert time >= lower_bound(made.collective, fabric, exact=True).seconds * (1 - 1e-9)


@pytest.mark.parametrize("operation", ["all-gather", "reduce-scatter"])
def test_the_time_is_the_timeline_on_links_of_one_latency(operation: str) -> None:
    fabric = cut_torus(3, 4)
    ranks = np.arange(fabric.ranks)
    size = 2e6
    made = schedule("synthesised:pieces=1,seed=5,tries=1", fabric, operation, size)
    edges = edges_of(network_of(fabric, ranks, operation == "reduce-scatter", balanced=False), fabric)
    timeline = greedy(edges, fabric.ranks, 1, size / fabric.ranks, 5, False)
    assert run_schedule(made, fabric) == pytest.approx(timeline.finish, rel=1e-12)


def test_links_are_taken_one_transfer_at_a_time() -> None:
    """With every way held by one transfer, no transfer is slower than it would be alone."""
    for fabric in (star(6), cut_torus(3, 3), boxes(2, 3)):
        made = schedule("synthesised", fabric, "all-gather", 3e6)
        program = compile_program(made, fabric)
        shared, alone = run_alone(program)[0].finish, run_alone(program, sharing=False)[0].finish
        assert shared == pytest.approx(alone, rel=1e-12)


def test_the_same_seed_gives_the_same_schedule_and_another_another() -> None:
    def ends(seed: int) -> list[tuple[list[int], list[int]]]:
        made = schedule(f"synthesised:seed={seed},tries=1", star(6), "all-gather", 1e6)
        return [(batch.source.tolist(), batch.target.tolist()) for batch in made.batches]

    assert ends(3) == ends(3)
    assert ends(3) != ends(4)


def test_more_tries_are_never_slower() -> None:
    fabric = star(7)
    times = [
        seconds(f"synthesised:tries={tries}", Fabric.from_networkx(fabric.to_networkx()), "all-gather", 1e6)
        for tries in (1, 4, 12)
    ]
    assert times[0] >= times[1] >= times[2]


def test_small_all_gathers_take_the_latency_of_the_farthest_rank() -> None:
    for fabric, hops in ((grid(3, 4), 3), (line(8), 7), (cut_torus(3, 4), 3)):
        assert seconds("synthesised", fabric, "all-gather", 12.0) == pytest.approx(hops * 1e-6, rel=1e-3)


def test_it_is_faster_than_the_list_where_the_graph_is_irregular() -> None:
    fabric = cut_torus(3, 4)
    for operation in OPERATIONS:
        for size in (1e4, 1e6):
            found = seconds("synthesised", fabric, operation, size)
            assert found < min(seconds(name, fabric, operation, size) for name in ("ring", "direct"))


def test_slow_links_between_boxes_carry_each_chunk_once() -> None:
    """Patience: a box fetches a foreign chunk over one slow cable and spreads it over its own switch."""
    fabric = boxes(2, 4, inside=50, between=1)
    made = schedule("synthesised:pieces=1", fabric, "all-gather", 8e6)
    common = list(fabric.nodes).index("ib")
    crossing = sum(
        int((fabric.target[batch.routes.link] == common).sum()) for batch in made.batches if batch.routes
    )
    assert crossing == 8  # four ranks a box, once each way
    # One chunk over the cable, two ways of two links each, and three chunks onto the last rank's cable.
    assert run_schedule(made, fabric) == pytest.approx(1e6 / UNIT + 4e-6 + 3e6 / (50 * UNIT), rel=1e-3)


def test_all_reduce_of_large_sizes_comes_near_twice_the_cut_bound() -> None:
    fabric, ratio, _ = KNOWN["torus"]
    size = 1e8
    ideal = 2 * float(ratio) * size / fabric.ranks / UNIT
    assert ideal <= seconds("synthesised", fabric, "all-reduce", size) * (1 + 1e-9) <= 1.1 * ideal


def test_groups_and_relays() -> None:
    fabric = grid(4, 4)
    ranks = np.asarray([9, 3, 1, 12])
    for operation in OPERATIONS:
        made = build("synthesised", Collective(operation, 4, 4e5), Site(fabric, ranks))
        made.verify()
        assert run_schedule(made, fabric, ranks=ranks) > 0


def test_what_is_too_large_is_said() -> None:
    fabric = star(130)
    site = Site(fabric, np.arange(130))
    assert "130 ranks" in refusal(find("synthesised"), Collective("all-gather", 130, 1e6), site)
    with pytest.raises(AlgorithmError, match="give at most 2222 pieces"):
        schedule("synthesised:pieces=9999", star(10), "all-gather", 1e6)


@st.composite
def mixed_graphs(draw: st.DrawFn) -> Fabric:
    """Connected graphs of unequal cables, some nodes of which are switches."""
    ranks, switches = draw(st.integers(2, 6)), draw(st.integers(0, 2))
    nodes: list[object] = [*range(ranks), *(f"s{i}" for i in range(switches))]
    cables = {
        (draw(st.integers(0, i - 1)), i): draw(st.sampled_from([1.0, 2.0, 10.0]))
        for i in range(1, len(nodes))
    }
    return cabled("random", range(ranks), [(nodes[i], nodes[j], c) for (i, j), c in cables.items()])


@given(mixed_graphs(), st.sampled_from(OPERATIONS), st.sampled_from([10.0, 1e5, 1e8]))
@settings(max_examples=40)
def test_on_any_graph_it_is_right(fabric: Fabric, operation: str, size: float) -> None:
    made = schedule("synthesised", fabric, operation, size * fabric.ranks)
    made.verify()
    bound = lower_bound(made.collective, fabric, exact=True)
    assert run_schedule(made, fabric) >= bound.seconds * (1 - 1e-6)
