"""Leaving one system out: its error when the constants are fitted to all the others.

Where the error without a system's rows is much larger than with them, the model only remembers.  A constant on which
no other system's rows bear is taken from its like: the median of the same constant over the other link technologies
that were fitted, as one would guess it for a machine never measured.  Rates of thread blocks are compared by block.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from topo.ccl import CCL, load, meanings
from topo.fabric import FloatArray
from topo.library import system_links
from topo.processes import mapped
from topo.validation.constants import FITTED, Free, free_constants
from topo.validation.cores import load_target
from topo.validation.evaluate import Evaluator
from topo.validation.fit import fit
from topo.validation.row import Row
from topo.validation.statistics import statistics

BY = ("system", "machine")


@dataclass(frozen=True)
class Left:
    """One system, simulated with constants that never saw its rows.

    Parameters
    ----------
    name : str
        Catalogue name, without count and keys; or the machine as its source describes it.
    rows : tuple of Row
    fitted, without : tuple of float
        Errors by row: with the constants as they come, and with those fitted to the others.
    refitted : tuple of str
        Constants that the other systems determine.
    borrowed : tuple of str
        Constants that they do not, and that were taken from their like.
    """

    name: str
    rows: tuple[Row, ...]
    fitted: tuple[float, ...]
    without: tuple[float, ...]
    refitted: tuple[str, ...]
    borrowed: tuple[str, ...]


def name_of(row: Row, by: str) -> str:
    """The name under which a row is left out."""
    if by == "machine":
        return row.system or row.target
    return row.target.partition(",")[0].partition("*")[0].partition(":")[0]


def leave_one_out(
    rows: Sequence[Row],
    *,
    by: str = "system",
    only: Collection[str] | None = None,
    workers: int = 1,
    progress: Callable[[int], object] = lambda done: None,
) -> list[Left]:
    """Leave out every system in turn.

    Parameters
    ----------
    rows : sequence of Row
    by : str
        ``system``: all machines of a catalogue name at once; ``machine``: one at a time.
    only : collection of str, optional
        Leave out these names only, still fitting to all other rows.
    workers : int
        Processes.
    progress : callable
        Called with the number of rows that have just been dealt with.
    """
    every = {name_of(row, by) for row in rows}
    names = sorted(every if only is None else every & set(only))
    tasks = [(name, by, tuple(rows)) for name in names]
    found = []
    for left in mapped(_left, tasks, workers):
        found.append(left)
        progress(len(left.rows))
    return found


def _left(task: tuple[str, str, tuple[Row, ...]]) -> Left:
    name, by, rows = task
    mine = tuple(row for row in rows if name_of(row, by) == name)
    libraries, technologies = acting_on(mine)
    free = free_constants(libraries, technologies)
    others = [row for row in rows if name_of(row, by) != name]
    bearing = Evaluator(others, free)
    others = [row for row in others if bearing.acting(row)]
    judged = Evaluator(mine, free)
    start = np.array([constant.value for constant in free])
    fitted = judged.errors(start)
    values, refitted, borrowed = _refitted(free, others, libraries)
    without = judged.errors(values)
    return Left(
        name, mine, tuple(map(float, fitted)), tuple(map(float, without)), tuple(refitted), tuple(borrowed)
    )


def acting_on(rows: Sequence[Row]) -> tuple[dict[str, CCL], list[str]]:
    """Libraries and link technologies that act on some rows."""
    libraries: dict[str, CCL] = {}
    technologies: dict[str, None] = {}
    for target in dict.fromkeys(row.target for row in rows):
        system = load_target(target)
        ccl = libraries.setdefault(system.library, load(system.library))
        links = system_links(system, ccl)
        technologies[links.inside.name] = None
        if system.fabric.domains > 1:
            technologies[links.between.name] = None
    return libraries, list(technologies)


def _refitted(
    free: Sequence[Free], others: Sequence[Row], libraries: dict[str, CCL]
) -> tuple[FloatArray, list[str], list[str]]:
    """Values of the constants without the rows left out, and the names of those determined and borrowed."""
    if not free:
        return np.zeros(0), [], []
    guess = [_like(constant, libraries) for constant in free]
    if not others:
        return np.array(guess), [], [constant.name for constant in free]
    first = fit(free, Evaluator(others, free).residuals, rounds=0)
    known = [c.determined for c in first.constants]
    start = [c.value if seen else like for c, seen, like in zip(free, known, guess, strict=True)]
    moving = [replace(c, value=v) for c, v, seen in zip(free, start, known, strict=True) if seen]
    values = np.array(start)
    if moving:
        evaluator = Evaluator(others, [replace(c, value=v) for c, v in zip(free, start, strict=True)])
        places = np.flatnonzero(known)

        def residuals(some: FloatArray) -> FloatArray:
            full = values.copy()
            full[places] = some
            return evaluator.residuals(full)

        values[places] = fit(moving, residuals).values
    names = [c.name for c in free]
    return (
        values,
        [name for name, seen in zip(names, known, strict=True) if seen],
        [name for name, seen in zip(names, known, strict=True) if not seen],
    )


def _like(constant: Free, libraries: dict[str, CCL]) -> float:
    """The median of the same constant over the other technologies of its level, or over other libraries.

    What grows with the number of thread blocks at work (``by: channels`` in ``constants.yaml``) is scaled by it.
    """
    ccl = next(iter(libraries.values()))
    if constant.technology:
        mine = ccl.technologies[constant.technology]
        by_channels = meanings()[constant.key].get("by") == "channels"
        values = [
            entry.constants[constant.key].value * (mine.channels / entry.channels if by_channels else 1.0)
            for name, entry in ccl.technologies.items()
            if name != constant.technology
            and entry.level == mine.level
            and constant.key in entry.constants
            and entry.constants[constant.key].confidence == FITTED
        ]
    else:
        from topo.ccl import names

        values = [
            other.constants[constant.key].value
            for other in map(load, names())
            if other.name != constant.library and constant.key in other.constants
        ]
    return float(np.clip(np.median(values), constant.low, constant.high)) if values else constant.value


def leave_out_data(found: Sequence[Left]) -> list[dict[str, Any]]:
    """All of it as JSON data."""
    return [
        {
            "name": left.name,
            "rows": len(left.rows),
            "fitted": statistics(left.fitted).record(),
            "without": statistics(left.without).record(),
            "refitted": list(left.refitted),
            "borrowed": list(left.borrowed),
        }
        for left in found
    ]
