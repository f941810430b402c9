"""The ways that packets take: every route cut into plain paths, and virtual channels that cannot deadlock.

Links are put into a fixed order.  A packet starts on virtual channel 0 and goes to the next one whenever its way
goes down in that order, as at the wrap of a ring (the dateline of Dally and Seitz, "Deadlock-free message routing
in multiprocessor interconnection networks", 1987).  So (virtual channel, place in the order) grows along every
way, no cycle of channels can wait for one another, and no network can deadlock, whatever its routes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba as nb
import numpy as np

from topo.errors import NetworkError
from topo.fabric import ACCELERATOR, Fabric, FloatArray, IntArray
from topo.network.program import Program

MOST_ROUNDS = 20
ROUNDING = 1e-9

jit = nb.njit(cache=True, error_model="numpy", nogil=True)


@dataclass(frozen=True, eq=False)
class Ways:
    """The plain paths of all rows; links are named by their places in the order.

    Parameters
    ----------
    row : int array [ways]
        Row that each way belongs to, ascending.
    share : float array [ways]
        Share of the row.
    pointer : int array [ways + 1]
    link, virtual : int arrays [hops]
        Place of each hop's link in the order, and its virtual channel.
    order : int array [links]
        Link of the fabric at each place.
    """

    row: IntArray
    share: FloatArray
    pointer: IntArray
    link: IntArray
    virtual: IntArray
    order: IntArray


def node_order(fabric: Fabric) -> IntArray:
    """A number for each node that hangs on ranks and wiring only, not on labels or the order of edges [nodes].

    Accelerators come first, by rank.  Other nodes follow by their distance from the accelerators and then by
    whom they are joined to, as far as that tells them apart.
    """
    level = np.where(fabric.kind == ACCELERATOR, 0, -1)
    near, depth = np.flatnonzero(level == 0), 0
    while len(near):
        depth += 1
        found = np.unique(fabric.target[np.isin(fabric.source, near)])
        near = found[level[found] < 0]
        level[near] = depth
    level[level < 0] = depth + 1
    code = level + fabric.ranks
    code[fabric.accelerators] = np.arange(fabric.ranks)
    others = np.flatnonzero(fabric.kind != ACCELERATOR)
    for _ in range(MOST_ROUNDS):
        around: list[list[tuple[float, ...]]] = [[] for _ in fabric.nodes]
        for end, here, there in ((0, fabric.source, fabric.target), (1, fabric.target, fabric.source)):
            for i in np.flatnonzero(fabric.kind[here] != ACCELERATOR).tolist():
                known = (end, int(code[there[i]]), float(fabric.bandwidth[i]), float(fabric.latency[i]))
                around[int(here[i])].append(known)
        keys = [(int(level[i]), int(code[i]), sorted(around[i])) for i in others.tolist()]
        place = sorted(range(len(keys)), key=keys.__getitem__)
        fresh = code.copy()
        for number, i in enumerate(place):
            same = number > 0 and keys[i] == keys[place[number - 1]]
            fresh[others[i]] = fresh[others[place[number - 1]]] if same else fabric.ranks + number
        if (fresh == code).all():
            break
        code = fresh
    place_of = np.empty(len(code), dtype=np.int64)
    place_of[np.argsort(code, kind="stable")] = np.arange(len(code))
    return place_of


def link_order(fabric: Fabric) -> IntArray:
    """The fixed order of links [links]: dimension by dimension; upwards by their first node, then downwards."""
    number = node_order(fabric)
    start, end = number[fabric.source], number[fabric.target]
    down = end < start
    dimension = np.zeros(fabric.links, dtype=np.int64)
    grid = fabric.grid
    if grid is not None:
        ranks = fabric.rank_of_node
        inside = np.flatnonzero((ranks[fabric.source] >= 0) & (ranks[fabric.target] >= 0))
        here, there = (grid.coordinates(ranks[ends[inside]]) for ends in (fabric.source, fabric.target))
        dimension[inside] = (here != there).argmax(axis=1)
    return np.lexsort((np.where(down, -end, end), np.where(down, -start, start), down, dimension))


@jit
def _cut(
    pointer: IntArray,
    link: IntArray,
    weight: FloatArray,
    source: IntArray,
    target: IntArray,
) -> tuple[int, int, int, IntArray, FloatArray, IntArray, IntArray]:
    """Cut routes into paths, the widest onward link first; the first number is a row that is no route, or -1."""
    row_of = np.empty(64, np.int64)
    share_of = np.empty(64)
    end_of = np.empty(64, np.int64)
    path = np.empty(256, np.int64)
    ways, hops = 0, 0
    for r in range(len(pointer) - 1):
        a, b = pointer[r], pointer[r + 1]
        if a == b:
            continue
        left = weight[a:b].copy()
        begin, finish = -1, -1
        for e in range(a, b):
            for side in range(2):
                node = source[link[e]] if side == 0 else target[link[e]]
                net = 0.0
                for k in range(a, b):
                    if source[link[k]] == node:
                        net += weight[k]
                    if target[link[k]] == node:
                        net -= weight[k]
                if abs(net) <= ROUNDING:
                    continue
                if abs(net - 1.0) <= ROUNDING and begin in (-1, node):
                    begin = node
                elif abs(net + 1.0) <= ROUNDING and finish in (-1, node):
                    finish = node
                else:
                    return r, ways, hops, row_of, share_of, end_of, path
        if begin < 0 or finish < 0:
            return r, ways, hops, row_of, share_of, end_of, path
        rest = 1.0
        while rest > ROUNDING:
            first = hops
            node = begin
            width = rest
            while node != finish:
                best = -1
                for k in range(a, b):
                    if (
                        source[link[k]] == node
                        and left[k - a] > ROUNDING
                        and (best < 0 or left[k - a] > left[best - a] * (1 + ROUNDING))
                    ):
                        best = k
                if best < 0 or hops - first > b - a:
                    return r, ways, hops, row_of, share_of, end_of, path
                if hops == len(path):
                    path = np.concatenate((path, np.empty(hops, np.int64)))
                path[hops] = best
                hops += 1
                width = min(width, left[best - a])
                node = target[link[best]]
            for h in range(first, hops):
                left[path[h] - a] -= width
                path[h] = link[path[h]]
            rest -= width
            if ways == len(row_of):
                row_of = np.concatenate((row_of, np.empty(ways, np.int64)))
                share_of = np.concatenate((share_of, np.empty(ways)))
                end_of = np.concatenate((end_of, np.empty(ways, np.int64)))
            row_of[ways] = r
            share_of[ways] = width
            end_of[ways] = hops
            ways += 1
    return -1, ways, hops, row_of, share_of, end_of, path


@jit
def _virtual(pointer: IntArray, link: IntArray) -> IntArray:
    virtual = np.zeros(len(link), np.int64)
    for w in range(len(pointer) - 1):
        for h in range(pointer[w] + 1, pointer[w + 1]):
            virtual[h] = virtual[h - 1] + (1 if link[h] <= link[h - 1] else 0)
    return virtual


def find_ways(program: Program, fabric: Fabric) -> Ways:
    """Cut the routes of a program into plain paths with virtual channels.

    Raises
    ------
    NetworkError
        The program was folded, or has transfers that switches copy or add on the way.
    """
    if len(program.capacity) != fabric.links or (program.count != 1).any():
        raise NetworkError("the packet engine works on programs before folding")
    order = link_order(fabric)
    place = np.empty(fabric.links, dtype=np.int64)
    place[order] = np.arange(fabric.links)
    row = np.repeat(np.arange(program.rows), np.diff(program.route_pointer))
    entry = np.lexsort((place[program.route_link], row))
    odd, ways, hops, rows, shares, ends, path = _cut(
        program.route_pointer.astype(np.int64),
        place[program.route_link][entry].astype(np.int64),
        program.route_weight[entry].astype(np.float64),
        fabric.source[order],
        fabric.target[order],
    )
    if odd >= 0:
        raise NetworkError(
            "the packet engine sends from one accelerator to one other, but switches copy or add this schedule's "
            "transfers on the way",
            "name an algorithm that does not use the network's own multicast and reduction, such as ring",
        )
    pointer = np.concatenate([[0], ends[:ways]]).astype(np.int64)
    link = path[:hops].copy()
    return Ways(rows[:ways].copy(), shares[:ways].copy(), pointer, link, _virtual(pointer, link), order)
