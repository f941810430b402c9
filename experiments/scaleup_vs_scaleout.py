"""Scale-up against scale-out: where bigger domains stop paying.

Question: With a fixed number of accelerators, how large must the scale-up domain be, for dense models and for
mixtures of experts?

Method: The same chip, behind the same NVLink switches, stands in domains of different size, joined by the same
scale-out network; the number of accelerators stays.  Each size runs a training step by the best of the plans tried
(tensor and expert parallel degrees; the rest chosen so that it fits), collectives timed in isolation.

Falsified if: A domain above the size named here shortens a measured step by more than a few percent, or the full
plan search finds a plan that moves the knee.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import topo
from topo.experiment import Experiment, Finding, Parameter, Record, values_of, where
from topo.report.chart import Chart
from topo.training.quick import quick_step

ENOUGH = 0.02
"""A larger domain that shortens the step by less pays no longer."""


def measure(chip: str, accelerators: int, domain: int, model: str) -> Mapping[str, Any]:
    """A step of a model on domains of one size."""
    if accelerators % domain:
        raise topo.TopoError(
            f"{accelerators} accelerators cannot stand in domains of {domain}", "take a divisor"
        )
    count = accelerators // domain
    joined = f"{chip}*{count}" if count > 1 else chip
    system = topo.load(f"{joined},accelerators={domain}")
    return quick_step(model, system, degrees=(1, 2, 4, 8)).record()


def finding(records: list[Record]) -> Finding:
    """For each model, the smallest domain that is about as good as the best."""
    sentences, evidence = [], []
    for model in values_of(records, "model"):
        here = sorted(where(records, model=model), key=lambda record: int(record["domain"]))
        best = min(here, key=_pace)
        knee = next(record for record in here if _pace(record) <= _pace(best) * (1 + ENOUGH))
        small = here[0]
        evidence += [small, knee, best]
        sentences.append(
            f"{model} on {knee['accelerators']} accelerators: domains of {small['domain']} take "
            f"{_pace(small) / _pace(best):.3g} times the best pace, and from {knee['domain']} on a larger domain gains "
            f"less than {ENOUGH:.0%} (best at {best['domain']}, MFU {best['mfu']:.1%})."
        )
    return Finding("  ".join(sentences), evidence)


def _pace(record: Record) -> float:
    return float(record["step_s"]) / float(record["tokens"])


EXPERIMENT = Experiment(
    doc=__doc__,
    parameters=(
        Parameter("chip", ("gb200-nvl72",), "System of the catalogue whose chip and switches they are."),
        Parameter("accelerators", (144,), "All of them together."),
        Parameter("domain", (4, 8, 36, 72, 144), "Accelerators of a scale-up domain."),
        Parameter("model", ("llama3-70b", "mixtral-8x22b"), "Models."),
    ),
    measure=measure,
    finding=finding,
    charts=(
        Chart(
            "Speed by domain",
            "domain",
            "tokens_per_s",
            ("model",),
            x_title="accelerators of a domain",
            y_title="tokens/s",
            log_x=True,
        ),
        *(
            Chart(
                f"{words} in a step",
                "domain",
                name,
                ("model",),
                x_title="accelerators of a domain",
                y_title="s",
            )
            for name, words in (
                ("tp_s", "Exposed tensor parallel time"),
                ("dp_s", "Exposed data parallel time"),
                ("ep_s", "Exposed expert parallel time"),
                ("bubble_s", "Pipeline bubble"),
            )
        ),
    ),
)

if __name__ == "__main__":
    from topo.cli.experiment import main

    main(__file__)
