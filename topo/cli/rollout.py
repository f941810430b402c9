"""``topo rollout``: one update of training on what the model itself generates."""

from __future__ import annotations

from typing import Any

import click

from topo.cli.options import as_json, on_system, with_ccl
from topo.cli.plan_options import COUNT


@click.command(
    epilog="""\b
Examples:
  topo rollout llama3-8b --on 'dgx-h100*4' --ratio 16
  topo rollout llama3-70b --on gb200-nvl72 --ratio 100 --output 8192 --arrangement apart --json"""
)
@click.argument("model", metavar="MODEL")
@on_system("'dgx-h100*8'")
@click.option("--ratio", type=float, help="Sequences generated for each that is trained on.  [default: 8]")
@click.option("--sequences", type=COUNT, help="Sequences that an update trains on.  [default: 512]")
@click.option("--prompt", type=COUNT, help="Tokens of a prompt.  [default: 1024]")
@click.option("--output", type=COUNT, help="Tokens generated for it, on average.  [default: 4096]")
@click.option("--samples", type=COUNT, help="Sequences generated for one prompt.  [default: 8]")
@click.option("--passes", type=float, help="Forward passes that score a sequence.  [default: 1]")
@click.option("--longest", type=float, help="The longest output over the mean.  [default: 1]")
@click.option("--precision", metavar="P", help="Of the generators' weights.  [default: bf16]")
@click.option("--kv-precision", metavar="P", help="Of the cache.  [default: bf16]")
@click.option(
    "--arrangement",
    default="best",
    show_default=True,
    metavar="HOW",
    help="together: all machines do one after the other; apart: some generate while others train.",
)
@with_ccl
@as_json
def command(
    model: str, system: str, arrangement: str, ccl: str | None, as_json: bool, **choices: Any
) -> None:
    """Simulate one update: generate sequences, score them, train on some, hand over the new weights."""
    import topo
    from topo.training.rollout import Workload, rollout

    work = Workload(**{key: value for key, value in choices.items() if value is not None})
    result = rollout(model, topo.load(system), work, arrangement=arrangement, ccl=ccl)
    if as_json:
        click.echo(result.to_json())
        return
    from topo.report.rollout import rollout_block

    click.echo(rollout_block(result))
