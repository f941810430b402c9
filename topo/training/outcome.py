"""What comes of a step: its time under headings, and its timeline."""

from __future__ import annotations

from dataclasses import dataclass, field

HEADINGS = ("compute", "tp", "cp", "ep", "dp", "pp", "bubble", "optimizer", "input")
"""Where time goes: computation, exposed communication by axis, waiting for other stages, overheads."""
DATA_AXES = ("data", "shard", "replica", "edp")
"""Axes booked under ``dp``."""


@dataclass(frozen=True)
class Span:
    """Something on a timeline."""

    stage: int
    stream: str
    name: str
    start: float
    end: float


@dataclass
class Outcome:
    """What came of a step.

    Parameters
    ----------
    seconds : float
    spent : list of mapping
        Seconds of each stage under each heading.
    spans : list of Span
        The timeline, where it was asked for.
    busy : mapping of str to float
        Seconds that the communication streams of an axis were at work, all stages together.
    """

    seconds: float
    spent: list[dict[str, float]]
    spans: list[Span] = field(default_factory=list)
    busy: dict[str, float] = field(default_factory=dict)


def heading(axis: str) -> str:
    """The heading under which an axis is booked."""
    return "dp" if axis in DATA_AXES else axis
