"""What a transformer is, as far as a training step can tell: its parameters, FLOPs and bytes.

Formulas: the decoder-only transformer counted matrix by matrix; Megatron's closed form (Narayanan et al.,
arXiv:2104.04473) and the activation counts of Korthikanti et al. (arXiv:2205.05198) follow as special cases.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from topo.errors import TopoError


class ModelError(TopoError):
    """A model that cannot be: a missing field, or sizes that contradict each other."""


BYTES = {"fp32": 4.0, "bf16": 2.0, "fp8": 1.0, "fp4": 0.5}
"""Bytes of one value by precision."""


@dataclass(frozen=True)
class Experts:
    """The mixture of experts in place of a dense feed-forward block.

    Parameters
    ----------
    count : int
        Routed experts of one layer.
    per_token : int
        Experts that process one token.
    hidden : int
        Feed-forward width of one expert.
    shared_hidden : int
        Feed-forward width of the experts that every token passes, all together; 0 for none.
    dense_layers : int
        Layers at the start that keep a dense feed-forward block.
    groups, group_limit : int
        Node-limited routing: experts lie in so many groups, and a token goes to at most so many of them.
    router_bias : bool
        The router has a bias per expert, which balances the load (DeepSeek-V3).
    """

    count: int
    per_token: int
    hidden: int
    shared_hidden: int = 0
    dense_layers: int = 0
    groups: int = 1
    group_limit: int = 1
    router_bias: bool = False


@dataclass(frozen=True)
class Latent:
    """Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434): keys and values from a small latent vector.

    Parameters
    ----------
    query_rank : int
        Width of the queries' latent vector; 0 where queries are projected directly.
    value_rank : int
        Width of the latent vector of keys and values.
    rope : int
        Head width that carries the position.
    nope : int
        Head width of queries and keys without position.
    value : int
        Head width of values.
    """

    query_rank: int
    value_rank: int
    rope: int
    nope: int
    value: int


@dataclass(frozen=True)
class Model:
    """A decoder-only transformer.

    Parameters
    ----------
    name : str
    layers, hidden, heads, kv_heads, head_dim : int
        Blocks, width of the residual stream, query heads, key/value heads, width of one head.
    ffn : int
        Width of the dense feed-forward block.
    vocabulary : int
    gated : bool
        Three feed-forward matrices (SwiGLU, GeGLU) instead of two.
    tied : bool
        One matrix for the embedding and the output.
    positions : int
        Learned position embeddings; 0 for rotary or none.
    bias : bool
        Every matrix has a bias.
    qkv_bias : bool
        The query, key and value projections have one.
    norm_bias : bool
        Norms have a shift beside the scale (LayerNorm, not RMSNorm).
    norms : int
        Norms of a layer.
    qk_norm : bool
        Queries and keys are normalised per head.
    sinks : bool
        One learned attention sink per head (gpt-oss).
    clamped : bool
        The gate's inputs are clamped (gpt-oss).
    window : int
        Tokens that a layer with a sliding window looks back; 0 for none.
    window_layers : int
        How many layers have that window.
    dropout : bool
        Dropout masks are kept for the backward pass.
    experts : Experts or None
    latent : Latent or None
    mtp : int
        Modules of multi-token prediction (DeepSeek-V3), each a layer, a projection and a pass of the head.
    source : str
        The document that the sizes come from.
    """

    name: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocabulary: int
    gated: bool = True
    tied: bool = False
    positions: int = 0
    bias: bool = False
    qkv_bias: bool = False
    norm_bias: bool = False
    norms: int = 2
    qk_norm: bool = False
    sinks: bool = False
    clamped: bool = False
    window: int = 0
    window_layers: int = 0
    dropout: bool = False
    experts: Experts | None = None
    latent: Latent | None = None
    mtp: int = 0
    source: str = ""
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        for key in ("layers", "hidden", "heads", "kv_heads", "head_dim", "vocabulary"):
            if getattr(self, key) < 1:
                raise ModelError(
                    f"model {self.name!r} has {key} {getattr(self, key)}", "give a number above 0"
                )
        if self.ffn < 1 and (self.experts is None or self.experts.dense_layers > 0):
            raise ModelError(
                f"model {self.name!r} has feed-forward width {self.ffn}", "give a number above 0"
            )
        if self.heads % self.kv_heads:
            raise ModelError(
                f"model {self.name!r}: {self.heads} heads cannot share {self.kv_heads} key/value heads evenly",
                "give a number of key/value heads that divides the heads",
            )
        if self.experts and self.experts.per_token > self.experts.count:
            raise ModelError(
                f"model {self.name!r} sends a token to {self.experts.per_token} of {self.experts.count} experts",
                "give at most as many as there are",
            )

    # Sizes of one layer -------------------------------------------------------------------------------

    @property
    def query_width(self) -> int:
        """Columns of all queries of a token."""
        return self.heads * (self.latent.nope + self.latent.rope if self.latent else self.head_dim)

    @property
    def value_width(self) -> int:
        """Columns of the attention's result before the output projection."""
        return self.heads * (self.latent.value if self.latent else self.head_dim)

    @property
    def kv_width(self) -> int:
        """Columns of keys and values of a token as attention reads them (as context parallelism sends them)."""
        if self.latent:
            return self.heads * (self.latent.nope + self.latent.rope + self.latent.value)
        return 2 * self.kv_heads * self.head_dim

    @property
    def moe_layers(self) -> int:
        """Layers with experts."""
        return self.layers - self.experts.dense_layers if self.experts else 0

    @property
    def matrices(self) -> int:
        """Matrices of one feed-forward block."""
        return 3 if self.gated else 2

    def attention_matmul_parameters(self) -> int:
        """Weights of one layer's attention projections."""
        h = self.hidden
        if self.latent is None:
            return h * (self.query_width + self.kv_width) + self.value_width * h
        m = self.latent
        query = h * m.query_rank + m.query_rank * self.query_width if m.query_rank else h * self.query_width
        down = h * (m.value_rank + m.rope)
        up = m.value_rank * self.heads * (m.nope + m.value)
        return query + down + up + self.value_width * h

    def attention_parameters(self) -> int:
        """All parameters of one layer's attention, without the layer's norms."""
        total = self.attention_matmul_parameters()
        if self.latent:
            total += self.latent.query_rank + self.latent.value_rank  # norms of the latent vectors
        if self.bias or self.qkv_bias:
            total += self.query_width + self.kv_width
        if self.bias:
            total += self.hidden
        if self.qk_norm:
            total += 2 * self.head_dim
        if self.sinks:
            total += self.heads
        return total

    def dense_mlp_parameters(self) -> int:
        """All parameters of one dense feed-forward block."""
        bias = (self.matrices - 1) * self.ffn + self.hidden if self.bias else 0
        return self.matrices * self.hidden * self.ffn + bias

    def expert_parameters(self) -> int:
        """All parameters of one routed expert."""
        if self.experts is None:
            return 0
        bias = (self.matrices - 1) * self.experts.hidden + self.hidden if self.bias else 0
        return self.matrices * self.hidden * self.experts.hidden + bias

    def shared_parameters(self) -> int:
        """Parameters of one layer with experts that every token uses besides attention: router and shared experts."""
        if self.experts is None:
            return 0
        router = self.hidden * self.experts.count + (
            self.experts.count if self.bias or self.experts.router_bias else 0
        )
        return router + self.matrices * self.hidden * self.experts.shared_hidden

    def norm_parameters(self) -> int:
        """Parameters of the norms of one layer."""
        return self.norms * self.hidden * (2 if self.norm_bias else 1)

    def layer_parameters(self, layer: int = -1) -> int:
        """All parameters of a layer (counted from 0; the last by default), with all its experts."""
        total = self.attention_parameters() + self.norm_parameters()
        if self.is_moe(layer):
            assert self.experts is not None
            return total + self.shared_parameters() + self.experts.count * self.expert_parameters()
        return total + self.dense_mlp_parameters()

    def is_moe(self, layer: int = -1) -> bool:
        """Whether a layer has experts."""
        return self.experts is not None and layer % self.layers >= self.experts.dense_layers

    # The whole model ----------------------------------------------------------------------------------

    @property
    def embedding_parameters(self) -> int:
        """Parameters of the token and position embeddings."""
        return (self.vocabulary + self.positions) * self.hidden

    @property
    def head_parameters(self) -> int:
        """Parameters of the output matrix that are not the embedding's."""
        return 0 if self.tied else self.vocabulary * self.hidden

    @property
    def mtp_parameters(self) -> int:
        """Parameters of the modules of multi-token prediction."""
        joint = 2 * self.hidden * self.hidden + 3 * self.hidden
        return self.mtp * (self.layer_parameters() + joint)

    @property
    def parameters(self) -> int:
        """All of them."""
        dense = self.layers - self.moe_layers
        body = self.moe_layers * self.layer_parameters() if self.moe_layers else 0
        body += dense * (self.attention_parameters() + self.norm_parameters() + self.dense_mlp_parameters())
        final = self.hidden * (2 if self.norm_bias else 1)
        return body + self.embedding_parameters + self.head_parameters + final + self.mtp_parameters

    @property
    def active_parameters(self) -> int:
        """Parameters that one token meets."""
        if self.experts is None:
            return self.parameters
        idle = (self.experts.count - self.experts.per_token) * self.expert_parameters()
        return self.parameters - (self.moe_layers + self.mtp) * idle

    # FLOPs --------------------------------------------------------------------------------------------

    def mean_context(self, seq: int, window: int = 0, causal: bool = True) -> float:
        """Keys that a query looks at, on average over a sequence of ``seq`` tokens: exactly (s + 1) / 2 if causal."""
        if not causal:
            return float(seq)
        if not window or window >= seq:
            return (seq + 1) / 2
        return (window * (window + 1) / 2 + (seq - window) * window) / seq

    def attention_flops(self, seq: int, layer_window: int = 0, causal: bool = True) -> float:
        """Forward FLOPs per token of the scores and the weighted sum of one layer."""
        return 2 * self.mean_context(seq, layer_window, causal) * (self.query_width + self.value_width)

    def mlp_flops(self, moe: bool) -> float:
        """Forward FLOPs per token of one layer's feed-forward block, with router and shared experts."""
        if not moe or self.experts is None:
            return 2.0 * self.matrices * self.hidden * self.ffn
        e = self.experts
        width = e.per_token * e.hidden + e.shared_hidden
        return 2.0 * self.hidden * (e.count + self.matrices * width)

    def forward_flops(self, seq: int, causal: bool = True) -> float:
        """Model FLOPs per token of a forward pass: every matrix product once, causal attention halved.

        The embedding look-up is not counted, the output matrix is.
        """
        dense = self.layers - self.moe_layers
        total = 2.0 * self.layers * self.attention_matmul_parameters()
        total += dense * self.mlp_flops(False) + self.moe_layers * self.mlp_flops(True)
        total += (self.layers - self.window_layers) * self.attention_flops(seq, 0, causal)
        total += self.window_layers * self.attention_flops(seq, self.window, causal)
        head = 2.0 * self.vocabulary * self.hidden
        one_more = 2.0 * (self.attention_matmul_parameters() + 2 * self.hidden**2)
        one_more += self.attention_flops(seq, 0, causal) + self.mlp_flops(self.is_moe()) + head
        return total + head + self.mtp * one_more

    def step_flops(self, seq: int, tokens: float, causal: bool = True) -> float:
        """Model FLOPs of a training step of ``tokens`` tokens: the backward pass is twice the forward pass."""
        return 3.0 * self.forward_flops(seq, causal) * tokens

    # Bytes --------------------------------------------------------------------------------------------

    def activation_bytes(
        self,
        tokens: float,
        recompute: str = "none",
        *,
        seq: int = 0,
        tp: int = 1,
        sequence_parallel: bool = True,
        flash: bool = True,
        moe: bool = False,
    ) -> float:
        """Bytes that one layer keeps for its backward pass, per accelerator, in 16-bit values.

        Parameters
        ----------
        tokens : float
            Tokens of a micro-batch on the tensor-parallel group (s b / cp).
        recompute : str
            ``none``; ``selective``: attention scores are computed again; ``elementwise``: besides, norms and
            activation functions; ``half``: besides, every second matrix product; ``full``: all but the layer's
            input.
        seq : int
            Needed where the scores are kept (``flash=False``).
        tp : int
            Tensor-parallel ranks.
        sequence_parallel : bool
            The parts between tensor-parallel matrices are split too.
        flash : bool
            Attention by tiles, whose scores are never stored.
        moe : bool
            A layer with experts.

        Notes
        -----
        Korthikanti et al., arXiv:2205.05198, equations 1 to 6: ``s b h (34 + 5 a s / h)`` for a GPT block.
        """
        h = self.hidden
        shared = 1.0 / tp if sequence_parallel else 1.0
        if recompute == "full":
            return 2.0 * h * tokens * shared
        outside = 4.0 * h  # the inputs of the two norms
        inside = 4.0 * h  # their results, which the projections read
        masks = 2.0 * h if self.dropout else 0.0
        projected = 2.0 * (self.query_width + self.kv_width) + 2.0 * self.value_width
        if self.latent:
            projected += 2.0 * (self.latent.query_rank + self.latent.value_rank)
        if moe and self.experts:
            width = self.experts.per_token * self.experts.hidden + self.experts.shared_hidden
            inside += 2.0 * h * self.experts.per_token  # the dispatched copies
        else:
            width = self.ffn
        hidden = 2.0 * self.matrices * width
        if recompute in ("elementwise", "half"):
            inside = 0.0
            hidden = 2.0 * (self.matrices - 1) * width
        if recompute == "half":
            projected, hidden = projected / 2, hidden / 2
        total = tokens * ((outside + inside + masks) * shared + (projected + hidden) / tp)
        if not flash and recompute == "none":
            total += 5.0 * self.heads * seq * tokens / tp
        return total


RECOMPUTE = ("none", "selective", "elementwise", "half", "full")
"""Policies of :meth:`Model.activation_bytes`."""
