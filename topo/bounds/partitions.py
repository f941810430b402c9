"""Partition bounds: parts of the fabric as the callers of a gossip.

Contract each part of a partition (a scale-up domain, a slab of a grid) to one caller.  What a schedule sends
between parts is then a gossip among the k parts: an all-reduce takes at least 2(k-1) messages per element
(F. Harary and A. J. Schwenk, see :mod:`topo.bounds.volumes`), each of which leaves a part and enters another;
a broadcast, or the spreading of one block, k-1.  What happens inside a part costs nothing here, in-network
operations of its own switches included.  Switches outside all parts must not copy (for what leaves the parts)
or add (for what enters them).
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from topo.bounds.bound import Bound, plural
from topo.bounds.distances import latency_over
from topo.bounds.elementary_cuts import labellings
from topo.bounds.group import Group
from topo.collective import Collective
from topo.fabric import Fabric, IntArray
from topo.units import format_bandwidth, format_bytes, format_time

_MOST_DIMENSIONS = 4


def partition_bounds(collective: Collective, group: Group) -> list[Bound]:
    """The bound of each partition: by domains, leaves, blocks of ranks, and coordinates of a grid.

    Notes
    -----
    With k parts that hold members, S bytes, and B_out the bandwidth out of all parts together, in seconds:
    all-reduce 2(k-1) S / B_out, or k S / B_out where a switch outside copies; all-gather and broadcast
    (k-1) S / B_out, unless one copies; reduce-scatter and reduce (k-1) S / B_out; likewise into the parts with
    adding for copying and the operations exchanged.  Plus the smallest latency of a route that leaves a part.
    """
    found: list[Bound] = []
    for what, labels in _partitions(group):
        found += _bounds_of(collective, group, what, labels)
    return found


def _partitions(group: Group) -> list[tuple[str, IntArray]]:
    fabric = group.fabric
    if "partitions" not in fabric.cache:
        gridded = fabric.grid is not None and len(fabric.nodes) == fabric.ranks
        fabric.cache["partitions"] = _by_coordinates(fabric) if gridded else labellings(fabric)
    found: list[tuple[str, IntArray]] = fabric.cache["partitions"]
    return found


def _by_coordinates(fabric: Fabric) -> list[tuple[str, IntArray]]:
    """Parts of equal coordinates in some of a grid's dimensions, not in all."""
    grid = fabric.grid
    assert grid is not None
    dimensions = grid.dimensions
    place = grid.coordinates(fabric.rank_of_node)
    found = []
    for number in range(1, len(dimensions)):
        if len(dimensions) > _MOST_DIMENSIONS and 1 < number < len(dimensions) - 1:
            continue
        for chosen in combinations(dimensions, number):
            lengths = tuple(grid.shape[d] for d in chosen)
            labels = np.ravel_multi_index(tuple(place[:, d] for d in chosen), lengths)
            named = " and ".join(map(str, chosen))
            what = f"parts of equal coordinate{'s' if number > 1 else ''} {named}"
            found.append((what, np.asarray(labels, dtype=np.int64)))
    return found


def _messages(operation: str, parts: int, switches_help: bool, towards_many: bool) -> int:
    """Least messages per element out of all parts (or into them, for the time-reversed operation).

    Parameters
    ----------
    towards_many : bool
        Whether this side is the one on which a single message can stand for many.
    """
    if operation == "all-reduce":
        return parts if switches_help else 2 * (parts - 1)
    return 0 if towards_many and switches_help else parts - 1


def _bounds_of(collective: Collective, group: Group, what: str, labels: IntArray) -> list[Bound]:
    fabric, op = group.fabric, collective.operation
    mine = labels[group.nodes]
    if op not in ("all-reduce", "all-gather", "broadcast", "reduce-scatter", "reduce") or (mine < 0).any():
        return []
    holds = np.zeros(int(labels.max()) + 1, dtype=bool)
    holds[mine] = True
    parts = int(holds.sum())
    if parts in (1, group.size):
        return []
    inside = (labels >= 0) & holds[labels]
    a, b = labels[fabric.source], labels[fabric.target]
    spreads = op in ("all-gather", "broadcast")
    found = []
    apart = a != b
    # Where every node is in a part, the links out of parts are those into them.
    leaving, entering = (
        (apart, apart) if inside.all() else (inside[end] & apart for end in (fabric.source, fabric.target))
    )
    for way, crossing, helper, many in (
        ("send", leaving, fabric.multicast, spreads),
        ("take in", entering, fabric.reduce, not spreads),
    ):
        messages = _messages(op, parts, bool((helper & ~inside).any()), many)
        capacity = float(fabric.bandwidth[crossing].sum())
        if not messages or capacity <= 0:
            continue
        volume = messages * float(collective.bytes)
        late = latency_over(group, np.flatnonzero(crossing))
        cables = int(fabric.cables[crossing].sum())
        found.append(
            Bound(
                volume / capacity + late,
                "partition",
                f"the {parts} {_plural(what)} together must {way} {format_bytes(volume)} ({messages} messages per "
                f"byte) and have {format_bandwidth(capacity)} over {plural(cables, 'cable')} "
                f"{'out of' if way == 'send' else 'into'} them; the last bytes travel {format_time(late)}",
                {
                    "family": what,
                    "parts": parts,
                    "messages_per_byte": messages,
                    "direction": way,
                    "bytes": volume,
                    "capacity_Bps": capacity,
                    "cables": cables,
                    "latency_s": late,
                },
                crossing.astype(float),
            )
        )
    return found


def _plural(what: str) -> str:
    if what.startswith("block"):
        return what.replace("block", "blocks", 1)
    return {"scale-up domain": "scale-up domains", "leaf": "leaves"}.get(what, what)
