"""Algorithms side by side on one system: tables, CSV, JSON and a figure."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from topo.compare_algorithms import AlgorithmComparison
from topo.report.figures import plain_numbers, size_axis
from topo.report.style import look, save, styled
from topo.results import COLUMNS, Result
from topo.units import format_bytes, format_time

MOST_LINES = 8
"""Curves of a figure; the legend says how many more there are."""
_CELL = 19


def share_of_bound(result: Result) -> float:
    """Bound over time in percent, at most 100."""
    return 100 * min(result.bound_s / result.time_s, 1.0) if result.time_s > 0 else 100.0


def algorithm_table(comparison: AlgorithmComparison, columns: int = 4) -> str:
    """Time, percent of the bound and chunks of every algorithm, best first at the largest size.

    Parameters
    ----------
    comparison : AlgorithmComparison
    columns : int
        Sizes side by side; further ones follow below.
    """
    last = {r.algorithm: r.time_s for r in comparison.at(comparison.sizes[-1])}
    names = sorted({r.algorithm for r in comparison.results}, key=lambda n: last.get(n, float("inf")))
    width = max(map(len, names)) + 2
    found = {(r.algorithm, r.bytes): r for r in comparison.results}
    lines = [f"{comparison.operation} on {comparison.system}, {comparison.ranks} ranks"]
    for start in range(0, len(comparison.sizes), columns):
        sizes = comparison.sizes[start : start + columns]
        lines += [
            "",
            "algorithm".ljust(width) + "".join(f"{format_bytes(size):>{_CELL + 4}}" for size in sizes),
            "".ljust(width) + "".join(f"{'time   %  chunks':>{_CELL + 4}}" for _ in sizes),
        ]
        best = {size: min(r.time_s for r in comparison.at(size)) for size in sizes if comparison.at(size)}
        for name in names:
            cells = [_cell(found.get((name, size)), best.get(size, 0.0)) for size in sizes]
            lines.append((name.ljust(width) + "".join(cells)).rstrip())
        bounds = {size: comparison.at(size)[0] for size in best}
        cells = [
            f"{_short(bounds[size].bound_s):>{_CELL - 7}}{'':11}" if size in bounds else "" for size in sizes
        ]
        lines.append(("bound".ljust(width) + "".join(cells)).rstrip())
    return "\n".join(lines)


def _short(seconds: float) -> str:
    return format_time(float(f"{seconds:.3g}"))


def _cell(result: Result | None, best: float) -> str:
    if result is None:
        return "-".rjust(_CELL - 7) + " " * 11
    mark = "*" if result.time_s <= best else ""
    return f"{mark + _short(result.time_s):>{_CELL - 7}}{share_of_bound(result):6.0f}{result.chunks:>5}"


def notes(comparison: AlgorithmComparison) -> str:
    """Crossovers, bounds and what was left out, a sentence each."""
    lines = ["* fastest.  %: bound / time.  chunks: the best number found.", "", "Overtakings"]
    for one in comparison.crossovers:
        how = "by their closed forms" if one.how == "closed form" else "by bisection"
        lines.append(
            f"  above {format_bytes(float(f'{one.bytes:.3g}'))} {one.above} is faster than {one.below} ({how})"
        )
    if not comparison.crossovers:
        lines.append("  none: one algorithm is the fastest, or level with it, at every size")
    kinds: dict[str, list[float]] = {}
    for size in comparison.sizes:
        for result in comparison.at(size)[:1]:
            kinds.setdefault(result.bound_kind, []).append(size)
    said = [f"{kind} at {format_bytes(s[0])} to {format_bytes(s[-1])}" for kind, s in kinds.items()]
    lines += ["", f"Bound: {'; '.join(said)}"]
    top = comparison.at(comparison.sizes[-1])
    lines += [f"  {top[0].bound_certificate}"] if top else []
    if comparison.left_out:
        lines += ["", "Left out", *(f"  {one.algorithm}: {one.why}" for one in comparison.left_out)]
    return "\n".join(lines)


def to_csv(comparisons: Sequence[AlgorithmComparison]) -> str:
    """All results as CSV, one column a field and the percent of the bound."""
    text = io.StringIO()
    writer = csv.DictWriter(text, (*COLUMNS, "of_bound_percent"), lineterminator="\n")
    writer.writeheader()
    for comparison in comparisons:
        writer.writerows(
            result.record() | {"of_bound_percent": share_of_bound(result)} for result in comparison.results
        )
    return text.getvalue()


def to_data(comparisons: Sequence[AlgorithmComparison]) -> list[dict[str, Any]]:
    """The comparisons as JSON data."""
    return [
        {
            "operation": one.operation,
            "system": one.system,
            "ranks": one.ranks,
            "sizes": [int(s) if s.is_integer() else s for s in one.sizes],
            "algorithms": list(one.algorithms),
            "results": [r.record() | {"of_bound_percent": share_of_bound(r)} for r in one.results],
            "crossovers": [asdict(crossover) for crossover in one.crossovers],
            "left_out": [asdict(left) for left in one.left_out],
            "wall_s": one.wall_s,
        }
        for one in comparisons
    ]


def write_figure(comparison: AlgorithmComparison, path: Path) -> Path:
    """Time and percent of the bound by size, a curve for each algorithm that is ever among the best."""
    names = _drawn(comparison)
    with styled() as pyplot:
        figure, (left, right) = pyplot.subplots(1, 2, figsize=(8.4, 4.3))
        for number, name in enumerate(names):
            results = comparison.of(name)
            sizes = [r.bytes for r in results]
            style = look(number).line()
            left.plot(sizes, [r.time_s * 1e6 for r in results], label=name, **style)
            right.plot(sizes, [share_of_bound(r) for r in results], **style)
        best = [found[0] for size in comparison.sizes if (found := comparison.at(size))]
        bound = [r.bound_s * 1e6 if r.bound_s > 0 else float("nan") for r in best]
        left.plot([r.bytes for r in best], bound, color="black", linewidth=0.8, label="bound")
        plain_numbers(left)
        left.set_ylabel("time (us)")
        right.set_ylim(0, 105)
        right.set_ylabel("bound / time (%)")
        for axis in (left, right):
            size_axis(axis, comparison.sizes)
            axis.set_xlabel("size (nccl-tests')")
        more = len({r.algorithm for r in comparison.results}) - len(names)
        left_over = f"; {more} slower ones are in the table" if more else ""
        title = f"{comparison.operation} on {comparison.system}, {comparison.ranks} ranks{left_over}"
        figure.suptitle(title, x=0.01, ha="left", fontsize=11)
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)
        return save(figure, path)


def _drawn(comparison: AlgorithmComparison) -> list[str]:
    """The algorithms that come nearest to the fastest at any size, nearest first."""
    distance: dict[str, float] = {}
    for size in comparison.sizes:
        ranking = comparison.at(size)
        for result in ranking:
            factor = result.time_s / ranking[0].time_s if ranking[0].time_s > 0 else 1.0
            distance[result.algorithm] = min(distance.get(result.algorithm, float("inf")), factor)
    return sorted(distance, key=lambda name: distance[name])[:MOST_LINES]
