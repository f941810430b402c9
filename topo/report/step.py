"""A training step as text, as a figure and as a timeline."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from topo.report.blocks import percent, set_block
from topo.units import format_bandwidth, format_time

if TYPE_CHECKING:
    from topo.training.outcome import Span
    from topo.training.step import StepResult

WORDS = {
    "compute": "compute",
    "tp": "exposed tensor parallel",
    "cp": "exposed context parallel",
    "ep": "exposed expert parallel",
    "dp": "exposed data parallel",
    "pp": "exposed pipeline transfer",
    "bubble": "pipeline bubble",
    "optimizer": "optimizer",
    "input": "input",
}
"""Headings of the step's seconds, in words."""


def step_block(result: StepResult) -> str:
    """One step as a block of text."""
    split = "; ".join(
        f"{WORDS[key]} {percent(seconds / result.step_s)}"
        for key, seconds in result.split.items()
        if seconds > 0
    )
    memory = ", ".join(f"{key} {size / 1e9:.1f} GB" for key, size in result.memory.items() if size > 0)
    rows = [
        ("plan", result.plan),
        ("placement", result.placement),
        ("step", f"{format_time(result.step_s)} for {result.tokens:,.0f} tokens"),
        (
            "speed",
            f"{result.tokens_per_s:,.0f} tokens/s, {result.tokens_per_s_per_accelerator:,.1f} on each accelerator",
        ),
        ("MFU, HFU", f"{percent(result.mfu)}, {percent(result.hfu)}"),
        ("time split", split),
        (
            "bound",
            f"{format_time(result.bound_s)} ({result.bound_kind}): the step is "
            f"{result.step_s / result.bound_s:.3g} x the bound",
        ),
        ("bottleneck", result.bottleneck),
        ("memory", f"{result.memory_bytes / 1e9:.1f} GB on the fullest accelerator: {memory}"),
        ("pool", f"{result.memory_domain_bytes / 1e9:,.1f} GB in the fullest scale-up domain"),
    ]
    if result.energy_j is not None and result.energy_per_trillion_tokens_kwh is not None:
        rows.append(
            (
                "energy",
                f"{result.energy_j / 3.6e6:,.2f} kWh a step, "
                f"{result.energy_per_trillion_tokens_kwh / 1e3:,.0f} MWh for a trillion tokens",
            )
        )
    if result.cost_usd is not None and result.cost_per_trillion_tokens_usd is not None:
        rows.append(
            (
                "money",
                f"{result.cost_usd:,.2f} USD a step, {result.cost_per_trillion_tokens_usd:,.0f} USD for a trillion "
                f"tokens ({result.cost_basis})",
            )
        )
    rows.append(
        (
            "simulated",
            f"library {result.ccl}, contention {result.contention}, in {format_time(result.wall_s)}",
        )
    )
    return set_block(f"{result.model} on {result.system}, {result.accelerators:,} accelerators", rows)


def mapped_block(record: Mapping[str, Any]) -> str:
    """One step of a dataflow machine as a block of text."""
    times = {
        "fill_s": "filling and draining",
        "reconfiguration_s": "reconfiguration",
        "compute_s": "compute",
        "down_s": "weights down",
        "up_s": "gradients up",
        "exchange_s": "talk between neighbours",
        "between_s": "talk between machines",
        "update_s": "update",
    }
    parts = [f"{words} {format_time(record[key])}" for key, words in times.items() if record.get(key)]
    rows = [
        ("mapping", str(record["mapping"])),
        ("step", f"{format_time(record['step_s'])} for {record['tokens']:,.0f} tokens"),
        ("speed", f"{record['tokens_per_s']:,.0f} tokens/s"),
        ("MFU", percent(record["mfu"])),
        ("of which", "; ".join(parts)),
        ("bound", f"{format_time(record['bound_s'])} ({record['binds']})"),
    ]
    if "service_s" in record:
        rows.append(
            (
                "regions",
                f"{format_time(record['service_s'])} for a micro-batch; transfers between them up to "
                f"{format_time(record['crossing_s'])}, busiest {record['bottleneck']}",
            )
        )
    if "outside_bytes" in record:
        whole = record["tensor"] == 1
        matrices = "matrices whole" if whole else f"matrices over {record['tensor']} accelerators"
        shared = record["outside_shared"]
        ways = f"{format_bandwidth(record['down_Bps'])} down, {format_bandwidth(record['up_Bps'])} up"
        rows += [
            ("weights", f"from {record['outside_memory']}; {ways}, {record['passes']} times a step"),
            ("split", f"{matrices}, recompute {record['recompute']}"),
            (
                "memory",
                f"{record['outside_bytes'] / 1e9:,.1f} GB outside{'' if shared else ', for each machine'}",
            ),
        ]
    if "memory_bytes" in record:
        rows.append(("memory", f"{record['memory_bytes'] / 1e9:,.1f} GB on the whole machine"))
    return set_block(f"{record['model']} on {record['system']}", rows)


def write_timeline(spans: Sequence[Span], path: Path) -> None:
    """Write what every stream did as trace events, which Perfetto (ui.perfetto.dev) opens.

    One process per pipeline stage, one thread per stream; times in microseconds.
    """
    streams = sorted({span.stream for span in spans}, key=lambda name: (name != "compute", name))
    number = {stream: i for i, stream in enumerate(streams)}
    events: list[dict[str, Any]] = []
    for stage in sorted({span.stage for span in spans}):
        events.append({"ph": "M", "name": "process_name", "pid": stage, "args": {"name": f"stage {stage}"}})
        events += [
            {"ph": "M", "name": "thread_name", "pid": stage, "tid": i, "args": {"name": stream}}
            for stream, i in number.items()
        ]
    events += [
        {
            "ph": "X",
            "name": span.name,
            "pid": span.stage,
            "tid": number[span.stream],
            "ts": span.start * 1e6,
            "dur": (span.end - span.start) * 1e6,
        }
        for span in spans
    ]
    path.write_text(json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}), encoding="utf-8")


def write_step_figure(results: Sequence[StepResult], path: Path) -> None:
    """Draw where the step goes: a bar for each result, its seconds stacked by heading, the bound as a mark."""
    from topo.report.style import look, save, styled

    with styled() as pyplot:
        figure, axis = pyplot.subplots(figsize=(7.5, 1.6 + 0.55 * len(results)), layout="constrained")
        rows = range(len(results))
        start = [0.0] * len(results)
        hatches = ("", "//", "\\\\", "..", "xx", "--", "++", "oo", "**")
        for number, key in enumerate(WORDS):
            seconds = [result.split[key] for result in results]
            if max(seconds) <= 0.001 * max(result.step_s for result in results):
                continue
            axis.barh(
                rows,
                seconds,
                left=start,
                height=0.6,
                color=look(number).color,
                hatch=hatches[number],
                edgecolor="white",
                linewidth=0.5,
                label=WORDS[key],
            )
            start = [a + b for a, b in zip(start, seconds, strict=True)]
        for row, result in enumerate(results):
            axis.plot([result.bound_s] * 2, [row - 0.38, row + 0.38], color="black", linewidth=2)
        axis.plot([], [], color="black", linewidth=2, label="lower bound")
        axis.set_yticks(list(rows), [f"{result.model}\non {result.system}" for result in results])
        axis.invert_yaxis()
        axis.set_xlabel("seconds of one step")
        axis.set_xlim(left=0)
        axis.grid(False, axis="y")
        figure.legend(loc="outside lower center", ncols=3)
        save(figure, path)
