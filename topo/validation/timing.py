"""How a measurement was timed, where that adds what the library itself does not spend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from topo.ccl import CCL

TIMINGS = ("device", "pytorch", "one-process", "host")
"""Ways of timing that a measurement may name; blank: a process for each accelerator, as nccl-tests is mostly run."""


@cache
def _known() -> Sequence[Mapping[str, Any]]:
    import yaml

    found: Sequence[Mapping[str, Any]] = yaml.safe_load(
        Path(__file__).with_name("timings.yaml").read_text(encoding="utf-8")
    )
    return found


def timing_of(source: str, notes: str) -> str:
    """The way of timing that a source is known for, or that its own remark tells; empty where neither does."""
    for entry in _known():
        for text, patterns in ((source, entry.get("sources", ())), (notes, entry.get("notes", ()))):
            if any(pattern.lower() in text.lower() for pattern in patterns):
                return str(entry["timing"])
    return ""


def as_timed(seconds: float, timing: str, ccl: CCL, ranks: int, nodes: int | None) -> float:
    """The time that such a measurement would print.

    Parameters
    ----------
    seconds : float
        Time of the call by itself.
    timing : str
        One of :data:`TIMINGS`, or empty.
    ccl : CCL
        Its constants ``call_pytorch`` and ``call_host`` are added to every call.  One process that serves all
        accelerators of a machine starts them one after the other, ``call_each`` apart; a host that waits for every
        call adds that too, calls in a row overlap with it, so that the longer of the two is seen.
    ranks : int
    nodes : int or None
        Machines, 1 where unknown.
    """
    if timing == "pytorch":
        return seconds + ccl.get("call_pytorch")
    if timing == "host":
        return seconds + ccl.get("call_host") + ranks / (nodes or 1) * ccl.get("call_each")
    if timing == "one-process":
        return max(seconds, ranks / (nodes or 1) * ccl.get("call_each"))
    return seconds
