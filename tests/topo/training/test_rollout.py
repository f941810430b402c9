"""Forward-heavy training: closed forms of decoding, limits, and what an update adds up to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import topo
from topo.training.generation import Replica, cached_tokens, kv_bytes_per_token, kv_ways
from topo.training.memory import room
from topo.training.named_models import load_model
from topo.training.part import part_of
from topo.training.plan import PlanError
from topo.training.rates import ideal_rates
from topo.training.rollout import Workload, broadcast_seconds, generation, rollout
from topo.training.step import require_chip

SMALL = load_model("layers=8,hidden=1024,heads=16,ffn=4096,vocabulary=32000")
WORK = Workload(prompt=256, output=768, sequences=64, ratio=2.0, samples=4)


def _ideal(tp: int = 1, name: str = "llama3-8b") -> Replica:
    system = topo.load("dgx-h100")
    return Replica(load_model(name), system, tp, ccl="ideal", rates=ideal_rates(require_chip(system)))


def test_a_token_alone_reads_the_weights_and_its_cache() -> None:
    """One sequence: every matrix but the embedding once, and the cache, at the memory's bandwidth."""
    replica = _ideal()
    model, chip = replica.model, require_chip(topo.load("dgx-h100"))
    weights = 2.0 * (model.parameters - model.embedding_parameters)
    cache = cached_tokens(model, 4096) * kv_bytes_per_token(model)
    step = replica.decode(1, 4096)
    assert step.products_s == pytest.approx(weights / chip.memory_bandwidth, rel=2e-3)
    assert step.attention_s == pytest.approx(cache / chip.memory_bandwidth, rel=1e-12)
    assert step.communication_s == step.launch_s == 0


def test_the_cache_of_llama3_8b() -> None:
    """8 heads of 128 for keys and for values, 2 bytes, 32 layers: 128 KiB a token."""
    model = load_model("llama3-8b")
    assert kv_bytes_per_token(model) * cached_tokens(model, 1) == 128 * 1024
    deepseek = load_model("deepseek-v3")
    assert kv_bytes_per_token(deepseek) == (512 + 64) * 2
    assert (kv_ways(model, 16), kv_ways(model, 4), kv_ways(deepseek, 8)) == (8, 4, 1)


def test_large_batches_are_bound_by_computation() -> None:
    replica, chip = _ideal(), require_chip(topo.load("dgx-h100"))
    model, batch = replica.model, 4096
    flops = 2.0 * batch * (model.parameters - model.embedding_parameters)
    assert replica.decode(batch, 1).products_s == pytest.approx(flops / chip.flops("bf16"), rel=0.02)


def test_the_batch_fills_the_memory_that_weights_leave() -> None:
    replica, chip = _ideal(), require_chip(topo.load("dgx-h100"))
    held = replica.weight_bytes + replica.most_sequences(4096) * 4096 * 128 * 1024
    assert held == pytest.approx(room(chip))


def test_tensor_parallel_ranks_share_reading_and_sum() -> None:
    one, four = _ideal(1).decode(1, 1024), _ideal(4).decode(1, 1024)
    assert four.products_s == pytest.approx(one.products_s / 4, rel=0.01)
    assert four.attention_s == pytest.approx(one.attention_s / 4)
    assert four.communication_s > 0


def test_experts_are_read_as_far_as_tokens_reach_them() -> None:
    """One token of Mixtral reads 2 of 8 experts; many tokens read them all."""
    replica = _ideal(2, "mixtral-8x7b")
    one, many = replica.decode(1, 1).products_s, replica.decode(64, 1).products_s
    chip = require_chip(topo.load("dgx-h100"))
    model = replica.model
    each = model.moe_layers * model.expert_parameters() * 2.0 / 2 / chip.memory_bandwidth
    assert many - one == pytest.approx(6 * each, rel=0.01)


def test_a_forward_pass_at_the_peak() -> None:
    replica, chip = _ideal(), require_chip(topo.load("dgx-h100"))
    flops = replica.model.forward_flops(8192) * 8192
    least = flops / chip.flops("bf16")
    assert least <= replica.forward(8192) <= 1.2 * least  # norms and activations read memory


def test_together_the_parts_add_up() -> None:
    result = rollout(SMALL, topo.load("dgx-h100"), WORK, arrangement="together")
    parts = result.generate_s + result.prefill_s + result.scoring_s + result.train_s + result.refresh_s
    assert result.update_s == pytest.approx(parts)
    assert result.idle_share == pytest.approx(0, abs=1e-9)


def test_apart_the_slower_side_counts() -> None:
    result = rollout(SMALL, topo.load("dgx-h100*2"), WORK, arrangement="apart")
    made = result.generate_s + result.prefill_s + result.scoring_s
    assert result.update_s == pytest.approx(max(made, result.train_s) + result.refresh_s)
    assert (result.generators, result.trainers) == (8, 8)
    best = rollout(SMALL, topo.load("dgx-h100*2"), WORK)
    assert best.update_s <= result.update_s


def test_more_machines_generate_where_more_is_generated() -> None:
    system = topo.load("dgx-h100*8")
    shares = [
        rollout(SMALL, system, replace(WORK, ratio=ratio, sequences=2048), arrangement="apart").generators
        for ratio in (0.05, 1.0, 100.0)
    ]
    assert shares == sorted(shares) and shares[0] < shares[-1]


def test_generation_grows_with_what_is_asked() -> None:
    system = topo.load("dgx-h100")
    base = generation(SMALL, system, WORK)
    twice = generation(SMALL, system, replace(WORK, ratio=4.0))
    waits = generation(SMALL, system, replace(WORK, longest=8.0))
    assert base.seconds < twice.seconds <= 2 * base.seconds * (1 + 1e-9)
    assert waits.seconds > base.seconds


def test_weights_cross_no_faster_than_the_port() -> None:
    """A broadcast of the whole model to eight nodes, rank to rank: the port's bandwidth binds."""
    system = topo.load("dgx-h100*4")
    model = load_model("llama3-8b")
    seconds = broadcast_seconds(model, system, Workload(), 8, "ideal")
    assert seconds >= model.parameters * 2.0 / 8 / 50e9


def test_a_part_of_a_system_is_a_system() -> None:
    system = topo.load("dgx-h100*4")
    part = part_of(system, np.arange(8, 24))
    assert part.accelerators == 16 and part.fabric.domains == 2
    assert part.power_w == pytest.approx((system.power_w or 0) / 2)
    assert part_of(system, np.arange(32)) is system


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"ratio": 0.0}, "ratio"),
        ({"longest": 0.5}, "longest"),
        ({"output": 0}, "output"),
        ({"precision": "int3"}, "precision"),
    ],
)
def test_bad_workloads_are_explained(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(PlanError, match=said):
        Workload(**keys)


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(PlanError, match="GB"):
        rollout("llama3-405b", topo.load("dgx-h100"), Workload())
    with pytest.raises(PlanError, match="together"):
        rollout(SMALL, topo.load("dgx-h100"), WORK, arrangement="togther")
