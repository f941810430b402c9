"""Whole steps: bounds, closed forms, memory, and what the command line says."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

import topo
from topo.errors import TopoError
from topo.report.step import write_step_figure, write_timeline
from topo.training.memory import memory_by_stage, memory_of, nearest_plan, require_room
from topo.training.named_models import load_model
from topo.training.outcome import HEADINGS
from topo.training.plan import Plan, PlanError
from topo.training.rates import Rates, ideal_rates
from topo.training.script import seconds_of
from topo.training.stages import build_stages
from topo.training.step import step

SMALL = "layers=8,hidden=1024,heads=16,ffn=4096,vocabulary=32000"
PLANS = {
    "data": Plan(dp=8, global_batch=16, seq=2048),
    "sharded": Plan(dp=8, zero=3, global_batch=16, seq=2048, recompute="full"),
    "hybrid": Plan(dp=8, zero=3, shard=4, global_batch=16, seq=2048),
    "tensor": Plan(tp=8, global_batch=2, seq=2048),
    "pipeline": Plan(pp=4, dp=2, global_batch=16, seq=2048),
    "interleaved": Plan(
        pp=2, tp=2, dp=2, schedule="interleaved", virtual_stages=2, global_batch=16, seq=2048
    ),
    "zero bubble": Plan(pp=4, tp=2, schedule="zb-h1", global_batch=8, seq=2048),
    "context": Plan(cp=4, dp=2, global_batch=4, seq=8192),
    "ulysses": Plan(cp=4, dp=2, global_batch=4, seq=8192, context="ulysses"),
    "mixed": Plan(tp=2, cp=2, pp=2, global_batch=4, seq=4096, overlap_tp=True),
}


@pytest.mark.parametrize("contention", ["isolated", "full"])
@pytest.mark.parametrize("name", PLANS)
def test_a_step_adds_up_and_keeps_its_bound(name: str, contention: str) -> None:
    result = step(SMALL, topo.load("dgx-h100"), PLANS[name], contention=contention)
    assert result.step_s >= result.bound_s > 0
    assert math.fsum(result.split.values()) == pytest.approx(result.step_s, rel=1e-9)
    assert set(result.split) == set(HEADINGS)
    assert 0 < result.mfu <= result.hfu < 1
    assert result.memory_bytes == pytest.approx(sum(result.memory.values()))


@pytest.mark.parametrize("name", ["pipeline", "mixed", "sharded"])
def test_contention_never_helps(name: str) -> None:
    system = topo.load("dgx-h100")
    full, isolated = (
        step(SMALL, system, PLANS[name], contention=contention).step_s for contention in ("full", "isolated")
    )
    assert full >= isolated * (1 - 1e-9)


def test_one_accelerator_is_the_sum_of_its_kernels() -> None:
    system = topo.load("tpu-v5p:1x1x2")
    model, plan = load_model(SMALL), Plan(dp=2, zero=0, global_batch=6, seq=2048)
    assert system.chip is not None
    result = step(model, system, plan, ideal_kernels=True)
    (stage,) = build_stages(model, plan, ideal_rates(system.chip))
    kernels = sum(seconds_of(u.layer.forward) + seconds_of(u.layer.backward) for u in stage.chunks[0])
    assert result.compute_s == pytest.approx(3 * kernels, rel=1e-9)
    assert result.step_s == pytest.approx(3 * kernels + result.dp_s + result.optimizer_s, rel=1e-9)


def test_ideal_data_parallelism_hides_behind_the_backward_pass() -> None:
    system = topo.load("dgx-h100")
    plan = replace(PLANS["data"], zero=0, global_batch=8)
    result = step(SMALL, system, plan, ideal_kernels=True, ccl="ideal")
    exposed = replace(plan, overlap_gradients=False)
    slower = step(SMALL, system, exposed, ideal_kernels=True, ccl="ideal")
    assert slower.dp_s > result.dp_s > 0
    assert slower.compute_s == pytest.approx(result.compute_s)


def test_experts() -> None:
    plan = Plan(dp=8, ep=8, global_batch=8, seq=1024)
    model = f"{SMALL},experts=16,per_token=2,expert_ffn=512"
    even = step(model, topo.load("dgx-h100"), plan)
    skewed = step(model, topo.load("dgx-h100"), replace(plan, expert_skew=2.0))
    assert even.ep_s > 0
    assert skewed.step_s > even.step_s


# Memory -------------------------------------------------------------------------------------------------

ANY = Rates("any", {"bf16": 1.0}, 1.0)


def states(zero: int) -> float:
    model, plan = load_model("llama3-8b"), Plan(dp=8, zero=zero, gradient_bytes=2.0)
    memory = memory_of(model, plan, build_stages(model, plan, ANY)).components
    return sum(memory[key] for key in ("weights", "gradients", "optimizer"))


def test_states_by_zero_stage() -> None:
    """16, 4 + 12/D, 2 + 14/D and 16/D bytes a parameter."""
    parameters = load_model("llama3-8b").parameters
    for zero, bytes_each in ((0, 16), (1, 4 + 12 / 8), (2, 2 + 14 / 8), (3, 16 / 8)):
        assert states(zero) == pytest.approx(bytes_each * parameters, rel=1e-9)


def test_activations_follow_the_schedule() -> None:
    model = load_model("llama3-8b")

    def activations(schedule: str) -> float:
        plan = Plan(pp=4, schedule=schedule, global_batch=16, seq=4096)
        return memory_of(model, plan, build_stages(model, plan, ANY)).components["activations"]

    assert activations("gpipe") == pytest.approx(16 / 4 * activations("1f1b"))
    assert activations("1f1b") == pytest.approx(4 * 8 * model.activation_bytes(4096))


def test_too_large_plans_say_what_and_what_else() -> None:
    with pytest.raises(PlanError, match=r"of which (optimizer|gradients) are .* would fit"):
        step("llama3-8b", topo.load("dgx-h100"), Plan(dp=8, zero=0, global_batch=8, seq=2048))
    model = load_model("gpt3-175b")
    plan = Plan(dp=8, zero=3, global_batch=8, seq=2048)
    system = topo.load("dgx-h100")
    assert system.chip is not None
    with pytest.raises(PlanError, match="GB too much"):
        require_room(model, plan, memory_of(model, plan, build_stages(model, plan, ANY)), system.chip, "here")


def test_plans_are_filled_up_so_that_they_fit() -> None:
    result = topo.step("llama3-8b", "dgx-h100", contention="isolated")
    assert "dp" in result.plan or "tp" in result.plan
    with pytest.raises(PlanError, match="under no plan"):
        topo.step("gpt3-175b", "dgx-h100")
    with pytest.raises(TopoError, match="links but no chips"):
        topo.step("llama3-8b", "torus:4x4")
    with pytest.raises(TopoError, match="beside it"):
        topo.step("llama3-8b", "dgx-h100", Plan(dp=8), tp=2)
    with pytest.raises(PlanError, match="no peak at fp4"):
        topo.step("llama3-8b", "dgx-h100", zero=3, precision="fp4")


# What people see ----------------------------------------------------------------------------------------


def test_files(tmp_path: Path) -> None:
    result = step(SMALL, topo.load("dgx-h100"), PLANS["pipeline"], timeline=True, contention="isolated")
    write_timeline(result.spans, tmp_path / "step.json")
    events = json.loads((tmp_path / "step.json").read_text())["traceEvents"]
    work = [event for event in events if event["ph"] == "X" and event["pid"] == 0]
    assert max(event["ts"] + event["dur"] for event in work) <= result.step_s * 1e6 * (1 + 1e-9)
    assert {event["args"]["name"] for event in events if event["ph"] == "M"} >= {
        "stage 0",
        "stage 3",
        "compute",
    }
    write_step_figure([result, result], tmp_path / "step.svg")
    assert (tmp_path / "step.svg").read_text().count("<svg") == 1


def test_a_domain_is_one_pool_of_memory() -> None:
    """What its accelerators hold, stage by stage."""
    system = topo.load("dgx-h100*2")
    sharded = step(SMALL, system, Plan(dp=16, zero=3, global_batch=16, seq=2048), contention="isolated")
    assert sharded.memory_domain_bytes == pytest.approx(8 * sharded.memory_bytes)
    model, plan = load_model(SMALL), Plan(pp=4, tp=4, global_batch=8, seq=2048)
    piped = step(model, system, plan, contention="isolated")
    each = [memory.total for memory in memory_by_stage(model, plan, build_stages(model, plan, ANY))]
    assert piped.memory_domain_bytes == pytest.approx(4 * max(each[0] + each[1], each[2] + each[3]))
    assert piped.memory_bytes == pytest.approx(max(each))


def test_the_nearest_plan_may_split_layers_otherwise_or_offload() -> None:
    model = load_model("llama3-8b")
    plan = Plan(pp=4, tp=2, zero=3, recompute="full", global_batch=8, seq=2048)
    memories = memory_by_stage(model, plan, build_stages(model, plan, ANY))
    fullest = max(memory.total for memory in memories)
    rest = sorted(memory.total for memory in memories)[-2]
    assert "the layer split" in nearest_plan(model, plan, (fullest + rest) / 2)
    states = memories[0].components["optimizer"]
    assert "optimizer states with the host" in nearest_plan(model, plan, fullest - 0.9 * states)
    assert "GB too much" in nearest_plan(model, plan, 1e9)
