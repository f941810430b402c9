"""Weight streaming: closed forms, and passes within a machine's memory."""

from __future__ import annotations

from dataclasses import replace

import pytest

import topo
from topo.system import OutsideMemory
from topo.training.dataflow import DataflowError
from topo.training.mapping import mapped_step
from topo.training.model import Model
from topo.training.named_models import load_model
from topo.training.plan import Plan
from topo.training.streaming import (
    Machine,
    build_units,
    fastest_streaming,
    passes_of,
    sequence_bytes,
    sequences_at_once,
    streaming_in_passes,
    weight_streaming,
)
from topo.training.supply import Supply, states_outside

SMALL = load_model("layers=8,hidden=1024,heads=16,ffn=4096,vocabulary=32000")
MODEL: Model = load_model("layers=24,hidden=2048,heads=16,ffn=8192,vocabulary=50257")
PLAN = Plan(seq=2048, global_batch=64, micro_batch=1)
WAFER = Machine(peak_flops=15.8e15, io_bandwidth=150e9)
HELD = replace(WAFER, memory_bytes=44e9)


def test_units_hold_the_model() -> None:
    model = load_model("llama3-8b")
    units = build_units(model, Plan(seq=2048))
    assert sum(parameters for parameters, _ in units) == pytest.approx(model.parameters)
    assert sum(flops for _, flops in units) == pytest.approx(model.forward_flops(2048))


@pytest.mark.parametrize("machines", [1, 4, 16])
def test_bounds(machines: int) -> None:
    """13e9 parameters in 16 bits over 150 GB/s: 0.347 s down, whatever the number of machines."""
    model = load_model("layers=40,hidden=5120,heads=40,vocabulary=50257")
    plan = Plan(global_batch=16, seq=2048, gradient_bytes=2.0)
    found = weight_streaming(model, plan, Machine(5e15, 150e9), machines)
    assert found.down_s == pytest.approx(2 * model.parameters * 2 / 150e9, rel=1e-3)
    assert found.up_s == pytest.approx(model.parameters * 2 / 150e9, rel=1e-3)
    assert found.step_s >= found.bound_s


def test_the_two_ends() -> None:
    """All computation, or all streaming."""
    plan = Plan(global_batch=8, seq=1024)
    slow = weight_streaming(SMALL, plan, Machine(1e12, 1e15), 8)
    assert slow.binds == "compute"
    assert slow.step_s == pytest.approx(slow.compute_s, rel=1e-3)
    fast = weight_streaming(SMALL, plan, Machine(1e20, 1e9), 8)
    assert fast.binds in ("weights", "gradients")
    assert fast.step_s == pytest.approx(fast.bound_s, rel=0.7)
    with pytest.raises(DataflowError, match="do not divide by 3 machines"):
        weight_streaming(SMALL, plan, Machine(1e12, 1e12), 3)
    with pytest.raises(DataflowError, match="above 0"):
        Machine(0.0, 1e9)


def test_each_way_has_its_own_speed() -> None:
    """Weights in the backward pass and gradients are slower where they share links; talk of neighbours is added."""
    plan = Plan(global_batch=8, seq=1024)
    slower = Machine(1e20, 1e9, beside_bandwidth=0.5e9, up_bandwidth=0.25e9)
    found = weight_streaming(SMALL, plan, slower)
    assert found.down_s == pytest.approx(SMALL.parameters * 2 * (1 / 1e9 + 1 / 0.5e9))
    assert found.up_s == pytest.approx(SMALL.parameters * 4 / 0.25e9)
    quiet = weight_streaming(SMALL, plan, Machine(1e12, 1e15))
    talking = weight_streaming(SMALL, plan, Machine(1e12, 1e15, exchange=lambda tokens: tokens * 1e-6))
    assert talking.exchange_s == pytest.approx(3 * SMALL.layers * 8 * 1024 * 1e-6)
    assert talking.step_s == pytest.approx(quiet.step_s + talking.exchange_s, rel=1e-6)


# Passes -------------------------------------------------------------------------------------------------


def test_sequences_fill_the_memory() -> None:
    count = sequences_at_once(MODEL, PLAN, 44e9)
    each = sequence_bytes(MODEL, PLAN)
    assert count * each < 44e9 < (count + 2) * each + 6e9
    assert each == pytest.approx(24 * MODEL.activation_bytes(2048, "none", seq=2048))
    assert sequences_at_once(MODEL, Plan(seq=2048, global_batch=64, recompute="full"), 44e9) > count


def test_with_room_for_all_it_is_one_pass() -> None:
    assert streaming_in_passes(MODEL, PLAN, WAFER, 2) == weight_streaming(MODEL, PLAN, WAFER, 2)


def test_every_pass_streams_the_weights_again() -> None:
    room = sequence_bytes(MODEL, PLAN) * 8.5 + 6e9
    count = sequences_at_once(MODEL, PLAN, room)
    one = streaming_in_passes(MODEL, PLAN, WAFER)
    many = streaming_in_passes(MODEL, PLAN, replace(WAFER, memory_bytes=room))
    assert many.passes == passes_of(MODEL, PLAN, room, 1) == -(-64 // count) > 1
    assert many.down_s == pytest.approx(many.passes * one.down_s)
    assert many.up_s == pytest.approx(many.passes * one.up_s)
    assert many.compute_s == pytest.approx(one.compute_s)
    assert many.step_s > one.step_s
    assert many.step_s >= many.bound_s


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(DataflowError, match="recompute full"):
        sequences_at_once(MODEL, PLAN, 1e9)
    with pytest.raises(DataflowError, match="do not divide"):
        streaming_in_passes(MODEL, PLAN, HELD, 3)


def test_recomputation_takes_the_forward_pass_once_more_and_holds_more() -> None:
    plain = streaming_in_passes(MODEL, PLAN, HELD)
    again = streaming_in_passes(MODEL, Plan(seq=2048, global_batch=64, recompute="full"), HELD)
    assert again.compute_s == pytest.approx(plain.compute_s * 4 / 3)
    assert again.passes <= plain.passes
    fastest = fastest_streaming(MODEL, PLAN, ("none", "full"), HELD)
    assert fastest.step_s == min(plain.step_s, again.step_s)
    assert fastest.recompute == ("none" if plain.step_s < again.step_s else "full")
    tight = replace(WAFER, memory_bytes=3.5e9)
    assert fastest_streaming(MODEL, PLAN, ("none", "full"), tight).recompute == "full"
    with pytest.raises(DataflowError, match="GB"):
        fastest_streaming(MODEL, PLAN, ("none", "full"), replace(WAFER, memory_bytes=1e9))


# The way in ---------------------------------------------------------------------------------------------


def test_on_a_wafer_the_way_in_binds_and_not_the_mesh() -> None:
    found = mapped_step(MODEL, topo.load("wse3*2"), "streaming", {"seq": 2048, "global_batch": 64})
    assert found["down_Bps"] == found["up_Bps"] == 150e9
    assert found["tensor"] == 1
    assert found["between_s"] == found["update_s"] == 0.0
    plain = fastest_streaming(
        MODEL,
        PLAN,
        ("none", "full"),
        Machine(15.8e15, 150e9, memory_bytes=44e9, efficiency=0.7, latency=1e-6),
        2,
    )
    assert found["step_s"] == pytest.approx(plain.step_s, rel=1e-9)
    moving = mapped_step(
        MODEL,
        topo.load("wse3*2"),
        "streaming",
        {"seq": 2048, "global_batch": 64},
        changes=3,
        reconfiguration_s=5.0,
    )
    assert moving["step_s"] == pytest.approx(found["step_s"] + 15.0)
    assumed = mapped_step(
        MODEL, topo.load("wse3*2"), "streaming", {"seq": 2048, "global_batch": 64}, changes=3
    )
    assert assumed["reconfiguration_s"] == pytest.approx(3 * 44e9 / 150e9)


def test_dojo_streams_from_its_interface_processors() -> None:
    """What one tray cannot hold comes from the HBM at its edge, spread over the mesh."""
    given = {"seq": 2048, "global_batch": 48}
    found = mapped_step(MODEL, topo.load("dojo*2"), "streaming", given)
    assert found["step_s"] >= found["bound_s"]
    assert 0.5e12 < found["up_Bps"] <= found["down_Bps"] < 16e12
    assert found["outside_bytes"] == pytest.approx(MODEL.parameters * (2 + 4 + 12 / 2))
    # Half of the states each: read and written, with gradients and weights, at 16 TB/s.
    assert found["update_s"] == pytest.approx(MODEL.parameters / 2 * (24 + 4 + 2) / 16e12)
    assert found["between_s"] > 0
    with pytest.raises(
        DataflowError, match=r"need 1,\d\d\d GB of the outside memory .* 640 GB; .* GB too much"
    ):
        mapped_step(load_model("gpt3-175b"), topo.load("dojo*3"), "streaming", given)
    with pytest.raises(DataflowError, match="no memory outside its accelerators"):
        mapped_step(MODEL, topo.load("dgx-h100*2"), "streaming", given)


def test_gradients_leave_in_every_pass_where_the_memory_is_short() -> None:
    size = MODEL.parameters
    memory = OutsideMemory("HBM", 1e12, False, size * (2 + 4 + 3))
    assert states_outside(MODEL, PLAN, memory, 4) == (size * (2 + 4 + 3), True)
    tight = replace(memory, memory_bytes=size * (2 + 1 + 3))
    assert states_outside(MODEL, PLAN, tight, 4) == (size * (2 + 1 + 3), False)
    with pytest.raises(DataflowError, match="too much"):
        states_outside(MODEL, PLAN, replace(memory, memory_bytes=size * 5.9), 4)
    shared = OutsideMemory("MemoryX", 1e12, True)
    assert states_outside(MODEL, PLAN, shared, 4) == (size * 18, True)


def test_spreading_weights_is_simulated_on_the_mesh() -> None:
    """A die at the corner of a tile takes 2 x 2 TB/s and 2 x 0.9 TB/s at most."""
    system = topo.load("dojo")
    assert system.outside_memory is not None
    supply = Supply(system, system.outside_memory)
    down = supply.down(1e9)
    assert down <= 5.8e12 * 150 / 149
    beside, up = supply.both(1e9, 1e9)
    assert beside <= down * (1 + 1e-9)
    assert up <= 5.8e12 * 150 / 149
    assert supply.exchange(MODEL, 1e6) == 0.0
    split = Supply(system, system.outside_memory, 5)
    assert split.down(1e9) > 0
    assert split.exchange(MODEL, 1e6) > 0
    assert split.imbalance(MODEL) == pytest.approx(4 * 5 / 16)
