"""One training step of a model under a plan on a system: how long, where the time goes, and what binds."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from topo.errors import CatalogueError, InternalError
from topo.system import Chip, System
from topo.training.engine import Engine
from topo.training.memory import Memory, domain_bytes, memory_by_stage, require_room
from topo.training.model import Model
from topo.training.outcome import HEADINGS, Outcome, Span
from topo.training.placement import place
from topo.training.plan import Plan
from topo.training.rates import Rates, chip_rates, ideal_rates
from topo.training.stages import Stage, build_stages
from topo.training.traffic import Traffic

YEAR = 365.25 * 86400.0
LIFETIME_YEARS = 4.0
"""Years over which a purchase is written off, where the catalogue has no rent."""
BELOW_BOUND = 1e-9


@dataclass(frozen=True)
class StepResult:
    """What a training step takes.

    Parameters
    ----------
    model, system, plan, placement, ccl, contention : str
        What was simulated.
    accelerators : int
    step_s : float
    tokens : float
        Of one step.
    tokens_per_s, tokens_per_s_per_accelerator : float
    model_flops : float
        FLOPs that the model asks for (:meth:`Model.step_flops`); MFU divides them by the step's seconds and the
        peak of all accelerators at the plan's precision.
    hardware_flops : float
        FLOPs that are computed, recomputation included; HFU likewise.
    mfu, hfu : float
    compute_s, bubble_s, tp_s, cp_s, ep_s, dp_s, pp_s, optimizer_s, input_s : float
        Where the step goes, on the mean stage: they add up to ``step_s``.
    bound_s : float
        No way to carry out the same plan is faster: the busiest stage at the chip's peak, or the bytes of some link
        at its bandwidth.
    bound_kind : str
        ``compute`` or ``link``.
    bottleneck : str
        The link that carries most for its bandwidth.
    memory_bytes : float
        Of the fullest accelerator.
    memory : mapping of str to float
        Its components.
    memory_domain_bytes : float
        Of the fullest scale-up domain, its memory taken as one pool.
    energy_j : float or None
        Of one step, at the system's full power.
    energy_per_trillion_tokens_kwh : float or None
    cost_usd : float or None
        Of one step: the rent, or a share of the price over four years.
    cost_per_trillion_tokens_usd : float or None
    cost_basis : str
        ``rent``, ``price over 4 years`` or empty.
    wall_s : float
        Seconds that the simulation took.
    """

    model: str
    system: str
    plan: str
    placement: str
    ccl: str
    contention: str
    accelerators: int
    step_s: float
    tokens: float
    tokens_per_s: float
    tokens_per_s_per_accelerator: float
    model_flops: float
    hardware_flops: float
    mfu: float
    hfu: float
    compute_s: float
    bubble_s: float
    tp_s: float
    cp_s: float
    ep_s: float
    dp_s: float
    pp_s: float
    optimizer_s: float
    input_s: float
    bound_s: float
    bound_kind: str
    bottleneck: str
    memory_bytes: float
    memory: dict[str, float]
    energy_j: float | None
    energy_per_trillion_tokens_kwh: float | None
    cost_usd: float | None
    cost_per_trillion_tokens_usd: float | None
    cost_basis: str
    wall_s: float
    spans: tuple[Span, ...] = field(default=(), repr=False, compare=False)
    memory_domain_bytes: float = 0.0

    def record(self) -> dict[str, Any]:
        """A flat record: one value a key."""
        record = asdict(self)
        del record["spans"]
        for component, size in record.pop("memory").items():
            record[f"memory_{component}_bytes"] = size
        return record

    def to_json(self) -> str:
        """The record as JSON."""
        return json.dumps(self.record(), indent=2)

    @property
    def split(self) -> dict[str, float]:
        """Seconds by heading, in the order of :data:`HEADINGS`."""
        return {heading: float(getattr(self, f"{heading}_s")) for heading in HEADINGS}


def step(
    model: Model | str,
    system: System,
    plan: Plan,
    *,
    ccl: str | None = None,
    contention: str = "isolated",
    placement: str | None = None,
    timeline: bool = False,
    ideal_kernels: bool = False,
    check_memory: bool = True,
    input_s: float = 0.0,
) -> StepResult:
    """Simulate one training step.

    Parameters
    ----------
    model : Model or str
        A model, or what :func:`~topo.training.named_models.load_model` reads.
    system : System
    plan : Plan
        Its degrees multiply to the accelerators.
    ccl : str, optional
        Communication library; the system's own by default.
    contention : str
        ``isolated``: every collective takes the time it takes with nothing else running; ``full``: those that share
        links share their bandwidth.
    placement : str, optional
        Where each axis lies, as :mod:`topo.training.placement` spells it.
    timeline : bool
        Keep what every stream did.
    ideal_kernels : bool
        Kernels at the chip's peak, without launches.
    check_memory : bool
        Refuse a plan that does not fit.
    input_s : float
        Seconds that a step waits for its data.

    Raises
    ------
    TopoError
        A plan that model or machine do not allow, or that does not fit the memory.
    InternalError
        The step is faster than its lower bound: an error of the program, never shown as a result.
    """
    import simpy

    began = time.perf_counter()
    if isinstance(model, str):
        from topo.training.named_models import load_model

        model = load_model(model)
    chip = require_chip(system)
    plan.check(model, system.accelerators)
    rates = ideal_rates(chip) if ideal_kernels else chip_rates(chip)
    rates.flops(plan.precision)
    placed = place(plan, system.fabric, placement)
    stages = build_stages(model, plan, rates, placed.spans["ep"][0] if plan.ep > 1 else 1)
    memories = memory_by_stage(model, plan, stages)
    memory = max(memories, key=lambda one: one.total)
    if check_memory:
        require_room(model, plan, memory, chip, system.name)
    env = simpy.Environment()
    traffic = Traffic(env, system, placed, ccl, contention)
    engine = Engine(
        plan,
        stages,
        env,
        traffic,
        communication_share=rates.communication_share,
        optimizer=[optimizer_seconds(plan, stage, rates) for stage in stages],
        activation_bytes=activation_bytes(model, plan),
        input_s=input_s,
        record=timeline,
    )
    outcome = engine.run()
    bound, kind = lower_bound(plan, stages, chip, system, traffic)
    # Collectives in isolation may load a link beyond its bandwidth; that the bound says so is no error of the program.
    if outcome.seconds < bound * (1 - BELOW_BOUND) and (contention == "full" or kind != "link"):
        raise InternalError(
            f"a step of {outcome.seconds:.6g} s lies below the {kind} bound of {bound:.6g} s", "this is a bug"
        )
    return _result(
        model,
        system,
        plan,
        outcome,
        chip,
        memory,
        stages,
        placement=placed.name,
        ccl=traffic.library,
        contention=contention,
        bound=(bound, kind),
        bottleneck=traffic.bottleneck(outcome.seconds)[0],
        pool=domain_bytes(memories, placed.rank, system.fabric.domain),
        wall=time.perf_counter() - began,
    )


def require_chip(system: System) -> Chip:
    """The system's chip.

    Raises
    ------
    CatalogueError
        A bare topology, which has none.
    """
    if system.chip is None:
        raise CatalogueError(
            f"{system.name} has links but no chips",
            "a training step needs a catalogue system such as dgx-h100*8",
        )
    return system.chip


def activation_bytes(model: Model, plan: Plan) -> float:
    """Bytes that one rank sends to the next stage per micro-batch: ``2 s b h / cp``, over t if sequences are split."""
    ways = plan.tp if plan.sequence_parallel else 1
    return 2.0 * plan.micro_tokens * model.hidden / ways


def optimizer_seconds(plan: Plan, stage: Stage, rates: Rates) -> float:
    """Seconds in which a stage's accelerators read and write their part of the optimizer's states.

    Gradients are read for their norm and again for the update; master weights and moments are read and written; the
    weights are written.  States that stay with the host come and go over their link meanwhile.
    """
    ways = plan.shards if plan.zero else 1
    copies = max(plan.stage_ranks // plan.ep, 1) if plan.ep > 1 else plan.data
    mine = stage.dense / ways + stage.experts / (copies if plan.zero else 1)
    near = rates.memory(mine * (2 * plan.optimizer_bytes + 2 * plan.gradient_bytes + plan.parameter_bytes))
    if not plan.offload_bandwidth:
        return near
    return max(near, mine * plan.optimizer_bytes / plan.offload_bandwidth)


def lower_bound(
    plan: Plan, stages: Sequence[Stage], chip: Chip, system: System, traffic: Traffic
) -> tuple[float, str]:
    """A time that no execution of the same plan beats, and what sets it.

    The FLOPs of the busiest stage at the chip's peak, or the bytes of some link at its bandwidth.
    """
    peak = chip.flops(plan.precision)
    peak = max(peak, chip.peak_flops.get("bf16", 0.0))  # attention stays in 16 bits
    compute = max(stage.flops for stage in stages) * plan.micro_batches / peak
    links = float(np.max(traffic.link_bytes() / system.fabric.bandwidth, initial=0.0))
    return (links, "link") if links > compute else (compute, "compute")


def _result(
    model: Model,
    system: System,
    plan: Plan,
    outcome: Outcome,
    chip: Chip,
    memory: Memory,
    stages: Sequence[Stage],
    *,
    placement: str,
    ccl: str,
    contention: str,
    bound: tuple[float, str],
    bottleneck: str,
    pool: float,
    wall: float,
) -> StepResult:
    seconds, accelerators = outcome.seconds, system.accelerators
    split = {
        heading: math.fsum(spent.get(heading, 0.0) for spent in outcome.spent) / len(stages)
        for heading in HEADINGS
    }
    if abs(math.fsum(split.values()) - seconds) > 1e-6 * seconds:
        raise InternalError(
            f"the parts of a step add up to {math.fsum(split.values()):.9g} s, not {seconds:.9g} s"
        )
    model_flops = model.step_flops(plan.seq, plan.tokens)
    hardware = sum(stage.flops for stage in stages) * plan.micro_batches * plan.stage_ranks
    peak = chip.flops(plan.precision) * accelerators
    energy = system.power_w * seconds if system.power_w else None
    cost, basis = _cost(system, seconds)
    trillion = 1e12 / plan.tokens
    return StepResult(
        model=model.name,
        system=system.name,
        plan=plan.words,
        placement=placement,
        ccl=ccl,
        contention=contention,
        accelerators=accelerators,
        step_s=seconds,
        tokens=float(plan.tokens),
        tokens_per_s=plan.tokens / seconds,
        tokens_per_s_per_accelerator=plan.tokens / seconds / accelerators,
        model_flops=model_flops,
        hardware_flops=hardware,
        mfu=model_flops / (seconds * peak),
        hfu=hardware / (seconds * peak),
        **{f"{heading}_s": value for heading, value in split.items()},
        bound_s=bound[0],
        bound_kind=bound[1],
        bottleneck=bottleneck,
        memory_bytes=memory.total,
        memory=memory.components,
        energy_j=energy,
        energy_per_trillion_tokens_kwh=energy * trillion / 3.6e6 if energy else None,
        cost_usd=cost,
        cost_per_trillion_tokens_usd=cost * trillion if cost else None,
        cost_basis=basis,
        wall_s=wall,
        spans=tuple(outcome.spans),
        memory_domain_bytes=pool,
    )


def _cost(system: System, seconds: float) -> tuple[float | None, str]:
    if system.rent_usd_per_hour:
        return system.rent_usd_per_hour * seconds / 3600.0, "rent"
    if system.price_usd:
        return system.price_usd * seconds / (LIFETIME_YEARS * YEAR), f"price over {LIFETIME_YEARS:g} years"
    return None, ""
