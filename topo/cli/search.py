"""``topo search``: the best plan for a model on a system."""

from __future__ import annotations

from pathlib import Path

import click

from topo.cli.options import as_json

COUNT = click.IntRange(min=1)


@click.command(
    epilog="""\b
Examples:
  topo search llama3-70b --on 'gb200-nvl72*8'
  topo search mixtral-8x7b --on 'dgx-h100*16' --seq 4096 --global-batch 1024 --json
  topo search gpt3-175b --on tpu-v5p:8x8x8 --figure plans.svg"""
)
@click.argument("model", metavar="MODEL")
@click.option("--on", "system", metavar="SYSTEM", required=True, help="System, such as 'dgx-h100*64'.")
@click.option("--seq", type=COUNT, default=8192, show_default=True, help="Tokens of a sequence.")
@click.option("--global-batch", type=COUNT, help="Sequences of a step.  [default: about 4 Mi tokens]")
@click.option("--precision", default="bf16", show_default=True, metavar="P", help="fp32, bf16, fp8 or fp4.")
@click.option("--overlap-tp", is_flag=True, help="Tensor parallel collectives beside the products they feed.")
@click.option("--ccl", metavar="NAME", help="Communication library.  [default: the system's own]")
@click.option(
    "--jobs", type=COUNT, metavar="N", help="Processes; the result is the same.  [default: all cores]"
)
@click.option("--limit", type=COUNT, default=1000, show_default=True, metavar="N", help="Most simulations.")
@click.option("--show", type=COUNT, default=8, show_default=True, metavar="N", help="Plans in the table.")
@click.option("--figure", type=click.Path(dir_okay=False, path_type=Path), help=".svg, .png or .pdf.")
@as_json
def command(
    model: str,
    system: str,
    seq: int,
    global_batch: int | None,
    precision: str,
    overlap_tp: bool,
    ccl: str | None,
    jobs: int | None,
    limit: int,
    show: int,
    figure: Path | None,
    as_json: bool,
) -> None:
    """Find the best parallel plan for MODEL on a system.

    All legal plans are listed; those that do not fit the memory, and those that cannot beat the best one found, are
    not simulated.  Ctrl-C ends the search and shows what it has.
    """
    import topo
    from topo.cli.progress import waves
    from topo.training.plan import Plan
    from topo.training.search import default_batch, search
    from topo.training.space import Space

    loaded = topo.load(system)
    base = Plan(seq=seq, precision=precision, overlap_tp=overlap_tp)
    result = search(
        model,
        loaded,
        base=base,
        space=Space(global_batch or default_batch(seq, loaded.accelerators)),
        ccl=ccl,
        jobs=jobs,
        limit=limit,
        progress=waves("plans"),
    )
    if figure is not None:
        from topo.report.plans import write_search_figure

        write_search_figure(result, figure)
    if as_json:
        from topo.cli.options import echo_json
        from topo.report.plans import search_record

        echo_json(search_record(result))
    else:
        from topo.report.plans import search_block

        click.echo(search_block(result, show))
