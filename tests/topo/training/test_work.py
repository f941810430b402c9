"""Kernels and scripts of layers against FLOPs, bytes and closed forms."""

from __future__ import annotations

from typing import Any

import pytest

import topo
from topo.system import Chip
from topo.training.experts import distinct_groups
from topo.training.model import Model
from topo.training.named_models import load_model, plain_model
from topo.training.plan import Plan, PlanError
from topo.training.rates import Rates, chip_rates, ideal_rates, is_measured
from topo.training.script import Talk, Work, flops_of, seconds_of
from topo.training.stages import build_stages
from topo.training.work import LayerBuilder, has_window

CHIP = Chip("any", {"bf16": 1e15, "fp8": 2e15}, 80e9, 3e12)
H100 = topo.load("dgx-h100").chip
assert H100 is not None


def layer(model: Model, plan: Plan, rates: Rates | None = None) -> Any:
    return LayerBuilder(model, plan, rates or ideal_rates(CHIP)).layer(model.layers - 1)


@pytest.mark.parametrize("name", ["llama3-8b", "gpt3-175b", "mixtral-8x7b", "deepseek-v3", "nemotron4-15b"])
def test_flops_are_the_models(name: str) -> None:
    """Forward: the model's own count; backward: twice, and 2.5 times for attention by tiles."""
    model = load_model(name)
    plan = Plan(seq=2048)
    found = layer(model, plan)
    attention = model.attention_flops(2048) * 2048
    mlp = model.mlp_flops(model.experts is not None)
    products = 2048 * (2 * model.attention_matmul_parameters() + mlp)
    assert flops_of(found.forward) == pytest.approx(products + attention, rel=1e-12)
    assert flops_of(found.backward) == pytest.approx(2 * products + 2.5 * attention, rel=1e-12)
    split = flops_of(found.inputs) + flops_of(found.weights)
    assert split == pytest.approx(flops_of(found.backward), rel=1e-12)


@pytest.mark.parametrize("name", ["llama3-70b", "mixtral-8x7b"])
def test_stages_hold_all_parameters_and_flops(name: str) -> None:
    model = load_model(name)
    plan = Plan(pp=4, dp=2, tp=2, seq=2048, global_batch=16)
    stages = build_stages(model, plan, ideal_rates(CHIP))
    held = sum(stage.dense + stage.experts for stage in stages) * plan.tp
    assert held == pytest.approx(model.parameters, rel=1e-3)  # norms are on every tensor parallel rank
    flops = sum(stage.flops for stage in stages) * plan.tp
    extra = 0.5 * model.layers * model.attention_flops(2048) * 2048
    assert flops == pytest.approx(model.step_flops(2048, 2048) + extra, rel=1e-3)


def talks(script: Any) -> list[str]:
    return [item.operation.operation for item in script if isinstance(item, Talk)]


def test_tensor_parallel_collectives() -> None:
    model = load_model("llama3-8b")
    plain = layer(model, Plan(tp=8, sequence_parallel=False, seq=2048))
    assert talks(plain.forward) == ["all-reduce"] * 2
    assert talks(plain.backward) == ["all-reduce"] * 2
    split = layer(model, Plan(tp=8, seq=2048))
    assert talks(split.forward) == ["all-gather", "reduce-scatter"] * 2
    assert talks(split.backward) == ["all-gather", "all-gather", "reduce-scatter"] * 2


def test_bytes_of_tensor_parallelism() -> None:
    """GPT-3, one sequence of 2,048, t = 8: 50.3 MB a message and 352 MB sent by each rank for a layer."""
    found = layer(load_model("gpt3-175b"), Plan(tp=8, sequence_parallel=False, seq=2048))
    sizes = [i.operation.bytes for i in (*found.forward, *found.backward) if isinstance(i, Talk)]
    assert sizes == pytest.approx([50.3e6] * 4, rel=1e-3)
    assert sum(2 * 7 / 8 * size for size in sizes) == pytest.approx(352e6, rel=2e-3)


def test_bytes_of_context_parallelism() -> None:
    """8,192 tokens over 8 ranks, 8 key/value heads of 128: 4.19 MB a step of the ring."""
    found = layer(load_model("llama3-8b"), Plan(cp=8, seq=8192))
    shifts = [i.operation for i in found.forward if isinstance(i, Talk)]
    assert len(shifts) == 7
    assert shifts[0].bytes == pytest.approx(4.19e6, rel=2e-3)
    ulysses = layer(load_model("llama3-8b"), Plan(cp=8, seq=8192, context="ulysses"))
    assert talks(ulysses.forward) == ["all-to-all"] * 2
    width = (2 * 32 + 2 * 8) * 128
    sent = sum(i.operation.bytes for i in ulysses.forward if isinstance(i, Talk))
    assert sent == pytest.approx(1024 * width * 2)


def test_bytes_of_expert_parallelism() -> None:
    """4,096 tokens, 8 of 7,168 wide: 235 MB in 8 bits and 470 MB in 16."""
    found = layer(load_model("deepseek-v3"), Plan(dp=64, ep=64, seq=4096, dispatch_bytes=1.0))
    sizes = [i.operation.bytes for i in found.forward if isinstance(i, Talk)]
    assert sizes == pytest.approx([235e6, 470e6], rel=2e-3)


def test_a_token_crosses_to_each_domain_once() -> None:
    assert distinct_groups(1, 256, 8, 1) == 1.0
    assert distinct_groups(8, 256, 8, 4) == 4.0  # node-limited
    assert distinct_groups(4, 128, 8, 1) == pytest.approx(4 * (1 - 0.0917), rel=2e-2)
    model, plan = load_model("deepseek-v3"), Plan(dp=64, ep=64, seq=4096)
    rates = ideal_rates(CHIP)
    near = LayerBuilder(model, plan, rates).layer(60)
    far = LayerBuilder(model, plan, rates, 8).layer(60)
    size = [next(i.operation.bytes for i in found.forward if isinstance(i, Talk)) for found in (near, far)]
    assert size[1] == pytest.approx(size[0] * 4 / 8)


def test_recomputation_costs_what_it_should() -> None:
    model = load_model("llama3-8b")
    none, half, full = (layer(model, Plan(seq=2048, recompute=policy)) for policy in ("none", "half", "full"))
    assert flops_of(full.backward) - flops_of(none.backward) == pytest.approx(flops_of(none.forward))
    products = flops_of(none.forward) - model.attention_flops(2048) * 2048
    assert flops_of(half.backward) - flops_of(none.backward) == pytest.approx(products / 2)


def test_overlap_puts_collectives_beside_products() -> None:
    found = layer(load_model("llama3-8b"), Plan(tp=8, seq=2048, overlap_tp=True))
    assert all(isinstance(i, Work) or (i.beside is not None and i.parts == 8) for i in found.forward)


def test_windows_are_spread_evenly() -> None:
    model = load_model("gemma3-12b")
    windows = [has_window(model, number) for number in range(model.layers)]
    assert sum(windows) == model.window_layers == 40
    assert max(len(run) for run in "".join("wf"[not w] for w in windows).split("f")) == 5


# Rates --------------------------------------------------------------------------------------------------


def test_ideal_rates_are_the_roofline() -> None:
    rates = ideal_rates(CHIP)
    assert rates.product(4096, 4096, 4096, "bf16") == pytest.approx(2 * 4096**3 / 1e15)
    assert rates.product(1, 4096, 4096, "bf16") == pytest.approx((4096 * 4097 * 2 + 4096 * 2) / 3e12)
    assert rates.memory(3e12) == 1.0
    assert rates.attention(10, 100, 64, 64, 100, False, "bf16") == pytest.approx(2 * 10 * 100 * 64 / 1e15)


def test_waves_and_tiles() -> None:
    rates = Rates("any", {"bf16": 1e15}, 1e20, units=100, tiles=((128, 128),))
    assert rates.fill(1280, 1280, 100) == pytest.approx(1.0)  # 100 tiles, one full wave
    assert rates.fill(1280, 1281, 100) == pytest.approx(1281 / 1280 / 2)  # ten tiles more, two waves
    assert rates.fill(64, 128, 100) == pytest.approx(0.5 / 100)
    assert rates.fill(128, 128, 100, count=100) == pytest.approx(1.0)


def test_a_larger_product_is_never_faster_a_flop() -> None:
    rates = chip_rates(H100)
    speed = [2 * n**3 / rates.product(n, n, n, "bf16") for n in (128, 512, 2048, 8192)]
    assert speed == sorted(speed)
    assert speed[-1] < H100.peak_flops["bf16"]


def test_the_host_hides_behind_long_kernels() -> None:
    rates = Rates("any", {"bf16": 1.0}, 1.0, gap=1.0, launch=5.0)
    assert rates.kernels(100.0, 3, False) == 103.0
    assert rates.kernels(1.0, 3, False) == 15.0
    assert rates.kernels(1.0, 3, True) == 4.0


def test_every_chip_of_the_catalogue_has_rates() -> None:
    for name in ("dgx-h100", "dgx-a100", "hgx-b200", "gb200-nvl72", "tpu-v5p:2x2x1", "mi300x"):
        chip = topo.load(name).chip
        assert chip is not None
        assert is_measured(chip), name
        rates = chip_rates(chip)
        assert 0 < rates.product(4096, 4096, 4096, "bf16") < 1
    assert not is_measured(CHIP)
    assert chip_rates(CHIP).product(4096, 4096, 4096, "bf16") > ideal_rates(CHIP).product(
        4096, 4096, 4096, "bf16"
    )


def test_a_precision_that_the_chip_lacks() -> None:
    with pytest.raises(PlanError, match="has no peak at fp4"):
        layer(plain_model({"layers": 1, "hidden": 128, "heads": 2}), Plan(seq=128, precision="fp4"))


def test_experts_one_by_one_leave_the_host_behind() -> None:
    model = load_model("qwen3-30b-a3b")
    rates = chip_rates(H100)
    alone = layer(model, Plan(seq=4096, grouped_experts=False, graphs="none"), rates)
    together = layer(model, Plan(seq=4096), rates)
    assert alone.host[1] == 2 * alone.host[0] > 0
    assert together.host == (0.0, 0.0)
    assert seconds_of(alone.forward) > seconds_of(together.forward)
