"""Trees: NCCL's double binary tree, the balanced one, binomial, and trees that are none."""

from __future__ import annotations

import numpy as np
import pytest

from tests.topo.algorithms.sites import built, collective_on, fabric_of, seconds, star, timed
from topo.algorithms.double_tree import first_tree, rooted_pair, second_tree
from topo.algorithms.trees import Stream, Tree, along_tree, heap_tree, own_tree
from topo.collective import segments
from topo.errors import ScheduleError
from topo.schedule import ScheduleBuilder
from topologies.binary_tree import binary_tree
from topologies.path import path


def _children(tree: Tree, ranks: int) -> np.ndarray:
    return np.bincount(tree.parent[tree.parent >= 0], minlength=ranks)


def test_nccl_parents_of_eight_ranks() -> None:
    first = {4: 0, 2: 4, 6: 4, 1: 2, 3: 2, 5: 6, 7: 6}
    second = {3: 7, 1: 3, 5: 3, 0: 1, 2: 1, 4: 5, 6: 5}
    for tree, parents in ((first_tree(8), first), (second_tree(8), second)):
        assert {r: int(p) for r, p in enumerate(tree.parent) if p >= 0} == parents


@pytest.mark.parametrize("ranks", range(3, 70))
def test_both_trees_span_and_no_rank_is_busy_in_both(ranks: int) -> None:
    trees = (first_tree(ranks), second_tree(ranks))
    for tree in trees:
        reached = [tree.root, *np.concatenate(tree.levels()).tolist()]
        assert sorted(reached) == list(range(ranks))
        assert _children(tree, ranks).max() <= 2
    both = (_children(trees[0], ranks) == 2) & (_children(trees[1], ranks) == 2)
    assert not both.any()
    # Depth stays logarithmic: that is what trees are for.
    assert max(tree.depth for tree in trees) <= int(np.ceil(np.log2(ranks))) + 1


@pytest.mark.parametrize("ranks", range(2, 40))
def test_the_root_of_a_broadcast_sends_each_half_once(ranks: int) -> None:
    pair = rooted_pair(ranks)
    assert [int(_children(tree, ranks)[0]) for tree in pair] == [1, 1]
    for tree in pair:
        assert sorted([0, *np.concatenate(tree.levels()).tolist()]) == list(range(ranks))


@pytest.mark.parametrize("ranks", [8, 13, 32])
def test_double_tree_comes_near_its_bandwidth_terms(ranks: int) -> None:
    fabric, size = star(ranks, 1e10, 0.0), 1e9
    # 2S/B for an all-reduce, S/B for a broadcast, and the pipeline's fill.
    assert timed("double-binary-tree", fabric, "all-reduce", size, 200) == pytest.approx(
        2 * size / 1e10, rel=0.12
    )
    assert timed("double-binary-tree", fabric, "broadcast", size, 200) == pytest.approx(size / 1e10, rel=0.12)


def test_double_tree_beats_the_ring_on_latency() -> None:
    fabric = star(64)
    assert (
        timed("double-binary-tree", fabric, "all-reduce", 1e3) < timed("ring", fabric, "all-reduce", 1e3) / 4
    )


@pytest.mark.parametrize("chunks", [1, 2, 10])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_balanced_tree_on_its_own_links(depth: int, chunks: int) -> None:
    fabric, size = fabric_of(binary_tree(depth, 5e10, 5e-7)), 2e7
    segment = size / chunks / 5e10
    once = depth * 5e-7 + (depth + chunks - 1) * segment
    assert timed("binary-tree", fabric, "broadcast", size, chunks) == pytest.approx(once, rel=1e-9)
    assert timed("binary-tree", fabric, "reduce", size, chunks) == pytest.approx(once, rel=1e-9)
    both = 2 * depth * 5e-7 + (2 * depth + chunks - 1) * segment
    assert timed("binary-tree", fabric, "all-reduce", size, chunks) == pytest.approx(both, rel=1e-9)


def test_a_line_is_its_own_tree_from_any_root() -> None:
    fabric = fabric_of(path(5))
    from topo.algorithms import Site

    tree = own_tree(Site(fabric, np.arange(5)), 2)
    assert tree is not None
    assert tree.parent.tolist() == [1, 2, -1, 2, 3]
    assert own_tree(Site(star(5), np.arange(5)), 0) is None


def test_a_cycle_is_found_by_the_proof() -> None:
    parent = np.asarray([-1, 0, 3, 2])
    collective = collective_on(star(4), "broadcast")
    builder = ScheduleBuilder(collective, "broken", lambda: segments(collective))
    along_tree(builder, Tree(parent, 0), Stream(collective.bytes, 1))
    with pytest.raises(ScheduleError, match="incomplete at rank 2"):
        builder.build().verify()


def test_heap_tree_halves_a_one_port_rank() -> None:
    fabric, size = star(15, 1e10, 0.0), 1e8
    assert heap_tree(7).parent.tolist() == [-1, 0, 0, 1, 1, 2, 2]
    # An inner node sends two copies through one port.
    assert timed("binary-tree", fabric, "broadcast", size, 100) == pytest.approx(2 * size / 1e10, rel=0.1)


@pytest.mark.parametrize("ranks", range(2, 18))
def test_binomial_broadcast_reaches_rank_i_in_the_round_of_its_highest_bit(ranks: int) -> None:
    port, size = 1e-6, 1e6
    late = max(i.bit_length() * size / 5e10 + i.bit_count() * port for i in range(1, ranks))
    assert timed("binomial-tree", star(ranks), "broadcast", size) == pytest.approx(late, rel=1e-9)


def test_roots_other_than_zero_cost_the_same_on_a_star() -> None:
    fabric = star(11)
    for name in ("binomial-tree", "double-binary-tree", "binary-tree", "scatter-allgather"):
        times = [
            seconds(built(name, fabric, collective_on(fabric, "broadcast", root=root)), fabric)
            for root in (0, 4, 10)
        ]
        assert times == pytest.approx([times[0]] * 3, rel=1e-9)
