"""The tightest of all cuts, found by maximum flows in whole numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm
from typing import Any

import numpy as np

from topo.bounds.bound import Bound
from topo.bounds.elementary_cuts import cut_bound
from topo.bounds.group import Group
from topo.bounds.maxflow import MOST, Network
from topo.bounds.orbits import symmetry_of
from topo.bounds.volumes import crossing_volume_of
from topo.collective import Collective
from topo.errors import BoundError
from topo.fabric import BoolArray, Fabric, FloatArray, IntArray

OPERATIONS = ("all-reduce", "all-gather", "reduce-scatter", "broadcast", "reduce", "send-recv")
MOST_WORK = 6_000_000
"""Sinks times links that maximum flows may look at: some seconds."""
_FINEST = 10_000


@dataclass(frozen=True, eq=False)
class Whole:
    """Link bandwidths as whole numbers.

    Parameters
    ----------
    capacity : int array [links]
    exact : bool
        Whether their ratios are those of the bandwidths; otherwise they are rounded to 1e-5 of the largest.
    """

    capacity: IntArray
    exact: bool


def whole_capacities(bandwidth: FloatArray) -> Whole:
    """Small whole numbers in the ratios of the bandwidths, where there are such."""
    values, back = np.unique(bandwidth, return_inverse=True)
    ratios = [Fraction(float(value / values[0])).limit_denominator(_FINEST) for value in values]
    close = all(
        abs(float(r) * values[0] / value - 1) < 1e-12 for r, value in zip(ratios, values, strict=True)
    )
    if close:
        common = lcm(*(r.denominator for r in ratios))
        numbers = [int(r * common) for r in ratios]
        if max(numbers) <= 100 * _FINEST:
            shared = gcd(*numbers)
            return Whole(np.asarray([number // shared for number in numbers])[back], True)
    return Whole(np.maximum(np.round(bandwidth / values[-1] * 1e5), 1).astype(np.int64), False)


def exact_cut_bound(collective: Collective, group: Group) -> Bound:
    """The tightest bound that any node set gives.

    Parameters
    ----------
    collective : Collective
        Any operation but all-to-all and barrier.
    group : Group

    Raises
    ------
    BoundError
        Another operation, a group that the fabric splits, or too much work.

    Notes
    -----
    All-gather: time >= (S/N) lambda with lambda the largest |A and group| / B(A -> rest) over node sets that
    do not hold the whole group (the cut bound of ForestColl, arXiv:2402.06787; on fabrics where each node's
    links carry in what they carry out, a packing of trees reaches it).  With lambda = p/q, capacities p c and
    a super-source that feeds q into each rank, every rank must be able to receive N q; a minimum cut that
    falls short gives a better lambda (Newton's method on a ratio, exact in fractions).  Reduce-scatter: the
    same on reversed links.  Broadcast, reduce, send-recv: S over the smallest maximum flow from, or to, the
    root.  All-reduce: S over the least cut that divides the group, in either direction.  Each holds for every
    algorithm, with in-network help or without.
    """
    op = collective.operation
    if op not in OPERATIONS:
        raise BoundError(
            f"{op} has no cut bound by single maximum flows", f"it is for {', '.join(OPERATIONS)}"
        )
    fabric = group.fabric
    whole = whole_capacities(fabric.bandwidth)
    if op in ("all-gather", "reduce-scatter"):
        inside, exact = _ratio_cut(group, whole, op == "reduce-scatter")
    else:
        inside, exact = _least_cut(collective, group, whole)
    members = inside[group.nodes]
    volume = crossing_volume_of(collective, members)
    # Name the smaller side.
    leaving = 2 * int(members.sum()) <= group.size
    data: dict[str, Any] = {"family": "all cuts", "exact": exact, "balanced": balanced(fabric)}
    if not exact:
        data["why"] = "bandwidths are not in the ratio of small whole numbers and were rounded to 1e-5"
    return cut_bound(group, inside if leaving else ~inside, leaving, volume, "", "exact-cut", data)


def balanced(fabric: Fabric) -> bool:
    """Whether every node's links carry in as much as they carry out."""
    nodes = len(fabric.nodes)
    out = np.bincount(fabric.source, fabric.bandwidth, nodes)
    return bool(np.allclose(out, np.bincount(fabric.target, fabric.bandwidth, nodes), rtol=1e-9))


def _afford(group: Group, sinks: int) -> None:
    if sinks * group.fabric.links > MOST_WORK:
        raise BoundError(
            f"the exact cut of {group.fabric.name} takes {sinks} maximum flows over {group.fabric.links} links",
            "use the elementary cuts, or a smaller group",
        )


# -------------------------------------------------------------------------------------- ratio of members


def _ratio_cut(group: Group, whole: Whole, reverse: bool) -> tuple[BoolArray, bool]:
    """The node set of the largest (members inside) / (capacity out), or (members outside) / (capacity out)."""
    fabric = group.fabric
    source, target = (fabric.target, fabric.source) if reverse else (fabric.source, fabric.target)
    nodes, n = len(fabric.nodes), group.size
    sinks = group.nodes[symmetry_of(group).senders[0]]
    _afford(group, len(sinks))
    into = np.bincount(target, whole.capacity, nodes)[group.nodes]
    least = int(into.argmin())
    inside = np.ones(nodes, dtype=bool)
    inside[group.nodes[least]] = False
    if into[least] < 1:
        raise BoundError(
            f"{fabric.name} splits the group: nothing leads to {group.label(least)}", "mend the fabric"
        )
    ratio = Fraction(n - 1, int(into[least]))
    exact = whole.exact
    while True:
        network, fine = _fed_network(group, whole, source, target, ratio)
        exact &= fine
        better = ratio
        for sink in sinks:
            side = network.cut_below(int(sink))
            if side is None:
                continue
            out = int(whole.capacity[side[source] & ~side[target]].sum())
            held = int(side[group.nodes].sum())
            if out == 0:
                raise BoundError(
                    f"{fabric.name} splits the group: nothing leads out of {held} ranks", "mend it"
                )
            if Fraction(held, out) > better:
                better, inside = Fraction(held, out), side
        if better == ratio:
            return (~inside if reverse else inside), exact
        ratio = better


def _fed_network(
    group: Group, whole: Whole, source: IntArray, target: IntArray, ratio: Fraction
) -> tuple[Network, bool]:
    """Capacities p c and a source that feeds q into each member, and whether they are exact in 31 bits."""
    p, q = ratio.numerator, ratio.denominator
    largest = max(p * int(whole.capacity.max()), q * group.size)
    over = -(-largest // MOST)
    feed = np.full(group.size, q)
    if over == 1:
        return Network(len(group.fabric.nodes), source, target, p * whole.capacity, group.nodes, feed), True
    # Rounded up on links and down on feeds: no node set falls short that does not.
    capacity = -(-(p * whole.capacity) // over)
    return Network(len(group.fabric.nodes), source, target, capacity, group.nodes, feed // over), False


# ---------------------------------------------------------------------------------------- from one node


def _least_cut(collective: Collective, group: Group, whole: Whole) -> tuple[BoolArray, bool]:
    """The node set of least capacity out that the operation must leave."""
    fabric, op = group.fabric, collective.operation
    root = int(group.nodes[collective.root])
    # Ranks that a symmetry exchanges while the root stays have equal cuts.
    orbit = symmetry_of(group).stabiliser(root).node[group.nodes]
    one_each = group.nodes[np.unique(orbit, return_index=True)[1]]
    others: Sequence[int] = [int(node) for node in one_each if node != root]
    if op == "send-recv":
        others = [int(group.nodes[collective.peer])]
    _afford(group, len(others) * len(_directions(fabric, op)))
    exact = whole.exact
    best: tuple[int, BoolArray] | None = None
    for reverse in _directions(fabric, op):
        source, target = (fabric.target, fabric.source) if reverse else (fabric.source, fabric.target)
        over = -(-int(whole.capacity[source == root].sum()) // MOST)
        network = Network(
            len(fabric.nodes),
            source,
            target,
            -(-whole.capacity // over),
            np.asarray([root]),
            np.asarray([MOST]),
        )
        exact &= over == 1
        for other in others:
            value = network.flow(other)
            if best is None or value < best[0]:
                side = network.side()
                best = value, ~side if reverse else side
    assert best is not None
    return best[1], exact


def _directions(fabric: Fabric, operation: str) -> tuple[bool, ...]:
    """Whether to look at links as they are, reversed, or both ways."""
    if operation != "all-reduce":
        return (operation == "reduce",)
    back = fabric.links_between(fabric.target, fabric.source)
    alike = (back >= 0).all() and (fabric.bandwidth[back] == fabric.bandwidth).all()
    return (False,) if alike else (False, True)
