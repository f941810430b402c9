"""The model against measurements: published ones that come with the package, and one's own.

>>> from topo.validation import errors, load_rows
>>> rows = [row for row in load_rows() if row.target == "mi300x" and row.bytes == 2**30]
>>> len(errors(rows)) == len(rows) > 0
True
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from topo.errors import TopoError
from topo.validation.reader import read_rows
from topo.validation.row import BANDS, LeftOut, Problem, Reading, Row, band

__all__ = ["BANDS", "LeftOut", "Problem", "Reading", "Row", "band", "errors", "load_rows", "read_rows"]


def load_rows(files: Sequence[str | Path] | None = None) -> tuple[Row, ...]:
    """Rows that can be compared; of the packaged files by default.

    Raises
    ------
    TopoError
        Anything wrong in a file; :func:`read_rows` goes on instead and says what.
    """
    reading = read_rows(files)
    if reading.problems:
        raise TopoError(str(reading.problems[0]))
    return reading.rows


def errors(rows: Sequence[Row], ccl_override: Any = None, workers: int = 1) -> list[float]:
    """Error of every row, simulated over measured time less 1, in the order of the rows.

    Parameters
    ----------
    rows : sequence of Row
    ccl_override : optional
        Communication library for all rows; each system's own by default.
    workers : int
        Processes.

    Raises
    ------
    TopoError
        A row whose target does not exist, has too few ranks, or cannot be simulated.
    """
    from topo.validation.compare import compare_rows

    outcome = compare_rows(rows, ccl=ccl_override, workers=workers)
    for problem in outcome.problems:
        raise TopoError(str(problem))
    for out in outcome.left_out:
        raise TopoError(f"{out.file} row {out.number} ({out.id}): {out.reason}")
    return [c.error for c in outcome.compared]
