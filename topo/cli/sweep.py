"""``topo sweep``: a command at many points, each computed once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from topo.cli.options import as_json, echo_json
from topo.cli.sweeping import executor_options, open_executor, report_sweep, require_few

if TYPE_CHECKING:
    from topo.sweep.point import Point
    from topo.sweep.spec import Spec

CHECKED = 1000
"""Values of a parameter that are looked at before anything is computed."""


@click.command(
    epilog="""\b
Examples:
  topo sweep sizes.yaml --results results/sizes
  topo sweep sizes.yaml --results results/sizes --jobs 2 --json
  topo sweep sizes.yaml --results results/sizes --scheduler tcp://host:8786
\b
A spec:
  question: Where does a torus beat a ring?
  run:
    operation: [all-reduce, all-to-all]
    on: [ring:16, torus:4x4]
    size: 1KiB..1GiB*4"""
)
@click.argument("spec", metavar="SPEC.yaml", type=click.Path(path_type=Path))
@click.option(
    "--results",
    metavar="DIR",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder that keeps the records; points it has are not computed again.",
)
@executor_options
@click.option("--retry", is_flag=True, help="Compute again what was refused.")
@click.option("--yes", is_flag=True, help="Do start a sweep of very many points.")
@as_json
def command(
    spec: Path,
    results: Path,
    jobs: int | None,
    scheduler: str | None,
    cluster: str | None,
    cluster_option: tuple[str, ...],
    workers: int,
    retry: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Run a command at every point of a grid and keep a flat record of each.

    A parameter has one value or a list; sizes may be a range.  design: list takes lists side by side; design: random
    with count: and seed: takes some of the grid.  What ends early goes on when the same command is given again.
    """
    from topo.cli.points import call, sweepable
    from topo.sweep.spec import read_spec
    from topo.sweep.store import Store

    asked = read_spec(spec, sweepable())
    require_few(len(asked), yes)
    _check_values(asked)
    executor = open_executor(jobs, scheduler, cluster, cluster_option, workers, len(asked))
    with Store(results) as store:
        about = {
            "title": asked.title or spec.stem,
            "question": asked.question,
            "command": f"topo sweep {spec.name} --results {results}",
            "spec": spec.read_text(encoding="utf-8"),
        }
        store.describe(about)
        summary, files = report_sweep(_points(asked), len(asked), store, executor, call, retry=retry)
    if as_json:
        echo_json(summary | {"files": files})
    else:
        click.echo(f"In {results}: {', '.join(Path(name).name for name in files)}")


def _points(spec: Spec) -> Iterator[Point]:
    from topo.cli.points import point_of

    for block in spec.blocks:
        for inputs in block:
            yield point_of(block.command, inputs)


def _check_values(spec: Spec) -> None:
    """Refuse a parameter or a value of a wrong kind before anything is computed."""
    from topo.cli.points import point_of

    for block in spec.blocks:
        if not block.values:
            point_of(block.command, {})
        first = {name: values[0] for name, values in block.values.items()}
        for name, values in block.values.items():
            for value in dict.fromkeys(values[:CHECKED]):
                point_of(block.command, first | {name: value})
