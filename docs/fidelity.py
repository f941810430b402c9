"""Writes docs/fluid-and-packets.md and its figure: where the fluid and the packet engine agree."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import topo
from topo.bounds import lower_bound
from topo.network.packet import run_packets
from topo.network.program import Program, compile_program
from topo.network.solver import run_alone
from topo.report.style import look, save, styled
from topo.simulate import require_bound
from topo.units import format_bytes, format_time

HERE = Path(__file__).parent
AGREE = 0.02
MEBI = 2.0**20


@dataclass(frozen=True)
class Case:
    """One line of the table: what ran, and what each engine says in seconds."""

    name: str
    size: float
    buffer: int | None
    fluid: float
    packets: float

    @property
    def ratio(self) -> float:
        """Packet time over fluid time."""
        return self.packets / self.fluid


def case(
    name: str, system: str, operation: str, size: float, algorithm: str, buffer: int | None = None
) -> Case:
    """Run one schedule on both engines; "incast" keeps only what goes to the first rank."""
    fabric = topo.load(system).fabric
    schedule = topo.schedule(fabric, operation, size, algorithm=algorithm)
    program: Program = compile_program(schedule, fabric)
    if name == "incast":
        row = np.repeat(np.arange(program.rows), np.diff(program.route_pointer))
        into = row[fabric.target[program.route_link] == fabric.accelerators[0]]
        program = replace(program, bytes=np.where(np.isin(np.arange(program.rows), into), program.bytes, 0.0))
    packets = run_packets(program, fabric, buffer=buffer)
    if name != "incast":
        require_bound(packets.finish, lower_bound(schedule.collective, fabric, np.arange(fabric.ranks)), name)
    return Case(name, size, buffer, run_alone(program)[0].finish, packets.finish)


def cases() -> list[Case]:
    """Everything on the page."""
    torus, found = "torus:4x4x4", []
    for size in (2.0**16, MEBI, 16 * MEBI):
        found += [case("ring all-reduce", torus, "all-reduce", size, "ring")]
        found += [case("bucket all-reduce", torus, "all-reduce", size, "bucket")]
        found += [case("all-to-all", torus, "all-to-all", size, "direct")]
        found += [case("incast", "switch:16", "all-to-all", size, "direct")]
        found += [case("NVLS all-reduce, dgx-h100", "dgx-h100", "all-reduce", size, "nvls")]
        found += [case("NVLS all-reduce, gb200-nvl72", "gb200-nvl72", "all-reduce", size, "nvls")]
        found += [case("NVLS all-gather, gb200-nvl72", "gb200-nvl72", "all-gather", size, "nvls")]
    for buffer in (256, 128, 64, 32, 16, 8, 4):
        found += [case("all-to-all", torus, "all-to-all", 4 * MEBI, "direct", buffer)]
        found += [case("ring all-reduce", torus, "all-reduce", 4 * MEBI, "ring", buffer)]
    return found


def draw(found: list[Case]) -> None:
    """Packet time over fluid time, against size and against depth of buffers."""
    with styled() as pyplot:
        figure, axes = pyplot.subplots(1, 2, figsize=(8, 3.6), squeeze=False)
        by_size, by_depth = axes[0]
        for number, name in enumerate(dict.fromkeys(c.name for c in found)):
            style = look(number).line()
            deep = [c for c in found if c.name == name and c.buffer is None]
            shallow = [c for c in found if c.name == name and c.buffer is not None]
            by_size.plot([c.size for c in deep], [c.ratio for c in deep], label=name, **style)
            if shallow:
                by_depth.plot([c.buffer for c in shallow], [c.ratio for c in shallow], **style)
        by_size.set(xscale="log", xlabel="size", ylabel="packet time / fluid time")
        by_depth.set(xscale="log", yscale="log", xlabel="packets of room in a virtual channel")
        sizes = sorted({c.size for c in found if c.buffer is None})
        depths = sorted({c.buffer for c in found if c.buffer is not None})
        by_size.set_xticks(sizes, [format_bytes(size) for size in sizes])
        by_depth.set_xticks(depths, [str(depth) for depth in depths])
        by_depth.set_yticks([1, 2, 5, 10], ["1", "2", "5", "10"])
        for axis in axes[0]:
            axis.minorticks_off()
        figure.legend(loc="outside lower center", ncols=3)
        save(figure, HERE / "fluid-and-packets.svg")
        pyplot.close(figure)


def page(found: list[Case]) -> str:
    """The text, its numbers and judgements taken from the runs."""
    deep = [c for c in found if c.buffer is None]
    shallow = [c for c in found if c.buffer is not None]
    worst = max(deep, key=lambda c: abs(c.ratio - 1))
    near = [c for c in deep if abs(c.ratio - 1) <= AGREE]
    far = [c for c in deep if abs(c.ratio - 1) > AGREE]
    lines = [
        "# Where fluid and packets agree",
        "",
        "Made by `make fidelity`; every number comes from the runs of that moment.",
        "",
        "The fluid engine gives transfers smooth, fair shares of links. The packet engine sends 4 KiB packets hop "
        "by hop, with queues, credits and virtual channels. Both run the same schedules, so a difference between "
        "them is what the fluid model leaves out. The torus is 4x4x4, the incast is fifteen to one on a switch of "
        "sixteen, and NVLS is added and copied by the switches of the machine named. Buffers are deep unless said "
        "otherwise: 256 packets or more for each virtual channel.",
        "",
        "![Packet time over fluid time](fluid-and-packets.svg)",
        "",
        "| case | size | packets of room | fluid | packets | packets / fluid |",
        "|---|---|---|---|---|---|",
    ]
    for c in found:
        room = "deep" if c.buffer is None else str(c.buffer)
        times = f"{format_time(c.fluid)} | {format_time(c.packets)} | {c.ratio:.3f}"
        lines.append(f"| {c.name} | {format_bytes(c.size)} | {room} | {times} |")
    lines += [
        "",
        "## What it means",
        "",
        f"- With deep buffers {len(near)} of {len(deep)} cases agree within {AGREE:.0%}; the largest difference is "
        f"{worst.ratio - 1:+.1%} ({worst.name} of {format_bytes(worst.size)}).",
    ]
    if far:
        names = ", ".join(f"{c.name} of {format_bytes(c.size)} ({c.ratio - 1:+.1%})" for c in far)
        lines.append(f"- Beyond that: {names}. Judge differences of that size between algorithms by packets.")
    quicker = [c for c in deep if c.ratio < 1 - 1e-6]
    if quicker:
        best = min(quicker, key=lambda c: c.ratio)
        lines.append(
            f"- Packets can be quicker, by up to {1 - best.ratio:.1%} here ({best.name} of "
            f"{format_bytes(best.size)}): fair shares are not the quickest way to finish all. None of the "
            "collectives here comes in below its lower bound."
        )
    trees = [c for c in deep if "NVLS" in c.name]
    low, high = (pick(trees, key=lambda c: c.ratio) for pick in (min, max))
    lines.append(
        "- Trees through switches: a switch sends a sum on when the packets of the same number have come from all "
        "its inputs, and copies a packet to all outputs; a copied packet keeps its room until its last copy has left. "
        f"Packets take {low.ratio:.3f} ({low.name} of {format_bytes(low.size)}) to {high.ratio:.3f} "
        f"({high.name} of {format_bytes(high.size)}) times the fluid time. They are quicker where shards are summed "
        "one after another, so that the first come down while the last go up; and slower where a shard is few packets "
        "for many switches, which then share them unevenly."
    )
    for name in dict.fromkeys(c.name for c in shallow):
        mine = [c for c in shallow if c.name == name]
        good = [c.buffer for c in mine if c.buffer is not None and c.ratio <= 1 + AGREE]
        enough = (
            f"needs {min(good)} packets of room to be at most {AGREE:.0%} slower"
            if good
            else "never comes near"
        )
        last = mine[-1]
        lines.append(
            f"- Shallow buffers: {name} of 4 MiB {enough}; with {last.buffer} it takes {last.ratio:.2f} x."
        )
    lines += [
        "- A link waits for credit as soon as its buffer holds less than bandwidth times a round trip. Congested "
        "traffic with turns needs several times that. The fluid model assumes both are given.",
        "- Check a small case of your own with `topo run ... --engine packet --buffers 16`.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    runs = cases()
    draw(runs)
    (HERE / "fluid-and-packets.md").write_text(page(runs), encoding="utf-8")
    print(f"{HERE / 'fluid-and-packets.md'}: {len(runs)} cases")
