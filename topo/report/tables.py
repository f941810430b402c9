"""Tables: nccl-tests' columns, a brief matrix for the terminal, CSV and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from topo.collective import ROOTED
from topo.compare import Comparison
from topo.report.summary import summary
from topo.results import COLUMNS, Result
from topo.units import format_bytes, format_time

ELEMENT = 4
"""Bytes of a float, the type of the count column."""
REDUCING = ("all-reduce", "reduce-scatter", "reduce")
SHARED = ("all-gather", "reduce-scatter", "all-to-all")
"""Operations whose count is of one rank's share."""
MOST_LINES = 12
"""Sizes of a brief matrix."""


def nccl_table(results: Sequence[Result], root: int = 0) -> str:
    """Results of one operation on one system in nccl-tests' columns, then algorithm, bound and share of it.

    Lines that are no data start with ``#``.  ``count`` is of floats, as nccl-tests counts them: of the whole
    buffer, or of one rank's share where every rank has one (rounded down); ``root`` is -1 where there is none.
    """
    head = (
        f"# {results[0].operation} on {results[0].system}, {results[0].ranks} ranks",
        f"#{'size':>11} {'count':>12} {'type':>7} {'redop':>6} {'root':>5} {'time':>11} {'algbw':>9} {'busbw':>9}"
        f" {'bound':>11} {'of bound':>8}  algorithm",
        f"#{'(B)':>11} {'(elements)':>12} {'':>7} {'':>6} {'':>5} {'(us)':>11} {'(GB/s)':>9} {'(GB/s)':>9}"
        f" {'(us)':>11} {'(%)':>8}",
    )
    return "\n".join([*head, *(_nccl_line(result, root) for result in results)])


def _nccl_line(result: Result, root: int) -> str:
    elements = result.bytes / ELEMENT / (result.ranks if result.operation in SHARED else 1)
    redop = "sum" if result.operation in REDUCING else "none"
    share = 100 * min(result.bound_s / result.time_s, 1.0) if result.time_s > 0 else 0.0
    return (
        f"{result.bytes:>12.0f} {int(elements):>12} {'float':>7} {redop:>6}"
        f" {root if result.operation in ROOTED else -1:>5} {result.time_s * 1e6:>11.2f}"
        f" {result.algbw_Bps / 1e9:>9.2f} {result.busbw_Bps / 1e9:>9.2f} {result.bound_s * 1e6:>11.2f}"
        f" {share:>8.1f}  {result.algorithm}"
    )


def nccl_tables(comparison: Comparison) -> str:
    """All results in nccl-tests' columns, a table for every operation and system."""
    tables = [
        nccl_table(found)
        for operation in comparison.operations
        for c in comparison.contenders
        if (found := comparison.of(operation, c.name))
    ]
    return "\n\n".join(tables) + "\n"


def brief_tables(comparison: Comparison) -> str:
    """Time and bus bandwidth of every system side by side, the fastest marked; many sizes are thinned."""
    every = max(1, -(-(len(comparison.sizes) - 1) // (MOST_LINES - 1)))
    shown = comparison.sizes[::every]
    if comparison.sizes[-1] not in shown:
        shown = (*shown, comparison.sizes[-1])
    return "\n\n".join(_brief(comparison, operation, shown) for operation in comparison.operations)


def _brief(comparison: Comparison, operation: str, sizes: Iterable[float]) -> str:
    names = [c.name for c in comparison.contenders]
    width = max(19, *(len(name) + 1 for name in names))
    lines = [
        operation.ljust(15) + "".join(f"{name:>{width}}" for name in names),
        "".ljust(15) + "".join(f"{'time  busbw GB/s':>{width}}" for _ in names),
    ]
    for size in sizes:
        found = {r.system: r for r in comparison.at(operation, size)}
        best = min((r.time_s for r in found.values()), default=0.0)
        cells = [_cell(found[name], best) if name in found else "-" for name in names]
        lines.append(f"{format_bytes(size):>10}".ljust(15) + "".join(f"{cell:>{width}}" for cell in cells))
    return "\n".join(line.rstrip() for line in lines)


def _cell(result: Result, best: float) -> str:
    mark = "*" if result.time_s <= best else ""
    bandwidth = result.busbw_Bps / 1e9
    digits = 0 if bandwidth >= 100 else 1 if bandwidth >= 10 else 2
    return f"{mark}{format_time(float(f'{result.time_s:.3g}'))} {bandwidth:8.{digits}f}"


def to_csv(results: Iterable[Result]) -> str:
    """Results as CSV, one column a field."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(result.record() for result in results)
    return text.getvalue()


def to_data(comparison: Comparison) -> dict[str, Any]:
    """A comparison as JSON data: systems, results, who wins where, crossovers, summary."""
    return {
        "systems": [asdict(c) for c in comparison.contenders],
        "operations": list(comparison.operations),
        "sizes": [int(s) if s.is_integer() else s for s in comparison.sizes],
        "settings": asdict(comparison.settings),
        "results": [result.record() for result in comparison.results],
        "fastest": [asdict(span) for span in comparison.spans],
        "crossovers": [asdict(crossover) for crossover in comparison.crossovers],
        "failures": [asdict(failure) for failure in comparison.failures],
        "summary": summary(comparison),
        "wall_s": comparison.wall_s,
    }
