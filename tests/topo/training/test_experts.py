"""Blocks with experts: launches, exchanges beside other computation, what is not fused; windows and heads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import topo
from topo.training.engine import beside
from topo.training.experts import beside_others
from topo.training.named_models import load_model
from topo.training.operation import Operation
from topo.training.plan import Plan, PlanError
from topo.training.rates import Rates, chip_rates
from topo.training.script import Layer, Talk, Work, flops_of, seconds_of
from topo.training.step import step
from topo.training.work import LayerBuilder

H100 = topo.load("dgx-h100").chip
assert H100 is not None
RATES = chip_rates(H100)


def layer(model: str, rates: Rates = RATES, **choices: Any) -> Layer:
    found = load_model(model)
    plan = Plan(**{"seq": 4096, "grouped_experts": False, **choices})
    return LayerBuilder(found, plan, rates).layer(found.layers - 1)


def test_each_graph_takes_launches_from_the_host() -> None:
    hosts = [layer("qwen3-30b-a3b", graphs=kind).host[0] for kind in ("none", "router", "static", "all")]
    assert hosts == sorted(hosts, reverse=True) and hosts[-1] == 0
    assert len(set(hosts)) == 4
    with pytest.raises(PlanError, match="kind of graphs 'some' is unknown"):
        Plan(graphs="some")


def test_biases_of_experts_cost_memory_passes_and_launches() -> None:
    fused, apart = (layer("gpt-oss-120b", graphs="none", fused_experts=kind) for kind in (True, False))
    assert flops_of(fused.forward) == flops_of(apart.forward)
    assert seconds_of(apart.forward) > 1.05 * seconds_of(fused.forward)
    assert apart.host[0] > fused.host[0]
    # A model without biases and clamps has nothing that could be apart.
    plain, same = (layer("qwen3-30b-a3b", fused_experts=kind) for kind in (True, False))
    assert seconds_of(plain.forward) == seconds_of(same.forward)


def test_exchanges_beside_another_micro_batch_share_its_computation() -> None:
    exchange = Operation("ep", "all-to-all", 1e6)
    gather = Talk(Operation("tp", "all-gather", 1e6), Work("mlp", 2.0, 20.0))
    script = (Work("norm", 1.0, 1.0), Talk(exchange), Work("experts", 3.0, 30.0), gather, Talk(exchange))
    found = beside_others(script)
    assert [item.operation.axis for item in found if isinstance(item, Talk)] == ["ep", "tp", "ep"]
    assert seconds_of(found) == seconds_of(script) and flops_of(found) == flops_of(script)
    assert [item.beside.seconds for item in found if isinstance(item, Talk) and item.beside] == [
        2.0,
        2.0,
        2.0,
    ]
    assert beside_others((gather,)) == (gather,)


def test_an_overlapped_step_lies_between_computation_alone_and_no_overlap() -> None:
    system = topo.load("dgx-h100")
    plan = Plan(dp=8, ep=8, micro_batch=2, global_batch=16, seq=2048)
    apart = step("mixtral-8x7b", system, plan, check_memory=False)
    over = step("mixtral-8x7b", system, replace(plan, overlap_ep=True), check_memory=False)
    assert apart.compute_s < over.step_s < apart.step_s
    assert over.ep_s < apart.ep_s
    assert over.hardware_flops == pytest.approx(apart.hardware_flops)
    assert beside(1.0, 0.5, 0.0) == 1.0


def test_plain_ring_attention_moves_and_merges_more() -> None:
    def moved(ring: str) -> float:
        found = layer("llama3-8b", cp=4, dp=1, seq=32768, ring=ring)
        return sum(
            item.operation.bytes
            for script in (found.forward, found.backward)
            for item in script
            if isinstance(item, Talk)
        )

    # Keys and values for 32 heads instead of 8; back, gradients of 4 bytes beside values of 2 instead of 2 and 2.
    assert moved("plain") / moved("fused") == pytest.approx(4 * (2 + 6) / (2 + 4))
    slow, fast = (layer("llama3-8b", cp=4, seq=32768, ring=ring) for ring in ("plain", "fused"))
    assert seconds_of(slow.forward) > seconds_of(fast.forward)


def test_windows_touch_whole_tiles_and_heads_whole_lanes() -> None:
    rates = Rates("any", {"bf16": 1e12}, 1e12, block=128)
    assert rates.touched(128.0, 128, 2048.5) == 256
    assert rates.touched(1000.0, 1024, 2048.5) == 1152
    assert rates.touched(1500.0, 4096, 2048.5) == 2048.5
    assert rates.touched(2048.5, 0, 2048.5) == 2048.5
    narrow, wide = (
        replace(rates, lanes=lanes).attention(1024, 512, 4096, 64, 1024, False, "bf16") for lanes in (1, 128)
    )
    assert wide == pytest.approx(2 * narrow)
