"""The double binary tree: two trees, each with half the data, such that no rank is inside both.

Sources: Sanders, Speck and Larsson Traff, "Two-tree algorithms for full bandwidth broadcast, reduction and scan"
(2009); the parent rule is NCCL's (src/graph/trees.cc).  All-reduce of S among N ranks, one port each: a rank sends
at most 2S, so 2S/B + about 2 log2 N a + pipeline fill, for any N.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from topo.algorithms.chain import in_chunks
from topo.algorithms.registry import Site, algorithm
from topo.algorithms.trees import TREE_OPERATIONS, Stream, Tree, along_tree, from_root
from topo.collective import Collective, segments
from topo.schedule import Schedule, ScheduleBuilder


def first_tree(ranks: int) -> Tree:
    """NCCL's first tree: odd ranks are leaves, rank 0 the root with one child.

    With b the lowest set bit of rank r, its parent is (r xor b) | 2b, or r xor b where that is no rank.
    """
    parent = np.full(ranks, -1, dtype=np.int64)
    for r in range(1, ranks):
        low = r & -r
        up = (r ^ low) | (low << 1)
        parent[r] = up if up < ranks else r ^ low
    return Tree(parent, 0)


def second_tree(ranks: int) -> Tree:
    """NCCL's second tree: the first mirrored (even number of ranks) or shifted by one (odd)."""
    place = np.arange(ranks)
    names = ranks - 1 - place if ranks % 2 == 0 else (place - 1) % ranks
    return first_tree(ranks).named(names)


def rooted_pair(ranks: int) -> tuple[Tree, Tree]:
    """Two trees rooted at rank 0, which hangs above the roots of a double tree over the others.

    So that the root of a broadcast sends each half once.
    """

    def under_root(tree: Tree) -> Tree:
        shifted = tree.named(np.arange(1, ranks))
        parent = shifted.parent.copy()
        parent[shifted.root] = 0
        return Tree(parent, 0)

    return under_root(first_tree(ranks - 1)), under_root(second_tree(ranks - 1))


@algorithm("double-binary-tree", TREE_OPERATIONS, pipelines=True)
def double_binary_tree(collective: Collective, site: Site, chunks: int) -> Schedule:
    """Two binary trees with half the data each (NCCL's rule), reduce up and broadcast down, pipelined."""
    n = collective.ranks
    if collective.operation == "all-reduce":
        pair = (first_tree(n), second_tree(n))
        order = from_root(collective, site)
    else:
        pair = rooted_pair(n)
        order = from_root(collective, site)
    builder = ScheduleBuilder(
        collective, "double-binary-tree", partial(segments, collective, 2 * chunks), in_chunks(chunks)
    )
    for half, tree in enumerate(pair):
        along_tree(builder, tree.named(order), Stream(collective.bytes / (2 * chunks), chunks, half, 2))
    return builder.build()
