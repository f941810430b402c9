"""Trees of one switch each, of many streams at once: what :func:`topo.trees.tree_routes` finds one by one.

Where a switch neighbours every member of a stream, no deeper switch can be a root.  Then the trees are stars, and
those of thousands of streams are found together, without a map of the fabric for each switch.
"""

from __future__ import annotations

import numpy as np

from topo.fabric import SWITCH, Fabric, IntArray, spread
from topo.routes import Routes, routes_from_entries


def star_routes(
    fabric: Fabric, senders: tuple[IntArray, IntArray], receivers: tuple[IntArray, IntArray]
) -> Routes | None:
    """Routes of streams through the switches that neighbour all their members.

    Parameters
    ----------
    senders, receivers : (int array [streams + 1], int array)
        Ranks of the fabric that send into each stream and that it delivers to, as (pointer, ranks).

    Returns
    -------
    Routes or None
        None where some stream has no such switch, or none that can do what it must.
    """
    streams, nodes = len(senders[0]) - 1, len(fabric.nodes)
    sends, takes = (np.diff(pointer) for pointer, _ in (senders, receivers))
    source, target = (
        np.unique(np.repeat(np.arange(streams), count) * nodes + fabric.accelerators[ranks])
        for count, (_, ranks) in ((sends, senders), (takes, receivers))
    )
    member = np.union1d(source, target)
    stream, switch, _ = _next_to(fabric, member, outwards=True)
    root, met = np.unique(stream * nodes + switch, return_counts=True)
    root = root[met == np.bincount(member // nodes, minlength=streams)[root // nodes]]
    if (np.bincount(root // nodes, minlength=streams) == 0).any():
        return None
    up, up_link = _to_roots(fabric, source, root, outwards=True)
    down, down_link = _to_roots(fabric, target, root, outwards=False)
    heard = np.bincount(target // nodes, minlength=streams)[root // nodes]
    if (np.bincount(down, minlength=len(root)) != heard).any():
        return None  # a root that reaches some receivers by other switches
    adds, copies = sends[root // nodes] > 1, takes[root // nodes] > 1
    at = root % nodes
    able = (fabric.reduce[at] | ~adds) & (fabric.multicast[at] | ~copies)
    able &= fabric.adds_and_copies[at] | ~(adds & copies)
    if (np.bincount(root[able] // nodes, minlength=streams) == 0).any():
        return None
    latency = np.zeros(len(root))
    for of_root, link in ((up, up_link), (down, down_link)):
        farthest = np.zeros(len(root))
        np.maximum.at(farthest, of_root, fabric.latency[link])
        latency += farthest
    of_root, link = np.concatenate([up, down]), np.concatenate([up_link, down_link])
    width = np.full(len(root), np.inf)
    np.minimum.at(width, of_root, fabric.bandwidth[link])
    width = np.where(able, width, 0.0)
    share = width / np.bincount(root // nodes, width, streams)[root // nodes]
    slowest = np.zeros(streams)
    np.maximum.at(slowest, root[able] // nodes, latency[able])
    used = able[of_root]
    of_root, link = of_root[used], link[used]
    return routes_from_entries(streams, root[of_root] // nodes, link, share[of_root], slowest, fabric.links)


def _next_to(fabric: Fabric, member: IntArray, outwards: bool) -> tuple[IntArray, IntArray, IntArray]:
    """Stream, neighbouring switch and link for every link from (or to) a switch of members, stream x nodes + node."""
    pointer, order = fabric.outgoing if outwards else fabric.incoming
    node = member % len(fabric.nodes)
    link = order[spread(pointer, node)]
    stream = np.repeat(member // len(fabric.nodes), pointer[node + 1] - pointer[node])
    other = (fabric.target if outwards else fabric.source)[link]
    chosen = fabric.kind[other] == SWITCH
    return stream[chosen], other[chosen], link[chosen]


def _to_roots(fabric: Fabric, member: IntArray, root: IntArray, outwards: bool) -> tuple[IntArray, IntArray]:
    """Root (by place) and link for every link between members and the roots of their streams."""
    stream, switch, link = _next_to(fabric, member, outwards)
    key = stream * len(fabric.nodes) + switch
    place = np.minimum(np.searchsorted(root, key), len(root) - 1)
    chosen = root[place] == key
    return place[chosen], link[chosen]
