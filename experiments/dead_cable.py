"""Dead cables: what each fabric loses with them.

Question: What does losing one cable, or some percent of all cables, cost each fabric, and how much does a fresh
choice of algorithm win back?

Method: Cables are drawn at random by seed and taken out in both directions.  The collective then runs by the
algorithm that was the best on the whole fabric, where that still fits the damaged one, and by the best that there
is now.  The distribution is over seeds; a fabric that falls apart is counted as lost.

Falsified if: A fabric is found on which the best algorithm after the loss is faster than before it, or a machine
with a dead cable loses less than the lower bound of the damaged fabric says.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

import topo
from topo.errors import FabricError, InternalError, TopoError
from topo.experiment import Experiment, Finding, Parameter, Record, values_of, where
from topo.report.chart import Chart


def measure(on: str, operation: str, size: str, lost: str, seed: int) -> Mapping[str, Any]:
    """A collective before and after; ``lost`` is a number of cables, or a share such as 2%."""
    whole = topo.load(on)
    cables = int(whole.fabric.cables.sum()) // 2
    number = max(1, round(cables * float(lost[:-1]) / 100)) if lost.endswith("%") else int(lost)
    before = topo.simulate(whole, operation, size, ccl="ideal")
    known = {
        "system": on,
        "bytes": before.record()["bytes"],
        "cables": cables,
        "cables_lost": number,
        "before_s": before.time_s,
        "before_algorithm": before.algorithm,
    }
    try:
        damaged = topo.load(f"{on},failed={number}@seed{seed}")
    except FabricError:
        return known | {"falls_apart": True}
    after = topo.simulate(damaged, operation, size, ccl="ideal")
    same = _with(damaged, before.algorithm, operation, size)
    return known | {
        "falls_apart": False,
        "time_s": after.time_s,
        "algorithm": after.algorithm,
        "bound_ratio": after.record()["bound_ratio"],
        "slowdown": after.time_s / before.time_s,
        "same_algorithm_s": same,
        "same_algorithm_slowdown": same and same / before.time_s,
        "bottleneck": after.bottleneck,
    }


def _with(system: topo.System, algorithm: str, operation: str, size: str) -> float | None:
    """Seconds by a named algorithm, or None where it does not fit the damaged fabric."""
    try:
        return topo.simulate(system, operation, size, ccl="ideal", algorithm=algorithm).time_s
    except InternalError:
        raise
    except TopoError:
        return None


def finding(records: list[Record]) -> Finding:
    """The hardest and the least hit, by the median over seeds, and how often the old algorithm still fits."""
    alive = [record for record in records if not record["falls_apart"]]
    sentences, evidence = [], []
    for lost in values_of(alive, "lost"):
        here = where(alive, lost=lost)
        typical = {
            (system, operation): median(r["slowdown"] for r in where(here, on=system, operation=operation))
            for system in values_of(here, "on")
            for operation in values_of(here, "operation")
            if where(here, on=system, operation=operation)
        }
        hardest = max(typical, key=lambda key: typical[key])
        least = min(typical, key=lambda key: typical[key])
        worst = max(here, key=lambda record: float(record["slowdown"]))
        evidence.append(worst)
        words = (
            "one cable"
            if lost == "1"
            else f"{lost} of the cables"
            if lost.endswith("%")
            else f"{lost} cables"
        )
        sentences.append(
            f"With {words} lost, the median slowdown is largest on {hardest[0]} ({hardest[1]}, "
            f"{typical[hardest]:.3g} times) and smallest on {least[0]} ({least[1]}, {typical[least]:.3g} times); "
            f"the worst draw costs {worst['on']} a factor of {worst['slowdown']:.3g}."
        )
    fits = [record for record in alive if record["same_algorithm_s"]]
    if fits:
        gain = median(float(record["same_algorithm_s"]) / float(record["time_s"]) for record in fits)
        sentences.append(
            f"The algorithm from before still fits in {len(fits)} of {len(alive)} runs, where choosing afresh is "
            f"{gain:.3g} times as fast in the median."
        )
    apart = len(records) - len(alive)
    if apart:
        sentences.append(f"{apart} of {len(records)} draws take the fabric apart.")
    return Finding("  ".join(sentences), evidence)


EXPERIMENT = Experiment(
    doc=__doc__,
    parameters=(
        Parameter("on", ("dgx-h100", "ring:8", "torus:4x4", "mi300x"), "Systems."),
        Parameter("operation", ("all-reduce", "all-to-all"), "Collectives."),
        Parameter("size", ("64MiB",), "Size, as nccl-tests counts it."),
        Parameter("lost", ("1", "5%"), "Cables lost: a number, or a share such as 5%."),
        Parameter("seed", (0, 1, 2), "Seeds that the cables are drawn with."),
    ),
    measure=measure,
    finding=finding,
    charts=(
        *(
            Chart(
                f"{words}, {operation}",
                "on",
                column,
                ("lost",),
                "box",
                x_title="system",
                y_title="time after / before",
                where={"operation": operation},
            )
            for operation in ("all-reduce", "all-to-all")
            for column, words in (
                ("slowdown", "Slowdown with the best algorithm"),
                ("same_algorithm_slowdown", "Slowdown with the algorithm from before"),
            )
        ),
        Chart(
            "Distance from the bound after the loss",
            "on",
            "bound_ratio",
            ("lost",),
            "box",
            x_title="system",
            y_title="time / lower bound",
        ),
    ),
)

if __name__ == "__main__":
    from topo.cli.experiment import main

    main(__file__)
