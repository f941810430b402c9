"""The latency bound: news takes at least the smallest sum of link latencies."""

from __future__ import annotations

import numpy as np

from topo.bounds.bound import Bound
from topo.bounds.distances import AFFORDABLE, farthest_pair, from_nodes, latencies_from
from topo.bounds.group import Group
from topo.collective import Collective
from topo.units import format_time


def latency_bound(collective: Collective, group: Group) -> Bound:
    """Bound by the farthest pair of ranks of which one needs what the other has.

    Notes
    -----
    A transfer arrives the sum of its link latencies after its drain, and data may be passed on only after
    arrival, so news from u reaches v no sooner than the smallest sum of latencies over any way from u to v.
    All-reduce, all-gather, reduce-scatter, barrier and a uniform all-to-all: the largest over all pairs;
    broadcast and reduce: the largest from, or to, the root; send-recv: its pair.  Steps of algorithms do not
    enter: a rank may send to all others at once.
    """
    seconds, start, end = _farthest(collective, group)
    a, b = group.label(start), group.label(end)
    return Bound(
        seconds,
        "latency",
        f"the links on the quickest way from {a} to {b} take {format_time(seconds)}",
        {"from": a, "to": b, "latency_s": seconds},
    )


def _farthest(collective: Collective, group: Group) -> tuple[float, int, int]:
    fabric, op, root = group.fabric, collective.operation, collective.root
    if op in ("broadcast", "reduce", "send-recv"):
        reach = latencies_from(group, root, op == "reduce")
        far = collective.peer if op == "send-recv" else int(reach.argmax())
        return (float(reach[far]), far, root) if op == "reduce" else (float(reach[far]), root, far)
    if collective.matrix is not None:
        return _farthest_block(collective, group)
    key = ("farthest", group.key)
    if key not in fabric.cache:
        fabric.cache[key] = farthest_pair(group)
    found: tuple[float, int, int] = fabric.cache[key]
    return found


def _farthest_block(collective: Collective, group: Group) -> tuple[float, int, int]:
    """The farthest pair that exchanges a block, among as many senders as are quickly looked at."""
    fabric, wanted = group.fabric, collective.blocks() > 0
    senders = np.flatnonzero(wanted.any(axis=1))
    if not len(senders):
        return 0.0, 0, 0
    senders = senders[: max(1, AFFORDABLE // fabric.links)]
    table = from_nodes(fabric, group.nodes[senders], fabric.latency)[group.nodes]
    table = np.where(wanted[senders].T, table, 0.0)
    far, near = np.unravel_index(int(table.argmax()), table.shape)
    return float(table[far, near]), int(senders[near]), int(far)
