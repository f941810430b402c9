"""A good plan quickly: tensor and expert parallel degrees tried, everything else chosen so that it fits.

:func:`topo.training.search.search` looks at every plan and takes minutes; where a sweep asks for hundreds of
systems this takes a second or two each.
"""

from __future__ import annotations

from itertools import product
from typing import Any

from topo.errors import InternalError, TopoError
from topo.system import System
from topo.training.default_plan import default_plan
from topo.training.named_models import load_model
from topo.training.plan import Plan
from topo.training.step import StepResult, step

DEGREES = (1, 2, 4, 8, 16)
EXPERT_DEGREES = (None, 2, 4)
"""Of mixtures of experts, beside the one that the default plan takes."""


def quick_step(
    model: str,
    system: System,
    *,
    degrees: tuple[int, ...] = DEGREES,
    ccl: str | None = None,
    contention: str = "isolated",
    **choices: Any,
) -> StepResult:
    """The fastest step, per token, over the tensor (and expert) parallel degrees that fit.

    Parameters
    ----------
    model : str
    system : System
    degrees : tuple of int
        Tensor parallel degrees to try.
    ccl : str, optional
        The system's own by default.
    contention : str
        As in :func:`topo.training.step.step`.
    choices
        Fields of the Plan that are given.

    Raises
    ------
    TopoError
        No degree fits; what the last one lacked.
    """
    found: StepResult | None = None
    seen: set[Plan] = set()
    refused: TopoError | None = None
    loaded = load_model(model)
    experts = EXPERT_DEGREES if loaded.experts and "ep" not in choices else (None,)
    for tp, ep in product(degrees, experts):
        if tp > system.accelerators:
            break
        try:
            given = {**choices, "tp": tp} | ({"ep": ep} if ep else {})
            plan = default_plan(loaded, system, given)
            if plan in seen:
                continue
            seen.add(plan)
            result = step(loaded, system, plan, ccl=ccl, contention=contention)
        except InternalError:
            raise
        except TopoError as problem:
            refused = problem
            continue
        if found is None or result.step_s / result.tokens < found.step_s / found.tokens:
            found = result
    if found is None:
        raise refused or TopoError(f"no plan of {model} fits {system.name}", "take more accelerators")
    return found
