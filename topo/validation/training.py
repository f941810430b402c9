"""Published training steps simulated: every row whose plan is complete, the others with what they lack."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import topo
from topo.errors import InternalError, TopoError
from topo.processes import mapped
from topo.system import System
from topo.training.published import plan_of_row
from topo.training.step import step
from topo.validation.reader import MEASURED, TRAINING
from topo.validation.row import LeftOut, Problem
from topo.validation.statistics import Statistics, statistics
from topo.validation.table import Table, number_in, read_table
from topo.validation.text import (
    NUMBERS,
    left_out_lines,
    left_out_record,
    percents,
    problem_record,
    set_table,
)

REQUIRED = ("id", "model", "devices", "step_time_s", "target")
COLUMNS = (
    *("id", "model", "params_B", "layers", "hidden", "heads", "seq", "global_batch", "micro_batch"),
    *("TP", "PP", "DP", "CP", "EP", "VP", "FSDP", "devices", "device_type", "precision", "step_time_s"),
    *("tokens_per_s_per_device", "tflops_per_device", "mfu", "notes", "source", "target"),
)
NUMERIC = ("step_time_s", "tokens_per_s_per_device")
WHOLE = ("devices", "TP", "PP", "DP", "CP", "EP", "VP", "seq", "global_batch", "micro_batch")
NOTHING = ("", "na", "n/a", "none", "-")
"""Spellings of a cell that says nothing."""


@dataclass(frozen=True)
class Step:
    """A measured training step as its file has it.

    Parameters
    ----------
    id, file : str
    number : int
        Row of the file.
    target : str
    source : str
    cells : tuple of (column, text)
    """

    id: str
    file: str
    number: int
    target: str
    source: str
    cells: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ComparedStep:
    """A measured step beside its simulation.

    Parameters
    ----------
    row : Step
    model, plan, system, precision, ccl : str
        What was simulated.
    measured_s, seconds : float
    mfu : float
    split : tuple of (heading, seconds)
        Where the simulated step goes.
    """

    row: Step
    model: str
    plan: str
    system: str
    precision: str
    ccl: str
    measured_s: float
    seconds: float
    mfu: float
    split: tuple[tuple[str, float], ...]

    @property
    def error(self) -> float:
        """Simulated over measured time, less 1."""
        return self.seconds / self.measured_s - 1

    @property
    def family(self) -> tuple[str, str, str]:
        """Who published it, on which system, at which precision."""
        where = self.row.source.removeprefix("github:").partition("@")[0].partition(" ")[0]
        return where, self.system.partition("*")[0].partition(":")[0].partition(",")[0], self.precision

    @property
    def key(self) -> str:
        """The family in one text."""
        return " | ".join(("training step", *self.family))

    def record(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "id": self.row.id,
            "target": self.row.target,
            "op": "training-step",
            "bytes": None,
            "measured_s": self.measured_s,
            "simulated_s": self.seconds,
            "error": self.error,
            "model": self.model,
            "plan": self.plan,
            "system": self.system,
            "precision": self.precision,
            "ccl": self.ccl,
            "mfu": self.mfu,
            "split": dict(self.split),
            "file": self.row.file,
            "row": self.row.number,
            "source": self.row.source,
        }


@dataclass(frozen=True)
class StepsOutcome:
    """All steps compared, and those that could not be."""

    compared: tuple[ComparedStep, ...]
    left_out: tuple[LeftOut, ...]
    problems: tuple[Problem, ...]


def read_steps(files: Sequence[str | Path] | None = None) -> tuple[list[Step], list[Problem]]:
    """Read files of training steps; the packaged one by default.  What is wrong is named by row and column."""
    rows: list[Step] = []
    problems: list[Problem] = []
    for path in map(Path, [MEASURED / TRAINING] if files is None else files):
        table = read_table(path, path.name, REQUIRED, COLUMNS)
        rows += _steps(table)
        problems += table.problems
    return rows, problems


def _steps(table: Table) -> Iterator[Step]:
    ids: dict[str, int] = {}
    for number, cells in table.records:
        identity = cells.get("id", "") or f"{table.file}:{number}"
        if identity in ids:
            table.blame(number, "id", f"is that of row {ids[identity]} too; every row has its own", identity)
            continue
        ids[identity] = number
        before = len(table.problems)
        for column in (*NUMERIC, *WHOLE):
            _check(table, number, identity, cells, column)
        if len(table.problems) == before and not any(c not in table.columns for c in REQUIRED):
            yield Step(
                identity,
                table.file,
                number,
                cells.get("target", ""),
                cells.get("source", ""),
                tuple(cells.items()),
            )


def _check(table: Table, number: int, identity: str, cells: dict[str, str], column: str) -> None:
    text = cells.get(column, "")
    if text.lower() in NOTHING:
        return
    value = number_in(text)
    if value is None:
        table.blame(number, column, f"{text!r} is no number; leave it blank where it is not known", identity)
    elif value <= 0:
        table.blame(
            number, column, f"{text} is not above zero; leave it blank where it is not known", identity
        )
    elif column in WHOLE and value != int(value):
        table.blame(number, column, f"{text} is no whole number", identity)


def compare_steps(
    rows: Sequence[Step],
    *,
    ccl: str | None = None,
    workers: int = 1,
    progress: Callable[[int], object] = lambda done: None,
) -> StepsOutcome:
    """Simulate every step whose plan is complete.

    Parameters
    ----------
    rows : sequence of Step
    ccl : str, optional
        Communication library for all; each system's own by default.
    workers : int
        Processes; results do not depend on it.
    progress : callable
        Called with the number of rows that have just been dealt with.

    Raises
    ------
    InternalError
        The simulator contradicts itself.
    """
    tasks = [(row, ccl) for row in sorted(rows, key=lambda row: row.target)]
    found: dict[tuple[str, int], ComparedStep | LeftOut | Problem] = {}
    for (row, _), outcome in zip(tasks, mapped(_compared, tasks, workers), strict=True):
        found[row.file, row.number] = outcome
        progress(1)
    ordered = [found[row.file, row.number] for row in rows]
    return StepsOutcome(
        tuple(one for one in ordered if isinstance(one, ComparedStep)),
        tuple(one for one in ordered if isinstance(one, LeftOut)),
        tuple(one for one in ordered if isinstance(one, Problem)),
    )


def _compared(task: tuple[Step, str | None]) -> ComparedStep | LeftOut | Problem:
    row, ccl = task
    if not row.target:
        return LeftOut(row.id, row.file, row.number, "names no system to simulate")
    try:
        published = plan_of_row(dict(row.cells))
    except TopoError as problem:
        return LeftOut(row.id, row.file, row.number, _without_name(str(problem), row.id))
    try:
        system = _system(published.system)
    except TopoError as problem:
        return Problem(row.file, row.number, "target", str(problem), row.id)
    try:
        result = step(published.model, published.adapted(system), published.plan, ccl=ccl, check_memory=False)
    except InternalError as problem:
        raise InternalError(f"{row.file} row {row.number} ({row.id}): {problem}") from None
    except TopoError as problem:
        return LeftOut(row.id, row.file, row.number, str(problem))
    return ComparedStep(
        row,
        result.model,
        result.plan,
        published.system,
        published.plan.precision,
        result.ccl,
        published.measured_s,
        result.step_s,
        result.mfu,
        tuple(result.split.items()),
    )


_last: dict[str, System] = {}


def _system(name: str) -> System:
    """A system; the last one stays loaded, since its fabric remembers what was compiled for it."""
    if name not in _last:
        _last.clear()
        _last[name] = topo.load(name)
    return _last[name]


def _without_name(message: str, identity: str) -> str:
    return message.removeprefix(identity).removeprefix(":").strip() or message


def steps_summary(compared: Sequence[ComparedStep]) -> dict[str, Any]:
    """Statistics as JSON data."""
    whole = [{"rows": "all", **statistics(c.error for c in compared).record()}] if compared else []
    return {
        "overall": whole,
        "families": [
            {"published_by": who, "system": system, "precision": precision, **s.record()}
            for (who, system, precision), s in steps_families(compared).items()
        ],
    }


def steps_families(compared: Sequence[ComparedStep]) -> dict[tuple[str, str, str], Statistics]:
    """Statistics by publisher, system and precision."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for c in compared:
        found.setdefault(c.family, []).append(c.error)
    return {family: statistics(found[family]) for family in sorted(found)}


def steps_table(compared: Sequence[ComparedStep]) -> list[tuple[str, ...]]:
    """Header and lines: publisher, system, precision and the numbers."""
    lines: list[tuple[str, ...]] = [("published by", "system", "precision", *NUMBERS)]
    lines += [(*family, *percents(s)) for family, s in steps_families(compared).items()]
    if compared:
        lines.append(("all", "", "", *percents(statistics(c.error for c in compared))))
    return lines


def steps_by_key(compared: Sequence[ComparedStep]) -> dict[str, Statistics]:
    """Statistics of the families by their names in one text."""
    found: dict[str, list[float]] = {}
    for c in compared:
        found.setdefault(c.key, []).append(c.error)
    return {key: statistics(found[key]) for key in sorted(found)}


def steps_data(outcome: StepsOutcome) -> dict[str, Any]:
    """Everything as JSON data."""
    return {
        "rows": [c.record() for c in outcome.compared],
        "summary": steps_summary(outcome.compared),
        "left_out": [left_out_record(out) for out in outcome.left_out],
        "problems": [problem_record(problem) for problem in outcome.problems],
    }


def steps_csv(compared: Sequence[ComparedStep]) -> str:
    """Rows as CSV; where the step goes as one column for each heading."""
    records = []
    for c in compared:
        record = c.record()
        record |= {f"{heading}_s": seconds for heading, seconds in record.pop("split").items()}
        records.append(record)
    text = io.StringIO()
    if records:
        writer = csv.DictWriter(text, list(records[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
    return text.getvalue()


def steps_report(outcome: StepsOutcome) -> str:
    """The comparison for the terminal."""
    parts = []
    if outcome.compared:
        parts.append(set_table(steps_table(outcome.compared), 3))
        parts.append("Errors of the step's time, simulated over measured, less 1.")
    if outcome.left_out:
        parts.append("Left out:\n" + "\n".join(f"  {line}" for line in left_out_lines(outcome.left_out)))
    return "\n\n".join(parts)
