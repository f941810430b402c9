"""Forward-heavy training: which machine wins as more is generated than trained on.

Question: As an update generates 1 to 500 sequences for each that it trains on, which system trains fastest for its
money, and when should generating and training share machines?

Method: An update generates sequences with a KV cache, scores them by a forward pass, trains on some of them and hands
the new weights over.  Every system takes the faster of two arrangements: all machines do one after the other, or some
generate while the others train, in the share that is fastest.  Degree and batch of the generators are the fastest that
fit, the trainer's plan the first that fits.

Falsified if: A measured reinforcement learning run with these lengths generates faster than memory bandwidth and batch
allow here, or the order of two systems turns at a ratio far from the one found here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import topo
from topo.experiment import Experiment, Finding, Parameter, Record, values_of, where
from topo.report.chart import Chart
from topo.training.rollout import Workload, rollout


def measure(
    on: str, model: str, ratio: float, prompt: int, output: int, sequences: int, arrangement: str
) -> Mapping[str, Any]:
    """One update."""
    system = topo.load(on)
    work = Workload(prompt=prompt, output=output, sequences=sequences, ratio=ratio)
    result = rollout(model, system, work, arrangement=arrangement)
    chip = system.chip
    peak = chip.flops("bf16") * system.accelerators if chip else 0.0
    memory = chip.memory_bandwidth * system.accelerators if chip else 0.0
    return result.record() | {
        "chosen": result.arrangement,
        "trained_tokens_per_PFLOP": result.trained_tokens_per_s / peak * 1e15,
        "generated_tokens_per_TB": result.generated_tokens_per_s / memory * 1e12,
        "communication_share_of_decoding": result.decode_communication_s / result.decode_step_s,
    }


def finding(records: list[Record]) -> Finding:
    """The fastest and the cheapest at both ends of the ratio, and how the machines are shared."""
    sentences, evidence = [], []
    for model in values_of(records, "model"):
        here = where(records, model=model)
        ratios = sorted(values_of(here, "ratio"))
        for ratio in (ratios[0], ratios[-1]) if len(ratios) > 1 else ratios:
            there = where(here, ratio=ratio)
            fastest = max(there, key=lambda record: float(record["trained_tokens_per_s"]))
            evidence.append(fastest)
            text = (
                f"{model}, {ratio:g} sequences generated for each trained on: {fastest['on']} is fastest of "
                f"{len(there)} with {fastest['trained_tokens_per_s']:,.0f} trained tokens/s ({fastest['chosen']}, "
                f"{fastest['forward_share']:.0%} of its time on generating and scoring)"
            )
            priced = [record for record in there if record.get("cost_per_million_trained_usd")]
            if priced:
                cheapest = min(priced, key=lambda record: float(record["cost_per_million_trained_usd"]))
                evidence.append(cheapest)
                text += (
                    f"; of {len(priced)} with a known rent {cheapest['on']} is cheapest with "
                    f"{cheapest['cost_per_million_trained_usd']:,.3g} USD for a million trained tokens"
                )
            sentences.append(text + ".")
        apart = sorted({record["ratio"] for record in here if record["chosen"] == "apart"})
        together = sorted({record["ratio"] for record in here if record["chosen"] == "together"})
        sentences.append(
            "Machines apart are faster on some system at ratios "
            f"{', '.join(f'{ratio:g}' for ratio in apart) or 'none'}, together at "
            f"{', '.join(f'{ratio:g}' for ratio in together) or 'none'}."
        )
        most = max(here, key=lambda record: float(record["communication_share_of_decoding"]))
        evidence.append(most)
        sentences.append(
            f"Sums over tensor parallel ranks take up to {most['communication_share_of_decoding']:.0%} of a decoding "
            f"step ({most['on']} at ratio {most['ratio']:g}, replicas of {most['generator_tp']})."
        )
    return Finding("  ".join(sentences), evidence)


EXPERIMENT = Experiment(
    doc=__doc__,
    parameters=(
        Parameter("on", ("dgx-h100*8", "gb200-nvl72", "mi300x*8"), "Systems of the catalogue."),
        Parameter("model", ("llama3-70b",), "Models."),
        Parameter("ratio", (1.0, 20.0, 500.0), "Sequences generated for each that is trained on."),
        Parameter("prompt", (1024,), "Tokens of a prompt."),
        Parameter("output", (4096,), "Tokens generated for it."),
        Parameter("sequences", (512,), "Sequences that an update trains on."),
        Parameter("arrangement", ("best",), "together, apart or best."),
    ),
    measure=measure,
    finding=finding,
    charts=(
        Chart(
            "Trained tokens as more is generated",
            "ratio",
            "trained_tokens_per_s",
            ("on",),
            x_title="sequences generated for each trained on",
            y_title="trained tokens/s",
            log_x=True,
            log_y=True,
        ),
        Chart(
            "Cost of a trained token",
            "ratio",
            "cost_per_million_trained_usd",
            ("on",),
            x_title="sequences generated for each trained on",
            y_title="USD for a million trained tokens",
            log_x=True,
            log_y=True,
        ),
        Chart(
            "Time spent on generating and scoring",
            "ratio",
            "forward_share",
            ("on",),
            x_title="sequences generated for each trained on",
            y_title="share of the accelerators' time",
            log_x=True,
        ),
    ),
)

if __name__ == "__main__":
    from topo.cli.experiment import main

    main(__file__)
