"""A hypercube."""

from __future__ import annotations

import networkx as nx

from topo.fabric import Grid
from topologies import checks
from topologies.grid import grid_graph


def hypercube(
    dimensions: int,
    bandwidth: checks.Quantities = checks.DEFAULT_BANDWIDTH,
    latency: checks.Quantities = checks.DEFAULT_LATENCY,
) -> nx.DiGraph:
    """2**D accelerators, joined when their coordinates differ in one bit: a mesh with two nodes a dimension.

    Parameters
    ----------
    dimensions : int
        Number of dimensions, 1 to 20.
    bandwidth : float, text or sequence [dimensions]
        Bytes/s per direction of every link, or of the links of each dimension.
    latency : float, text or sequence [dimensions]
        Seconds of every link, or of the links of each dimension.

    Returns
    -------
    networkx.DiGraph
        Nodes are called by their bits, as ``0.1.1``; the first is the most significant bit of the rank.

    Raises
    ------
    TopoError
        A number of dimensions out of range, or a value that is no bandwidth or latency.

    Notes
    -----
    Source: the definition of the graph Q_D; routing by dimension order is the classic e-cube.
    """
    d = checks.whole(dimensions, "hypercube dimensions", 1, 20)
    return grid_graph(Grid((2,) * d, (False,) * d), bandwidth, latency, name=f"hypercube:{d}")
