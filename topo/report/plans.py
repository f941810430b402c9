"""Searches of plans as text, as records and as a figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from topo.report.step import WORDS, step_block
from topo.units import format_time

if TYPE_CHECKING:
    from topo.training.search import Found, SearchResult
    from topo.training.step import StepResult


def search_block(result: SearchResult, show: int = 8) -> str:
    """A search as text: the best plan, the others, and what was looked at."""
    refused = f"; {sum(result.refused.values())} could not be simulated" if result.refused else ""
    lines = [
        f"{result.model} on {result.system}: {result.considered:,} plans considered, {result.fitting:,} of them fit "
        f"and no other is sure to match them, {result.laid_out:,} placements looked at, {result.simulated} simulated"
        f"{refused}; {format_time(result.wall_s)}",
        proof(result),
        "",
        "The best plan",
        step_block(result.best.result),
        "",
        plan_table(result.found[:show]),
        "",
        "Of those simulated, no other is both faster and smaller:",
        plan_table(result.pareto),
    ]
    return "\n".join(lines)


def proof(result: SearchResult) -> str:
    """What is known of the plans that were not simulated."""
    from topo.training.search import PROVED

    if result.gap < PROVED:
        return "No other plan of these can be faster: the floor under each is above the best time."
    stopped = "" if result.complete else "Stopped before the end. "
    return f"{stopped}Another plan could save {result.gap:.1%} of the best time at most, by the lowest floor left."


def plan_table(found: Sequence[Found]) -> str:
    """Plans as a table."""
    rows = [("tokens/s", "step", "MFU", "memory", "contention", "plan", "placement")]
    for entry in found:
        r = entry.result
        rows.append(
            (
                f"{r.tokens_per_s:,.0f}",
                format_time(r.step_s),
                f"{r.mfu:.1%}",
                f"{r.memory_bytes / 1e9:.0f} GB",
                r.contention,
                r.plan,
                r.placement,
            )
        )
    return _aligned(rows, left=(4, 5, 6))


def comparison_block(steps: Sequence[StepResult]) -> str:
    """Systems beside each other, the fastest first, and why it is."""
    ordered = sorted(steps, key=lambda step: -step.tokens_per_s)
    rows = [("system", "chips", "tokens/s", "MFU", "step", "largest loss", "USD per 1e12 tokens", "plan")]
    for r in ordered:
        money = r.cost_per_trillion_tokens_usd
        rows.append(
            (
                r.system,
                f"{r.accelerators:,}",
                f"{r.tokens_per_s:,.0f}",
                f"{r.mfu:.1%}",
                format_time(r.step_s),
                loss_of(r),
                f"{money:,.0f}" if money else "-",
                r.plan,
            )
        )
    return "\n".join([_aligned(rows, left=(0, 5, 7)), "", *why(ordered)])


def loss_of(step: StepResult) -> str:
    """Where most of the step goes besides computation, and its share."""
    part, seconds = max(
        ((part, seconds) for part, seconds in step.split.items() if part != "compute"),
        key=lambda entry: entry[1],
    )
    return f"{part} {seconds / step.step_s:.1%}" if seconds > 0 else "none"


def why(ordered: Sequence[StepResult]) -> list[str]:
    """Sentences on why the first is faster than the second: which parts of the time per token differ."""
    if len(ordered) < 2:
        return []
    first, second = ordered[0], ordered[1]
    ratio = first.tokens_per_s / second.tokens_per_s
    sentences = [
        f"{first.system} is {ratio:.2f} times as fast as {second.system}: {first.tokens_per_s:,.0f} against "
        f"{second.tokens_per_s:,.0f} tokens/s."
    ]
    mine = {part: first.split[part] / first.tokens for part in WORDS}
    theirs = {part: second.split[part] / second.tokens for part in WORDS}
    gap = sum(theirs.values()) - sum(mine.values())
    if gap > 0:
        gains = sorted(((theirs[part] - mine[part]) / gap, part) for part in WORDS)
        good = [(share, part) for share, part in reversed(gains) if share > 0.05]
        bad = [(share, part) for share, part in gains if share < -0.05]
        if good:
            listed = ", ".join(f"{WORDS[part]} {share:.0%}" for share, part in good[:3])
            sentences.append(f"Of the time it saves for every token: {listed}.")
        if bad:
            listed = ", ".join(f"{WORDS[part]} {-share:.0%}" for share, part in bad[:2])
            sentences.append(f"It loses some of that again: {listed}.")
    for step in (first, second):
        sentences.append(
            f"{step.system} runs {step.plan}; {step.compute_s / step.step_s:.0%} of its step is computation, and "
            f"its busiest link is the {step.bottleneck}."
        )
    return sentences


def search_record(result: SearchResult) -> dict[str, Any]:
    """A search as a record."""
    pareto = {id(found) for found in result.pareto}
    return {
        "model": result.model,
        "system": result.system,
        "global_batch": result.batch,
        "considered": result.considered,
        "fitting": result.fitting,
        "laid_out": result.laid_out,
        "simulated": result.simulated,
        "refused": result.refused,
        "complete": result.complete,
        "gap": result.gap,
        "wall_s": result.wall_s,
        "best": result.best.result.record(),
        "plans": [{**found.result.record(), "pareto": id(found) in pareto} for found in result.found],
    }


def write_search_figure(result: SearchResult, path: Path) -> None:
    """Speed, and money where the system has a price, against memory of every simulated plan; the Pareto set joined."""
    from topo.report.style import check_picture, look, save, styled

    check_picture(path)
    with styled() as pyplot:
        figure, axis = pyplot.subplots(figsize=(6.4, 4.2), layout="constrained")
        for number, contention in enumerate(("full", "isolated")):
            some = [found.result for found in result.found if found.result.contention == contention]
            axis.scatter(
                [r.memory_bytes / 1e9 for r in some],
                [r.tokens_per_s for r in some],
                color=look(number).color,
                marker=look(number).marker,
                s=22,
                label=f"contention {contention}",
            )
        front = sorted((found.result for found in result.pareto), key=lambda r: r.memory_bytes)
        sizes, speeds = [r.memory_bytes / 1e9 for r in front], [r.tokens_per_s for r in front]
        axis.plot(sizes, speeds, lw=1, zorder=0, drawstyle="steps-post")
        for r in front[-2:]:
            axis.annotate(r.plan.split(", ")[0], (r.memory_bytes / 1e9, r.tokens_per_s), fontsize=7)
        axis.set_xlabel("GB on the fullest accelerator")
        axis.set_ylabel("tokens/s")
        best = result.best.result
        if best.cost_per_trillion_tokens_usd:
            # On one system, money for a token and tokens in a second are inverse.
            times = best.cost_per_trillion_tokens_usd * best.tokens_per_s
            money = axis.secondary_yaxis("right", functions=(_inverse(times), _inverse(times)))
            money.set_ylabel(f"USD for 10$^{{12}}$ tokens ({best.cost_basis})")
        axis.set_title(f"{result.model} on {result.system}: {result.considered:,} plans considered")
        axis.legend()
        save(figure, path)


def _inverse(times: float) -> Callable[[Any], Any]:
    import numpy as np

    return lambda value: times / np.maximum(value, times * 1e-12)


def _aligned(rows: Sequence[Sequence[str]], left: tuple[int, ...]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
