"""``topo experiment``: a question, answered from records that are kept."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from topo.cli.experiments import MARK, load, names, question
from topo.cli.options import as_json, echo_json
from topo.cli.sweeping import executor_options, open_executor, report_sweep, require_few

if TYPE_CHECKING:
    from topo.experiment import Experiment
    from topo.sweep.point import Point

RESULTS = Path("results")
_ARGUMENT = "parameter_"


class _Experiments(click.Group):
    """The experiments as commands, read only when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(names())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name, experiment = load(cmd_name)
        return command_of(name, experiment)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Experiments"):
            formatter.write_dl([(name, question(path)) for name, path in names().items()])


@click.group(cls=_Experiments, invoke_without_command=True, epilog="Every experiment has its own --help.")
@click.pass_context
def command(ctx: click.Context) -> None:
    """Answer a question by a sweep whose records, finding, figures and report are kept.

    Each parameter takes one value or several with commas between (semicolons where values hold commas).
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def command_of(name: str, experiment: Experiment) -> click.Command:
    """The click command of an experiment."""
    from topo.experiment import PARTS

    def run(**given: Any) -> None:
        words = {
            key.removeprefix(_ARGUMENT).replace("_", "-"): given.pop(key)
            for key in list(given)
            if key.startswith(_ARGUMENT)
        }
        _run(name, experiment, {key: text for key, text in words.items() if text is not None}, **given)

    run.__doc__ = "\n\n".join(
        [
            experiment.title + ".",
            *(f"{part}: {experiment.part(part)}" for part in PARTS),
        ]
    )
    decorated: Callable[..., Any] = run
    options: list[Callable[..., Any]] = [
        click.option(
            f"--{parameter.name}",
            f"{_ARGUMENT}{parameter.name.replace('-', '_')}",
            metavar="VALUES",
            help=f"{parameter.help}  [default: {_several(parameter.default)}]",
        )
        for parameter in experiment.parameters
    ]
    options += [
        click.option("--grid", metavar="TEXT", help="The same in one text: 'domain=8,72 model=llama3-70b'."),
        click.option(
            "--results",
            type=click.Path(path_type=Path),
            metavar="DIR",
            help=f"Folder that keeps the records.  [default: {RESULTS / name}]",
        ),
        executor_options,
        click.option("--retry", is_flag=True, help="Compute again what was refused."),
        click.option("--yes", is_flag=True, help="Do start a sweep of very many points."),
        click.option("--figures/--no-figures", default=True, help="Draw the charts into DIR/figures."),
        as_json,
    ]
    for option in reversed(options):
        decorated = option(decorated)
    return click.command(name)(decorated)


def _several(values: tuple[Any, ...]) -> str:
    texts = [str(value) for value in values]
    return (";" if any("," in text for text in texts) else ",").join(texts)


def _run(
    name: str,
    experiment: Experiment,
    words: Mapping[str, str],
    *,
    grid: str | None,
    results: Path | None,
    jobs: int | None,
    scheduler: str | None,
    cluster: str | None,
    cluster_option: tuple[str, ...],
    workers: int,
    retry: bool,
    yes: bool,
    figures: bool,
    as_json: bool,
) -> None:
    from topo.cli.experiments import call
    from topo.report.chart_figure import write_chart_figures
    from topo.sweep.design import Block
    from topo.sweep.files import disk_in_words
    from topo.sweep.spec import parse_values
    from topo.sweep.store import Store, read_records
    from topo.sweep.tables import in_order

    given = {**_grid(grid), **{key: parse_values(key, text) for key, text in words.items()}}
    block = Block(name, experiment.values(given, name))
    require_few(len(block), yes)
    executor = open_executor(jobs, scheduler, cluster, cluster_option, workers, len(block))
    results = results or RESULTS / name

    def points() -> Iterator[Point]:
        for inputs in block:
            yield experiment.point(name, inputs)

    with Store(results) as store:
        about = {
            "title": experiment.title,
            "question": experiment.part("Question"),
            "method": experiment.part("Method"),
            "falsified": experiment.part("Falsified if"),
            "command": " ".join(
                ["topo experiment", name, *(f"--{key} '{_several(value)}'" for key, value in given.items())]
            ),
            "charts": [chart.to_data() for chart in experiment.charts],
        }
        counts, files = report_sweep(points(), len(block), store, executor, call, retry=retry)
        keys = [point.key for point in points()]
        wanted = set(keys)
        records = in_order((r for r in read_records(results) if r["point"] in wanted), keys)
        found = experiment.conclude(records)
        store.describe(about | {"finding": found.text, "evidence": [r["point"] for r in found.evidence]})
    if figures:
        with disk_in_words(results, "the records are kept"):
            drawn = write_chart_figures(experiment.charts, records, results / "figures")
        files += [str(path) for path in drawn]
    if as_json:
        echo_json(counts | {"finding": found.text, "files": files})
        return
    click.echo(f"{experiment.part('Question')}\n")
    click.echo(click.wrap_text(found.text, 100))
    click.echo(f"\nIn {results}: {', '.join(Path(file).name for file in files)}")
    click.echo(f"As a page: topo report {results}")


def _grid(text: str | None) -> dict[str, tuple[Any, ...]]:
    from topo.sweep.spec import parse_grid

    return parse_grid(text) if text else {}


def main(path: str) -> None:
    """Run the experiment in a file as a program; ``main(__file__)`` ends every experiment."""
    from topo.cli.problems import exit_code

    name, experiment = load(Path(path).stem)
    program = command_of(name, experiment)
    sys.exit(
        exit_code(lambda: program.main(prog_name=f"python -m experiments.{name}", standalone_mode=False))
    )


__all__ = ["MARK", "command", "command_of", "main"]
