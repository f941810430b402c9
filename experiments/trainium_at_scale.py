"""Trainium at scale: beside NVL72 and TPU at equal chips, FLOP/s, power and money.

Question: From 64 chips upwards, how does Trainium2 train beside an NVL72 and a TPU when all are given the same number
of chips, the same peak, the same power or the same money?

Method: So many Trainium2 UltraServers set the budget; of the others as many whole domains are taken as come nearest to
it, of TPUs tori of whole cubes up to a pod of 8,192 chips.  Each trains the same model with one sequence of 8,192
tokens for each chip, by the fastest of three plans: tensor parallelism of 8 with the fewest further splits that fit,
and weights sharded over the scale-up domain (of TPUs the whole pod) with tensor parallelism of 1 or 2.
Beyond 10,000 chips only the first.  Comparisons are of tokens a second over what the budget counts; money is rent.
The batch grows with the chips, far beyond what would still train well at 400,000.

Falsified if: Measured clusters of the same sizes rank otherwise by more than the validated error of the systems.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from itertools import combinations_with_replacement
from math import prod
from typing import Any

import topo
from topo.errors import InternalError
from topo.experiment import Experiment, Finding, Parameter, Record, only, values_of, where
from topo.report.chart import Chart
from topo.training.quick import quick_step
from topo.training.step import StepResult

REFERENCE = "trn2-ultra"
BUDGETS = ("chips", "flops", "power", "money")
WORDS = {"power": "power", "money": "rent"}
SHARDED = (1, 2)
"""Tensor parallel degrees of the plans that shard the weights."""
MOST_SHARDED = 10_000
"""Chips up to which these are tried; beyond, the libraries' choices take minutes a plan."""
POD = (4, 4, 8)
"""Cubes of 4x4x4 chips in the largest slice of a TPU pod that is used: 8,192 chips."""
NEAR = 0.1
"""Share by which a torus may miss the budget; speeds are divided by what is spent."""


def measure(family: str, chips: int, equal: str, model: str, pods: int) -> Mapping[str, Any]:
    """A step on as many domains as the budget of so many Trainium2 chips buys; TPUs as cubes of a pod, then pods."""
    budget = chips * _each(REFERENCE, equal)
    domain = topo.load(family)
    count = max(1, round(budget / (_each(family, equal) * domain.accelerators)))
    system = topo.load(_of(family, count, pods))
    record = _step(system.name, domain.accelerators, model).record()
    spent = _each(family, equal) * system.accelerators
    speed = record["tokens_per_s"] / spent * budget
    return {**record, "family": family, "spent": spent, "budget": budget, "tokens_per_s_per_budget": speed}


@lru_cache(maxsize=16)
def _step(name: str, domain: int, model: str) -> StepResult:
    """The fastest of the plans; a system may be met again under another budget.

    Tensor parallelism of 8 alone would suit switches and starve tori, where 8 neighbours of a long ring are a line.
    """
    system = topo.load(name)
    batch = system.accelerators
    found, refused = [], []
    for tp in (8, *SHARDED) if system.accelerators <= MOST_SHARDED else (8,):
        shard = domain // tp if system.fabric.domains > 1 and domain < system.accelerators else None
        choices = {"zero": 3, "pp": 1, "shard": shard} if tp in SHARDED else {}
        try:
            found.append(quick_step(model, system, degrees=(tp,), global_batch=batch, **choices))
        except InternalError:
            raise
        except topo.TopoError as problem:
            refused.append(problem)
    if not found:
        raise refused[0]
    return max(found, key=lambda result: result.tokens / result.step_s)


def _of(family: str, count: int, most: int) -> str:
    """So many domains; of a torus the shape nearest to a cube, up to a pod, and then as many pods as come nearest."""
    name, colon, shape = family.partition(":")
    if not colon:
        return f"{family}*{count}" if count > 1 else family
    side = int(shape.partition("x")[0])
    pod = prod(POD)
    if count >= pod:
        pods = max(1, round(count / pod))
        if pods > most:
            raise topo.TopoError(
                f"the budget buys {pods} pods of {name} and {most} may be joined",
                f"allow them by --pods {pods}",
            )
        whole = "x".join(str(side * length) for length in POD)
        return f"{name}:{whole}" + (f"*{pods}" if pods > 1 else "")
    near = [
        lengths
        for lengths in combinations_with_replacement(range(1, max(POD) + 1), 3)
        if abs(prod(lengths) - count) <= NEAR * count
    ]
    best = min(near, key=lambda lengths: (max(lengths) / min(lengths), abs(prod(lengths) - count)))
    return f"{name}:{'x'.join(str(side * length) for length in best)}"


def _each(family: str, equal: str) -> float:
    """What a chip counts in the budget; money is the middle of the rents found."""
    system = topo.load(family)
    assert system.chip is not None
    value = {
        "chips": 1.0,
        "flops": system.chip.flops("bf16"),
        "power": (system.power_w or 0.0) / system.accelerators,
        "money": (system.rent_usd_per_hour or 0.0) / system.accelerators,
    }.get(equal)
    if value is None:
        raise topo.TopoError(f"{equal!r} is no budget", f"one of {', '.join(BUDGETS)}")
    if not value:
        raise topo.TopoError(f"{family} has no published {WORDS[equal]}", "compare by chips or flops")
    return float(value)


def finding(records: list[Record]) -> Finding:
    """At the smallest and the largest budget of each kind, the others' speed over Trainium's."""
    sentences, evidence = [], []
    for equal in values_of(records, "equal"):
        of_kind = where(records, equal=equal)
        others = [family for family in values_of(records, "family") if family != REFERENCE]
        budgets = sorted(values_of(where(of_kind, family=REFERENCE), "chips"))
        compared = [chips for chips in budgets if len(where(of_kind, chips=chips)) > 1]
        for chips in dict.fromkeys((*compared[:1], *compared[-1:])):
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
    largest = max(where(records, family=REFERENCE), key=lambda record: int(record["chips"]))
    if len(where(records, chips=largest["chips"])) == len(
        where(records, chips=largest["chips"], family=REFERENCE)
    ):
        evidence.append(largest)
        sentences.append(
            f"At the budget of {largest['chips']:,} only Trainium's step could be simulated: MFU {largest['mfu']:.1%}, "
            f"and of the step {largest['dp_s'] / largest['step_s']:.0%} exposed data parallel communication."
        )
    return Finding("  ".join(sentences), evidence)


def _speed(record: Record) -> float:
    return float(record["tokens_per_s_per_budget"])


EXPERIMENT = Experiment(
    doc=__doc__,
    parameters=(
        Parameter(
            "family", (REFERENCE, "gb200-nvl72", "tpu-v5p:4x4x4", "tpu-v7:4x4x4"), "One domain of each."
        ),
        Parameter("chips", (64, 1024, 8192, 400000), "Trainium2 chips that set the budget."),
        Parameter("equal", BUDGETS, "What is equal: chips, flops, power or money (rent)."),
        Parameter("model", ("llama3-70b",), "Models."),
        Parameter("pods", (1,), "Most TPU pods that are joined; more than one takes minutes."),
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
            for equal in BUDGETS
        ),
        Chart("Model FLOP utilisation", "accelerators", "mfu", ("family",), y_title="MFU", log_x=True),
    ),
)

if __name__ == "__main__":
    from topo.cli.experiment import main

    main(__file__)
