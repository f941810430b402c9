"""``topo sites``: training at several sites."""

from __future__ import annotations

from typing import Any

import click

from topo.cli.options import as_json, on_system, with_ccl
from topo.cli.plan_options import COUNT, plan_choices, plan_options


@click.command(
    epilog="""\b
Examples:
  topo sites llama3-70b --on 'site(dgx-h100*8)*2,distance=1000km,bandwidth=1Tb/s'
  topo sites llama3-70b --on 'site(dgx-h100*8)*2,distance=5000km,bandwidth=100Gb/s' --method streaming --json"""
)
@click.argument("model", metavar="MODEL")
@on_system("'site(dgx-h100*8)*2,distance=1000km,bandwidth=1Tb/s'")
@click.option(
    "--method",
    default="synchronous",
    show_default=True,
    metavar="HOW",
    help="synchronous: gradients in every step; local: weights every --inner-steps; streaming: in fragments.",
)
@click.option(
    "--inner-steps", type=COUNT, default=100, show_default=True, help="Steps between two exchanges."
)
@click.option(
    "--fragments", type=COUNT, default=8, show_default=True, help="Parts of the weights (streaming)."
)
@click.option(
    "--overlap-steps",
    type=COUNT,
    default=1,
    show_default=True,
    help="Steps beside which a fragment crosses (streaming).",
)
@click.option(
    "--value-bytes", type=float, help="Bytes of a value between sites.  [default: the gradients' 4]"
)
@plan_options()
@with_ccl
@as_json
def command(
    model: str,
    system: str,
    method: str,
    inner_steps: int,
    fragments: int,
    overlap_steps: int,
    value_bytes: float | None,
    ccl: str | None,
    as_json: bool,
    **choices: Any,
) -> None:
    """Simulate training at several sites: in step over the fibre, or with local steps between exchanges.

    Every site trains its own batch; the plan is that of one site.
    """
    import topo
    from topo.training.across import across

    result = across(
        model,
        topo.load(system),
        method=method,
        inner_steps=inner_steps,
        fragments=fragments,
        overlap_steps=overlap_steps,
        value_bytes=value_bytes,
        ccl=ccl,
        plan=plan_choices(choices),
    )
    if as_json:
        click.echo(result.to_json())
        return
    from topo.report.sites import sites_block

    click.echo(sites_block(result))
