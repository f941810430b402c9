"""The joint all-reduce program: trees that reduce and trees that spread share the links."""

from __future__ import annotations

from typing import Any

import numpy as np

from topo.bounds.bound import Bound
from topo.bounds.distances import latency_over
from topo.bounds.group import Group
from topo.bounds.lp import maximise
from topo.bounds.orbits import Orbits, Symmetry, symmetry_of
from topo.bounds.words import lengths_data, say_lengths
from topo.collective import Collective
from topo.errors import BoundError
from topo.fabric import BoolArray, FloatArray, IntArray
from topo.units import format_bandwidth, format_bytes, format_time

MOST_VARIABLES = 80_000


def all_reduce_bound(collective: Collective, group: Group, in_network: bool | None = None) -> Bound:
    """The least time of an all-reduce whose chunks go up an in-tree and down an out-tree with the same root.

    Parameters
    ----------
    collective : Collective
    group : Group
    in_network : bool, optional
        Whether switches may multicast and reduce: as the fabric says by default; False keeps them from it.

    Raises
    ------
    BoundError
        The program is too large, or in-network help is asked of a fabric that has none.

    Notes
    -----
    Rank r is the root of x_r bytes/s.  Link capacities are divided in two parts: from the ranks' supplies x,
    the one must bring sum(x) to every rank (packing of out-trees: J. Edmonds, "Edge-disjoint branchings",
    1973), the other must bring sum(x) from every rank to the supplies reversed (in-trees).  A switch that
    cannot multicast passes on in the first part as much as it takes in, one that cannot reduce so in the
    second; accelerators outside the group, too.  Each condition is a flow, so the largest sum(x) is one linear
    program; time >= bytes / sum(x) plus the smallest latency of a route over a link that binds.  Links and
    ranks that are alike under a symmetry share their variables, as averages of any optimum may.

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
    rate, lengths = _program(symmetry_of(group), copies, adds)
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
            "exact": True,
            "schedules": "a tree that reduces and a tree that spreads for every chunk",
            "rate_Bps": rate,
            "bytes": float(collective.bytes),
            "length_bandwidth_Bps": room,
            "multicast": bool(copies.any()),
            "reduce": bool(adds.any()),
            "latency_s": late,
        }
        | lengths_data(fabric, lengths),
        lengths,
    )


class _Rows:
    """Rows of a sparse matrix, gathered piece by piece."""

    def __init__(self) -> None:
        self.count = 0
        self._pieces: list[tuple[IntArray, IntArray, FloatArray]] = []

    def add(self, row: IntArray, column: IntArray, value: FloatArray) -> None:
        """Add entries; rows count from 0 over everything."""
        self._pieces.append((row, column, np.broadcast_to(value, row.shape)))

    def matrix(self, variables: int) -> Any:
        """The sparse matrix; entries on the same place add up."""
        from scipy.sparse import coo_array

        row, column, value = (np.concatenate([piece[i] for piece in self._pieces]) for i in range(3))
        return coo_array((value, (row, column)), shape=(self.count, variables)).tocsr()


def _program(symmetry: Symmetry, copies: BoolArray, adds: BoolArray) -> tuple[float, FloatArray]:
    """The largest sum of supplies in bytes/s, and the dual length of each link (the largest 1)."""
    group, orbits = symmetry.group, symmetry.orbits
    fabric = group.fabric
    roots, count = symmetry.senders
    fixed = [symmetry.stabiliser(int(group.nodes[root])) for root in roots]
    flows = sum(one.links for one in fixed)
    # Variables: supplies by orbit of ranks, both parts of each link orbit, flows for each kind of part.
    spread_at = len(roots)
    parts_at = (spread_at, spread_at + orbits.links)
    flow_at = spread_at + 2 * orbits.links
    variables = flow_at + 2 * flows
    if variables > MOST_VARIABLES:
        raise BoundError(
            f"the all-reduce program of {fabric.name} has {variables:,} variables "
            f"({len(roots)} ranks, {fabric.links} links), more than {MOST_VARIABLES:,}",
            "use the port, capacity and cut bounds, or a smaller group",
        )
    unit = float(fabric.bandwidth.max())
    equal, below = _Rows(), _Rows()
    supply = np.full(len(fabric.nodes), -1, dtype=np.int64)
    orbit_of_root = {int(orbits.node[group.nodes[root]]): i for i, root in enumerate(roots)}
    for node in group.nodes:
        supply[node] = orbit_of_root[int(orbits.node[node])]
    limits = [fabric.bandwidth[orbits.first_link] / unit]
    links = np.arange(orbits.links)
    for part in parts_at:
        below.add(links, part + links, np.ones(1))
    below.count = orbits.links
    for part, able, ends in ((parts_at[0], copies, False), (parts_at[1], adds, True)):
        _balance(equal, orbits, fabric, part, ~group.member & ~able)
        for root, one in zip(roots, fixed, strict=True):
            start, end = (fabric.target, fabric.source) if ends else (fabric.source, fabric.target)
            node = int(group.nodes[root])
            _conserve(equal, one, start, end, flow_at, supply, node)
            own = np.arange(one.links)
            below.add(below.count + own, flow_at + own, np.ones(1))
            below.add(below.count + own, part + orbits.link[one.first_link], -np.ones(1))
            below.count += one.links
            limits.append(np.zeros(one.links))
            flow_at += one.links
    objective = np.zeros(variables)
    objective[: len(roots)] = count
    best, _, prices = maximise(
        objective,
        equal.matrix(variables),
        below.matrix(variables),
        np.concatenate(limits),
        f"all-reduce of {fabric.name}",
    )
    lengths = (prices[: orbits.links] / orbits.link_count)[orbits.link]
    lengths[lengths < lengths.max() * 1e-9] = 0.0
    return best * unit, np.asarray(lengths / lengths.max())


def _balance(equal: _Rows, orbits: Orbits, fabric: Any, part: int, nodes: BoolArray) -> None:
    """As much of a part of the capacity enters each of some nodes as leaves it."""
    row = np.full(len(fabric.nodes), -1, dtype=np.int64)
    first = orbits.first_node[nodes[orbits.first_node]]
    row[first] = equal.count + np.arange(len(first))
    for ends, sign in ((fabric.target, 1.0), (fabric.source, -1.0)):
        use = np.flatnonzero(row[ends] >= 0)
        equal.add(row[ends[use]], part + orbits.link[use], np.full(1, sign))
    equal.count += len(first)


def _conserve(
    equal: _Rows, one: Orbits, start: IntArray, end: IntArray, flow_at: int, supply: IntArray, sink: int
) -> None:
    """What flows out of each node beyond what flows in is its supply; the sink takes the rest."""
    row = np.full(len(supply), -1, dtype=np.int64)
    row[one.first_node] = equal.count + np.arange(one.nodes)
    row[sink] = -1
    for ends, sign in ((start, 1.0), (end, -1.0)):
        use = np.flatnonzero(row[ends] >= 0)
        equal.add(row[ends[use]], flow_at + one.link[use], np.full(1, sign))
    giving = np.flatnonzero((row >= 0) & (supply >= 0))
    equal.add(row[giving], supply[giving], np.full(1, -1.0))
    equal.count += one.nodes
