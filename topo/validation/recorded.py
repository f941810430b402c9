"""Errors recorded earlier, so that one that grows is noticed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from topo.credit import RECORDED
from topo.errors import TopoError
from topo.validation.statistics import Statistics

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


def write_recorded(groups: Mapping[str, Statistics], path: Path = RECORDED, *, keep: bool = False) -> None:
    """Record the errors of today, by the names of groups of rows; ``keep`` those of other groups too."""
    before = json.loads(path.read_text(encoding="utf-8")) if keep and path.exists() else {}
    data = before | {
        key: {"count": s.count} | {name: round(getattr(s, name), 5) for name in WATCHED}
        for key, s in groups.items()
    }
    lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in sorted(data.items()))
    path.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


def grown(groups: Mapping[str, Statistics], path: Path = RECORDED) -> tuple[list[Growth], list[str]]:
    """Errors that grew, and groups that were never recorded (or with another number of rows).

    Raises
    ------
    TopoError
        The file is not one that :func:`write_recorded` wrote.
    """
    hint = "write it anew with topo validate --record"
    if not path.exists():
        return [], list(groups)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        found, unknown = [], []
        for key, s in groups.items():
            before = data.get(key)
            if before is None or before["count"] != s.count:
                unknown.append(key)
                continue
            for name in WATCHED:
                now = getattr(s, name)
                if now > float(before[name]) + SLACK:
                    found.append(Growth(key, name, float(before[name]), now))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise TopoError(f"{path} is no record of errors", hint) from None
    return found, unknown
