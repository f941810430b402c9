"""The joint all-reduce program: trees that reduce and trees that spread share the links."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from topo.bounds.bound import Bound
from topo.bounds.distances import latency_over
from topo.bounds.group import Group
from topo.bounds.lp import maximise
from topo.bounds.maxflow import Network
from topo.bounds.orbits import Symmetry, symmetry_of
from topo.bounds.words import lengths_data, say_lengths
from topo.collective import Collective
from topo.errors import BoundError
from topo.fabric import BoolArray, FloatArray, IntArray
from topo.units import format_bandwidth, format_bytes, format_time

MOST_VARIABLES = 4_000
PATIENCE = 20.0
"""Seconds of CPU for one program."""
_VIOLATED = 1e-8
_FLOW_UNITS = 2**30


def all_reduce_bound(
    collective: Collective, group: Group, in_network: bool | None = None, patience: float = PATIENCE
) -> Bound:
    """The least time of an all-reduce whose chunks go up an in-tree and down an out-tree with the same root.

    Parameters
    ----------
    collective : Collective
    group : Group
    in_network : bool, optional
        Whether switches may multicast and reduce: as the fabric says by default; False keeps them from it.

    patience : float
        Seconds of CPU after which the bound of the sets found so far is returned.

    Raises
    ------
    BoundError
        The program is too large, or in-network help is asked of a fabric that has none.

    Notes
    -----
    Rank r is the root of x_r bytes/s.  Link capacities are divided in two parts.  The first spreads: every node
    set W with a rank in it takes in, over its first part, at least what ranks outside it supply, for out-trees
    can be packed just then (J. Edmonds, "Edge-disjoint branchings", 1973).  The second reduces: every such set
    gives out, over its second part, at least as much.  A switch that cannot multicast passes on in the first
    part as much as it takes in, one that cannot reduce so in the second; accelerators outside the group, too.
    The largest sum of x is a linear program; time >= bytes / sum(x) plus the smallest latency of a route over
    a link that binds.  Its sets are too many to be written down: those that a solution violates are found by
    maximum flows and added until there is none.  Any selection of sets gives a valid bound.  Links and ranks
    that are alike under a symmetry share their variables, as averages of any optimum may.

    What is bounded are schedules of trees.  That no other kind is faster is not proved in general; port,
    capacity and cut bounds hold for every algorithm.
    """
    fabric = group.fabric
    if in_network and not fabric.in_network:
        raise BoundError(
            f"no switch of {fabric.name} can multicast or reduce", "take a fabric whose switches can"
        )
    able = in_network is None or in_network
    copies, adds = (
        ability if able else np.zeros_like(ability) for ability in (fabric.multicast, fabric.reduce)
    )
    rate, lengths, exact = _solved(symmetry_of(group), copies, adds, patience)
    late = latency_over(group, np.flatnonzero(lengths))
    room = float(lengths @ fabric.bandwidth)
    return Bound(
        float(collective.bytes) / rate + late,
        "all-reduce-lp",
        f"with the link lengths {say_lengths(fabric, lengths)}, lengths times bandwidths come to "
        f"{format_bandwidth(room)}, and a tree that reduces together with one that spreads from the same rank is at "
        f"least {room / rate:.6g} long, so trees carry {format_bandwidth(rate)} of the "
        f"{format_bytes(float(collective.bytes))}; the last bytes travel {format_time(late)}",
        {
            "exact": exact,
            "schedules": "a tree that reduces and a tree that spreads for every chunk",
            "rate_Bps": rate,
            "bytes": float(collective.bytes),
            "length_bandwidth_Bps": room,
            "multicast": bool(copies.any()),
            "reduce": bool(adds.any()),
            "latency_s": late,
        }
        | (
            {}
            if exact
            else {"why": f"stopped after {patience:g} s of CPU, before all node sets were satisfied"}
        )
        | lengths_data(fabric, lengths),
        lengths,
    )


@dataclass(frozen=True, eq=False)
class _Part:
    """One part of the capacities: the one that spreads, or, with all links reversed, the one that reduces.

    Parameters
    ----------
    source, target : int arrays [links]
        Ends of each link as trees lead from their root.
    first : int
        Variable of the first link orbit.
    able : bool array [nodes]
        Nodes that may give out more than they take in.
    """

    source: IntArray
    target: IntArray
    first: int
    able: BoolArray


class _Program:
    """The program with the node sets known so far.

    Variables: supplies by orbit of ranks, then both parts by orbit of links, in units of the fastest link.
    """

    def __init__(self, symmetry: Symmetry, copies: BoolArray, adds: BoolArray) -> None:
        group, orbits = symmetry.group, symmetry.orbits
        fabric = group.fabric
        self.group, self.orbits = group, orbits
        self.roots, self.count = symmetry.senders
        supplies = len(self.roots)
        self.variables = supplies + 2 * orbits.links
        self.parts = (
            _Part(fabric.source, fabric.target, supplies, group.member | copies),
            _Part(fabric.target, fabric.source, supplies + orbits.links, group.member | adds),
        )
        orbit_of_root = np.full(orbits.nodes, -1, dtype=np.int64)
        orbit_of_root[orbits.node[group.nodes[self.roots]]] = np.arange(supplies)
        self.supply = orbit_of_root[orbits.node[group.nodes]]
        self.limits = fabric.bandwidth[orbits.first_link] / fabric.bandwidth.max()
        self._sets: dict[bytes, FloatArray] = {}

    def add_set(self, part: _Part, inside: BoolArray) -> bool:
        """Demand that a node set takes in what ranks outside supply; whether that is new."""
        crossing = ~inside[part.source] & inside[part.target]
        row = np.zeros(self.variables)
        outside = ~inside[self.group.nodes]
        row[: len(self.roots)] = np.bincount(self.supply[outside], minlength=len(self.roots))
        row[part.first : part.first + self.orbits.links] = -np.bincount(
            self.orbits.link[crossing], minlength=self.orbits.links
        )
        new = row.tobytes() not in self._sets
        self._sets[row.tobytes()] = row
        return new

    def solve(self) -> tuple[FloatArray, FloatArray]:
        """The best variables, and the price of each link orbit's capacity."""
        from scipy.sparse import csr_array

        links = np.arange(self.orbits.links)
        room = np.zeros((len(links), self.variables))
        for part in self.parts:
            room[links, part.first + links] = 1.0
        below = np.concatenate([room, *(row[None] for row in self._sets.values())])
        limits = np.concatenate([self.limits, np.zeros(len(self._sets))])
        objective = np.zeros(self.variables)
        objective[: len(self.roots)] = self.count
        what = f"all-reduce of {self.group.fabric.name}"
        _, best, prices = maximise(objective, csr_array(self._balances()), csr_array(below), limits, what)
        return best, prices[: len(links)]

    def value(self, variables: FloatArray) -> float:
        """Sum of supplies."""
        return float(variables[: len(self.roots)] @ self.count)

    def _balances(self) -> FloatArray:
        """Rows that say: as much of a part enters each node that is not able as leaves it."""
        rows = []
        for part in self.parts:
            for node in self.orbits.first_node[~part.able[self.orbits.first_node]]:
                row = np.zeros(self.variables)
                for ends, sign in ((part.target, 1.0), (part.source, -1.0)):
                    links = self.orbits.link[ends == node]
                    row[part.first : part.first + self.orbits.links] += sign * np.bincount(
                        links, minlength=self.orbits.links
                    )
                rows.append(row)
        return np.asarray(rows).reshape(len(rows), self.variables)

    def separate(self, best: FloatArray) -> tuple[bool, bool]:
        """Add the sets that a solution violates most; whether there are any, and whether any is new."""
        group = self.group
        supplies = np.maximum(best[self.supply], 0.0)
        total = float(supplies.sum())
        unit = total / _FLOW_UNITS
        fed = np.round(supplies / unit).astype(np.int64)
        violated = new = False
        for part in self.parts:
            given = np.clip(best[part.first + self.orbits.link], 0.0, total)
            whole = np.round(given / unit).astype(np.int64)
            network = Network(len(group.fabric.nodes), part.source, part.target, whole, group.nodes, fed)
            for root in self.roots:
                if network.flow(int(group.nodes[root])) >= int(fed.sum()) * (1 - _VIOLATED):
                    continue
                inside = ~network.side()
                crossing = float(given[~inside[part.source] & inside[part.target]].sum())
                if crossing < float(supplies[~inside[group.nodes]].sum()) - _VIOLATED * total:
                    violated = True
                    new |= self.add_set(part, inside)
        return violated, new


def _solved(
    symmetry: Symmetry, copies: BoolArray, adds: BoolArray, patience: float
) -> tuple[float, FloatArray, bool]:
    """The largest sum of supplies in bytes/s, dual lengths of links (the largest 1), and whether all sets hold."""
    program = _Program(symmetry, copies, adds)
    group, orbits = symmetry.group, symmetry.orbits
    fabric = group.fabric
    if program.variables > MOST_VARIABLES:
        raise BoundError(
            f"the all-reduce program of {fabric.name} has {program.variables:,} variables "
            f"({len(program.roots)} ranks, {fabric.links} links), more than {MOST_VARIABLES:,}",
            "use the port, capacity and cut bounds, or a smaller group",
        )
    for part in program.parts:
        for root in program.roots:
            alone = np.zeros(len(fabric.nodes), dtype=bool)
            alone[group.nodes[root]] = True
            program.add_set(part, alone)
    end = time.process_time() + patience
    middle: FloatArray | None = None
    while True:
        best, prices = program.solve()
        # Optima are many and corners of the program violate many sets: a mean of those met so far violates
        # few.  When it violates none and is as good as the best, there is nothing more to find.
        middle = best if middle is None else (middle + best) / 2
        violated, more = program.separate(middle)
        as_good = not violated and program.value(middle) >= program.value(best) * (1 - _VIOLATED)
        if not more and not as_good:
            _, more = program.separate(best)
        if not more or time.process_time() > end:
            break
    lengths = (prices / orbits.link_count)[orbits.link]
    lengths[lengths < lengths.max() * 1e-9] = 0.0
    rate = program.value(best) * float(fabric.bandwidth.max())
    return rate, np.asarray(lengths / lengths.max()), not more
