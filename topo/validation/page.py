"""The validation page: tables, figures, and in words where the model is weak, made from the numbers of the moment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from topo.collective import OPERATIONS
from topo.units import format_bytes
from topo.validation.compare import Compared, Outcome
from topo.validation.left_record import read_left_one_out, table_of
from topo.validation.row import BANDS, Row
from topo.validation.statistics import LARGE, SMALL, Statistics, families, over_all
from topo.validation.text import (
    band_table,
    group_table,
    left_out_lines,
    markdown_table,
    percents,
    system_table,
)
from topo.validation.training_page import training_section

CAUSES = Path(__file__).with_name("causes.yaml")
GOALS = {LARGE: (0.05, 0.15), SMALL: (0.12, 0.30)}
"""Median and 90th percentile that this model aims at."""
WORST = 3
ALIKE = 3
"""Rows of a family that must be there before it counts among the worst."""

OWN = (
    "`topo validate --data mine.csv` does the same with your rows. The columns are those of the packaged files "
    "(`topo/validation/measured/*.csv`):",
    "",
    "| column | holds |",
    "| --- | --- |",
    "| `id` | a name of the row's own |",
    "| `target` | the system to simulate, such as `dgx-h100*2`; blank: the row is left out |",
    "| `devices` | ranks |",
    "| `nodes` | machines that they are spread over evenly; blank: the first so many ranks |",
    "| `op` | `all_reduce`, `all_gather`, `reduce_scatter`, `alltoall`, `broadcast`, `reduce`, `sendrecv` |",
    "| `bytes` | the size that nccl-tests prints, in bytes |",
    "| `time_us` | microseconds; blank: computed from a bandwidth |",
    "| `algbw_GBs`, `busbw_GBs` | 1e9 bytes/s, optional |",
    "| `in_place` | 1, 0 or blank |",
    "| `algorithm` | the one that ran, where that is known, such as `ring`; blank: the library's own choice |",
    "| `timing` | `pytorch`: made and timed by a PyTorch program; `one-process`: one process starts the call on all "
    "accelerators of a machine (`-g 8`); `host`: with the host's launch; `device`: without; blank: as `source` and "
    "`notes` tell, else a process for each accelerator |",
    "| `system`, `notes`, `source` | for people; cores as ranks are known by `system` |",
    "",
    "What is wrong in a file is named by row and column, the rest is compared, and the exit code is 2. nccl-tests' "
    "sendrecv, in which every rank sends to the next, is simulated as its slowest pair.",
    "",
    "`topo calibrate all_reduce.log -o my-cluster.yaml` fits the library's constants to the output of nccl-tests or "
    "rccl-tests on your cluster, says how sure each is, draws before and after, and writes a file for `--ccl`.",
)


def page(outcome: Outcome, rows: Sequence[Row]) -> str:
    """The whole page in Markdown."""
    compared = outcome.compared
    overall = over_all(compared)
    parts = [
        "# How far off the simulation is",
        "",
        "Made by `make validation` from the runs of that moment; `topo validate` prints the same numbers. "
        f"{len(compared)} published measurements of collectives on {len({r.target for r in rows})} systems, each "
        "simulated on the system that it names, with the library model of that system and the library's own choice of "
        "algorithm unless the source says which one ran. An error is simulated over measured time, less 1: below zero "
        "the simulation is too fast.",
        "",
        "## Over all",
        "",
        markdown_table(band_table(compared), 1),
        "",
        _goals(overall),
        "",
        "![Errors](validation/errors.svg)",
        "",
        "## One system left out",
        "",
        *_left_one_out(),
        "",
        "## By system",
        "",
        markdown_table(system_table(compared), 1),
        "",
        "![Measured and simulated](validation/measured-and-simulated.svg)",
        "",
        "## Where it is weak",
        "",
        *_weak(compared),
        "",
        "## Training steps",
        "",
        *training_section(),
        "",
        "## By system, operation, ranks and size",
        "",
        markdown_table(group_table(compared), 4),
        "",
        "## Rows left out",
        "",
        *(f"- {line}" for line in left_out_lines(outcome.left_out, 4)),
        "",
        "## Your own measurements",
        "",
        *OWN,
        "",
        "## Where the numbers come from",
        "",
        *_sources(rows),
        "",
        "## What this does not claim",
        "",
        *_disclaimers(compared),
        "",
    ]
    return "\n".join(parts)


def _goals(overall: dict[str, Statistics]) -> str:
    sentences = []
    for name, (median, p90) in GOALS.items():
        if name not in overall:
            continue
        s = overall[name]
        verdict = (
            "both are met"
            if s.median <= median and s.p90 <= p90
            else "the median is met, the 90th percentile is not"
            if s.median <= median
            else "the 90th percentile is met, the median is not"
            if s.p90 <= p90
            else "neither is met"
        )
        sentences.append(
            f"Rows {name}: the aim is a median of {median:.0%} and a 90th percentile of {p90:.0%}; {verdict} "
            f"({s.median:.1%} and {s.p90:.1%})."
        )
    return " ".join(sentences)


def _left_one_out() -> list[str]:
    data = read_left_one_out()
    if not data:
        return ["Not computed yet: `topo validate --leave-one-out --record`."]
    lines = [
        "In turn the rows of one system are set aside, the fitted constants that act on it are fitted anew to all "
        "other rows, and its rows are simulated with those. Constants on which no other row bears are borrowed: the "
        "median of the same constant over like technologies, rates of thread blocks by block. Medians of the absolute "
        "error, as "
        "`topo validate --leave-one-out --record` last found them:",
        "",
    ]
    for by, records in data.items():
        if by == "machine":
            lines += ["", "The same with single machines set aside, as their sources describe them:", ""]
        lines.append(markdown_table(table_of(records, by), 1))
    lines += [
        "",
        "Where fitted and left out differ much and few constants are borrowed, the model remembers rather than "
        "explains. Where most are borrowed, the line says how well a technology never measured would be guessed.",
    ]
    return lines


def _weak(compared: Sequence[Compared]) -> list[str]:
    found = [(family, s) for family, s in families(compared).items() if s.count >= ALIKE]
    lines = [
        f"The {WORST} families of rows with the largest median error, and where in them the error sits:",
        "",
    ]
    told: set[str] = set()
    for (system, operation), s in found[:WORST]:
        causes = [cause for cause in _causes(system, operation) if cause not in told]
        told.update(causes)
        lines.append(" ".join((_weakness(compared, system, operation, s), *causes)))
    few = [family for family, s in families(compared).items() if s.count < ALIKE]
    if few:
        names = ", ".join(f"{operation} on {system}" for system, operation in few)
        lines.append(f"- Families of fewer than {ALIKE} rows, which prove little either way: {names}.")
    derived = [c for c in compared if "derived" in c.row.notes or c.row.derived]
    if derived:
        lines.append(
            f"- {len(derived)} rows have a time computed from a rounded bandwidth; below about 0.1 GB/s that is "
            "coarse, and part of their error is the rounding's."
        )
    pairs = _in_and_out_of_place(compared)
    if pairs:
        lines.append(
            f"- The measurements themselves scatter: in-place and out-of-place times of the same run differ by "
            f"{_median(pairs):.1%} (median of {len(pairs)} pairs) and by more than "
            f"{sorted(pairs)[int(0.9 * len(pairs))]:.0%} in a tenth of them. The simulation knows no difference "
            "between the two."
        )
    return lines


def _weakness(compared: Sequence[Compared], system: str, operation: str, s: Statistics) -> str:
    mine = [c for c in compared if (c.row.target, c.row.operation) == (system, operation)]
    count, median, p90, _, bias = percents(s)
    parts = [
        f"- {operation} on {system}: median {median}, 90th percentile {p90}, bias {bias} over {count} rows"
    ]
    bands = {band: [c for c in mine if c.row.band == band] for band in BANDS}
    worst = max(
        (band for band in BANDS if bands[band]), key=lambda band: _median(abs(c.error) for c in bands[band])
    )
    some = bands[worst]
    sign = "slow" if sum(c.error for c in some) > 0 else "fast"
    parts.append(
        f"worst at {worst}, where the simulation is too {sign} by {_median(abs(c.error) for c in some):.0%}"
    )
    what = {c.bottleneck.partition(",")[0].partition(" and ")[0] for c in some}
    if what == {"latency only"}:
        parts.append("there latency decides, not bandwidth")
    used = sorted({c.algorithm for c in some})
    parts.append(f"simulated as {', '.join(used[:3])}")
    machines = sorted({c.row.system for c in some})
    if len(machines) > 1:
        spread = ", ".join(
            f"{_median(c.error for c in some if c.row.system == machine):+.0%} on {machine[:60]}"
            for machine in machines[:4]
        )
        parts.append(f"machines that this one model stands for differ: {spread}")
    return "; ".join(parts) + "."


def _causes(system: str, operation: str) -> list[str]:
    """What is known of why a family is met badly."""
    import yaml

    found = yaml.safe_load(CAUSES.read_text(encoding="utf-8"))
    return [
        str(entry["cause"]).strip()
        for entry in found
        if fnmatchcase(system, entry["system"]) and fnmatchcase(operation, entry["operation"])
    ]


def _in_and_out_of_place(compared: Sequence[Compared]) -> list[float]:
    """Relative differences between in-place and out-of-place times of the same measurement."""
    times: dict[tuple[object, ...], dict[bool, float]] = {}
    for c in compared:
        if c.row.in_place is not None:
            key = (
                c.row.file,
                c.row.source,
                c.row.target,
                c.row.operation,
                c.row.ranks,
                c.row.bytes,
                c.row.algorithm,
            )
            times.setdefault((*key, c.row.system), {})[c.row.in_place] = c.row.seconds
    return [abs(pair[True] / pair[False] - 1) for pair in times.values() if len(pair) == 2]


def _median(values: Iterable[float]) -> float:
    found = sorted(values)
    middle = len(found) // 2
    return found[middle] if len(found) % 2 else (found[middle - 1] + found[middle]) / 2


def _sources(rows: Sequence[Row]) -> list[str]:
    counts: dict[str, list[Row]] = {}
    for row in rows:
        counts.setdefault(row.source, []).append(row)
    lines = []
    for source, mine in sorted(counts.items(), key=lambda item: -len(item[1])):
        sizes = [row.bytes for row in mine]
        span = f"{format_bytes(min(sizes))} to {format_bytes(max(sizes))}"
        lines.append(f"- {source}: {len(mine)} rows, {', '.join(sorted({r.target for r in mine}))}, {span}")
    return lines


def _disclaimers(compared: Sequence[Compared]) -> list[str]:
    known = {c.row.operation for c in compared}
    missing = [op for op in OPERATIONS if op != "barrier" and op not in known]
    lines = [
        "- Fitted constants were fitted to these same rows; only the numbers with a system left out speak of machines "
        "that the model has not seen.",
        "- The measurements are one run each, on machines, drivers and library versions that the sources mostly do not "
        "name in full. Another cluster of the same parts may differ by more than the errors here: "
        "`topo calibrate` fits your own.",
        "- Systems without rows here have no measured credit at all; their constants are borrowed or documented.",
        "- Noise, stragglers, other jobs and failures are not in the model.",
    ]
    if missing:
        lines.insert(2, f"- No row here measures {', '.join(missing)}.")
    return lines


def write_page(outcome: Outcome, rows: Sequence[Row], folder: Path) -> list[Path]:
    """Write ``validation.md`` and its figures into a folder."""
    from topo.validation.figures import write_figures
    from topo.validation.training_page import draw_steps

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "validation.md"
    path.write_text(page(outcome, rows), encoding="utf-8")
    figures = folder / "validation"
    return [path, *write_figures(outcome.compared, figures, formats=("svg",)), *draw_steps(figures)]


__all__ = ["page", "write_page"]
