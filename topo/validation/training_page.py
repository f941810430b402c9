"""The part of the validation page on training steps: table, figure, and where the model is weak."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from topo.report.style import look, save, styled
from topo.validation.statistics import Statistics, statistics
from topo.validation.step_times import StepTime, read_times
from topo.validation.text import markdown_table

FIGURE = "training-steps"
MEDIAN_AIM, P90_AIM = 0.06, 0.15
WEAK = 4
"""Families that are named as the weakest."""
FEW = 3


def training_section(times: Sequence[StepTime] | None = None) -> list[str]:
    """Lines of the page, in Markdown."""
    times = read_times() if times is None else times
    if not times:
        return ["Not recorded yet: `topo validate --training --record`."]
    whole = statistics(time.error for time in times)
    rows: list[tuple[str, ...]] = [
        ("published by", "system", "precision", "steps", "median", "90 %", "worst", "bias")
    ]
    rows += [(*family, *_numbers(s)) for family, s in _families(times, "precision").items()]
    rows.append(("all", "", "", *_numbers(whole)))
    met = [
        f"the {name} is {'met' if value <= aim else 'not met'}"
        for name, value, aim in (
            ("median", whole.median, MEDIAN_AIM),
            ("90th percentile", whole.p90, P90_AIM),
        )
    ]
    lines = [
        f"{whole.count} published steps whose plan is complete, simulated from their plan alone, as "
        "`topo validate --training --record` last found them; it also lists the others with what they lack. Errors of "
        "the step's time. What a row leaves open (recomputation, overlap, CUDA graphs, fused kernels) is what the "
        "published recipes of its software and release do, by model and chip (`topo/training/recipes.yaml`), never "
        "by row. Some efficiencies of the chips' kernels were fitted to these steps.",
        "",
        f"The aim is a median of {MEDIAN_AIM:.0%} and a 90th percentile of {P90_AIM:.0%}: {', '.join(met)} "
        f"({whole.median:.1%} and {whole.p90:.1%}).",
        "",
        markdown_table(rows, 3),
        "",
        f"![Training steps](validation/{FIGURE}.svg)",
        "",
        "The models that it misses most, of those with three steps or more:",
        "",
    ]
    models = [(f, s) for f, s in _families(times, "model").items() if s.count >= FEW]
    for (publisher, system, model), s in sorted(models, key=lambda entry: -entry[1].median)[:WEAK]:
        side = "fast" if s.bias < 0 else "slow"
        lines.append(
            f"- {model} on {system} ({publisher}): median {s.median:.1%} over {s.count} steps, too {side} by "
            f"{abs(s.bias):.0%} on average."
        )
    return lines


def draw_steps(folder: Path, formats: Sequence[str] = ("svg",)) -> list[Path]:
    """Draw measured against simulated steps, and their errors, into a folder; nothing where nothing is recorded."""
    times = read_times()
    if not times:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    with styled() as pyplot:
        figure = _figure(pyplot, times)
        return [save(figure, folder / f"{FIGURE}.{suffix}") for suffix in formats]


def _figure(pyplot: Any, times: Sequence[StepTime]) -> Any:
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(8.4, 3.8))
    ends = [min(time.measured_s for time in times) / 1.3, max(time.measured_s for time in times) * 1.3]
    for share, line in ((1.0, "-"), (1.15, ":"), (1 / 1.15, ":")):
        left.plot(ends, [share * end for end in ends], color="black", linewidth=0.7, linestyle=line)
    for number, publisher in enumerate(sorted({time.published_by for time in times})):
        style = look(number)
        mine = [time for time in times if time.published_by == publisher]
        marks = {"linestyle": "none", "marker": style.marker, "color": style.color, "markersize": 3.5}
        left.plot(
            [time.measured_s for time in mine],
            [time.simulated_s for time in mine],
            markerfacecolor="none",
            markeredgewidth=0.8,
            label=publisher.partition("/")[2],
            **marks,
        )
        errors = sorted(100 * abs(time.error) for time in mine)
        right.plot(
            errors,
            [(place + 1) / len(errors) for place in range(len(errors))],
            color=style.color,
            linestyle=style.linestyle,
            label=f"{publisher.partition('/')[2]}, {len(mine)}",
        )
    left.set(
        xscale="log",
        yscale="log",
        xlabel="measured step (s)",
        ylabel="simulated step (s)",
        xlim=ends,
        ylim=ends,
    )
    left.set_title("Lines: the same, and 15 % off")
    left.legend(fontsize=7, loc="upper left")
    right.set(xlabel="error of the step's time (%), without sign", ylabel="share of the steps", xlim=(0, 60))
    right.set_ylim(0, 1.02)
    right.set_title("Steps with an error up to")
    right.legend(fontsize=7, loc="lower right")
    return figure


def _families(times: Sequence[StepTime], last: str) -> dict[tuple[str, str, str], Statistics]:
    found: dict[tuple[str, str, str], list[float]] = {}
    for time in times:
        found.setdefault((time.published_by, time.system, getattr(time, last)), []).append(time.error)
    return {family: statistics(found[family]) for family in sorted(found)}


def _numbers(s: Statistics) -> tuple[str, ...]:
    shares = (f"{value:.1%}".replace("%", " %") for value in (s.median, s.p90, s.worst))
    return (str(s.count), *shares, f"{s.bias:+.1%}".replace("%", " %"))
