"""Before and after a calibration: bus bandwidth over size, measured and simulated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from topo.collective import Collective
from topo.report.figures import plain_numbers, size_axis
from topo.report.style import look, save, styled
from topo.validation.calibrate import Calibration
from topo.validation.row import Row

_PANEL = (4.4, 3.1)


def write_figure(calibration: Calibration, path: Path) -> Path:
    """Draw one panel for every operation and number of ranks."""
    kinds = list(dict.fromkeys((row.operation, row.ranks) for row in calibration.rows))
    columns = min(3, len(kinds))
    lines = -(-len(kinds) // columns)
    with styled() as pyplot:
        figure, axes = pyplot.subplots(
            lines, columns, figsize=(_PANEL[0] * columns, _PANEL[1] * lines), squeeze=False
        )
        for axis, kind in zip(axes.flat, kinds, strict=False):
            _panel(axis, calibration, kind)
        for axis in axes.flat[len(kinds) :]:
            axis.set_visible(False)
        for row in axes:
            row[0].set_ylabel("bus bandwidth (GB/s)")
        handles, labels = axes.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
        return save(figure, path)


def _panel(axis: Any, calibration: Calibration, kind: tuple[str, int]) -> None:
    mine = [
        (row, before, after)
        for row, before, after in zip(calibration.rows, calibration.before, calibration.after, strict=True)
        if (row.operation, row.ranks) == kind
    ]
    mine.sort(key=lambda entry: entry[0].bytes)
    sizes = [row.bytes for row, *_ in mine]
    axis.plot(
        sizes,
        [_busbw(row, row.seconds) for row, *_ in mine],
        linestyle="none",
        marker="o",
        color=look(3).color,
        markerfacecolor="none",
        label="measured",
    )
    before = [_busbw(row, row.seconds * (1 + error)) for row, error, _ in mine]
    after = [_busbw(row, row.seconds * (1 + error)) for row, _, error in mine]
    style = look(1)
    axis.plot(sizes, before, color=style.color, linestyle=style.linestyle, label="simulated, before")
    axis.plot(sizes, after, color=look(0).color, linestyle="-", label="simulated, after")
    axis.set_title(f"{kind[0]}, {kind[1]} ranks")
    size_axis(axis, sizes)
    plain_numbers(axis)
    axis.set_xlabel("size")


def _busbw(row: Row, seconds: float) -> float:
    return row.bytes / seconds / 1e9 * Collective(row.operation, row.ranks, row.bytes).busbw_factor
