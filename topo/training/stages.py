"""What each pipeline stage holds and does: units of work with the parameters behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from topo.training.model import BYTES, Model
from topo.training.operation import Operation
from topo.training.plan import Plan
from topo.training.rates import Rates
from topo.training.script import Layer, Script, Talk, Work, flops_of
from topo.training.work import LayerBuilder


@dataclass(frozen=True)
class Unit:
    """A layer, the embedding or the head, on one accelerator.

    Parameters
    ----------
    name : str
        ``layer 3``, ``embedding`` or ``head``.
    layer : Layer
        Its scripts.
    dense : float
        Parameters on this accelerator that all data ranks have a copy of.
    experts : float
        Parameters of the experts of this rank.
    """

    name: str
    layer: Layer
    dense: float
    experts: float = 0.0

    @property
    def parameters(self) -> float:
        """Parameters on this accelerator."""
        return self.dense + self.experts


@dataclass(frozen=True)
class Stage:
    """One pipeline stage.

    Parameters
    ----------
    number : int
    chunks : tuple of tuple of Unit
        Its parts of the model, in the order of the forward pass.
    """

    number: int
    chunks: tuple[tuple[Unit, ...], ...]

    @cached_property
    def dense(self) -> float:
        """Parameters that all data ranks copy, on one accelerator."""
        return sum(unit.dense for chunk in self.chunks for unit in chunk)

    @cached_property
    def experts(self) -> float:
        """Parameters of experts on one accelerator."""
        return sum(unit.experts for chunk in self.chunks for unit in chunk)

    @cached_property
    def flops(self) -> float:
        """FLOPs of one micro-batch, forward, backward and what is computed again."""
        return sum(
            flops_of(unit.layer.forward) + flops_of(unit.layer.backward)
            for chunk in self.chunks
            for unit in chunk
        )


def build_stages(model: Model, plan: Plan, rates: Rates, expert_domains: int = 1) -> tuple[Stage, ...]:
    """The stages of a plan.

    ``expert_domains`` are the scale-up domains over which the experts of a group are spread.
    Chunk ``c`` of stage ``i`` is the ``c * pp + i``-th part of the model.
    """
    builder = LayerBuilder(model, plan, rates, expert_domains)
    split = plan.layers_of_chunks(model)
    units: list[list[Unit]] = []
    start = 0
    for count in split:
        units.append([_layer_unit(model, plan, builder, number) for number in range(start, start + count)])
        start += count
    units[0].insert(0, _embedding(model, plan, rates))
    for module in range(model.mtp):
        last = _layer_unit(model, plan, builder, model.layers - 1)
        joint = builder.plain("mtp", [(builder.outside, model.hidden, 2 * model.hidden)])
        tied = _head(model, plan, builder, rates, own=False)
        layer = _together((joint, last.layer, tied.layer))
        dense = last.dense + (2 * model.hidden**2 + 3 * model.hidden) / plan.tp
        units[-1].append(Unit(f"mtp {module}", layer, dense, last.experts))
    units[-1].append(_head(model, plan, builder, rates, own=not model.tied or plan.pp > 1))
    return tuple(
        Stage(i, tuple(tuple(units[c * plan.pp + i]) for c in range(plan.virtual_stages)))
        for i in range(plan.pp)
    )


def _layer_unit(model: Model, plan: Plan, builder: LayerBuilder, number: int) -> Unit:
    dense = (model.attention_parameters() / plan.tp) + model.norm_parameters()
    experts = 0.0
    if model.is_moe(number):
        assert model.experts is not None
        dense += model.shared_parameters()
        experts = model.expert_parameters() * model.experts.count / plan.ep
        if plan.ep == 1 and plan.tp > 1:  # experts split like any other matrix
            experts /= plan.tp
    else:
        dense += model.dense_mlp_parameters() / plan.tp
    return Unit(f"layer {number}", builder.layer(number), dense, experts)


def _embedding(model: Model, plan: Plan, rates: Rates) -> Unit:
    """Look-up: rows read and written; the gradient is added row by row."""
    tokens, h = float(plan.micro_tokens), model.hidden
    forward: list[Work | Talk] = [
        Work("embedding", rates.kernels(rates.memory(4 * h * tokens), 1, plan.compiled))
    ]
    backward: list[Work | Talk] = [
        Work(
            "embedding",
            rates.kernels(rates.memory((2 + 2 * plan.gradient_bytes) * h * tokens), 1, plan.compiled),
        )
    ]
    if plan.tp > 1:
        size = tokens * h * 2.0
        if plan.sequence_parallel:
            forward.append(Talk(Operation("tp", "reduce-scatter", size)))
            backward.insert(0, Talk(Operation("tp", "all-gather", size)))
        else:
            forward.append(Talk(Operation("tp", "all-reduce", size)))
    layer = Layer(tuple(forward), tuple(backward), tuple(backward), ())
    return Unit("embedding", layer, model.embedding_parameters / plan.tp)


def _head(model: Model, plan: Plan, builder: LayerBuilder, rates: Rates, own: bool) -> Unit:
    """Last norm, output matrix, cross-entropy over a vocabulary that is split over the tensor parallel ranks."""
    tokens, h, t = float(plan.micro_tokens), model.hidden, plan.tp
    shape = [(tokens, model.vocabulary / t, h)]
    # The head is kept in 16 bits, as every published recipe does.
    products = {
        d: builder.products("head", shape, d, "bf16" if BYTES[plan.precision] < 2 else "") for d in "fiw"
    }
    # Logits: read in the loss, their gradient written; in 32 bits where operations are not fused.
    values = tokens * model.vocabulary / t
    loss = rates.memory(values * (8.0 if plan.compiled else 20.0))
    gradient = rates.memory(values * (4.0 if plan.compiled else 12.0))
    kernels = 3 if plan.compiled else 8
    size = tokens * h * 2.0
    split = plan.sequence_parallel and t > 1
    gather: Script = (Talk(Operation("tp", "all-gather", size)),) if split else ()
    sums: Script = (Talk(Operation("tp", "all-reduce", tokens * 4.0)),) * 3 if t > 1 else ()
    scatter: Script = ()
    if t > 1:
        scatter = (Talk(Operation("tp", "reduce-scatter" if split else "all-reduce", size), products["w"]),)
    forward: Script = (
        *gather,
        products["f"],
        Work("loss", rates.kernels(loss, kernels, plan.compiled)),
        *sums,
    )
    start = Work("loss", rates.kernels(gradient, kernels, plan.compiled))
    backward: Script = (start, products["i"], *(scatter or (products["w"],)))
    inputs: Script = (
        start,
        products["i"],
        *(Talk(talk.operation) for talk in scatter if isinstance(talk, Talk)),
    )
    final = model.hidden * (2 if model.norm_bias else 1)
    dense = (model.vocabulary * model.hidden / t if own else 0.0) + final
    return Unit("head", Layer(forward, backward, inputs, (products["w"],)), dense)


def _together(parts: Sequence[Layer]) -> Layer:
    """Layers one after the other, as one."""
    return Layer(
        tuple(item for part in parts for item in part.forward),
        tuple(item for part in reversed(parts) for item in part.backward),
        tuple(item for part in reversed(parts) for item in part.inputs),
        tuple(item for part in reversed(parts) for item in part.weights),
    )
