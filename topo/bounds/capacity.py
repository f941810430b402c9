"""The capacity bound: bytes times the links that each must hold, over what all links carry."""

from __future__ import annotations

import numpy as np

from topo.bounds.bound import Bound
from topo.bounds.distances import hop_table, nearest_other, total_hops
from topo.bounds.group import Group
from topo.collective import Collective
from topo.units import format_bandwidth, format_bytes, format_time


def capacity_bound(collective: Collective, group: Group) -> Bound | None:
    """Bound by total link capacity, or None where none holds or it takes long to find.

    Notes
    -----
    A byte that travels d links holds d link-bytes.  All-to-all: each block takes at least the fewest links
    between its two ranks.  All-reduce without in-network help takes 2(N-1) messages per element (see
    :mod:`topo.bounds.volumes`), at least one of which leaves each rank, and a message takes at least the
    links to the nearest other rank.  All-gather, broadcast: each rank receives each byte it lacks, over at
    least the links from the nearest other rank, unless switches copy; reduce-scatter, reduce: the same in
    reverse, unless switches add.  Time >= link-bytes / sum of link bandwidths + least latency of a route.
    """
    fabric = group.fabric
    work = _link_bytes(collective, group)
    if work is None or work <= 0:
        return None
    late = _nearest(group, "latency")[0]
    least = float(late.min())
    total = float(fabric.bandwidth.sum())
    return Bound(
        work / total + least,
        "capacity",
        f"bytes times links on their shortest ways come to {format_bytes(work)} and all {fabric.links} links "
        f"together carry {format_bandwidth(total)}; the last bytes travel {format_time(least)}",
        {"link_bytes": work, "capacity_Bps": total, "links": fabric.links, "latency_s": least},
        np.ones(fabric.links),
    )


def _nearest(group: Group, what: str) -> tuple[np.ndarray, np.ndarray]:
    fabric = group.fabric
    key = ("nearest" if what == "latency" else "nearest hops", group.key)
    if key not in fabric.cache:
        weight = fabric.latency if what == "latency" else np.ones(fabric.links)
        fabric.cache[key] = nearest_other(group, weight)
    found: tuple[np.ndarray, np.ndarray] = fabric.cache[key]
    return found


def _link_bytes(collective: Collective, group: Group) -> float | None:
    """Least bytes times links; None where no such count holds."""
    fabric, n, size, op = group.fabric, group.size, float(collective.bytes), collective.operation
    copies, adds = bool(fabric.multicast.any()), bool(fabric.reduce.any())
    if op == "all-to-all":
        if collective.matrix is not None:
            table = hop_table(group)
            return None if table is None else float((collective.blocks() * table.T).sum())
        total = total_hops(group)
        return None if total is None else size / n * total
    if op in ("barrier", "send-recv"):
        return None
    out, into = _nearest(group, "hops")
    if op == "all-reduce":
        nearest = float(min(out.min(), into.min()))
        sends = float(max(out.sum(), into.sum())) + (n - 2) * nearest
        return None if copies or adds else size * sends
    if op in ("all-gather", "broadcast"):
        if copies:
            return None
        hops = (n - 1) / n * into.sum() if op == "all-gather" else np.delete(into, collective.root).sum()
        return size * float(hops)
    if adds:
        return None
    hops = (n - 1) / n * out.sum() if op == "reduce-scatter" else np.delete(out, collective.root).sum()
    return size * float(hops)
