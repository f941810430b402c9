"""Dojo: training tiles of dies, meshed over tile edges, with interface processors at the rim."""

from __future__ import annotations

import networkx as nx

from topo.fabric import Grid
from topologies import checks
from topologies.graph import accelerator, cable, nic, switch

_TILE_GAP = 0.4


def dojo(
    tile_rows: int,
    tile_cols: int,
    dies: int,
    die_bandwidth: checks.Quantity,
    tile_edge_bandwidth: checks.Quantity,
    dips_per_tile_edge: int,
    dip_bandwidth: checks.Quantity,
    latency: checks.Quantities,
    z_plane_bandwidth: checks.Quantity | None = None,
) -> nx.DiGraph:
    """A mesh of dies in which links across a tile edge are slower.

    Parameters
    ----------
    tile_rows, tile_cols : int
        Tiles along each dimension.
    dies : int
        Dies along each edge of a tile.
    die_bandwidth : float or text
        Bytes/s per direction between neighbouring dies of a tile.
    tile_edge_bandwidth : float or text
        Bytes/s per direction across a whole tile edge, shared evenly by its border dies.
    dips_per_tile_edge : int
        Interface processors on each outer tile edge, one per border die; 0 for none.
    dip_bandwidth : float or text
        Bytes/s per direction between an interface processor and its die.
    latency : float, text or sequence [3]
        Seconds of every link, or of those within a tile, across tile edges, and to interface processors.
    z_plane_bandwidth : float or text, optional
        Bytes/s per direction of each interface processor to an Ethernet switch that joins them all.

    Returns
    -------
    networkx.DiGraph
        Dies by their coordinates, as ``0.7``, in row-major order; ``dip0`` .. and ``zplane``.

    Raises
    ------
    TopoError
        A number out of range, or a value that is no bandwidth or latency.

    Notes
    -----
    Source: Tesla, "The microarchitecture of Tesla's exa-scale computer" and "Dojo system v25", Hot Chips 34,
    2022.
    """
    down, across = checks.whole(tile_rows, "tile_rows"), checks.whole(tile_cols, "tile_cols")
    dies = checks.whole(dies, "dies")
    dips = checks.whole(dips_per_tile_edge, "dips_per_tile_edge", 0, dies)
    shape = (down * dies, across * dies)
    checks.affordable(f"dojo of {down}x{across} tiles", 2 * shape[0] * shape[1], 6 * shape[0] * shape[1])
    within, border = checks.bandwidth(die_bandwidth), checks.bandwidth(tile_edge_bandwidth) / dies
    rim = checks.bandwidth(dip_bandwidth)
    near, between, outside = checks.latencies(latency, 3, "die link, tile edge, interface processor")
    grid = Grid(shape, (False, False))
    shortcut = z_plane_bandwidth is not None and dips > 0
    routing = "shortest" if shortcut else "dimension-order"
    graph = nx.DiGraph(name=f"dojo:{down}x{across}", grid=grid, routing=routing)
    spread = [[i + _TILE_GAP * (i // dies) for i in range(length)] for length in shape]
    for x in range(shape[0]):
        for y in range(shape[1]):
            accelerator(graph, f"{x}.{y}", (spread[0][x], spread[1][y]))
    for x in range(shape[0]):
        for y in range(shape[1]):
            for further, place in (((x + 1, y), x + 1), ((x, y + 1), y + 1)):
                if further[0] < shape[0] and further[1] < shape[1]:
                    rate, delay = (within, near) if place % dies else (border, between)
                    cable(graph, f"{x}.{y}", f"{further[0]}.{further[1]}", rate, delay)
    # Outer edges: the die and the direction in which its interface processor stands.
    rows = [y for y in range(shape[1]) if y % dies < dips]
    columns = [x for x in range(shape[0]) if x % dies < dips]
    rim_dies = [
        *((x, y, step, 0.0) for x, step in ((0, -1.0), (shape[0] - 1, 1.0)) for y in rows),
        *((x, y, 0.0, step) for y, step in ((0, -1.0), (shape[1] - 1, 1.0)) for x in columns),
    ]
    for i, (x, y, right, up) in enumerate(rim_dies):
        nic(graph, f"dip{i}", (spread[0][x] + right, spread[1][y] + up))
        cable(graph, f"dip{i}", f"{x}.{y}", rim, outside, tier="scale-out")
    if shortcut and z_plane_bandwidth is not None:
        plane = checks.bandwidth(z_plane_bandwidth)
        switch(graph, "zplane", (spread[0][-1] + 3.0, spread[1][-1] + 3.0))
        for i in range(len(rim_dies)):
            cable(graph, f"dip{i}", "zplane", plane, outside, tier="scale-out")
    return graph
