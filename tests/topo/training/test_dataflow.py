"""Dataflow machines against closed forms."""

from __future__ import annotations

import pytest

import topo
from topo.training.dataflow import (
    DataflowError,
    build_units,
    pipeline_finish,
    static_dataflow,
    weight_streaming,
)
from topo.training.named_models import load_model
from topo.training.plan import Plan

SMALL = load_model("layers=8,hidden=1024,heads=16,ffn=4096,vocabulary=32000")


def test_pipeline_throughput_is_one_over_the_slowest() -> None:
    service = [1.0, 3.0, 2.0]
    done = pipeline_finish(service, 10, buffer=2)
    assert done[0] == pytest.approx(6.0)
    assert done[-1] == pytest.approx(6.0 + 9 * 3.0)


def test_neighbours_take_turns_without_room() -> None:
    done = pipeline_finish([1.0, 3.0, 2.0], 10, buffer=1)
    assert done[-1] - done[-2] == pytest.approx(3.0 + 2.0)


def test_even_stages_with_any_room() -> None:
    for buffer in (2, 3, 10):
        assert pipeline_finish([2.0] * 5, 7, buffer)[-1] == pytest.approx(2.0 * (5 + 7 - 1))
    with pytest.raises(DataflowError, match="room for 0"):
        pipeline_finish([1.0], 1, 0)


def test_static_dataflow_on_a_wafer() -> None:
    system = topo.load("wse3")
    plan = Plan(global_batch=64, seq=1024)
    still = static_dataflow(SMALL, system, plan)
    assert sum(region.share for region in still.regions) == pytest.approx(1.0)
    assert len(still.regions) == SMALL.layers + 2
    service = still.regions[0].seconds
    regions, batches = len(still.regions), 64
    expected = (2 * regions - 1 + batches) * service + still.update_s
    assert still.step_s == pytest.approx(expected)
    changed = static_dataflow(SMALL, system, plan, changes=3, reconfiguration_s=0.5)
    assert changed.reconfiguration_s == pytest.approx(1.5)
    assert changed.step_s - still.step_s == pytest.approx(1.5 + 3 * (2 * regions - 1) * service)


def test_a_model_that_no_wafer_holds() -> None:
    with pytest.raises(DataflowError, match="stream its weights"):
        static_dataflow(load_model("gpt3-175b"), topo.load("wse3"), Plan(global_batch=64, seq=2048))


def test_units_hold_the_model() -> None:
    model = load_model("llama3-8b")
    units = build_units(model, Plan(seq=2048))
    assert sum(parameters for parameters, _ in units) == pytest.approx(model.parameters)
    assert sum(flops for _, flops in units) == pytest.approx(model.forward_flops(2048))


@pytest.mark.parametrize("machines", [1, 4, 16])
def test_weight_streaming_bounds(machines: int) -> None:
    """13e9 parameters in 16 bits over 150 GB/s: 0.347 s down, whatever the number of machines."""
    model = load_model("layers=40,hidden=5120,heads=40,vocabulary=50257")
    plan = Plan(global_batch=16, seq=2048, gradient_bytes=2.0)
    found = weight_streaming(model, plan, machines=machines, peak_flops=5e15, io_bandwidth=150e9)
    assert found.down_s == pytest.approx(2 * model.parameters * 2 / 150e9, rel=1e-3)
    assert found.up_s == pytest.approx(model.parameters * 2 / 150e9, rel=1e-3)
    assert found.step_s >= found.bound_s


def test_weight_streaming_ends() -> None:
    """All computation, or all streaming."""
    plan = Plan(global_batch=8, seq=1024)
    slow = weight_streaming(SMALL, plan, machines=8, peak_flops=1e12, io_bandwidth=1e15)
    assert slow.binds == "compute"
    assert slow.step_s == pytest.approx(slow.compute_s, rel=1e-3)
    fast = weight_streaming(SMALL, plan, machines=8, peak_flops=1e20, io_bandwidth=1e9)
    assert fast.binds in ("weights", "gradients")
    assert fast.step_s == pytest.approx(fast.bound_s, rel=0.7)
    moved = weight_streaming(
        SMALL, plan, machines=8, peak_flops=1e12, io_bandwidth=1e15, changes=2, reconfiguration_s=1.0
    )
    assert moved.step_s == pytest.approx(slow.step_s + 2.0)
    with pytest.raises(DataflowError, match="do not divide by 3 machines"):
        weight_streaming(SMALL, plan, machines=3, peak_flops=1e12, io_bandwidth=1e12)
