"""A wafer of cores: a sub-grid core by core, or the whole wafer coarsened to blocks."""

from __future__ import annotations

from collections.abc import Sequence

import networkx as nx

from topo.errors import FabricError
from topo.fabric import Grid
from topologies import checks
from topologies.graph import accelerator, cable
from topologies.grid import grid_graph


def wafer(
    dims: Sequence[int],
    bandwidth: checks.Quantity,
    latency: checks.Quantity,
    blocks: Sequence[int] | None = None,
) -> nx.DiGraph:
    """A two-dimensional mesh of cores without wrap.

    Parameters
    ----------
    dims : (int, int)
        Cores along each dimension.
    bandwidth : float or text
        Bytes/s per direction of the link between two neighbouring cores.
    latency : float or text
        Seconds of one hop between cores.
    blocks : (int, int), optional
        Coarsen to that many blocks along each dimension, each block one accelerator.  Two blocks are joined
        by as many cables as core links cross their common edge; the latency is the hops from the middle of
        one block to the middle of the next, times that of a hop.  Where blocks do not divide the cores, their
        sides differ by one core at most.

    Returns
    -------
    networkx.DiGraph
        Cores or blocks by their coordinates, as ``3.11``, in row-major order.

    Raises
    ------
    TopoError
        Not two dimensions, more blocks than cores, or a value that is no bandwidth or latency.

    Notes
    -----
    Source: S. Lie, "Cerebras architecture deep dive", IEEE Micro 43(3), 2023, for the mesh of cores.  The
    coarsening keeps every cut along block edges and the latency between block middles exact.
    """
    cores = checks.wholes(dims, "cores along a dimension")
    if len(cores) != 2:
        raise FabricError(f"a wafer has two dimensions, not {len(cores)}", "for example (512, 512)")
    rate, delay = checks.bandwidth(bandwidth), checks.latency(latency)
    if blocks is None:
        return grid_graph(Grid(cores, (False, False)), rate, delay, name=f"wafer:{cores[0]}x{cores[1]}")
    parts = checks.wholes(blocks, "blocks along a dimension")
    if len(parts) != 2:
        raise FabricError(f"a wafer has two dimensions, not {len(parts)}", "for example blocks of (12, 7)")
    if parts[0] > cores[0] or parts[1] > cores[1]:
        raise FabricError(
            f"{parts[0]}x{parts[1]} blocks cannot be cut from {cores[0]}x{cores[1]} cores",
            "use at most one block per core along each dimension",
        )
    name = f"wafer:{cores[0]}x{cores[1]} in {parts[0]}x{parts[1]} blocks"
    checks.affordable(name, parts[0] * parts[1], 4 * parts[0] * parts[1])
    graph = nx.DiGraph(name=name, grid=Grid(parts, (False, False)), routing="dimension-order")
    sides = [block_sides(total, number) for total, number in zip(cores, parts, strict=True)]
    for x in range(parts[0]):
        for y in range(parts[1]):
            accelerator(graph, f"{x}.{y}", (float(x), float(y)))
    for x in range(parts[0]):
        for y in range(parts[1]):
            if x + 1 < parts[0]:
                hops = (sides[0][x] + sides[0][x + 1]) / 2
                cable(graph, f"{x}.{y}", f"{x + 1}.{y}", rate, hops * delay, sides[1][y])
            if y + 1 < parts[1]:
                hops = (sides[1][y] + sides[1][y + 1]) / 2
                cable(graph, f"{x}.{y}", f"{x}.{y + 1}", rate, hops * delay, sides[0][x])
    return graph


def block_sides(cores: int, blocks: int) -> list[int]:
    """Cores along each of ``blocks`` blocks, the remainder shared out evenly."""
    return [(i + 1) * cores // blocks - i * cores // blocks for i in range(blocks)]
