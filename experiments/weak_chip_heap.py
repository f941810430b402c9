"""A heap of weak chips: how many replace a few strong ones, and when no number suffices.

Question: How many consumer cards over PCIe and Ethernet train as fast as a small number of strong accelerators, what
do they draw and cost, and when does adding more stop helping?

Method: The same model and the same global batch run on growing heaps and on the strong reference, each by the best
of the plans tried, collectives timed in isolation.  The batch stays, so that more cards mean less work for each and
communication takes over.

Falsified if: A heap of measured cards passes the speed at which the curve here flattens, or reaches the reference
with fewer cards.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import topo
from topo.experiment import Experiment, Finding, Parameter, Record, values_of, where
from topo.report.chart import Chart
from topo.training.quick import quick_step

FLAT = 0.5
"""Doubling the cards gains less than this share of a doubling: the curve is flat."""


def measure(chip: str, domains: int, model: str, batch: int) -> Mapping[str, Any]:
    """A step on so many domains of a chip."""
    system = topo.load(f"{chip}*{domains}" if domains > 1 else chip)
    record = quick_step(model, system, global_batch=batch, degrees=(1, 8)).record()
    return {**record, "chip": chip, "power_w": system.power_w, "price_usd": system.price_usd}


def finding(records: list[Record]) -> Finding:
    """How many of the heap's cards match each reference, up to the first that none matches, and where it is flat."""
    heap, *references = values_of(records, "chip")
    sentences, evidence = [], []
    for model in values_of(records, "model"):
        curve = sorted(where(records, chip=heap, model=model), key=lambda record: int(record["accelerators"]))
        fastest = max(curve, key=_speed)
        evidence.append(fastest)
        for name in references:
            for strong in sorted(where(records, chip=name, model=model), key=_speed):
                evidence.append(strong)
                enough = next((record for record in curve if _speed(record) >= _speed(strong)), None)
                whom = f"{strong['accelerators']} accelerators of {name} ({_speed(strong):,.0f} tokens/s)"
                if enough is None:
                    sentences.append(
                        f"{model}: no heap tried reaches {whom}; the fastest, {fastest['accelerators']:,} cards of "
                        f"at most {curve[-1]['accelerators']:,}, gives {_speed(fastest) / _speed(strong):.0%} of it."
                    )
                    break
                evidence.append(enough)
                sentences.append(
                    f"{model}: {enough['accelerators']:,} cards pass {whom}{_power(enough, strong)}."
                )
        for before, after in pairwise(curve):
            gain = _speed(after) / _speed(before) - 1
            share = gain / (int(after["accelerators"]) / int(before["accelerators"]) - 1)
            if share < FLAT:
                evidence += [before, after]
                sentences.append(
                    f"Going from {before['accelerators']:,} to {after['accelerators']:,} cards changes the speed by "
                    f"{gain:+.0%} only."
                )
                break
    return Finding("  ".join(sentences), evidence)


def _speed(record: Record) -> float:
    return float(record["tokens_per_s"])


def _power(heap: Record, strong: Record) -> str:
    if not heap.get("power_w") or not strong.get("power_w"):
        return ""
    return f" and draw {float(heap['power_w']) / float(strong['power_w']):.3g} times the power"


EXPERIMENT = Experiment(
    doc=__doc__,
    parameters=(
        Parameter(
            "chip", ("pcie-heap", "dgx-h100"), "The heap's system first, then what it is held against."
        ),
        Parameter("domains", (1, 2, 4, 8, 16, 32, 64, 128), "Servers."),
        Parameter("model", ("llama3-8b",), "Models."),
        Parameter("batch", (256,), "Sequences of a step."),
    ),
    measure=measure,
    finding=finding,
    charts=(
        Chart(
            "Speed by cards",
            "accelerators",
            "tokens_per_s",
            ("chip", "model"),
            y_title="tokens/s",
            log_x=True,
            log_y=True,
        ),
        Chart("Model FLOP utilisation", "accelerators", "mfu", ("chip", "model"), y_title="MFU", log_x=True),
    ),
)

if __name__ == "__main__":
    from topo.cli.experiment import main

    main(__file__)
