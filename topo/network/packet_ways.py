"""The ways that packets take: every route cut into paths or trees, and virtual channels that cannot deadlock.

Links are put into a fixed order.  A packet starts on virtual channel 0 and goes to the next one whenever its way
goes down in that order, as at the wrap of a ring (the dateline of Dally and Seitz, "Deadlock-free message routing
in multiprocessor interconnection networks", 1987).  So (virtual channel, place in the order) grows along every
way, no cycle of channels can wait for one another, and no network can deadlock, whatever its routes.

A tree through switches that add or copy has virtual channels of its own on each of its links, as aggregation trees
reserve their buffers in switches.  Two trees that meet at several switches could otherwise each hold the room that
the other's missing packet needs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba as nb
import numpy as np

from topo.errors import NetworkError
from topo.fabric import ACCELERATOR, BoolArray, Fabric, FloatArray, IntArray, spread
from topo.network.packet_trees import PATH, cut_trees
from topo.network.program import Program, pointer_from

MOST_ROUNDS = 20
ROUNDING = 1e-9

jit = nb.njit(cache=True, error_model="numpy", nogil=True)


@dataclass(frozen=True, eq=False)
class Ways:
    """The paths and trees of all rows; links are named by their places in the order.

    Parameters
    ----------
    row : int array [ways]
        Row that each way belongs to, ascending.
    share : float array [ways]
        Share of the row.
    pointer : int array [ways + 1]
    link, virtual, phase : int arrays [hops]
        Place of each hop's link in the order, its virtual channel, and its part in a tree, whose links stand in no
        order: ``UP`` to the root, ``OFF`` from it, ``DOWN`` after that; or ``PATH``.
    order : int array [links]
        Link of the fabric at each place.
    """

    row: IntArray
    share: FloatArray
    pointer: IntArray
    link: IntArray
    virtual: IntArray
    phase: IntArray
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
def _ends(
    link: IntArray, weight: FloatArray, source: IntArray, target: IntArray, ending: BoolArray
) -> tuple[int, int]:
    """Where a route begins and ends, or (-1, -1): a tree, or nothing that is a route."""
    begin, finish = -1, -1
    for e in range(len(link)):
        for side in range(2):
            node = source[link[e]] if side == 0 else target[link[e]]
            net = 0.0
            for k in range(len(link)):
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
                return -1, -1
    if begin < 0 or finish < 0 or (len(link) > 1 and not (ending[begin] and ending[finish])):
        return -1, -1
    return begin, finish


@jit
def _cut(
    pointer: IntArray,
    link: IntArray,
    weight: FloatArray,
    source: IntArray,
    target: IntArray,
    ending: BoolArray,
    odd: BoolArray,
) -> tuple[int, int, IntArray, FloatArray, IntArray, IntArray]:
    """Cut routes into paths, the widest onward link first, and mark as odd the rows that are no routes.

    A route of several links begins and ends at ``ending`` nodes.
    """
    row_of = np.empty(64, np.int64)
    share_of = np.empty(64)
    end_of = np.empty(64, np.int64)
    path = np.empty(256, np.int64)
    ways, hops = 0, 0
    for r in range(len(pointer) - 1):
        a, b = pointer[r], pointer[r + 1]
        if a == b:
            continue
        begin, finish = _ends(link[a:b], weight[a:b], source, target, ending)
        odd[r] = begin < 0
        left = weight[a:b].copy()
        rest = 1.0
        ways_before, hops_before = ways, hops
        while rest > ROUNDING and not odd[r]:
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
                    odd[r] = True
                    ways, hops = ways_before, hops_before
                    break
                if hops == len(path):
                    path = np.concatenate((path, np.empty(hops, np.int64)))
                path[hops] = best
                hops += 1
                width = min(width, left[best - a])
                node = target[link[best]]
            if odd[r]:
                break
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
    return ways, hops, row_of, share_of, end_of, path


@jit
def _virtual(pointer: IntArray, link: IntArray) -> IntArray:
    virtual = np.zeros(len(link), np.int64)
    for w in range(len(pointer) - 1):
        for h in range(pointer[w] + 1, pointer[w + 1]):
            virtual[h] = virtual[h - 1] + (1 if link[h] <= link[h - 1] else 0)
    return virtual


def find_ways(program: Program, fabric: Fabric) -> Ways:
    """Cut the routes of a program into paths and trees with virtual channels.

    Raises
    ------
    NetworkError
        The program was folded, or has a route that is neither made of paths nor of trees.
    """
    if len(program.capacity) != fabric.links or (program.count != 1).any():
        raise NetworkError("the packet engine works on programs before folding")
    order = link_order(fabric)
    place = np.empty(fabric.links, dtype=np.int64)
    place[order] = np.arange(fabric.links)
    row = np.repeat(np.arange(program.rows), np.diff(program.route_pointer))
    entry = np.lexsort((place[program.route_link], row))
    pointer = program.route_pointer.astype(np.int64)
    link = place[program.route_link][entry].astype(np.int64)
    weight = program.route_weight[entry].astype(np.float64)
    source, target = fabric.source[order], fabric.target[order]
    ending = fabric.kind == ACCELERATOR
    odd = np.zeros(program.rows, dtype=np.bool_)
    ways, hops, rows, shares, ends, path = _cut(pointer, link, weight, source, target, ending, odd)
    way_link, counts = path[:hops], np.diff(ends[:ways], prepend=0)
    virtual = _virtual(np.concatenate([[0], ends[:ways]]), way_link)
    rows, shares = rows[:ways], shares[:ways]
    phase = np.full(hops, PATH)
    if odd.any():
        found = cut_trees(np.flatnonzero(odd), pointer, link, weight, source, target, ending)
        if found.wrong >= 0:
            raise NetworkError(
                f"transfer {found.wrong} of the schedule takes a route that is neither paths from one accelerator "
                "to one other nor trees through switches",
                "name another algorithm, or the fluid engine",
            )
        layers = int(virtual.max(initial=-1)) + 1
        of_tree = np.repeat(np.arange(len(found.row)), found.counts)
        rows, shares = np.concatenate([rows, found.row]), np.concatenate([shares, found.share])
        counts, way_link = np.concatenate([counts, found.counts]), np.concatenate([way_link, found.link])
        virtual = np.concatenate([virtual, layers + of_tree])
        phase = np.concatenate([phase, found.phase])
        # Ways stand in the order of their rows.
        by_row = np.argsort(rows, kind="stable")
        by_hop = spread(pointer_from(counts), by_row)
        rows, shares, counts = rows[by_row], shares[by_row], counts[by_row]
        way_link, virtual, phase = way_link[by_hop], virtual[by_hop], phase[by_hop]
    return Ways(rows.copy(), shares.copy(), pointer_from(counts), way_link.copy(), virtual, phase, order)
