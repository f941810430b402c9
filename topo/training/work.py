"""What one layer does on one accelerator: kernels with their seconds, and collectives with their bytes.

A layer is a script: items one after the other, each a :class:`Work` (a piece of computation) or a :class:`Talk` (a
collective, alone or beside computation).  Sizes: T tokens of a micro-batch on a tensor parallel group, t tensor
parallel ranks.  With sequence parallelism (Korthikanti et al., arXiv:2205.05198) what lies between the matrices of a
block is split over t, and every all-reduce becomes an all-gather and a reduce-scatter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import comb

from topo.training.model import Model
from topo.training.operation import Operation
from topo.training.plan import Plan
from topo.training.rates import Rates


@dataclass(frozen=True)
class Work:
    """Computation.

    Parameters
    ----------
    what : str
        For timelines: ``attention``, ``mlp``, ...
    seconds : float
    flops : float
        What it computes, recomputation included.
    """

    what: str
    seconds: float
    flops: float = 0.0


@dataclass(frozen=True)
class Talk:
    """A collective of the groups of one axis.

    Parameters
    ----------
    operation : Operation
    beside : Work or None
        Computation that runs at the same time; both must end before the next item.
    parts : int
        Pieces of that computation, of which the first waits for the first piece of the data; 1 if they are
        independent.
    """

    operation: Operation
    beside: Work | None = None
    parts: int = 1


LAUNCHES_OF_A_LAYER = 100
"""Operations of the forward pass of a layer with experts besides the experts' products, counted in Megatron-Core."""
LAUNCHES_OF_A_PRODUCT = 5
"""Operations of one product below 16 bits: itself, and quantising and transposing its inputs."""

Item = Work | Talk
Script = tuple[Item, ...]


@dataclass(frozen=True)
class Layer:
    """Scripts of one layer for one micro-batch.

    Parameters
    ----------
    forward, backward : Script
        The backward pass with the gradients of inputs and weights, and with what is computed again.
    inputs, weights : Script
        The same backward pass in two parts, for schedules that put the weights' gradients off.
    host : (float, float)
        Seconds that the host needs for the forward and the backward pass where it cannot run ahead.
    """

    forward: Script
    backward: Script
    inputs: Script
    weights: Script
    host: tuple[float, float] = (0.0, 0.0)


def merged(script: Sequence[Item]) -> Script:
    """The same script with neighbouring computation put together."""
    found: list[Item] = []
    for item in script:
        last = found[-1] if found else None
        if isinstance(item, Work) and isinstance(last, Work):
            found[-1] = Work(last.what, last.seconds + item.seconds, last.flops + item.flops)
        elif not isinstance(item, Work) or item.seconds > 0:
            found.append(item)
    return tuple(found)


def seconds_of(script: Sequence[Item]) -> float:
    """Seconds of the computation in a script."""
    total = 0.0
    for item in script:
        work = item if isinstance(item, Work) else item.beside
        total += work.seconds if work else 0.0
    return total


def flops_of(script: Sequence[Item]) -> float:
    """FLOPs of a script."""
    total = 0.0
    for item in script:
        work = item if isinstance(item, Work) else item.beside
        total += work.flops if work else 0.0
    return total


class LayerBuilder:
    """Builds the scripts of the layers of one model under one plan on one chip.

    Parameters
    ----------
    model : Model
    plan : Plan
    rates : Rates
    expert_domains : int
        Scale-up domains over which the experts of a group are spread.
    """

    def __init__(self, model: Model, plan: Plan, rates: Rates, expert_domains: int = 1) -> None:
        self.model, self.plan, self.rates = model, plan, rates
        self.expert_domains = expert_domains
        self.tokens = float(plan.micro_tokens)
        self.split = plan.sequence_parallel and plan.tp > 1
        self.outside = self.tokens / plan.tp if self.split else self.tokens
        # Passes over memory of an operation that is not a matrix product: each value read and written once where
        # operations are fused, and the steps of norms and activations one by one where they are not.
        self.passes = 1.0 if plan.compiled else 2.0
        self.cast = 4.0 if plan.precision in ("fp8", "fp4") else 0.0
        self._cache: dict[tuple[bool, bool], Layer] = {}

    def layer(self, number: int) -> Layer:
        """The scripts of a layer, counted from 0."""
        moe, window = self.model.is_moe(number), has_window(self.model, number)
        if (moe, window) not in self._cache:
            self._cache[moe, window] = self._build(moe, window)
        return self._cache[moe, window]

    def _build(self, moe: bool, window: bool) -> Layer:
        attention = self._attention(window)
        rest = self._experts() if moe else self._mlp()
        forward = merged((*attention.forward, *rest.forward))
        again: Script = ()
        if self.plan.recompute == "full":
            again = forward
        elif self.plan.recompute in ("elementwise", "half"):
            again = (self._elementwise_again(moe),)
            if self.plan.recompute == "half":
                again = (*again, self._half_again((*attention.forward, *rest.forward)))
        elif self.plan.recompute == "selective" and not self.plan.flash:
            again = (self._core(window, False),)
        # Recomputation is computed once more, but its last reduce-scatter is not needed.
        if again and isinstance(again[-1], Talk) and again[-1].beside is None:
            again = again[:-1]
        return Layer(
            forward=forward,
            backward=merged((*again, *rest.backward, *attention.backward)),
            inputs=merged((*again, *rest.inputs, *attention.inputs)),
            weights=merged((*rest.weights, *attention.weights)),
            host=self._host() if moe and not self.plan.grouped_experts else (0.0, 0.0),
        )

    # Pieces ---------------------------------------------------------------------------------------------

    def plain(self, what: str, shapes: Sequence[tuple[float, float, float]]) -> Layer:
        """Matrix products alone, as a layer."""
        forward, inputs, weights = (self.products(what, shapes, direction) for direction in "fiw")
        return Layer((forward,), (inputs, weights), (inputs,), (weights,))

    def products(
        self, what: str, shapes: Sequence[tuple[float, float, float]], direction: str, precision: str = ""
    ) -> Work:
        """Matrix products of the forward pass (``f``), of inputs' (``i``) or of weights' gradients (``w``).

        Parameters
        ----------
        what : str
        shapes : sequence of (m, n, k)
            Rows (tokens), columns and inner dimension of the forward products.
        direction : str
        precision : str
            The plan's by default.
        """
        rates, cast = self.rates, 0.0 if precision else self.cast
        precision = precision or self.plan.precision
        seconds = flops = 0.0
        for m, n, k in shapes:
            if min(m, n, k) <= 0:
                continue
            flops += 2.0 * m * n * k
            if direction == "f":
                seconds += rates.product(m, n, k, precision) + rates.memory(cast * m * k)
            elif direction == "i":
                seconds += rates.product(m, k, n, precision) + rates.memory(cast * m * n)
            else:
                # The gradient is added to what earlier micro-batches left: read and written.
                seconds += rates.product(k, n, m, precision, output_bytes=2 * self.plan.gradient_bytes)
        return Work(what, rates.kernels(seconds, len(shapes), self.plan.compiled), flops)

    def _touch(self, what: str, values: float, kernels: float = 1.0) -> Work:
        """An operation that only reads and writes ``values`` 16-bit values."""
        seconds = self.rates.memory(2.0 * values * self.passes)
        return Work(what, self.rates.kernels(seconds, kernels * self.passes, self.plan.compiled))

    def _gather(self, beside: Work | None = None) -> Script:
        return self._tp("all-gather" if self.split else "", beside)

    def _scatter(self, beside: Work | None = None) -> Script:
        return self._tp("reduce-scatter" if self.split else "all-reduce", beside)

    def _tp(self, operation: str, beside: Work | None) -> Script:
        """A collective over the tensor parallel ranks of the activations of a micro-batch."""
        if self.plan.tp == 1 or not operation:
            return (beside,) if beside else ()
        size = self.tokens * self.model.hidden * 2.0
        return (Talk(Operation("tp", operation, size), beside),)

    def _joined(self, collective: Script, work: Work, first: bool) -> Script:
        """A collective and the product that it feeds (or that feeds it), piece by piece where they overlap."""
        if self.plan.overlap_tp and collective and isinstance(collective[0], Talk):
            return (replace(collective[0], beside=work, parts=self.plan.tp),)
        return (*collective, work) if first else (work, *collective)

    def _block(
        self,
        before: Work,
        into: Sequence[tuple[float, float, float]],
        core: tuple[Script, Script],
        out: Sequence[tuple[float, float, float]],
        after: Work,
        what: str,
    ) -> Layer:
        """A block: norm, products in, core, products out, residual; Megatron's order of its backward pass."""
        products = {d: self.products(f"{what} products", into, d) for d in "fiw"}
        results = {d: self.products(f"{what} products", out, d) for d in "fiw"}
        forward = (
            before,
            *self._joined(self._gather(), products["f"], True),
            *core[0],
            *self._joined(self._scatter(), results["f"], False),
            after,
        )
        # A norm's backward pass reads its input and its gradient, writes one, and reads both again for the scale's.
        back_before, back_after = Work(before.what, 2.5 * before.seconds), after
        # The gradient is gathered; the block's input is gathered again beside the gradients of the inputs; and their
        # sum is scattered beside the gradients of the weights.
        start = self._joined(self._gather(), results["i"], True) if self.split else (results["i"],)
        backward = (
            back_after,
            *start,
            results["w"],
            *core[1],
            *self._gather(products["i"]),
            *self._scatter(products["w"]),
            back_before,
        )
        inputs = (back_after, *start, *core[1], *self._gather(products["i"]), *self._scatter(), back_before)
        return Layer(forward, backward, inputs, (results["w"], products["w"]))

    # Blocks ---------------------------------------------------------------------------------------------

    def _attention(self, window: bool) -> Layer:
        m, t = self.model, self.plan.tp
        tokens, h = self.tokens, m.hidden
        if m.latent is None:
            into = [(tokens, (m.query_width + m.kv_width) / t, h)]
        else:
            rank, up = m.latent.query_rank, m.heads * (m.latent.nope + m.latent.value)
            into = [(tokens, m.latent.value_rank + m.latent.rope, h), (tokens, up / t, m.latent.value_rank)]
            into += (
                [(tokens, rank, h), (tokens, m.query_width / t, rank)]
                if rank
                else [(tokens, m.query_width / t, h)]
            )
        rotary = 0.0 if m.positions else 2.0 * (m.query_width + m.kv_width / 2) / t
        rope = self._touch("attention", tokens * rotary) if rotary else Work("attention", 0.0)
        norm = self._touch("norm", 2 * h * self.outside * m.norms / 2)
        residual = self._touch("norm", 3 * h * self.outside + (h * self.outside if m.dropout else 0.0))
        core = (self._core_script(window, False, rope), self._core_script(window, True, rope))
        return self._block(norm, into, core, [(tokens, h, m.value_width / t)], residual, "attention")

    def _core(self, window: bool, backward: bool, part: float = 1.0) -> Work:
        """Attention itself, or a part of it."""
        m, plan = self.model, self.plan
        context = m.mean_context(plan.seq, m.window if window else 0)
        width = (m.query_width + m.value_width) / plan.tp
        head = m.latent.nope if m.latent else m.head_dim
        blocks = 2 * plan.cp if plan.cp > 1 and plan.context == "ring" else 1
        precision = "bf16" if plan.precision in ("fp8", "fp4") else plan.precision
        seconds = self.rates.attention(
            self.tokens * part, context, width, head, plan.seq / blocks, backward, precision, plan.attention
        )
        if not plan.flash:  # scores and probabilities are written and read
            passes = (8.0 if backward else 6.0) * (2.0 if plan.compiled else 3.0)
            seconds += self.rates.memory(passes * self.tokens * part * plan.seq * m.heads / plan.tp)
        flops = (2.5 if backward else 1.0) * 2.0 * self.tokens * part * context * width
        return Work("attention", self.rates.kernels(seconds, 2 if backward else 1, plan.compiled), flops)

    def _core_script(self, window: bool, backward: bool, rope: Work) -> Script:
        """Attention with the exchange of context parallelism."""
        m, plan = self.model, self.plan
        positions = Work("attention", rope.seconds)
        if plan.cp == 1:
            return (positions, self._core(window, backward))
        if plan.context == "ulysses":
            # Queries, keys and values change from split sequences to split heads, and the result back.
            width = (m.query_width + m.kv_width) / plan.tp, m.value_width / plan.tp
            sizes = [self.tokens * w * 2.0 for w in (reversed(width) if backward else width)]
            first, second = (Talk(Operation("cp", "all-to-all", size)) for size in sizes)
            return (positions, first, self._core(window, backward), second)
        size = self.tokens * m.kv_width / plan.tp * 2.0 * (2.0 if backward else 1.0)
        part = self._core(window, backward, 1.0 / plan.cp)
        shift = Operation("cp", "send-recv", size)
        if plan.overlap_cp:
            return (positions, *(Talk(shift, part) for _ in range(plan.cp - 1)), part)
        return (positions, *(item for _ in range(plan.cp - 1) for item in (Talk(shift), part)), part)

    def _activation(self, width: float, tokens: float, backward: bool) -> Work:
        values = (5.0 if backward else 3.0) if self.model.gated else (3.0 if backward else 2.0)
        return self._touch("mlp", values * width * tokens)

    def _mlp(self) -> Layer:
        m, t = self.model, self.plan.tp
        tokens, h = self.tokens, m.hidden
        core = tuple((self._activation(m.ffn / t, tokens, backward),) for backward in (False, True))
        norm = self._touch("norm", 2 * h * self.outside * m.norms / 2)
        residual = self._touch("norm", 3 * h * self.outside + (h * self.outside if m.dropout else 0.0))
        into = [(tokens, (m.matrices - 1) * m.ffn / t, h)]
        return self._block(norm, into, (core[0], core[1]), [(tokens, h, m.ffn / t)], residual, "mlp")

    def _experts(self) -> Layer:
        """Router, dispatch, the experts of this rank, combine; shared experts beside the dispatch."""
        m, plan = self.model, self.plan
        assert m.experts is not None
        e, h = m.experts, m.hidden
        # Either whole experts are spread over ranks, and each tensor parallel rank routes its own tokens to them, or
        # (ep 1) every expert is split like any other matrix.
        sliced = plan.ep == 1 and plan.tp > 1
        mine = self.tokens if sliced else self.outside
        ways = plan.tp if sliced else 1
        local = e.count // plan.ep
        rows = mine * e.per_token * plan.expert_skew / local
        norm = self._touch("norm", 2 * h * self.outside * m.norms / 2)
        residual = self._touch("norm", 3 * h * self.outside)
        router = {d: self.products("router", [(mine, e.count, h)], d) for d in "fiw"}
        # Copies of each token in the order of the ranks, and what arrives in the order of the experts; and back.
        permute = self._touch("router", (1 + 3 * e.per_token) * h * mine, 4)
        width = e.shared_hidden / ways
        shared_shapes = [(mine, (m.matrices - 1) * width, h), (mine, h, width)]
        shared = {d: self.products("mlp", shared_shapes, d) if e.shared_hidden else None for d in "fiw"}
        experts = {d: self._grouped(rows, local, ways, d) for d in "fiw"}
        active = [self._activation(e.hidden / ways, rows * local, backward) for backward in (False, True)]
        there, back = self._exchange(mine, plan.dispatch_bytes), self._exchange(mine, 2.0)
        if sliced:
            size = self.tokens * h * 2.0
            there = Operation("tp", "all-gather", size) if self.split else None
            back = Operation("tp", "reduce-scatter" if self.split else "all-reduce", size)
        none: Script = ()

        def send(operation: Operation | None, beside: Work | None) -> Script:
            if operation is None:
                return (beside,) if beside else none
            if beside is None or plan.overlap_ep:
                return (Talk(operation, beside),)
            return (Talk(operation), beside)

        forward = (
            norm,
            router["f"],
            permute,
            *send(there, shared["f"]),
            experts["f"],
            active[0],
            *send(back, None),
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
            *send(back, shared["i"] and both),
            *middle,
            experts["w"],
            *send(back, None),
            *end,
            router["w"],
        )
        inputs = (*start, *send(back, shared["i"]), *middle, *send(back, None), *end)
        weights = tuple(work for work in (experts["w"], shared["w"], router["w"]) if work)
        return Layer(forward, backward, inputs, weights)

    def _host(self) -> tuple[float, float]:
        """Seconds of the host for a layer with experts whose kernels are launched one by one.

        Each matrix of each expert is a launch, with four more to quantise what it reads below 16 bits.
        """
        assert self.model.experts is not None
        each = LAUNCHES_OF_A_PRODUCT if self.plan.precision in ("fp8", "fp4") else 2
        local = self.model.experts.count // self.plan.ep
        forward = (LAUNCHES_OF_A_LAYER + 2 * each * local) * self.rates.launch
        return forward, 2 * forward

    def _grouped(self, rows: float, local: int, ways: int, direction: str) -> Work:
        """The products of the experts of one rank, ``rows`` tokens each, in one kernel per matrix."""
        m, rates, precision = self.model, self.rates, self.plan.precision
        assert m.experts is not None
        f, h = m.experts.hidden / ways, m.hidden
        seconds = flops = 0.0
        times, local = (1, local) if self.plan.grouped_experts else (local, 1)
        for n, k in (((m.matrices - 1) * f, h), (h, f)):
            flops += 2.0 * rows * n * k * local
            if direction == "f":
                seconds += rates.product(rows, n, k, precision, local) + rates.memory(
                    self.cast * rows * k * local
                )
            elif direction == "i":
                seconds += rates.product(rows, k, n, precision, local) + rates.memory(
                    self.cast * rows * n * local
                )
            else:
                seconds += rates.product(k, n, rows, precision, local, 2 * self.plan.gradient_bytes)
        return Work("experts", rates.kernels(seconds * times, 2 * times, True), flops * times)

    def _exchange(self, mine: float, width: float) -> Operation | None:
        """Dispatch or combine: each token to its experts' ranks."""
        plan, e = self.plan, self.model.experts
        if plan.ep == 1 or e is None:
            return None
        copies = float(e.per_token)
        if self.expert_domains > 1 and plan.deduplicate:
            # A token crosses to each domain once and is copied inside it; what counts is what crosses.
            copies = distinct_groups(self.expert_domains, e.count, e.per_token, e.group_limit)
        size = mine * copies * self.model.hidden * width
        return Operation("ep", "all-to-all", size, skew=plan.expert_skew)

    def _half_again(self, forward: Sequence[Item]) -> Work:
        """Half of what the matrix products of a layer take."""
        found = [item if isinstance(item, Work) else item.beside for item in forward]
        products = [
            w for w in found if w is not None and (w.what == "experts" or w.what.endswith("products"))
        ]
        return Work("recompute", sum(w.seconds for w in products) / 2, sum(w.flops for w in products) / 2)

    def _elementwise_again(self, moe: bool) -> Work:
        """Norms and activation functions once more."""
        m = self.model
        norms = self._touch("recompute", 4 * m.hidden * self.outside, 2)
        width = (
            (m.experts.per_token * m.experts.hidden + m.experts.shared_hidden) if moe and m.experts else m.ffn
        )
        activation = self._activation(width / self.plan.tp, self.tokens, False)
        return Work("recompute", norms.seconds + activation.seconds)


def has_window(model: Model, number: int) -> bool:
    """Whether a layer has the sliding window: those that have are spread evenly."""
    count, layers = model.window_layers, model.layers
    return (number + 1) * count // layers > number * count // layers


def distinct_groups(groups: int, count: int, per_token: int, limit: int) -> float:
    """Expected number of groups of experts that a token visits, of ``groups`` with ``count`` experts in all.

    ``n (1 - C(E - E/n, k) / C(E, k))``, at most the limit of node-limited routing.
    """
    if groups <= 1:
        return 1.0
    each = count // groups
    visited = groups * (1.0 - comb(count - each, per_token) / comb(count, per_token))
    return min(visited, float(limit)) if limit > 1 else visited
