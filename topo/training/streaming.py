"""Weight streaming: weights stay outside the machines and come layer by layer, gradients go out.

Weights come down to every machine for the forward and again for the backward pass; gradients go up.  A link of the way
carries ``2 P b_w`` down and ``P b_g`` up for each pass of sequences, whatever the number of machines.

A machine keeps two layers' weights and gradients (the one at work and the one that comes or goes) and what every layer
of the passing sequences leaves for the backward pass.  Sequences that do not fit together pass one after the other, and
the weights come down again for each pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from topo.training.dataflow import DataflowError
from topo.training.memory import RESERVED
from topo.training.model import BYTES, Model
from topo.training.plan import Plan
from topo.training.script import flops_of
from topo.training.stages import build_stages


@dataclass(frozen=True)
class Machine:
    """One of the machines to which weights are streamed.

    Parameters
    ----------
    peak_flops : float
    io_bandwidth : float
        B/s at which weights reach the accelerators that need them, in the forward pass.
    memory_bytes : float
        Of its accelerators.
    efficiency : float
        Share of the peak that kernels reach.
    latency : float
        Seconds of one level of the tree between the memory and the machines.
    fan_out : int
        Machines, or nodes of the tree, below one node.
    beside_bandwidth : float, optional
        B/s of the weights in the backward pass, while gradients go out; ``io_bandwidth`` by default.
    up_bandwidth : float, optional
        B/s of the gradients; ``io_bandwidth`` by default.
    exchange : callable, optional
        Seconds that accelerators of one machine talk to each other in the forward pass of one layer of so many tokens,
        which nothing hides; twice that in the backward pass.
    """

    peak_flops: float
    io_bandwidth: float
    memory_bytes: float = math.inf
    efficiency: float = 1.0
    latency: float = 0.0
    fan_out: int = 4
    beside_bandwidth: float | None = None
    up_bandwidth: float | None = None
    exchange: Callable[[float], float] | None = None

    def __post_init__(self) -> None:
        if min(self.peak_flops, self.io_bandwidth, self.efficiency) <= 0 or self.fan_out < 2:
            raise DataflowError(
                "peak, bandwidth and efficiency of a machine must be above 0, and the fan-out 2 or more"
            )


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
    exchange_s : float
        Seconds that accelerators of one machine talk to each other.
    bound_s : float
        ``max(FLOPs / (n peak), 2 P b_w / IO, P b_g / IO)``.
    binds : str
        ``compute``, ``weights`` or ``gradients``.
    tokens_per_s : float
    passes : int
        Times that the weights come down.
    recompute : str
        Policy of recomputation.
    """

    step_s: float
    compute_s: float
    down_s: float
    up_s: float
    exchange_s: float
    bound_s: float
    binds: str
    tokens_per_s: float
    passes: int = 1
    recompute: str = "none"


def weight_streaming(
    model: Model, plan: Plan, machine: Machine, machines: int = 1, *, backward: float = 2.0
) -> StreamedStep:
    """One pass of all sequences of a data parallel step.

    The weights of the next layer come while a layer computes (two layers of room); all sequences of a machine pass a
    layer before the next one comes.

    Parameters
    ----------
    model : Model
    plan : Plan
        Batch, sequence, precision; ``parameter_bytes`` down and ``gradient_bytes`` up.
    machine : Machine
    machines : int
    backward : float
        FLOPs of the backward pass over those of the forward pass; 3 where all is computed again.

    Raises
    ------
    DataflowError
        The sequences do not divide by the machines.
    """
    _divided(plan, machines)
    tokens = plan.tokens / machines
    units = build_units(model, plan)
    levels = math.ceil(math.log(machines, machine.fan_out)) if machines > 1 else 0
    speed = machine.peak_flops * machine.efficiency
    beside = machine.beside_bandwidth or machine.io_bandwidth
    talk = machine.exchange(tokens) if machine.exchange is not None else 0.0
    # Embedding and head have no exchange of their own.
    talks = [talk if 0 < number < len(units) - 1 else 0.0 for number in range(len(units))]
    down = [unit[0] * plan.parameter_bytes / machine.io_bandwidth for unit in units]
    again = [unit[0] * plan.parameter_bytes / beside for unit in units]
    up = [unit[0] * plan.gradient_bytes / (machine.up_bandwidth or machine.io_bandwidth) for unit in units]
    work = [unit[1] * tokens / speed for unit in units]
    # One stream down: all layers forward, then all layers backward; each layer computes when it is there and the layer
    # before is done; the gradients of a layer go up after it, one after the other.
    came = done = sent = levels * machine.latency
    finished: list[float] = []
    sequence = [(d, w + t, 0.0) for d, w, t in zip(down, work, talks, strict=True)]
    sequence += [
        (d, backward * w + 2 * t, u)
        for d, w, t, u in reversed(list(zip(again, work, talks, up, strict=True)))
    ]
    for number, (arrival, seconds, gradients) in enumerate(sequence):
        room = finished[number - 2] if number >= 2 else 0.0
        came = max(came, room) + arrival
        done = max(done, came) + seconds
        finished.append(done)
        if gradients:
            sent = max(sent, done) + gradients
    step = max(done, sent) + levels * machine.latency
    flops = math.fsum(unit[1] for unit in units) * (1 + backward) * tokens
    parts = {
        "compute": flops / machine.peak_flops,
        "weights": math.fsum(down) + math.fsum(again),
        "gradients": math.fsum(up),
    }
    binds = max(parts, key=parts.__getitem__)
    return StreamedStep(
        step_s=step,
        compute_s=flops / speed,
        down_s=parts["weights"],
        up_s=parts["gradients"],
        exchange_s=3 * math.fsum(talks),
        bound_s=parts[binds],
        binds=binds,
        tokens_per_s=plan.tokens / step,
        recompute=plan.recompute,
    )


def build_units(model: Model, plan: Plan) -> list[tuple[float, float]]:
    """Parameters and forward FLOPs per token of the embedding, each layer, and the head."""
    from topo.training.rates import Rates

    rates = Rates("any", dict.fromkeys(BYTES, 1.0), 1.0)
    single = Plan(seq=plan.seq, global_batch=1, precision=plan.precision)
    (stage,) = build_stages(model, single, rates)
    return [(unit.parameters, flops_of(unit.layer.forward) / plan.seq) for unit in stage.chunks[0]]


# Passes -------------------------------------------------------------------------------------------------


def sequences_at_once(model: Model, plan: Plan, memory_bytes: float) -> int:
    """Sequences whose activations a machine of ``memory_bytes`` holds.

    Raises
    ------
    DataflowError
        Not one does; by how much, and what would help.
    """
    largest = max(parameters for parameters, _ in build_units(model, plan))
    held = 2 * largest * (plan.parameter_bytes + plan.gradient_bytes)
    each = sequence_bytes(model, plan)
    have = memory_bytes * (1.0 - RESERVED)
    count = int((have - held) // each) if have < math.inf else plan.batch
    if count < 1:
        hint = "recompute full" if plan.recompute != "full" else "shorter sequences, or a larger machine"
        raise DataflowError(
            f"two layers of {model.name} and one sequence of {plan.seq} tokens need {(held + each) / 1e9:.1f} GB, the "
            f"machine has {have / 1e9:.1f} GB",
            f"take {hint}",
        )
    return count


def sequence_bytes(model: Model, plan: Plan) -> float:
    """Bytes that all layers keep of one sequence, and what one layer computes again."""
    tokens, dense = float(plan.seq), model.layers - model.moe_layers

    def kept(recompute: str, moe: bool) -> float:
        return model.activation_bytes(tokens, recompute, seq=plan.seq, flash=plan.flash, moe=moe)

    total = dense * kept(plan.recompute, False) if dense else 0.0
    total += model.moe_layers * kept(plan.recompute, True) if model.moe_layers else 0.0
    if plan.recompute != "none":
        total += kept("none", model.moe_layers > 0)
    return total


def passes_of(model: Model, plan: Plan, memory_bytes: float, machines: int) -> int:
    """Passes that a step needs.

    Raises
    ------
    DataflowError
        Not one sequence fits, or the sequences do not divide by the machines.
    """
    _divided(plan, machines)
    each = plan.batch // machines
    return math.ceil(each / min(sequences_at_once(model, plan, memory_bytes), each))


def streaming_in_passes(model: Model, plan: Plan, machine: Machine, machines: int = 1) -> StreamedStep:
    """A step in as many passes as the memory asks for; passes follow each other without overlap.

    Parameters
    ----------
    model, plan, machine, machines
        As :func:`weight_streaming` takes them.

    Raises
    ------
    DataflowError
        Not one sequence fits, or the sequences do not divide by the machines.
    """
    _divided(plan, machines)
    each = plan.batch // machines
    most = min(sequences_at_once(model, plan, machine.memory_bytes), each)
    full, rest = divmod(each, most)
    backward = 3.0 if plan.recompute == "full" else 2.0

    def one(sequences: int) -> StreamedStep:
        part = replace(plan, micro_batch=1, global_batch=sequences * machines)
        return weight_streaming(model, part, machine, machines, backward=backward)

    whole = one(most)
    steps = [whole] * full + ([one(rest)] if rest else [])
    seconds = math.fsum(step.step_s for step in steps)
    compute = math.fsum(step.compute_s for step in steps)
    down, up = math.fsum(step.down_s for step in steps), math.fsum(step.up_s for step in steps)
    bounds = {"compute": compute * machine.efficiency, "weights": down, "gradients": up}
    binds = max(bounds, key=bounds.__getitem__)
    return StreamedStep(
        step_s=seconds,
        compute_s=compute,
        down_s=down,
        up_s=up,
        exchange_s=math.fsum(step.exchange_s for step in steps),
        bound_s=bounds[binds],
        binds=binds,
        tokens_per_s=plan.tokens / seconds,
        passes=len(steps),
        recompute=plan.recompute,
    )


def fastest_streaming(
    model: Model, plan: Plan, policies: Sequence[str], machine: Machine, machines: int = 1
) -> StreamedStep:
    """The fastest of some policies of recomputation: holding less means fewer passes, computing again costs time.

    Parameters
    ----------
    policies : sequence of str
        Such as ``none`` and ``full``.

    Raises
    ------
    DataflowError
        Not one sequence fits under any of them.
    """
    found: list[StreamedStep] = []
    refused: DataflowError | None = None
    for policy in policies:
        try:
            found.append(streaming_in_passes(model, replace(plan, recompute=policy), machine, machines))
        except DataflowError as error:
            refused = error
    if not found:
        raise refused or DataflowError("no policy of recomputation", "name one, such as full")
    return min(found, key=lambda one: one.step_s)


def _divided(plan: Plan, machines: int) -> None:
    if machines < 1 or plan.batch % machines:
        raise DataflowError(
            f"{plan.batch} sequences do not divide by {machines} machines", "take a multiple of the machines"
        )
