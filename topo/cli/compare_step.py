"""``topo compare-step``: the same model on several systems, each with its best plan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from topo.cli.options import as_json

if TYPE_CHECKING:
    from topo.training.step import StepResult

COUNT = click.IntRange(min=1)


@click.command(
    epilog="""\b
Examples:
  topo compare-step llama3-70b --on 'gb200-nvl72*2' --on 'dgx-h100*32' --on tpu-v5p:8x8x8
  topo compare-step mixtral-8x7b --on 'dgx-h100*8' --on trn2-ultra --global-batch 512 --json"""
)
@click.argument("model", metavar="MODEL")
@click.option("--on", "systems", metavar="SYSTEM", required=True, multiple=True, help="A system; repeat it.")
@click.option("--seq", type=COUNT, default=8192, show_default=True, help="Tokens of a sequence.")
@click.option("--global-batch", type=COUNT, default=512, show_default=True, help="Sequences of a step.")
@click.option("--precision", default="bf16", show_default=True, metavar="P", help="fp32, bf16, fp8 or fp4.")
@click.option("--ccl", metavar="NAME", help="Communication library.  [default: each system's own]")
@click.option(
    "--jobs", type=COUNT, metavar="N", help="Processes; the result is the same.  [default: all cores]"
)
@click.option(
    "--limit", type=COUNT, default=400, show_default=True, metavar="N", help="Most simulations each."
)
@click.option("--figure", type=click.Path(dir_okay=False, path_type=Path), help=".svg, .png or .pdf.")
@as_json
def command(
    model: str,
    systems: tuple[str, ...],
    seq: int,
    global_batch: int,
    precision: str,
    ccl: str | None,
    jobs: int | None,
    limit: int,
    figure: Path | None,
    as_json: bool,
) -> None:
    """Compare systems by a training step of MODEL, each under its own best plan.

    Where degrees do not divide the batch, a plan's batch may differ from it by 2 %; systems are compared by tokens.  A
    system on which the model fits under no plan is left out, and by how much.
    """
    import topo
    from topo.cli.progress import waves
    from topo.training.plan import Plan
    from topo.training.search import PROVED, SearchError, search
    from topo.training.space import Space
    from topo.training.step import require_chip

    base = Plan(seq=seq, precision=precision)
    loaded = [topo.load(name) for name in systems]
    for system in loaded:
        require_chip(system).flops(precision)
    steps: list[StepResult] = []
    gaps: dict[str, float] = {}
    refused: dict[str, SearchError] = {}
    for system in loaded:
        try:
            result = search(
                model,
                system,
                base=base,
                space=Space(global_batch),
                ccl=ccl,
                jobs=jobs,
                limit=limit,
                progress=waves(f"plans of {system.name}"),
            )
        except SearchError as error:
            refused[system.name] = error
            continue
        steps.append(result.best.result)
        gaps[system.name] = result.gap
    if not steps:
        raise next(iter(refused.values()))
    if figure is not None:
        from topo.report.step import write_step_figure

        write_step_figure(steps, figure)
    if as_json:
        from topo.cli.options import echo_json

        echo_json(
            {
                "model": steps[0].model,
                "systems": [step.record() | {"gap": gaps[step.system]} for step in steps],
                "refused": {name: str(error) for name, error in refused.items()},
            }
        )
    else:
        from topo.report.plans import comparison_block

        click.echo(comparison_block(steps))
        for name, gap in gaps.items():
            if gap >= PROVED:
                click.echo(f"{name}: another plan could save {gap:.1%} at most.")
        for reason in refused.values():
            click.echo(f"Left out: {reason}.")
