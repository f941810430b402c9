"""Trees of switches that add or copy streams on their way."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from topo.errors import RoutingError
from topo.fabric import SWITCH, Fabric, IntArray, spread
from topo.routes import Routes, routes_from_entries

MOST_KEPT_TREES = 2_000
"""Groups of a fabric whose trees are kept for the next schedule."""


def tree_routes(fabric: Fabric, sources: IntArray, targets: IntArray) -> Routes:
    """One route through switches that joins all ``sources`` to all ``targets``, adding and copying on the way.

    Every switch that is equally near to all members can be the root of the tree; the stream is split over those
    roots in proportion to the narrowest link of each tree.  Ranks are leaves only: no stream passes one.

    Parameters
    ----------
    sources, targets : int arrays
        Ranks that send into the tree and ranks that it delivers to.

    Returns
    -------
    Routes of one transfer.

    Raises
    ------
    RoutingError
        No switch joins the members.
    """
    known: dict[tuple[bytes, bytes], Routes] = fabric.cache.setdefault("trees", {})
    key = (np.asarray(sources).tobytes(), np.asarray(targets).tobytes())
    if key not in known:
        if len(known) > MOST_KEPT_TREES:
            known.clear()
        known[key] = _find_tree(fabric, sources, targets)
    return known[key]


def _find_tree(fabric: Fabric, sources: IntArray, targets: IntArray) -> Routes:
    reducing, copying = len(sources) > 1, len(targets) > 1
    switches = fabric.kind == SWITCH
    able = (fabric.reduce | (not reducing)) & (fabric.multicast | (not copying))
    if switches.any() and not able[switches].any():
        raise _unable(fabric, reducing, copying)
    members = fabric.accelerators[np.unique(np.concatenate([sources, targets]))]
    roots = _roots(fabric, members)
    # Links may lead one way only, and some ranks' switches elsewhere than to a root.
    starts, goals = fabric.accelerators[sources], fabric.accelerators[targets]
    joined = [
        bool(
            (_tree(fabric, root, True)[starts] >= 0).all() and (_tree(fabric, root, False)[goals] >= 0).all()
        )
        for root in roots.tolist()
    ]
    roots = roots[joined]
    if not len(roots):
        raise RoutingError(
            f"no switch of {fabric.name} joins these {len(members)} ranks", "in-network algorithms need one"
        )
    able = able[roots]
    if reducing and copying:
        able &= fabric.adds_and_copies[roots]
    if not able.any():
        raise _unable(fabric, reducing, copying)
    links, widths, latencies = [], [], []
    for root in roots[able]:
        up, up_latency = _branches(fabric, int(root), fabric.accelerators[sources], towards_root=True)
        down, down_latency = _branches(fabric, int(root), fabric.accelerators[targets], towards_root=False)
        used = np.concatenate([up, down])
        links.append(used)
        widths.append(fabric.bandwidth[used].min())
        latencies.append(up_latency + down_latency)
    width = np.asarray(widths)
    fraction = np.repeat(width / width.sum(), [len(used) for used in links])
    link = np.concatenate(links)
    return routes_from_entries(
        1, np.zeros(len(link), dtype=np.int64), link, fraction, np.asarray([max(latencies)]), fabric.links
    )


def _unable(fabric: Fabric, reducing: bool, copying: bool) -> RoutingError:
    lacks = " and ".join(["reduce"] * reducing + ["multicast"] * copying)
    lacks += " in one pass" if reducing and copying else ""
    return RoutingError(
        f"the switches of {fabric.name} that join these ranks cannot {lacks}",
        "take a fabric whose switches can (for example switch:8,in_network=true)",
    )


def _roots(fabric: Fabric, members: IntArray) -> IntArray:
    """Switches with the smallest largest distance to the members, counted over switches only."""
    key = ("roots", members.tobytes())
    if key not in fabric.cache:
        depth = np.zeros(len(fabric.nodes), dtype=np.int64)
        for member in _unlike(fabric, members).tolist():
            distance = _switch_distances(fabric, member)
            depth = np.where((depth < 0) | (distance < 0), -1, np.maximum(depth, distance))
        switches = np.flatnonzero((fabric.kind == SWITCH) & (depth > 0))
        best = int(depth[switches].min()) if len(switches) else 0
        fabric.cache[key] = switches[depth[switches] == best]
    found: IntArray = fabric.cache[key]
    return found


def _unlike(fabric: Fabric, members: IntArray) -> IntArray:
    """Members of which all others are copies: those on the same switches, of switches that lead to a root."""
    switch = fabric.kind == SWITCH
    joining = switch.copy()
    for member in (int(members[0]), int(members[-1])):
        joining &= _switch_distances(fabric, member) > 0
    if not joining.any():
        return members[[0, -1]]  # no switch joins even these
    pointer, order = fabric.incoming
    leading = joining.copy()
    frontier = np.flatnonzero(joining)
    while len(frontier):
        near = fabric.source[order[spread(pointer, frontier)]]
        frontier = np.unique(near[switch[near] & ~leading[near]])
        leading[frontier] = True
    pointer, order = fabric.outgoing
    near = fabric.target[order[spread(pointer, members)]]
    of_member = np.repeat(np.arange(len(members)), pointer[members + 1] - pointer[members])
    of_member, near = of_member[leading[near]], near[leading[near]]
    starts = np.searchsorted(of_member, np.arange(len(members) + 1))
    sets = [near[a:b].tobytes() for a, b in pairwise(starts.tolist())]
    return members[list(dict(zip(reversed(sets), reversed(range(len(sets))), strict=True)).values())]


def _switch_distances(fabric: Fabric, start: int) -> IntArray:
    pointer, order = fabric.outgoing
    distance = np.full(len(fabric.nodes), -1, dtype=np.int64)
    distance[start] = 0
    frontier, level = np.asarray([start]), 0
    while len(frontier):
        level += 1
        found = fabric.target[order[spread(pointer, frontier)]]
        found = np.unique(found[(distance[found] < 0) & (fabric.kind[found] == SWITCH)])
        distance[found] = level
        frontier = found
    return distance


def _branches(fabric: Fabric, root: int, leaves: IntArray, towards_root: bool) -> tuple[IntArray, float]:
    """Links of the tree of shortest ways between a root switch and leaves, and its largest latency."""
    parent = _tree(fabric, root, towards_root)
    used: list[IntArray] = []
    at = leaves.copy()
    latency = np.zeros(len(leaves))
    while (moving := np.flatnonzero(at != root)).size:
        onward = parent[at[moving]]
        ends = (at[moving], onward) if towards_root else (onward, at[moving])
        link = fabric.links_between(*ends)
        latency[moving] += fabric.latency[link]
        used.append(link)
        at[moving] = onward
    return np.unique(np.concatenate(used)), float(latency.max())


def _tree(fabric: Fabric, root: int, towards_root: bool) -> IntArray:
    """The next node towards (or from) a root, for every node that switches join to it; -1 elsewhere."""
    key = ("tree", root, towards_root)
    if key not in fabric.cache:
        fabric.cache[key] = _parents(fabric, root, towards_root)
    found: IntArray = fabric.cache[key]
    return found


def _parents(fabric: Fabric, root: int, towards_root: bool) -> IntArray:
    (pointer, order), ends = (
        (fabric.incoming, fabric.source) if towards_root else (fabric.outgoing, fabric.target)
    )
    parent = np.full(len(fabric.nodes), -1, dtype=np.int64)
    parent[root] = root
    frontier = np.asarray([root])
    while len(frontier):
        counts = pointer[frontier + 1] - pointer[frontier]
        found = ends[order[spread(pointer, frontier)]]
        giver = np.repeat(frontier, counts)
        fresh = parent[found] < 0
        found, first = np.unique(found[fresh], return_index=True)
        parent[found] = giver[fresh][first]
        frontier = found[fabric.kind[found] == SWITCH]
    return parent
