"""``topo export``: an algorithm's schedule as a program that runs elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

from topo.cli.options import as_json, echo_json, parse_ranks


@click.command(
    epilog="""\b
Examples:
  topo export all-reduce --on ring:8 --algorithm ring -o ring.xml
  topo export all-gather --on torus:4x4,failed=0.0-0.1 --algorithm synthesised -o repaired.xml
  topo run all-reduce --on ring:8 --size 64MiB --algorithm ring.xml"""
)
@click.argument("operation", metavar="OPERATION")
@click.option(
    "--on", "system", metavar="SYSTEM", required=True, help="System, such as tpu-v4:4x4x4 or a file."
)
@click.option(
    "--algorithm",
    required=True,
    metavar="NAME",
    help="See 'topo list algorithms'; auto: the fastest at --size.",
)
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FILE", help="MSCCL file, .xml."
)
@click.option(
    "--size",
    default="64MiB",
    show_default=True,
    metavar="SIZE",
    help="For algorithms whose schedule depends on it.",
)
@click.option(
    "--chunks", type=click.IntRange(min=1), metavar="K", help="Pieces to pipeline in.  [default: 1]"
)
@click.option("--ranks", metavar="RANKS", help="8 (the first eight) or 0,1,4-7.  [default: all]")
@click.option("--root", type=int, default=0, show_default=True, help="Root of a broadcast or reduce.")
@as_json
def command(
    operation: str,
    system: str,
    algorithm: str,
    output: Path,
    size: str,
    chunks: int | None,
    ranks: str | None,
    root: int,
    as_json: bool,
) -> None:
    """Write the schedule of an algorithm for OPERATION on a system as an MSCCL program.

    The program is read back and proved before it is written.  MSCCL knows no routes: its runtime finds its own.
    """
    import topo
    from topo.errors import AlgorithmError
    from topo.formats import msccl

    if output.suffix.lower() != ".xml":
        raise AlgorithmError(f"{str(output)!r} is no MSCCL file", "end its name in .xml")
    found = topo.load(system)
    group = parse_ranks(ranks)
    if algorithm == "auto":
        best = topo.simulate(found, operation, size, ccl="ideal", ranks=group, chunks=chunks, root=root)
        algorithm, chunks = best.algorithm, best.chunks
    plan = topo.schedule(
        found, operation, size, algorithm=algorithm, ranks=group, chunks=chunks or 1, root=root
    )
    program = msccl.read_text(msccl.written(plan), algorithm)
    msccl.write(plan, output)
    steps = len(program.steps)
    if as_json:
        record = {"file": str(output), "operation": operation, "system": found.name, "algorithm": algorithm}
        echo_json(record | {"chunks": chunks or 1, "ranks": program.ranks, "steps": steps})
        return
    click.echo(f"{output}: {algorithm} {operation} among {program.ranks} ranks, {steps} steps, proved")
