"""Bisection bandwidth and diameter of a fabric."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from topo.bounds.distances import farthest_hops, hops_from
from topo.bounds.elementary_cuts import slab_table, window_flows
from topo.bounds.symmetry import lattice_of, twin_classes, uniform_grid
from topo.fabric import ACCELERATOR, BoolArray, Fabric, IntArray

_ENUMERATED = 12
_FEW, _MANY = 64, 512


def bisection(fabric: Fabric) -> tuple[float, str]:
    """Bandwidth, in one direction, between two halves of the accelerators: the least of those looked at.

    Parameters
    ----------
    fabric : Fabric

    Returns
    -------
    float
        Bytes/s; switches and NICs stand on the side where they hurt least (a minimum cut).
    str
        Which halves.

    Notes
    -----
    Looked at: halves along each grid dimension, the first and second half of the ranks, of up to 12
    accelerators all halves.  Closed forms that come out: torus 2 N/L B and mesh N/L B over the longest
    dimension L, one switch N/2 B (W. J. Dally and B. Towles, Principles and Practices of Interconnection
    Networks, chapter 3).  An odd dimension is cut as evenly as it goes, and only if no even one exists.
    """
    if fabric.ranks < 2:
        return float("inf"), "one accelerator has no halves"
    if fabric.grid is not None and len(fabric.nodes) == fabric.ranks and fabric.ranks > _ENUMERATED:
        return _slab_halves(fabric)
    halves = [(np.arange(fabric.ranks) < fabric.ranks // 2, "the first half of the ranks and the rest")]
    if len(fabric.nodes) == fabric.ranks <= _ENUMERATED:
        for chosen in combinations(range(fabric.ranks), fabric.ranks // 2):
            side = np.zeros(fabric.ranks, dtype=bool)
            side[list(chosen)] = True
            halves.append((side, "the weakest of all halves"))
    if fabric.grid is not None:
        for dimension in fabric.grid.dimensions:
            place = fabric.grid.coordinates(np.arange(fabric.ranks))[:, dimension]
            length = fabric.grid.shape[dimension]
            if length % 2 == 0:
                halves.append((place < length // 2, f"halves of dimension {dimension}"))
    return min(((_between(fabric, side), what) for side, what in halves), key=lambda found: found[0])


def _slab_halves(fabric: Fabric) -> tuple[float, str]:
    grid = fabric.grid
    assert grid is not None
    even = [d for d in grid.dimensions if grid.shape[d] % 2 == 0]
    found = []
    for d in even or grid.dimensions:
        _, table, step = slab_table(fabric, d)
        cells = len(table)
        starts = np.arange(cells if grid.wrap[d] and lattice_of(fabric) is None else 1)
        out, into = window_flows(table, starts, np.full_like(starts, grid.shape[d] // 2 // step))
        found.append((float(min(out.min(), into.min())), f"halves of dimension {d} ({grid.shape[d]} long)"))
    return min(found, key=lambda one: one[0])


def _between(fabric: Fabric, side: BoolArray) -> float:
    """Least bandwidth, over both directions, between accelerators; other nodes stand where it is least."""
    return min(_minimum_cut(fabric, side), _minimum_cut(fabric, ~side))


def _minimum_cut(fabric: Fabric, side: BoolArray) -> float:
    inside = np.zeros(len(fabric.nodes), dtype=bool)
    inside[fabric.accelerators] = side
    held = fabric.kind == ACCELERATOR
    loose = ~held[fabric.source] & ~held[fabric.target]
    if loose.any():
        from topo.bounds.maxflow import minimum_cut

        inside = minimum_cut(fabric, fabric.accelerators[side], fabric.accelerators[~side])
        return float(fabric.bandwidth[inside[fabric.source] & ~inside[fabric.target]].sum())
    # Every other node touches accelerators only: each chooses its side for itself.
    rate, count = fabric.bandwidth, len(fabric.nodes)
    given = np.bincount(fabric.target, rate * inside[fabric.source], count)
    taken = np.bincount(fabric.source, rate * (held & ~inside)[fabric.target], count)
    direct = rate[inside[fabric.source] & (held & ~inside)[fabric.target]].sum()
    return float(direct + np.minimum(given, taken)[~held].sum())


def diameter(fabric: Fabric) -> int:
    """Most links on a shortest way between two accelerators."""
    if "diameter" not in fabric.cache:
        fabric.cache["diameter"] = _diameter(fabric)
    found: int = fabric.cache["diameter"]
    return found


def _diameter(fabric: Fabric) -> int:
    regular = uniform_grid(fabric)
    if regular is not None:
        return int(regular.span(np.ones(len(regular.grid.shape))))
    nodes = fabric.accelerators
    if lattice_of(fabric) is not None:
        return int(hops_from(fabric, int(nodes[0]))[nodes].max())
    two_way = np.asarray(fabric.links_between(fabric.target, fabric.source) >= 0).all()
    if two_way:
        return _fringe_diameter(fabric)
    first = np.unique(twin_classes(fabric, nodes), return_index=True)[1]
    return max(farthest_hops(fabric, batch) for batch in _batches(nodes[first]))


def _fringe_diameter(fabric: Fabric) -> int:
    """Diameter of a two-way graph from few searches.

    From a middle node u, any two accelerators that are nearer to u than i are less than 2i apart; so once two
    accelerators 2(i-1) or more apart are known, only those at distance i or more from u had to be looked at
    (P. Crescenzi and others, "On computing the diameter of real-world undirected graphs", 2013).
    """
    nodes = fabric.accelerators
    first = hops_from(fabric, int(nodes[0]))
    a = int(nodes[first[nodes].argmax()])
    from_a = hops_from(fabric, a)
    b = int(nodes[from_a[nodes].argmax()])
    longest = int(from_a[nodes].max())
    from_b = hops_from(fabric, b)
    middle = np.flatnonzero((from_a + from_b == longest) & (from_a == longest // 2))
    reach = hops_from(fabric, int(middle[0]))
    first_twins = np.unique(twin_classes(fabric, nodes), return_index=True)[1]
    candidates = nodes[first_twins[np.argsort(-reach[nodes[first_twins]], kind="stable")]]
    for batch in _batches(candidates):
        if longest >= 2 * int(reach[batch[0]]):
            break
        longest = max(longest, farthest_hops(fabric, batch))
    return longest


def _batches(nodes: IntArray) -> Iterator[IntArray]:
    """Few nodes first, then many at once."""
    yield nodes[:_FEW]
    for start in range(_FEW, len(nodes), _MANY):
        yield nodes[start : start + _MANY]
