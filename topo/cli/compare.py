"""``topo compare``: who wins which collective at which size, by how much, and what limits each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from topo.cli.options import as_json, echo_json

if TYPE_CHECKING:
    from topo.compare import Comparison

SYSTEMS = ("gb200-nvl72", "tpu-v4:4x4x4", "trn2-ultra", "wse3,blocks=8x8", "dgx-h100*8")
OPERATIONS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all")
SIZES = "1KiB..4GiB*4"
OUTPUT = "results/compare"
SHORT = 60
"""As many rows of nccl-tests' columns fit a terminal; more are written to the output folder only."""


@click.command(
    epilog="""\b
Examples:
  topo compare
  topo compare all-reduce --on gb200-nvl72 --on 'dgx-h100*9' --sizes '1MiB..1GiB*4'
  topo compare all-gather --on torus:8x8 --on mesh:8x8 --algorithm ring --json
  topo compare all-reduce --on torus:4x4 --algorithms all --sizes '1KiB..1GiB*32'"""
)
@click.argument("operations", metavar="[OPERATION]...", nargs=-1)
@click.option(
    "--on",
    "systems",
    metavar="SYSTEM",
    multiple=True,
    help=f"A system; give it once for each.  [default: {' '.join(SYSTEMS)}]",
)
@click.option(
    "--sizes",
    default=SIZES,
    show_default=True,
    metavar="SIZES",
    help="Steps of 4; or 1KiB..4GiB, doubling; or a list.",
)
@click.option(
    "--algorithm", default="auto", show_default=True, metavar="NAME", help="auto: each system its fastest."
)
@click.option(
    "--algorithms",
    metavar="NAMES",
    help="Compare algorithms, not systems: all, or names with commas between.",
)
@click.option("--ccl", metavar="NAME", help="Communication library for all.  [default: each system's own]")
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="DIR", help=f"Folder for files.  [default: {OUTPUT}]"
)
@click.option(
    "--jobs", type=click.IntRange(min=1), metavar="N", help="Processes.  [default: one for each processor]"
)
@as_json
def command(
    operations: tuple[str, ...],
    systems: tuple[str, ...],
    sizes: str,
    algorithm: str,
    algorithms: str | None,
    ccl: str | None,
    output: Path | None,
    jobs: int | None,
    as_json: bool,
) -> None:
    """Compare systems over operations and sizes: who wins where, by how much, and what limits each.

    Without arguments: five fabrics of 64 to 72 accelerators, the four big operations, 1KiB to 4GiB.  Tables (CSV,
    JSON, nccl-tests' columns) and figures go to the output folder; with --json only where --output is given.
    """
    from topo.compare import Settings, compare
    from topo.units import size_range
    from topologies import load

    if output is None and not as_json:
        output = Path(OUTPUT)
    if output is not None:
        _require_writable(output)
    amounts = size_range(sizes)
    if algorithms is not None:
        from topo.cli.compare_algorithms import run

        _refuse_both(algorithm, systems)
        run(operations, systems, amounts, algorithms, output, as_json=as_json)
        return
    operations = operations or OPERATIONS
    loaded = [load(name) for name in systems or SYSTEMS]

    from tqdm import tqdm

    total = len(dict.fromkeys(operations)) * len(loaded) * len(amounts)
    with tqdm(total=total, unit="run", disable=None, leave=False) as bar:
        comparison = compare(
            loaded,
            operations,
            amounts,
            settings=Settings(algorithm, ccl),
            workers=jobs or _processors(),
            progress=bar.update,
        )
    written = _write(comparison, output) if output is not None else []
    if as_json:
        from topo.report.tables import to_data

        echo_json(to_data(comparison))
    else:
        _print(comparison, written)
    _report_failures(comparison)


def _refuse_both(algorithm: str, systems: tuple[str, ...]) -> None:
    if algorithm != "auto":
        raise click.UsageError(
            "--algorithm and --algorithms go together badly; write --algorithms ring,direct"
        )
    if not systems:
        raise click.UsageError("missing option '--on'; for example --on torus:4x4 --algorithms all")


def _processors() -> int:
    import os

    affinity = getattr(os, "sched_getaffinity", None)
    return min(8, len(affinity(0)) if affinity else os.cpu_count() or 1)


def _require_writable(folder: Path) -> None:
    """Make the folder and refuse one that cannot be written to, before anything is computed."""
    import tempfile

    from topo.errors import TopoError

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as problem:
        why = problem.strerror or str(problem)
        raise TopoError(
            f"output folder {str(folder)!r} cannot be written: {why}", "choose another with --output"
        ) from None


def _write(comparison: Comparison, folder: Path) -> list[Path]:
    import json

    from topo.report.figures import write_figures
    from topo.report.tables import nccl_tables, to_csv, to_data

    texts = {
        "results.csv": to_csv(comparison.results),
        "results.json": json.dumps(to_data(comparison), indent=1, allow_nan=False) + "\n",
        "nccl-tests.txt": nccl_tables(comparison),
        "summary.txt": _summary(comparison) + "\n",
    }
    written = []
    for name, text in texts.items():
        path = folder / name
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written + write_figures(comparison, folder)


def _print(comparison: Comparison, written: Sequence[Path]) -> None:
    from topo.report.tables import brief_tables, nccl_tables

    if len(comparison.results) <= SHORT:
        click.echo(nccl_tables(comparison))
    else:
        click.echo(
            brief_tables(comparison) + "\n\n* fastest.  Time, and bus bandwidth in GB/s = 1e9 bytes/s.\n"
        )
    click.echo(_summary(comparison))
    if written:
        names = ", ".join(path.name for path in written)
        click.echo(f"\nIn {written[0].parent}: {names}")


def _summary(comparison: Comparison) -> str:
    import textwrap

    from topo.report.blocks import WIDTH
    from topo.report.summary import summary

    lines = []
    for heading, sentences in summary(comparison).items():
        lines += ["", heading]
        for sentence in sentences:
            lines += textwrap.wrap(
                sentence,
                WIDTH,
                initial_indent="  ",
                subsequent_indent="    ",
                break_on_hyphens=False,
                break_long_words=False,
            )
    return "\n".join(lines[1:])


def _report_failures(comparison: Comparison) -> None:
    """Say on stderr what gave no result; a simulator that contradicts itself ends the program."""
    from topo.errors import InternalError

    for failure in comparison.failures:
        if failure.internal:
            raise InternalError(failure.message)
    seen = dict.fromkeys((f.system, f.operation, f.message) for f in comparison.failures)
    for system, operation, message in seen:
        click.echo(f"topo: left out: {operation} on {system}: {message}", err=True)
