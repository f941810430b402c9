"""Figures: measured and simulated over size for each system, and how the errors are spread."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from topo.report.figures import plain_numbers, size_axis
from topo.report.style import look, save, styled
from topo.validation.compare import Compared
from topo.validation.statistics import LARGE, SMALL, statistics

COLUMNS = 3
_PANEL = (3.5, 2.7)
_REACH = 1.0
"""Errors beyond +-100 % share the outermost bins."""


def write_figures(
    compared: Sequence[Compared], folder: Path, formats: Sequence[str] = ("svg", "png")
) -> list[Path]:
    """Draw into a folder: ``measured-and-simulated`` and ``errors``, in each format."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with styled() as pyplot:
        for name, figure in (
            ("measured-and-simulated", _systems(pyplot, compared)),
            ("errors", _errors(pyplot, compared)),
        ):
            written += [save(figure, folder / f"{name}.{suffix}") for suffix in formats]
    return written


def _systems(pyplot: Any, compared: Sequence[Compared]) -> Any:
    """One panel a system: points measured, lines simulated, one colour for each operation and number of ranks."""
    systems = sorted({c.row.target for c in compared})
    columns = min(COLUMNS, len(systems))
    rows = -(-len(systems) // columns)
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(_PANEL[0] * columns, _PANEL[1] * rows), squeeze=False
    )
    for axis, system in zip(axes.flat, systems, strict=False):
        mine = [c for c in compared if c.row.target == system]
        kinds = sorted({(c.row.operation, c.row.ranks) for c in mine})
        for number, (operation, ranks) in enumerate(kinds):
            found = [c for c in mine if (c.row.operation, c.row.ranks) == (operation, ranks)]
            style = look(number)
            axis.plot(
                [c.row.bytes for c in found],
                [c.row.seconds * 1e6 for c in found],
                linestyle="none",
                marker=style.marker,
                markersize=3,
                color=style.color,
                markerfacecolor="none",
                markeredgewidth=0.7,
            )
            # Where the source forced one algorithm and another at the same size, the line takes the one unforced.
            free = {
                c.row.bytes: c.seconds for c in sorted(found, key=lambda c: c.row.algorithm, reverse=True)
            }
            axis.plot(
                sorted(free),
                [free[size] * 1e6 for size in sorted(free)],
                color=style.color,
                linestyle=style.linestyle,
                linewidth=1.2,
                label=f"{operation}, {ranks} ranks",
            )
        axis.set_title(system)
        size_axis(axis, [c.row.bytes for c in mine])
        plain_numbers(axis)
        axis.legend(fontsize=7, loc="upper left", handlelength=2)
    for axis in axes.flat[len(systems) :]:
        axis.set_visible(False)
    for line in axes:
        line[0].set_ylabel("time (us)")
    figure.suptitle("Points: measured.  Lines: simulated.", x=0.01, ha="left", fontsize=11)
    return figure


def _errors(pyplot: Any, compared: Sequence[Compared]) -> Any:
    """Histogram of errors below and from 1 MiB, and errors over size."""
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(8.4, 3.2))
    parts = {
        SMALL: [c for c in compared if c.row.bytes < 2**20],
        LARGE: [c for c in compared if c.row.bytes >= 2**20],
    }
    bins = np.linspace(-_REACH, _REACH, 41)
    for number, (name, found) in enumerate(parts.items()):
        if not found:
            continue
        style = look(number)
        errors = np.clip([c.error for c in found], -_REACH, _REACH)
        median = statistics(c.error for c in found).median
        left.hist(
            100 * errors,
            100 * bins,
            histtype="step",
            linewidth=1.6,
            color=style.color,
            linestyle=style.linestyle,
            label=f"{name}: {len(found)} rows, median {median:.1%}",
        )
        right.plot(
            [c.row.bytes for c in found],
            [100 * c.error for c in found],
            linestyle="none",
            marker=style.marker,
            markersize=2.5,
            color=style.color,
            alpha=0.6,
        )
    left.axvline(0, color="black", linewidth=0.7)
    left.set(xlabel="error (%); beyond 100 % in the last bin", ylabel="rows")
    left.legend(fontsize=7.5, loc="upper left")
    left.set_title("Simulated over measured time, less 1")
    right.axhline(0, color="black", linewidth=0.7)
    right.set(ylabel="error (%)", xlabel="size", title="The same over size")
    right.set_yscale("symlog", linthresh=20)
    right.set_yticks(
        [-100, -50, -20, -10, 0, 10, 20, 50, 100], ["-100", "-50", "-20", "-10", "0", "10", "20", "50", "100"]
    )
    size_axis(right, [c.row.bytes for c in compared])
    return figure
