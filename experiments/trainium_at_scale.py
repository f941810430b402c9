"""Trainium at scale: beside NVL72 and TPU at equal chips, FLOP/s, power and money.

Question: From 64 chips upwards, how does Trainium2 train beside an NVL72 and a TPU when all are given the same number
of chips, the same peak, the same power or the same money?

Method: So many Trainium2 UltraServers set the budget; of the others as many whole domains are taken as come nearest to
it.  Each trains the same model by the best of the plans tried, with a batch that grows with the chips.  Comparisons are
of tokens a second over what the budget counts.

Falsified if: Measured clusters of the same sizes rank otherwise by more than the validated error of the systems.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import topo
from topo.experiment import Experiment, Finding, Parameter, Record, only, values_of, where
from topo.report.chart import Chart
from topo.training.quick import quick_step
from topo.training.step import StepResult

REFERENCE = "trn2-ultra"


def measure(family: str, chips: int, equal: str, model: str) -> Mapping[str, Any]:
    """A step on as many domains as the budget of so many Trainium2 chips buys; TPU shapes are made of 4x4x4."""
    budget = chips * _each(REFERENCE, equal)
    domain = topo.load(family)
    count = max(1, round(budget / (_each(family, equal) * domain.accelerators)))
    system = topo.load(_of(family, count))
    record = _step(system.name, model).record()
    spent = _each(family, equal) * system.accelerators
    speed = record["tokens_per_s"] / spent * budget
    return {**record, "family": family, "spent": spent, "budget": budget, "tokens_per_s_per_budget": speed}


@lru_cache(maxsize=16)
def _step(system: str, model: str) -> StepResult:
    """A system may be met again under another budget."""
    return quick_step(model, topo.load(system), degrees=(8,))


def _of(family: str, count: int) -> str:
    """So many domains; of a torus the flattest shape with so many times its chips; beyond a pod it is refused."""
    name, colon, shape = family.partition(":")
    if not colon:
        return f"{family}*{count}" if count > 1 else family
    dims = [int(part) for part in shape.split("x")]
    factors = _factors(count)
    for factor in sorted(factors, reverse=True):
        dims[dims.index(min(dims))] *= factor
    return f"{name}:{'x'.join(map(str, sorted(dims)))}"


def _factors(number: int) -> list[int]:
    found, factor = [], 2
    while number > 1:
        while number % factor == 0:
            found.append(factor)
            number //= factor
        factor += 1
    return found


def _each(family: str, equal: str) -> float:
    """What a chip counts in the budget."""
    system = topo.load(family)
    assert system.chip is not None
    value = {
        "chips": 1.0,
        "flops": system.chip.flops("bf16"),
        "power": (system.power_w or 0.0) / system.accelerators,
        "money": (system.price_usd or 0.0) / system.accelerators,
    }.get(equal)
    if value is None:
        raise topo.TopoError(f"{equal!r} is no budget", "one of chips, flops, power, money")
    if not value:
        raise topo.TopoError(f"{family} has no published {equal}", "compare by chips or flops")
    return float(value)


def finding(records: list[Record]) -> Finding:
    """At the smallest and the largest budget of each kind, the others' speed over Trainium's."""
    sentences, evidence = [], []
    for equal in values_of(records, "equal"):
        of_kind = where(records, equal=equal)
        others = [family for family in values_of(records, "family") if family != REFERENCE]
        budgets = sorted(values_of(where(of_kind, family=REFERENCE), "chips"))
        compared = [chips for chips in budgets if len(where(of_kind, chips=chips)) > 1]
        for chips in dict.fromkeys((*compared[:1], *compared[-1:], budgets[-1])):
            here = where(of_kind, chips=chips)
            base = only(here, family=REFERENCE)
            evidence += here
            said = []
            for family in others:
                found = where(here, family=family)
                said.append(
                    f"{_speed(found[0]) / _speed(base):.3g} by {family} ({found[0]['accelerators']:,} chips, MFU "
                    f"{found[0]['mfu']:.1%})"
                    if found
                    else f"no result from {family}"
                )
            if said:
                sentences.append(
                    f"At equal {equal} ({base['accelerators']:,} Trainium2, MFU {base['mfu']:.1%}), speed over "
                    f"Trainium's: {', '.join(said)}."
                )
    return Finding("  ".join(sentences), evidence)


def _speed(record: Record) -> float:
    return float(record["tokens_per_s_per_budget"])


EXPERIMENT = Experiment(
    doc=__doc__,
    parameters=(
        Parameter("family", (REFERENCE, "gb200-nvl72", "tpu-v5p:4x4x4"), "One domain of each."),
        Parameter("chips", (64, 1024, 16384, 400000), "Trainium2 chips that set the budget."),
        Parameter("equal", ("chips", "flops", "power"), "What is equal: chips, flops, power or money."),
        Parameter("model", ("llama3-70b",), "Models."),
    ),
    measure=measure,
    finding=finding,
    charts=(
        *(
            Chart(
                f"Speed at equal {equal}",
                "chips",
                "tokens_per_s_per_budget",
                ("family",),
                x_title="Trainium2 chips of the budget",
                y_title="tokens/s",
                log_x=True,
                log_y=True,
                where={"equal": equal},
            )
            for equal in ("chips", "flops", "power")
        ),
        Chart("Model FLOP utilisation", "accelerators", "mfu", ("family",), y_title="MFU", log_x=True),
    ),
)

if __name__ == "__main__":
    from topo.cli.experiment import main

    main(__file__)
