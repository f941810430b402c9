"""``topo calibrate``: nccl-tests' logs of one's own cluster give its constants."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from topo.cli.options import as_json, echo_json

if TYPE_CHECKING:
    from topo.validation.calibrate import Calibration


@click.command(
    epilog="""\b
Examples:
  topo calibrate all_reduce.log -o my-cluster.yaml
  topo calibrate *.log --on 'dgx-h100*4,nic=25GB/s' -o my-cluster.yaml
  topo run all-reduce --on 'dgx-h100*4' --size 64MiB --ccl my-cluster.yaml"""
)
@click.argument("logs", metavar="LOG...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    metavar="FILE.yaml",
    type=click.Path(path_type=Path),
    help="Write the constants there, for --ccl, and a figure beside it.",
)
@click.option(
    "--on", "system", metavar="SYSTEM", help="The system that ran.  [default: as the logs' devices say]"
)
@click.option("--ccl", metavar="NAME", help="The library to start from.  [default: the system's own]")
@click.option("--operation", metavar="NAME", help="For logs that do not say which operation ran.")
@click.option(
    "--figure",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Draw before and after: .svg, .png, .pdf.",
)
@as_json
def command(
    logs: tuple[Path, ...],
    output: Path | None,
    system: str | None,
    ccl: str | None,
    operation: str | None,
    figure: Path | None,
    as_json: bool,
) -> int:
    """Fit the constants of a communication library to your own measurements.

    LOG is what nccl-tests or rccl-tests printed (labels of mpirun, srun and log collectors are taken off, several
    runs may follow each other), or the JSON of its -J.  Constants on which the measurements do not bear stay as they
    are.  What in the logs cannot be used is named by line, the rest is used all the same, and the exit code is 2.
    """
    from topo.errors import TopoError
    from topo.formats.nccl_tests import read
    from topo.validation.calibrate import calibrate, guess_target, rows_of
    from topologies import names

    if output is not None and output.suffix not in (".yaml", ".yml"):
        raise click.UsageError(f"{str(output)!r} does not end in .yaml, by which --ccl knows a file")
    _check_operation(operation)
    read_logs = [read(path) for path in logs]
    problems = [problem for log in read_logs for problem in log.problems]
    if operation:
        problems = [problem for problem in problems if "--operation" not in problem.message]
    for problem in problems:
        click.echo(f"topo: error: {problem}", err=True)
    runs = [run for log in read_logs for run in log.runs if run.lines and (run.operation or operation)]
    single = [run for run in runs if run.ranks < 2]
    for run in single:
        click.echo(
            f"topo: error: {run.file}:{run.lines[0].number}: a run of {run.ranks} rank; it moved nothing",
            err=True,
        )
    runs = [run for run in runs if run.ranks >= 2]
    if not runs:
        raise TopoError("no measurement is left to calibrate with", "give the whole output of nccl-tests")
    target = system or guess_target(runs, sorted(names()))
    rows = rows_of(runs, target, operation or "")

    from tqdm import tqdm

    with tqdm(unit="round", disable=None, leave=False) as bar:
        found = calibrate(rows, target, ccl, progress=bar.update)
    written = _write(found, output, figure)
    if as_json:
        echo_json(_data(found, written))
    else:
        _print(found, written)
    return 2 if problems or single else 0


def _check_operation(operation: str | None) -> None:
    from topo.collective import OPERATIONS
    from topo.errors import CollectiveError, nearest

    if operation is not None and operation not in OPERATIONS:
        hint = nearest(operation, OPERATIONS) or f"one of {', '.join(OPERATIONS)}"
        raise CollectiveError(f"operation {operation!r} is unknown", hint)


def _write(found: Calibration, output: Path | None, figure: Path | None) -> list[Path]:
    written = []
    if output is not None:
        from topo.validation.calibrate import to_yaml

        output.write_text(to_yaml(found, output.stem), encoding="utf-8")
        written.append(output)
        figure = figure or output.with_suffix(".svg")
    if figure is not None:
        from topo.report.style import check_picture
        from topo.validation.calibration_figure import write_figure

        check_picture(figure)
        written.append(write_figure(found, figure))
    return written


def _data(found: Calibration, written: list[Path]) -> dict[str, Any]:
    from topo.validation.statistics import statistics

    return {
        "system": found.target,
        "library": found.library.name,
        "rows": len(found.rows),
        "before": statistics(found.before).record(),
        "after": statistics(found.after).record(),
        "constants": [
            {
                "name": c.constant.name,
                "unit": c.constant.unit,
                "before": c.constant.value,
                "value": c.value,
                "standard_error": c.standard_error,
            }
            for c in found.determined
        ],
        "unchanged": [c.constant.name for c in found.outcome.constants if not c.determined],
        "written": [str(path) for path in written],
    }


def _print(found: Calibration, written: list[Path]) -> None:
    from topo.ccl import meanings
    from topo.validation.statistics import statistics
    from topo.validation.text import NUMBERS, percents, set_table

    click.echo(
        f"{len(found.rows)} measured times on {found.target}, {len({r.bytes for r in found.rows})} sizes; library "
        f"{found.library.name}\n"
    )
    lines: list[tuple[str, ...]] = [("constant", "meaning", "before", "now", "+-")]
    for c in found.determined:
        meaning = str(meanings()[c.constant.key]["meaning"]).partition(" (")[0]
        values = (_quantity(v, c.constant.unit) for v in (c.constant.value, c.value, c.standard_error))
        lines.append((c.constant.name, meaning[:70], *values))
    click.echo(set_table(lines, 2))
    kept = [c.constant.name for c in found.outcome.constants if not c.determined]
    if kept:
        click.echo(f"\nThe measurements do not bear on {', '.join(kept)}.")
    table: list[tuple[str, ...]] = [("errors", *NUMBERS)]
    table += [("before", *percents(statistics(found.before))), ("after", *percents(statistics(found.after)))]
    click.echo("\n" + set_table(table, 1))
    if written:
        click.echo(f"\nWritten: {', '.join(map(str, written))}")


def _quantity(value: float, unit: str) -> str:
    from topo.units import format_bandwidth, format_time

    short = float(f"{value:.3g}")
    if unit == "s":
        return format_time(short)
    return format_bandwidth(short) if unit == "B/s" else f"{short:g}"
