"""The group of commands; it knows their names and summaries, and imports only the one that is asked for."""

from __future__ import annotations

from importlib import import_module

import click

from topo import __version__
from topo.errors import nearest

COMMANDS = {
    "run": "Simulate one collective on one system.",
    "step": "Simulate one training step of a model on a system.",
    "search": "Find the best parallel plan of a model on a system.",
    "compare-step": "Compare systems by a training step, each with its best plan.",
    "rollout": "Simulate one update of training on generated sequences.",
    "sites": "Train at several sites: in step, or with local steps.",
    "place": "Say where the axes of a plan lie on a fabric, and draw them.",
    "compare": "Compare systems over operations and sizes.",
    "bound": "Say what no algorithm can beat, and why.",
    "validate": "Hold the model against measurements.",
    "calibrate": "Fit a library's constants to nccl-tests' output.",
    "export": "Write an algorithm's schedule as an MSCCL program.",
    "sweep": "Run a command at every point of a grid, each once.",
    "experiment": "Answer a question by a sweep, with a finding and figures.",
    "report": "Write stored records as one page that can be sent.",
    "list": "List systems, topologies, algorithms, operations.",
    "show": "Say what a system is, and draw it.",
    "catalogue": "Write the catalogue as a page with pictures, and as maps.",
}
"""Command to its summary; the command ``x-y`` is the function ``command`` of the module ``topo.cli.x_y``."""


class LazyGroup(click.Group):
    """A group whose commands are modules."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"topo.cli.{cmd_name.replace('-', '_')}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            hint = nearest(args[0], COMMANDS) or f"one of {', '.join(COMMANDS)}"
            raise click.UsageError(f"command {args[0]!r} is unknown; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Every command has its own --help, with examples.",
)
@click.version_option(__version__, "-V", "--version", prog_name="topo", message="%(prog)s %(version)s")
@click.pass_context
def topo(ctx: click.Context) -> None:
    """Which fabric for this job, and why: collective communication on accelerator fabrics, simulated, with a
    lower bound beside every time.

    A SYSTEM is spelled NAME[:SHAPE][*COUNT][,key=value...], such as torus:4x4x4, tpu-v4:8x8x8 or 'dgx-h100*8', or
    is a file (.yaml, .json, .graphml).  Several sites over fibre are
    'site(dgx-h100*512)*2,distance=1000km,bandwidth=100Tb/s'; the keys behind them are distance or latency,
    bandwidth, route_factor, nic and nic_latency.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
