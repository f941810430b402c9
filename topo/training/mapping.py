"""A training step on a dataflow machine of the catalogue, in one call."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from topo.errors import nearest
from topo.system import System
from topo.training.dataflow import DataflowError, static_dataflow
from topo.training.default_plan import SEQUENCE, TOKENS
from topo.training.model import Model
from topo.training.plan import Plan
from topo.training.rates import chip_rates
from topo.training.streaming import fastest_streaming

MAPPINGS = ("dataflow", "streaming")
"""``dataflow``: every layer has a region of the mesh for good; ``streaming``: weights come layer by layer."""


def mapped_step(
    model: Model,
    system: System,
    mapping: str,
    given: Mapping[str, Any],
    *,
    changes: int = 0,
    reconfiguration_s: float = 0.0,
    check_memory: bool = True,
) -> dict[str, Any]:
    """A step as a flat record.

    Parameters
    ----------
    model : Model
    system : System
        For ``streaming`` every scale-up domain is a machine, with its way out as the way of its weights.
    mapping : str
        One of :data:`MAPPINGS`.
    given : mapping
        Fields of the plan: ``seq global_batch micro_batch precision recompute``.
    changes : int
        Times that the graph changes in a step.
    reconfiguration_s : float
        Seconds of one change.
    check_memory : bool
        Refuse a model that the machine's memory does not hold (``dataflow``).

    Raises
    ------
    DataflowError
        An unknown mapping, degrees of parallelism, or a system that cannot stream.
    """
    from topo.training.step import require_chip

    if mapping not in MAPPINGS:
        raise DataflowError(
            f"mapping {mapping!r} is unknown",
            nearest(mapping, MAPPINGS) or f"one of plan, {', '.join(MAPPINGS)}",
        )
    known = ("seq", "global_batch", "micro_batch", "precision", "recompute")
    for key in given:
        if key not in known:
            raise DataflowError(f"mapping {mapping} takes no {key}", f"it takes {', '.join(known)}")
    chip = require_chip(system)
    keys = dict(given)
    keys.setdefault("seq", model.positions or SEQUENCE)
    machines = system.fabric.domains
    each = machines * keys.get("micro_batch", 1)
    keys["global_batch"] = keys.get("global_batch") or each * max(round(TOKENS / keys["seq"] / each), 1)
    plan = Plan(**keys)
    peak = chip.flops(plan.precision) * system.accelerators
    passes, policy = 1, plan.recompute
    if mapping == "dataflow":
        found: Any = static_dataflow(
            model,
            system,
            plan,
            changes=changes,
            reconfiguration_s=reconfiguration_s,
            check_memory=check_memory,
        )
    else:
        if system.scale_out is None:
            raise DataflowError(
                f"{system.name} has no way out, over which weights could come", "as in 'wse3*2'"
            )
        share = (chip_rates(chip).share or {}).get(plan.precision, 1.0)
        memory = chip.memory_bytes * system.accelerators / machines
        open_choice = "recompute" not in given and check_memory
        found, passes, policy = fastest_streaming(
            model,
            plan,
            ("none", "full") if open_choice else (plan.recompute,),
            machines=machines,
            memory_bytes=memory if check_memory else float("inf"),
            peak_flops=peak / machines,
            io_bandwidth=system.scale_out.nic_bandwidth * system.accelerators / machines,
            efficiency=share,
            latency=system.scale_out.switch_latency,
            changes=changes,
            reconfiguration_s=reconfiguration_s,
        )
    record = asdict(found)
    record.pop("regions", None)
    tokens = float(plan.tokens)
    return {
        "model": model.name,
        "system": system.name,
        "mapping": mapping,
        "accelerators": system.accelerators,
        "tokens": tokens,
        **record,
        "passes": passes,
        "recompute": policy,
        "mfu": model.step_flops(plan.seq, tokens) / (found.step_s * peak),
        "changes": changes,
    }


def mapped_json(record: Mapping[str, Any]) -> str:
    """The record as JSON."""
    return json.dumps(dict(record), indent=2, allow_nan=False)
