"""Rollouts against closed forms."""

from __future__ import annotations

from dataclasses import replace

import pytest

from topo.system import Chip
from topo.training.named_models import load_model
from topo.training.rollouts import (
    RolloutError,
    Rollouts,
    best_share,
    decode_step,
    iteration,
    kv_bytes,
    refresh_seconds,
    rollout_seconds,
)

MODEL = load_model("llama3-8b")
CHIP = Chip("any", {"bf16": 1e15}, 80e9, 3e12)
WORK = Rollouts(samples=512, prompt=512, answer=512, concurrent=32)


def test_keys_and_values() -> None:
    """2 x 8 heads x 128 x 2 bytes x 32 layers = 131,072 bytes a token."""
    assert kv_bytes(MODEL, 1) == 131072
    assert kv_bytes(load_model("deepseek-v3"), 1) == 61 * 576 * 2


def test_decoding_reads_everything_once() -> None:
    weights = 2.0 * (MODEL.parameters - MODEL.embedding_parameters)
    one, binds = decode_step(MODEL, CHIP, concurrent=1, context=1000)
    assert binds == "memory"
    assert one == pytest.approx((weights + 1000 * 131072) / 3e12)
    half, _ = decode_step(MODEL, CHIP, concurrent=1, context=1000, ways=2)
    assert half == pytest.approx(one / 2)
    _, binds = decode_step(MODEL, CHIP, concurrent=4096, context=1)
    assert binds == "compute"


def test_a_batch_reads_most_experts() -> None:
    model = load_model("mixtral-8x7b")
    one, _ = decode_step(model, CHIP, concurrent=1, context=1)
    many, _ = decode_step(model, CHIP, concurrent=64, context=1)
    assert many / one == pytest.approx(model.parameters / model.active_parameters, rel=0.03)


def test_rollouts_in_waves() -> None:
    once = rollout_seconds(MODEL, CHIP, replace(WORK, samples=32), accelerators=1, ways=1)
    assert rollout_seconds(MODEL, CHIP, WORK, accelerators=1, ways=1) == pytest.approx(16 * once)
    assert rollout_seconds(MODEL, CHIP, WORK, accelerators=16, ways=1) == pytest.approx(once)


def test_refresh_uses_every_port() -> None:
    assert refresh_seconds(
        MODEL, senders=8, receivers=64, replicas=8, bandwidth=1e9, width=2.0
    ) == pytest.approx(MODEL.parameters * 2 / 8e9)


def test_taking_turns_adds_up() -> None:
    keys = {"accelerators": 16, "ways": 1, "training_s_alone": 3.0, "port_bandwidth": 1e11}
    turns = iteration(MODEL, CHIP, WORK, share=1.0, together=True, **keys)
    parts = turns.rollout_s + turns.scoring_s + turns.training_s + turns.refresh_s
    assert turns.iteration_s == pytest.approx(parts)
    assert turns.training_s == 3.0
    split = iteration(MODEL, CHIP, WORK, share=0.5, **keys)
    assert split.training_s == pytest.approx(6.0)
    expected = max(split.rollout_s + split.scoring_s, 6.0) + split.refresh_s
    assert split.iteration_s == pytest.approx(expected)


def test_best_share_is_the_best() -> None:
    keys = {"training_s_alone": 3.0, "port_bandwidth": 1e11}
    best = best_share(MODEL, CHIP, WORK, accelerators=16, ways=1, **keys)
    for k in range(1, 16):
        other = iteration(MODEL, CHIP, WORK, accelerators=16, ways=1, share=k / 16, **keys)
        assert best.iteration_s <= other.iteration_s


def test_refusals() -> None:
    with pytest.raises(RolloutError, match="hold no replica"):
        rollout_seconds(MODEL, CHIP, WORK, accelerators=2, ways=4)
    with pytest.raises(RolloutError, match="accelerators a replica"):
        rollout_seconds(load_model("llama3-70b"), CHIP, WORK, accelerators=8, ways=1)
    with pytest.raises(RolloutError, match="1 or more"):
        Rollouts(samples=0, prompt=1, answer=1)
    with pytest.raises(RolloutError, match="leaves no machine"):
        iteration(
            MODEL, CHIP, WORK, accelerators=8, share=1.0, ways=1, training_s_alone=1.0, port_bandwidth=1e9
        )
