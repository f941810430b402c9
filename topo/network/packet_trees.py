"""Routes that switches add or copy on, cut into trees: one for each switch that all senders reach at once."""

from __future__ import annotations

from dataclasses import dataclass

import numba as nb
import numpy as np

from topo.fabric import BoolArray, FloatArray, IntArray

ROUNDING = 1e-9
FAR = 1 << 30
PATH, UP, OFF, DOWN = range(4)

jit = nb.njit(cache=True, error_model="numpy", nogil=True)


@dataclass(frozen=True, eq=False)
class Trees:
    """Trees of some rows.

    Parameters
    ----------
    wrong : int
        A row that is not made of trees, or -1.
    row : int array [trees]
    share : float array [trees]
        Share of the row.
    counts : int array [trees]
        Links of each tree.
    link : int array [links of all trees]
    phase : int array [links of all trees]
        ``UP`` to the root, ``OFF`` from the root, ``DOWN`` after that.
    """

    wrong: int
    row: IntArray
    share: FloatArray
    counts: IntArray
    link: IntArray
    phase: IntArray


@jit
def _distances(
    root: int,
    upwards: bool,
    link: IntArray,
    source: IntArray,
    target: IntArray,
    ending: BoolArray,
    distance: IntArray,
) -> int:
    """Links from every node to the root (or from it), through switches only; the largest of the ending nodes."""
    for k in range(len(link)):
        distance[source[link[k]]] = FAR
        distance[target[link[k]]] = FAR
    distance[root] = 0
    changed = True
    while changed:
        changed = False
        for k in range(len(link)):
            near, far = source[link[k]], target[link[k]]
            if upwards:
                near, far = far, near
            if not ending[near] and distance[near] + 1 < distance[far]:
                distance[far] = distance[near] + 1
                changed = True
    largest = 0
    for k in range(len(link)):
        node = source[link[k]] if upwards else target[link[k]]
        if ending[node]:
            largest = max(largest, distance[node])
    return largest


@jit
def _climb(
    root: int,
    upwards: bool,
    link: IntArray,
    left: FloatArray,
    source: IntArray,
    target: IntArray,
    ending: BoolArray,
    distance: IntArray,
    used: BoolArray,
) -> bool:
    """Mark the links of shortest ways between the root and every ending node, the widest of several first."""
    _distances(root, upwards, link, source, target, ending, distance)
    onward = np.empty(len(link), np.int64)  # links that lead one nearer to the root
    number = 0
    for k in range(len(link)):
        here, there = source[link[k]], target[link[k]]
        if not upwards:
            here, there = there, here
        if distance[here] < FAR and distance[there] == distance[here] - 1 and left[k] > ROUNDING:
            onward[number] = k
            number += 1
    for k in range(len(link)):
        node = source[link[k]] if upwards else target[link[k]]
        if not ending[node]:
            continue
        while node != root:
            best = -1
            for i in onward[:number]:
                if node != (source[link[i]] if upwards else target[link[i]]):
                    continue
                if used[i]:
                    best = i
                    break
                if best < 0 or left[i] > left[best] * (1 + ROUNDING):
                    best = i
            if best < 0:
                return False
            used[best] = True
            node = target[link[best]] if upwards else source[link[best]]
    return True


@jit
def _cut_trees(
    rows: IntArray,
    pointer: IntArray,
    link: IntArray,
    weight: FloatArray,
    source: IntArray,
    target: IntArray,
    ending: BoolArray,
) -> tuple[int, int, int, IntArray, FloatArray, IntArray, IntArray, IntArray]:
    row_of = np.empty(64, np.int64)
    share_of = np.empty(64)
    count_of = np.empty(64, np.int64)
    found = np.empty(256, np.int64)
    phase = np.empty(256, np.int64)
    distance = np.empty(len(ending), np.int64)
    depth_of = np.empty(len(ending), np.int64)
    trees, links = 0, 0
    for r in rows:
        mine = link[pointer[r] : pointer[r + 1]]
        left = weight[pointer[r] : pointer[r + 1]].copy()
        for k in range(len(mine)):
            depth_of[source[mine[k]]] = -1
        least = FAR
        for k in range(len(mine)):
            root = source[mine[k]]
            if not ending[root] and depth_of[root] < 0:
                highest = _distances(root, True, mine, source, target, ending, distance)
                lowest = _distances(root, False, mine, source, target, ending, distance)
                depth_of[root] = max(highest, lowest)
                least = min(least, depth_of[root])
        rest = 1.0
        for k in range(len(mine)):
            root = source[mine[k]]
            if ending[root] or depth_of[root] != least or least >= FAR or rest <= ROUNDING:
                continue
            depth_of[root] = FAR  # done
            up, down = np.zeros(len(mine), np.bool_), np.zeros(len(mine), np.bool_)
            if not (
                _climb(root, True, mine, left, source, target, ending, distance, up)
                and _climb(root, False, mine, left, source, target, ending, distance, down)
            ):
                continue
            width = rest
            for i in range(len(mine)):
                if up[i] or down[i]:
                    width = min(width, left[i] / 2 if up[i] and down[i] else left[i])
            count = up.sum() + down.sum()
            if trees == len(row_of):
                row_of = np.concatenate((row_of, np.empty(trees, np.int64)))
                share_of = np.concatenate((share_of, np.empty(trees)))
                count_of = np.concatenate((count_of, np.empty(trees, np.int64)))
            if links + count > len(found):
                found = np.concatenate((found, np.empty(len(found) + count, np.int64)))
                phase = np.concatenate((phase, np.empty(len(phase) + count, np.int64)))
            for i in range(len(mine)):
                if up[i]:
                    left[i] -= width
                    found[links], phase[links] = mine[i], UP
                    links += 1
                if down[i]:
                    left[i] -= width
                    found[links], phase[links] = mine[i], OFF if source[mine[i]] == root else DOWN
                    links += 1
            rest -= width
            row_of[trees], share_of[trees], count_of[trees] = r, width, count
            trees += 1
        if rest > ROUNDING:
            return r, trees, links, row_of, share_of, count_of, found, phase
    return -1, trees, links, row_of, share_of, count_of, found, phase


def cut_trees(
    rows: IntArray,
    pointer: IntArray,
    link: IntArray,
    weight: FloatArray,
    source: IntArray,
    target: IntArray,
    ending: BoolArray,
) -> Trees:
    """Cut routes into trees: up from all accelerators that send to a switch, and down to all that receive.

    The switches that are the roots have the smallest largest distance to the accelerators, as in
    :func:`topo.trees.tree_routes`, and each tree is as wide as what is left of its links.

    Parameters
    ----------
    rows : int array
        Rows to cut.
    pointer, link, weight : int array [rows + 1], int and float arrays [entries]
        Routes of all rows, in the order in which links are to be taken.
    source, target : int arrays [links]
    ending : bool array [nodes]
        Nodes that streams end at and do not pass.
    """
    wrong, trees, links, row, share, counts, found, phase = _cut_trees(
        rows, pointer, link, weight, source, target, ending
    )
    return Trees(
        wrong,
        row[:trees].copy(),
        share[:trees].copy(),
        counts[:trees].copy(),
        found[:links].copy(),
        phase[:links].copy(),
    )
