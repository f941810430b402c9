"""The fabric as synthesis sees it: ranks, relays, whole-numbered capacities, and the links behind every edge.

Ranks of the group are the nodes 0 .. members - 1.  Everything else (switches, NICs, accelerators outside the
group) is a relay: it passes bytes on, and is later removed by splitting its edges off.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from fractions import Fraction
from math import gcd, lcm

import numpy as np

from topo.errors import AlgorithmError
from topo.fabric import Fabric, FloatArray, IntArray

MOST_NODES = 2048
ROOM = 2**30
"""Largest number that flows may count to: scipy's maximum_flow has 32-bit integers."""
MOST_WEIGHT = 512
"""Weights of roots together, at least, that the numbers leave room for."""
SIMPLEST = 1000
"""Largest denominator tried for the ratio of two bandwidths."""


@dataclass(frozen=True, eq=False)
class Way:
    """A way over physical links, of which each carries a share.

    Parameters
    ----------
    links : tuple of int
    shares : tuple of float
    latency : float
        Seconds.
    """

    links: tuple[int, ...]
    shares: tuple[float, ...]
    latency: float

    def then(self, other: Way) -> Way:
        """This way and then another."""
        carried: dict[int, float] = defaultdict(float)
        for link, share in zip(self.links + other.links, self.shares + other.shares, strict=True):
            carried[link] += share
        return Way(tuple(carried), tuple(carried.values()), self.latency + other.latency)


Edge = tuple[int, int]
Ways = dict[Edge, list[tuple[Way, int]]]


@dataclass(eq=False)
class Network:
    """Capacities between nodes and the ways behind them.

    Parameters
    ----------
    members : int
        Ranks of the group; they are the first nodes.
    names : list of str
        Labels of the nodes.
    capacity : int array [nodes, nodes]
    ways : dict
        For every edge the ways that realise it and how many units of capacity each offers.
    unit : float
        Bytes/s of one unit of capacity.
    exact : bool
        Whether the units give every bandwidth exactly; otherwise they are rounded down.
    symmetric : bool
        Whether every edge has a reverse of the same capacity.
    reverse : int array [links]
        The fabric's link that runs against each; -1 where there is none.
    """

    members: int
    names: list[str]
    capacity: IntArray
    ways: Ways
    unit: float
    exact: bool
    symmetric: bool
    reverse: IntArray

    @property
    def relays(self) -> list[int]:
        """Nodes beyond the ranks that still have edges."""
        busy = self.capacity.any(axis=0) | self.capacity.any(axis=1)
        return [int(node) for node in np.flatnonzero(busy) if node >= self.members]

    @property
    def roundable(self) -> bool:
        """Whether relays stay in balance when capacities are rounded down."""
        return self.symmetric or not self.relays

    def take(self, edge: Edge, units: int) -> list[tuple[Way, int]]:
        """Remove units from an edge and return the ways they used."""
        taken: list[tuple[Way, int]] = []
        ways = self.ways[edge]
        self.capacity[edge] -= units
        while units:
            way, there = ways[-1]
            used = min(there, units)
            taken.append((way, used))
            units -= used
            if used == there:
                ways.pop()
            else:
                ways[-1] = (way, there - used)
        return taken

    def give(self, edge: Edge, way: Way, units: int) -> None:
        """Add a way with some units to an edge."""
        self.capacity[edge] += units
        ways = self.ways.setdefault(edge, [])
        for i, (known, there) in enumerate(ways):
            if known is way or (known.links == way.links and known.shares == way.shares):
                ways[i] = (known, there + units)
                return
        ways.append((way, units))

    def split(self, source: int, relay: int, target: int, units: int) -> None:
        """Lead units of the edges source - relay - target past the relay; a loop back to the source is dropped."""
        before, after = self.take((source, relay), units), self.take((relay, target), units)
        if source == target:
            return
        while before:
            (one, left), (two, right) = before[-1], after[-1]
            both = min(left, right)
            self.give((source, target), one.then(two), both)
            for pile, way, there in ((before, one, left), (after, two, right)):
                pile.pop()
                if there > both:
                    pile.append((way, there - both))

    def scaled(self, factor: Fraction) -> Network:
        """A copy whose capacities are multiplied by a positive number and rounded down."""
        capacity = multiplied(self.capacity, factor)
        ways = {
            edge: [(way, int(capacity[edge]))] for edge, ((way, _),) in self.ways.items() if capacity[edge]
        }
        return replace(self, capacity=capacity, ways=ways)

    def turned(self, way: Way) -> Way:
        """The way back along the links that run against those of a way."""
        back = self.reverse[list(way.links)].tolist()
        return Way(tuple(back), way.shares, way.latency)


def multiplied(capacity: IntArray, factor: Fraction) -> IntArray:
    """Whole capacities times a positive number, rounded down."""
    values, place = np.unique(capacity, return_inverse=True)
    product = [int(value) * factor.numerator // factor.denominator for value in values]
    return np.asarray(product, dtype=np.int64)[place].reshape(capacity.shape)


def network_of(fabric: Fabric, ranks: IntArray, backwards: bool = False, balanced: bool = True) -> Network:
    """Make the network of a group.

    Parameters
    ----------
    fabric : Fabric
    ranks : int array [group]
        The fabric's rank of each rank of the group.
    backwards : bool
        Turn every link round (the ways keep the physical links, which then run against the edges).
    balanced : bool
        Whether relays must be able to give out what they take in.

    Raises
    ------
    AlgorithmError
        A relay takes in more or less than it can give out, or the fabric is too large.
    """
    if len(fabric.nodes) > MOST_NODES:
        raise AlgorithmError(
            f"{fabric.name} has {len(fabric.nodes)} nodes, too many for synthesis",
            f"it stops at {MOST_NODES}; take another algorithm",
        )
    members = fabric.accelerators[ranks]
    others = np.setdiff1d(np.arange(len(fabric.nodes)), members)
    order = np.concatenate([members, others])
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    whole, unit, exact = whole_numbers(fabric.bandwidth, ROOM // max(len(members), MOST_WEIGHT))
    names = [str(fabric.nodes[node]) for node in order]
    ends = (fabric.target, fabric.source) if backwards else (fabric.source, fabric.target)
    capacity = np.zeros((len(order), len(order)), dtype=np.int64)
    capacity[place[ends[0]], place[ends[1]]] = whole
    ways: Ways = {
        (int(place[ends[0][i]]), int(place[ends[1][i]])): [
            (Way((i,), (1.0,), float(fabric.latency[i])), int(whole[i]))
        ]
        for i in range(fabric.links)
    }
    symmetric = bool((capacity == capacity.T).all())
    reverse = fabric.links_between(fabric.target, fabric.source)
    network = Network(len(members), names, capacity, ways, unit, exact, symmetric, reverse)
    if balanced:
        _require_balance(network, fabric.name)
    _merge_planes(network)
    return network


def whole_numbers(bandwidth: FloatArray, most: int) -> tuple[IntArray, float, bool]:
    """Bandwidths as whole numbers of a common unit, with a sum of at most ``most``.

    Returns
    -------
    (int array, unit in bytes/s, whether that is exact; otherwise bandwidths are rounded down)
    """
    ratios = [Fraction(b) for b in bandwidth.tolist()]
    common = _common_part(ratios)
    largest, whole_sum = max(ratios), sum(ratios)
    if whole_sum / common > most:
        # Floats such as a third of 1e11 have no small common part, but simple ratios to each other.
        simple = [(ratio / largest).limit_denominator(SIMPLEST) for ratio in ratios]
        close = all(abs(float(a / largest) - float(b)) <= 1e-12 for a, b in zip(ratios, simple, strict=True))
        if not close or sum(simple) / _common_part(simple) > most:
            part = whole_sum / most
            whole = np.asarray([max(int(ratio / part), 1) for ratio in ratios], dtype=np.int64)
            return whole, float(part), False
        common = largest * _common_part(simple)
        ratios = [ratio * largest for ratio in simple]
    return np.asarray([int(ratio / common) for ratio in ratios], dtype=np.int64), float(common), True


def _common_part(values: list[Fraction]) -> Fraction:
    """The largest number of which all values are whole multiples."""
    distinct = set(values)
    down = lcm(*(value.denominator for value in distinct))
    return Fraction(gcd(*(int(value * down) for value in distinct)), down)


def _require_balance(network: Network, name: str) -> None:
    if not (network.exact or network.roundable):
        raise AlgorithmError(
            f"the bandwidths of {name} are too finely graded to pack trees exactly",
            "give its links bandwidths with a larger common part, or take another algorithm",
        )
    into, out = network.capacity.sum(axis=0), network.capacity.sum(axis=1)
    uneven = [node for node in network.relays if into[node] != out[node]]
    if uneven:
        node = uneven[0]
        raise AlgorithmError(
            f"on {name} {into[node] * network.unit:.4g} B/s reach {network.names[node]} but "
            f"{out[node] * network.unit:.4g} B/s leave it",
            "a forest needs switches that can give out what they take in; take another algorithm",
        )


def _merge_planes(network: Network) -> None:
    """Join relays with the same neighbours in the same proportions: parallel planes are one wide switch."""
    merged = True
    while merged:
        merged = False
        alike: dict[tuple[object, ...], list[int]] = defaultdict(list)
        for relay in network.relays:
            row, column = network.capacity[relay], network.capacity[:, relay]
            part = int(np.gcd.reduce(np.concatenate([row, column])))
            alike[(row // part).tobytes(), (column // part).tobytes()].append(relay)
        for relays in alike.values():
            if len(relays) > 1 and not network.capacity[np.ix_(relays, relays)].any():
                _merge(network, relays)
                merged = True


def _merge(network: Network, relays: list[int]) -> None:
    first = relays[0]
    network.names[first] = f"{network.names[first]} and {len(relays) - 1} like it"
    for neighbour in range(len(network.names)):
        for turned in (False, True):
            edges = [(relay, neighbour) if turned else (neighbour, relay) for relay in relays]
            total = int(sum(network.capacity[edge] for edge in edges))
            if not total:
                continue
            links: list[int] = []
            shares: list[float] = []
            latency = 0.0
            for edge in edges:
                ((way, units),) = network.ways.pop(edge)
                links += way.links
                shares += [share * units / total for share in way.shares]
                latency = max(latency, way.latency)
                network.capacity[edge] = 0
            network.capacity[edges[0]] = total
            network.ways[edges[0]] = [(Way(tuple(links), tuple(shares), latency), total)]
