"""CSV files read strictly: header, rows with their numbers, and whatever is wrong with either."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from topo.errors import nearest
from topo.validation.row import Problem

LARGEST = 256 * 2**20
"""Bytes of the largest file that is read."""


@dataclass
class Table:
    """Rows of one file.

    Parameters
    ----------
    file : str
    columns : tuple of str
    records : list
        Row number and cells by column.
    problems : list of Problem
        What was found so far; readers add to it.
    """

    file: str
    columns: tuple[str, ...] = ()
    records: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def blame(self, number: int, column: str, message: str, id: str = "") -> None:
        """Note something wrong."""
        self.problems.append(Problem(self.file, number, column, message, id))


def read_table(path: Path, name: str, required: Sequence[str], known: Sequence[str]) -> Table:
    """Read one CSV file; nothing is raised, everything wrong is a Problem.

    Parameters
    ----------
    path : Path
    name : str
        What messages call the file.
    required, known : sequence of str
        Columns that must be there, and all that have a meaning.
    """
    table = Table(name)
    try:
        if path.stat().st_size > LARGEST:
            table.blame(0, "", f"is larger than {LARGEST >> 20} MiB; that is no table of measurements")
            return table
        text = path.read_text(encoding="utf-8-sig")
    except OSError as problem:
        table.blame(0, "", f"cannot be read: {problem.strerror}; give the path of a CSV file")
        return table
    except UnicodeDecodeError as problem:
        table.blame(0, "", f"is not UTF-8 text (byte {problem.start}); save it as CSV in UTF-8")
        return table
    return _parsed(text, table, required, known)


def _parsed(text: str, table: Table, required: Sequence[str], known: Sequence[str]) -> Table:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    number = 0
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                number += 1
                continue
            number += 1
            if not table.columns:
                table.columns = tuple(cell.strip() for cell in cells)
                _check_header(table, number, required, known)
                continue
            if len(cells) != len(table.columns):
                table.blame(
                    number,
                    "",
                    f"has {len(cells)} cells where the header has {len(table.columns)}; quote cells that hold commas",
                    cells[0].strip()[:60] if table.columns[0] == "id" else "",
                )
                continue
            stripped = (cell.strip() for cell in cells)
            table.records.append((number, dict(zip(table.columns, stripped, strict=True))))
    except csv.Error as problem:
        table.blame(number + 1, "", f"is no CSV: {problem}; the rows after it were not read")
    if not table.columns:
        table.blame(0, "", f"is empty; its first row names the columns {', '.join(required)}")
    return table


def _check_header(table: Table, number: int, required: Sequence[str], known: Sequence[str]) -> None:
    for column in dict.fromkeys(table.columns):
        if table.columns.count(column) > 1:
            table.blame(number, column, "is there twice; keep one")
    missing = [column for column in required if column not in table.columns]
    if len(missing) == len(required):
        table.blame(
            number,
            "",
            f"names none of the columns {', '.join(required)}; separate columns by commas and name them first",
        )
        return
    for column in missing:
        others = [other for other in table.columns if other not in known]
        like = [other for other in others if other.split("_")[0] == column.split("_")[0]]
        hint = f"column {like[0]} has another unit or name" if like else nearest(column, others)
        table.blame(number, column, "is missing" + (f"; {hint}" if hint else ""))
    for column in table.columns:
        base = [
            k for k in known if "_" in k and column != k and column.lower().split("_")[0] == k.split("_")[0]
        ]
        if column not in known and base and base[0] in table.columns:
            table.blame(number, column, f"is not read; give {base[0]} only, in its own unit")


def number_in(text: str) -> float | None:
    """A finite number, or None where the text is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in text else None
