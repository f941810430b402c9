"""Weight streaming within a machine's memory."""

from __future__ import annotations

import pytest

from topo.training.dataflow import DataflowError, weight_streaming
from topo.training.model import Model
from topo.training.named_models import load_model
from topo.training.plan import Plan
from topo.training.streaming import fastest_streaming, sequence_bytes, sequences_at_once, streaming_in_passes

MODEL: Model = load_model("layers=24,hidden=2048,heads=16,ffn=8192,vocabulary=50257")
PLAN = Plan(seq=2048, global_batch=64, micro_batch=1)
WAFER = {"peak_flops": 15.8e15, "io_bandwidth": 150e9}


def test_sequences_fill_the_memory() -> None:
    count = sequences_at_once(MODEL, PLAN, 44e9)
    each = sequence_bytes(MODEL, PLAN)
    assert count * each < 44e9 < (count + 2) * each + 6e9
    assert each == pytest.approx(24 * MODEL.activation_bytes(2048, "none", seq=2048))
    assert sequences_at_once(MODEL, Plan(seq=2048, global_batch=64, recompute="full"), 44e9) > count


def test_with_room_for_all_it_is_one_pass() -> None:
    step, passes = streaming_in_passes(MODEL, PLAN, machines=2, memory_bytes=1e15, **WAFER)
    assert passes == 1
    assert step == weight_streaming(MODEL, PLAN, machines=2, **WAFER)


def test_every_pass_streams_the_weights_again() -> None:
    room = sequence_bytes(MODEL, PLAN) * 8.5 + 6e9
    count = sequences_at_once(MODEL, PLAN, room)
    one, _ = streaming_in_passes(MODEL, PLAN, machines=1, memory_bytes=1e15, **WAFER)
    many, passes = streaming_in_passes(MODEL, PLAN, machines=1, memory_bytes=room, **WAFER)
    assert passes == -(-64 // count) > 1
    assert many.down_s == pytest.approx(passes * one.down_s)
    assert many.up_s == pytest.approx(passes * one.up_s)
    assert many.compute_s == pytest.approx(one.compute_s)
    assert many.step_s > one.step_s
    assert many.step_s >= many.bound_s


def test_changes_of_the_graph_cost_their_time() -> None:
    still, _ = streaming_in_passes(MODEL, PLAN, machines=1, memory_bytes=44e9, **WAFER)
    moving, _ = streaming_in_passes(
        MODEL, PLAN, machines=1, memory_bytes=44e9, changes=3, reconfiguration_s=5.0, **WAFER
    )
    assert moving.step_s == pytest.approx(still.step_s + 15.0)


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(DataflowError, match="recompute full"):
        sequences_at_once(MODEL, PLAN, 1e9)
    with pytest.raises(DataflowError, match="do not divide"):
        streaming_in_passes(MODEL, PLAN, machines=3, memory_bytes=44e9, **WAFER)


def test_recomputation_takes_the_forward_pass_once_more_and_holds_more() -> None:
    again = Plan(seq=2048, global_batch=64, recompute="full")
    plain, passes = streaming_in_passes(MODEL, PLAN, machines=1, memory_bytes=44e9, **WAFER)
    step, fewer = streaming_in_passes(MODEL, again, machines=1, memory_bytes=44e9, **WAFER)
    assert step.compute_s == pytest.approx(plain.compute_s * 4 / 3)
    assert fewer <= passes
    fastest, _, policy = fastest_streaming(
        MODEL, PLAN, ("none", "full"), machines=1, memory_bytes=44e9, **WAFER
    )
    assert fastest.step_s == min(plain.step_s, step.step_s)
    assert policy == ("none" if plain.step_s < step.step_s else "full")
    assert (
        fastest_streaming(MODEL, PLAN, ("none", "full"), machines=1, memory_bytes=3.5e9, **WAFER)[2] == "full"
    )
    with pytest.raises(DataflowError, match="GB"):
        fastest_streaming(MODEL, PLAN, ("none", "full"), machines=1, memory_bytes=1e9, **WAFER)
