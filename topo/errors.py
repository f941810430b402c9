"""Errors that say what was wrong, where, and what would be right.

Everything that a person can cause raises a :class:`TopoError`; the command line prints it as one line and
leaves with exit code 2.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice


class TopoError(Exception):
    """An error made for people.

    Parameters
    ----------
    message : str
        What is wrong and where.
    hint : str
        What would be right; may be empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class UnitError(TopoError):
    """A quantity that cannot be read, or is of the wrong unit or sign."""


class FabricError(TopoError):
    """A graph that is no fabric: a wrong node or edge, or accelerators that cannot reach each other."""


class RoutingError(TopoError):
    """A way through the fabric that does not exist."""


class CollectiveError(TopoError):
    """A collective that makes no sense: unknown operation, a group of one, a bad size or root."""


class ScheduleError(TopoError):
    """A schedule that does not do what it claims."""


class AlgorithmError(TopoError):
    """An unknown algorithm, or one that cannot run on this fabric or group."""


class CatalogueError(TopoError):
    """A system name or catalogue file that cannot be read."""


class BoundError(TopoError):
    """A lower bound that cannot be computed."""


class NetworkError(TopoError):
    """A simulation that cannot go on."""


class SweepError(TopoError):
    """A sweep that cannot be, a results folder that cannot be used, or an executor that was lost."""


class ReportError(TopoError):
    """A report or an experiment that cannot be made."""


class InternalError(TopoError):
    """The simulator contradicts itself, as by a time below its lower bound: a bug, never a result."""


_MANY = 5_000
_SHOWN = 3


def nearest(name: str, names: Iterable[str]) -> str:
    """What the writer of ``name`` may have meant.

    Parameters
    ----------
    name : str
        The unknown name.
    names : iterable of str
        The known names; of very many, only some of about the same length are looked at.

    Returns
    -------
    str
        For example ``did you mean 'ring', 'bidirectional-ring'?``, or nothing when no name is near.
    """
    from difflib import get_close_matches

    wanted = name.strip().lower()
    if not wanted:
        return ""
    known = dict.fromkeys(names)
    if len(known) > _MANY:
        known = dict.fromkeys(islice((n for n in known if abs(len(n) - len(wanted)) <= 1), _MANY))
    by_lower: dict[str, str] = {}
    for entry in known:
        by_lower.setdefault(entry.lower(), entry)
    close = get_close_matches(wanted, by_lower, n=_SHOWN)
    containing = sorted((entry for entry in by_lower if wanted in entry), key=len) if len(wanted) > 1 else []
    found = list(dict.fromkeys([*close, *containing]))[:_SHOWN]
    return f"did you mean {', '.join(repr(by_lower[entry]) for entry in found)}?" if found else ""
