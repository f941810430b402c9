"""How near does every collective come to the time that nothing can beat, on healthy and on damaged systems?

Writes a table: for each system and operation the best algorithm found, its time, the lower bound, their ratio and
what binds; then the same with one cable cut.  Run as ``python experiments/optimality.py docs/optimality.md``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import topo
from topo.errors import InternalError, TopoError
from topo.units import format_bytes, format_time

SIZE = 2.0**30
WORTH_A_REASON = 1.25
LONGEST = 260
"""Characters of a certificate in the table."""
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
    Subject("dgx-h100", "gpu0-nvswitch0"),
    Subject("dgx-h100*4", "n0.gpu0-leaf0"),
    Subject("tpu-v4:4x4x4", "0.0.0-0.0.1"),
    Subject("tpu-v5p:2x2x2", "0.0.0-0.0.1"),
    Subject("trn2", "0.0-0.1"),
    Subject("trn2-ultra", "0.0.0-0.0.1"),
    Subject("wse3,blocks=8x8", "0.0-0.1"),
)
# Slowest first, so that no process is left with the longest work at the end.
SLOWEST_FIRST = (7, 3, 6, 0, 2, 1, 5, 4)


@dataclass(frozen=True)
class Row:
    """One line of the table; ``problem`` says why there is none."""

    system: str
    operation: str
    algorithm: str = ""
    chunks: int = 1
    time_s: float = 0.0
    bound_s: float = 0.0
    bound_kind: str = ""
    exact: bool = False
    ratio: float = 1.0
    why: str = ""
    wall_s: float = 0.0
    problem: str = ""


def rows_of(system: str) -> list[Row]:
    """All operations on one system."""
    return list(_rows(system))


def _rows(name: str) -> Iterator[Row]:
    from topo.bounds import lower_bound
    from topo.collective import Collective

    system = topo.load(name)
    for operation in OPERATIONS:
        size = 0.0 if operation == "barrier" else SIZE
        began = time.perf_counter()
        try:
            result = topo.simulate(system, operation, size)
            bound = lower_bound(Collective(operation, system.fabric.ranks, size), system.fabric, exact=True)
        except InternalError:
            raise
        except TopoError as problem:
            yield Row(name, operation, problem=str(problem))
            continue
        yield Row(
            name,
            operation,
            result.algorithm,
            result.chunks,
            result.time_s,
            bound.seconds,
            bound.kind,
            bool(bound.data.get("exact", False)),
            result.time_s / bound.seconds,
            bound.certificate,
            time.perf_counter() - began,
        )


def text(healthy: list[Row], damaged: list[Row]) -> str:
    """The page in Markdown."""
    lines = [
        "# How near to the optimum",
        "",
        f"Made by `make optimality`. Operations of {format_bytes(SIZE)} (nccl-tests' size) among all accelerators,",
        "the `ideal` library, the algorithm that `auto` chooses. No algorithm can be faster than the bound; *exact*",
        "means that it comes from all cuts or a linear program, *elementary* that it is the best of the quick ones.",
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
        f"## Ratios above {WORTH_A_REASON}",
        "",
        *_far([*healthy, *damaged]),
    ]
    return "\n".join(lines) + "\n"


def _table(rows: list[Row]) -> Iterator[str]:
    yield "| system | operation | best algorithm | time | bound | which | ratio | what binds |"
    yield "|---|---|---|--:|--:|---|--:|---|"
    for row in rows:
        if row.problem:
            yield f"| {row.system} | {row.operation} | - | - | - | - | - | {row.problem} |"
            continue
        chunks = f", {row.chunks} chunks" if row.chunks > 1 else ""
        which = f"{row.bound_kind}, {'exact' if row.exact else 'elementary'}"
        why = row.why if len(row.why) <= LONGEST else row.why[: LONGEST - 3] + "..."
        yield (
            f"| {row.system} | {row.operation} | {row.algorithm}{chunks} | {_short(row.time_s)} |"
            f" {_short(row.bound_s)} | {which} | {row.ratio:.3f} | {why} |"
        )


def _short(seconds: float) -> str:
    return format_time(float(f"{seconds:.4g}"))


def _far(rows: list[Row]) -> list[str]:
    far = sorted((row for row in rows if row.ratio > WORTH_A_REASON), key=lambda row: -row.ratio)
    return [f"- {row.ratio:.2f}: {row.operation} on {row.system} ({row.algorithm})" for row in far] or [
        "None."
    ]


def main() -> None:
    """Compute all rows in two processes and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path, help="the Markdown file to write")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    given = parser.parse_args()
    names = [name for number in SLOWEST_FIRST for name in (SUBJECTS[number].damaged(), SUBJECTS[number].name)]
    rows: dict[str, list[Row]] = {}
    with ProcessPoolExecutor(given.jobs, get_context("spawn")) as pool:
        for name, found in zip(names, pool.map(rows_of, names), strict=True):
            rows[name] = found
            print(f"{name}: {sum(row.wall_s for row in found):.0f} s", flush=True)
    healthy = [row for subject in SUBJECTS for row in rows[subject.name]]
    damaged = [row for subject in SUBJECTS for row in rows[subject.damaged()]]
    given.page.parent.mkdir(parents=True, exist_ok=True)
    given.page.write_text(text(healthy, damaged), encoding="utf-8")
    print(f"In {given.page}")


if __name__ == "__main__":
    main()
