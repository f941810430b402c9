"""``topo step``: one training step of a model on a system."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from topo.cli.options import as_json, on_system, with_ccl
from topo.cli.plan_options import COUNT, plan_choices, plan_options


@click.command(
    epilog="""\b
Examples:
  topo step llama3-70b --on 'dgx-h100*64' --tp 8 --pp 4 --schedule interleaved --virtual-stages 5
  topo step deepseek-v3 --on 'gb200-nvl72*4' --pp 4 --ep 8 --precision fp8 --json
  topo step config.json --on tpu-v5p:8x8x8 --zero 3 --timeline step.json
  topo step layers=32,hidden=4096,heads=32 --on 'dgx-h100*4'"""
)
@click.argument("model", metavar="MODEL")
@on_system("'dgx-h100*64'")
@plan_options()
@with_ccl
@click.option(
    "--contention",
    default="full",
    show_default=True,
    metavar="HOW",
    help="full: collectives share links; isolated: the quick form.",
)
@click.option(
    "--placement", metavar="AXES", help="Axes from the inside out, as in tp,cp,dp,pp or tp=x.y,dp=z."
)
@click.option("--ideal-kernels", is_flag=True, help="Kernels at the chip's peak.")
@click.option("--no-memory-check", is_flag=True, help="Simulate plans that do not fit, too.")
@click.option(
    "--mapping",
    default="plan",
    show_default=True,
    metavar="HOW",
    help="plan; on wafers and tiles also dataflow (layers as regions) or streaming (weights come by layer).",
)
@click.option(
    "--buffer",
    type=COUNT,
    default=2,
    show_default=True,
    help="Micro-batches of room between two regions (--mapping dataflow).",
)
@click.option(
    "--changes", type=click.IntRange(min=0), default=0, help="Changes of the graph in a step (--mapping)."
)
@click.option(
    "--reconfiguration",
    metavar="TIME",
    help="Time of one change, such as 20s (--mapping).  [default: all memory written anew]",
)
@click.option("--timeline", type=click.Path(dir_okay=False, path_type=Path), help="JSON that Perfetto opens.")
@click.option(
    "--figure",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the step goes: .svg, .png or .pdf.",
)
@click.option(
    "--draw",
    "picture",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where the plan lies on the fabric.",
)
@as_json
def command(
    model: str,
    system: str,
    ccl: str | None,
    contention: str,
    placement: str | None,
    ideal_kernels: bool,
    no_memory_check: bool,
    mapping: str,
    buffer: int,
    changes: int,
    reconfiguration: str | None,
    timeline: Path | None,
    figure: Path | None,
    picture: Path | None,
    as_json: bool,
    **choices: Any,
) -> None:
    """Simulate one training step of MODEL on a system and say where its time goes.

    MODEL is a name such as llama3-70b, a Hugging Face config.json, or sizes as layers=32,hidden=4096,heads=32.
    What of the plan is not given is chosen so that it fits.
    """
    import topo

    plan = plan_choices(choices)
    if mapping != "plan":
        asked = {"--figure": figure, "--draw": picture, "--timeline": timeline, "--placement": placement}
        for option, value in (asked | {"--ideal-kernels": ideal_kernels or None}).items():
            if value is not None:
                raise click.UsageError(f"mapping {mapping} has no {option}; leave it out")
        _mapped(
            model, system, mapping, plan, buffer, changes, reconfiguration, ccl, not no_memory_check, as_json
        )
        return
    from topo.report.style import check_picture
    from topo.training.default_plan import default_plan
    from topo.training.named_models import load_model
    from topo.training.step import step

    for path in (figure, picture):
        if path is not None:
            check_picture(path)
    found, read = topo.load(system), load_model(model)
    chosen = default_plan(read, found, plan, not no_memory_check)
    result = step(
        read,
        found,
        chosen,
        ccl=ccl,
        contention=contention,
        placement=placement,
        timeline=timeline is not None,
        ideal_kernels=ideal_kernels,
        check_memory=not no_memory_check,
    )
    if picture is not None:
        from topo.report.placement import draw_placement
        from topo.training.placement import place

        laid = place(chosen, found.fabric, placement)
        draw_placement(laid, picture, f"{result.model} on {result.system}: {result.plan}")
    from topo.report.step import step_block, write_step_figure, write_timeline

    if timeline is not None:
        write_timeline(result.spans, timeline)
    if figure is not None:
        write_step_figure([result], figure)
    click.echo(result.to_json() if as_json else step_block(result))


def _mapped(
    model: str,
    system: str,
    mapping: str,
    plan: dict[str, Any],
    buffer: int,
    changes: int,
    reconfiguration: str | None,
    ccl: str | None,
    check_memory: bool,
    as_json: bool,
) -> None:
    """A step of a dataflow machine."""
    import topo
    from topo.report.step import mapped_block
    from topo.training.mapping import mapped_json, mapped_step
    from topo.training.named_models import load_model
    from topo.units import parse_time

    record = mapped_step(
        load_model(model),
        topo.load(system),
        mapping,
        plan,
        buffer=buffer,
        changes=changes,
        reconfiguration_s=None if reconfiguration is None else parse_time(reconfiguration, allow_zero=True),
        check_memory=check_memory,
        ccl=ccl,
    )
    click.echo(mapped_json(record) if as_json else mapped_block(record))
