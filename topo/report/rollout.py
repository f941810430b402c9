"""An update of forward-heavy training as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from topo.report.blocks import percent, set_block
from topo.units import format_time

if TYPE_CHECKING:
    from topo.training.rollout import RolloutResult


def rollout_block(result: RolloutResult) -> str:
    """One update as a block of text."""
    generators = f"{result.generators} accelerators in replicas of {result.generator_tp}"
    parts = "; ".join(
        f"{name} {format_time(seconds)}"
        for name, seconds in (
            ("decoding", result.generate_s),
            ("prompts", result.prefill_s),
            ("scoring", result.scoring_s),
            ("training", result.train_s),
            ("weights", result.refresh_s),
        )
        if seconds > 0
    )
    step = "; ".join(
        f"{name} {percent(seconds / result.decode_step_s)}"
        for name, seconds in (
            ("products and weights", result.decode_products_s),
            ("attention and cache", result.decode_attention_s),
            ("tensor parallel", result.decode_communication_s),
        )
        if seconds > 0
    )
    rows = [
        ("arrangement", result.arrangement),
        ("generators", generators),
        ("trainers", f"{result.trainers} accelerators: {result.train_plan}"),
        ("update", format_time(result.update_s)),
        ("parts", parts + (" (the two sides at the same time)" if result.arrangement == "apart" else "")),
        ("idle", percent(result.idle_share)),
        (
            "decoding",
            f"{result.decode_batch:.4g} sequences on a replica, {format_time(result.decode_step_s)} a token: {step}",
        ),
        (
            "speed",
            f"{result.generated_tokens_per_s:,.0f} tokens/s generated, {result.trained_tokens_per_s:,.0f} trained on",
        ),
    ]
    if result.cost_per_million_trained_usd is not None:
        rows.append(
            ("money", f"{result.cost_per_million_trained_usd:,.4g} USD for a million trained tokens (rent)")
        )
    return set_block(
        f"{result.model} on {result.system}, {result.accelerators} accelerators, {result.ratio:g} sequences generated "
        "for each trained on",
        rows,
    )
