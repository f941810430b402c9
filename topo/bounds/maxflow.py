"""Maximum flows and minimum cuts in whole numbers, through scipy."""

from __future__ import annotations

from typing import Any

import numpy as np

from topo.fabric import BoolArray, Fabric, IntArray

MOST = 2**31 - 1
"""scipy's maximum_flow counts in 32-bit integers."""


class Network:
    """A flow network that a super-source feeds.

    Parameters
    ----------
    nodes : int
    source, target : int arrays [links]
    capacity : int array [links]
        Each, and all feeds together, below 2**31.
    fed : int array
        Nodes with an arc from the super-source.
    feed : int array
        Capacity of each of those arcs.
    """

    def __init__(
        self,
        nodes: int,
        source: IntArray,
        target: IntArray,
        capacity: IntArray,
        fed: IntArray,
        feed: IntArray,
    ) -> None:
        from scipy.sparse import csr_array

        self._start = nodes
        self._feed = int(feed.sum())
        rows = np.concatenate([source, np.full(len(fed), nodes)])
        columns = np.concatenate([target, fed])
        limits = np.concatenate([capacity, feed]).astype(np.int32)
        self._graph = csr_array((limits, (rows, columns)), shape=(nodes + 1, nodes + 1), dtype=np.int32)
        self._flow: Any = None

    def flow(self, sink: int) -> int:
        """Value of a maximum flow from the super-source to a node."""
        from scipy.sparse.csgraph import maximum_flow

        found = maximum_flow(self._graph, self._start, sink)
        self._flow = found.flow
        return int(found.flow_value)

    def side(self) -> BoolArray:
        """The nodes that the last flow could still reach: the source's side of a minimum cut [nodes]."""
        from scipy.sparse.csgraph import breadth_first_order

        residual = self._graph - self._flow
        residual.data = np.where(residual.data > 0, 1, 0).astype(np.int32)
        residual.eliminate_zeros()
        inside = np.zeros(self._start + 1, dtype=bool)
        inside[breadth_first_order(residual, self._start, return_predecessors=False)] = True
        return inside[: self._start]

    def cut_below(self, sink: int) -> BoolArray | None:
        """The side of a minimum cut that keeps some of the feed from a node, or None where all of it arrives."""
        return self.side() if self.flow(sink) < self._feed else None


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
    Bandwidths are rounded to parts of 2**29 of their sum; the set is a node set like any other, so whoever
    recounts its bandwidth has an exact number.
    """
    unit = float(fabric.bandwidth.sum()) / (MOST // 4)
    whole = np.maximum(np.round(fabric.bandwidth / unit), 1).astype(np.int64)
    end = len(fabric.nodes)
    network = Network(
        end + 1,
        np.concatenate([fabric.source, sinks]),
        np.concatenate([fabric.target, np.full(len(sinks), end)]),
        np.concatenate([whole, np.full(len(sinks), MOST // 2)]),
        sources,
        np.full(len(sources), MOST // 2),
    )
    network.flow(end)
    return network.side()[:end]
