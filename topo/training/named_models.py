"""Models by name, by file, or written out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from topo.errors import nearest
from topo.training.huggingface import from_config, read_config
from topo.training.model import Experts, Model, ModelError

FOLDER = Path(__file__).parent / "models"
ALIASES = {
    "gpt3": "gpt3-175b",
    "gpt-3": "gpt3-175b",
    "llama3.1-8b": "llama3-8b",
    "llama3.1-70b": "llama3-70b",
    "llama3.1-405b": "llama3-405b",
    "deepseekv3": "deepseek-v3",
}
"""Other spellings of the same architecture."""

_PLAIN = ("layers", "hidden", "heads", "kv_heads", "head_dim", "ffn", "vocabulary", "positions", "window")
_FLAGS = ("gated", "tied", "bias", "qkv_bias", "norm_bias", "qk_norm", "dropout")
_MOE = ("experts", "per_token", "expert_ffn", "shared_ffn", "dense_layers", "expert_groups", "group_limit")
_EXAMPLE = "as in layers=32,hidden=4096,heads=32,kv_heads=8,ffn=14336,vocabulary=128256,gated=true"


@cache
def entries() -> dict[str, dict[str, Any]]:
    """What the files say of each named model."""
    from topo.training.yaml_file import read_yaml

    found: dict[str, dict[str, Any]] = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        for name, entry in read_yaml(path)["models"].items():
            if name in found:
                raise ModelError(f"{path.name} names {name!r} a second time")
            found[name] = entry
    return found


def names() -> list[str]:
    """All names that :func:`load_model` knows, besides :data:`ALIASES`."""
    return list(entries())


def load_model(text: str) -> Model:
    """A model by name, from a ``config.json``, or from ``layers=..,hidden=..,...``.

    Raises
    ------
    ModelError
        An unknown name, a config that lacks a field, or a key that means nothing.

    Examples
    --------
    >>> load_model("llama3-8b").parameters
    8030261248
    >>> load_model("layers=2,hidden=64,heads=4,vocabulary=1000").layers
    2
    """
    text = text.strip()
    if "=" in text:
        return plain_model(_parse(text), text)
    if text.endswith(".json") or "/" in text:
        path = Path(text)
        return read_config(path / "config.json" if path.is_dir() else path)
    name = ALIASES.get(text.lower(), text.lower())
    known = entries()
    if name not in known:
        hint = nearest(name, [*known, *ALIASES]) or f"known are {', '.join(known)}"
        raise ModelError(f"model {text!r} is unknown", f"{hint}; or give a config.json, or sizes {_EXAMPLE}")
    entry = known[name]
    source = str(entry["source"])
    if "plain" in entry:
        return replace(plain_model(entry["plain"], name), name=name, source=source)
    return from_config(entry["config"], name, source=source)


def plain_model(values: Mapping[str, Any], name: str = "model") -> Model:
    """A model from its sizes.

    Parameters
    ----------
    values : mapping
        ``layers hidden heads`` and, if they differ from GPT's, ``kv_heads head_dim ffn vocabulary positions window
        gated tied bias qkv_bias norm_bias qk_norm dropout`` and for mixtures of experts ``experts per_token
        expert_ffn shared_ffn dense_layers expert_groups group_limit``.
    name : str

    Raises
    ------
    ModelError
        A key is unknown, missing or no number.
    """
    known = (*_PLAIN, *_FLAGS, *_MOE)
    for key in values:
        if key not in known:
            raise ModelError(
                f"{key!r} is no size of a model", nearest(key, known) or f"known are {', '.join(known)}"
            )
    number = {key: _whole(key, values[key]) for key in (*_PLAIN, *_MOE) if key in values}
    flags = {key: _flag(key, values[key]) for key in _FLAGS if key in values}
    for key in ("layers", "hidden", "heads"):
        if key not in number:
            raise ModelError(f"model {name!r} has no {key}", _EXAMPLE)
    if number["heads"] < 1 or (number["hidden"] % number["heads"] and "head_dim" not in number):
        raise ModelError(
            f"a width of {number['hidden']} does not split into {number['heads']} heads", "add head_dim="
        )
    experts = None
    if number.get("experts", 0) > 1:
        for key in ("per_token", "expert_ffn"):
            if key not in number:
                raise ModelError(
                    f"model {name!r} has experts but no {key}", "as in per_token=2,expert_ffn=14336"
                )
        experts = Experts(
            count=number["experts"],
            per_token=number["per_token"],
            hidden=number["expert_ffn"],
            shared_hidden=number.get("shared_ffn", 0),
            dense_layers=number.get("dense_layers", 0),
            groups=number.get("expert_groups", 1),
            group_limit=number.get("group_limit", 1),
        )
    window = number.get("window", 0)
    return Model(
        name=name,
        layers=number["layers"],
        hidden=number["hidden"],
        heads=number["heads"],
        kv_heads=number.get("kv_heads", number["heads"]),
        head_dim=number.get("head_dim", number["hidden"] // number["heads"]),
        ffn=number.get("ffn", 4 * number["hidden"]),
        vocabulary=number.get("vocabulary", 50257),
        positions=number.get("positions", 0),
        window=window,
        window_layers=number["layers"] if window else 0,
        experts=experts,
        gated=flags.get("gated", False),
        tied=flags.get("tied", False),
        bias=flags.get("bias", False),
        qkv_bias=flags.get("qkv_bias", False),
        norm_bias=flags.get("norm_bias", False),
        qk_norm=flags.get("qk_norm", False),
        dropout=flags.get("dropout", False),
    )


def _parse(text: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not key or not value:
            raise ModelError(f"{part!r} in {text!r} is no key=value", _EXAMPLE)
        if key in pairs:
            raise ModelError(f"{text!r} gives {key} twice", "give it once")
        pairs[key] = value
    return pairs


def _whole(key: str, value: Any) -> int:
    from topo.units import parse_count

    return parse_count(value, allow_zero=True) if isinstance(value, str) else int(value)


def _flag(key: str, value: Any) -> bool:
    found = {"true": True, "yes": True, "false": False, "no": False}.get(str(value).lower())
    if found is None:
        raise ModelError(f"{key} is {value!r}", "it should be true or false")
    return found
