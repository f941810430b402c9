"""Trees used both ways: how many fit, and which way round their edges point from one root.

An all-reduce that climbs and descends the same trees takes a unit of an edge both ways, whichever end is nearer the
root.  Undirected trees are then to be packed, k at most where some arcs a with a(u,v) + a(v,u) <= capacity let one
root send k to every other rank (Frank, "On disjoint trees and arborescences", 1978).  That is a linear program over
node sets; the sets are found by minimum cuts.  Without relays its corners are whole for whole k and capacities, as
those of every submodular flow (Edmonds and Giles, 1977).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np

from topo.algorithms.synthesis.cuts import fed
from topo.algorithms.synthesis.network import Network
from topo.bounds.maxflow import MOST
from topo.errors import InternalError
from topo.fabric import BoolArray, FloatArray, IntArray

CLOSE = 1e-7
MOST_ROUNDS = 400
FINEST = 64
"""Multiples of the capacities that are tried where corners are not whole."""


class Orientation:
    """The program of one network, with the node sets met so far.

    Parameters
    ----------
    network : Network
        As wide one way as the other.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.root = _centre(network)
        self.source, self.target = (ends.astype(np.int64) for ends in np.nonzero(network.capacity))
        self.capacity = network.capacity[self.source, self.target]
        pair = np.minimum(self.source, self.target) * len(network.capacity) + np.maximum(
            self.source, self.target
        )
        _, self.pair = np.unique(pair, return_inverse=True)
        hops = _hops(network, self.root)
        self.outward = np.sign(hops[self.target] - hops[self.source])
        """1 for arcs that lead away from the root, -1 for those back."""
        self.sets = [
            _only(len(network.capacity), rank) for rank in range(network.members) if rank != self.root
        ]

    def most(self) -> float:
        """The largest k."""
        return self._solved(None, 1)[0]

    def arcs(self, trees: int, copies: int) -> IntArray:
        """Whole arcs, on capacities times ``copies``, over which the root sends about ``trees`` to every rank."""
        _, arcs = self._solved(trees, copies)
        table = np.zeros_like(self.network.capacity)
        table[self.source, self.target] = np.floor(arcs + 1e-6)
        _balance(table, self.network.members)
        return table

    def carried(self, table: IntArray) -> int:
        """What the root can send to every rank over whole arcs."""
        network = fed(table, np.asarray([self.root]), np.asarray([int(table[self.root].sum())]))
        return min(network.flow(rank) for rank in range(self.network.members) if rank != self.root)

    def _solved(self, trees: int | None, copies: int) -> tuple[float, FloatArray]:
        """k and the arcs: the largest k, or, for a given k, the arcs that lead away from the root most."""
        middle: FloatArray | None = None
        for _ in range(MOST_ROUNDS):
            best = self._corner(trees, copies)
            # Corners violate many sets, a mean of those met so far few.
            middle = best if middle is None else (middle + best) / 2
            fresh = self._violated(middle) if trees is None else []
            done = not fresh and trees is None and middle[-1] >= best[-1] * (1 - CLOSE)
            if done:
                return float(best[-1]), middle[:-1]
            fresh = fresh or self._violated(best)
            if not fresh:
                return float(best[-1]), best[:-1]
            self.sets += fresh
        raise InternalError("the orientation of the trees did not settle")

    def _corner(self, trees: int | None, copies: int) -> FloatArray:
        from scipy.optimize import linprog
        from scipy.sparse import csr_array, vstack

        arcs = len(self.capacity)
        room = csr_array((np.ones(arcs), (self.pair, np.arange(arcs))), shape=(self.pair.max() + 1, arcs + 1))
        enters = np.asarray([~inside[self.source] & inside[self.target] for inside in self.sets], dtype=float)
        demand = csr_array(np.hstack([-enters, np.ones((len(enters), 1))]))
        limits = np.zeros(self.pair.max() + 1)
        limits[self.pair] = self.capacity * copies
        balance = self._balance_rows()
        # The most trees; or, of so many trees, those whose edges lead away from the root most.
        wish = np.append(np.zeros(arcs), 1.0) if trees is None else np.append(self.outward, 0.0)
        result = linprog(
            -wish,
            A_ub=vstack([room, demand]),
            b_ub=np.append(limits, np.zeros(len(enters))),
            A_eq=balance if len(balance) else None,
            b_eq=np.zeros(len(balance)) if len(balance) else None,
            bounds=[(0, None)] * arcs + [(0, None) if trees is None else (trees, trees)],
            method="highs-ds",
        )
        if result.status != 0:
            raise InternalError(f"the orientation of the trees has no solution: {result.message}")
        return np.asarray(result.x, dtype=np.float64)

    def _balance_rows(self) -> FloatArray:
        relays = self.network.relays
        rows = np.zeros((len(relays), len(self.capacity) + 1))
        for row, relay in zip(rows, relays, strict=True):
            row[:-1] = (self.target == relay).astype(float) - (self.source == relay)
        return rows

    def _violated(self, best: FloatArray) -> list[BoolArray]:
        arcs, trees = np.maximum(best[:-1], 0.0), float(best[-1])
        unit = max(trees, float(arcs.sum())) / (MOST // 4)
        table = np.zeros_like(self.network.capacity)
        table[self.source, self.target] = np.floor(arcs / unit)
        network = fed(table, np.asarray([self.root]), np.asarray([int(trees / unit)]))
        fresh: dict[bytes, BoolArray] = {}
        for rank in range(self.network.members):
            if rank == self.root:
                continue
            side = network.cut_below(rank)
            if side is not None:
                enters = side[self.source] & ~side[self.target]
                if arcs[enters].sum() < trees * (1 - CLOSE):
                    fresh[side.tobytes()] = ~side
        return list(fresh.values())


def whole_trees(orientation: Orientation, most: float, limit: int) -> Iterator[tuple[IntArray, int, int]]:
    """Whole arcs, the number of trees they carry, and the multiple of the capacities they take; ever better ones.

    Parameters
    ----------
    orientation : Orientation
    most : float
        Its largest k.
    limit : int
        Largest number of trees.
    """
    network = orientation.network
    if not network.relays:
        ratio = Fraction(most).limit_denominator(max(network.members - 1, 1))
        if ratio.numerator <= limit:
            yield from _whole(orientation, ratio.numerator, ratio.denominator)
    best = 0.0
    for copies in range(1, FINEST + 1):
        trees = int(most * copies * (1 + CLOSE))
        if 0 < trees <= limit and trees / (most * copies) > best:
            for found in _whole(orientation, trees, copies):
                best = max(best, found[1] / (most * copies))
                yield found


def _whole(orientation: Orientation, trees: int, copies: int) -> Iterator[tuple[IntArray, int, int]]:
    table = orientation.arcs(trees, copies)
    carried = min(orientation.carried(table), trees)
    if carried > 0:
        yield table, carried, copies


def with_arcs(network: Network, table: IntArray) -> Network:
    """The network with whole arcs for capacities."""
    ways = {edge: [(way, int(table[edge]))] for edge, ((way, _),) in network.ways.items() if table[edge]}
    return replace(network, capacity=table.copy(), ways=ways)


def _balance(table: IntArray, members: int) -> None:
    """Take arcs away until every relay gives out what it takes in."""
    uneven = True
    while uneven:
        uneven = False
        for relay in range(members, len(table)):
            over = int(table[:, relay].sum() - table[relay].sum())
            line = table[:, relay] if over > 0 else table[relay]
            left = abs(over)
            uneven |= left > 0
            while left:
                at = int(line.argmax())
                line[at] -= 1
                left -= 1


def _only(size: int, rank: int) -> BoolArray:
    inside = np.zeros(size, dtype=bool)
    inside[rank] = True
    return inside


def _hops(network: Network, root: int) -> IntArray:
    from scipy.sparse.csgraph import shortest_path

    hops = shortest_path(network.capacity > 0, unweighted=True, indices=root)
    return np.where(np.isfinite(hops), hops, -1).astype(np.int64)


def _centre(network: Network) -> int:
    """The rank whose farthest rank is nearest."""
    from scipy.sparse.csgraph import shortest_path

    members = network.members
    hops = shortest_path(network.capacity > 0, unweighted=True, indices=np.arange(members))[:, :members]
    return int(np.lexsort((hops.sum(axis=1), hops.max(axis=1)))[0])
