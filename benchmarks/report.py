"""From the JSON of the benchmarks: a table of reached and to reach, a page and a figure of growth."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from topo.report.style import look, save, styled

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
LARGE = 10_000
"""Chips from which growth is fitted; below, starting Python is most of it."""
ASKED = 1.1
"""Largest exponent of growth with chips."""


def seconds(value: float | None) -> str:
    """Seconds as people write them."""
    if value is None:
        return "-"
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def rate(value: float) -> str:
    """Amounts a second as people write them."""
    return f"{value / 1e6:.3g} M/s" if value >= 1e6 else f"{value / 1e3:.3g} k/s"


def row(entry: dict[str, Any]) -> list[str]:
    """Name, reached, to reach, verdict, plain SimPy, ratio, memory."""
    info, best = entry["extra_info"], entry["stats"]["min"]
    name = entry["name"].split("[", 1)[1].rstrip("]")
    if info["target_rate"] is not None:
        reached = info["amount"] / best
        figures = [f"{rate(reached)} {info['unit']}", rate(info["target_rate"])]
        verdict = reached >= info["target_rate"]
    else:
        figures = [seconds(best), seconds(info["target_s"])]
        verdict = best <= info["target_s"]
    simpy = ["-", "-"]
    if "simpy_s_per_transfer" in info:
        each = info["simpy_s_per_transfer"]
        times = f"{each * info['amount'] / best:,.0f} x" if info["unit"] == "transfers" else "-"
        simpy = [f"{seconds(each)} a transfer", times]
    return [name, *figures, "yes" if verdict else "no", *simpy, f"{info['memory_bytes'] / 1e9:.2f} GB"]


def table(entries: list[dict[str, Any]]) -> list[str]:
    """The lines of a Markdown table."""
    head = ["case", "reached", "to reach", "met", "plain SimPy", "SimPy / topo", "peak memory so far"]
    rows = [row(entry) for entry in entries if entry["name"].startswith("test_speed")]
    return ["| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *rows]]


def simgrid(entries: list[dict[str, Any]]) -> list[str]:
    """What the page says of SimGrid."""
    found = [entry for entry in entries if entry["name"].startswith("test_simgrid")]
    if not found:
        return ["SimGrid is not compared: it is not installed (Debian: `apt install libsimgrid-dev g++`)."]
    lines = [
        f"## Beside SimGrid {found[0]['extra_info']['simgrid_version']}",
        "",
        "The same schedules as a graph of communications without actors (`benchmarks/simgrid_replay.cpp`), with "
        "SimGrid's plainest network model (CM02, no cross-traffic). All latencies are zero: otherwise SimGrid "
        "weights the shares of flows by their round-trip times, which is another problem with another answer. "
        "SimGrid knows one way between two hosts, so that no route is split. Its time is that of the simulation "
        "alone, without building platform and graph; topo's includes the folding.",
        "",
        "| case | transfers | topo | SimGrid | SimGrid / topo | answers differ by |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for entry in found:
        info, best = entry["extra_info"], entry["stats"]["min"]
        name = entry["name"].split("[", 1)[1].rstrip("]")
        lines.append(
            f"| {name} | {info['transfers']:,} | {seconds(best)} | {seconds(info['simgrid_s'])} | "
            f"{info['simgrid_s'] / best:,.3g} x | {info['difference']:.0e} |"
        )
    return lines


def growth(entries: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Chips, seconds and bytes."""
    found = [entry["extra_info"] for entry in entries if entry["name"].startswith("test_growth")]
    chips, times, memory = (
        np.asarray([info[key] for info in found]) for key in ("chips", "seconds", "bytes")
    )
    return chips, times, memory


def exponent(chips: np.ndarray, values: np.ndarray) -> float:
    """Slope in the logarithms of what large fabrics cost beyond the smallest one."""
    large = chips >= LARGE / 4
    return float(np.polyfit(np.log(chips[large]), np.log(values[large] - values[0]), 1)[0])


def last_step(chips: np.ndarray, values: np.ndarray) -> float:
    """The same between the two largest fabrics, all costs counted."""
    return float(np.log(values[-1] / values[-2]) / np.log(chips[-1] / chips[-2]))


def draw(chips: np.ndarray, times: np.ndarray, memory: np.ndarray, slopes: tuple[float, float]) -> None:
    """Time and memory against chips, beside growth with chips to the power that is asked."""
    from matplotlib.ticker import NullLocator

    with styled() as pyplot:
        figure, axes = pyplot.subplots(1, 2, figsize=(8, 3.4), squeeze=False)
        for axis, values, slope, label, short in zip(
            axes[0],
            (times, memory / 1e9),
            slopes,
            ("time (CPU seconds)", "peak memory (GB)"),
            ("s", "GB"),
            strict=True,
        ):
            large = chips >= LARGE / 4
            beyond = values - values[0]
            axis.plot(chips, values, label="all, from an empty process", **look(0).line())
            axis.plot(
                chips[large],
                beyond[large],
                label=f"beyond {chips[0]} chips: fitted exponent {slope:.2f}",
                **look(1).line(),
            )
            start, level = chips[large][0], beyond[large][0]
            asked = look(2).line() | {"marker": ""}
            axis.plot(
                chips[large],
                level * (chips[large] / start) ** ASKED,
                label=f"asked: exponent of at most {ASKED}",
                **asked,
            )
            axis.set(xscale="log", yscale="log", xlabel="chips", ylabel=label)
            axis.set_xticks(chips, [f"{count:,}" for count in chips])
            lowest, highest = axis.get_ylim()
            steps = [m * 10.0**k for k in range(-4, 4) for m in (1, 2, 5)]
            shown = [step for step in steps if lowest <= step <= highest]
            axis.set_yticks(shown, [f"{step:g} {short}" for step in shown])
            axis.xaxis.set_minor_locator(NullLocator())
            axis.yaxis.set_minor_locator(NullLocator())
            axis.tick_params(axis="x", rotation=30)
            axis.legend(loc="upper left", fontsize=7)
            axis.set_ylim(lowest, highest * (highest / lowest) ** 0.45)
        save(figure, DOCS / "benchmarks.svg")
        pyplot.close(figure)


def disturbed(machine: dict[str, Any]) -> str:
    """A word on what else ran."""
    load = machine.get("load_before", 0.0)
    if load < 0.2 * machine["cores"]:
        return ""
    return (
        f" The machine was busy with other work: {load:.1f} processes were running on its {machine['cores']} cores "
        "before the start, so that the times are longer than on a quiet one."
    )


def main() -> None:
    """Print the table; write the page and the figure."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "results.json"
    content = json.loads(path.read_text())
    entries, machine = content["benchmarks"], content["machine_info"]
    chips, times, memory = growth(entries)
    slopes = exponent(chips, times), exponent(chips, memory)
    draw(chips, times, memory, slopes)
    lines = [
        "# Speed of the engine",
        "",
        "Made by `make bench`; every number comes from that run. The raw figures are in `benchmarks/results.json`.",
        "",
        f"Machine: {machine['processor']}, {machine['cores']} cores, {machine['memory_bytes'] / 2**30:.0f} GiB, "
        f"Python {machine['python_version']}, numpy {machine['numpy']}, numba {machine['numba']}. Times are CPU "
        "seconds of one thread, the best of a few rounds. Compiled code is loaded before the clock starts; the first "
        "use after installation takes some seconds more." + disturbed(machine),
        "",
        *table(entries),
        "",
        "*Plain SimPy* is a model with one process per transfer and max-min sharing (`benchmarks/simpy_model.py`). It "
        "runs a small sibling of each case; its cost for each transfer there, times the transfers of the case, is the "
        "ratio. Its cost for each transfer grows with the case, so the true ratios are larger.",
        "",
        *simgrid(entries),
        "",
        "## Growth with chips",
        "",
        f"A bucket all-reduce on a cubic torus, from an empty process to the answer, takes {seconds(float(times[0]))} "
        f"and {memory[0] / 1e9:.2f} GB for {int(chips[0])} chips, {seconds(float(times[-1]))} and "
        f"{memory[-1] / 1e9:.2f} GB for {int(chips[-1]):,}. What large ones cost beyond the smallest grows "
        f"with chips to the power {slopes[0]:.2f} (time) and {slopes[1]:.2f} (memory); to reach: at most {ASKED}. "
        f"From {int(chips[-2]):,} to {int(chips[-1]):,} chips, all counted, the powers are "
        f"{last_step(chips, times):.2f} and {last_step(chips, memory):.2f}.",
        "",
        "![Time and memory against chips](benchmarks.svg)",
        "",
    ]
    (DOCS / "benchmarks.md").write_text("\n".join(lines))
    print("\n".join(table(entries)))
    print(f"growth: time {slopes[0]:.2f}, memory {slopes[1]:.2f} (to reach: {ASKED})")


if __name__ == "__main__":
    main()
