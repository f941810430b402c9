"""The comparison as text: tables for the terminal and for Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from topo.validation.compare import Compared, Outcome
from topo.validation.row import LeftOut, Problem
from topo.validation.statistics import Statistics, by_system, groups, over_all, summary

ROW_COLUMNS = (
    "id",
    "target",
    "op",
    "operation",
    "ranks",
    "bytes",
    "measured_s",
    "simulated_s",
    "error",
    "algorithm",
    "detail",
    "ccl",
    "bottleneck",
    "in_place",
    "hint",
    "note",
    "system",
    "file",
    "row",
    "source",
)
NUMBERS = ("rows", "median", "90 %", "worst", "bias")


def row_record(c: Compared) -> dict[str, Any]:
    """One row as JSON data."""
    row = c.row
    size = int(row.bytes) if row.bytes.is_integer() else row.bytes
    values = (
        row.id,
        row.target,
        row.op,
        row.operation,
        row.ranks,
        size,
        row.seconds,
        c.seconds,
        c.error,
        c.algorithm,
        c.detail,
        c.ccl,
        c.bottleneck,
        row.in_place,
        row.algorithm,
        c.note,
        row.system,
        row.file,
        row.number,
        row.source,
    )
    return dict(zip(ROW_COLUMNS, values, strict=True))


def to_data(outcome: Outcome) -> dict[str, Any]:
    """Everything as JSON data."""
    return {
        "rows": [row_record(c) for c in outcome.compared],
        "summary": summary(outcome.compared),
        "left_out": [left_out_record(out) for out in outcome.left_out],
        "problems": [problem_record(problem) for problem in outcome.problems],
    }


def left_out_record(out: LeftOut) -> dict[str, Any]:
    """A row left out as JSON data."""
    return {"id": out.id, "file": out.file, "row": out.number, "reason": out.reason}


def problem_record(problem: Problem) -> dict[str, Any]:
    """A problem as JSON data."""
    return {
        "file": problem.file,
        "row": problem.number,
        "column": problem.column,
        "id": problem.id,
        "message": problem.message,
    }


def to_csv(compared: Iterable[Compared]) -> str:
    """Rows as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, ROW_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(row_record, compared))
    return text.getvalue()


def percents(s: Statistics) -> tuple[str, ...]:
    """Count, median, 90th percentile, worst and bias in words."""
    return (
        str(s.count),
        *(f"{_rounded(value)} %" for value in (s.median, s.p90, s.worst)),
        f"{'+' if s.bias > 0 else ''}{_rounded(s.bias)} %",
    )


def _rounded(share: float) -> str:
    value = 100 * share
    return f"{value:.0f}" if abs(value) >= 99.95 else f"{value:.1f}"


def group_table(compared: Sequence[Compared]) -> list[tuple[str, ...]]:
    """Header and lines: system, operation, ranks, size and the numbers."""
    head = ("system", "operation", "ranks", "size", *NUMBERS)
    return [head] + [
        (g.system, g.operation, str(g.ranks), g.band, *percents(g.statistics)) for g in groups(compared)
    ]


def system_table(compared: Sequence[Compared]) -> list[tuple[str, ...]]:
    """Header and lines: system and the numbers."""
    return [("system", *NUMBERS)] + [(name, *percents(s)) for name, s in by_system(compared).items()]


def band_table(compared: Sequence[Compared]) -> list[tuple[str, ...]]:
    """Header and lines: size band and the numbers."""
    return [("size", *NUMBERS)] + [(name, *percents(s)) for name, s in over_all(compared).items()]


def set_table(lines: Sequence[Sequence[str]], texts: int) -> str:
    """A table for the terminal; the first ``texts`` columns to the left, the others to the right."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < texts else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def markdown_table(lines: Sequence[Sequence[str]], texts: int) -> str:
    """A table in Markdown."""
    head, *body = lines
    rule = ["---"] * texts + ["---:"] * (len(head) - texts)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *body))


def left_out_lines(left_out: Sequence[LeftOut], most: int = 6) -> list[str]:
    """Reasons with how many rows they left out, and some of those."""
    lines = []
    for reason, count in Counter(out.reason for out in left_out).most_common():
        ids = [out.id for out in left_out if out.reason == reason]
        shown = ", ".join(ids[:most]) + (", ..." if count > most else "")
        lines.append(f"{count} row{'' if count == 1 else 's'}: {reason} ({shown})")
    return lines


def report(outcome: Outcome) -> str:
    """The whole comparison for the terminal."""
    parts = []
    if outcome.compared:
        parts += [
            set_table(group_table(outcome.compared), 4),
            set_table(system_table(outcome.compared), 1),
            set_table(band_table(outcome.compared), 1),
            "Errors are simulated over measured time, less 1: median, 90th percentile and worst of their size; bias "
            "is their mean.",
        ]
    notes = Counter(c.note for c in outcome.compared if c.note)
    if notes:
        parts.append("\n".join(f"{count} rows: {note}" for note, count in notes.items()))
    if outcome.left_out:
        parts.append("Left out:\n" + "\n".join(f"  {line}" for line in left_out_lines(outcome.left_out)))
    return "\n\n".join(parts)
