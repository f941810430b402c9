"""Maximum flows and minimum cuts of a fabric, through scipy's integer solver."""

from __future__ import annotations

import numpy as np

from topo.fabric import BoolArray, Fabric, FloatArray, IntArray

MOST = 2**31 - 1
"""scipy's maximum_flow counts in 32-bit integers."""


def minimum_cut(fabric: Fabric, sources: IntArray, sinks: IntArray) -> BoolArray:
    """The node set on the sources' side of a minimum cut.

    Parameters
    ----------
    sources, sinks : int arrays
        Nodes, none in both.

    Returns
    -------
    bool array [nodes]

    Notes
    -----
    Bandwidths are rounded to parts of 2**31 of their sum; the set is a node set like any other, so bounds
    that recount its bandwidth exactly stay valid.
    """
    unit = float(fabric.bandwidth.sum()) / (MOST // 4)
    whole = np.maximum(np.round(fabric.bandwidth / unit), 1)
    return integer_minimum_cut(len(fabric.nodes), fabric.source, fabric.target, whole, sources, sinks)


def integer_minimum_cut(
    nodes: int, source: IntArray, target: IntArray, capacity: FloatArray, sources: IntArray, sinks: IntArray
) -> BoolArray:
    """As :func:`minimum_cut`, for whole capacities whose sum fits 31 bits."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import breadth_first_order, maximum_flow

    start, end = nodes, nodes + 1
    endless = MOST // 2
    rows = np.concatenate([source, np.full(len(sources), start), sinks])
    columns = np.concatenate([target, sources, np.full(len(sinks), end)])
    limits = np.concatenate([capacity, np.full(len(sources) + len(sinks), endless)]).astype(np.int32)
    graph = csr_array((limits, (rows, columns)), shape=(nodes + 2, nodes + 2), dtype=np.int32)
    flow = maximum_flow(graph, start, end).flow
    residual = graph - flow
    residual.data = np.where(residual.data > 0, 1, 0).astype(np.int32)
    residual.eliminate_zeros()
    reached = breadth_first_order(residual, start, return_predecessors=False)
    inside = np.zeros(nodes + 2, dtype=bool)
    inside[reached] = True
    return inside[:nodes]
