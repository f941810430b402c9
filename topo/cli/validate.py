"""``topo validate``: the model against measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from topo.cli.options import as_json, echo_json

if TYPE_CHECKING:
    from topo.validation.compare import Outcome
    from topo.validation.row import Problem, Reading, Row
    from topo.validation.statistics import Statistics

GREW = 1
"""Exit code when an error grew past the recorded one."""


@click.command(
    epilog="""\b
Examples:
  topo validate
  topo validate --system 'dgx-h100*' --operation all-reduce --json
  topo validate --data mine.csv --csv > compared.csv
  topo validate --figures results/validation"""
)
@click.argument("more", metavar="", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--data",
    "files",
    metavar="FILE.csv",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Validate these measurements, not the packaged ones; give it once for each, or several after it.",
)
@click.option("--packaged", is_flag=True, help="With --data: the packaged measurements too.")
@click.option(
    "--system",
    "systems",
    metavar="PATTERN",
    multiple=True,
    help="Only targets like this, such as 'dgx-h100*'.",
)
@click.option("--operation", "operations", metavar="NAME", multiple=True, help="Only this operation.")
@click.option("--ccl", metavar="NAME", help="Communication library for all.  [default: each system's own]")
@click.option("--csv", "as_csv", is_flag=True, help="Print the rows as CSV and nothing else.")
@click.option(
    "--figures", metavar="DIR", type=click.Path(path_type=Path), help="Draw figures there: .svg, .png."
)
@click.option(
    "--page",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Write validation.md and its figures there.",
)
@click.option(
    "--record",
    is_flag=True,
    help="Record the errors of today: as those that may not grow, or with --leave-one-out for the page.",
)
@click.option(
    "--recorded",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Recorded errors.  [default: those of the package]",
)
@click.option(
    "--leave-one-out",
    "leave_out",
    is_flag=False,
    flag_value="system",
    type=click.Choice(["system", "machine"]),
    help="Error of every system (or single machine) with constants fitted to the others.  Takes minutes; with "
    "--system only those are left out in turn.",
)
@click.option("--training", is_flag=True, help="Training steps instead of collectives.")
@click.option("--jobs", type=click.IntRange(min=1), default=2, show_default=True, help="Processes.")
@as_json
def command(
    more: tuple[Path, ...],
    files: tuple[Path, ...],
    packaged: bool,
    systems: tuple[str, ...],
    operations: tuple[str, ...],
    ccl: str | None,
    as_csv: bool,
    figures: Path | None,
    page: Path | None,
    record: bool,
    recorded: Path | None,
    leave_out: str | None,
    training: bool,
    jobs: int,
    as_json: bool,
) -> int:
    """Simulate what was measured and say how far off the simulation is.

    Every measurement that names a target system is simulated: by default the published ones that come with the
    package, with --data your own in the same columns (see docs/validation.md).  Errors are simulated over measured
    time, less 1.  Exit code 1: an error grew past the recorded one; 2: a file is wrong somewhere.
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv both want the output; choose one")
    if more and not files:
        raise click.UsageError(f"{str(more[0])!r} stands alone; write --data {more[0]}")
    own = [*files, *more]
    if training:
        if operations or figures or page or leave_out or packaged:
            raise click.UsageError(
                "--training goes with --data, --system, --ccl, --json, --csv, --record and --jobs only"
            )
        from topo.cli.validate_training import run

        return run(own, systems, ccl, jobs, as_json=as_json, as_csv=as_csv, record=record, recorded=recorded)
    from topo.validation.compare import compare_rows
    from topo.validation.reader import packaged as packaged_files
    from topo.validation.reader import read_rows

    reading = read_rows([*own, *(packaged_files() if packaged or not own else [])])
    rows = _filtered(reading, systems, operations)

    if leave_out is not None:
        names = _names(rows, leave_out) if systems or operations else None
        _print_left_out(reading.rows, leave_out, jobs, names, as_json=as_json, record=record)
        return complain(reading.problems)

    from tqdm import tqdm

    with tqdm(total=len(rows), unit="row", disable=None, leave=False) as bar:
        outcome = compare_rows(rows, ccl=ccl, workers=jobs, progress=bar.update)
    outcome = _whole(reading, outcome, systems or operations)
    if as_json:
        from topo.validation.text import to_data

        echo_json(to_data(outcome))
    elif as_csv:
        from topo.validation.text import to_csv

        click.echo(to_csv(outcome.compared), nl=False)
    else:
        from topo.validation.text import report

        click.echo(report(outcome))
    if figures is not None and outcome.compared:
        from topo.validation.figures import write_figures

        written = write_figures(outcome.compared, figures)
        click.echo(f"In {figures}: {', '.join(path.name for path in written)}", err=as_json or as_csv)
    if page is not None and outcome.compared:
        from topo.validation.page import write_page

        pages = write_page(outcome, [c.row for c in outcome.compared], page)
        click.echo(f"Written: {', '.join(map(str, pages))}", err=as_json or as_csv)
    bad = complain(outcome.problems)
    if not (record or recorded) and (own or ccl):
        return bad
    from topo.credit import RECORDED
    from topo.validation.statistics import by_key

    return bad or against_record(
        by_key(outcome.compared), record, recorded or RECORDED, keep=bool(systems or operations)
    )


def complain(problems: Sequence[Problem]) -> int:
    """Say what is wrong in the files, one line each, and return the exit code that goes with it."""
    for problem in problems:
        click.echo(f"topo: error: {problem}", err=True)
    return 2 if problems else 0


def _names(rows: Sequence[Row], by: str) -> set[str]:
    from topo.validation.leave_out import name_of

    return {name_of(row, by) for row in rows}


def _print_left_out(
    rows: Sequence[Row], by: str, jobs: int, only: set[str] | None, *, as_json: bool, record: bool
) -> None:
    from tqdm import tqdm

    from topo.validation.leave_out import leave_one_out, leave_out_data, name_of
    from topo.validation.left_record import record_of, table_of, write_left_one_out
    from topo.validation.text import set_table

    mine = [row for row in rows if only is None or name_of(row, by) in only]
    with tqdm(total=len(mine), unit="row", disable=None, leave=False) as bar:
        found = leave_one_out(rows, by=by, only=only, workers=jobs, progress=bar.update)
    if record:
        write_left_one_out(found, by, keep=only is not None)
    if as_json:
        echo_json({"leave_one_out": leave_out_data(found)})
        return
    click.echo(set_table(table_of({left.name: record_of(left) for left in found}, by), 1))
    click.echo(
        "\nMedian errors.  Left out: constants fitted to the other rows only; borrowed are those on which no other "
        "row bears,\ntaken from like technologies."
    )


def _filtered(reading: Reading, systems: Sequence[str], operations: Sequence[str]) -> list[Row]:
    from fnmatch import fnmatchcase

    from topo.collective import OPERATIONS
    from topo.errors import CollectiveError, TopoError, nearest

    for operation in operations:
        if operation not in OPERATIONS:
            hint = nearest(operation, OPERATIONS) or f"one of {', '.join(OPERATIONS)}"
            raise CollectiveError(f"operation {operation!r} is unknown", hint)
    rows = [
        row
        for row in reading.rows
        if (not systems or any(row.target == s or fnmatchcase(row.target, s) for s in systems))
        and (not operations or row.operation in operations)
    ]
    if not rows and not reading.problems and (systems or operations):
        targets = sorted({row.target for row in reading.rows})
        raise TopoError(
            "no measurement is left",
            (nearest(systems[0], targets) if systems else "") or f"targets are {', '.join(targets)}",
        )
    return rows


def _whole(reading: Reading, outcome: Outcome, filtered: object) -> Outcome:
    """With what the files themselves left out and got wrong, in the order of the files."""
    from topo.validation.compare import Outcome

    left_out = outcome.left_out if filtered else (*reading.left_out, *outcome.left_out)
    return Outcome(outcome.compared, left_out, (*reading.problems, *outcome.problems))


def against_record(found: Mapping[str, Statistics], record: bool, path: Path, *, keep: bool = False) -> int:
    """Record errors, or hold them against those recorded; the exit code of errors that grew.

    With ``keep``, as for a part of the rows, what is recorded of others stays.
    """
    from topo.validation.recorded import grown, write_recorded

    if record:
        write_recorded(found, path, keep=keep)
        click.echo(f"topo: recorded {len(found)} groups in {path}", err=True)
        return 0
    growths, unknown = grown(found, path)
    for growth in growths:
        click.echo(f"topo: grown: {growth}", err=True)
    if unknown:
        click.echo(f"topo: {len(unknown)} groups were never recorded; see topo validate --record", err=True)
    return GREW if growths else 0
