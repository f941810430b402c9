"""Reads a model from a Hugging Face ``config.json`` as it stands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from topo.errors import nearest
from topo.training.model import Experts, Latent, Model, ModelError


@dataclass(frozen=True)
class Family:
    """What the code of a model type fixes without saying so in its config.

    Parameters
    ----------
    gated : bool
        Three feed-forward matrices.
    tied : bool
        Default of ``tie_word_embeddings``.
    bias, qkv_bias, norm_bias, qk_norm, sinks, clamped : bool
        As in :class:`Model`.
    norms : int
        Norms of a layer.
    learned : bool
        Learned position embeddings.
    window : str
        Which layers have the sliding window: ``none``, ``all``, ``alternate`` or ``pattern`` (all but each sixth).
    """

    gated: bool = True
    tied: bool = False
    bias: bool = False
    qkv_bias: bool = False
    norm_bias: bool = False
    qk_norm: bool = False
    sinks: bool = False
    clamped: bool = False
    norms: int = 2
    learned: bool = False
    window: str = "none"
    dropout: bool = False


FAMILIES = {
    "llama": Family(),
    "mistral": Family(window="all"),
    "mixtral": Family(),
    "qwen2": Family(qkv_bias=True),
    "qwen2_moe": Family(qkv_bias=True),
    "qwen3": Family(qk_norm=True),
    "qwen3_moe": Family(qk_norm=True),
    "deepseek_v3": Family(),
    "nemotron": Family(gated=False, norm_bias=True),
    "grok-1": Family(norms=4),
    "gpt_oss": Family(bias=True, sinks=True, clamped=True, window="alternate"),
    "gemma3_text": Family(tied=True, qk_norm=True, norms=4, window="pattern"),
    "gpt2": Family(
        gated=False, tied=True, bias=True, qkv_bias=True, norm_bias=True, learned=True, dropout=True
    ),
    "mpt": Family(gated=False, tied=True, learned=True),
}
"""Model types whose code was read; others are read as ``llama`` if their config says all that is needed."""

GEMMA_PATTERN = 6
"""Of so many layers, one sees everything (Gemma 3 report, arXiv:2503.19786)."""


class _Fields:
    """The fields of one config; says which one is missing."""

    def __init__(self, config: Mapping[str, Any], where: str) -> None:
        self.config = config
        self.where = where

    def get(self, *names: str, default: int | None = None) -> int:
        for name in names:
            value = self.config.get(name)
            if value is None:
                continue
            if (
                isinstance(value, bool)
                or not isinstance(value, int | float)
                or value != int(value)
                or value < 0
            ):
                raise ModelError(f"{self.where}: {name} is {value!r}", "it should be a whole number")
            return int(value)
        if default is None:
            others = f" (also read as {', '.join(names[1:])})" if len(names) > 1 else ""
            near = nearest(names[0], self.config)
            raise ModelError(f"{self.where} has no {names[0]}{others}", near or "add it")
        return default

    def flag(self, name: str, default: bool) -> bool:
        value = self.config.get(name, default)
        if not isinstance(value, bool):
            raise ModelError(f"{self.where}: {name} is {value!r}", "it should be true or false")
        return value


def from_config(config: Mapping[str, Any], name: str, where: str = "", source: str = "") -> Model:
    """The model that a Hugging Face config describes.

    Parameters
    ----------
    config : mapping
        The content of ``config.json``.
    name : str
        What to call the model.
    where : str
        What to call the config in errors.
    source : str
        The document.

    Raises
    ------
    ModelError
        A field is missing or senseless; it is named.
    """
    where = where or f"the config of {name}"
    if not isinstance(config, Mapping):
        raise ModelError(f"{where} is no JSON object", "give a Hugging Face config.json")
    if isinstance(config.get("text_config"), Mapping):
        config = config["text_config"]
    kind = str(config.get("model_type", ""))
    known = kind in FAMILIES
    family = FAMILIES.get(kind, Family(gated=config.get("hidden_act", "silu") in ("silu", "swish")))
    fields = _Fields(config, where)
    hidden = fields.get("hidden_size", "n_embd", "d_model")
    layers = fields.get("num_hidden_layers", "n_layer", "n_layers")
    heads = fields.get("num_attention_heads", "n_head", "n_heads")
    kv_heads = fields.get("num_key_value_heads", default=heads)
    head_dim = fields.get("head_dim", default=hidden // max(heads, 1))
    experts = _experts(fields)
    every = {"gpt2": 4 * hidden, "mpt": fields.get("expansion_ratio", default=4) * hidden}.get(kind)
    ffn = fields.get(
        "intermediate_size", "n_inner", "ffn_hidden_size", default=every or (0 if experts else None)
    )
    window, window_layers = _window(fields, family, layers)
    learned = fields.get("max_position_embeddings", "n_positions", "max_seq_len") if family.learned else 0
    if kind == "mpt" and not fields.flag("learned_pos_emb", True):
        learned = 0
    notes = () if known else (f"model type {kind or 'not given'!r} is unknown and was read as llama",)
    return Model(
        name=name,
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        ffn=ffn,
        vocabulary=fields.get("vocab_size"),
        gated=family.gated,
        tied=fields.flag("tie_word_embeddings", family.tied),
        positions=learned,
        bias=family.bias,
        qkv_bias=family.qkv_bias or fields.flag("attention_bias", False),
        norm_bias=family.norm_bias,
        norms=family.norms,
        qk_norm=family.qk_norm,
        sinks=family.sinks,
        clamped=family.clamped,
        window=window,
        window_layers=window_layers,
        dropout=family.dropout,
        experts=experts,
        latent=_latent(fields),
        mtp=fields.get("mtp_modules", default=0),
        source=source,
        notes=notes,
    )


def _experts(fields: _Fields) -> Experts | None:
    count = fields.get("n_routed_experts", "num_local_experts", "num_experts", default=0)
    if count < 2:
        return None
    width = fields.get("moe_intermediate_size", "intermediate_size", "n_inner")
    shared = fields.get("n_shared_experts", default=0) * width
    return Experts(
        count=count,
        per_token=fields.get("num_experts_per_tok", "num_experts_per_token", "experts_per_token"),
        hidden=width,
        shared_hidden=fields.get("shared_expert_intermediate_size", default=shared),
        dense_layers=fields.get("first_k_dense_replace", default=0),
        groups=fields.get("n_group", default=1),
        group_limit=fields.get("topk_group", default=1),
        router_bias=fields.config.get("model_type") == "deepseek_v3",
    )


def _latent(fields: _Fields) -> Latent | None:
    if not fields.get("kv_lora_rank", default=0):
        return None
    return Latent(
        query_rank=fields.get("q_lora_rank", default=0),
        value_rank=fields.get("kv_lora_rank"),
        rope=fields.get("qk_rope_head_dim"),
        nope=fields.get("qk_nope_head_dim"),
        value=fields.get("v_head_dim"),
    )


def _window(fields: _Fields, family: Family, layers: int) -> tuple[int, int]:
    """The sliding window and the number of layers that have it."""
    window = fields.get("sliding_window", default=0)
    if not window or family.window == "none" or fields.config.get("use_sliding_window") is False:
        return 0, 0
    kinds = fields.config.get("layer_types")
    if isinstance(kinds, list):
        return window, sum(kind == "sliding_attention" for kind in kinds)
    count = {"all": layers, "alternate": (layers + 1) // 2}.get(
        family.window, layers - layers // GEMMA_PATTERN
    )
    return window, count


def read_config(path: Path) -> Model:
    """The model of a ``config.json`` on disk, called as the folder it lies in (or the file).

    Raises
    ------
    ModelError
        No such file, no JSON, or a field that is missing.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path} cannot be read", str(error.strerror or error)) from error
    except ValueError as error:
        raise ModelError(f"{path} is no JSON", str(error)) from error
    name = path.stem if path.stem != "config" else path.resolve().parent.name
    return from_config(config, name, str(path), str(path))
