"""The Network inside SimPy: jobs, clocks, changes of links, several networks, stalls."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import pytest
import simpy

from tests import strategies as some
from topo.algorithms import Site, build
from topo.collective import Collective, cut
from topo.errors import NetworkError
from topo.fabric import Fabric
from topo.network import Network
from topo.schedule import Schedule, ScheduleBuilder, Wait, one_each

Process = Generator[simpy.Event, Any, Any]
SECOND = 1e10
"""Bytes that one link of the rings below carries in a second."""


def message(source: int = 0, target: int = 1, size: float = SECOND, repeat: int = 1) -> Schedule:
    """One stream between two ranks of a ring of four."""
    return plan([(source, target, size, repeat, ())])


def plan(batches: list[tuple[int, int, float, int, tuple[Wait, ...]]]) -> Schedule:
    """Single streams that wait for each other as given."""
    collective = Collective("all-reduce", 4, 1.0)
    builder = ScheduleBuilder(collective, "test", lambda: cut(collective))
    for source, target, size, repeat, waits in batches:
        builder.add(
            [source],
            [target],
            size,
            one_each(np.zeros(1, dtype=np.int64)),
            repeat=repeat,
            loop=False,
            waits=waits,
        )
    return builder.build()


def all_reduce(fabric: Fabric, size: float = 4e6) -> Schedule:
    return build("ring", Collective("all-reduce", fabric.ranks, size), Site(fabric, np.arange(fabric.ranks)))


@pytest.fixture
def env() -> simpy.Environment:
    return simpy.Environment()


@pytest.fixture
def ring() -> Fabric:
    return some.ring(4, SECOND, latency=0.0)


def test_duration_of_the_textbook_ring(env: simpy.Environment) -> None:
    fabric = some.ring(4)
    outcome = env.run(until=Network(env, fabric, certify=True).start(all_reduce(fabric)))
    assert outcome.duration == pytest.approx(606e-6, rel=1e-12)
    assert env.now == outcome.finish


def test_jobs_on_one_link_share_it_from_when_they_meet(env: simpy.Environment, ring: Fabric) -> None:
    network = Network(env, ring, certify=True)
    ends = {}

    def job(name: str, begin: float) -> Process:
        yield env.timeout(begin)
        outcome = yield network.start(message())
        ends[name] = outcome.finish

    env.process(job("first", 0.0))
    env.process(job("second", 0.5))
    env.run()
    assert ends == {"first": pytest.approx(1.5), "second": pytest.approx(2.0)}


def test_the_clock_ends_with_the_last_job(env: simpy.Environment, ring: Fabric) -> None:
    """A job that meets another in the same moment leaves no alarm behind that outlives both."""
    network = Network(env, ring)

    def two() -> Process:
        one = network.start(message())
        yield env.timeout(0.0)
        yield one & network.start(message(1, 2, SECOND / 4))

    env.process(two())
    env.run()
    assert env.now == 1.0


def test_jobs_started_between_runs(env: simpy.Environment, ring: Fabric) -> None:
    network = Network(env, ring, certify=True)
    first = network.start(message())
    env.run(until=0.25)
    second = network.start(message(size=SECOND / 4))
    assert env.run(until=second).finish == pytest.approx(0.75)
    third = network.start(message(size=SECOND / 4))
    assert env.run(until=third).finish == pytest.approx(1.25)
    assert env.run(until=first).finish == pytest.approx(1.5)


def test_a_network_that_ran_ahead_refuses_to_go_back(env: simpy.Environment, ring: Fabric) -> None:
    """Stepping by hand, a schedule may be started while the links have already run on."""
    network = Network(env, ring)
    network.start(message())
    while network.solver.now == 0.0:
        env.step()
    with pytest.raises(NetworkError, match="run ahead"):
        network.start(message())


def test_finish_and_clock_agree_to_the_last_digit(env: simpy.Environment) -> None:
    fabric = some.star_of([(5e10 + i * 1e9, 1e-6 * (1 + i / 7)) for i in range(5)])
    network = Network(env, fabric)
    seen = []

    def stream(begin: float) -> Process:
        yield env.timeout(begin)
        for size in (1e5, 3e5, 7e5):
            outcome = yield network.start(all_reduce(fabric, size))
            seen.append(outcome.finish == env.now)

    for begin in (0.0, 0.1, 1 / 3, 0.7, 1e-5):
        env.process(stream(begin))
    env.run()
    assert seen == [True] * 15


def test_two_networks_in_one_environment(env: simpy.Environment, ring: Fabric) -> None:
    """A job on one network starts jobs on the other, at moments that both must agree on."""
    networks = [Network(env, ring, certify=True) for _ in range(2)]
    ends: list[tuple[int, float]] = []

    def ping_pong() -> Process:
        for turn in range(6):
            yield networks[turn % 2].start(message(size=SECOND * 0.3))
            ends.append((turn, env.now))

    def busy(network: Network, size: float) -> Process:
        yield network.start(message(2, 3, size, repeat=100))
        ends.append((-1, env.now))

    env.process(ping_pong())
    env.process(busy(networks[0], SECOND * 0.01))
    env.process(busy(networks[1], SECOND * 0.02))
    env.run()
    assert ends == [
        (0, pytest.approx(0.3)),
        (1, pytest.approx(0.6)),
        (2, pytest.approx(0.9)),
        (-1, pytest.approx(1.0)),
        (3, pytest.approx(1.2)),
        (4, pytest.approx(1.5)),
        (5, pytest.approx(1.8)),
        (-1, pytest.approx(2.0)),
    ]


def test_many_events_in_the_same_moment(env: simpy.Environment, ring: Fabric) -> None:
    network = Network(env, ring, certify=True)
    ends = []

    def worker(number: int) -> Process:
        for _ in range(3):
            yield env.timeout(0.0)
            outcome = yield network.start(message(number % 4, (number + 1) % 4, SECOND / 8))
            ends.append(outcome.finish)
            yield env.timeout(0.25)

    for number in range(8):
        env.process(worker(number))
    env.run()
    assert ends == pytest.approx([0.25] * 8 + [0.75] * 8 + [1.25] * 8)


def test_a_link_that_slows_down(env: simpy.Environment, ring: Fabric) -> None:
    network = Network(env, ring, certify=True)

    def weather() -> Process:
        yield env.timeout(0.5)
        network.set_bandwidth(0, 1, SECOND / 4)

    env.process(weather())
    assert env.run(until=network.start(message())).finish == pytest.approx(2.5)
    assert ring.bandwidth.tolist() == [SECOND] * 8, "the fabric itself stays as it was"


def test_a_dead_link_waits_for_its_repair(env: simpy.Environment, ring: Fabric) -> None:
    network = Network(env, ring, certify=True)

    def weather() -> Process:
        yield env.timeout(0.5)
        network.set_bandwidth(0, 1, 0.0)
        yield env.timeout(3.0)
        network.set_bandwidth(0, 1, 2 * SECOND)

    env.process(weather())
    other = network.start(message(1, 2))
    slow = network.start(message())
    assert env.run(until=other).finish == pytest.approx(1.0)
    assert env.run(until=slow).finish == pytest.approx(3.75)


@pytest.mark.parametrize("end", [0.1, 0.3, 0.7, 1 / 3, 0.1 + 0.2, 123.4])
@pytest.mark.parametrize("patience", [0, 400_000])
def test_a_link_that_dies_as_the_last_byte_leaves(
    env: simpy.Environment, ring: Fabric, end: float, patience: int
) -> None:
    network = Network(env, ring)
    network.solver.patience = patience

    def weather() -> Process:
        yield env.timeout(end)
        network.set_bandwidth(0, 1, 0.0)

    env.process(weather())
    assert env.run(until=network.start(message(size=end * SECOND))).finish == pytest.approx(end)


@pytest.mark.parametrize("patience", [0, 400_000])
def test_a_stall_is_an_error_not_a_loop(env: simpy.Environment, ring: Fabric, patience: int) -> None:
    network = Network(env, ring)
    network.solver.patience = patience
    network.set_bandwidth(0, 1, 0.0)

    def job() -> Process:
        done = network.start(message())
        yield env.timeout(0.0)
        yield done

    env.process(job())
    with pytest.raises(NetworkError, match=r"1 transfers are stalled on links .*: transfers 0 .*, links 0-1"):
        env.run()


def test_the_stall_of_one_network_waits_for_the_other(env: simpy.Environment, ring: Fabric) -> None:
    dead, alive = Network(env, ring), Network(env, ring)
    dead.set_bandwidth(0, 1, 0.0)
    dead.start(message())
    done = alive.start(message())
    assert env.run(until=done).finish == pytest.approx(1.0)
    with pytest.raises(NetworkError, match="stalled"):
        env.run()


@pytest.mark.parametrize("patience", [0, 400_000])
def test_a_cycle_of_waits_is_reported(env: simpy.Environment, ring: Fabric, patience: int) -> None:
    network = Network(env, ring)
    network.solver.patience = patience
    first = network.start(message())
    network.start(plan([(0, 1, 1.0, 1, (Wait(1),)), (1, 0, 1.0, 1, (Wait(0),))]))
    assert env.run(until=first).finish == pytest.approx(1.0)
    with pytest.raises(NetworkError, match="2 transfers wait for each other in a cycle"):
        env.run()


def test_schedules_of_nothing_end_at_once(env: simpy.Environment, ring: Fabric) -> None:
    network = Network(env, ring, certify=True)
    empty = Schedule(
        Collective("all-reduce", 4, 1.0), "empty", (), lambda: cut(Collective("all-reduce", 4, 1.0))
    )
    nothing = message(size=0.0)

    def jobs() -> Process:
        yield env.timeout(1.5)
        running = network.start(message())
        for schedule in (empty, nothing, empty):
            outcome = yield network.start(schedule)
            assert outcome.duration == 0.0
        yield running

    env.run(until=env.process(jobs()))
    assert env.now == 2.5


def test_latency_counts_even_without_bytes(env: simpy.Environment) -> None:
    network = Network(env, some.ring(4, latency=1e-3))
    assert env.run(until=network.start(message(size=0.0))).finish == pytest.approx(1e-3)


@pytest.mark.parametrize("begin", [1.0, 100.0, 1e4])
def test_a_late_start_changes_little(begin: float) -> None:
    """Far from time zero the clock itself has fewer digits; no more than those may be lost."""
    fabric = some.ring(32, 5e10, 1e-6)
    env = simpy.Environment(begin)
    duration = env.run(until=Network(env, fabric).start(all_reduce(fabric, 1e5))).duration
    exact = 2 * 31 * (1e-6 + 1e5 / 32 / 5e10)
    events = 2 * 62
    assert abs(duration - exact) < 4 * events * np.spacing(begin)


def test_groups_are_placed(env: simpy.Environment) -> None:
    """Ranks of a schedule are ranks of the group, wherever the group lies."""
    network = Network(env, some.star_of([(1e9, 0.0), (1e9, 0.0), (4e9, 0.0), (4e9, 0.0)]), certify=True)
    collective = Collective("send-recv", 2, 4e9)
    fast = build("direct", collective, Site(network.fabric, np.arange(2)))
    assert env.run(until=network.start(fast, ranks=np.array([2, 3]))).duration == pytest.approx(1.0)
    assert env.run(until=network.start(fast, ranks=np.array([2, 0]))).duration == pytest.approx(4.0)


@pytest.mark.parametrize("ranks", [[0, 1, 2], [0, 1, 2, 4], [-1, 0, 1, 2], [0, 0, 1, 2]])
def test_groups_that_do_not_fit(env: simpy.Environment, ring: Fabric, ranks: list[int]) -> None:
    with pytest.raises(NetworkError, match="does not fit"):
        Network(env, ring).start(message(), ranks=np.array(ranks))


def test_links_that_are_not_there(env: simpy.Environment, ring: Fabric) -> None:
    network = Network(env, ring)
    with pytest.raises(NetworkError, match="no link from 0 to 2"):
        network.set_bandwidth(0, 2, 1.0)
    with pytest.raises(NetworkError, match="no node 7"):
        network.set_bandwidth(0, 7, 1.0)
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(NetworkError, match="cannot carry"):
            network.set_bandwidth(0, 1, wrong)


def test_ecmp_takes_its_seed() -> None:
    fabric = Fabric.from_networkx(_two_spines())

    def duration(seed: int) -> float:
        env = simpy.Environment()
        network = Network(env, fabric, routing="ecmp", seed=seed)
        collective = Collective("all-to-all", fabric.ranks, 1e9)
        schedule = build("direct", collective, Site(fabric, np.arange(fabric.ranks)))
        return float(env.run(until=network.start(schedule)).duration)

    times = [duration(seed) for seed in (0, 1, 2, 3)]
    assert times == [duration(seed) for seed in (0, 1, 2, 3)]
    assert len(set(times)) > 1


def _two_spines() -> Any:
    import networkx as nx

    graph = nx.Graph()
    for leaf in range(4):
        graph.add_node(f"leaf{leaf}", kind="switch")
        for host in range(2):
            graph.add_edge(2 * leaf + host, f"leaf{leaf}", bandwidth=1e10)
        for spine in range(2):
            graph.add_node(f"spine{spine}", kind="switch")
            graph.add_edge(f"leaf{leaf}", f"spine{spine}", bandwidth=1e10)
    return graph


@pytest.mark.parametrize("begin", [0, 7])
def test_a_clock_of_whole_numbers_keeps_fractions(ring: Fabric, begin: int) -> None:
    """SimPy starts at the integer 0; the compiled solver must not count in integers."""
    env = simpy.Environment(begin)
    network = Network(env, ring, certify=True)
    network.solver.patience = 0

    def late() -> Process:
        yield env.timeout(0.25)
        yield network.start(message(size=SECOND / 4))

    first = network.start(message())
    env.run(until=env.process(late()))
    assert env.now == begin + 0.75
    assert env.run(until=first).finish == begin + 1.25
