"""Split shortest ways of scattered pairs, found from both ends at once.

For a pair in a large fabric it is enough to look at what is near its two ends: breadth-first search runs from both
until they meet, from the side with the smaller frontier, for many pairs together.
"""

from __future__ import annotations

import numpy as np

from topo.fabric import Fabric, FloatArray, IntArray, spread, sums

Ways = tuple[IntArray, IntArray, FloatArray, FloatArray]
PAIRS = 4096
"""Pairs that are searched together."""


def meeting_ways(fabric: Fabric, source: IntArray, target: IntArray) -> Ways:
    """Split ways between nodes.

    Parameters
    ----------
    fabric : Fabric
    source, target : int arrays [pairs]
        Nodes; a way from each to each exists.

    Returns
    -------
    (pair, link, share) entries, and the largest latency over the ways of each pair.
    """
    parts = [
        _ways(fabric, source[at : at + PAIRS], target[at : at + PAIRS]) for at in range(0, len(source), PAIRS)
    ]
    return (
        np.concatenate([part[0] + k * PAIRS for k, part in enumerate(parts)]),
        np.concatenate([part[1] for part in parts]),
        np.concatenate([part[2] for part in parts]),
        np.concatenate([part[3] for part in parts]),
    )


class _Side:
    """The search from one end; keys are pair * nodes + node."""

    def __init__(self, table: tuple[IntArray, IntArray], ends: IntArray, start: IntArray, nodes: int) -> None:
        self.pointer, self.order = table
        self.ends = ends
        self.nodes = nodes
        self.levels = [np.arange(len(start)) * nodes + start]
        self.seen = self.levels[0]

    def onward(self, keys: IntArray) -> tuple[IntArray, IntArray, IntArray]:
        """Links from some keys: place in ``keys``, link, key reached."""
        pair, node = np.divmod(keys, self.nodes)
        link = self.order[spread(self.pointer, node)]
        entry = np.repeat(np.arange(len(keys)), self.pointer[node + 1] - self.pointer[node])
        return entry, link, pair[entry] * self.nodes + self.ends[link]

    def cost(self, keys: IntArray) -> int:
        """Links from some keys."""
        node = keys % self.nodes
        return int((self.pointer[node + 1] - self.pointer[node]).sum())

    def advance(self, open_pairs: np.ndarray) -> IntArray:
        """One level further for the pairs that have not met."""
        frontier = self.levels[-1]
        frontier = frontier[open_pairs[frontier // self.nodes]]
        found = _sorted_unique(self.onward(frontier)[2])
        found = np.asarray(found[~_among(found, self.seen)], dtype=np.int64)
        self.levels.append(found)
        self.seen = np.sort(np.concatenate([self.seen, found]), kind="stable")
        return found


def _sorted_unique(keys: IntArray) -> IntArray:
    keys = np.sort(keys)
    fresh = np.ones(len(keys), dtype=bool)
    fresh[1:] = keys[1:] != keys[:-1]
    found: IntArray = keys[fresh]
    return found


def _among(keys: IntArray, known: IntArray) -> np.ndarray:
    """Which keys are among known ones, which are sorted."""
    if not len(known):
        return np.zeros(len(keys), dtype=bool)
    return np.asarray(known[np.minimum(np.searchsorted(known, keys), len(known) - 1)] == keys)


def _ways(fabric: Fabric, source: IntArray, target: IntArray) -> Ways:
    nodes, count = len(fabric.nodes), len(source)
    ahead = _Side(fabric.outgoing, fabric.target, source, nodes)
    behind = _Side(fabric.incoming, fabric.source, target, nodes)
    open_pairs = np.ones(count, dtype=bool)
    # Levels from either end at which each pair met, and where.
    meeting: list[tuple[int, int, IntArray]] = []
    while open_pairs.any():
        near = [side.levels[-1][open_pairs[side.levels[-1] // nodes]] for side in (ahead, behind)]
        onward, other = (ahead, behind) if ahead.cost(near[0]) <= behind.cost(near[1]) else (behind, ahead)
        found = onward.advance(open_pairs)
        met = found[_among(found, other.levels[-1])]
        if len(met):
            meeting.append((len(ahead.levels) - 1, len(behind.levels) - 1, met))
            open_pairs[np.unique(met // nodes)] = False
        elif not len(found):
            break
    parts = [_split(fabric, ahead, behind, *levels) for levels in meeting]
    late = np.zeros(count)
    for part in parts:
        late[part[3]] = part[4]
    pair, link, share = (np.concatenate([np.zeros(0), *(part[k] for part in parts)]) for k in range(3))
    return pair.astype(np.int64), link.astype(np.int64), share, late


def _joining(
    ahead: _Side, behind: _Side, keys: IntArray, following: IntArray
) -> tuple[IntArray, IntArray, IntArray]:
    """Links from some keys to some that follow, both sorted: place in ``keys``, link, key reached.

    Looked for from the side with fewer links: a spine switch has thousands, the leaf below it few.
    """
    if ahead.cost(keys) <= behind.cost(following):
        entry, link, reached = ahead.onward(keys)
        used = _among(reached, following)
        return entry[used], link[used], reached[used]
    place, link, left = behind.onward(following)
    used = _among(left, keys)
    return np.searchsorted(keys, left[used]), link[used], following[place[used]]


def _split(
    fabric: Fabric, ahead: _Side, behind: _Side, out: int, back: int, met: IntArray
) -> tuple[IntArray, IntArray, FloatArray, IntArray, FloatArray]:
    """Share a transfer of each pair over its shortest ways, hop by hop in proportion to bandwidth."""
    nodes = ahead.nodes
    pairs = np.zeros(len(ahead.levels[0]), dtype=bool)
    pairs[met // nodes] = True
    # Nodes on shortest ways by distance from the source; beyond the meeting all that are near the target.
    on_way: list[IntArray] = [met]
    for level in range(out - 1, -1, -1):
        keys = ahead.levels[level]
        keys = keys[pairs[keys // nodes]]
        entry, _, _ = _joining(ahead, behind, keys, on_way[0])
        on_way.insert(0, keys[np.bincount(entry, minlength=len(keys)) > 0])
    on_way += [behind.levels[level] for level in range(back - 1, -1, -1)]
    keys = on_way[0]
    share, late = np.ones(len(keys)), np.zeros(len(keys))
    rows, links, shares = [], [], []
    for following in on_way[1:]:
        entry, link, reached = _joining(ahead, behind, keys, following)
        width = sums(entry, fabric.bandwidth[link], len(keys))
        part = share[entry] * fabric.bandwidth[link] / width[entry]
        rows.append(keys[entry] // nodes)
        links.append(link)
        shares.append(part)
        keys, at = np.unique(reached, return_inverse=True)
        latest = np.zeros(len(keys))
        np.maximum.at(latest, at, late[entry] + fabric.latency[link])
        share, late = sums(at, part, len(keys)), latest
    return np.concatenate(rows), np.concatenate(links), np.concatenate(shares), keys // nodes, late
