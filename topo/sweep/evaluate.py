"""Computing one point: what came out, or what went wrong, and how long it took."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from topo.errors import InternalError, TopoError

Call = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]
"""Runs a command with some inputs and gives its record; it must be importable by name in another process."""

OK, ERROR, CRASH = "ok", "error", "crash"
"""Outcomes: a result; an input that cannot be, which would fail again; the machine's or
the program's fault, to be tried again by the next sweep."""


@dataclass(frozen=True)
class Outcome:
    """What came of one point.

    Parameters
    ----------
    outcome : str
        ``ok``, ``error`` or ``crash``.
    error : str
        What went wrong, in words; empty for ``ok``.
    values : mapping of str to plain value
        The command's own record, flat.
    wall_s : float
        Seconds.
    """

    outcome: str
    error: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    wall_s: float = 0.0


def evaluate(call: Call, command: str, inputs: Mapping[str, Any]) -> Outcome:
    """Compute one point; whatever goes wrong becomes part of the outcome.

    Parameters
    ----------
    call : callable
        See :data:`Call`.
    command : str
    inputs : mapping
    """
    began = time.perf_counter()
    values: dict[str, Any] = {}
    outcome, error = OK, ""
    try:
        values = flat(call(command, inputs))
    except InternalError as problem:
        outcome, error = CRASH, f"internal error: {problem}"
    except TopoError as problem:
        outcome, error = ERROR, str(problem)
    except MemoryError:
        outcome, error = CRASH, "not enough memory"
    except OSError as problem:
        outcome, error = CRASH, f"{problem.filename or 'system'}: {problem.strerror or problem}"
    except Exception as problem:
        outcome, error = CRASH, f"internal error: {type(problem).__name__}: {problem}"
    return Outcome(outcome, " ".join(error.split()), values, time.perf_counter() - began)


def flat(record: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A record of plain values only: ``{"a": {"b": 1}}`` becomes ``{"a.b": 1}``, a list becomes JSON.

    Numbers that JSON does not know become None.
    """
    found: dict[str, Any] = {}
    for name, given in record.items():
        value = given.item() if hasattr(given, "item") else given
        if isinstance(value, Mapping):
            found.update(flat(value, f"{prefix}{name}."))
        elif isinstance(value, (list, tuple)):
            found[prefix + name] = json.dumps(value)
        elif isinstance(value, float) and not math.isfinite(value):
            found[prefix + name] = None
        else:
            found[prefix + name] = value
    return found
