"""All cables of a regular network as rings: split into 2-factors, which are then merged by exchanges.

Where every node has the same even number 2k of cable ends, the cables fall apart into k sets in which every node has
two (Petersen, "Die Theorie der regulären graphs", 1891): cables are directed along a closed tour of them all, and
the k-regular bipartite graph from senders to receivers falls apart into k perfect matchings.  Each set is a number of
closed walks.  Two sets exchange opposite sides of squares a-b-c-d, which leaves every node its two cables, and mostly
only where that adds no closed walks; in the end each set is one ring, or the search gives up.
"""

from __future__ import annotations

import random

import numpy as np

from topo.fabric import IntArray

EXCHANGES = 20_000
"""Tries before the search gives up."""
UPHILL = 0.02
"""Share of the exchanges that are kept although they add closed walks."""
Pairs = list[list[int]]
"""Of every node its two neighbours in a set; the same one twice where two parallel cables join them."""


def all_rings(ways: IntArray, seed: int = 0) -> list[IntArray] | None:
    """Rings through all nodes that together use every cable once; None where none were found.

    Parameters
    ----------
    ways : int array [nodes, nodes]
        Symmetric; how many cables join two nodes.
    seed : int
        Of the order of tries.

    Returns
    -------
    list of int array [nodes]
        Nodes in the order of each ring.
    """
    ends = ways.sum(axis=1)
    if len(ways) < 3 or (ends != ends[0]).any() or ends[0] == 0 or ends[0] % 2:
        return None
    lots = random.Random(seed)
    onward = _directed(ways, lots)
    sets = [_pairs(matching) for matching in _matchings(onward, int(ends[0]) // 2)]
    counts = [_closed_walks(pairs) for pairs in sets]
    nodes = len(ways)
    for _ in range(EXCHANGES):
        split = [number for number, count in enumerate(counts) if count > 1]
        if not split:
            return [np.asarray(_walk(pairs, 0)) for pairs in sets]
        if len(sets) == 1:
            return None
        one = lots.choice(split)
        other = lots.choice([number for number in range(len(sets)) if number != one])
        a = lots.randrange(nodes)
        b, d = lots.choice(sets[one][a]), lots.choice(sets[other][a])
        corners = [c for c in sets[other][b] if c in sets[one][d]]
        if b == d or not corners:
            continue
        c = lots.choice(corners)
        if c == a:
            continue
        _exchange(sets[one], sets[other], a, b, c, d)
        now = _closed_walks(sets[one]), _closed_walks(sets[other])
        if sum(now) > counts[one] + counts[other] and lots.random() > UPHILL:
            _exchange(sets[other], sets[one], a, b, c, d)
        else:
            counts[one], counts[other] = now
    return None


def _directed(ways: IntArray, lots: random.Random) -> Pairs:
    """Where the cables of each node lead, directed along closed tours: as many leave a node as reach it."""
    left = ways.tolist()
    near = [np.flatnonzero(row).tolist() for row in ways]
    for others in near:
        lots.shuffle(others)
    onward: Pairs = [[] for _ in near]
    for start in range(len(near)):
        at = start
        # With even ends a tour can only get stuck where it began, and then nothing is left there.
        while True:
            while near[at] and not left[at][near[at][-1]]:
                near[at].pop()
            if not near[at]:
                break
            to = near[at][-1]
            left[at][to] -= 1
            left[to][at] -= 1
            onward[at].append(to)
            at = to
    return onward


def _matchings(onward: Pairs, count: int) -> list[list[int]]:
    """Perfect matchings of senders and receivers that together are all directed cables."""
    found = []
    for _ in range(count):
        sender: dict[int, int] = {}
        for start in range(len(onward)):
            _augment(start, onward, sender, set())
        receiver = [0] * len(onward)
        for to, at in sender.items():
            receiver[at] = to
            onward[at].remove(to)
        found.append(receiver)
    return found


def _augment(at: int, onward: Pairs, sender: dict[int, int], seen: set[int]) -> bool:
    """Find a receiver for a sender, others making way where they can (Kuhn's algorithm)."""
    for to in onward[at]:
        if to not in seen:
            seen.add(to)
            if to not in sender or _augment(sender[to], onward, sender, seen):
                sender[to] = at
                return True
    return False


def _pairs(matching: list[int]) -> Pairs:
    pairs: Pairs = [[] for _ in matching]
    for at, to in enumerate(matching):
        pairs[at].append(to)
        pairs[to].append(at)
    return pairs


def _walk(pairs: Pairs, start: int) -> list[int]:
    """The closed walk of a set that passes a node."""
    walk, before, at = [start], start, pairs[start][0]
    while at != start:
        walk.append(at)
        one, other = pairs[at]
        before, at = at, other if one == before else one
    return walk


def _closed_walks(pairs: Pairs) -> int:
    seen = [False] * len(pairs)
    count = 0
    for start in range(len(pairs)):
        if not seen[start]:
            count += 1
            for node in _walk(pairs, start):
                seen[node] = True
    return count


def _exchange(one: Pairs, other: Pairs, a: int, b: int, c: int, d: int) -> None:
    """Of the square a-b-c-d, sides ab and cd pass from one set to the other, bc and da the other way."""
    sides, across = ((a, b), (c, d)), ((b, c), (d, a))
    for pairs, lose, gain in ((one, sides, across), (other, across, sides)):
        for x, y in lose:
            pairs[x].remove(y)
            pairs[y].remove(x)
        for x, y in gain:
            pairs[x].append(y)
            pairs[y].append(x)
