"""The steps of synthesis by themselves: whole capacities, rates, relays, trees, orientations."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.topo.algorithms.examples import boxes, cabled, cut_torus, grid, known, star
from topo.algorithms.synthesis.cuts import lacking, leaving
from topo.algorithms.synthesis.forest import joint, spreading
from topo.algorithms.synthesis.network import Network, network_of, whole_numbers
from topo.algorithms.synthesis.orientation import Orientation, whole_trees
from topo.algorithms.synthesis.packing import Trees, pack
from topo.algorithms.synthesis.packing import _grown as grown
from topo.algorithms.synthesis.rate import all_reduce_weights, rate
from topo.algorithms.synthesis.splitting import remove_relays, reversed_bits
from topo.fabric import Fabric, IntArray


def _network(fabric: Fabric) -> Network:
    return network_of(fabric, np.arange(fabric.ranks))


@pytest.mark.parametrize("name", known())
def test_rates_are_those_of_the_enumeration_of_all_cuts(name: str) -> None:
    fabric, ratio, _ = known()[name]
    network = _network(fabric)
    nodes, members = len(network.capacity), network.members
    best = Fraction(0)
    for size in range(1, nodes):
        for chosen in combinations(range(nodes), size):
            inside = np.zeros(nodes, dtype=bool)
            inside[list(chosen)] = True
            out = leaving(network.capacity, inside)
            if out and not inside[:members].all():
                best = max(best, Fraction(int(inside[:members].sum()), out))
    found = rate(network, np.ones(members, dtype=np.int64))
    assert found == best
    # In the units of the reference: network.unit bytes/s each.
    assert float(found) / network.unit * 5e10 == pytest.approx(float(ratio))


def test_bandwidths_become_the_smallest_whole_numbers() -> None:
    whole, unit, exact = whole_numbers(np.asarray([4.5e11, 5e10, 2.5e10]), 10_000)
    assert (whole.tolist(), unit, exact) == ([18, 2, 1], 2.5e10, True)
    whole, _, exact = whole_numbers(np.asarray([1e11, 1e11 / 3]), 10_000)
    assert (whole.tolist(), exact) == ([3, 1], True)
    whole, unit, exact = whole_numbers(np.asarray([np.pi, np.e]), 1000)
    assert not exact
    assert (whole * unit <= [np.pi, np.e]).all()
    assert (whole * unit > 0.99 * np.asarray([np.pi, np.e])).all()


@pytest.mark.parametrize(
    "fabric", [star(6), boxes(2, 4), boxes(3, 2, 5, 2)], ids=["star", "two boxes", "three boxes"]
)
def test_relays_go_and_every_unit_keeps_its_links(fabric: Fabric) -> None:
    network = _network(fabric)
    ones = np.ones(network.members, dtype=np.int64)
    ratio = rate(network, ones)
    wide = network.scaled(ratio * ratio.denominator)
    weights = ones * ratio.denominator
    before = wide.capacity.copy()
    remove_relays(wide, weights)
    assert not wide.relays
    assert not lacking(wide.capacity, weights)
    used = np.zeros(fabric.links)
    for edge, ways in wide.ways.items():
        assert sum(units for _, units in ways) == wide.capacity[edge]
        for way, units in ways:
            ends = fabric.source[list(way.links)], fabric.target[list(way.links)]
            assert ends[0][0] == fabric.accelerators[edge[0]]
            assert ends[1][-1] == fabric.accelerators[edge[1]]
            np.add.at(used, list(way.links), np.asarray(way.shares) * units)
    assert used.sum() <= before.sum()
    assert (used * network.unit <= fabric.bandwidth * float(ratio * ratio.denominator) * (1 + 1e-9)).all()


def _load(trees: Trees, members: int) -> IntArray:
    load = np.zeros((members, members), dtype=np.int64)
    for parent in trees.parent:
        children = np.flatnonzero(parent >= 0)
        np.add.at(load, (parent[children], children), 1)
    return load


@given(st.integers(2, 7), st.integers(0, 12), st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_trees_span_and_fit(members: int, more: int, seed: int) -> None:
    """Capacities made of random trees hold as many again, however they are packed."""
    random = np.random.default_rng(seed)
    weights = random.integers(0, 3, members)
    weights[0] += 1
    capacity = np.zeros((members, members), dtype=np.int64)
    for root in np.repeat(np.arange(members), weights):
        order = [root, *random.permutation(np.delete(np.arange(members), root))]
        for place, child in enumerate(order[1:], start=1):
            capacity[order[random.integers(0, place)], child] += 1
    for _ in range(more):
        a, b = random.choice(members, 2, replace=False)
        capacity[a, b] += 1
    for trees in (pack(capacity, weights), grown(capacity, weights)):
        assert np.bincount(trees.root, minlength=members).tolist() == weights.tolist()
        assert (_load(trees, members) <= capacity).all()
        depth = trees.depth()
        assert (depth > 0).sum() == len(trees.root) * (members - 1)
        assert (depth[np.arange(len(depth)), trees.root] == 0).all()


def test_more_trees_than_fit_are_refused() -> None:
    from topo.errors import InternalError

    capacity = np.asarray([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    with pytest.raises(InternalError, match="cannot grow"):
        pack(capacity, np.asarray([2, 0, 0]))


def _most_spanning_trees(graph: nx.Graph) -> Fraction:
    """Tutte and Nash-Williams: the least crossing capacity per part less one, over all partitions."""

    def partitions(nodes: list[int]) -> list[list[list[int]]]:
        if not nodes:
            return [[]]
        first, *rest = nodes
        found = []
        for partition in partitions(rest):
            found.append([[first], *partition])
            for i in range(len(partition)):
                found.append([*partition[:i], [first, *partition[i]], *partition[i + 1 :]])
        return found

    best = None
    for partition in partitions(list(graph)):
        if len(partition) == 1:
            continue
        part = {node: i for i, nodes in enumerate(partition) for node in nodes}
        crossing = sum(int(data["c"]) for a, b, data in graph.edges(data=True) if part[a] != part[b])
        ratio = Fraction(crossing, len(partition) - 1)
        best = ratio if best is None else min(best, ratio)
    assert best is not None
    return best


@given(st.integers(3, 6), st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_as_many_two_way_trees_fit_as_partitions_allow(members: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    graph = nx.Graph()
    for i in range(1, members):
        graph.add_edge(int(random.integers(0, i)), i, c=int(random.integers(1, 4)))
    for _ in range(int(random.integers(0, 6))):
        a, b = (int(node) for node in random.choice(members, 2, replace=False))
        graph.add_edge(a, b, c=int(random.integers(1, 4)))
    fabric = cabled("random", range(members), [(a, b, float(d["c"])) for a, b, d in graph.edges(data=True)])
    network = _network(fabric)
    orientation = Orientation(network)
    most = orientation.most()
    expected = _most_spanning_trees(graph)
    assert most * network.unit / 5e10 == pytest.approx(float(expected), rel=1e-6)
    table, number, copies = next(iter(whole_trees(orientation, most, 10_000)))
    assert number == pytest.approx(most * copies, rel=1e-6)
    assert (table + table.T <= network.capacity * copies).all()
    roots = np.zeros(members, dtype=np.int64)
    roots[orientation.root] = number
    assert (_load(pack(table, roots), members) <= table).all()


def test_weights_of_an_all_reduce_lean_on_damaged_ranks() -> None:
    fabric = cut_torus(3, 3)
    weights, most = all_reduce_weights(_network(fabric), 512)
    assert weights.tolist() == [5, 5, 1, 1, 1, 1, 1, 1, 1]
    assert most == pytest.approx(34 / 8)


def test_even_weights_on_even_fabrics() -> None:
    weights, most = all_reduce_weights(_network(grid(3, 4)), 512)
    assert weights.tolist() == [1] * 12
    assert most == pytest.approx(48 / 11)


def test_reversed_bits_spread_out() -> None:
    order = np.argsort(reversed_bits(np.arange(8), 8))
    assert order.tolist() == [0, 4, 2, 6, 1, 5, 3, 7]


@pytest.mark.parametrize("name", known())
def test_forests_promise_exactly_the_bound(name: str) -> None:
    fabric, gathering, reducing = known()[name]
    ranks = np.arange(fabric.ranks)
    out, two_way = spreading(fabric, ranks, np.ones(fabric.ranks, dtype=np.int64)), joint(fabric, ranks)
    assert two_way is not None
    assert out.seconds / out.trees * fabric.ranks == pytest.approx(float(gathering) / 5e10)
    assert two_way.seconds / two_way.trees == pytest.approx(float(reducing) / 5e10)
    assert abs(out.loss) < 1e-9
    assert abs(two_way.loss) < 1e-6


def test_too_many_trees_give_way_to_fewer_that_are_nearly_as_fast() -> None:
    fabric = boxes(2, 16, 997, 499)
    out = spreading(fabric, np.arange(32), np.ones(32, dtype=np.int64))
    assert out.trees <= (1 << 14) // 32
    assert 0 < out.loss < 0.02
