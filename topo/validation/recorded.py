"""Errors recorded earlier, so that one that grows is noticed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from topo.errors import TopoError
from topo.validation.statistics import Group

RECORDED = Path(__file__).with_name("recorded.json")
SLACK = 0.005
"""An error may grow by half a percentage point before it is said to have grown: rounding, another numpy."""
WATCHED = ("median", "p90", "worst")


@dataclass(frozen=True)
class Growth:
    """An error that is larger than it was.

    Parameters
    ----------
    key : str
        Of the group.
    statistic : str
        ``median``, ``p90`` or ``worst``.
    before, now : float
    """

    key: str
    statistic: str
    before: float
    now: float

    def __str__(self) -> str:
        return f"{self.key}: {self.statistic} error {self.now:.1%}, recorded {self.before:.1%}"


def write_recorded(groups: Sequence[Group], path: Path = RECORDED) -> None:
    """Record the errors of today."""
    data = {
        group.key: {"count": group.statistics.count}
        | {name: round(getattr(group.statistics, name), 5) for name in WATCHED}
        for group in groups
    }
    lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in data.items())
    path.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


def grown(groups: Sequence[Group], path: Path = RECORDED) -> tuple[list[Growth], list[str]]:
    """Errors that grew, and groups that were never recorded (or with another number of rows).

    Raises
    ------
    TopoError
        The file is not one that :func:`write_recorded` wrote.
    """
    hint = "write it anew with topo validate --record"
    if not path.exists():
        return [], [group.key for group in groups]
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        found, unknown = [], []
        for group in groups:
            before = data.get(group.key)
            if before is None or before["count"] != group.statistics.count:
                unknown.append(group.key)
                continue
            for name in WATCHED:
                now = getattr(group.statistics, name)
                if now > float(before[name]) + SLACK:
                    found.append(Growth(group.key, name, float(before[name]), now))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise TopoError(f"{path} is no record of errors", hint) from None
    return found, unknown
