"""Minimum cuts between roots and ranks, by scipy's integer maximum flow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from topo.errors import InternalError
from topo.fabric import BoolArray, IntArray

MOST = 2**31 - 1
"""scipy's maximum_flow counts in 32-bit integers."""


@dataclass(frozen=True, eq=False)
class FlowGraph:
    """A capacitated graph ready for many maximum flows.

    Parameters
    ----------
    capacity : int array [nodes, nodes]
    """

    capacity: IntArray

    def _matrix(self) -> object:
        from scipy.sparse import csr_array

        if self.capacity.sum() > MOST:
            raise InternalError("capacities beyond 32 bits; the network was to keep them small")
        return csr_array(self.capacity.astype(np.int32))

    def flows(self, source: int, sinks: list[int], enough: int) -> list[tuple[int, BoolArray | None]]:
        """Maximum flow from a node to each of others, and where it is not enough a cut that limits it.

        Returns
        -------
        list of (flow value, None or the nodes on the source's side of a minimum cut)
        """
        from scipy.sparse.csgraph import breadth_first_order, maximum_flow

        graph = self._matrix()
        found: list[tuple[int, BoolArray | None]] = []
        for sink in sinks:
            result = maximum_flow(graph, source, sink)
            value = int(result.flow_value)
            if value >= enough:
                found.append((value, None))
                continue
            residual = graph - result.flow
            residual.data = (residual.data > 0).astype(np.int32)
            residual.eliminate_zeros()
            inside = np.zeros(len(self.capacity), dtype=bool)
            inside[breadth_first_order(residual, source, return_predecessors=False)] = True
            found.append((value, inside))
        return found


def with_roots(capacity: IntArray, weights: IntArray) -> IntArray:
    """The capacities and one more node, the last, that feeds every rank its weight."""
    size = len(capacity)
    grown = np.zeros((size + 1, size + 1), dtype=np.int64)
    grown[:size, :size] = capacity
    grown[size, : len(weights)] = weights
    return grown


def lacking(capacity: IntArray, weights: IntArray) -> list[BoolArray]:
    """Cuts through which not all of the roots' weight can leave.

    Trees of total weight ``weights[r]`` rooted at each rank r, each reaching all ranks, can be packed only if
    from a super-source that feeds the roots every rank can be sent the whole weight (Edmonds).

    Returns
    -------
    list of bool arrays [nodes]
        Node sets, each with a rank outside it, whose roots weigh more than the capacity that leaves; one for
        every rank that is not sent everything.
    """
    members, total = len(weights), int(weights.sum())
    flows = FlowGraph(with_roots(capacity, weights)).flows(len(capacity), list(range(members)), total)
    return [inside[:-1] for _, inside in flows if inside is not None]


def leaving(capacity: IntArray, inside: BoolArray) -> int:
    """Capacity of the edges that leave a node set."""
    return int(capacity[np.ix_(inside, ~inside)].sum())
