"""Options that name parts of a parallel plan, for all commands that simulate training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from topo.errors import TopoError

COUNT = click.IntRange(min=1)
Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "tp": ("--tp", {"type": COUNT, "help": "Tensor parallel degree.  [default: the least that fits]"}),
    "pp": ("--pp", {"type": COUNT, "help": "Pipeline stages.  [default: the fewest that fit]"}),
    "dp": ("--dp", {"type": COUNT, "help": "Data parallel replicas.  [default: what is left]"}),
    "cp": ("--cp", {"type": COUNT, "help": "Context parallel degree.  [default: 1]"}),
    "ep": ("--ep", {"type": COUNT, "help": "Expert parallel degree."}),
    "zero": ("--zero", {"type": click.IntRange(0, 3), "help": "ZeRO stage; 3 shards the weights too."}),
    "fsdp": ("--fsdp", {"is_flag": True, "help": "The same as --zero 3."}),
    "shard": ("--shard", {"type": COUNT, "help": "Data ranks that share one copy (HSDP).  [default: all]"}),
    "micro_batch": (
        "--micro-batch",
        {"type": COUNT, "help": "Sequences at once on one replica.  [default: 1]"},
    ),
    "global_batch": (
        "--global-batch",
        {"type": COUNT, "help": "Sequences of a step.  [default: about 4 Mi tokens]"},
    ),
    "seq": ("--seq", {"type": COUNT, "help": "Tokens of a sequence.  [default: 8192]"}),
    "recompute": (
        "--recompute",
        {"metavar": "POLICY", "help": "none, selective, elementwise, half or full."},
    ),
    "schedule": ("--schedule", {"metavar": "NAME", "help": "1f1b, gpipe, interleaved or zb-h1."}),
    "virtual_stages": ("--virtual-stages", {"type": COUNT, "help": "Chunks of each stage, interleaved."}),
    "layer_split": (
        "--layer-split",
        {"metavar": "N-N-...", "help": "Layers of each chunk in order.  [default: as even as can be]"},
    ),
    "precision": ("--precision", {"metavar": "P", "help": "fp32, bf16, fp8 or fp4.  [default: bf16]"}),
    "context": ("--context", {"metavar": "HOW", "help": "Context parallelism: ring or ulysses."}),
    "expert_skew": (
        "--expert-skew",
        {"type": float, "help": "Tokens of the busiest expert rank over the mean."},
    ),
    "node_limit": (
        "--node-limit",
        {"type": COUNT, "help": "Scale-up domains that a token's experts lie in at most."},
    ),
    "overlap_tp": (
        "--overlap-tp",
        {"is_flag": True, "help": "Tensor parallel collectives beside the products they feed."},
    ),
    "overlap_ep": (
        "--overlap-ep",
        {"is_flag": True, "help": "Exchanges of experts beside the work of another micro-batch."},
    ),
    "dispatch_bytes": (
        "--dispatch",
        {
            "type": click.Choice(["bf16", "fp8"]),
            "help": "Precision of what travels to the experts.  [default: bf16]",
        },
    ),
    "bucket_bytes": (
        "--bucket",
        {"metavar": "SIZE", "help": "Gradients reduced together.  [default: 160MB]"},
    ),
    "prefetch": (
        "--prefetch",
        {"type": click.IntRange(min=0), "help": "Layers gathered ahead.  [default: 1]"},
    ),
    "offload_bandwidth": (
        "--offload",
        {"metavar": "BANDWIDTH", "help": "Optimizer states stay with the host, behind a link so fast."},
    ),
}
"""By field of the plan (``fsdp`` is no field): the option and its keywords."""


def plan_options(*names: str) -> Callable[[Command], Command]:
    """Give a command options for some fields of the plan, or for all of them; read them by :func:`plan_choices`."""

    def decorate(command: Command) -> Command:
        for name in reversed(names or tuple(_OPTIONS)):
            option, keywords = _OPTIONS[name]
            command = click.option(option, name, **keywords)(command)
        return command

    return decorate


def plan_choices(choices: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the plan that were given.

    Raises
    ------
    TopoError
        A split or quantity that cannot be read.
    """
    from topo.training.model import BYTES
    from topo.units import parse_bandwidth, parse_bytes

    given = {key: value for key, value in choices.items() if value is not None}
    if given.pop("fsdp", False):
        given["zero"] = 3
    for flag in ("overlap_tp", "overlap_ep"):
        if not given.get(flag, True):
            del given[flag]
    if "dispatch_bytes" in given:
        given["dispatch_bytes"] = BYTES[given["dispatch_bytes"]]
    if "layer_split" in given:
        given["layer_split"] = _split(given["layer_split"])
    if "bucket_bytes" in given:
        given["bucket_bytes"] = float(parse_bytes(given["bucket_bytes"]))
    if "offload_bandwidth" in given:
        given["offload_bandwidth"] = float(parse_bandwidth(given["offload_bandwidth"]))
    return given


def _split(text: str) -> tuple[int, ...]:
    parts = text.replace(",", "-").split("-")
    if not all(part.strip().isdecimal() for part in parts):
        raise TopoError(
            f"layer split {text!r} cannot be read", "write the layers of each chunk, as 19-21-21-19"
        )
    return tuple(int(part) for part in parts)
