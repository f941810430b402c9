"""Programs: what a schedule becomes on a fabric."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import topo
from tests import strategies as some
from topo.algorithms import Site, build
from topo.collective import Collective
from topo.errors import NetworkError, RoutingError
from topo.fabric import Fabric
from topo.network.program import compile_program, require_memory
from topo.network.solver import run_alone
from topo.routing import find_routes
from topo.schedule import Schedule


def made(fabric: Fabric, algorithm: str, operation: str, size: float = 1e6) -> Schedule:
    return build(algorithm, Collective(operation, fabric.ranks, size), Site(fabric, np.arange(fabric.ranks)))


@pytest.mark.parametrize("fabric", [some.torus((3, 4)), some.star(6), some.domains_on_a_switch(2, 3)])
def test_links_carry_route_shares_times_bytes(fabric: Fabric) -> None:
    schedule = made(fabric, "direct", "all-to-all")
    expected = np.zeros(fabric.links)
    for source in range(fabric.ranks):
        for target in range(fabric.ranks):
            if source != target:
                route = find_routes(fabric, np.array([source]), np.array([target]))
                np.add.at(expected, route.link, route.fraction * 1e6 / fabric.ranks)
    np.testing.assert_allclose(compile_program(schedule, fabric).link_bytes(), expected, rtol=1e-12)


def test_what_leaves_and_reaches_each_rank() -> None:
    """Each rank's links carry exactly the bytes that the schedule says it sends and receives."""
    fabric = some.star(7)
    for algorithm in ("ring", "direct", "halving-doubling", "recursive-doubling"):
        schedule = made(fabric, algorithm, "all-reduce")
        carried = compile_program(schedule, fabric).link_bytes()
        sent = np.bincount(fabric.source, carried, len(fabric.nodes))[fabric.accelerators]
        received = np.bincount(fabric.target, carried, len(fabric.nodes))[fabric.accelerators]
        np.testing.assert_allclose(sent, schedule.bytes_sent(), rtol=1e-9)
        np.testing.assert_allclose(received, schedule.bytes_received(), rtol=1e-9)


def test_trees_up_and_down_keep_their_own_routes() -> None:
    """Reduction: all links up, one down.  Multicast: one up, all down.  Between the same ranks, in one schedule."""
    fabric = some.star(4, in_network=True)
    program = compile_program(made(fabric, "nvls", "all-reduce", 4e6), fabric)
    links = np.diff(program.route_pointer)
    up = fabric.source[program.route_link] < 4
    assert links.tolist() == [5] * 8
    rows = np.repeat(np.arange(8), links)
    assert np.bincount(rows, up).tolist() == [4] * 4 + [1] * 4
    np.testing.assert_allclose(program.link_bytes(), np.full(8, 5e6))


def test_a_barrier_is_a_barrier() -> None:
    """Uneven cables: in lock-step everybody waits for the slowest rank of each step."""
    fabric = some.star_of([(5e10, 1e-6)] * 7 + [(1e10, 1e-5)])
    schedule = made(fabric, "ring", "all-reduce", 8e6)
    step = 11e-6 + 1e6 / 1e10
    free, locked = (
        run_alone(compile_program(schedule, fabric, barrier=barrier), certify=True)[0].finish
        for barrier in (False, True)
    )
    assert locked == pytest.approx(14 * step, rel=1e-9)
    assert free <= locked


@pytest.mark.parametrize(
    ("fabric", "algorithm"),
    [
        (some.ring(7), "ring"),
        (some.star_of([(1e10 * (1 + i % 3), 1e-6 * (i + 1)) for i in range(7)]), "ring"),
        (some.ring(7).without([(0, 1)]), "ring"),
        (some.ring(6), "bidirectional-ring"),
        (some.torus((3, 4)), "bucket"),
        (some.torus((3, 5)), "bidirectional-bucket"),
        (topo.load("full-mesh:5").fabric, "direct"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_lock_step_is_no_faster_where_streams_meet_on_no_link(fabric: Fabric, algorithm: str) -> None:
    """Then times only add up and wait for each other.  Where streams share links, lock-step can well be faster."""
    schedule = made(fabric, algorithm, "all-reduce")
    free, locked = (
        run_alone(compile_program(schedule, fabric, barrier=barrier))[0].finish for barrier in (False, True)
    )
    assert locked >= free * (1 - 1e-9)


def test_options_that_are_none() -> None:
    fabric = some.ring(4)
    with pytest.raises(RoutingError, match="routing 'scenic' is unknown"):
        compile_program(made(fabric, "ring", "all-reduce"), fabric, routing="scenic")
    with pytest.raises(NetworkError, match="does not fit"):
        compile_program(made(some.ring(5), "ring", "all-reduce"), fabric)


def test_a_message_to_oneself_is_refused() -> None:
    fabric = some.ring(4)
    schedule = made(fabric, "direct", "send-recv")
    with pytest.raises(NetworkError, match="different ranks"):
        compile_program(schedule, fabric, ranks=np.array([1, 1, 2, 3]))


def test_what_would_not_fit_in_memory_is_refused_before_it_is_built() -> None:
    """A damaged torus has no shifts to compile by, and four thousand ranks make sixteen million pairs."""
    fabric = topo.load("torus:16x16x16,failed=0.0.0-0.0.1").fabric
    schedule = made(fabric, "direct", "all-to-all", 1e9)
    with pytest.raises(NetworkError, match="would take about"):
        require_memory(schedule, fabric)
    with pytest.raises(NetworkError, match="would take about"):
        compile_program(schedule, fabric)


def test_what_cannot_be_counted_is_refused() -> None:
    fabric = some.ring(4)
    schedule = made(fabric, "ring", "all-reduce")
    huge = replace(schedule, batches=tuple(replace(b, bytes=b.bytes * 1e302) for b in schedule.batches))
    with pytest.raises(NetworkError, match="more bytes than a number can hold"):
        compile_program(huge, fabric)
    endless = replace(schedule, batches=tuple(replace(batch, repeat=2**61) for batch in schedule.batches))
    with pytest.raises(NetworkError, match="more than can be counted"):
        compile_program(endless, fabric)


def test_groups_in_any_order() -> None:
    """A ring over shuffled ranks of a torus is another ring; over the same ranks in order it is the first."""
    fabric = some.torus((4, 4))
    collective = Collective("all-reduce", 4, 1e6)
    row, column = np.array([0, 1, 2, 3]), np.array([0, 4, 8, 12])
    across = np.array([0, 5, 10, 15])
    times = [
        run_alone(compile_program(build("ring", collective, Site(fabric, group)), fabric, ranks=group))[
            0
        ].finish
        for group in (row, column, across)
    ]
    assert times[0] == pytest.approx(times[1], rel=1e-12)
    assert times[2] > times[0]
