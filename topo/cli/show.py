"""``topo show``: what a system is, where its numbers come from, and what it looks like."""

from __future__ import annotations

from pathlib import Path

import click

from topo.cli.options import as_json, echo_json


@click.command(
    epilog="""\b
Examples:
  topo show gb200-nvl72
  topo show tpu-v4:4x4x4 --draw torus.svg
  topo show 'dgx-h100*8' --json"""
)
@click.argument("system", metavar="SYSTEM")
@click.option(
    "--draw", "picture", type=click.Path(path_type=Path), metavar="FILE", help="Draw it: .svg, .png or .pdf."
)
@as_json
def command(system: str, picture: Path | None, as_json: bool) -> None:
    """Say what SYSTEM is: counts, degrees, bandwidth per accelerator, diameter, bisection, sources.

    Values that nobody published, or that were not verified, are marked.
    """
    from topo.describe import describe
    from topologies import load

    if picture is not None:
        from topo.report.style import check_picture

        check_picture(picture)
    found = load(system)
    facts = describe(found)
    if picture is not None:
        from topo.report.drawing import draw

        draw(found.fabric, picture, f"{found.name}: {found.title}" if found.title else found.name)
        facts["drawing"] = str(picture)
    if as_json:
        echo_json(facts)
        return
    from topo.report.system import system_block

    click.echo(system_block(facts))
