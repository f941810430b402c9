"""Machines that run a model as a pipeline of regions, or stream its weights: wafers and tile meshes.

*Static dataflow*: every layer has a region of the mesh for good, samples flow through.  With service times ``tau_i``
and ``f`` samples of room between two stages, counted from the start of the first to the end of the second, the moment
``x_i(n)`` at which stage ``i`` is done with sample ``n`` follows the max-plus recurrence

    ``x_i(n) = max(x_{i-1}(n), x_i(n-1), x_{i+1}(n-f)) + tau_i``.

The throughput is ``1 / max tau`` from two samples of room on; with one, neighbours take turns.

*Weight streaming*: weights come down a tree to every machine for the forward and again for the backward pass, and
gradients are added on the way up.  A link carries ``2 P b_w`` down and ``P b_g`` up per step, whatever the number of
machines.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from topo.errors import TopoError
from topo.system import System
from topo.training.model import BYTES, Model
from topo.training.plan import Plan
from topo.training.rates import chip_rates
from topo.training.script import flops_of, seconds_of
from topo.training.stages import Stage, build_stages


class DataflowError(TopoError):
    """A mapping that a dataflow machine cannot hold."""


# Static pipelines ---------------------------------------------------------------------------------------


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
class Region:
    """Part of a mesh that holds some layers for good.

    Parameters
    ----------
    name : str
    share : float
        Of the machine's computing power.
    seconds : float
        For one sample, forward and backward.
    """

    name: str
    share: float
    seconds: float


@dataclass(frozen=True)
class DataflowStep:
    """A step of a dataflow machine.

    Parameters
    ----------
    step_s : float
    regions : tuple of Region
    fill_s : float
        Seconds in which the pipeline fills and drains.
    reconfiguration_s : float
        Seconds in which the graph was changed.
    update_s : float
        Seconds of the weights' update.
    tokens_per_s : float
    memory_bytes : float
        Of weights, gradients, optimizer states and activations on the machine.
    """

    step_s: float
    regions: tuple[Region, ...]
    fill_s: float
    reconfiguration_s: float
    update_s: float
    tokens_per_s: float
    memory_bytes: float


def static_dataflow(
    model: Model,
    system: System,
    plan: Plan,
    *,
    buffer: int = 2,
    changes: int = 0,
    reconfiguration_s: float = 0.0,
    check_memory: bool = True,
) -> DataflowStep:
    """A step of a model laid out over the whole machine, every unit of it a region.

    Regions get shares of the machine in proportion to their work, so that all take the same time; activations go from
    each region to the next over the links that cross the boundary between them.

    Parameters
    ----------
    model : Model
    system : System
        Such as ``wse3`` or ``dojo``.
    plan : Plan
        Its batch, sequence and precision; degrees are not used.
    buffer : int
        Micro-batches that fit between two regions.
    changes : int
        Times that the graph changes in a step (as for sequences of other lengths, or other experts).
    reconfiguration_s : float
        Seconds that one change costs; the pipeline drains before it.
    check_memory : bool
        Refuse a model that the machine's memory does not hold.

    Raises
    ------
    DataflowError
        The machine's memory does not hold the model; by how much.
    """
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
    memory = _memory(model, whole, stage, buffer)
    have = chip.memory_bytes * system.accelerators
    if check_memory and memory > have:
        raise DataflowError(
            f"{model.name} needs {memory / 1e9:,.0f} GB on {system.name} with {have / 1e9:,.0f} GB",
            "stream its weights, take a smaller model, or more machines",
        )
    units = stage.chunks[0]
    work = [seconds_of(unit.layer.forward) + seconds_of(unit.layer.backward) for unit in units]
    total = math.fsum(work)
    # One accelerator needs `total`; all of them together, split in proportion to the work, need this for each region.
    each = total / system.accelerators
    crossing = _crossing_seconds(model, whole, system)
    service = max(each, crossing)
    runs = changes + 1
    batches = whole.micro_batches
    fill = (2 * len(units) - 1) * service
    steady = max(batches - runs, 0) * service
    update = rates.memory(
        stage.dense
        * (2 * whole.optimizer_bytes + whole.gradient_bytes + whole.parameter_bytes)
        / system.accelerators
    )
    pauses = changes * reconfiguration_s
    seconds = runs * (fill + service) + steady + pauses + update
    regions = tuple(Region(u.name, w / total, service) for u, w in zip(units, work, strict=True))
    return DataflowStep(seconds, regions, runs * fill, pauses, update, whole.tokens / seconds, memory)


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


def _crossing_seconds(model: Model, plan: Plan, system: System) -> float:
    """Seconds for the activations of a micro-batch to cross the boundary between two regions.

    A region of a mesh with N accelerators and L layers has about sqrt(N / L) accelerators along its edge, each with one
    link across.
    """
    fabric = system.fabric
    edge = max(math.sqrt(system.accelerators / (model.layers + 2)), 1.0)
    return 2 * 2.0 * plan.micro_tokens * model.hidden / (edge * float(fabric.bandwidth.max()))


# Weight streaming ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StreamedStep:
    """A step of machines to which weights are streamed.

    Parameters
    ----------
    step_s : float
    compute_s : float
        Seconds of the kernels alone.
    down_s, up_s : float
        Seconds of the weights' way down (forward and backward) and of the gradients' way up, alone.
    bound_s : float
        ``max(FLOPs / (n peak), 2 P b_w / IO, P b_g / IO)``.
    binds : str
        ``compute``, ``weights`` or ``gradients``.
    tokens_per_s : float
    """

    step_s: float
    compute_s: float
    down_s: float
    up_s: float
    bound_s: float
    binds: str
    tokens_per_s: float


def weight_streaming(
    model: Model,
    plan: Plan,
    *,
    machines: int,
    peak_flops: float,
    io_bandwidth: float,
    efficiency: float = 1.0,
    fan_out: int = 4,
    latency: float = 0.0,
    changes: int = 0,
    reconfiguration_s: float = 0.0,
    backward: float = 2.0,
) -> StreamedStep:
    """A data parallel step of ``machines`` machines whose weights come layer by layer.

    The weights of the next layer come while a layer computes (two layers of room); all sequences of a machine pass a
    layer before the next one comes.

    Parameters
    ----------
    model : Model
    plan : Plan
        Batch, sequence, precision; ``parameter_bytes`` down and ``gradient_bytes`` up.
    machines : int
    peak_flops : float
        Of one machine.
    io_bandwidth : float
        B/s into a machine and out of it.
    efficiency : float
        Share of the peak that kernels reach.
    fan_out : int
        Machines, or nodes of the tree, below one node.
    latency : float
        Seconds of one level of the tree.
    changes : int
        Times that the graph changes in a step.
    reconfiguration_s : float
        Seconds that one change costs.
    backward : float
        FLOPs of the backward pass over those of the forward pass; 3 where all is computed again.

    Raises
    ------
    DataflowError
        The sequences do not divide by the machines.
    """
    if machines < 1 or plan.batch % machines:
        raise DataflowError(
            f"{plan.batch} sequences do not divide by {machines} machines", "take a multiple of the machines"
        )
    if min(peak_flops, io_bandwidth, efficiency) <= 0 or fan_out < 2:
        raise DataflowError("peak, bandwidth and efficiency must be above 0, and the fan-out 2 or more")
    tokens = plan.tokens / machines
    units = build_units(model, plan)
    levels = math.ceil(math.log(machines, fan_out)) if machines > 1 else 0
    speed = peak_flops * efficiency
    down = [unit[0] * plan.parameter_bytes / io_bandwidth for unit in units]
    up = [unit[0] * plan.gradient_bytes / io_bandwidth for unit in units]
    work = [unit[1] * tokens / speed for unit in units]
    # One stream down: all layers forward, then all layers backward; each layer computes when it is there and the layer
    # before is done; the gradients of a layer go up after it, one after the other.
    came = done = sent = levels * latency
    finished: list[float] = []
    sequence = [(d, w, 0.0) for d, w in zip(down, work, strict=True)]
    sequence += [(d, backward * w, u) for d, w, u in reversed(list(zip(down, work, up, strict=True)))]
    for number, (arrival, seconds, gradients) in enumerate(sequence):
        room = finished[number - 2] if number >= 2 else 0.0
        came = max(came, room) + arrival
        done = max(done, came) + seconds
        finished.append(done)
        if gradients:
            sent = max(sent, done) + gradients
    step = max(done, sent) + (levels * latency if machines > 1 else 0.0) + changes * reconfiguration_s
    flops = math.fsum(unit[1] for unit in units) * (1 + backward) * tokens
    parts = {
        "compute": flops / peak_flops,
        "weights": 2 * math.fsum(down),
        "gradients": math.fsum(up),
    }
    binds = max(parts, key=parts.__getitem__)
    return StreamedStep(
        step, flops / speed, 2 * math.fsum(down), math.fsum(up), parts[binds], binds, plan.tokens / step
    )


def build_units(model: Model, plan: Plan) -> list[tuple[float, float]]:
    """Parameters and forward FLOPs per token of the embedding, each layer, and the head."""
    from topo.training.rates import Rates

    rates = Rates("any", dict.fromkeys(BYTES, 1.0), 1.0)
    single = Plan(seq=plan.seq, global_batch=1, precision=plan.precision)
    (stage,) = build_stages(model, single, rates)
    return [(unit.parameters, flops_of(unit.layer.forward) / plan.seq) for unit in stage.chunks[0]]
