"""``topo bound``: the time that no algorithm can beat, with its proof."""

from __future__ import annotations

from pathlib import Path

import click

from topo.cli.options import as_json, echo_json, parse_ranks


@click.command(
    epilog="""\b
Examples:
  topo bound all-gather --on 'dgx-h100*4' --size 1GiB
  topo bound all-reduce --on torus:4x4,failed=0.0-0.1 --size 64MiB --shadow 5
  topo bound all-to-all --on tpu-v4:4x4x8 --size 64MiB --draw cut.svg"""
)
@click.argument("operation", metavar="OPERATION")
@click.option(
    "--on", "system", metavar="SYSTEM", required=True, help="System, such as tpu-v4:4x4x4 or a file."
)
@click.option("--size", metavar="SIZE", help="nccl-tests' size, such as 64MiB.  A barrier needs none.")
@click.option("--ranks", metavar="RANKS", help="8 (the first eight) or 0,1,4-7.  [default: all]")
@click.option("--root", type=int, default=0, show_default=True, help="Root, or sender of a send-recv.")
@click.option("--peer", type=int, default=-1, show_default="the last rank", help="Receiver of a send-recv.")
@click.option(
    "--quick", is_flag=True, help="Elementary bounds only: no search of all cuts, no linear programs."
)
@click.option(
    "--shadow",
    type=click.IntRange(min=1),
    metavar="N",
    help="Name the N cables that matter most, doubled or cut.",
)
@click.option(
    "--draw",
    "picture",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Draw what binds: .svg, .png or .pdf.",
)
@as_json
def command(
    operation: str,
    system: str,
    size: str | None,
    ranks: str | None,
    root: int,
    peer: int,
    quick: bool,
    shadow: int | None,
    picture: Path | None,
    as_json: bool,
) -> None:
    """Say which time no algorithm can beat for OPERATION on a system, and what stands in the way.

    OPERATION is all-reduce, all-gather, reduce-scatter, all-to-all, broadcast, reduce, send-recv or barrier.
    The exact bound is sought where the system is small or regular enough, else the best elementary one is
    given; the answer says which.
    """
    if size is None and operation != "barrier":
        raise click.UsageError("missing option '--size'; for example --size 64MiB")
    if picture is not None:
        from topo.report.style import check_picture

        check_picture(picture)
    from topo.bounds.record import bound_record
    from topo.collective import Collective
    from topo.units import parse_bytes
    from topologies import load

    found = load(system)
    chosen = parse_ranks(ranks)
    named = chosen if isinstance(chosen, list) else None
    count = found.fabric.ranks if chosen is None else len(chosen) if isinstance(chosen, list) else chosen
    collective = Collective(operation, count, parse_bytes(size or 0, allow_zero=True), root, peer)
    record, lengths = bound_record(collective, found.fabric, named, exact=not quick, shadow=shadow or 0)
    record = {"operation": operation, "system": found.name, **record}
    if picture is not None:
        from topo.report.drawing import draw

        draw(found.fabric, picture, f"{operation} on {found.name}: {record['bound_kind']}", lengths)
        record["drawing"] = str(picture)
    if as_json:
        echo_json(record)
        return
    from topo.report.bounds import bound_block

    click.echo(bound_block(record))
