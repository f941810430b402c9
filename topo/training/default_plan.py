"""A plan where the user names only some of it: the rest by a stated rule, so that it fits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from topo.system import System
from topo.training.memory import memory_of, nearest_plan, require_room, room
from topo.training.model import BYTES, Model
from topo.training.plan import Plan, PlanError
from topo.training.rates import Rates
from topo.training.stages import build_stages

TOKENS = 4 * 2**20
"""Tokens of a step where no global batch is given, about what Llama 3 70B and GPT-3 were trained with."""
SEQUENCE = 8192
"""Tokens of a sequence where none is given and the model has no learned positions."""


def default_plan(model: Model, system: System, given: dict[str, Any], check_memory: bool = True) -> Plan:
    """The plan that the given choices leave, filled up.

    Parameters
    ----------
    model : Model
    system : System
    given : dict
        Fields of :class:`Plan` that are decided.
    check_memory : bool
        Where nothing fits, refuse; else take the plan that needs least.

    Returns
    -------
    Plan
        ``dp`` takes the accelerators that are left.  Where ``tp``, ``pp`` or ``recompute`` are open, the first plan
        that fits: the fewest ways to split a layer and the pipeline, tensor parallelism within a scale-up domain,
        recomputation only where no split helps.

    Raises
    ------
    PlanError
        Nothing fits, or what is given contradicts itself; said by how much.
    """
    from topo.training.step import require_chip

    chip = require_chip(system)
    last: PlanError | None = None
    rates = Rates(chip.name, dict.fromkeys(BYTES, 1.0), 1.0)
    smallest: tuple[float, Plan] | None = None
    for choice in _choices(model, system, given):
        try:
            plan = _plan(model, system, given | choice)
            plan.check(model, system.accelerators)
            need = memory_of(model, plan, build_stages(model, plan, rates))
        except PlanError as error:
            last = last or error
            continue
        if need.total <= room(chip):
            return plan
        if smallest is None or need.total < smallest[0]:
            smallest = need.total, plan
    if smallest is None:
        raise last or PlanError("no plan", "give its degrees")
    plan = smallest[1]
    if not check_memory:
        return plan
    if not set(given) & {"tp", "pp", "cp", "zero", "recompute"}:
        raise PlanError(
            f"{model.name} fits {system.name} under no plan: the smallest needs {smallest[0] / 1e9:.1f} GB on each "
            f"accelerator and {chip.name} has {room(chip) / 1e9:.1f} GB for it",
            f"{(smallest[0] - room(chip)) / 1e9:.1f} GB too much; take more accelerators"
            + (", or stream its weights (mapping streaming)" if system.outside_memory else ""),
        )
    require_room(model, plan, memory_of(model, plan, build_stages(model, plan, rates)), chip, system.name)
    raise PlanError(f"{model.name} does not fit", nearest_plan(model, plan, room(chip)))


def _choices(model: Model, system: System, given: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Splits from the smallest to the largest, then with more recomputation, then with sharded weights."""
    inside = max(system.accelerators // max(system.fabric.domains, 1), 1)
    tensor = (
        [given["tp"]] if "tp" in given else [t for t in _powers(64) if t <= inside and model.heads % t == 0]
    )
    tensor = [t for t in tensor if t <= 8 or inside > 8] or [1]
    stages = [given["pp"]] if "pp" in given else [p for p in _powers(64) if p <= model.layers]
    experts = [given["ep"]] if "ep" in given else _expert_degrees(model, inside)
    policies = [given["recompute"]] if "recompute" in given else ["none", "elementwise", "full"]
    zeros = [given["zero"]] if "zero" in given else [1, 3]
    splits = sorted(((t, p) for t in tensor for p in stages), key=lambda tp: (tp[0] * tp[1], tp[1]))
    for zero in zeros:
        for policy in policies:
            for t, p in splits:
                if zero == 3 and p > 1 and "pp" not in given:
                    continue
                for ep in experts:
                    yield {"tp": t, "pp": p, "ep": ep, "recompute": policy, "zero": zero}


def _expert_degrees(model: Model, inside: int) -> list[int]:
    """As many as a scale-up domain holds, then fewer, then more."""
    if model.experts is None:
        return [1]
    fitting = [k for k in _powers(1024) if model.experts.count % k == 0]
    return sorted(fitting, key=lambda k: (k > inside, -k if k <= inside else k))


def _powers(most: int) -> list[int]:
    return [2**i for i in range(most.bit_length()) if 2**i <= most]


def _plan(model: Model, system: System, keys: dict[str, Any]) -> Plan:
    keys = dict(keys)
    keys.setdefault("seq", model.positions or SEQUENCE)
    if "precision" not in keys:
        peaks = system.chip.peak_flops if system.chip else {}
        keys["precision"] = "bf16" if "bf16" in peaks else next(iter(peaks), "bf16")
    if "dp" not in keys:
        inner = keys.get("tp", 1) * keys.get("pp", 1) * keys.get("cp", 1)
        if system.accelerators % inner:
            raise PlanError(
                f"tp {keys.get('tp', 1)} x pp {keys.get('pp', 1)} x cp {keys.get('cp', 1)} = {inner} does not divide "
                f"the {system.accelerators} accelerators of {system.name}",
                "take degrees whose product divides them",
            )
        keys["dp"] = system.accelerators // inner
    if keys.get("virtual_stages", 1) > 1:
        keys.setdefault("schedule", "interleaved")
    if not keys.get("global_batch"):
        each = keys["dp"] * keys.get("micro_batch", 1)
        if keys.get("schedule") == "interleaved":
            each *= keys.get("pp", 1)
        wanted = max(TOKENS / keys["seq"], 2 * keys["dp"] * keys.get("micro_batch", 1) * keys.get("pp", 1))
        keys["global_batch"] = each * math.ceil(wanted / each)
    return Plan(**keys)
