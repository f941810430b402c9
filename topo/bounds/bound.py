"""The Bound: a time that no algorithm can beat, with a proof that a reader can check by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from topo.fabric import Fabric, FloatArray, IntArray

_SHOWN = 8


@dataclass(frozen=True)
class Bound:
    """A lower bound on the time of a collective on a fabric.

    Parameters
    ----------
    seconds : float
        No algorithm is faster.
    kind : str
        What binds: ``ports``, ``capacity``, ``latency``, ``cut``, ``partition``, ``exact-cut``,
        ``all-reduce-lp`` or ``all-to-all-lp``.
    certificate : str
        One sentence by which a reader can check the bound.
    data : dict
        The numbers behind the sentence, fit for JSON: node labels of a cut, its cables, volumes.
    lengths : float array [links], optional
        The links that bind: 1 (or the dual length) on each link whose bandwidth enters the bound.
    """

    seconds: float
    kind: str
    certificate: str
    data: dict[str, Any] = field(default_factory=dict, compare=False)
    lengths: FloatArray | None = field(default=None, compare=False, repr=False)


def node_labels(fabric: Fabric, nodes: IntArray) -> list[str]:
    """Labels of nodes, as text."""
    return [str(fabric.nodes[int(node)]) for node in nodes]


def listed(labels: Sequence[str], what: str = "") -> str:
    """Some labels as a person writes them: all of a few, the first of many."""
    shown = ", ".join(labels[:_SHOWN])
    if len(labels) > _SHOWN:
        shown += f", ... {labels[-1]} ({len(labels)}{' ' + what if what else ''} in all)"
    return shown


def plural(count: int, noun: str) -> str:
    """``1 rank``, ``2 ranks``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
