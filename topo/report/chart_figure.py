"""Charts drawn by matplotlib, for papers and slides."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from topo.report.chart import Chart, Record, Spread, frontier, gathered
from topo.report.figures import plain_numbers, size_axis
from topo.report.style import look, save, styled

_MOST_SERIES = 16
_MOST_TICKS = 8
"""Places on a logarithmic axis that are each labelled with their own value."""
_SIZE = (6.4, 4.0)
_BARS = ("bar", "box", "stack")
_MOST_WRITTEN = 12
"""Columns of a heat map up to which each cell says its value."""
_BESIDE = 1.5
"""Inches for a legend, which stands beside the axes so that it never covers data."""


def write_chart_figures(
    charts: Sequence[Chart],
    records: Sequence[Record],
    folder: Path,
    prefix: str = "",
    suffixes: Sequence[str] = (".svg", ".png"),
) -> list[Path]:
    """Draw charts into a folder, each as SVG and PNG; those without data are left out.

    Returns
    -------
    list of Path
        What was written.
    """
    written = []
    for number, chart in enumerate(charts, 1):
        series = gathered(chart, records)
        if not series:
            continue
        name = re.sub(r"[^a-z0-9]+", "-", chart.title.lower()).strip("-")[:60] or "chart"
        with styled() as pyplot:
            figure, axis = pyplot.subplots(
                figsize=(_SIZE[0] + (_BESIDE if len(series) > 1 and chart.kind != "heat" else 0), _SIZE[1])
            )
            _draw(figure, axis, chart, series)
            folder.mkdir(parents=True, exist_ok=True)
            written += [save(figure, folder / f"{prefix}{number}-{name}{suffix}") for suffix in suffixes]
    return written


def _draw(figure: Any, axis: Any, chart: Chart, series: dict[str, list[Spread]]) -> None:
    shown = dict(sorted(series.items(), key=lambda entry: -len(entry[1]))[:_MOST_SERIES])
    shown = {label: series[label] for label in series if label in shown}
    left_out = len(series) - len(shown)
    axis.set_title(chart.heading + (f" ({left_out} more series not shown)" if left_out else ""))
    axis.set_xlabel(chart.x_title or chart.x)
    axis.set_ylabel(chart.y_title or chart.y)
    if chart.kind == "heat":
        _heat(figure, axis, chart, shown)
        return
    numbers = all(isinstance(spread.x, (int, float)) for spreads in shown.values() for spread in spreads)
    categories = list(dict.fromkeys(spread.x for spreads in shown.values() for spread in spreads))
    if numbers and chart.kind in _BARS:
        categories.sort()
    place = {x: i if chart.kind in _BARS or not numbers else x for i, x in enumerate(categories)}
    if chart.log_x and numbers and chart.kind not in _BARS:
        axis.set_xscale("log")
    base = dict.fromkeys(categories, 0.0)
    for number, (label, spreads) in enumerate(shown.items()):
        if chart.kind == "stack":
            _part(axis, label, spreads, place, base, number)
        else:
            _series(axis, chart, label, spreads, place, number, len(shown))
    if chart.kind == "pareto" and numbers:
        line = frontier(shown)
        axis.plot(
            *zip(*line, strict=True),
            color="#555555",
            linewidth=1.0,
            linestyle="--",
            zorder=1,
            label="best of both",
        )
    if chart.kind in _BARS or not numbers:
        axis.set_xticks(range(len(categories)), [_tick(x) for x in categories], rotation=30, ha="right")
    elif chart.x in ("bytes", "size") or chart.x.endswith("_bytes"):
        size_axis(axis, sorted(categories))
    elif chart.log_x and len(categories) <= _MOST_TICKS:
        axis.set_xticks(sorted(categories), [f"{x:,.10g}" for x in sorted(categories)])
        axis.xaxis.minorticks_off()
    if chart.log_y:
        plain_numbers(axis)
    if len(shown) > 1:
        figure.legend(loc="outside right upper")


def _series(
    axis: Any, chart: Chart, label: str, spreads: list[Spread], place: dict[Any, Any], number: int, of: int
) -> None:
    style = look(number)
    xs = [place[spread.x] for spread in spreads]
    if chart.kind in ("scatter", "pareto"):
        points = [(place[spread.x], value) for spread in spreads for value in spread.values]
        axis.plot(
            *zip(*points, strict=True), linestyle="", marker=style.marker, color=style.color, label=label
        )
        return
    width = 0.8 / of
    offset = (number - (of - 1) / 2) * width
    if chart.kind == "box":
        boxes = axis.boxplot(
            [spread.values for spread in spreads], positions=[x + offset for x in xs], widths=width * 0.8
        )
        for part in (*boxes["boxes"], *boxes["medians"], *boxes["whiskers"], *boxes["caps"]):
            part.set_color(style.color)
        for part in boxes["boxes"]:
            part.set_linestyle(style.linestyle)
        points = [
            (x + offset, value) for x, spread in zip(xs, spreads, strict=True) for value in spread.values
        ]
        dots = {"linestyle": "", "marker": style.marker, "markersize": 3, "alpha": 0.6}
        axis.plot(*zip(*points, strict=True), color=style.color, **dots)
        axis.plot([], [], color=style.color, linestyle=style.linestyle, marker=style.marker, label=label)
        return
    middle = [spread.middle for spread in spreads]
    low = [spread.low for spread in spreads]
    high = [spread.high for spread in spreads]
    bars = [
        [m - a for m, a in zip(middle, low, strict=True)],
        [b - m for m, b in zip(middle, high, strict=True)],
    ]
    spread_out = any(a != b for a, b in zip(low, high, strict=True))
    if chart.kind == "bar":
        places = [x + offset for x in xs]
        look_of = {"color": style.color, "hatch": style.hatch, "edgecolor": "white", "linewidth": 0.5}
        axis.bar(
            places, middle, width, label=label, yerr=bars if spread_out else None, ecolor="#222222", **look_of
        )
        return
    axis.plot(xs, middle, label=label, **style.line())
    if all(spread.limit is not None for spread in spreads):
        axis.plot(xs, [spread.limit for spread in spreads], color=style.color, linewidth=0.7, alpha=0.7)
    if spread_out:
        axis.fill_between(xs, low, high, color=style.color, alpha=0.15, linewidth=0)


def _part(
    axis: Any, label: str, spreads: list[Spread], place: dict[Any, Any], base: dict[Any, float], number: int
) -> None:
    """One part of a stack, on what stands there already."""
    style = look(number)
    axis.bar(
        [place[spread.x] for spread in spreads],
        [spread.middle for spread in spreads],
        0.7,
        bottom=[base[spread.x] for spread in spreads],
        color=style.color,
        hatch=style.hatch,
        edgecolor="white",
        linewidth=0.5,
        label=label,
    )
    for spread in spreads:
        base[spread.x] += spread.middle


def _tick(x: Any) -> str:
    return f"{x:,.10g}" if isinstance(x, (int, float)) and not isinstance(x, bool) else str(x)


def _heat(figure: Any, axis: Any, chart: Chart, series: dict[str, list[Spread]]) -> None:
    columns = list(dict.fromkeys(spread.x for spreads in series.values() for spread in spreads))
    cells = [
        [next((spread.middle for spread in spreads if spread.x == x), float("nan")) for x in columns]
        for spreads in series.values()
    ]
    image = axis.imshow(cells, aspect="auto", cmap="cividis")
    axis.grid(False)
    axis.set_xticks(range(len(columns)), [_tick(x) for x in columns], rotation=30, ha="right")
    middle = (image.norm.vmin + image.norm.vmax) / 2
    for row, line in enumerate(cells):
        for column, value in enumerate(line):
            if len(line) <= _MOST_WRITTEN and value == value:
                ink = "black" if value > middle else "white"
                axis.text(column, row, f"{value:.3g}", ha="center", va="center", color=ink, fontsize=7)
    axis.set_yticks(range(len(series)), list(series))
    axis.set_ylabel("")
    figure.colorbar(image, label=chart.y_title or chart.y)
