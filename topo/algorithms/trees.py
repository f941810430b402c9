"""Rooted trees: binomial, balanced binary, and the fabric's own.

Sources: Thakur, Rabenseifner and Gropp, "Optimization of Collective Communication Operations in MPICH" (2005) for
the binomial tree; pipelined trees are textbook.  Binomial broadcast ceil(log2 N)(a + S/B).  A balanced binary tree
of depth d with a dedicated link per edge, in k segments: broadcast or reduce d a + (d + k - 1) S/(k B), reduce and
broadcast overlapped 2 d a + (2 d + k - 1) S/(k B).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from topo.algorithms.chain import in_chunks
from topo.algorithms.homes import Link, star
from topo.algorithms.registry import Site, algorithm
from topo.algorithms.ring import ring_order
from topo.collective import Collective, segments
from topo.fabric import IntArray
from topo.schedule import Schedule, ScheduleBuilder, Table, Wait, one_each

TREE_OPERATIONS = ("broadcast", "reduce", "all-reduce")


@dataclass(frozen=True, eq=False)
class Tree:
    """A rooted tree over some or all ranks.

    Parameters
    ----------
    parent : int array [ranks]
        The parent of each rank; -1 for the root and for ranks outside the tree.
    root : int
    """

    parent: IntArray
    root: int

    @property
    def depth(self) -> int:
        """Links from the root to the farthest rank."""
        return len(self.levels())

    def levels(self) -> list[IntArray]:
        """Ranks at distance 1, 2, ... from the root.

        Ranks that hang on no root (a cycle) are left out; the proof of a schedule then finds them unserved.
        """
        jump = np.where(self.parent >= 0, self.parent, np.arange(len(self.parent)))
        depth = (self.parent >= 0).astype(np.int64)
        for _ in range(len(self.parent).bit_length()):
            depth, jump = depth + depth[jump], jump[jump]
        below = np.flatnonzero((jump == self.root) & (self.parent >= 0))
        order = below[np.argsort(depth[below], kind="stable")]
        return np.split(order, np.flatnonzero(np.diff(depth[order])) + 1) if len(order) else []

    def named(self, names: IntArray) -> Tree:
        """The same tree over other ranks: position i is rank ``names[i]``."""
        parent = np.full(int(names.max()) + 1, -1, dtype=np.int64)
        parent[names] = np.where(self.parent >= 0, names[self.parent], -1)
        return Tree(parent, int(names[self.root]))


@dataclass(frozen=True)
class Stream:
    """What flows along a tree: segments ``first``, ``first + stride``, ... of a buffer."""

    bytes: float
    repeat: int
    first: int = 0
    stride: int = 1

    def pieces(self, transfers: int) -> partial[Table]:
        """Pieces of a batch: every transfer carries the same segment in one repeat."""
        return partial(_segment, transfers, self.first, self.stride)


def _segment(transfers: int, first: int, stride: int, repeat: int) -> Table:
    return one_each(np.full(transfers, first + repeat * stride))


def send_down(builder: ScheduleBuilder, tree: Tree, stream: Stream, after: Sequence[int] = ()) -> list[int]:
    """Segments from the root to all; segment t waits at each rank only for segment t.

    Parameters
    ----------
    after : batch numbers
        Batches whose repeat t must reach the root before it sends segment t.
    """
    added: list[int] = []
    before = tuple(after)
    for level in tree.levels():
        number = builder.add(
            tree.parent[level],
            level,
            stream.bytes,
            stream.pieces(len(level)),
            repeat=stream.repeat,
            pipeline=before,
            loop=False,
        )
        added.append(number)
        before = (number,)
    return added


def send_up(builder: ScheduleBuilder, tree: Tree, stream: Stream) -> list[int]:
    """Segments from all to the root, added on the way; the last batch is what reaches the root."""
    added: list[int] = []
    before: tuple[int, ...] = ()
    for level in reversed(tree.levels()):
        number = builder.add(
            level,
            tree.parent[level],
            stream.bytes,
            stream.pieces(len(level)),
            repeat=stream.repeat,
            reduce=True,
            pipeline=before,
            loop=False,
        )
        added.append(number)
        before = (number,)
    return added


def along_tree(builder: ScheduleBuilder, tree: Tree, stream: Stream) -> None:
    """Broadcast, reduce, or reduce and then broadcast, as the collective says."""
    operation = builder.collective.operation
    up = send_up(builder, tree, stream) if operation in ("reduce", "all-reduce") else []
    if operation in ("broadcast", "all-reduce"):
        send_down(builder, tree, stream, up[-1:])


# ---------------------------------------------------------------------------------------------- binomial


def binomial_tree(ranks: int) -> Tree:
    """Rank i > 0 hangs on i without its highest bit."""
    parent = np.full(ranks, -1, dtype=np.int64)
    for i in range(1, ranks):
        parent[i] = i - (1 << (i.bit_length() - 1))
    return Tree(parent, 0)


def from_root(collective: Collective, site: Site) -> IntArray:
    """Ranks in ring order, the collective's root first."""
    order = ring_order(site)
    return np.roll(order, -int(np.flatnonzero(order == collective.root)[0]))


def _binomial_time(collective: Collective, site: Site, chunks: int) -> float | None:
    """On a star, unsegmented: ceil(log2 N)(a + S/B) for N a power of two, twice that for all-reduce.

    A broadcast reaches rank i in the round of its highest bit over as many hops as it has bits.
    """
    port, n = star(site), collective.ranks
    if port is None or chunks > 1 or (n & (n - 1) and collective.operation != "broadcast"):
        return None
    once = max(
        i.bit_length() * collective.bytes / port.bandwidth + i.bit_count() * port.latency for i in range(1, n)
    )
    return 2 * once if collective.operation == "all-reduce" else once


@algorithm("binomial-tree", TREE_OPERATIONS, pipelines=True, closed_form=_binomial_time)
def binomial(collective: Collective, site: Site, chunks: int) -> Schedule:
    """Holders double every round: ceil(log2 N)(a + S/B); all-reduce up and then down the tree."""
    builder = ScheduleBuilder(
        collective, "binomial-tree", partial(segments, collective, chunks), in_chunks(chunks)
    )
    order = from_root(collective, site)
    operation = collective.operation
    last: tuple[int, ...] = ()
    if operation in ("reduce", "all-reduce"):
        last = _binomial_rounds(builder, order, chunks, (), reduce=True)
    if operation in ("broadcast", "all-reduce"):
        _binomial_rounds(builder, order, chunks, last, reduce=False)
    return builder.build()


def _binomial_rounds(
    builder: ScheduleBuilder, order: IntArray, chunks: int, after: tuple[int, ...], *, reduce: bool
) -> tuple[int, ...]:
    """One batch per round; a rank sends segment t of a round when it has what it needs and its port is free."""
    n = len(order)
    bits = range((n - 1).bit_length())
    added: list[int] = []
    for bit in reversed(bits) if reduce else bits:
        near = np.arange(1 << bit)
        near = near[near + (1 << bit) < n]
        ends = (order[near], order[near + (1 << bit)])
        waits = [Wait(b, 0, on) for b in (*after, *added) for on in ("arrival", "drain")]
        size = builder.collective.bytes / chunks
        source, target = reversed(ends) if reduce else ends
        first = max((builder.batches[b].step + 1 for b in (*after, *added)), default=0)
        added.append(
            builder.add(
                source,
                target,
                size,
                Stream(size, chunks).pieces(len(near)),
                repeat=chunks,
                reduce=reduce,
                waits=waits,
                loop=False,
                step=first,
            )
        )
    return tuple(added)


# ---------------------------------------------------------------------------------------- balanced binary


def heap_tree(ranks: int) -> Tree:
    """Rank i hangs on (i - 1) // 2."""
    parent = (np.arange(ranks) - 1) // 2
    return Tree(parent, 0)


def layered_tree(ranks: int) -> Tree:
    """A binary tree filled level by level, rank j of a level of m hanging on rank j mod (m / 2) of the one before.

    As deep as :func:`heap_tree`; parent and child are one or two widths of a level apart, however many ranks.
    """
    rank = np.arange(ranks)
    # Of a level of m = 2, 4, 8 .. ranks, which begins at rank m - 1.
    width = 1 << (np.frexp(rank + 1.0)[1].astype(np.int64) - 1)
    half = np.maximum(width // 2, 1)
    parent = half - 1 + (rank - (width - 1)) % half
    parent[0] = -1
    return Tree(parent, 0)


def own_tree(site: Site, root: int) -> Tree | None:
    """The fabric itself as a tree of ranks, when it is one."""
    fabric = site.fabric
    n = fabric.ranks
    if not site.whole or len(fabric.nodes) != n or fabric.links != 2 * (n - 1):
        return None
    parent = np.full(n, -1, dtype=np.int64)
    rank = fabric.rank_of_node
    source, target = rank[fabric.source], rank[fabric.target]
    known = np.zeros(n, dtype=bool)
    known[root] = True
    for _ in range(n):
        fresh = known[source] & ~known[target]
        if not fresh.any():
            break
        parent[target[fresh]] = source[fresh]
        known[target[fresh]] = True
    return Tree(parent, root)


def _own_link(site: Site) -> Link | None:
    speed, latency = site.fabric.bandwidth, site.fabric.latency
    if (speed != speed[0]).any() or (latency != latency[0]).any():
        return None
    return Link(float(latency[0]), float(speed[0]))


def _binary_time(collective: Collective, site: Site, chunks: int) -> float | None:
    """On a fabric that is a tree: d a + (d + k - 1) S/(k B); all-reduce with 2 d for d."""
    tree = own_tree(site, collective.root)
    link = _own_link(site)
    if tree is None or link is None:
        return None
    depth = tree.depth * (2 if collective.operation == "all-reduce" else 1)
    return depth * link.latency + (depth + chunks - 1) * collective.bytes / chunks / link.bandwidth


@algorithm("binary-tree", TREE_OPERATIONS, pipelines=True, closed_form=_binary_time)
def binary(collective: Collective, site: Site, chunks: int) -> Schedule:
    """One balanced binary tree, or the fabric itself where it is a tree, pipelined up and down."""
    order = from_root(collective, site)
    tree = own_tree(site, collective.root) or heap_tree(collective.ranks).named(order)
    builder = ScheduleBuilder(
        collective, "binary-tree", partial(segments, collective, chunks), in_chunks(chunks)
    )
    along_tree(builder, tree, Stream(collective.bytes / chunks, chunks))
    return builder.build()
