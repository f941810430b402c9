"""A ladder: two columns joined by rungs, as in a Graphcore pod."""

from __future__ import annotations

import networkx as nx

from topo.fabric import Grid
from topologies import checks
from topologies.grid import grid_graph


def ladder(
    length: int,
    rung_links: int,
    rail_links: int,
    bandwidth: checks.Quantity,
    latency: checks.Quantity,
    wrap: bool = True,
) -> nx.DiGraph:
    """A grid of ``length`` rows and 2 columns whose long dimension may be closed.

    Parameters
    ----------
    length : int
        Rows.
    rung_links, rail_links : int
        Cables between the two columns of a row, and between neighbouring rows of a column.
    bandwidth : float or text
        Bytes/s per direction of one cable.
    latency : float or text
        Seconds of each link.
    wrap : bool
        Whether the last row is joined to the first.

    Raises
    ------
    TopoError
        A number below 1, or a value that is no bandwidth or latency.

    Notes
    -----
    Source: Graphcore, IPU-POD64 product description: a 2 x 32 torus of IPUs with its long dimension closed.
    """
    rows = checks.whole(length, "length")
    cables = (checks.whole(rail_links, "rail_links"), checks.whole(rung_links, "rung_links"))
    grid = Grid((rows, 2), (bool(wrap), False))
    rate, delay = checks.bandwidth(bandwidth), checks.latency(latency)
    return grid_graph(grid, rate, delay, cables, name=f"ladder:{rows}")
