"""Smallest distances over a fabric, in links or in seconds, without heavy imports."""

from __future__ import annotations

import numpy as np

from topo.bounds.group import Group
from topo.bounds.symmetry import lattice_of, twin_classes, uniform_grid
from topo.fabric import ACCELERATOR, Fabric, FloatArray, IntArray, spread

AFFORDABLE = 1_500_000
"""Links times sources that one relaxation may touch."""


def relaxed(fabric: Fabric, start: FloatArray, weight: FloatArray, backwards: bool = False) -> FloatArray:
    """Smallest start value plus way, at every node (Bellman and Ford, all links at once).

    Parameters
    ----------
    start : float array [nodes] or [nodes, columns]
        Infinity where nothing starts.
    weight : float array [links]
        Length of each link, 0 or more.
    backwards : bool
        Walk the links against their direction.
    """
    pointer, order = fabric.outgoing if backwards else fabric.incoming
    ends = fabric.target if backwards else fabric.source
    filled = np.flatnonzero(np.diff(pointer))
    begins, giver = pointer[filled], ends[order]
    length = weight[order] if start.ndim == 1 else weight[order][:, None]
    best = start.copy()
    while True:
        offered = np.minimum.reduceat(best[giver] + length, begins, axis=0)
        improved = np.minimum(best[filled], offered)
        if (improved == best[filled]).all():
            return best
        best[filled] = improved


def from_nodes(fabric: Fabric, nodes: IntArray, weight: FloatArray, backwards: bool = False) -> FloatArray:
    """Distances from each of some nodes (``backwards``: to it) to every node: array [nodes, sources]."""
    start = np.full((len(fabric.nodes), len(nodes)), np.inf)
    start[nodes, np.arange(len(nodes))] = 0.0
    return relaxed(fabric, start, weight, backwards)


def hops_from(fabric: Fabric, node: int) -> IntArray:
    """Fewest links from a node to every node that it reaches, -1 elsewhere [nodes]."""
    pointer, order = fabric.outgoing
    hops = np.full(len(fabric.nodes), -1, dtype=np.int64)
    hops[node] = level = 0
    frontier = np.asarray([node])
    while len(frontier):
        level += 1
        found = fabric.target[order[spread(pointer, frontier)]]
        found = found[hops[found] < 0]
        hops[found] = level
        frontier = np.unique(found)
    return hops


def farthest_hops(fabric: Fabric, nodes: IntArray) -> int:
    """Most links on a shortest way from any of some nodes to any accelerator.

    Searches from all nodes go forward together, one bit each.
    """
    words = -(-len(nodes) // 64)
    seen = np.zeros((len(fabric.nodes), words), dtype=np.uint64)
    number = np.arange(len(nodes))
    np.bitwise_or.at(seen, (nodes, number // 64), np.uint64(1) << (number % 64).astype(np.uint64))
    pointer, order = fabric.incoming
    filled = np.flatnonzero(np.diff(pointer))
    begins, giver = pointer[filled], fabric.source[order]
    level = most = 0
    while True:
        level += 1
        reached = seen[filled] | np.bitwise_or.reduceat(seen[giver], begins, axis=0)
        changed = filled[(reached != seen[filled]).any(axis=1)]
        if not len(changed):
            return most
        if (fabric.kind[changed] == ACCELERATOR).any():
            most = level
        seen[filled] = reached


def nearest_other(group: Group, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Distance of each member to another member, and from another member to it; never too large.

    Parameters
    ----------
    weight : float array [links]

    Returns
    -------
    two float arrays [group]

    Notes
    -----
    Every node belongs to the member from which it is nearest.  A way from member v to another member leaves
    v's cell by some link (x, y), so it is at least d(v, x) + weight + distance of y to a nearest member.
    """
    fabric = group.fabric
    if group.whole and len(fabric.nodes) == group.size:
        out, into = np.full(len(fabric.nodes), np.inf), np.full(len(fabric.nodes), np.inf)
        np.minimum.at(out, fabric.source, weight)
        np.minimum.at(into, fabric.target, weight)
        return out[group.nodes], into[group.nodes]
    after, before = _cells(group, weight, False), _cells(group, weight, True)
    result = []
    for (near, owner), (far, _), start, end in (
        (after, before, fabric.source, fabric.target),
        (before, after, fabric.target, fabric.source),
    ):
        leaving = np.flatnonzero((owner[start] != owner[end]) & (owner[start] >= 0))
        least = np.full(group.size, np.inf)
        np.minimum.at(least, owner[start[leaving]], (near[start] + weight + far[end])[leaving])
        result.append(least)
    return result[0], result[1]


def _cells(group: Group, weight: FloatArray, backwards: bool) -> tuple[FloatArray, IntArray]:
    """Distance from the nearest member (to it, with ``backwards``) and that member, at every node."""
    fabric = group.fabric
    near = relaxed(fabric, np.where(group.member, 0.0, np.inf), weight, backwards)
    start, end = (fabric.target, fabric.source) if backwards else (fabric.source, fabric.target)
    owner = group.place.copy()
    tight = np.flatnonzero((near[start] + weight == near[end]) & (owner[end] < 0) & np.isfinite(near[end]))
    while True:
        ready = tight[(owner[end[tight]] < 0) & (owner[start[tight]] >= 0)]
        if not len(ready):
            return near, owner
        owner[end[ready]] = owner[start[ready]]


def latency_over(group: Group, links: IntArray) -> float:
    """Smallest latency of a route between two members that uses one of some links; infinity for no link."""
    fabric = group.fabric
    late = fabric.latency[links]
    if not (group.whole and len(fabric.nodes) == group.size):
        key = ("reach", group.key)
        if key not in fabric.cache:
            zero = np.where(group.member, 0.0, np.inf)
            fabric.cache[key] = tuple(relaxed(fabric, zero, fabric.latency, back) for back in (False, True))
        reach, left = fabric.cache[key]
        late = reach[fabric.source[links]] + late + left[fabric.target[links]]
    return float(late.min(initial=np.inf))


def representatives(group: Group) -> tuple[IntArray, IntArray]:
    """One rank of each class of twins, and the number of ranks in the class."""
    key = ("twins", group.key)
    if key not in group.fabric.cache:
        classes = twin_classes(group.fabric, group.nodes)
        _, first, count = np.unique(classes, return_index=True, return_counts=True)
        group.fabric.cache[key] = (first, count)
    found: tuple[IntArray, IntArray] = group.fabric.cache[key]
    return found


def latencies_from(group: Group, rank: int, backwards: bool = False) -> FloatArray:
    """Smallest sum of link latencies from a rank (``backwards``: to it) to each rank [group]."""
    regular = uniform_grid(group.fabric)
    if regular is not None:
        place = regular.grid.coordinates(group.ranks)
        return regular.distances(place - place[rank], regular.latency)
    table = from_nodes(group.fabric, group.nodes[[rank]], group.fabric.latency, backwards)
    return np.asarray(table[group.nodes, 0])


def farthest_pair(group: Group) -> tuple[float, int, int]:
    """Two ranks of the group far from each other in latency: seconds, and the two ranks.

    The farthest pair where that is quick to find (grids, lattices, small fabrics); otherwise a far one, found
    by going back and forth between far ends.  Any pair gives a valid bound.
    """
    fabric = group.fabric
    regular = uniform_grid(fabric)
    if regular is not None and group.in_order:
        shape = np.asarray(regular.grid.shape)
        corner = np.where(regular.grid.wrap, shape // 2, shape - 1)
        return regular.span(regular.latency), 0, int(np.ravel_multi_index(tuple(corner), regular.grid.shape))
    if lattice_of(fabric) is not None and group.whole:
        return _farthest_from(group, 0)
    first, _ = representatives(group)
    if regular is None and len(first) * fabric.links <= AFFORDABLE:
        table = from_nodes(fabric, group.nodes[first], fabric.latency)[group.nodes]
        far, near = np.unravel_index(int(table.argmax()), table.shape)
        return float(table[far, near]), int(first[near]), int(far)
    best = _farthest_from(group, 0)
    for _ in range(3):
        other = _farthest_from(group, best[2])
        if other[0] <= best[0]:
            break
        best = other
    return best


def _farthest_from(group: Group, rank: int) -> tuple[float, int, int]:
    reach = latencies_from(group, rank)
    far = int(reach.argmax())
    return float(reach[far]), rank, far


def total_hops(group: Group) -> float | None:
    """Sum over all ordered pairs of ranks of the fewest links between them; None where that takes long."""
    fabric = group.fabric
    key = ("total hops", group.key)
    if key not in fabric.cache:
        fabric.cache[key] = _total_hops(group)
    found: float | None = fabric.cache[key]
    return found


def _total_hops(group: Group) -> float | None:
    fabric = group.fabric
    regular = uniform_grid(fabric)
    if regular is not None and group.whole:
        return regular.total(np.ones(len(regular.grid.shape)))
    if lattice_of(fabric) is not None and group.whole:
        return float(group.size * hops_from(fabric, int(group.nodes[0]))[group.nodes].sum())
    first, count = representatives(group)
    if len(first) * fabric.links > AFFORDABLE:
        return None
    table = from_nodes(fabric, group.nodes[first], np.ones(fabric.links))[group.nodes]
    return float(table.sum(axis=0) @ count)


def hop_table(group: Group) -> FloatArray | None:
    """Fewest links from each rank (column) to each rank (row) [group, group]; None where that takes long."""
    if group.size * group.fabric.links > AFFORDABLE:
        return None
    return from_nodes(group.fabric, group.nodes, np.ones(group.fabric.links))[group.nodes]
