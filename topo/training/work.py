"""What one layer does on one accelerator: kernels with their seconds, and collectives with their bytes.

A layer is a script: items one after the other, each a :class:`~topo.training.script.Work` (a piece of computation) or
a :class:`~topo.training.script.Talk` (a collective, alone or beside computation).  Sizes: T tokens of a micro-batch on
a tensor parallel group, t tensor parallel ranks.  With sequence parallelism (Korthikanti et al., arXiv:2205.05198)
what lies between the matrices of a block is split over t, and every all-reduce becomes an all-gather and a
reduce-scatter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from topo.training.experts import ExpertBlock, beside_others
from topo.training.model import Model
from topo.training.operation import Operation
from topo.training.plan import Plan
from topo.training.rates import Rates
from topo.training.script import Item, Layer, Script, Talk, Work, merged


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
        block = ExpertBlock(self) if moe else None
        rest = block.layer() if block else self._mlp()
        forward = merged((*attention.forward, *rest.forward))
        again: Script = ()
        if self.plan.recompute == "full":
            again = forward
        elif self.plan.recompute in ("elementwise", "half"):
            again = (self._elementwise_again(block),)
            if self.plan.recompute == "half":
                again = (*again, self._half_again((*attention.forward, *rest.forward)))
        elif self.plan.recompute == "selective" and not self.plan.flash:
            again = (self._core(window, False),)
        # Recomputation is computed once more, but its last reduce-scatter is not needed.
        if again and isinstance(again[-1], Talk) and again[-1].beside is None:
            again = again[:-1]
        backward = merged((*again, *rest.backward, *attention.backward))
        inputs = merged((*again, *rest.inputs, *attention.inputs))
        if self.plan.overlap_ep and block:
            forward, backward, inputs = (beside_others(script) for script in (forward, backward, inputs))
        return Layer(
            forward,
            backward,
            inputs,
            merged((*rest.weights, *attention.weights)),
            block.host() if block else (0.0, 0.0),
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

    def touch(self, what: str, values: float, kernels: float = 1.0) -> Work:
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
        rope = self.touch("attention", tokens * rotary) if rotary else Work("attention", 0.0)
        norm = self.touch("norm", 2 * h * self.outside * m.norms / 2)
        residual = self.touch("norm", 3 * h * self.outside + (h * self.outside if m.dropout else 0.0))
        core = (self._core_script(window, False, rope), self._core_script(window, True, rope))
        return self._block(norm, into, core, [(tokens, h, m.value_width / t)], residual, "attention")

    def _core(self, window: bool, backward: bool, part: float = 1.0) -> Work:
        """Attention itself, or a part of it."""
        m, plan = self.model, self.plan
        context = m.mean_context(plan.seq, m.window if window else 0)
        touched = self.rates.touched(context, m.window if window else 0, m.mean_context(plan.seq))
        width = (m.query_width + m.value_width) / plan.tp
        head = m.latent.nope if m.latent else m.head_dim
        blocks = 2 * plan.cp if plan.cp > 1 and plan.context == "ring" else 1
        precision = "bf16" if plan.precision in ("fp8", "fp4") else plan.precision
        seconds = self.rates.attention(
            self.tokens * part, touched, width, head, plan.seq / blocks, backward, precision, plan.attention
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
        columns = m.kv_width if plan.ring == "fused" else m.query_width + m.value_width
        moved = 2.0
        if backward:  # with the gradients of keys and values
            moved += 2.0 if plan.ring == "fused" else 4.0
        part = self._core(window, backward, 1.0 / plan.cp)
        if plan.ring == "plain":
            part = Work(part.what, part.seconds + self._merge(backward), part.flops)
        shift = Operation("cp", "send-recv", self.tokens * columns / plan.tp * moved)
        if plan.overlap_cp:
            return (positions, *(Talk(shift, part) for _ in range(plan.cp - 1)), part)
        return (positions, *(item for _ in range(plan.cp - 1) for item in (Talk(shift), part)), part)

    def _merge(self, backward: bool) -> float:
        """Seconds to merge one part of ring attention into the result by operations one by one.

        Forward: a cast to 32 bits, a difference, a product and a difference of the result's size; backward: sums in 32
        bits of the gradients of queries, keys and values (PyTorch, ``_SDPAMerger`` and its backward pass).
        """
        m = self.model
        size = 10.0 * (2 * m.query_width + m.value_width) if backward else 38.0 * m.value_width
        return self.rates.memory(size * self.tokens / self.plan.tp)

    def activation(self, width: float, tokens: float, backward: bool) -> Work:
        values = (5.0 if backward else 3.0) if self.model.gated else (3.0 if backward else 2.0)
        return self.touch("mlp", values * width * tokens)

    def _mlp(self) -> Layer:
        m, t = self.model, self.plan.tp
        tokens, h = self.tokens, m.hidden
        core = tuple((self.activation(m.ffn / t, tokens, backward),) for backward in (False, True))
        norm = self.touch("norm", 2 * h * self.outside * m.norms / 2)
        residual = self.touch("norm", 3 * h * self.outside + (h * self.outside if m.dropout else 0.0))
        into = [(tokens, (m.matrices - 1) * m.ffn / t, h)]
        return self._block(norm, into, (core[0], core[1]), [(tokens, h, m.ffn / t)], residual, "mlp")

    def _half_again(self, forward: Sequence[Item]) -> Work:
        """Half of what the matrix products of a layer take."""
        found = [item if isinstance(item, Work) else item.beside for item in forward]
        products = [
            w for w in found if w is not None and (w.what == "experts" or w.what.endswith("products"))
        ]
        return Work("recompute", sum(w.seconds for w in products) / 2, sum(w.flops for w in products) / 2)

    def _elementwise_again(self, block: ExpertBlock | None) -> Work:
        """Norms and activation functions once more."""
        norms = self.touch("recompute", 4 * self.model.hidden * self.outside, 2)
        if block:
            seconds = block.recomputed_activation().seconds
            shared = block.experts.shared_hidden / self.plan.tp
            seconds += self.activation(shared, self.tokens, False).seconds if shared else 0.0
        else:
            seconds = self.activation(self.model.ffn / self.plan.tp, self.tokens, False).seconds
        return Work("recompute", norms.seconds + seconds)


def has_window(model: Model, number: int) -> bool:
    """Whether a layer has the sliding window: those that have are spread evenly."""
    count, layers = model.window_layers, model.layers
    return (number + 1) * count // layers > number * count // layers
