"""Weight streaming within a machine's memory: how many sequences pass at once, and what a step of several passes takes.

Weights and optimizer states are outside; a machine keeps two layers' weights and gradients (the one at work and the
one that comes or goes) and what every layer of the passing sequences leaves for the backward pass.  Sequences that do
not fit together pass one after the other, and the weights come down again for each pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from topo.training.dataflow import DataflowError, StreamedStep, build_units, weight_streaming
from topo.training.memory import RESERVED
from topo.training.model import Model
from topo.training.plan import Plan


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
    count = int((have - held) // each) if have < float("inf") else plan.batch
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


def streaming_in_passes(
    model: Model,
    plan: Plan,
    *,
    machines: int,
    memory_bytes: float,
    peak_flops: float,
    io_bandwidth: float,
    efficiency: float = 1.0,
    latency: float = 0.0,
    changes: int = 0,
    reconfiguration_s: float = 0.0,
) -> tuple[StreamedStep, int]:
    """A step in as many passes as the memory asks for.

    Parameters
    ----------
    memory_bytes : float
        Of one machine; the other parameters as :func:`~topo.training.dataflow.weight_streaming` takes them.

    Returns
    -------
    StreamedStep and int
        The step, and the passes.  Passes follow each other without overlap.

    Raises
    ------
    DataflowError
        Not one sequence fits, or the sequences do not divide by the machines.
    """
    if machines < 1 or plan.batch % machines:
        raise DataflowError(
            f"{plan.batch} sequences do not divide by {machines} machines", "take a multiple of the machines"
        )
    each = plan.batch // machines
    most = min(sequences_at_once(model, plan, memory_bytes), each)
    full, rest = divmod(each, most)

    def one(sequences: int) -> StreamedStep:
        return weight_streaming(
            model,
            replace(plan, micro_batch=1, global_batch=sequences * machines),
            machines=machines,
            peak_flops=peak_flops,
            io_bandwidth=io_bandwidth,
            efficiency=efficiency,
            latency=latency,
            backward=3.0 if plan.recompute == "full" else 2.0,
        )

    whole = one(most)
    steps = [whole] * full + ([one(rest)] if rest else [])
    pauses = changes * reconfiguration_s
    seconds = pauses + sum(step.step_s for step in steps)
    down, up = sum(step.down_s for step in steps), sum(step.up_s for step in steps)
    compute = sum(step.compute_s for step in steps)
    bounds = {"compute": compute * efficiency, "weights": down, "gradients": up}
    binds = max(bounds, key=bounds.__getitem__)
    return (
        StreamedStep(seconds, compute, down, up, bounds[binds], binds, plan.tokens / seconds),
        len(steps),
    )


def fastest_streaming(
    model: Model, plan: Plan, policies: Sequence[str], **machine: Any
) -> tuple[StreamedStep, int, str]:
    """The fastest of some policies of recomputation: holding less means fewer passes, computing again costs time.

    Parameters
    ----------
    policies : sequence of str
        Such as ``none`` and ``full``.
    machine : keywords
        As :func:`streaming_in_passes` takes them.

    Returns
    -------
    StreamedStep, int and str
        The step, the passes, and the policy.

    Raises
    ------
    DataflowError
        Not one sequence fits under any of them.
    """
    found: list[tuple[StreamedStep, int, str]] = []
    refused: DataflowError | None = None
    for policy in policies:
        try:
            step, passes = streaming_in_passes(model, replace(plan, recompute=policy), **machine)
        except DataflowError as error:
            refused = error
            continue
        found.append((step, passes, policy))
    if not found:
        raise refused or DataflowError("no policy of recomputation", "name one, such as full")
    return min(found, key=lambda one: one[0].step_s)
