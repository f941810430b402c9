"""``topo place``: where the axes of a plan lie on a fabric."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from topo.cli.options import as_json, echo_json, on_system
from topo.cli.plan_options import plan_choices, plan_options


@click.command(
    epilog="""\b
Examples:
  topo place --on 'dgx-h100*4' --tp 8 --pp 2 --draw cluster.svg
  topo place --on tpu-v5p:4x4x4 --tp 4 --cp 4 --placement tp=x,cp=y,dp=z --draw torus.png
  topo place --on 'gb200-nvl72*2' --tp 4 --pp 4 --list"""
)
@on_system("'dgx-h100*4'")
@plan_options("tp", "pp", "dp", "cp", "ep", "shard")
@click.option(
    "--placement", metavar="AXES", help="Axes from the inside out, as in tp,cp,dp,pp or tp=x.y,dp=z."
)
@click.option(
    "--draw", "picture", type=click.Path(path_type=Path), metavar="FILE", help="Draw it: .svg, .png or .pdf."
)
@click.option("--list", "listed", is_flag=True, help="Name the placements that differ, and stop.")
@as_json
def command(
    system: str,
    placement: str | None,
    picture: Path | None,
    listed: bool,
    as_json: bool,
    **choices: Any,
) -> None:
    """Say where the groups of every parallel axis lie on a system, and draw them.

    Works for any system or topology; what is left of the accelerators goes to dp.
    """
    import topo
    from topo.training.placement import legal_placements, place
    from topo.training.plan import Plan

    if picture is not None:
        from topo.report.style import check_picture

        check_picture(picture)
    found = topo.load(system)
    given = plan_choices(choices)
    # Sequences as long as any degrees divide: where ranks stand has nothing to do with tokens.
    tokens = given.get("tp", 1) * given.get("cp", 1)
    degrees = {axis: given[axis] for axis in ("tp", "cp", "pp", "dp") if axis in given}
    plan = Plan(seq=tokens, **degrees)
    if "dp" not in given:
        plan = plan.with_dp(found.accelerators)
    plan = replace(plan, ep=given.get("ep", 1), shard=given.get("shard"))
    if listed:
        names = legal_placements(plan, found.fabric)
        echo_json(names) if as_json else click.echo("\n".join(names))
        return
    laid = place(plan, found.fabric, placement)
    from topo.report.placement import draw_placement, placement_block, placement_record

    record = placement_record(laid)
    if picture is not None:
        draw_placement(laid, picture, f"{found.name}: {laid.name}")
        record["drawing"] = str(picture)
    if as_json:
        echo_json(record)
    else:
        click.echo(placement_block(laid))
