"""Scale-up against scale-out: where bigger domains stop paying.

Question: With a fixed number of accelerators, how large must the scale-up domain be, for dense models and for
mixtures of experts?

Method: The same chip, behind the same NVLink switches, stands in domains of 1 (no scale-up network at all) to all 576,
joined by the same scale-out network; the number of accelerators stays.  Each size runs a training step of the same
tokens by the best of the plans tried (tensor and expert parallel degrees; the rest chosen so that it fits), collectives
timed in isolation.  A domain larger than the switches can be built for is simulated all the same: what it would gain is
the question.

Falsified if: A domain above the size named here shortens a measured step by more than a few percent, or the full
plan search finds a plan that moves the knee.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import topo
from topo.experiment import Experiment, Finding, Parameter, Record, values_of, where
from topo.report.chart import STEP_PARTS, Chart
from topo.training.quick import quick_step

ENOUGH = 0.02
"""A larger domain that shortens the step by less pays no longer."""
DEGREES = (1, 4, 8)
MODELS = ("llama3-70b", "mixtral-8x22b")


def measure(chip: str, accelerators: int, domain: int, model: str, sequences: int) -> Mapping[str, Any]:
    """A step of a model on domains of one size."""
    if accelerators % domain:
        raise topo.TopoError(
            f"{accelerators} accelerators cannot stand in domains of {domain}", "take a divisor"
        )
    count = accelerators // domain
    joined = f"{chip}*{count}" if count > 1 else chip
    system = topo.load(f"{joined},accelerators={domain}")
    return quick_step(model, system, degrees=DEGREES, global_batch=sequences).record()


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
            f"less than {ENOUGH:.0%} (best at {best['domain']}, MFU {best['mfu']:.1%}).  Of the step, "
            f"{_lost(small):.0%} is not computing at {small['domain']}, {_lost(knee):.0%} at {knee['domain']}."
        )
    return Finding("  ".join(sentences), evidence)


def _lost(record: Record) -> float:
    """Share of the step that bubbles and exposed communication take."""
    return 1.0 - float(record["compute_s"]) / float(record["step_s"])


def _pace(record: Record) -> float:
    return float(record["step_s"]) / float(record["tokens"])


EXPERIMENT = Experiment(
    doc=__doc__,
    parameters=(
        Parameter("chip", ("gb200-nvl72",), "System of the catalogue whose chip and switches they are."),
        Parameter("accelerators", (576,), "All of them together."),
        Parameter(
            "domain",
            (1, 4, 8, 36, 72, 144, 576),
            "Accelerators of a scale-up domain; also 2, 16, 18, 32, 64, 96, 192, 288 divide 576.",
        ),
        Parameter("model", MODELS, "Models."),
        Parameter("sequences", (1152,), "Sequences of a step, the same for all."),
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
                f"Where the step goes: {model}",
                "domain",
                "step_s",
                kind="stack",
                x_title="accelerators of a domain",
                y_title="s",
                parts=STEP_PARTS,
                where={"model": model},
            )
            for model in MODELS
        ),
    ),
)

if __name__ == "__main__":
    from topo.cli.experiment import main

    main(__file__)
