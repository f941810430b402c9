"""Plans: what they derive and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest

from topo.training.named_models import load_model
from topo.training.plan import Plan, PlanError


def test_derived() -> None:
    plan = Plan(dp=4, tp=8, pp=2, cp=2, micro_batch=2, global_batch=64, seq=8192)
    assert (plan.ranks, plan.data, plan.shards, plan.stage_ranks) == (128, 8, 8, 64)
    assert (plan.micro_batches, plan.micro_tokens, plan.tokens) == (8, 8192, 64 * 8192)
    assert plan.words == "tp 8 x cp 2 x pp 2 x dp 4, 1f1b, ZeRO 1, 8 x 2 sequences of 8192, bf16"


def test_layers_split_evenly_or_with_the_ends_lighter() -> None:
    model = load_model("llama3-405b")
    plan = Plan(pp=8, schedule="interleaved", virtual_stages=8, global_batch=8)
    split = plan.layers_of_chunks(model)
    assert split == (1, *(2,) * 62, 1)
    assert Plan(pp=9).layers_of_chunks(model) == (14,) * 9
    uneven = Plan(pp=5).layers_of_chunks(model)
    assert sum(uneven) == 126
    assert max(uneven) - min(uneven) <= 2
    assert Plan(pp=2, layer_split=(60, 66)).layers_of_chunks(model) == (60, 66)


def test_dp_fills_the_machine() -> None:
    assert Plan(tp=8, pp=2).with_dp(64).dp == 4
    with pytest.raises(PlanError, match="does not divide 60 accelerators"):
        Plan(tp=8).with_dp(60)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"tp": 0}, "tp is 0"),
        ({"seq": 1.5}, "seq is 1.5"),
        ({"global_batch": -1}, "global batch of -1"),
        ({"zero": 4}, "ZeRO stage 4 is unknown"),
        ({"schedule": "gpip"}, "did you mean 'gpipe'"),
        ({"recompute": "all"}, "recompute policy 'all'"),
        ({"precision": "fp16"}, "precision 'fp16' is unknown"),
        ({"context": "spiral"}, "context parallelism 'spiral'"),
        ({"virtual_stages": 2}, "has no virtual stages"),
        ({"schedule": "interleaved", "virtual_stages": 2}, "needs pipeline stages"),
        ({"schedule": "interleaved", "pp": 2}, "2 or more virtual stages"),
        ({"seq": 100, "cp": 8}, "do not divide by cp 8"),
        ({"dp": 4, "shard": 3}, "3 shards do not divide"),
        ({"dp": 4, "global_batch": 6}, "take 4 or 8 sequences"),
        ({"dp": 4, "global_batch": 2}, "take 4 sequences or more"),
        ({"pp": 4, "schedule": "interleaved", "virtual_stages": 2, "global_batch": 6}, "multiples of 4"),
        ({"expert_skew": 0.5}, "below 1"),
        ({"ep": 3, "dp": 4}, "ep 3 does not divide the 4 ranks"),
        ({"prefetch": -1}, "prefetch is -1"),
        ({"bucket_bytes": 0.0}, "bucket_bytes is 0.0"),
    ],
)
def test_refusals(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        Plan(**keys)


@pytest.mark.parametrize(
    ("name", "keys", "message"),
    [
        ("llama3-8b", {"dp": 8}, "dp=16 would use them all|16 accelerators"),
        ("llama3-8b", {"tp": 16, "dp": 1, "ep": 2}, "has no experts"),
        ("qwen3-30b-a3b", {"tp": 16, "ep": 16}, ""),
        ("mixtral-8x7b", {"dp": 16, "ep": 16}, "does not divide the 8 experts"),
        ("llama3-8b", {"pp": 16, "layer_split": (2, 30)}, "give 16 chunks"),
        ("gpt3-175b", {"tp": 16}, ""),
        ("mixtral-8x7b", {"dp": 16, "ep": 2, "expert_skew": 3.0}, "at most 2 times"),
    ],
)
def test_checks_against_model_and_machine(name: str, keys: dict[str, Any], message: str) -> None:
    plan, model = Plan(**keys), load_model(name)
    if not message:
        plan.check(model, 16)
        return
    with pytest.raises(PlanError, match=message):
        plan.check(model, 16)


def test_heads_and_layers() -> None:
    with pytest.raises(PlanError, match="tp 64 does not divide the 32 heads"):
        Plan(tp=64).check(load_model("llama3-8b"))
    with pytest.raises(PlanError, match="more than the 32 layers"):
        Plan(pp=64).check(load_model("llama3-8b"))
    with pytest.raises(PlanError, match="Ulysses splits 32 heads"):
        Plan(cp=64, context="ulysses").check(load_model("llama3-8b"))
    with pytest.raises(PlanError, match="must divide 16"):
        Plan(tp=3, seq=4098).check(load_model("llama3-8b"), 16)
