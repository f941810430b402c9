"""A training step on a dataflow machine of the catalogue, in one call."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from topo.errors import nearest
from topo.system import OutsideMemory, System
from topo.training.dataflow import DataflowError, reconfiguration_seconds, static_dataflow
from topo.training.default_plan import SEQUENCE, TOKENS
from topo.training.model import Model
from topo.training.plan import Plan
from topo.training.rates import chip_rates
from topo.training.streaming import Machine, StreamedStep, fastest_streaming
from topo.training.supply import Supply, states_outside, tensor_degrees

MAPPINGS = ("dataflow", "streaming")
"""``dataflow``: every layer has a region of the mesh for good; ``streaming``: weights come layer by layer."""
KNOWN = ("seq", "global_batch", "micro_batch", "precision", "recompute", "gradient_bytes", "optimizer_bytes")
PATIENCE = 3
"""Splits of the matrices that may be slower than the best before the search for it ends."""
MOST_UNEVEN = 1.25


def mapped_step(
    model: Model,
    system: System,
    mapping: str,
    given: Mapping[str, Any],
    *,
    buffer: int = 2,
    changes: int = 0,
    reconfiguration_s: float | None = None,
    check_memory: bool = True,
    ccl: str | None = None,
) -> dict[str, Any]:
    """A step as a flat record.

    Parameters
    ----------
    model : Model
    system : System
        For ``streaming`` every scale-up domain is a machine; its catalogue file names the memory outside.
    mapping : str
        One of :data:`MAPPINGS`.
    given : mapping
        Fields of the plan: :data:`KNOWN`.
    buffer : int
        Micro-batches between two regions (``dataflow``).
    changes : int
        Times that the graph changes in a step.
    reconfiguration_s : float, optional
        Seconds of one change; by default :func:`~topo.training.dataflow.reconfiguration_seconds`.
    check_memory : bool
        Refuse a model that the machine's memory does not hold.
    ccl : str, optional
        Communication library (``streaming``), the system's own by default.

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
    for key in given:
        if key not in KNOWN:
            raise DataflowError(f"mapping {mapping} takes no {key}", f"it takes {', '.join(KNOWN)}")
    chip = require_chip(system)
    keys = dict(given)
    keys.setdefault("seq", model.positions or SEQUENCE)
    machines = system.fabric.domains
    each = machines * keys.get("micro_batch", 1)
    keys["global_batch"] = keys.get("global_batch") or each * max(round(TOKENS / keys["seq"] / each), 1)
    plan = Plan(**keys)
    if mapping == "dataflow":
        found: dict[str, Any] = asdict(
            static_dataflow(
                model,
                system,
                plan,
                buffer=buffer,
                changes=changes,
                reconfiguration_s=reconfiguration_s,
                check_memory=check_memory,
            )
        ) | {"passes": 1, "recompute": plan.recompute}
    else:
        if system.outside_memory is None:
            raise DataflowError(
                f"{system.name} has no memory outside its accelerators, from which weights could come",
                "its catalogue file would name it as outside_memory, as those of wse3 and dojo do",
            )
        policies = ("none", "full") if "recompute" not in given and check_memory else (plan.recompute,)
        found = _streamed(model, system, plan, system.outside_memory, policies, check_memory, ccl)
        pauses = 0.0
        if changes:
            once = reconfiguration_seconds(system) if reconfiguration_s is None else reconfiguration_s
            pauses = changes * once
        found |= {"step_s": found["step_s"] + pauses, "reconfiguration_s": pauses}
    tokens = float(plan.tokens)
    peak = chip.flops(plan.precision) * system.accelerators
    return {
        "model": model.name,
        "system": system.name,
        "mapping": mapping,
        "accelerators": system.accelerators,
        "tokens": tokens,
        **found,
        "tokens_per_s": tokens / found["step_s"],
        "mfu": model.step_flops(plan.seq, tokens) / (found["step_s"] * peak),
        "changes": changes,
    }


def _streamed(
    model: Model,
    system: System,
    plan: Plan,
    memory: OutsideMemory,
    policies: tuple[str, ...],
    check_memory: bool,
    ccl: str | None,
) -> dict[str, Any]:
    """The fastest way to split matrices over neighbours while weights are streamed."""
    outside, kept = states_outside(model, plan, memory, system.fabric.domains, check_memory)
    best: dict[str, Any] | None = None
    refused: DataflowError | None = None
    slower = 0
    for tensor in tensor_degrees(system):
        supply = Supply(system, memory, tensor, ccl)
        if supply.imbalance(model) > MOST_UNEVEN:
            continue
        try:
            found, spreads = _split(model, system, plan, supply, policies, kept, check_memory)
        except DataflowError as error:
            refused = refused or error
            continue
        if best is None or found["step_s"] < best["step_s"]:
            best, slower = found, 0
        else:
            slower += 1
        if not spreads or slower >= PATIENCE:
            break
    if best is None:
        raise refused or DataflowError(f"{model.name} cannot be split over {system.name}")
    return best | {
        "outside_bytes": outside,
        "outside_memory": memory.technology,
        "outside_shared": memory.shared,
    }


def _split(
    model: Model,
    system: System,
    plan: Plan,
    supply: Supply,
    policies: tuple[str, ...],
    kept: bool,
    check_memory: bool,
) -> tuple[dict[str, Any], bool]:
    """A step with matrices split one way, and whether spreading the weights inside a machine slows it."""
    from topo.training.step import require_chip

    chip, memory, machines = require_chip(system), supply.memory, supply.machines
    layer = model.parameters / model.layers
    down = supply.down(layer * plan.parameter_bytes)
    beside, up = supply.both(layer * plan.parameter_bytes, layer * plan.gradient_bytes)
    spreads = min(down, beside, up) < memory.bandwidth
    whole, ends = model.parameters * plan.gradient_bytes, 0.0
    if not memory.shared and machines > 1:
        seconds = supply.between("reduce-scatter", whole)
        if kept:
            ends += seconds
        else:  # the states' keeper adds the gradients of every pass
            up = min(up, whole / seconds)
        ends += supply.between("all-gather", model.parameters * plan.parameter_bytes)
    update = 0.0
    if not memory.shared:  # states come in and go out; a shared memory has processors of its own
        each = 2 * plan.optimizer_bytes + plan.gradient_bytes + plan.parameter_bytes
        update = model.parameters / machines * each / memory.bandwidth
    machine = Machine(
        peak_flops=chip.flops(plan.precision) * supply.inside,
        io_bandwidth=down,
        beside_bandwidth=beside,
        up_bandwidth=up,
        memory_bytes=chip.memory_bytes * supply.inside if check_memory else float("inf"),
        efficiency=(chip_rates(chip).share or {}).get(plan.precision, 1.0) / supply.imbalance(model),
        latency=system.scale_out.switch_latency if system.scale_out else 0.0,
        exchange=lambda tokens: supply.exchange(model, tokens),
    )
    step: StreamedStep = fastest_streaming(model, plan, policies, machine, machines)
    total = step.step_s + ends + update
    step = replace(step, step_s=total, tokens_per_s=plan.tokens / total)
    return asdict(step) | {
        "tensor": supply.tensor,
        "between_s": ends,
        "update_s": update,
        "down_Bps": down,
        "up_Bps": up,
    }, spreads


def mapped_json(record: Mapping[str, Any]) -> str:
    """The record as JSON."""
    return json.dumps(dict(record), indent=2, allow_nan=False)
