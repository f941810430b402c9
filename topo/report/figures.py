"""Figures of a comparison: bus bandwidth, time and share of the bound, by size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from topo.compare import Comparison
from topo.report.style import look, save, styled
from topo.results import Result
from topo.units import format_bytes

_PANEL = (3.7, 2.9)
_KIB = 1024.0


def write_figures(
    comparison: Comparison, folder: Path, formats: Sequence[str] = ("svg", "png")
) -> list[Path]:
    """Draw all figures of a comparison into a folder.

    Returns
    -------
    list of Path
        ``busbw``, ``time`` and ``of-bound``, in each format.
    """
    written = []
    with styled() as pyplot:
        for name, draw in (("busbw", _busbw), ("time", _time), ("of-bound", _of_bound)):
            figure = _panels(pyplot, comparison, draw)
            written += [save(figure, folder / f"{name}.{suffix}") for suffix in formats]
    return written


def _panels(pyplot: Any, comparison: Comparison, draw: Callable[[Any, Comparison, str], str]) -> Any:
    """One panel an operation, one line a system, one legend for all."""
    count = len(comparison.operations)
    columns = min(count, 2)
    rows = -(-count // columns)
    size = (_PANEL[0] * columns + 0.4, _PANEL[1] * rows + 0.7)
    figure, axes = pyplot.subplots(rows, columns, figsize=size, squeeze=False, sharex=True, sharey=True)
    title = ""
    for axis, operation in zip(axes.flat, comparison.operations, strict=False):
        title = draw(axis, comparison, operation)
        axis.set_title(operation)
        size_axis(axis, comparison.sizes)
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    for number, axis in enumerate(axes.flat[:count]):
        if number + columns >= count:  # nothing below
            axis.set_xlabel("size (nccl-tests')")
            axis.tick_params(labelbottom=True)
        if number % columns:
            axis.set_ylabel("")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 3))
    return figure


def size_axis(axis: Any, sizes: Sequence[float]) -> None:
    """A logarithmic axis of sizes, with some of them written at it."""
    axis.set_xscale("log", base=2)
    low, high = min(sizes), max(sizes)
    ticks = [s for k in range(41) if low <= (s := _KIB * 4.0 ** (k - 5)) <= high]
    ticks = ticks[:: max(1, -(-len(ticks) // 6))] or [low]
    axis.set_xticks(ticks, [format_bytes(s) for s in ticks])
    axis.minorticks_off()


def plain_numbers(axis: Any) -> None:
    """0.1, 1, 10 on a logarithmic axis, not powers of ten."""
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axis.yaxis.minorticks_off()


def _lines(
    axis: Any,
    comparison: Comparison,
    operation: str,
    value: Callable[[Result], float],
    bound: Callable[[Result], float] | None = None,
) -> None:
    every = max(1, len(comparison.sizes) // 6)
    for number, contender in enumerate(comparison.contenders):
        results = comparison.of(operation, contender.name)
        sizes = [r.bytes for r in results]
        style = look(number)
        # Markers start at different places, so that lines on top of each other still show.
        axis.plot(
            sizes,
            [value(r) for r in results],
            label=contender.name,
            markevery=(number % every, every),
            **style.line(),
        )
        if bound is not None:
            axis.plot(sizes, [bound(r) for r in results], color=style.color, linewidth=0.7, alpha=0.7)


def _busbw(axis: Any, comparison: Comparison, operation: str) -> str:
    def at_bound(result: Result) -> float:
        return result.busbw_Bps * result.time_s / result.bound_s / 1e9 if result.bound_s > 0 else float("nan")

    _lines(axis, comparison, operation, lambda r: r.busbw_Bps / 1e9, at_bound)
    plain_numbers(axis)
    axis.set_ylabel("bus bandwidth (GB/s)")
    return "Bus bandwidth by size; thin lines: no algorithm can be above"


def _time(axis: Any, comparison: Comparison, operation: str) -> str:
    def bound(result: Result) -> float:
        return result.bound_s * 1e6 if result.bound_s > 0 else float("nan")

    _lines(axis, comparison, operation, lambda r: r.time_s * 1e6, bound)
    plain_numbers(axis)
    axis.set_ylabel("time (us)")
    return "Time by size; thin lines: no algorithm can be below"


def _of_bound(axis: Any, comparison: Comparison, operation: str) -> str:
    _lines(
        axis, comparison, operation, lambda r: 100 * min(r.bound_s / r.time_s, 1.0) if r.time_s > 0 else 100.0
    )
    axis.set_ylim(0, 105)
    axis.set_ylabel("bound / time (%)")
    return "How near the fastest algorithm comes to the lower bound"
