"""Dead cables and chips: what each fabric loses with them.

Question: What does losing one cable or chip, or some percent of all, cost each fabric, and how much does a fresh
choice of algorithm win back?

Method: Cables are drawn at random by seed and taken out in both directions; a drawn chip leaves with its cables, and
the ranks are those that are left.  The collective then runs by the algorithm that was the best on the whole fabric,
where that still fits the damaged one, and by the best that there is now.  The slowdown is the bus bandwidth before
over that after, so that fewer ranks count for what they move.  A share is rounded to whole cables or chips and is at
least one: on a small fabric several levels are the same loss.  The distribution is over seeds; a fabric that falls
apart is counted as lost.

Falsified if: A fabric is found on which the best algorithm after the loss of cables is faster than before it, or a
damaged machine takes less time than the lower bound of the damaged fabric says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from statistics import median
from typing import Any

import topo
from topo.errors import FabricError, InternalError, TopoError
from topo.experiment import Experiment, Finding, Parameter, Record, values_of, where
from topo.report.chart import Chart

PARTS = ("cable", "chip")


def measure(on: str, operation: str, size: str, part: str, lost: str, seed: int) -> Mapping[str, Any]:
    """A collective before and after; ``lost`` is a number of cables or chips, or a share such as 2%."""
    if part not in PARTS:
        raise TopoError(f"{part!r} cannot be lost", f"one of {', '.join(PARTS)}")
    whole = topo.load(on)
    there = whole.fabric.ranks if part == "chip" else int(whole.fabric.cables.sum()) // 2
    number = max(1, round(there * float(lost[:-1]) / 100)) if lost.endswith("%") else int(lost)
    before = _run(on, operation, size)
    known = {
        "system": on,
        "bytes": before.bytes,
        "there": there,
        "number_lost": number,
        "before_s": before.time_s,
        "before_busbw_Bps": before.busbw_Bps,
        "before_algorithm": before.algorithm,
    }
    name = f"{on},failed={number}{'chips' if part == 'chip' else ''}@seed{seed}"
    try:
        topo.load(name)
    except FabricError:
        return known | {"falls_apart": True}
    after = _run(name, operation, size)
    same = _with(name, before.algorithm, operation, size)
    return known | {
        "falls_apart": False,
        "time_s": after.time_s,
        "busbw_Bps": after.busbw_Bps,
        "algorithm": after.algorithm,
        "bound_ratio": after.bound_ratio,
        "slowdown": before.busbw_Bps / after.busbw_Bps,
        "same_algorithm_s": same and same.time_s,
        "same_algorithm_slowdown": same and before.busbw_Bps / same.busbw_Bps,
        "bottleneck": after.bottleneck,
    }


@lru_cache(maxsize=4096)
def _run(name: str, operation: str, size: str, algorithm: str = "auto") -> topo.Result:
    """Met again where two levels come to the same loss."""
    return topo.simulate(topo.load(name), operation, size, ccl="ideal", algorithm=algorithm)


@lru_cache(maxsize=4096)
def _with(name: str, algorithm: str, operation: str, size: str) -> topo.Result | None:
    """By a named algorithm, or None where it does not fit the damaged fabric."""
    best = _run(name, operation, size)
    if best.algorithm == algorithm:
        return best
    try:
        return _run(name, operation, size, algorithm)
    except InternalError:
        raise
    except TopoError:
        return None


def finding(records: list[Record]) -> Finding:
    """The hardest and the least hit, by the median over seeds, and how the best algorithm changes."""
    alive = [record for record in records if not record["falls_apart"]]
    sentences, evidence = [], []
    for part in values_of(alive, "part"):
        # On small fabrics several levels are the same loss: they share a sentence.
        told: dict[str, list[str]] = {}
        for lost in values_of(alive, "lost"):
            here = where(alive, part=part, lost=lost)
            if not here:
                continue
            worst = max(here, key=lambda record: float(record["slowdown"]))
            sentence = (
                f"{_typical(here)}; the worst draw costs {worst['on']} a factor of {worst['slowdown']:.3g}."
            )
            if sentence not in told:
                evidence.append(worst)
            told.setdefault(sentence, []).append(lost)
        sentences += [
            f"With a loss of {', '.join(map(str, lost))} ({part}s), {said}" for said, lost in told.items()
        ]
        sentences += _choices(where(alive, part=part), part)
    apart = Counter(str(record["on"]) for record in records if record["falls_apart"])
    if apart:
        told = ", ".join(f"{count} of {system}" for system, count in apart.items())
        sentences.append(f"{apart.total()} of {len(records)} draws take the fabric apart: {told}.")
    return Finding("  ".join(sentences), evidence)


def _typical(records: list[Record]) -> str:
    """The largest and the smallest median over seeds."""
    typical = {
        (system, operation): median(r["slowdown"] for r in found)
        for system in values_of(records, "on")
        for operation in values_of(records, "operation")
        if (found := where(records, on=system, operation=operation))
    }
    hardest = max(typical, key=lambda key: typical[key])
    least = min(typical, key=lambda key: typical[key])
    return (
        f"the median slowdown is largest on {hardest[0]} ({hardest[1]}, {typical[hardest]:.3g} times) and smallest "
        f"on {least[0]} ({least[1]}, {typical[least]:.3g} times)"
    )


def _choices(records: list[Record], part: str) -> list[str]:
    """Best algorithms before and after, and what choosing afresh wins."""
    changed = [record for record in records if record["algorithm"] != record["before_algorithm"]]
    if not changed:
        return [f"After the loss of {part}s the best algorithm never changes."] if records else []
    kinds = Counter(
        f"{r['on']} {r['operation']}: {r['before_algorithm']} to {r['algorithm']}" for r in changed
    )
    told = "; ".join(f"{kind} ({count} times)" for kind, count in kinds.most_common(4))
    more = f"; and {len(kinds) - 4} other changes" if len(kinds) > 4 else ""
    often = f"{len(changed)} of {len(records)}"
    said = f"After the loss of {part}s the best algorithm changes in {often} runs: {told}{more}."
    gains = [r["same_algorithm_s"] / r["time_s"] for r in changed if r["same_algorithm_s"]]
    if gains:
        said += (
            f"  The one from before still fits {len(gains)} of these, where choosing afresh is "
            f"{median(gains):.3g} times as fast in the median."
        )
    return [said]


EXPERIMENT = Experiment(
    doc=__doc__,
    parameters=(
        Parameter("on", ("dgx-h100", "ring:8", "torus:4x4", "mi300x"), "Systems."),
        Parameter("operation", ("all-reduce", "all-to-all"), "Collectives."),
        Parameter("size", ("64MiB",), "Size, as nccl-tests counts it."),
        Parameter("part", PARTS, "What is lost: cable or chip."),
        Parameter("lost", ("1", "1%", "2%", "5%"), "How many: a number, or a share such as 5%."),
        Parameter("seed", (0, 1, 2, 3, 4, 5, 6, 7), "Seeds that the losses are drawn with."),
    ),
    measure=measure,
    finding=finding,
    charts=(
        *(
            Chart(
                f"{words}, lost {part}s, {operation}",
                "on",
                column,
                ("lost",),
                "box",
                x_title="system",
                y_title="bus bandwidth before / after",
                where={"operation": operation, "part": part},
            )
            for part in PARTS
            for operation in ("all-reduce", "all-to-all")
            for column, words in (
                ("slowdown", "Best algorithm"),
                ("same_algorithm_slowdown", "Earlier algorithm"),
            )
        ),
        *(
            Chart(
                f"Distance from the bound, lost {part}s",
                "on",
                "bound_ratio",
                ("lost",),
                "box",
                x_title="system",
                y_title="time / lower bound",
                where={"part": part},
            )
            for part in PARTS
        ),
    ),
)

if __name__ == "__main__":
    from topo.cli.experiment import main

    main(__file__)
