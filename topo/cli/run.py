"""``topo run``: one collective on one system."""

from __future__ import annotations

import click

from topo.cli.options import as_json, parse_ranks


@click.command(
    epilog="""\b
Examples:
  topo run all-reduce --on tpu-v4:4x4x4 --size 64MiB
  topo run all-to-all --on 'dgx-h100*8' --size 1GiB --json
  topo run broadcast --on torus:4x4,bandwidth=100GB/s --size 1MiB --root 5 --ranks 0-7"""
)
@click.argument("operation", metavar="OPERATION")
@click.option(
    "--on", "system", metavar="SYSTEM", required=True, help="System, such as tpu-v4:4x4x4 or a file."
)
@click.option("--size", metavar="SIZE", help="nccl-tests' size, such as 64MiB.  A barrier needs none.")
@click.option(
    "--algorithm",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="See 'topo list algorithms'; or a .xml file.",
)
@click.option(
    "--ccl",
    metavar="NAME",
    help="Communication library, or its file; ideal adds nothing to the fabric.  [default: the system's own]",
)
@click.option("--ranks", metavar="RANKS", help="8 (the first eight) or 0,1,4-7.  [default: all]")
@click.option(
    "--chunks", type=click.IntRange(min=1), metavar="K", help="Pieces to pipeline in.  [default: the best]"
)
@click.option("--barrier", is_flag=True, help="Lock-step steps instead of data dependencies.")
@click.option(
    "--switching", default="cut-through", show_default=True, help="Or store-and-forward.", metavar="HOW"
)
@click.option(
    "--routing", default="auto", show_default=True, help="Or shortest, dimension-order, ecmp.", metavar="HOW"
)
@click.option("--engine", default="fluid", show_default=True, metavar="NAME", help="Or packet: small cases.")
@click.option("--packet", metavar="SIZE", help="Packet of the packet engine.  [default: 4KiB]")
@click.option(
    "--buffers",
    type=click.IntRange(min=1),
    metavar="PACKETS",
    help="Room in each virtual channel of the packet engine.  [default: plenty]",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="For random choices (ecmp)."
)
@click.option("--root", type=int, default=0, show_default=True, help="Root, or sender of a send-recv.")
@click.option("--peer", type=int, default=-1, show_default="the last rank", help="Receiver of a send-recv.")
@click.option("--exact", is_flag=True, help="The exact bound, where the system is small or regular enough.")
@click.option("--certify", is_flag=True, help="Prove the schedule and check every rate on the way.")
@as_json
def command(
    operation: str,
    system: str,
    size: str | None,
    algorithm: str,
    ccl: str | None,
    ranks: str | None,
    chunks: int | None,
    barrier: bool,
    switching: str,
    routing: str,
    engine: str,
    packet: str | None,
    buffers: int | None,
    seed: int,
    root: int,
    peer: int,
    exact: bool,
    certify: bool,
    as_json: bool,
) -> None:
    """Simulate OPERATION on a system and say what limits it.

    OPERATION is all-reduce, all-gather, reduce-scatter, all-to-all, broadcast, reduce, send-recv or barrier.
    Without --algorithm the system's communication library chooses; with --ccl ideal, as on bare topologies, all that
    fit are tried and the fastest is reported by name.
    """
    import topo

    if size is None and operation != "barrier":
        raise click.UsageError("missing option '--size'; for example --size 64MiB")
    result = topo.simulate(
        system,
        operation,
        size or 0,
        algorithm=algorithm,
        ccl=ccl,
        ranks=parse_ranks(ranks),
        chunks=chunks,
        barrier=barrier,
        switching=switching,
        routing=routing,
        seed=seed,
        engine=engine,
        exact=exact,
        certify=certify,
        root=root,
        peer=peer,
        packet=packet,
        buffers=buffers,
    )
    if as_json:
        click.echo(result.to_json())
    else:
        from topo.report.blocks import run_block

        click.echo(run_block(result, certified=certify))
