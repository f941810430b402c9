"""A block with experts on one accelerator: router, dispatch, the experts of this rank, combine."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from typing import TYPE_CHECKING

from topo.training.operation import Operation
from topo.training.script import Item, Layer, Script, Talk, Work

if TYPE_CHECKING:
    from topo.training.work import LayerBuilder

ATTENTION_LAUNCHES = 70
"""Operations of the forward pass of attention and norms.  This and the two below are fits, to steps of Qwen3 30B on
H100 and B200 that the host limits, with and without CUDA graphs."""
ROUTER_LAUNCHES = 70
"""Operations of the router and of what prepares the dispatch; Megatron-Core's guide for GB200 counts 31 to 72 in the
router alone (github:NVIDIA/Megatron-LM docs/discussions/deepseek-v3-gb200-optimization)."""
ROUTED_LAUNCHES = 100
"""Operations whose sizes the routing sets, besides the experts' products: dispatch, permutations, combine."""
LAUNCHES_OF_A_BIAS = 4
"""Operations of the bias of one expert where it is an operation of its own."""
LAUNCHES_OF_A_PRODUCT = 5
"""Operations of one product below 16 bits: itself, and quantising and transposing its inputs."""
BIAS_PASSES = (14.0, 20.0)
"""Values of 16 bits moved per value of the result in the forward and backward pass where the experts' last bias is an
operation of its own: bias times probability in 32 bits, sum, concatenation of the experts and cast
(Megatron-Core, ``TEGroupedMLP._apply_bias``)."""
CLAMP_PASSES = (8.0, 10.0)
"""The same for clamping both halves of the first product and putting them together again
(Megatron-Core, ``weighted_bias_quick_geglu_impl``)."""


class ExpertBlock:
    """The block of a layer with experts, after attention.

    Parameters
    ----------
    builder : LayerBuilder
        Of the layers that it belongs to.
    """

    def __init__(self, builder: LayerBuilder) -> None:
        m, plan = builder.model, builder.plan
        assert m.experts is not None
        self.builder, self.experts = builder, m.experts
        # Either whole experts are spread over ranks, and each tensor parallel rank routes its own tokens to them, or
        # (ep 1) every expert is split like any other matrix.
        self.sliced = plan.ep == 1 and plan.tp > 1
        self.mine = builder.tokens if self.sliced else builder.outside
        self.ways = plan.tp if self.sliced else 1
        self.local = m.experts.count // plan.ep
        self.rows = self.mine * m.experts.per_token * plan.expert_skew / self.local

    def layer(self) -> Layer:
        """Scripts of the block."""
        b, e = self.builder, self.experts
        m, plan, h = b.model, b.plan, b.model.hidden
        norm = b.touch("norm", 2 * h * b.outside * m.norms / 2)
        residual = b.touch("norm", 3 * h * b.outside)
        router = {d: b.products("router", [(self.mine, e.count, h)], d) for d in "fiw"}
        # Copies of each token in the order of the ranks, and what arrives in the order of the experts; and back.
        permute = b.touch("router", (1 + 3 * e.per_token) * h * self.mine, 4)
        width = e.shared_hidden / self.ways
        shared_shapes = [(self.mine, (m.matrices - 1) * width, h), (self.mine, h, width)]
        shared = {d: b.products("mlp", shared_shapes, d) if e.shared_hidden else None for d in "fiw"}
        experts = {d: self._grouped(d) for d in "fiw"}
        active = [self._activation(backward) for backward in (False, True)]
        there, back = self._exchange(plan.dispatch_bytes), self._exchange(2.0)
        if self.sliced:
            size = b.tokens * h * 2.0
            there = Operation("tp", "all-gather", size) if b.split else None
            back = Operation("tp", "reduce-scatter" if b.split else "all-reduce", size)
        forward = (
            norm,
            router["f"],
            permute,
            *self._send(there, shared["f"]),
            experts["f"],
            active[0],
            *self._send(back, None),
            permute,
            residual,
        )
        start = (residual, permute)
        middle = (experts["i"], active[1])
        end = (permute, router["i"], Work("norm", 2.5 * norm.seconds))
        shared_both = [work for work in (shared["i"], shared["w"]) if work]
        both = Work("mlp", sum(w.seconds for w in shared_both), sum(w.flops for w in shared_both))
        backward = (
            *start,
            *self._send(back, shared["i"] and both),
            *middle,
            experts["w"],
            *self._send(back, None),
            *end,
            router["w"],
        )
        inputs = (*start, *self._send(back, shared["i"]), *middle, *self._send(back, None), *end)
        weights = tuple(work for work in (experts["w"], shared["w"], router["w"]) if work)
        return Layer(forward, backward, inputs, weights)

    def host(self) -> tuple[float, float]:
        """Seconds of the host for the forward and the backward pass of the layer.

        Where the sizes of products depend on the routing, the host learns them from the device, so that it cannot run
        ahead.  Each matrix of each expert is a launch, with four more to quantise what it reads below 16 bits.
        """
        plan = self.builder.plan
        if plan.graphs == "all":
            return 0.0, 0.0
        each = 2 * (LAUNCHES_OF_A_PRODUCT if plan.precision in ("fp8", "fp4") else 2)
        if self.builder.model.bias and not plan.fused_experts:
            each += LAUNCHES_OF_A_BIAS
        launches = ROUTED_LAUNCHES + each * (1 if plan.grouped_experts else self.local)
        launches += ROUTER_LAUNCHES if plan.graphs == "none" else 0
        launches += ATTENTION_LAUNCHES if plan.graphs in ("none", "router") else 0
        forward = launches * self.builder.rates.launch
        return forward, 2 * forward

    def recomputed_activation(self) -> Work:
        """The experts' activation once more."""
        return self._activation(False, bias=False)

    # Pieces ---------------------------------------------------------------------------------------------

    def _send(self, operation: Operation | None, beside: Work | None) -> Script:
        if operation is None:
            return (beside,) if beside else ()
        if beside is None or self.builder.plan.overlap_ep:
            return (Talk(operation, beside),)
        return (Talk(operation), beside)

    def _activation(self, backward: bool, bias: bool = True) -> Work:
        """Activation functions, and biases and clamps where they are operations of their own."""
        b, m = self.builder, self.builder.model
        width, rows = self.experts.hidden / self.ways, self.rows * self.local
        work = b.activation(width, rows, backward)
        values = 0.0
        if not b.plan.fused_experts:
            values += CLAMP_PASSES[backward] * width if m.clamped else 0.0
            values += BIAS_PASSES[backward] * m.hidden if m.bias and bias else 0.0
        return Work("mlp", work.seconds + b.rates.memory(2.0 * values * rows))

    def _grouped(self, direction: str) -> Work:
        """The products of the experts of one rank, ``rows`` tokens each, in one kernel per matrix."""
        b, rows = self.builder, self.rows
        m, rates, plan = b.model, b.rates, b.plan
        precision, cast = plan.precision, b.cast
        f, h = self.experts.hidden / self.ways, m.hidden
        seconds = flops = 0.0
        times, local = (1, self.local) if plan.grouped_experts else (self.local, 1)
        for n, k in (((m.matrices - 1) * f, h), (h, f)):
            flops += 2.0 * rows * n * k * local
            if direction == "f":
                seconds += rates.product(rows, n, k, precision, local) + rates.memory(cast * rows * k * local)
            elif direction == "i":
                seconds += rates.product(rows, k, n, precision, local) + rates.memory(cast * rows * n * local)
            else:
                seconds += rates.product(k, n, rows, precision, local, 2 * plan.gradient_bytes)
        return Work("experts", rates.kernels(seconds * times, 2 * times, True), flops * times)

    def _exchange(self, width: float) -> Operation | None:
        """Dispatch or combine: each token to its experts' ranks."""
        plan, e, domains = self.builder.plan, self.experts, self.builder.expert_domains
        if plan.ep == 1:
            return None
        copies = float(e.per_token)
        if domains > 1 and plan.deduplicate:
            # A token crosses to each domain once and is copied inside it; what counts is what crosses.
            copies = distinct_groups(domains, e.count, e.per_token, e.group_limit)
            if plan.node_limit is not None:
                copies = min(copies, float(plan.node_limit))
        size = self.mine * copies * self.builder.model.hidden * width
        return Operation("ep", "all-to-all", size, skew=plan.expert_skew)


def beside_others(script: Sequence[Item]) -> Script:
    """The script of a layer whose exchanges of tokens run beside the computation of another micro-batch.

    Two micro-batches take turns, one in its forward and one in its backward pass (Megatron-Core, 1F1B with exchanges of
    experts overlapped), so that each exchange has an even share of the computation beside it.
    """
    exchanges = [item for item in script if isinstance(item, Talk) and item.operation.axis == "ep"]
    if not exchanges:
        return tuple(script)
    free = [item for item in script if isinstance(item, Work)]
    free += [item.beside for item in exchanges if item.beside]
    share = 1.0 / len(exchanges)
    work = Work("layer", share * sum(w.seconds for w in free), share * sum(w.flops for w in free))
    found: list[Item] = []
    for item in script:
        if isinstance(item, Talk):
            found.append(Talk(item.operation, work) if item.operation.axis == "ep" else item)
    return tuple(found)


def distinct_groups(groups: int, count: int, per_token: int, limit: int) -> float:
    """Expected number of groups of experts that a token visits, of ``groups`` with ``count`` experts in all.

    ``n (1 - C(E - E/n, k) / C(E, k))``, at most the limit of node-limited routing.
    """
    if groups <= 1:
        return 1.0
    each = count // groups
    visited = groups * (1.0 - comb(count - each, per_token) / comb(count, per_token))
    return min(visited, float(limit)) if limit > 1 else visited
