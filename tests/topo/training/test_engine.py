"""The step's streams against closed forms and the workload oracles."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.topo.training.standin import run, unit
from topo.training.engine import beside
from topo.training.operation import Operation
from topo.training.pipeline import makespan
from topo.training.plan import Plan
from topo.training.script import Talk, Work
from topo.training.sharding import buckets
from topo.training.stages import Stage

CASES = {
    case["id"]: case
    for case in json.loads((Path(__file__).parents[2] / "data" / "collectives.json").read_text())["cases"]
    if case["group"] == "workload"
}
both = pytest.mark.parametrize("alone", [True, False])


def one_stage(layers: int, forward: float, backward: float, parameters: float = 1.0) -> list[Stage]:
    return [Stage(0, (tuple(unit(forward, backward, parameters) for _ in range(layers)),))]


@both
@pytest.mark.parametrize("name", ["fsdp_fwd_L12_compbound", "fsdp_fwd_L12_commbound"])
def test_sharded_forward_pass(name: str, alone: bool) -> None:
    """The gather of a layer runs while the layer before computes: g + L c, or L g + c."""
    case = CASES[name]
    t = case["topology"]
    plan = Plan(dp=2, zero=3, global_batch=2, reshard=False)

    def seconds(operation: Operation) -> float:
        return t["allgather_per_layer_s"] if operation.operation == "all-gather" else 0.0

    stages = one_stage(t["layers"], t["compute_per_layer_s"], 0.0)
    assert run(plan, stages, seconds, alone=alone).seconds == pytest.approx(case["expected"], rel=1e-9)


@both
def test_gradient_buckets(alone: bool) -> None:
    """n buckets of c behind computation on one stream: n c + u if c >= u."""
    case = CASES["ddp_overlap_n10_compbound"]
    t = case["topology"]
    plan = Plan(dp=2, zero=0, global_batch=2, bucket_bytes=1.0)
    stages = one_stage(t["buckets"], 0.0, t["backward_per_bucket_s"])
    found = run(plan, stages, lambda operation: t["allreduce_per_bucket_s"], alone=alone)
    assert found.seconds == pytest.approx(case["expected"], rel=1e-9)
    slow = run(plan, stages, lambda operation: 0.003, alone=alone)
    assert slow.seconds == pytest.approx(0.002 + 10 * 0.003)


@both
def test_ring_attention(alone: bool) -> None:
    """P c if c >= u, else (P - 1) u + c."""
    case = CASES["ringattn_P8_comm"]
    t = case["topology"]
    shift = Talk(Operation("cp", "send-recv", 1.0), Work("attention", t["block_compute_s"]))
    layer = unit(t["block_compute_s"], 0.0, talks=[shift] * (t["P"] - 1))
    plan = Plan(cp=t["P"], global_batch=1)
    found = run(plan, [Stage(0, ((layer,),))], lambda operation: t["kv_transfer_s"], alone=alone)
    assert found.seconds == pytest.approx(case["expected"], rel=1e-9)
    fast = run(plan, [Stage(0, ((layer,),))], lambda operation: 0.0005, alone=alone)
    assert fast.seconds == pytest.approx(t["P"] * t["block_compute_s"])


@pytest.mark.parametrize("schedule", ["gpipe", "1f1b", "interleaved", "zb-h1"])
def test_pipeline_without_communication(schedule: str) -> None:
    virtual = 2 if schedule == "interleaved" else 1
    plan = Plan(pp=4, global_batch=8, schedule=schedule, virtual_stages=virtual)
    stages = [
        Stage(i, tuple((unit(1.0 / virtual, 2.0 / virtual),) for _ in range(virtual))) for i in range(4)
    ]
    split = (1.0, 1.0) if schedule == "zb-h1" else (2.0, 0.0)
    expected = makespan(schedule, 4, 8, 1.0, *split, virtual_stages=virtual)
    outcome = run(plan, stages)
    assert outcome.seconds == pytest.approx(expected)
    for spent in outcome.spent:
        assert sum(spent.values()) == pytest.approx(outcome.seconds)
        assert spent["compute"] == pytest.approx(24.0)


@both
def test_transfers_between_stages_fill_and_drain(alone: bool) -> None:
    """A transfer of c adds 2 (p - 1) c to a pipeline whose steady state hides it."""
    plan = Plan(pp=2, global_batch=1)
    stages = [Stage(i, ((unit(1.0, 2.0),),)) for i in range(2)]
    outcome = run(plan, stages, lambda operation: 0.25, alone=alone, activation_bytes=1.0)
    assert outcome.seconds == pytest.approx(2 * 3.0 + 2 * 0.25)
    assert outcome.spent[1]["pp"] == pytest.approx(0.25)
    assert outcome.spent[1]["bubble"] == pytest.approx(1.0 + 2.25)


@both
def test_perfect_overlap_and_none(alone: bool) -> None:
    """The two ends: reductions hidden but for the last one, or all exposed."""
    stages = one_stage(6, 1.0, 2.0)
    hidden = run(
        Plan(dp=2, zero=0, global_batch=2, bucket_bytes=1.0), stages, lambda operation: 0.5, alone=alone
    )
    exposed = run(
        Plan(dp=2, zero=0, global_batch=2, bucket_bytes=1.0, overlap_gradients=False),
        stages,
        lambda operation: 0.5,
        alone=alone,
    )
    assert hidden.seconds == pytest.approx(18.0 + 0.5)
    assert exposed.seconds == pytest.approx(18.0 + 6 * 0.5)
    assert exposed.spent[0]["dp"] == pytest.approx(3.0)


def test_parameters_are_gathered_before_or_after() -> None:
    stages = one_stage(4, 1.0, 2.0)

    def seconds(operation: Operation) -> float:
        return 0.5 if operation.operation == "all-gather" else 0.0

    ahead = Plan(dp=2, zero=1, global_batch=2, bucket_bytes=1.0)
    assert run(ahead, stages, seconds).seconds == pytest.approx(12.5)
    late = Plan(dp=2, zero=1, global_batch=2, bucket_bytes=1.0, overlap_parameters=False)
    assert run(late, stages, seconds).seconds == pytest.approx(14.0)


def test_optimizer_waits_for_all_stages() -> None:
    plan = Plan(pp=2, global_batch=2)
    stages = [Stage(i, ((unit(1.0, 2.0),),)) for i in range(2)]
    outcome = run(plan, stages, optimizer=(0.5, 0.25), input_s=0.125)
    assert outcome.seconds == pytest.approx(3 * 3.0 + 0.5 + 0.125)
    assert outcome.spent[0]["input"] == pytest.approx(0.125)


def test_collectives_take_units_from_computation() -> None:
    plan = Plan(dp=2, zero=0, global_batch=2, bucket_bytes=1.0)
    stages = one_stage(2, 0.0, 1.0)
    free = run(plan, stages, lambda operation: 0.4).seconds
    taken = run(plan, stages, lambda operation: 0.4, share=0.25).seconds
    assert free == pytest.approx(2.4)
    assert taken == pytest.approx(2.4 + 0.4 * 0.25)


def test_side_by_side() -> None:
    assert beside(2.0, 1.0, 0.0) == 2.0
    assert beside(1.0, 3.0, 0.0) == 3.0
    assert beside(2.0, 1.0, 0.25) == pytest.approx(2.25)
    assert beside(2.0, 1.0, 0.0, parts=4) == pytest.approx(2.25)
    assert beside(0.0, 1.0, 0.5) == 1.0


def test_buckets_hold_at_least_their_bytes_and_keep_the_order() -> None:
    stage = Stage(0, (tuple(unit(1.0, 1.0, 10.0) for _ in range(5)),))
    found = buckets(Plan(bucket_bytes=80.0), stage)
    assert [len(bucket) for bucket in found] == [2, 2, 1]
    assert found[0][0] is stage.chunks[0][-1]


def test_timeline() -> None:
    plan = Plan(dp=2, zero=0, global_batch=2, bucket_bytes=1.0)
    spans = run(plan, one_stage(2, 1.0, 2.0), lambda operation: 0.5).spans
    assert {span.stream for span in spans} == {"compute", "dp"}
    assert all(span.end > span.start for span in spans)
