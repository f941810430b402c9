"""Rings over direct links: one that visits all ranks, and as many as share no cable.

Finding a ring through all nodes is hard in general; on the few dozen accelerators of a directly wired machine a
depth-first search that goes next to whoever has the fewest ways left (Warnsdorff's rule) finds one at once.  What it
does not find within its budget it does not claim.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from topo.algorithms.ring_packing import all_rings
from topo.fabric import Fabric, IntArray

MOST_RANKS = 64
"""Ranks up to which rings are looked for."""
BUDGET = 20_000
ATTEMPTS, SEEDS = 20, 4
"""Tries to take one ring after another, and to split all cables into rings."""


def closed_walk(ways: IntArray, lots: IntArray | None = None) -> list[int] | None:
    """A ring through all nodes over positive entries of a matrix of ways; None when none was found.

    Parameters
    ----------
    ways : int array [nodes, nodes]
        Symmetric; how many cables join two nodes.
    lots : int array [nodes], optional
        Which of equally good next nodes comes first: the smaller lot; the node numbers by default.
    """
    nodes = len(ways)
    near = [np.flatnonzero(row).tolist() for row in ways]
    if _lopsided(near):
        return None
    lot = (np.arange(nodes) if lots is None else lots).tolist()
    free = [True] * nodes
    walk = [0]
    free[0] = False

    def onward(at: int) -> list[int]:
        def key(b: int) -> tuple[int, int, int]:
            # Fewest ways left first, then most cables.
            return sum(free[c] for c in near[b]), -int(ways[at, b]), lot[b]

        return sorted((b for b in near[at] if free[b]), key=key, reverse=True)

    stack = [onward(0)]
    for _ in range(BUDGET):
        if not stack:
            return None
        if len(walk) == nodes and ways[walk[-1], 0]:
            return walk
        if not stack[-1] or len(walk) == nodes:
            stack.pop()
            free[walk.pop()] = True
            continue
        chosen = stack[-1].pop()
        walk.append(chosen)
        free[chosen] = False
        stack.append(onward(chosen))
    return None


def _lopsided(near: Sequence[Sequence[int]]) -> bool:
    """Whether two colours, as of a chessboard, fit the graph but not in equal numbers: then no ring can be."""
    colour = {0: 0}
    work = [0]
    while work:
        at = work.pop()
        for other in near[at]:
            if other not in colour:
                colour[other] = 1 - colour[at]
                work.append(other)
            elif colour[other] == colour[at]:
                return False
    return 2 * sum(colour.values()) != len(near)


def cable_units(fabric: Fabric, ranks: IntArray) -> tuple[IntArray, float]:
    """How many units of bandwidth join two ranks of a group directly [ranks, ranks], and the unit, bytes/s.

    The unit is the narrowest direct link; a link counts as often as the unit fits into it, both ways.
    """
    node = fabric.accelerators[ranks]
    count = len(ranks)
    link = fabric.links_between(np.repeat(node, count), np.tile(node, count)).reshape(count, count)
    speed = np.where(link >= 0, fabric.bandwidth[link], 0.0)
    np.fill_diagonal(speed, 0.0)
    speed = np.minimum(speed, speed.T)
    if not speed.any():
        return np.zeros((count, count), dtype=np.int64), 0.0
    unit = float(speed[speed > 0].min())
    return np.floor(speed / unit * (1 + 1e-9)).astype(np.int64), unit


def ring_over_links(fabric: Fabric, ranks: IntArray) -> IntArray | None:
    """An order of a group's ranks in which neighbours, last and first included, are joined directly."""
    if not 3 <= len(ranks) <= MOST_RANKS:
        return None
    key = ("ring", ranks.tobytes())
    if key not in fabric.cache:
        units, _ = cable_units(fabric, ranks)
        found = closed_walk(units) if (np.count_nonzero(units, axis=1) >= 2).all() else None
        fabric.cache[key] = None if found is None else np.asarray(found)
    order: IntArray | None = fabric.cache[key]
    return order


def disjoint_rings(fabric: Fabric, ranks: IntArray) -> tuple[Sequence[IntArray], float]:
    """Rings of a group that share no unit of cable, as many as were found, and the unit, bytes/s."""
    if not 3 <= len(ranks) <= MOST_RANKS:
        return [], 0.0
    key = ("rings", ranks.tobytes())
    if key not in fabric.cache:
        fabric.cache[key] = _disjoint_rings(*cable_units(fabric, ranks))
    found: tuple[Sequence[IntArray], float] = fabric.cache[key]
    return found


def _disjoint_rings(units: IntArray, unit: float) -> tuple[Sequence[IntArray], float]:
    for seed in range(SEEDS):
        every = all_rings(units, seed)
        if every is not None:
            return every, unit
    most = int(units.sum(axis=1).min()) // 2
    best: list[IntArray] = []
    for attempt in range(ATTEMPTS):
        left = units.copy()
        random = np.random.default_rng(attempt)
        found: list[IntArray] = []
        while len(found) < most:
            walk = closed_walk(left, random.permutation(len(units)))
            if walk is None:
                break
            order = np.asarray(walk)
            found.append(order)
            onward = np.roll(order, -1)
            left[order, onward] -= 1
            left[onward, order] -= 1
        if len(found) > len(best):
            best = found
        if len(best) == most:
            break
    return best, unit
