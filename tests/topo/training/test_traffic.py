"""Traffic: all groups of every axis at once, held against the naive engine and against no folding at all."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import simpy

import topo
from tests import naive
from topo.errors import CollectiveError, NetworkError
from topo.fabric import Fabric, IntArray
from topo.network import compile_program, joined
from topo.network.solver import run_alone
from topo.system import System
from topo.training.choice import choose
from topo.training.layout import ALL, Compiler
from topo.training.operation import Operation
from topo.training.placement import Placement, place
from topo.training.traffic import Traffic

Start = tuple[float, Operation, int | None]


@dataclass(frozen=True)
class Degrees:
    """A plan as far as a placement goes."""

    tp: int = 1
    cp: int = 1
    dp: int = 1
    pp: int = 1
    ep: int = 1
    shard: int | None = None


def laid(system: str, plan: Degrees, placement: str | None = None) -> tuple[System, Placement]:
    loaded = topo.load(system)
    return loaded, place(plan, loaded.fabric, placement)


def ends(system: System, placement: Placement, starts: Sequence[Start], **options: Any) -> list[float]:
    """When each of some operations ends."""
    env = simpy.Environment()
    traffic = Traffic(env, system, placement, "ideal", operations=[op for _, op, _ in starts], **options)
    found = [0.0] * len(starts)

    def one(
        number: int, at: float, operation: Operation, stage: int | None
    ) -> Generator[simpy.Event, Any, None]:
        yield env.timeout(at)
        yield traffic.start(operation, stage)
        found[number] = env.now

    for number, start in enumerate(starts):
        env.process(one(number, *start))
    env.run()
    return found


def naive_ends(system: System, placement: Placement, starts: Sequence[Start]) -> list[float]:
    """The same, every group by itself, in the naive engine."""
    compiler = Compiler(placement, choose)
    found: list[list[naive.NaiveJob]] = []
    for at, op, stage in starts:
        layout = compiler.layout(op)
        jobs = []
        for group, ranks in enumerate(layout.members):
            if stage is not None and layout.stage[group] not in (stage, ALL):
                continue
            schedule = layout.chosen[int(layout.kind[group])].schedule
            if layout.by_stage and stage is not None:
                schedule = shift_of(layout.size, op, stage)
            jobs.append(naive.job(system.fabric, schedule, start=at, ranks=ranks.tolist()))
        found.append(jobs)
    naive.run(system.fabric.bandwidth, [job for jobs in found for job in jobs])
    return [max(job.finish for job in jobs) for jobs in found]


def shift_of(size: int, op: Operation, stage: int) -> Any:
    from topo.training.choice import shift_schedule

    return shift_schedule(size, op, stage)


CASES = [
    pytest.param(
        "rail:4x2",
        Degrees(tp=2, dp=4),
        None,
        [(0.0, Operation("dp", "all-reduce", 1e6), None), (5e-6, Operation("tp", "all-gather", 1e6), None)],
        id="rail cluster",
    ),
    pytest.param(
        "torus:4x4",
        Degrees(tp=4, dp=4),
        None,
        [
            (0.0, Operation("dp", "reduce-scatter", 1e6), None),
            (3e-6, Operation("tp", "all-gather", 4e5), None),
            (9e-6, Operation("tp", "all-to-all", 4e5), None),
        ],
        id="torus",
    ),
    pytest.param(
        "torus:4x4",
        Degrees(tp=2, dp=4, pp=2),
        "pp,tp,dp",
        [
            (0.0, Operation("dp", "all-gather", 1e6), 0),
            (4e-6, Operation("dp", "all-gather", 1e6), 1),
            (6e-6, Operation("pp", "send-recv", 3e5), 0),
            (6e-6, Operation("pp", "send-recv", 3e5, direction=-1), 1),
        ],
        id="stages",
    ),
    pytest.param(
        "switch:12",
        Degrees(tp=2, cp=3, dp=2, ep=4),
        None,
        [
            (0.0, Operation("ep", "all-to-all", 1e6, skew=2.0), None),
            (0.0, Operation("cp", "send-recv", 2e5), None),
            (1e-6, Operation("data", "reduce-scatter", 1e6), None),
        ],
        id="switch",
    ),
    pytest.param(
        "dgx-h100*4",
        Degrees(tp=4, dp=8),
        None,
        [(0.0, Operation("dp", "all-to-all", 1e6), None), (2e-6, Operation("tp", "all-gather", 1e6), None)],
        id="groups across domains",
    ),
]


@pytest.mark.parametrize(("name", "plan", "placement", "starts"), CASES)
def test_contention_is_that_of_the_naive_engine(
    name: str, plan: Degrees, placement: str | None, starts: list[Start]
) -> None:
    system, where = laid(name, plan, placement)
    assert ends(system, where, starts) == pytest.approx(naive_ends(system, where, starts), rel=1e-9)


@pytest.mark.parametrize(("name", "plan", "placement", "starts"), CASES)
def test_isolated_is_never_slower(
    name: str, plan: Degrees, placement: str | None, starts: list[Start]
) -> None:
    system, where = laid(name, plan, placement)
    alone = ends(system, where, starts, contention="isolated")
    full = ends(system, where, starts)
    assert all(a <= b * (1 + 1e-9) for a, b in zip(alone, full, strict=True))


@pytest.mark.parametrize(("name", "plan", "placement", "starts"), CASES)
def test_folded_is_unfolded(name: str, plan: Degrees, placement: str | None, starts: list[Start]) -> None:
    """All groups compiled one by one and run as one program take the time that the folded one takes."""
    system, where = laid(name, plan, placement)
    traffic = Traffic(simpy.Environment(), system, where, "ideal", operations=[op for _, op, _ in starts])
    for _, op, stage in starts:
        if stage is not None:
            continue
        layout = traffic.compiler.layout(op)
        whole = joined(
            [
                compile_program(layout.chosen[int(kind)].schedule, system.fabric, ranks=ranks)
                for ranks, kind in zip(layout.members, layout.kind, strict=True)
            ]
        )
        assert traffic.seconds(op) == pytest.approx(run_alone(whole)[0].finish, rel=1e-9)


@pytest.mark.parametrize(("name", "plan", "placement", "starts"), CASES)
def test_links_carry_every_byte(name: str, plan: Degrees, placement: str | None, starts: list[Start]) -> None:
    system, where = laid(name, plan, placement)
    env = simpy.Environment()
    traffic = Traffic(env, system, where, "ideal", operations=[op for _, op, _ in starts])
    expected = np.zeros(system.fabric.links)
    for _, op, stage in starts:
        if stage is not None:
            continue
        env.run(until=traffic.start(op))
        layout = traffic.compiler.layout(op)
        for ranks, kind in zip(layout.members, layout.kind, strict=True):
            schedule = layout.chosen[int(kind)].schedule
            expected += compile_program(schedule, system.fabric, ranks=ranks).link_bytes()
    assert traffic.link_bytes() == pytest.approx(expected, rel=1e-9)


def test_sends_along_the_pipeline_carry_their_bytes_once() -> None:
    system, where = laid("dgx-h100*4", Degrees(tp=8, pp=4))
    env = simpy.Environment()
    op = Operation("pp", "send-recv", 1e6)
    traffic = Traffic(env, system, where, "ideal", operations=[op])
    env.run(until=traffic.start(op, 1))
    fabric = system.fabric
    into = np.isin(fabric.target, fabric.accelerators[16:24])
    assert traffic.link_bytes()[into].sum() == pytest.approx(8e6)
    assert traffic.bottleneck(env.now)[1] <= 1.0


def renamed(fabric: Fabric, order: IntArray) -> Placement:
    """A placement whose coordinates are dealt out to the ranks in another order."""
    plain = place(Degrees(tp=2, dp=4), fabric)
    return Placement(fabric, order[plain.rank], plain.ep, plain.shard)


def test_relabelling_equal_ranks_changes_nothing() -> None:
    system = topo.load("switch:8")
    op = Operation("dp", "all-reduce", 1e6)
    times = set()
    for seed in range(3):
        where = renamed(system.fabric, np.random.default_rng(seed).permutation(8))
        traffic = Traffic(simpy.Environment(), system, where, "ideal", operations=[op])
        times.add(round(traffic.seconds(op) * 1e12))
    assert len(times) == 1


def test_without_any_symmetry_it_is_still_exact() -> None:
    system = topo.load("torus:4x4,failed=2@seed3")
    where = place(Degrees(tp=4, dp=4), system.fabric)
    starts: list[Start] = [
        (0.0, Operation("dp", "all-gather", 1e6), None),
        (5e-6, Operation("tp", "reduce-scatter", 1e6), None),
    ]
    assert ends(system, where, starts) == pytest.approx(naive_ends(system, where, starts), rel=1e-9)


def test_many_starts_of_the_same_operation() -> None:
    """A company that never rests; each start meets the ones before it."""
    system, where = laid("torus:4x4", Degrees(tp=4, dp=4))
    op, other = Operation("dp", "all-gather", 1e6), Operation("tp", "send-recv", 1e5)
    starts: list[Start] = [(i * 2e-6, op if i % 3 else other, None) for i in range(8)]
    assert ends(system, where, starts) == pytest.approx(naive_ends(system, where, starts), rel=1e-9)


def test_a_large_cluster_folds_to_a_handful_of_rows() -> None:
    system, where = laid("dgx-h100*512", Degrees(tp=8, dp=128, pp=4))
    ops = [Operation("dp", "reduce-scatter", 1e9), Operation("tp", "all-gather", 1e8)]
    found = Traffic(simpy.Environment(), system, where, "ideal", operations=ops)._whole()
    assert max(program.rows for program in found.programs.values()) <= 64


def test_refusals() -> None:
    system, where = laid("torus:4x4", Degrees(tp=4, dp=4))
    env = simpy.Environment()
    with pytest.raises(NetworkError, match="contention 'fully' is unknown; did you mean 'full'"):
        Traffic(env, system, where, contention="fully")
    traffic = Traffic(env, system, where, "ideal", operations=[Operation("tp", "all-gather", 1e6)])
    with pytest.raises(NetworkError, match="groups of one rank"):
        traffic.seconds(Operation("cp", "all-gather", 1e6))
    with pytest.raises(NetworkError, match="stage 3 of 1"):
        traffic.seconds(Operation("tp", "all-gather", 1e6), 3)
    traffic.start(Operation("tp", "all-gather", 1e6))
    env.run(until=1e-7)
    with pytest.raises(NetworkError, match="was not named before"):
        traffic.start(Operation("dp", "all-gather", 1e6))
    with pytest.raises(CollectiveError, match="moves nothing"):
        Operation("tp", "all-gather", 0.0)
    with pytest.raises(CollectiveError, match="skew"):
        Operation("tp", "all-gather", 1.0, skew=2.0)


@pytest.mark.parametrize(
    ("name", "operation"),
    [
        ("dgx-h100", "all-reduce"),
        ("dgx-h100", "all-gather"),
        ("dgx-h100*4", "reduce-scatter"),
        ("tpu-v4:2x2x2", "all-gather"),
    ],
)
def test_one_group_alone_takes_what_the_library_takes(name: str, operation: str) -> None:
    """A single group that is the whole system is an ordinary collective."""
    system = topo.load(name)
    where = place(Degrees(dp=system.accelerators), system.fabric)
    traffic = Traffic(simpy.Environment(), system, where)
    expected = topo.simulate(system, operation, 64e6).time_s
    assert traffic.seconds(Operation("dp", operation, 64e6)) == pytest.approx(expected, rel=1e-9)
