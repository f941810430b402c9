"""Static dataflow: every layer has a region of a mesh for good, samples flow through.

With service times ``tau_i`` and ``f`` samples of room between two stages, counted from the start of the first to the
end of the second, the moment ``x_i(n)`` at which stage ``i`` is done with sample ``n`` follows the max-plus recurrence

    ``x_i(n) = max(x_{i-1}(n), x_i(n-1), x_{i+1}(n-f)) + tau_i``.

The throughput is ``1 / max tau`` from two samples of room on; with one, neighbours take turns.  Stages are the forward
and the backward part of every region, and the transfers between them: all regions send at the same time, routed over
the mesh (:mod:`topo.training.regions`).  A changed graph drains the pipeline and costs the time of loading another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from topo.errors import TopoError
from topo.system import System
from topo.training.model import Model
from topo.training.plan import Plan
from topo.training.rates import chip_rates
from topo.training.script import flops_of, seconds_of
from topo.training.stages import Stage, build_stages


class DataflowError(TopoError):
    """A mapping that a dataflow machine cannot hold."""


def pipeline_finish(service: Sequence[float], samples: int, buffer: int = 1) -> list[float]:
    """When each sample leaves a pipeline with finite buffers.

    Parameters
    ----------
    service : sequence of float
        Seconds of each stage for one sample.
    samples : int
    buffer : int
        Samples between the start of a stage and the end of the next; 2 keep both busy.

    Returns
    -------
    list of float
        Seconds at which each sample leaves the last stage.

    Raises
    ------
    DataflowError
        No stage, no sample, or no room between stages.
    """
    if not service or samples < 1 or buffer < 1:
        raise DataflowError(
            f"a pipeline of {len(service)} stages, {samples} samples and room for {buffer}",
            "give 1 or more of each",
        )
    stages = len(service)
    left = [[0.0] * (samples + 1) for _ in range(stages)]  # samples are counted from 1
    for n in range(1, samples + 1):
        for i in range(stages):
            start = max(left[i - 1][n] if i else 0.0, left[i][n - 1])
            if i + 1 < stages and n > buffer:
                start = max(start, left[i + 1][n - buffer])
            left[i][n] = start + service[i]
    return left[-1][1:]


@dataclass(frozen=True)
class DataflowStep:
    """A step of a dataflow machine.

    Parameters
    ----------
    step_s : float
    service_s : float
        Seconds of every region for one micro-batch.
    crossing_s : float
        Seconds of the slowest transfer between two regions, all of them at once.
    fill_s : float
        Seconds in which the pipeline fills and drains.
    reconfiguration_s : float
        Seconds in which the graph was changed.
    update_s : float
        Seconds of the weights' update.
    bound_s : float
        The FLOPs at the machine's peak, or the bytes of some link at its bandwidth.
    binds : str
        ``compute`` or ``link``.
    bottleneck : str
        The link that carries most for its bandwidth.
    tokens_per_s : float
    memory_bytes : float
        Of weights, gradients, optimizer states and activations on the machine.
    """

    step_s: float
    service_s: float
    crossing_s: float
    fill_s: float
    reconfiguration_s: float
    update_s: float
    bound_s: float
    binds: str
    bottleneck: str
    tokens_per_s: float
    memory_bytes: float


def reconfiguration_seconds(system: System) -> float:
    """Seconds to load another graph, where nobody says: all memory of a machine written anew over its way in.

    An assumption: no vendor has published the time.  A tenth of it (programs alone) and ten times as much (with the
    host's part) are as plausible, so sweep it.

    Raises
    ------
    DataflowError
        The system has neither a memory outside nor a network, from which a graph could come.
    """
    from topo.training.step import require_chip

    inside = system.accelerators / system.fabric.domains
    way = system.outside_memory.bandwidth if system.outside_memory else 0.0
    if not way and system.scale_out is not None:
        way = system.scale_out.nic_bandwidth * inside
    if not way:
        raise DataflowError(
            f"how fast another graph comes into {system.name} is not known",
            "give --reconfiguration, such as 1s",
        )
    return require_chip(system).memory_bytes * inside / way


def static_dataflow(
    model: Model,
    system: System,
    plan: Plan,
    *,
    buffer: int = 2,
    changes: int = 0,
    reconfiguration_s: float | None = None,
    check_memory: bool = True,
) -> DataflowStep:
    """A step of a model laid out over the whole machine, every unit of it a region.

    Regions get shares of the machine in proportion to their work, so that all take the same time.

    Parameters
    ----------
    model : Model
    system : System
        Such as ``wse3`` or ``dojo``.
    plan : Plan
        Its batch, sequence and precision; degrees are not used.
    buffer : int
        Micro-batches that fit between two stages.
    changes : int
        Times that the graph changes in a step (as for sequences of other lengths, or other experts).
    reconfiguration_s : float, optional
        Seconds that one change costs; the pipeline drains before it.  By default
        :func:`reconfiguration_seconds`.
    check_memory : bool
        Refuse a model that the machine's memory does not hold.

    Raises
    ------
    DataflowError
        The machine's memory does not hold the model (by how much), or there are more changes than micro-batches.
    """
    from topo.training.regions import crossings, lay_regions
    from topo.training.step import require_chip

    chip = require_chip(system)
    rates = chip_rates(chip)
    whole = Plan(
        seq=plan.seq,
        micro_batch=plan.micro_batch,
        global_batch=plan.batch,
        precision=plan.precision,
        recompute=plan.recompute,
        gradient_bytes=plan.gradient_bytes,
        optimizer_bytes=plan.optimizer_bytes,
    )
    (stage,) = build_stages(model, whole, rates)
    units = stage.chunks[0]
    memory = _memory(model, whole, stage, buffer)
    have = chip.memory_bytes * system.accelerators
    if check_memory and memory > have:
        raise DataflowError(
            f"{model.name} needs {memory / 1e9:,.0f} GB on {system.name} with {have / 1e9:,.0f} GB",
            "stream its weights, take a smaller model, or more machines",
        )
    if changes >= whole.micro_batches:
        raise DataflowError(
            f"{changes} changes of the graph among {whole.micro_batches} micro-batches",
            f"at most {whole.micro_batches - 1}, one before each but the first",
        )
    work = [seconds_of(unit.layer.forward) + seconds_of(unit.layer.backward) for unit in units]
    # One accelerator needs all of the work; in proportion to it, every region needs the same time.
    service = math.fsum(work) / system.accelerators
    moved = 2.0 * whole.micro_tokens * model.hidden
    crossing = crossings(system.fabric, lay_regions(system.fabric, work), moved)
    chain = [service]
    for seconds in crossing.forward:
        chain += [seconds, service]
    chain.append(service)
    for seconds in reversed(crossing.backward):
        chain += [seconds, service]
    runs = [len(part) for part in _parts(whole.micro_batches, changes + 1)]
    steady = whole.micro_batches * max(chain)
    flowing = math.fsum({n: pipeline_finish(chain, n, buffer)[-1] for n in set(runs)}[n] for n in runs)
    update = rates.memory(
        stage.dense
        * (2 * whole.optimizer_bytes + whole.gradient_bytes + whole.parameter_bytes)
        / system.accelerators
    )
    pauses = 0.0
    if changes:
        each = reconfiguration_seconds(system) if reconfiguration_s is None else reconfiguration_s
        pauses = changes * each
    seconds = flowing + pauses + update
    peak = max(chip.flops(plan.precision), chip.peak_flops.get("bf16", 0.0))
    flops = math.fsum(flops_of(u.layer.forward) + flops_of(u.layer.backward) for u in units)
    compute = flops * whole.micro_batches / (peak * system.accelerators)
    links = crossing.link_s * whole.micro_batches
    return DataflowStep(
        step_s=seconds,
        service_s=service,
        crossing_s=max(*crossing.forward, *crossing.backward, 0.0),
        fill_s=flowing - steady,
        reconfiguration_s=pauses,
        update_s=update,
        bound_s=max(compute, links),
        binds="link" if links > compute else "compute",
        bottleneck=crossing.bottleneck,
        tokens_per_s=whole.tokens / seconds,
        memory_bytes=memory,
    )


def _parts(number: int, parts: int) -> list[range]:
    """A number cut as evenly as can be."""
    cuts = [number * i // parts for i in range(parts + 1)]
    return [range(a, b) for a, b in pairwise(cuts)]


def _memory(model: Model, plan: Plan, stage: Stage, buffer: int) -> float:
    states = stage.dense + stage.experts
    states *= plan.parameter_bytes + plan.gradient_bytes + plan.optimizer_bytes
    # A sample's activations stay in a region until its gradient comes back: twice the distance to the end.
    layers = len(stage.chunks[0])
    kept = model.activation_bytes(
        plan.micro_tokens, plan.recompute, seq=plan.seq, moe=model.experts is not None
    )
    flying = sum(min(2 * (layers - i) - 1, plan.micro_batches) for i in range(layers))
    return states + flying * kept + buffer * layers * 2.0 * plan.micro_tokens * model.hidden
