"""``topo validate --training``: the model against published training steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from topo.cli.options import echo_json


def run(
    files: Sequence[Path],
    systems: Sequence[str],
    ccl: str | None,
    jobs: int,
    *,
    as_json: bool,
    as_csv: bool,
    record: bool,
    recorded: Path | None,
) -> int:
    """Simulate every step whose plan is complete, print how far off it is, and return the exit code."""
    from fnmatch import fnmatchcase

    from tqdm import tqdm

    from topo.cli.validate import against_record, complain
    from topo.credit import RECORDED_STEPS
    from topo.errors import TopoError
    from topo.validation.step_times import write_times
    from topo.validation.training import (
        StepsOutcome,
        compare_steps,
        read_steps,
        steps_by_key,
        steps_csv,
        steps_data,
        steps_report,
    )

    rows, problems = read_steps(files or None)
    if systems:
        rows = [row for row in rows if any(row.target == s or fnmatchcase(row.target, s) for s in systems)]
        if not rows and not problems:
            raise TopoError("no measurement is left", "topo validate --training --json lists the targets")
    with tqdm(total=len(rows), unit="step", disable=None, leave=False) as bar:
        found = compare_steps(rows, ccl=ccl, workers=jobs, progress=bar.update)
    outcome = StepsOutcome(found.compared, found.left_out, (*problems, *found.problems))
    if as_json:
        echo_json(steps_data(outcome))
    elif as_csv:
        click.echo(steps_csv(outcome.compared), nl=False)
    else:
        click.echo(steps_report(outcome))
    bad = complain(outcome.problems)
    if not (record or recorded) and (files or ccl):
        return bad
    if record and not (bad or recorded or files or ccl):
        write_times(outcome.compared, keep=bool(systems))
    return bad or against_record(
        steps_by_key(outcome.compared), record, recorded or RECORDED_STEPS, keep=bool(systems)
    )
