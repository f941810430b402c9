"""Generation with a KV cache: how fast replicas of a model produce tokens, and how fast they only read them.

A decoding step reads every weight once for the whole batch, and every sequence's keys and values; it is bound by
memory bandwidth until the batch is large.  Tensor parallel ranks sum twice a layer, and those sums are small: their
latency counts.  Prefill and scoring are forward passes over whole sequences, bound by computation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from topo.system import System
from topo.training.memory import room
from topo.training.model import BYTES, Model
from topo.training.operation import Operation
from topo.training.placement import Placement
from topo.training.plan import Plan, PlanError
from topo.training.rates import Rates, chip_rates
from topo.training.script import Talk, Work
from topo.training.stages import build_stages
from topo.training.step import require_chip
from topo.training.traffic import Traffic

KERNELS_OF_A_LAYER = 9
"""Kernels of a decoding layer: two norms, the two products and the core of attention, position, the block's products
and activation."""
FORWARD_TOKENS = 8192
"""Tokens of one forward pass of prefill or scoring: short sequences are put together."""


@dataclass(frozen=True)
class Decode:
    """One decoding step of a replica: one token for every sequence of its batch.

    Parameters
    ----------
    batch : float
        Sequences.
    products_s : float
        Matrix products; reading the weights where these bind.
    attention_s : float
        Attention; reading keys and values where these bind.
    communication_s : float
        Sums over the tensor parallel ranks.
    launch_s : float
        Gaps between kernels.
    """

    batch: float
    products_s: float
    attention_s: float
    communication_s: float
    launch_s: float

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.products_s + self.attention_s + self.communication_s + self.launch_s


def kv_bytes_per_token(model: Model, precision: str = "bf16") -> float:
    """Bytes that one token adds to the cache in one layer, on all ranks together (latent where attention is)."""
    if model.latent is not None:
        return (model.latent.value_rank + model.latent.rope) * BYTES[precision]
    return 2.0 * model.kv_heads * model.head_dim * BYTES[precision]


def kv_ways(model: Model, tp: int) -> int:
    """Ranks over which the cache is split: key/value heads at most; a latent cache is copied to every rank."""
    return 1 if model.latent is not None else min(tp, model.kv_heads)


def cached_tokens(model: Model, context: float) -> float:
    """Tokens of one sequence that all layers together keep, windows counted."""
    near = min(context, model.window) if model.window else context
    return (model.layers - model.window_layers) * context + model.window_layers * near


class Replica:
    """Replicas of a model that generate, ``tp`` accelerators each, on all of a system.

    Parameters
    ----------
    model : Model
    system : System
        Its accelerators are a multiple of ``tp``.
    tp : int
    precision : str
        Of weights and products.
    kv_precision : str
        Of the cache.
    ccl : str, optional
    held_bytes : float
        Bytes of each accelerator that others keep (the states of a trainer on the same machines).
    rates : Rates, optional
        Of the kernels; the chip's measured ones by default.

    Raises
    ------
    PlanError
        Weights that do not fit, or degrees that do not divide.
    """

    def __init__(
        self,
        model: Model,
        system: System,
        tp: int,
        *,
        precision: str = "bf16",
        kv_precision: str = "bf16",
        ccl: str | None = None,
        held_bytes: float = 0.0,
        rates: Rates | None = None,
    ) -> None:
        import simpy

        chip = require_chip(system)
        if system.accelerators % tp or model.heads % tp:
            raise PlanError(
                f"tp {tp} does not divide the {system.accelerators} accelerators and the {model.heads} heads",
                "take a power of two",
            )
        self.model, self.tp, self.precision, self.kv_precision = model, tp, precision, kv_precision
        self.rates = rates or chip_rates(chip)
        self.rates.flops(precision)
        self.replicas = system.accelerators // tp
        rank = np.arange(system.accelerators).reshape(1, self.replicas, 1, tp)
        placed = Placement(system.fabric, rank, name="tp,dp")
        self.traffic = Traffic(simpy.Environment(), system, placed, ccl, "isolated")
        self.weight_bytes = model.parameters * BYTES[precision] / tp
        self.cache_bytes = room(chip) - held_bytes - self.weight_bytes
        if self.cache_bytes <= 0:
            raise PlanError(
                f"the weights of {model.name} over tp {tp} need {self.weight_bytes / 1e9:.1f} GB on each accelerator; "
                f"{chip.name} has {(room(chip) - held_bytes) / 1e9:.1f} GB for them",
                "take more ranks for a replica",
            )

    def most_sequences(self, context: float) -> float:
        """Sequences of ``context`` tokens whose cache fits on a replica."""
        each = cached_tokens(self.model, context) * kv_bytes_per_token(self.model, self.kv_precision)
        return self.cache_bytes * kv_ways(self.model, self.tp) / each

    def decode(self, batch: float, context: float) -> Decode:
        """One decoding step of ``batch`` sequences of ``context`` tokens each, on average."""
        m, t, rates = self.model, self.tp, self.rates
        h = float(m.hidden)
        attention_weights = m.attention_matmul_parameters() / t
        one = self._product(batch, attention_weights / h, h)
        dense = self._product(batch, m.matrices * m.ffn / t, h) if m.layers > m.moe_layers else 0.0
        products = m.layers * one + (m.layers - m.moe_layers) * dense
        if m.experts is not None:
            products += m.moe_layers * self._experts(batch)
        products += self._product(batch, m.vocabulary / t, h)
        tokens = cached_tokens(m, context)
        read = batch * tokens * kv_bytes_per_token(m, self.kv_precision) / kv_ways(m, t)
        width = m.query_width + m.value_width
        if m.latent is not None:  # queries meet the latent vectors themselves
            width = m.heads * (2 * m.latent.value_rank + m.latent.rope)
        flops = 2.0 * batch * tokens * width / t
        peak = rates.flops("bf16" if "bf16" in rates.peak else self.precision) * rates.attention_share
        sums = 0.0
        if t > 1:
            size = max(batch, 1.0) * h * 2.0
            sums = 2 * m.layers * self.traffic.seconds(Operation("tp", "all-reduce", size))
        gaps = (KERNELS_OF_A_LAYER * m.layers + 3) * rates.gap
        return Decode(batch, products, max(rates.memory(read), flops / peak), sums, gaps)

    def _product(self, rows: float, columns: float, inner: float) -> float:
        return self.rates.product(rows, columns, inner, self.precision)

    def _experts(self, batch: float) -> float:
        """Router, shared experts and those routed experts that at least one token of the batch goes to.

        Of E experts, ``E (1 - (1 - k/E)^b)`` on average; they lie evenly on the ranks.
        """
        m, e, t = self.model, self.model.experts, self.tp
        assert e is not None
        touched = e.count * (1.0 - (1.0 - e.per_token / e.count) ** batch)
        rows = batch * e.per_token / touched
        seconds = self.rates.product(rows, m.matrices * e.hidden, m.hidden, self.precision, touched / t)
        if e.shared_hidden:
            seconds += self._product(batch, m.matrices * e.shared_hidden / t, m.hidden)
        return seconds + self._product(batch, e.count, m.hidden)

    def forward(self, length: int) -> float:
        """Seconds of a replica for the forward pass of one sequence of ``length`` tokens (prefill, scoring)."""
        seq = math.ceil(length / self.tp) * self.tp
        together = max(FORWARD_TOKENS // seq, 1)
        plan = Plan(
            tp=self.tp,
            dp=self.replicas,
            seq=seq,
            micro_batch=together,
            precision=self.precision,
            zero=0,
        )
        seconds = 0.0
        seen: dict[int, float] = {}
        for stage in build_stages(self.model, plan, self.rates):
            for unit in (unit for chunk in stage.chunks for unit in chunk):
                script = unit.layer.forward
                if id(script) not in seen:
                    seen[id(script)] = self._script(script)
                seconds += seen[id(script)]
        return seconds / together

    def _script(self, script: Sequence[Work | Talk]) -> float:
        total = 0.0
        for item in script:
            if isinstance(item, Work):
                total += item.seconds
                continue
            beside = item.beside.seconds if item.beside else 0.0
            total += max(self.traffic.seconds(item.operation), beside)
        return total
