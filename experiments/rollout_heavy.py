"""Rollouts: which fabric wins as sampling outgrows training.

Question: When a model samples many tokens for each token it trains on, does the winner among systems change, and at
which ratio?

Method: A training step comes from the simulation, by the best of the plans tried.  Sampling a token costs the larger
of its FLOPs at the chips' peak and of the bytes it must read (all weights once for a batch of sequences, and its own
KV cache), at full memory bandwidth, each domain serving its own copy.  That is a lower bound on sampling; seconds
per trained token are the step's plus ratio times the sampled token's.

Falsified if: A serving engine samples faster than the memory and FLOP bound, or two systems that differ only in their
network swap places in sampling.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import topo
from topo.experiment import Experiment, Finding, Parameter, Record, only, values_of, where
from topo.report.chart import Chart
from topo.training.named_models import load_model
from topo.training.quick import quick_step

WIDTH = 2.0
"""Bytes of a weight and of a cached value: bf16."""


def measure(on: str, model: str, ratio: int, context: int, batch: int) -> Mapping[str, Any]:
    """Seconds per trained token with ``ratio`` sampled tokens for each."""
    system = topo.load(on)
    trained = quick_step(model, system, degrees=(4, 8))
    found = load_model(model)
    if system.chip is None:
        raise topo.TopoError(f"{on} has no chips", "take a system of the catalogue")
    copies = max(1, len(set(system.fabric.domain.tolist())))
    chips = system.accelerators / copies
    per_token = (
        found.layers
        * WIDTH
        * (
            found.latent.value_rank + found.latent.rope
            if found.latent
            else 2 * found.kv_heads * found.head_dim
        )
    )
    read = found.parameters * WIDTH / batch + per_token * context
    by_memory = read / (chips * system.chip.memory_bandwidth)
    by_flops = trained.model_flops / trained.tokens / 3 / (chips * system.chip.flops("bf16"))
    sampled = max(by_memory, by_flops) / copies
    return {
        "system": on,
        "accelerators": system.accelerators,
        "train_s_per_token": trained.step_s / trained.tokens,
        "sample_s_per_token": sampled,
        "sample_bound": "memory" if by_memory > by_flops else "FLOPs",
        "s_per_token": trained.step_s / trained.tokens + ratio * sampled,
        "chip_s_per_token": (trained.step_s / trained.tokens + ratio * sampled) * system.accelerators,
        "mfu": trained.mfu,
        "plan": trained.plan,
    }


def finding(records: list[Record]) -> Finding:
    """The winner per chip at each end of the ratios, and where it changes."""
    sentences, evidence = [], []
    for model in values_of(records, "model"):
        winners = []
        for ratio in sorted(values_of(where(records, model=model), "ratio")):
            here = where(records, model=model, ratio=ratio)
            best = min(here, key=lambda record: float(record["chip_s_per_token"]))
            winners.append((ratio, best["system"], best))
        evidence += [winners[0][2], winners[-1][2]]
        names = list(dict.fromkeys(name for _, name, _ in winners))
        if len(names) == 1:
            sentences.append(f"{model}: {names[0]} needs the least chip time per token at every ratio.")
        else:
            turns = [
                f"{after[1]} from {after[0]} on"
                for before, after in pairwise(winners)
                if before[1] != after[1]
            ]
            sentences.append(
                f"{model}: the least chip time per trained token is {winners[0][1]}'s at {winners[0][0]} sampled "
                f"tokens for each trained one, {', '.join(turns)}."
            )
        last = only(records, model=model, ratio=winners[-1][0], system=winners[-1][1])
        share = 1 - float(last["train_s_per_token"]) / float(last["s_per_token"])
        sentences.append(
            f"At {last['ratio']} sampling takes {share:.0%} of its time, bound by {last['sample_bound']}."
        )
    return Finding("  ".join(sentences), evidence)


EXPERIMENT = Experiment(
    doc=__doc__,
    parameters=(
        Parameter("on", ("dgx-h100*8", "hgx-h200*8", "gb200-nvl72", "tpu-v5p:4x4x4", "mi300x*8"), "Systems."),
        Parameter("model", ("llama3-70b",), "Models."),
        Parameter("ratio", (1, 10, 50, 200, 500), "Sampled tokens for each trained one."),
        Parameter("context", (8192,), "Tokens in the cache of a sequence, on average."),
        Parameter("batch", (64,), "Sequences sampled together by each domain."),
    ),
    measure=measure,
    finding=finding,
    charts=(
        Chart(
            "Chip time for a trained token",
            "ratio",
            "chip_s_per_token",
            ("system",),
            x_title="sampled tokens for each trained one",
            y_title="chip seconds",
            log_x=True,
            log_y=True,
        ),
    ),
)

if __name__ == "__main__":
    from topo.cli.experiment import main

    main(__file__)
