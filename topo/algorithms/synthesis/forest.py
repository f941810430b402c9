"""Forests: spanning trees that together use a fabric's links as fully as the cut bound allows.

All-gather: k unit out-trees rooted at each rank, each carrying S/(N k), on capacities scaled by U, take
S/N * U/k = S/N * lambda, where lambda is the largest ratio over all cuts of ranks inside to capacity out.
Reduce-scatter: the same on the reversed fabric.  All-reduce on a fabric as wide one way as the other: trees that
use an edge both ways, up with a reduction and down with a broadcast, sum(x) of them.  Broadcast and reduce: all
trees at one root.
Source: Zhao et al., "ForestColl" (2024); Edmonds, "Edge-disjoint branchings" (1973).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from math import gcd

import numpy as np

from topo.algorithms.synthesis.cuts import lacking
from topo.algorithms.synthesis.network import MOST_WEIGHT, Network, Way, multiplied, network_of
from topo.algorithms.synthesis.orientation import Orientation, whole_trees, with_arcs
from topo.algorithms.synthesis.packing import Trees, pack
from topo.algorithms.synthesis.rate import all_reduce_weights, rate
from topo.algorithms.synthesis.splitting import remove_relays
from topo.fabric import Fabric, IntArray

MOST_TREES = 4096
"""Trees of all roots together beyond which fewer, slightly slower ones are packed."""
MOST_SHARED = 1 << 14
"""The same in edges of trees, where several edges share links behind a switch and each is a stream of its own."""
GOOD_ENOUGH = 1.002
FINEST_WEIGHTS = MOST_WEIGHT
SAME = 1e-6
STEPS = 2048
"""Parts of the ideal scale in which a coarser one is searched."""


@dataclass(frozen=True, eq=False)
class Forest:
    """Trees of equal share and the ways their edges take.

    Parameters
    ----------
    root : int array [trees]
    parent, depth : int arrays [trees, members]
    way : int array [trees, members]
        Way from the parent to the rank (or, of a forest on the reversed fabric, from the rank to its parent);
        -1 at the root.
    ways : list of Way
    back : list of Way
        The same ways in the other direction, of a forest that uses them both ways.
    seconds : float
        Time per byte of one tree's share in steady state: (bytes of a tree) x this = time.
    loss : float
        Relative time above that of the fastest forest.
    exact : bool
        Whether that is the fastest on the true bandwidths; otherwise on bandwidths rounded down.
    roundable : bool
        Whether a forest with another number of trees can be had.
    """

    root: IntArray
    parent: IntArray
    depth: IntArray
    way: IntArray
    ways: list[Way]
    back: list[Way]
    seconds: float
    loss: float
    exact: bool
    roundable: bool

    @property
    def trees(self) -> int:
        """Number of trees."""
        return len(self.root)

    @property
    def height(self) -> int:
        """Edges on the longest way from a root."""
        return int(self.depth.max())

    def repeated(self, times: int) -> Forest:
        """The same forest with every tree cut lengthwise into some of equal share."""
        return replace(
            self,
            root=np.repeat(self.root, times),
            parent=np.repeat(self.parent, times, axis=0),
            depth=np.repeat(self.depth, times, axis=0),
            way=np.repeat(self.way, times, axis=0),
            seconds=self.seconds * times,
        )


def packable(fabric: Fabric, ranks: IntArray) -> None:
    """Raise unless trees can be packed.

    Raises
    ------
    AlgorithmError
        As :func:`~topo.algorithms.synthesis.network.network_of`.
    """
    key = ("packable", ranks.tobytes())
    if key not in fabric.cache:
        network_of(fabric, ranks)
        fabric.cache[key] = True


def spreading(
    fabric: Fabric, ranks: IntArray, weights: IntArray, backwards: bool = False, copies: int = 0
) -> Forest:
    """Out-trees that spread ``weights[r]`` equal shares from each rank r to all.

    Parameters
    ----------
    fabric : Fabric
    ranks : int array [group]
    weights : int array [group]
    backwards : bool
        On the reversed fabric: turned round again, the trees gather from all ranks to the roots.
    copies : int
        Trees per share; 0 means as many as the optimum takes, or nearly.
    """
    key = ("spreading", ranks.tobytes(), weights.tobytes(), backwards, copies)
    if key not in fabric.cache:
        network = network_of(fabric, ranks, backwards)
        fabric.cache[key] = _packed(network, weights, copies=copies)
    found: Forest = fabric.cache[key]
    return found


def joint(fabric: Fabric, ranks: IntArray) -> Forest | None:
    """Trees for an all-reduce that use every edge both ways; None where the fabric is wider one way."""
    key = ("joint", ranks.tobytes())
    if key not in fabric.cache:
        network = network_of(fabric, ranks)
        fabric.cache[key] = _both_ways(network) if network.symmetric else None
    found: Forest | None = fabric.cache[key]
    return found


def _both_ways(network: Network) -> Forest:
    """Trees rooted everywhere, half of every edge for each direction, where that is best: they are the flattest.

    Elsewhere trees whose edges point as an optimal orientation says.
    """
    weights, half = all_reduce_weights(network, FINEST_WEIGHTS)
    orientation = Orientation(network)
    most = orientation.most()
    if half / 2 >= most * (1 - SAME):
        return _packed(network, weights, both_ways=True, least=float(weights.sum()) / half)
    limit = MOST_SHARED // network.members if network.relays else MOST_TREES
    best: tuple[IntArray, int, int] | None = None
    for found in whole_trees(orientation, most, limit):
        best = found
        if found[1] * GOOD_ENOUGH >= most * found[2]:
            break
    if best is None or best[1] / best[2] < half / 2:
        return _packed(network, weights, both_ways=True, least=float(weights.sum()) / most / 2)
    table, number, copies = best
    roots = np.zeros(network.members, dtype=np.int64)
    roots[orientation.root] = number
    return _forest(
        with_arcs(network, table), roots, copies / network.unit, most * copies / number - 1.0, True
    )


def _packed(
    network: Network, weights: IntArray, both_ways: bool = False, least: float = 0.0, copies: int = 0
) -> Forest:
    """Trees in proportion to the weights; ``least`` is a scale that no forest beats, if known."""
    best = rate(network, weights)
    if copies:
        found = _smallest_scale(network, weights * copies, best * copies, None)
        assert found is not None, "without an upper limit some scale is found"
        scale = found
    else:
        scale, copies = _scale(network, weights, best)
    loss = float(scale / copies) / (least or float(best)) - 1.0
    # One unit of scaled capacity carries one tree: a link of capacity c carries scale * c trees (each way, where
    # trees are used both ways), so a tree's bytes take scale / unit seconds per byte.
    seconds = float(scale) / network.unit * (2.0 if both_ways else 1.0)
    return _forest(network.scaled(scale), weights * copies, seconds, loss, both_ways)


def _forest(wide: Network, roots: IntArray, seconds: float, loss: float, both_ways: bool) -> Forest:
    """Remove the relays and pack ``roots[r]`` trees at each rank r into the capacities."""
    remove_relays(wide, roots)
    members = wide.members
    trees = pack(wide.capacity[:members, :members], roots)
    if both_ways:
        trees = _centred(trees)
    way, ways, back = _assigned(wide, trees, both_ways)
    return Forest(
        trees.root, trees.parent, trees.depth(), way, ways, back, seconds, loss, wide.exact, wide.roundable
    )


def _scale(network: Network, weights: IntArray, best: Fraction) -> tuple[Fraction, int]:
    """What to multiply capacities by, and how many trees per unit of weight then fit."""
    part = int(np.gcd.reduce(network.capacity[network.capacity > 0]))
    copies = best.denominator // gcd(best.denominator, part)
    if not network.roundable:
        return best * copies, copies
    total = int(weights.sum())
    most = MOST_SHARED // network.members if network.relays else MOST_TREES
    if copies * total <= max(most, total):
        return best * copies, copies
    return _coarse(network, weights, best, max(most // total, 1))


def _coarse(network: Network, weights: IntArray, best: Fraction, most: int) -> tuple[Fraction, int]:
    """The best of few copies: the smallest scale whose rounded-down capacities hold them."""
    found: tuple[Fraction, int] | None = None
    for copies in range(1, most + 1):
        low = best * copies
        scale = _smallest_scale(
            network, weights * copies, low, found[0] / found[1] * copies if found else None
        )
        if scale is not None:
            found = (scale, copies)
            if scale <= low * Fraction(GOOD_ENOUGH):
                break
    assert found is not None, "one copy fits at some scale"
    return found


def _smallest_scale(
    network: Network, weights: IntArray, low: Fraction, high: Fraction | None
) -> Fraction | None:
    """The smallest scale from ``low`` up at which the rounded-down capacities suffice; None if not below ``high``."""

    def enough(scale: Fraction) -> bool:
        return not lacking(multiplied(network.capacity, scale), weights)

    first, last = 0, STEPS
    if high is not None:
        last = int((high / low - 1) * STEPS) - 1
    elif not enough(low * 2):
        last = STEPS * int(np.ceil(1 / float(low * int(network.capacity[network.capacity > 0].min())) + 1))
    if last < 0 or not enough(low * (1 + Fraction(last, STEPS))):
        return None
    while first < last:
        middle = (first + last) // 2
        if enough(low * (1 + Fraction(middle, STEPS))):
            last = middle
        else:
            first = middle + 1
    return low * (1 + Fraction(first, STEPS))


def _centred(trees: Trees) -> Trees:
    """The same trees hung up at their centres: used both ways, an edge costs the same from either end."""
    parent = trees.parent.copy()
    root = trees.root.copy()
    members = parent.shape[1]
    known: dict[bytes, tuple[int, IntArray]] = {}
    for i in range(len(root)):
        key = parent[i].tobytes()
        if key not in known:
            neighbours: list[list[int]] = [[] for _ in range(members)]
            for child in range(members):
                if parent[i, child] >= 0:
                    neighbours[child].append(int(parent[i, child]))
                    neighbours[int(parent[i, child])].append(child)
            known[key] = _hung(neighbours)
        root[i], parent[i] = known[key]
    return Trees(root, parent)


def _hung(neighbours: list[list[int]]) -> tuple[int, IntArray]:
    far, _ = _walk(neighbours, 0)
    other, parent = _walk(neighbours, far[-1])
    line = [far_end := other[-1]]
    while parent[far_end] >= 0:
        far_end = int(parent[far_end])
        line.append(far_end)
    centre = line[len(line) // 2]
    return centre, _walk(neighbours, centre)[1]


def _walk(neighbours: list[list[int]], start: int) -> tuple[list[int], IntArray]:
    parent = np.full(len(neighbours), -1, dtype=np.int64)
    order = [start]
    for node in order:
        for onward in neighbours[node]:
            if onward != start and parent[onward] < 0:
                parent[onward] = node
                order.append(onward)
    return order, parent


def _assigned(network: Network, trees: Trees, both_ways: bool) -> tuple[IntArray, list[Way], list[Way]]:
    """Give every edge of every tree one of the ways of its edge, each way to as many as it has units for."""
    ways: list[Way] = []
    back: list[Way] = []
    number = np.full(trees.parent.shape, -1, dtype=np.int64)
    users: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for tree, child in zip(*np.nonzero(trees.parent >= 0), strict=True):
        edge = (int(trees.parent[tree, child]), int(child))
        if both_ways and edge[0] > edge[1]:
            edge = edge[::-1]
        users.setdefault(edge, []).append((int(tree), int(child)))
    for edge in sorted(users):
        offers = list(network.ways.get(edge, []))
        if both_ways:
            offers += [(network.turned(way), units) for way, units in network.ways.get(edge[::-1], [])]
        start = 0
        for way, units in offers:
            for tree, child in users[edge][start : start + units]:
                number[tree, child] = len(ways) + (child != edge[1])
            start += units
            ways.append(way)
            if both_ways:
                other = network.turned(way)
                back.append(other)
                ways.append(other)
                back.append(way)
    return number, ways, back
