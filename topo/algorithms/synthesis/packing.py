"""Packing spanning trees into whole capacities.

Two ways.  *Shortest*: every tree is one of shortest ways from its root, and each rank chooses the parents of its
trees by itself (a small flow per rank), which suffices on most fabrics and makes the flattest trees.  *Growing*:
classes of equal trees grow edge by edge, each by as much as keeps the rest packable, which always succeeds
(Schrijver, "Combinatorial Optimization", section 53; used so by ForestColl).  Few classes grow in turn, level by
level, so that none takes all the short ways; many grow one after another, which costs less.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace

import numpy as np
from tqdm import tqdm

from topo.algorithms.synthesis.cuts import fed
from topo.errors import InternalError
from topo.fabric import BoolArray, IntArray

MOST_IN_TURN = 64
"""Roots whose trees grow in turn."""


@dataclass(frozen=True, eq=False)
class Trees:
    """Spanning out-trees of one unit each.

    Parameters
    ----------
    root : int array [trees]
    parent : int array [trees, members]
        -1 at the root.
    """

    root: IntArray
    parent: IntArray

    def depth(self) -> IntArray:
        """Edges between each rank and the root [trees, members]."""
        depth = np.zeros_like(self.parent)
        at = self.parent.copy()
        row = np.arange(len(at))[:, None]
        while (at >= 0).any():
            depth += at >= 0
            at = np.where(at >= 0, self.parent[row, np.maximum(at, 0)], -1)
        return depth


def pack(capacity: IntArray, weights: IntArray) -> Trees:
    """Pack ``weights[r]`` trees rooted at each rank r, all spanning, within the capacities.

    Parameters
    ----------
    capacity : int array [members, members]
    weights : int array [members]

    Raises
    ------
    InternalError
        The capacities cannot hold the trees.
    """
    return _shortest(capacity, weights) or _grown(capacity, weights)


# ------------------------------------------------------------------------------------------ shortest trees


def _shortest(capacity: IntArray, weights: IntArray) -> Trees | None:
    from scipy.sparse.csgraph import shortest_path

    members = len(weights)
    hops = shortest_path(capacity > 0, unweighted=True)
    root = np.repeat(np.arange(members), weights)
    parent = np.full((len(root), members), -1, dtype=np.int64)
    first = np.concatenate([[0], np.cumsum(weights)])
    for rank in range(members):
        chosen = _parents(capacity[:, rank], hops, weights, rank)
        if chosen is None:
            return None
        for owner, giver, units in chosen:
            parent[first[owner] : first[owner] + units, rank] = giver
            first[owner] += units
        first[:-1] -= np.where(np.arange(members) == rank, 0, weights)
    return Trees(root, parent)


def _parents(
    into: IntArray, hops: np.ndarray, weights: IntArray, rank: int
) -> list[tuple[int, int, int]] | None:
    """Units of each root's trees that reach a rank from each neighbour on a shortest way; None if impossible."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_flow

    givers = np.flatnonzero(into)
    owners = np.flatnonzero(weights)
    owners = owners[owners != rank]
    if not len(owners):
        return []
    onward = hops[np.ix_(owners, givers)] == hops[owners, rank][:, None] - 1
    start, end = len(owners) + len(givers), len(owners) + len(givers) + 1
    row, column = np.nonzero(onward)
    supply = weights[owners]
    rows = np.concatenate([np.full(len(owners), start), row, len(owners) + np.arange(len(givers))])
    columns = np.concatenate([np.arange(len(owners)), len(owners) + column, np.full(len(givers), end)])
    limits = np.concatenate([supply, supply[row], np.minimum(into[givers], supply.sum())])
    graph = csr_array((limits.astype(np.int32), (rows, columns)), shape=(end + 1, end + 1))
    result = maximum_flow(graph, start, end)
    if int(result.flow_value) < int(supply.sum()):
        return None
    flow = result.flow.tocoo()
    used = (flow.data > 0) & (flow.row < len(owners))
    return [
        (int(owners[i]), int(givers[j - len(owners)]), int(units))
        for i, j, units in zip(flow.row[used], flow.col[used], flow.data[used], strict=True)
    ]


# ------------------------------------------------------------------------------------------ growing trees


@dataclass(eq=False)
class _Class:
    """Equal trees, as far as they have grown."""

    root: int
    reached: BoolArray
    parent: IntArray
    count: int
    order: list[int] = field(default_factory=list)
    done: int = 0
    """Ranks, in order of reaching, from which it has grown as far as it could."""


def _grown(capacity: IntArray, weights: IntArray) -> Trees:
    members = len(weights)
    left = capacity.copy()
    waiting: deque[_Class] = deque()
    for rank in np.flatnonzero(weights).tolist():
        reached = np.zeros(members, dtype=bool)
        reached[rank] = True
        waiting.append(
            _Class(rank, reached, np.full(members, -1, dtype=np.int64), int(weights[rank]), [rank])
        )
    finished: list[_Class] = []
    tight = np.zeros((0, members), dtype=bool)
    progress = tqdm(
        total=int(weights.sum()), desc="packing trees", unit="tree", delay=2, disable=None, leave=False
    )
    in_turn = int(np.count_nonzero(weights)) <= MOST_IN_TURN
    while waiting:
        growing = waiting.popleft()
        tight = _grow(growing, waiting, left, tight, in_turn)
        if growing.reached.all():
            finished.append(growing)
            progress.update(growing.count)
        else:
            waiting.append(growing)
    progress.close()
    count = np.asarray([grown.count for grown in finished])
    root = np.repeat([grown.root for grown in finished], count)
    parent = np.repeat(np.stack([grown.parent for grown in finished]), count, axis=0)
    order = np.argsort(root, kind="stable")
    return Trees(root[order], parent[order])


def _grow(
    growing: _Class, waiting: deque[_Class], left: IntArray, tight: BoolArray, one_level: bool
) -> BoolArray:
    """Grow one class, by a level or until it spans; what it cannot take along on an edge stays behind as a class of
    its own.

    Returns
    -------
    bool array [cuts, members]
        Sets of ranks that let in no more than the trees that must still come in.
    """
    members = len(left)
    turn = (np.arange(members) - growing.root) % members
    end = len(growing.order) if one_level else members
    while growing.done < min(end, len(growing.order)):
        giver = growing.order[growing.done]
        growing.done += 1
        for taker in np.lexsort((turn, -left[giver])).tolist():
            if left[giver, taker] == 0:
                break
            if growing.reached[taker]:
                continue
            barred = tight[:, taker] & ~tight[:, giver] & (tight & growing.reached).any(axis=1)
            if barred.any():
                continue
            units = min(growing.count, int(left[giver, taker]))
            room, cut = _room(left, waiting, giver, taker, units)
            if room <= 0:
                assert cut is not None, "a lack of room comes with its cut"
                tight = np.concatenate([tight, ~cut[None, :members]])
                continue
            units = min(units, room)
            if units < growing.count:
                rest = replace(
                    growing,
                    reached=growing.reached.copy(),
                    parent=growing.parent.copy(),
                    count=growing.count - units,
                    order=growing.order.copy(),
                    done=growing.done - 1,
                )
                waiting.appendleft(rest)
                growing.count = units
            growing.reached[taker] = True
            growing.parent[taker] = giver
            growing.order.append(taker)
            left[giver, taker] -= units
    if growing.done == len(growing.order) and not growing.reached.all():
        raise InternalError(f"a tree rooted at rank {growing.root} cannot grow to all ranks")
    return tight


def _room(
    left: IntArray, waiting: deque[_Class], giver: int, taker: int, wanted: int
) -> tuple[int, BoolArray | None]:
    """Units that an edge can give away while all waiting classes can still grow to the whole.

    The flow from giver to taker, where giver also feeds each waiting class with its count and the class feeds
    all ranks it has reached, less the waiting counts.
    """
    members = len(left)
    wide = [other for other in waiting if len(other.order) > 1]
    promised = sum(other.count for other in waiting)
    grown = np.zeros((members + len(wide), members + len(wide)), dtype=np.int64)
    grown[:members, :members] = left
    for other in waiting:
        if len(other.order) == 1 and other.root != giver:
            grown[giver, other.root] += other.count
    for i, other in enumerate(wide):
        grown[giver, members + i] = other.count
        grown[members + i, :members][other.reached] = other.count  # no more can come in
    network = fed(grown, np.asarray([giver]), np.asarray([promised + wanted]))
    room = network.flow(taker) - promised
    return room, network.side() if room <= 0 else None
