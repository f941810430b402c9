"""A parallel plan: how many ways each thing is split, and in which order the work is done."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

from topo.errors import TopoError, nearest
from topo.training.model import BYTES, RECOMPUTE, Model


class PlanError(TopoError):
    """A plan that cannot be: degrees, batches or layers that do not divide, or an unknown choice."""


SCHEDULES = ("1f1b", "gpipe", "interleaved", "zb-h1")
CONTEXT = ("ring", "ulysses")
ATTENTION = ("current", "flash-2", "flash-1")
RINGS = ("fused", "plain")
GRAPHS = ("all", "static", "router", "none")


@dataclass(frozen=True)
class Plan:
    """How a training step is spread over accelerators.

    The accelerators form a block ``pp x dp x cp x tp``; experts are spread over neighbours among the ranks of one
    pipeline stage, and the shards of ZeRO over the data ranks (``dp x cp``).

    What a search may vary, each simulated and held against closed forms: ``tp cp pp dp ep``; ``micro_batch``;
    ``schedule`` and ``virtual_stages``; ``layer_split`` (uneven stages); ``zero`` and ``shard`` (hybrid sharding: the
    ranks of a scale-up domain, say); ``recompute``; ``context``; ``node_limit`` (changes what the model computes);
    ``overlap_tp``, ``bucket_bytes`` and ``prefetch``; ``offload_bandwidth`` (where the machine has it).  The others
    describe the software.

    Parameters
    ----------
    dp, tp, pp, cp, ep : int
        Data, tensor, pipeline, context and expert parallel degrees.
    zero : int
        What the data ranks share instead of copying (ZeRO, arXiv:1910.02054): 0 nothing, 1 optimizer states, 2 also
        gradients, 3 also weights (fully sharded data parallel).
    shard : int or None
        Data ranks that share one copy of the weights (hybrid sharding); all by default.
    sequence_parallel : bool
        Tensor parallel ranks also split what lies between their matrices (arXiv:2205.05198).
    micro_batch : int
        Sequences that one replica works on at once.
    global_batch : int
        Sequences of a step; 0 for one micro-batch per replica and pipeline stage.
    seq : int
        Tokens of a sequence.
    schedule : str
        One of :data:`SCHEDULES`.
    virtual_stages : int
        Chunks of layers on each pipeline stage, for ``interleaved``.
    layer_split : tuple of int or None
        Layers of each chunk in order; by default even, or as even as can be with the embedding and the head counted
        as a layer each.
    recompute : str
        ``none``, ``selective``, ``elementwise`` or ``full``; see :meth:`Model.activation_bytes`.
    precision : str
        Of the matrix products: ``fp32``, ``bf16``, ``fp8`` or ``fp4``.
    context : str
        ``ring`` attention (arXiv:2310.01889) or ``ulysses`` (arXiv:2309.14509).
    ring : str
        How ring attention is written: ``fused``; or ``plain``, which repeats keys and values for all query heads,
        passes their gradients on in 32 bits, and merges its parts by operations one by one (PyTorch's context
        parallelism).
    gradient_bytes : float
        Bytes of one gradient when it is reduced.
    parameter_bytes : float
        Bytes of one weight when it is gathered.
    bucket_bytes : float
        Gradients are reduced in buckets of so many bytes (and parameters gathered); a layer at least.
    prefetch : int
        Layers whose weights are gathered ahead.
    overlap_gradients, overlap_parameters, overlap_tp, overlap_cp, overlap_pp, overlap_ep : bool
        Whether that communication runs beside computation.
    reshard : bool
        ZeRO 3 drops a layer's weights after the forward pass and gathers them again for the backward pass.
    expert_skew : float
        Tokens of the busiest expert rank over the mean.
    flash : bool
        Attention by tiles, whose scores are never stored.
    compiled : bool
        Elementwise operations are fused into few kernels and launches are batched (CUDA graphs, XLA, torch.compile).
    optimizer_bytes : float
        Bytes of optimizer states per parameter, the master copy of the weights included.
    dispatch_bytes : float
        Bytes of one value on its way to an expert (the way back takes 2).
    grouped_experts : bool
        One kernel for all experts of a rank; else one each.
    fused_experts : bool
        Biases and activation functions of experts are part of their products' kernels or of one other.
    graphs : str
        What of a layer with experts is launched as CUDA graphs: ``all``, ``static`` (attention and router, whose sizes
        do not depend on the routing), ``router`` or ``none``; for the rest the host waits to learn how many tokens
        each expert gets.
    deduplicate : bool
        A token crosses to each scale-up domain once, however many of its experts are there (DeepSeek-V3).
    attention : str
        Which fused attention kernels: ``current``, ``flash-2`` (2023) or ``flash-1`` (2022).
    node_limit : int or None
        Scale-up domains that a token may visit at most, below the model's own limit if it has one (node-limited
        routing).
    offload_bandwidth : float
        B/s and direction between an accelerator and the memory of its host, where the optimizer states then stay
        (they come and go for the update); 0 keeps them on the accelerator.
    """

    dp: int = 1
    tp: int = 1
    pp: int = 1
    cp: int = 1
    ep: int = 1
    zero: int = 1
    shard: int | None = None
    sequence_parallel: bool = True
    micro_batch: int = 1
    global_batch: int = 0
    seq: int = 4096
    schedule: str = "1f1b"
    virtual_stages: int = 1
    layer_split: tuple[int, ...] | None = None
    recompute: str = "none"
    precision: str = "bf16"
    context: str = "ring"
    ring: str = "fused"
    gradient_bytes: float = 4.0
    parameter_bytes: float = 2.0
    bucket_bytes: float = 160e6
    prefetch: int = 1
    overlap_gradients: bool = True
    overlap_parameters: bool = True
    overlap_tp: bool = False
    overlap_cp: bool = True
    overlap_pp: bool = True
    overlap_ep: bool = False
    reshard: bool = True
    expert_skew: float = 1.0
    flash: bool = True
    compiled: bool = True
    optimizer_bytes: float = 12.0
    attention: str = "current"
    dispatch_bytes: float = 2.0
    grouped_experts: bool = True
    fused_experts: bool = True
    graphs: str = "all"
    deduplicate: bool = True
    node_limit: int | None = None
    offload_bandwidth: float = 0.0

    def __post_init__(self) -> None:
        for key in ("dp", "tp", "pp", "cp", "ep", "micro_batch", "seq", "virtual_stages"):
            value = getattr(self, key)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise PlanError(f"{key} is {value!r}", "it should be a whole number above 0")
        if self.global_batch < 0:
            raise PlanError(f"a global batch of {self.global_batch} sequences", "give a number above 0")
        if self.prefetch < 0:
            raise PlanError(f"prefetch is {self.prefetch}", "0 gathers each layer when it is needed")
        for key in ("gradient_bytes", "parameter_bytes", "bucket_bytes", "optimizer_bytes", "dispatch_bytes"):
            value = getattr(self, key)
            if not (math.isfinite(value) and value > 0):
                raise PlanError(f"{key} is {value}", "it should be above 0")
        if self.zero not in (0, 1, 2, 3):
            raise PlanError(f"ZeRO stage {self.zero} is unknown", "0, 1, 2 or 3 (fully sharded)")
        _one_of("schedule", self.schedule, SCHEDULES)
        _one_of("recompute policy", self.recompute, RECOMPUTE)
        _one_of("precision", self.precision, tuple(BYTES))
        _one_of("attention", self.attention, ATTENTION)
        _one_of("kind of ring attention", self.ring, RINGS)
        _one_of("kind of graphs", self.graphs, GRAPHS)
        _one_of("context parallelism", self.context, CONTEXT)
        if self.virtual_stages > 1 and self.schedule != "interleaved":
            raise PlanError(
                f"schedule {self.schedule} has no virtual stages, but {self.virtual_stages} are asked for",
                "take schedule interleaved, or one virtual stage",
            )
        if self.schedule == "interleaved" and self.pp < 2:
            raise PlanError("interleaving needs pipeline stages", "give pp of 2 or more, or schedule 1f1b")
        if self.virtual_stages < 2 and self.schedule == "interleaved":
            raise PlanError(
                "interleaving needs 2 or more virtual stages", "give virtual_stages=2 or schedule 1f1b"
            )
        if self.seq % self.cp or (self.tp > 1 and self.sequence_parallel and self.seq // self.cp % self.tp):
            ways = f"cp {self.cp}" + (f" x tp {self.tp}" if self.tp > 1 and self.sequence_parallel else "")
            raise PlanError(
                f"{self.seq} tokens of a sequence do not divide by {ways}", "take a longer sequence"
            )
        if self.data % self.shards:
            raise PlanError(
                f"{self.shards} shards do not divide the {self.data} data ranks (dp {self.dp} x cp {self.cp})",
                f"take one of {_divisors(self.data)}",
            )
        if self.node_limit is not None and self.node_limit < 1:
            raise PlanError(f"node limit {self.node_limit} leaves no domain", "give 1 or more")
        if not (math.isfinite(self.offload_bandwidth) and self.offload_bandwidth >= 0):
            raise PlanError(
                f"offload_bandwidth is {self.offload_bandwidth}",
                "give B/s, or 0 to keep the states where they are",
            )
        if self.expert_skew < 1:
            raise PlanError(f"expert skew {self.expert_skew} is below 1", "1 is an even load")
        if self.stage_ranks % self.ep:
            raise PlanError(
                f"ep {self.ep} does not divide the {self.stage_ranks} ranks of a pipeline stage "
                f"(dp {self.dp} x cp {self.cp} x tp {self.tp})",
                f"take one of {_divisors(self.stage_ranks)}",
            )
        if self.batch % (self.dp * self.micro_batch):
            per = self.dp * self.micro_batch
            down = self.batch // per * per
            near = f"take {down} or {down + per} sequences" if down else f"take {per} sequences or more"
            raise PlanError(
                f"a global batch of {self.batch} sequences does not divide by dp {self.dp} x micro-batch "
                f"{self.micro_batch}",
                near,
            )
        if self.schedule == "interleaved" and self.micro_batches % self.pp:
            raise PlanError(
                f"interleaving needs micro-batches in multiples of the {self.pp} stages, not {self.micro_batches}",
                f"take a global batch in multiples of {self.dp * self.micro_batch * self.pp}, or schedule 1f1b",
            )

    # Derived ------------------------------------------------------------------------------------------

    @property
    def ranks(self) -> int:
        """Accelerators that the plan needs."""
        return self.dp * self.tp * self.pp * self.cp

    @property
    def data(self) -> int:
        """Ranks that hold copies (or shards) of the same weights."""
        return self.dp * self.cp

    @property
    def stage_ranks(self) -> int:
        """Ranks of one pipeline stage."""
        return self.data * self.tp

    @property
    def shards(self) -> int:
        """Data ranks that share one copy."""
        return self.data if self.shard is None else self.shard

    @property
    def batch(self) -> int:
        """Sequences of a step."""
        return self.global_batch or self.dp * self.micro_batch * self.pp

    @property
    def micro_batches(self) -> int:
        """Micro-batches of one replica in a step."""
        return self.batch // (self.dp * self.micro_batch)

    @property
    def tokens(self) -> int:
        """Tokens of a step."""
        return self.batch * self.seq

    @property
    def micro_tokens(self) -> int:
        """Tokens of a micro-batch that one tensor parallel group works on."""
        return self.micro_batch * self.seq // self.cp

    @property
    def chunks(self) -> int:
        """Parts into which the layers are cut: stages times virtual stages."""
        return self.pp * self.virtual_stages

    @cached_property
    def words(self) -> str:
        """The degrees above one and the choices, as in ``tp 8 x pp 4 x dp 16, 1f1b``."""
        degrees = [
            f"{axis} {getattr(self, axis)}" for axis in ("tp", "cp", "pp", "dp") if getattr(self, axis) > 1
        ]
        text = " x ".join(degrees) or "one accelerator"
        text += ", ulysses" if self.cp > 1 and self.context == "ulysses" else ""
        if self.ep > 1:
            text += f", ep {self.ep}"
            text += f" on {self.node_limit} domains a token" if self.node_limit is not None else ""
            text += f" skewed {self.expert_skew:g}" if self.expert_skew > 1 else ""
        if self.pp > 1:
            text += f", {self.schedule}" + (f" v{self.virtual_stages}" if self.virtual_stages > 1 else "")
        text += f", layers {'-'.join(map(str, self.layer_split))}" if self.layer_split is not None else ""
        text += f", ZeRO {self.zero}" if self.data > 1 else ""
        text += f" in shards of {self.shards}" if self.zero and self.shards < self.data else ""
        text += ", optimizer states offloaded" if self.offload_bandwidth else ""
        text += f", recompute {self.recompute}" if self.recompute != "none" else ""
        return f"{text}, {self.micro_batches} x {self.micro_batch} sequences of {self.seq}, {self.precision}"

    def layers_of_chunks(self, model: Model) -> tuple[int, ...]:
        """Layers of each chunk, in the order that a token passes them.

        Where the layers do not divide evenly, the embedding and the head count as a layer each, and what is left over
        goes to the chunks in the middle.

        Raises
        ------
        PlanError
            More chunks than layers, or a ``layer_split`` that does not add up.
        """
        if self.layer_split is not None:
            uneven = len(self.layer_split) != self.chunks or sum(self.layer_split) != model.layers
            if uneven or min(self.layer_split) < 0:
                raise PlanError(
                    f"the split {'-'.join(map(str, self.layer_split))} has {len(self.layer_split)} chunks of "
                    f"{sum(self.layer_split)} layers",
                    f"give {self.chunks} chunks that add up to {model.layers}, such as "
                    f"{'-'.join(map(str, replace(self, layer_split=None).layers_of_chunks(model)))}",
                )
            return self.layer_split
        if self.chunks > model.layers + 2:
            raise PlanError(
                f"{self.pp} stages x {self.virtual_stages} virtual stages are more than the {model.layers} layers of "
                f"{model.name}",
                f"take at most {model.layers + 2} chunks, of which the embedding and the head are two",
            )
        even, rest = divmod(model.layers, self.chunks)
        if even and not rest:
            return (even,) * self.chunks
        even, rest = divmod(model.layers + 2, self.chunks)
        split = [even] * self.chunks
        start = (self.chunks - rest) // 2
        for i in range(start, start + rest):
            split[i] += 1
        split[0] -= 1
        split[-1] -= 1
        return tuple(split)

    def check(self, model: Model, accelerators: int | None = None) -> None:
        """Refuse a plan that the model or the machine does not allow.

        Raises
        ------
        PlanError
            What does not divide, and what would.
        """
        if accelerators is not None and self.ranks != accelerators:
            raise PlanError(
                f"dp {self.dp} x tp {self.tp} x pp {self.pp} x cp {self.cp} = {self.ranks} ranks, but there are "
                f"{accelerators} accelerators",
                _nearest_degrees(self, accelerators),
            )
        if model.heads % self.tp:
            raise PlanError(
                f"tp {self.tp} does not divide the {model.heads} heads of {model.name}",
                f"take one of {_divisors(model.heads)}",
            )
        if self.cp > 1 and self.context == "ulysses" and model.heads % (self.tp * self.cp):
            raise PlanError(
                f"Ulysses splits {model.heads} heads over tp {self.tp} x cp {self.cp}, which does not divide them",
                "take context ring, or smaller degrees",
            )
        if self.ep > 1 and model.experts is None:
            raise PlanError(f"{model.name} has no experts, but ep is {self.ep}", "take ep=1")
        if self.node_limit is not None and model.experts is None:
            raise PlanError(f"{model.name} has no experts, but a node limit is given", "leave it out")
        if model.experts is not None and model.experts.count % self.ep:
            raise PlanError(
                f"ep {self.ep} does not divide the {model.experts.count} experts of {model.name}",
                f"take one of {_divisors(model.experts.count)}",
            )
        if self.expert_skew > 1 and self.expert_skew > self.ep:
            raise PlanError(
                f"expert skew {self.expert_skew} over ep {self.ep}",
                f"one rank gets at most {self.ep} times the mean",
            )
        self.layers_of_chunks(model)

    def with_dp(self, accelerators: int) -> Plan:
        """The same plan with data parallelism over all accelerators that are left.

        Raises
        ------
        PlanError
            The other degrees do not divide the accelerators.
        """
        inner = self.tp * self.pp * self.cp
        if accelerators % inner:
            raise PlanError(
                f"tp {self.tp} x pp {self.pp} x cp {self.cp} = {inner} does not divide {accelerators} accelerators",
                f"take a product of one of {_divisors(accelerators)}",
            )
        return replace(self, dp=accelerators // inner)


def _one_of(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise PlanError(f"{what} {value!r} is unknown", nearest(value, known) or f"one of {', '.join(known)}")


def _divisors(number: int, most: int = 12) -> str:
    found = [k for k in range(1, math.isqrt(number) + 1) if number % k == 0]
    found = sorted({*found, *(number // k for k in found)})
    return ", ".join(map(str, found[:most])) + (f", ... {number}" if len(found) > most else "")


def _nearest_degrees(plan: Plan, accelerators: int) -> str:
    inner = plan.tp * plan.pp * plan.cp
    if accelerators % inner == 0:
        return f"dp={accelerators // inner} would use them all"
    return f"tp x pp x cp must divide {accelerators}; {inner} does not"
