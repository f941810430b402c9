"""How near does every collective come to the time that nothing can beat, on healthy and on damaged systems?

Writes a page of tables: for each system and operation the best algorithm found, its time, the lower bound, their
ratio and what binds; then the same with one cable cut; then every large ratio with its reason.  Run as
``python experiments/optimality.py docs/optimality.md``, or ``make optimality``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import topo
from topo.errors import InternalError, TopoError
from topo.units import format_bytes, format_time

SIZE = 2.0**30
SMALL = 2.0**20
"""Bytes of the table in which latency counts."""
WORTH_A_REASON = 1.25
LONGEST = 260
"""Characters of a certificate in the table."""
BUSY = 0.95
"""Share of the time from which on a link is called saturated."""
OPERATIONS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "broadcast", "reduce", "barrier")


@dataclass(frozen=True)
class Subject:
    """A system and the cable that is cut in the second table."""

    name: str
    cable: str

    def damaged(self) -> str:
        """Name of the system with the cable cut."""
        return f"{self.name},failed={self.cable}"


SUBJECTS = (
    Subject("gb200-nvl72", "gpu0-nvswitch0"),
    Subject("tpu-v4:4x4x4", "0.0.0-0.0.1"),
    Subject("trn2-ultra", "0.0.0-0.0.1"),
    Subject("wse3,blocks=8x8", "0.0-0.1"),
    Subject("dgx-h100*8", "n0.gpu0-leaf0"),
)
# Slowest first, so that no process is left with the longest work at the end.
SLOWEST_FIRST = (3, 2, 4, 1, 0)


@dataclass(frozen=True)
class Row:
    """One line of the table; ``problem`` says why there is none."""

    system: str
    operation: str
    size: float
    algorithm: str = ""
    detail: str = ""
    chunks: int = 1
    time_s: float = 0.0
    bound_s: float = 0.0
    bound_kind: str = ""
    exact: bool = False
    ratio: float = 1.0
    binds: str = ""
    why: str = ""
    wall_s: float = 0.0
    problem: str = ""


def row_of(name: str, operation: str, size: float) -> Row:
    """One operation on one system; a barrier moves no bytes."""
    from topo.bounds import lower_bound
    from topo.collective import Collective

    system = topo.load(name)
    began = time.perf_counter()
    try:
        result = topo.simulate(system, operation, size, ccl="ideal")
        bound = lower_bound(Collective(operation, system.fabric.ranks, size), system.fabric, exact=True)
    except InternalError:
        raise
    except TopoError as problem:
        return Row(name, operation, size, problem=str(problem))
    exact = bool(bound.data.get("exact", False)) or operation == "barrier"
    return Row(
        name,
        operation,
        size,
        result.algorithm,
        result.detail,
        result.chunks,
        result.time_s,
        bound.seconds,
        bound.kind,
        exact,
        result.time_s / bound.seconds,
        bound.certificate,
        reason(result, exact),
        time.perf_counter() - began,
    )


def reason(result: topo.Result, exact: bool) -> str:
    """What keeps a run from its bound, as far as its own figures tell."""
    said = []
    if not exact:
        said.append("the bound is elementary, and may be out of reach for every algorithm")
    if result.bottleneck_utilisation >= BUSY:
        said.append(
            f"its bottleneck is saturated ({result.bottleneck}): it sends more over that than the bound asks for"
        )
    else:
        said.append(
            f"its bottleneck ({result.bottleneck}) has pauses: latency is {result.latency_s / result.time_s:.0%} "
            "of the time, and chunks wait for each other"
        )
    return "; ".join(said)


def text(healthy: list[Row], damaged: list[Row], small: list[Row]) -> str:
    """The page in Markdown."""
    lines = [
        "# How near to the optimum",
        "",
        f"Made by `make optimality`. Operations of {format_bytes(SIZE)} (nccl-tests' size) among all accelerators,",
        "the `ideal` library, the algorithm that `auto` chooses. No algorithm can be faster than the bound; *exact*",
        "means that it comes from all cuts or a linear program (a barrier's: from the longest of all shortest ways),",
        "*elementary* that it is the best of the quick ones. The all-reduce program is exact among schedules with a",
        "tree that reduces and a tree that spreads for every chunk.",
        "",
        *_summary(healthy, damaged),
        "",
        "## Healthy",
        "",
        *_table(healthy),
        "",
        "## One cable cut",
        "",
        *(f"- `{subject.damaged()}`" for subject in SUBJECTS),
        "",
        *_table(damaged),
        "",
        "## What the cut costs",
        "",
        "Time with the cable cut over time without, each with its own best algorithm; and the same of the bounds.",
        "",
        *_costs(healthy, damaged),
        "",
        f"## {format_bytes(SMALL)}, healthy",
        "",
        "Where latency and bytes both count a bound takes the larger of the two, while every schedule pays for both:",
        "ratios of two and more say more about the bound here than about the algorithm.",
        "",
        *_table(small),
        "",
        f"## Ratios above {WORTH_A_REASON}",
        "",
        *_far([*healthy, *damaged, *small]),
    ]
    return "\n".join(lines) + "\n"


def _summary(healthy: list[Row], damaged: list[Row]) -> Iterator[str]:
    for rows, what in ((healthy, "healthy"), (damaged, "with a cable cut")):
        ratios = sorted(row.ratio for row in rows if not row.problem)
        if ratios:
            middle = ratios[len(ratios) // 2]
            yield f"{len(ratios)} cases {what}: median ratio {middle:.3f}, largest {ratios[-1]:.3f}.  "


def _table(rows: list[Row]) -> Iterator[str]:
    yield "| system | operation | best algorithm | time | bound | which | ratio | what binds |"
    yield "|---|---|---|--:|--:|---|--:|---|"
    for row in rows:
        if row.problem:
            yield f"| {row.system} | {row.operation} | - | - | - | - | - | {row.problem} |"
            continue
        chunks = f", {row.chunks} chunks" if row.chunks > 1 else ""
        detail = f" ({row.detail})" if row.algorithm == "forest" else ""
        which = f"{row.bound_kind}, {'exact' if row.exact else 'elementary'}"
        binds = row.binds if len(row.binds) <= LONGEST else row.binds[: LONGEST - 3] + "..."
        yield (
            f"| {row.system} | {row.operation} | {row.algorithm}{chunks}{detail} | {_short(row.time_s)} |"
            f" {_short(row.bound_s)} | {which} | {row.ratio:.3f} | {binds} |"
        )


def _costs(healthy: list[Row], damaged: list[Row]) -> Iterator[str]:
    yield "| system | " + " | ".join(OPERATIONS) + " |"
    yield "|---|" + "--:|" * len(OPERATIONS)
    for start in range(0, len(healthy), len(OPERATIONS)):
        cells = []
        for whole, cut in zip(
            healthy[start : start + len(OPERATIONS)], damaged[start : start + len(OPERATIONS)], strict=True
        ):
            broken = whole.problem or cut.problem
            cells.append(
                "-" if broken else f"{cut.time_s / whole.time_s:.3f} ({cut.bound_s / whole.bound_s:.3f})"
            )
        yield f"| {healthy[start].system} | " + " | ".join(cells) + " |"


def _short(seconds: float) -> str:
    return format_time(float(f"{seconds:.4g}"))


def _far(rows: list[Row]) -> list[str]:
    far = sorted((row for row in rows if row.ratio > WORTH_A_REASON), key=lambda row: -row.ratio)
    return [
        f"- {row.ratio:.2f}, {row.operation} of {format_bytes(row.size)} on `{row.system}` ({row.algorithm}):"
        f" {row.why}."
        for row in far
    ] or ["None."]


def main() -> None:
    """Compute all rows in some processes and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path, help="the Markdown file to write")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    given = parser.parse_args()
    names = [name for number in SLOWEST_FIRST for name in (SUBJECTS[number].damaged(), SUBJECTS[number].name)]
    cases = [
        (name, operation, 0.0 if operation == "barrier" else SIZE)
        for name in names
        for operation in OPERATIONS
    ]
    moving = [operation for operation in OPERATIONS if operation != "barrier"]
    cases += [(subject.name, operation, SMALL) for subject in SUBJECTS for operation in moving]
    rows: dict[tuple[str, str, float], Row] = {}
    with ProcessPoolExecutor(given.jobs, get_context("spawn")) as pool:
        waiting = [pool.submit(row_of, *case) for case in cases]
        for done in as_completed(waiting):
            row = done.result()
            rows[row.system, row.operation, row.size] = row
            told = row.problem or f"{row.algorithm}, {row.ratio:.3f} x the bound, {row.wall_s:.1f} s"
            print(
                f"{len(rows):3}/{len(cases)} {row.operation} of {format_bytes(row.size)} on {row.system}: {told}",
                file=sys.stderr,
                flush=True,
            )
    large = [case for case in cases if case[2] != SMALL]
    healthy, damaged = (
        [rows[case] for name in chosen for case in large if case[0] == name]
        for chosen in ([subject.name for subject in SUBJECTS], [subject.damaged() for subject in SUBJECTS])
    )
    small = [rows[case] for case in cases if case[2] == SMALL]
    given.page.parent.mkdir(parents=True, exist_ok=True)
    given.page.write_text(text(healthy, damaged, small), encoding="utf-8")
    print(f"In {given.page}")


if __name__ == "__main__":
    main()
