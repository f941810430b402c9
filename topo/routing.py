"""The ways through a fabric: which links a transfer holds, and which share of it each link carries.

Three rules.  *Shortest*: fewest links; where several next links lead on a shortest way, the transfer is split
over them in proportion to their bandwidth (as ECMP over equal cables does), hop by hop.  *Dimension order*, on
tori and meshes: dimension after dimension, the shorter way round, a half-ring tie split in two.  *ECMP*: one
shortest way drawn at random, hop by hop, with a seed.

Between accelerators of one scale-up domain no way leaves the domain, however much shorter it would be over two
network interfaces, unless the domain's own links do not join them: libraries take the scale-up links.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from topo.errors import RoutingError
from topo.fabric import Fabric, FloatArray, IntArray, spread, sums
from topo.meeting import meeting_ways
from topo.routes import Routes as Routes
from topo.routes import routes_from_entries as routes_from_entries
from topo.trees import tree_routes as tree_routes
from topo.within import at_home

POLICIES = ("auto", "shortest", "dimension-order", "ecmp")


def find_routes(
    fabric: Fabric, source: IntArray, target: IntArray, policy: str = "auto", seed: int = 0
) -> Routes:
    """Routes between pairs of ranks.

    Parameters
    ----------
    fabric : Fabric
    source, target : int arrays [transfers]
        Ranks; a pair may repeat.
    policy : str
        ``auto`` takes the fabric's own routing.
    seed : int
        For ``ecmp``: every transfer draws its own way.

    Raises
    ------
    RoutingError
        Unknown policy, dimension order asked of a fabric without a plain grid, or a pair from a rank to itself.
    """
    if policy not in POLICIES:
        raise RoutingError(f"routing {policy!r} is unknown", f"one of {', '.join(POLICIES)}")
    source, target = np.asarray(source, dtype=np.int64), np.asarray(target, dtype=np.int64)
    if not len(source):
        none = np.zeros(0, dtype=np.int64)
        return Routes(np.zeros(1, dtype=np.int64), none, np.zeros(0), np.zeros(0))
    if (source == target).any():
        raise RoutingError(f"rank {int(source[source == target][0])} has no route to itself")
    if policy == "ecmp":
        random = np.random.default_rng(seed)
        return at_home(fabric, source, target, partial(_ecmp, random=random))
    keys, back = np.unique(source * fabric.ranks + target, return_inverse=True)
    pairs = (keys // fabric.ranks, keys % fabric.ranks)
    by_dimension = (fabric.routing if policy == "auto" else policy) == "dimension-order"
    if by_dimension and (fabric.grid is None or fabric.grid.twisted):
        raise RoutingError(f"{fabric.name} has no plain grid to route by dimension", "use shortest")
    unique = _dimension_order(fabric, *pairs) if by_dimension else at_home(fabric, *pairs, _shortest)
    if len(keys) == len(source) and (back == np.arange(len(back))).all():
        return unique
    return unique.take(back)


# ---------------------------------------------------------------------------------------- dimension order


def _dimension_order(fabric: Fabric, source: IntArray, target: IntArray) -> Routes:
    grid = fabric.grid
    assert grid is not None
    pair = np.arange(len(source))
    share = np.ones(len(source))
    steps = np.empty((len(source), len(grid.shape)), dtype=np.int64)
    here, there = grid.coordinates(source), grid.coordinates(target)
    for d, length in enumerate(grid.shape):
        ahead = there[:, d] - here[:, d]
        if grid.wrap[d] and length > 1:
            ahead = ahead % length
            ahead = np.where(2 * ahead > length, ahead - length, ahead)
        steps[:, d] = ahead
    for d, length in enumerate(grid.shape):
        if not grid.wrap[d]:
            continue
        tie = np.flatnonzero((2 * steps[:, d] == length) & (length > 1))
        if len(tie):
            share[tie] /= 2
            other = steps[tie].copy()
            other[:, d] *= -1
            pair, share = np.concatenate([pair, pair[tie]]), np.concatenate([share, share[tie]])
            steps = np.concatenate([steps, other])
    rows, links, shares = [], [], []
    latency = np.zeros(len(pair))
    lost = np.zeros(len(pair), dtype=bool)
    at = source[pair].copy()
    for d in grid.dimensions:
        left = steps[:, d].copy()
        while (moving := np.flatnonzero(left)).size:
            for direction in (1, -1):
                chosen = moving[np.sign(left[moving]) == direction]
                if not len(chosen):
                    continue
                onward = grid.neighbours(at[chosen], d, direction)
                nodes = fabric.accelerators
                link = fabric.links_between(nodes[at[chosen]], np.where(onward < 0, -1, nodes[onward]))
                dead = link < 0
                lost[chosen[dead]] = True
                rows.append(chosen[~dead])
                links.append(link[~dead])
                shares.append(share[chosen[~dead]])
                latency[chosen[~dead]] += fabric.latency[link[~dead]]
                at[chosen] = onward
            left[moving] -= np.sign(left[moving])
    row, link = np.concatenate(rows), np.concatenate(links)
    fraction = np.concatenate(shares)
    worst = np.zeros(len(source))
    np.maximum.at(worst, pair, latency)
    broken = np.unique(pair[lost])
    if not len(broken):
        return routes_from_entries(len(source), pair[row], link, fraction, worst, fabric.links)
    # A dead link on the way: those pairs take the shortest ways that are left.
    keep = ~np.isin(pair[row], broken)
    detour = _shortest(fabric, source[broken], target[broken])
    worst[broken] = detour.latency
    return routes_from_entries(
        len(source),
        np.concatenate([pair[row[keep]], broken[detour.rows()]]),
        np.concatenate([link[keep], detour.link]),
        np.concatenate([fraction[keep], detour.fraction]),
        worst,
        fabric.links,
    )


# ----------------------------------------------------------------------------------------------- shortest


def distances_to(fabric: Fabric, node: int, wanted: IntArray | None = None) -> IntArray:
    """Fewest links from every node to ``node``; -1 where not yet known.

    With ``wanted`` the search ends when all of those nodes are reached.
    """
    pointer, order = fabric.incoming
    distance = np.full(len(fabric.nodes), -1, dtype=np.int64)
    distance[node] = 0
    frontier = np.asarray([node])
    level = 0
    while len(frontier):
        if wanted is not None and (distance[wanted] >= 0).all():
            break
        level += 1
        found = fabric.source[order[spread(pointer, frontier)]]
        found = found[distance[found] < 0]
        distance[found] = level
        frontier = np.unique(found)
    return distance


def _shortest(fabric: Fabric, source: IntArray, target: IntArray) -> Routes:
    direct = fabric.links_between(fabric.accelerators[source], fabric.accelerators[target])
    near = np.flatnonzero(direct >= 0)
    far = np.flatnonzero(direct < 0)
    latency = np.zeros(len(source))
    latency[near] = fabric.latency[direct[near]]
    two = _two_links(fabric, fabric.accelerators[source[far]], fabric.accelerators[target[far]])
    rows, links, shares = [near, far[two[0]]], [direct[near], two[1]], [np.ones(len(near)), two[2]]
    np.maximum.at(latency, far[two[0]], two[3])
    far = far[np.bincount(two[0], minlength=len(far)) == 0]
    if len(far):
        longer = _long_ways(fabric, source[far], target[far])
        rows.append(far[longer.rows()])
        links.append(longer.link)
        shares.append(longer.fraction)
        latency[far] = longer.latency
    return routes_from_entries(
        len(source),
        np.concatenate(rows),
        np.concatenate(links),
        np.concatenate(shares),
        latency,
        fabric.links,
    )


MOST_KEPT_WAYS = 20_000
"""Pairs of a fabric whose ways are kept for the next schedule."""
SMALL = 2_000
"""Links of a fabric that is searched whole without a thought."""
FEW_SOURCES = 8
"""Sources of a target on average below which ways are searched from both ends."""


def _long_ways(fabric: Fabric, source: IntArray, target: IntArray) -> Routes:
    """Split ways of pairs that are more than two links apart; what was found before is kept, where it is little."""
    if len(source) > MOST_KEPT_WAYS:
        return _search_ways(fabric, source, target)
    known: dict[tuple[int, int], tuple[IntArray, FloatArray, float]] = fabric.cache.setdefault("ways", {})
    if len(known) > MOST_KEPT_WAYS:
        known.clear()
    pairs = list(zip(source.tolist(), target.tolist(), strict=True))
    missing = [k for k, pair in enumerate(pairs) if pair not in known]
    if missing:
        new = _search_ways(fabric, source[missing], target[missing])
        ends = new.pointer[1:-1]
        ways = zip(np.split(new.link, ends), np.split(new.fraction, ends), new.latency.tolist(), strict=True)
        for k, way in zip(missing, ways, strict=True):
            known[pairs[k]] = way
    found = [known[pair] for pair in pairs]
    return Routes(
        np.cumsum([0] + [len(links) for links, _, _ in found]),
        np.concatenate([links for links, _, _ in found]),
        np.concatenate([shares for _, shares, _ in found]),
        np.asarray([late for _, _, late in found]),
    )


def _search_ways(fabric: Fabric, source: IntArray, target: IntArray) -> Routes:
    """Split ways of pairs: by one search for each target, or from both ends where few go to the same."""
    nodes = fabric.accelerators
    goals, of_goal = np.unique(target, return_inverse=True)
    if fabric.links > SMALL and len(source) < FEW_SOURCES * len(goals):
        pair, link, share, latency = meeting_ways(fabric, nodes[source], nodes[target])
        return routes_from_entries(len(source), pair, link, share, latency, fabric.links)
    by_goal = np.argsort(of_goal, kind="stable")
    parts: list[tuple[IntArray, IntArray, FloatArray]] = []
    latency = np.zeros(len(source))
    for goal, which in zip(
        goals.tolist(), np.split(by_goal, np.cumsum(np.bincount(of_goal))[:-1]), strict=True
    ):
        who, link, share, late = _split_ways(fabric, nodes[source[which]], int(nodes[goal]))
        parts.append((which[who], link, share))
        latency[which] = late
    pair, link = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
    return routes_from_entries(
        len(source), pair, link, np.concatenate([part[2] for part in parts]), latency, fabric.links
    )


def _two_links(
    fabric: Fabric, source: IntArray, target: IntArray
) -> tuple[IntArray, IntArray, FloatArray, FloatArray]:
    """Split ways of two links between nodes, all pairs at once: (pair, link, share, latency of that way)."""
    pointer, order = fabric.outgoing
    onward = order[spread(pointer, source)]
    pair = np.repeat(np.arange(len(source)), pointer[source + 1] - pointer[source])
    last = fabric.links_between(fabric.target[onward], target[pair])
    pair, onward, last = pair[last >= 0], onward[last >= 0], last[last >= 0]
    width = sums(pair, fabric.bandwidth[onward], len(source))
    share = fabric.bandwidth[onward] / width[pair]
    late = fabric.latency[onward] + fabric.latency[last]
    return (
        np.concatenate([pair, pair]),
        np.concatenate([onward, last]),
        np.concatenate([share, share]),
        np.concatenate([late, late]),
    )


def _split_ways(
    fabric: Fabric, sources: IntArray, target: int
) -> tuple[IntArray, IntArray, FloatArray, FloatArray]:
    """Split ways from some nodes to one: (place in ``sources``, link, share) entries and latency by source."""
    distance = distances_to(fabric, target, sources)
    pointer, order = fabric.outgoing
    rows, links, shares = [], [], []
    # Share of each source's transfer at each node, and the longest latency so far, as loose entries by level.
    level = int(distance[sources].max())
    who = np.zeros(0, dtype=np.int64)
    node = np.zeros(0, dtype=np.int64)
    share = np.zeros(0)
    late = np.zeros(0)
    result = np.zeros(len(sources))
    while level > 0:
        starting = np.flatnonzero(distance[sources] == level)
        who = np.concatenate([who, starting])
        node = np.concatenate([node, sources[starting]])
        share = np.concatenate([share, np.ones(len(starting))])
        late = np.concatenate([late, np.zeros(len(starting))])
        counts = pointer[node + 1] - pointer[node]
        if counts.sum() > fabric.links:
            # Many ways pass switches of many ports: only the links that lead on are looked at from here.
            pointer, order = _leading_on(fabric, distance)
            counts = pointer[node + 1] - pointer[node]
        link = order[spread(pointer, node)]
        entry = np.repeat(np.arange(len(node)), counts)
        onward = distance[fabric.target[link]] == level - 1
        link, entry = link[onward], entry[onward]
        width = np.bincount(entry, fabric.bandwidth[link], len(node))
        part = share[entry] * fabric.bandwidth[link] / width[entry]
        rows.append(who[entry])
        links.append(link)
        shares.append(part)
        key, back = np.unique(who[entry] * len(fabric.nodes) + fabric.target[link], return_inverse=True)
        reached = np.zeros(len(key))
        np.maximum.at(reached, back, late[entry] + fabric.latency[link])
        share = sums(back, part, len(key))
        who, node, late = key // len(fabric.nodes), key % len(fabric.nodes), reached
        level -= 1
    result[who] = late
    return np.concatenate(rows), np.concatenate(links), np.concatenate(shares), result


def _leading_on(fabric: Fabric, distance: IntArray) -> tuple[IntArray, IntArray]:
    """Links out of each node that bring the goal of some distances nearer, as a compressed table."""
    pointer, order = fabric.outgoing
    nearer = distance[fabric.target[order]] == distance[fabric.source[order]] - 1
    nearer &= distance[fabric.target[order]] >= 0
    kept = np.concatenate([[0], np.cumsum(nearer)])
    return kept[pointer], order[nearer]


def _ecmp(fabric: Fabric, source: IntArray, target: IntArray, random: np.random.Generator) -> Routes:
    nodes = fabric.accelerators
    pointer, order = fabric.outgoing
    rows, links = [], []
    latency = np.zeros(len(source))
    for goal in np.unique(target):
        group = np.flatnonzero(target == goal)
        distance = distances_to(fabric, int(nodes[goal]), nodes[source[group]])
        at = nodes[source[group]].copy()
        while (moving := np.flatnonzero(at != nodes[goal])).size:
            counts = pointer[at[moving] + 1] - pointer[at[moving]]
            link = order[spread(pointer, at[moving])]
            entry = np.repeat(np.arange(len(moving)), counts)
            onward = distance[fabric.target[link]] == distance[at[moving]][entry] - 1
            link, entry = link[onward], entry[onward]
            # The largest of exponential draws with rates 1/weight picks each link in proportion to its weight.
            draw = random.exponential(size=len(link)) / fabric.bandwidth[link]
            best = np.lexsort((draw, entry))
            first = np.unique(entry[best], return_index=True)[1]
            chosen = link[best[first]]
            rows.append(group[moving])
            links.append(chosen)
            latency[group[moving]] += fabric.latency[chosen]
            at[moving] = fabric.target[chosen]
    row, link = np.concatenate(rows), np.concatenate(links)
    return routes_from_entries(len(source), row, link, np.ones(len(row)), latency, fabric.links)
