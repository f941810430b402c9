"""Cuts that are quick to look at: slabs of a grid, scale-up domains, leaves, blocks of ranks.

Every node set gives a valid bound; accelerators that take no part, switches and NICs stand on the side of
most of their bandwidth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from topo.bounds.bound import Bound, listed, node_labels, plural
from topo.bounds.distances import latency_over
from topo.bounds.group import Group
from topo.bounds.symmetry import lattice_of
from topo.bounds.volumes import crossing_volume
from topo.collective import Collective
from topo.errors import BoundError
from topo.fabric import ACCELERATOR, BoolArray, Fabric, FloatArray, IntArray
from topo.units import format_bandwidth, format_bytes, format_time

MOST_CELLS = 256
_KEPT = 64


def cut_bounds(collective: Collective, group: Group) -> list[Bound]:
    """The tightest cut of each family: one for each grid dimension, domains, leaves, blocks of ranks.

    Notes
    -----
    The bytes that must leave a set, over the bandwidth of the links that leave it (volumes:
    :func:`topo.bounds.volumes.crossing_volume`), plus the smallest latency of a route over such a link.
    """
    fabric = group.fabric
    found = []
    if fabric.grid is not None:
        found = [_slab_cut(collective, group, dimension) for dimension in fabric.grid.dimensions]
    if fabric.grid is None or len(fabric.nodes) != fabric.ranks:
        for what, labels in labellings(fabric):
            found.append(_labelled_cut(collective, group, what, labels))
    return [bound for bound in found if bound is not None]


# ---------------------------------------------------------------------------------------------- sides


def majority(fabric: Fabric, labels: IntArray, everyone: bool) -> IntArray:
    """Extend labels to unlabelled nodes (-1) by the bandwidth of their links to labelled ones.

    Parameters
    ----------
    labels : int array [nodes]
        -1 where not known.
    everyone : bool
        Label every node by the most; otherwise only nodes with at least half of their bandwidth to one label.
    """
    labels = labels.copy()
    near = np.concatenate([fabric.source, fabric.target])
    far = np.concatenate([fabric.target, fabric.source])
    width = np.concatenate([fabric.bandwidth, fabric.bandwidth])
    whole = np.bincount(near, width, len(labels))
    while (open_ := np.flatnonzero((labels[near] < 0) & (labels[far] >= 0))).size:
        span = int(labels.max()) + 1
        key, back = np.unique(near[open_] * span + labels[far[open_]], return_inverse=True)
        weight = np.bincount(back, width[open_])
        node, label = key // span, key % span
        order = np.lexsort((weight, node))
        last = order[np.flatnonzero(np.diff(node[order], append=-1))]
        chosen = last if everyone else last[2 * weight[last] >= whole[node[last]] * (1 - 1e-12)]
        if not len(chosen):
            break
        labels[node[chosen]] = label[chosen]
    return labels


def labellings(fabric: Fabric) -> list[tuple[str, IntArray]]:
    """Families of node sets: (what the sets are, label of each node or -1)."""
    if "labellings" not in fabric.cache:
        fabric.cache["labellings"] = _find_labellings(fabric)
    found: list[tuple[str, IntArray]] = fabric.cache["labellings"]
    return found


def _find_labellings(fabric: Fabric) -> list[tuple[str, IntArray]]:
    unknown = np.full(len(fabric.nodes), -1, dtype=np.int64)
    found = []
    if fabric.domains > 1:
        labels = unknown.copy()
        labels[fabric.accelerators] = fabric.domain
        found.append(("scale-up domain", labels))
    leaf = _only_neighbour(fabric)
    if len(np.unique(leaf)) > 1 and (leaf >= 0).any():
        labels = unknown.copy()
        labels[fabric.accelerators] = leaf
        labels[leaf[leaf >= 0]] = leaf[leaf >= 0]
        found.append(("leaf", labels))
    blocks = 2
    while blocks <= min(fabric.ranks, 64):
        labels = unknown.copy()
        labels[fabric.accelerators] = np.arange(fabric.ranks) * blocks // fabric.ranks
        found.append((f"block of 1/{blocks} of the ranks", labels))
        blocks *= 2
    return [(what, majority(fabric, labels, False)) for what, labels in found]


def _only_neighbour(fabric: Fabric) -> IntArray:
    """The switch or NIC to which all links of an accelerator lead, -1 where there is no such one [ranks]."""
    count = len(fabric.nodes)
    low, high = np.full(count, count), np.full(count, -1)
    np.minimum.at(low, fabric.source, fabric.target)
    np.maximum.at(high, fabric.source, fabric.target)
    alone = np.where(low == high, high, -1)[fabric.accelerators]
    return np.asarray(np.where((alone >= 0) & (fabric.kind[alone] != ACCELERATOR), alone, -1))


# ------------------------------------------------------------------------------------------ labelled sets


@dataclass(frozen=True, eq=False)
class _Sets:
    """Node sets that are candidates: what crosses their border each way."""

    out: FloatArray
    into: FloatArray
    members: FloatArray
    root: BoolArray
    peer: BoolArray
    demand_out: FloatArray | None = None
    demand_in: FloatArray | None = None

    def best(self, collective: Collective) -> tuple[int, bool, float]:
        """Tightest set, whether its bytes leave (or enter), and their number."""
        top, least = (0, True, 0.0), 0.0
        for leaving, capacity, inside, root, peer, demand in (
            (True, self.out, self.members, self.root, self.peer, self.demand_out),
            (False, self.into, collective.ranks - self.members, ~self.root, ~self.peer, self.demand_in),
        ):
            volume = crossing_volume(collective, inside, root, peer) if demand is None else demand
            with np.errstate(divide="ignore"):
                times = np.divide(volume, capacity, out=np.zeros(len(volume)), where=volume > 0)
            i = int(times.argmax())
            if times[i] > least:
                top, least = (i, leaving, float(volume[i])), float(times[i])
        return top


def _labelled_cut(collective: Collective, group: Group, what: str, labels: IntArray) -> Bound | None:
    fabric = group.fabric
    count = int(labels.max()) + 1
    a, b = labels[fabric.source], labels[fabric.target]
    leaving, entering = (a != b) & (a >= 0), (a != b) & (b >= 0)
    mine = labels[group.nodes]
    known = mine >= 0
    sets = _Sets(
        np.bincount(a[leaving], fabric.bandwidth[leaving], count).astype(float),
        np.bincount(b[entering], fabric.bandwidth[entering], count).astype(float),
        np.bincount(mine[known], minlength=count).astype(float),
        np.arange(count) == mine[collective.root],
        np.arange(count) == mine[max(collective.peer, 0)],
        *_labelled_demand(collective, mine, count),
    )
    best, out, volume = sets.best(collective)
    if volume <= 0:
        return None
    return cut_bound(group, labels == best, out, volume, f"a {what}", "cut", {"family": what})


def _labelled_demand(
    collective: Collective, labels: IntArray, count: int
) -> tuple[FloatArray | None, FloatArray | None]:
    """Bytes of a matrix of blocks that leave, and enter, each label."""
    if collective.matrix is None:
        return None, None
    blocks = collective.blocks()
    blocks[labels[:, None] == labels[None, :]] = 0.0
    known = labels >= 0
    out, into = (np.bincount(labels[known], blocks.sum(axis=axis)[known], count) for axis in (1, 0))
    return out.astype(float), into.astype(float)


# ------------------------------------------------------------------------------------------------- slabs


def slab_cells(fabric: Fabric, dimension: int) -> tuple[IntArray, int, int]:
    """Cell of each node along a grid dimension, number of cells, and coordinates per cell."""
    grid = fabric.grid
    assert grid is not None
    length = grid.shape[dimension]
    step = -(-length // MOST_CELLS)
    labels = np.full(len(fabric.nodes), -1, dtype=np.int64)
    inner = int(np.prod(grid.shape[dimension + 1 :]))
    labels[fabric.accelerators] = np.arange(grid.size) // inner % length // step
    if len(fabric.nodes) != fabric.ranks:
        labels = majority(fabric, labels, True)
    return labels, -(-length // step), step


def window_flows(table: FloatArray, start: IntArray, width: IntArray) -> tuple[FloatArray, FloatArray]:
    """What leaves and enters windows of cells around a ring, from what goes between cells [cells, cells]."""
    cells = len(table)
    ends = start + width
    double = np.zeros((2 * cells + 1,) * 2)
    double[1:, 1:] = np.tile(table, (2, 2)).cumsum(axis=0).cumsum(axis=1)
    inside = double[ends, ends] - double[start, ends] - double[ends, start] + double[start, start]
    rows, columns = (np.concatenate([[0.0], np.tile(table.sum(axis=axis), 2).cumsum()]) for axis in (1, 0))
    return rows[ends] - rows[start] - inside, columns[ends] - columns[start] - inside


def window_family(fabric: Fabric, dimension: int, cells: int, whole: bool) -> tuple[IntArray, IntArray]:
    """Start and width, in cells, of the slabs to look at: prefixes of a mesh, windows around a torus."""
    grid = fabric.grid
    assert grid is not None
    if not grid.wrap[dimension]:
        width = np.arange(1, cells)
        return np.zeros_like(width), width
    if whole and lattice_of(fabric) is not None:
        width = np.arange(1, cells // 2 + 1)
        return np.zeros_like(width), width
    widths = np.arange(1, max(cells // 2, 1) + 1)
    return np.tile(np.arange(cells), len(widths)), np.repeat(widths, cells)


def slab_table(fabric: Fabric, dimension: int) -> tuple[IntArray, FloatArray, int]:
    """Cell of each node along a dimension, bandwidth between cells [cells, cells], coordinates per cell."""
    key = ("slabs", dimension)
    if key not in fabric.cache:
        labels, cells, step = slab_cells(fabric, dimension)
        between = labels[fabric.source] * cells + labels[fabric.target]
        table = np.bincount(between, fabric.bandwidth, cells * cells).reshape(cells, cells)
        fabric.cache[key] = (labels, table, step)
    found: tuple[IntArray, FloatArray, int] = fabric.cache[key]
    return found


def _slab_cut(collective: Collective, group: Group, dimension: int) -> Bound | None:
    fabric = group.fabric
    labels, table, step = slab_table(fabric, dimension)
    cells = len(table)
    if cells < 2:
        return None
    start, width = window_family(fabric, dimension, cells, group.whole and collective.matrix is None)
    out, into = window_flows(table, start, width)
    mine = labels[group.nodes]
    tally = np.concatenate([[0.0], np.tile(np.bincount(mine, minlength=cells), 2).cumsum()])
    sets = _Sets(
        out,
        into,
        tally[start + width] - tally[start],
        (mine[collective.root] - start) % cells < width,
        (mine[max(collective.peer, 0)] - start) % cells < width,
        *_slab_demand(collective, mine, cells, start, width),
    )
    best, leaving, volume = sets.best(collective)
    if volume <= 0:
        return None
    first, wide = int(start[best]), int(width[best])
    inside = (labels - first) % cells < wide
    assert fabric.grid is not None
    low, high = first * step, ((first + wide) * step - 1) % fabric.grid.shape[dimension]
    what = f"the slab with coordinate {dimension} {'=' if low == high else 'from'} {low}"
    what += "" if low == high else f" to {high}"
    data = {"family": "slab", "dimension": dimension, "first": low, "last": high}
    return cut_bound(group, inside, leaving, volume, what, "cut", data)


def _slab_demand(
    collective: Collective, labels: IntArray, cells: int, start: IntArray, width: IntArray
) -> tuple[FloatArray | None, FloatArray | None]:
    if collective.matrix is None:
        return None, None
    between = (labels[:, None] * cells + labels[None, :]).ravel()
    table = np.bincount(between, collective.blocks().ravel(), cells * cells).astype(float)
    table = table.reshape(cells, cells)
    return window_flows(table, start, width)


# ------------------------------------------------------------------------------------------- certificate


def cut_bound(
    group: Group,
    inside: BoolArray,
    leaving: bool,
    volume: float,
    what: str,
    kind: str,
    data: dict[str, Any],
) -> Bound:
    """The bound of one node set, with its certificate.

    Parameters
    ----------
    group : Group
    inside : bool array [nodes]
    leaving : bool
        Whether the bytes leave the set; otherwise they enter it.
    volume : float
        Bytes that must cross.
    what : str
        Name of the set, may be empty.
    kind : str
        Kind of the bound.
    data : dict
        More for the bound's data.
    """
    fabric = group.fabric
    across = inside if leaving else ~inside
    members = np.flatnonzero(inside & group.member)
    crossing = np.flatnonzero(across[fabric.source] & ~across[fabric.target])
    late = latency_over(group, crossing)
    cables = int(fabric.cables[crossing].sum())
    capacity = float(fabric.bandwidth[crossing].sum())
    if capacity <= 0:
        raise BoundError(
            f"{fabric.name} splits the group: no link leads where {volume:.6g} bytes must go", "mend it"
        )
    named = listed(node_labels(fabric, members), "ranks")
    if what:
        holds, share = f"{what} ({named})", "has"
    elif len(members) == 1:
        holds, share = named, "has"
    else:
        holds, share = f"these {len(members)} accelerators ({named})", "share"
    to, leave = ("to", "leave") if leaving else ("from", "enter")
    return Bound(
        volume / capacity + late,
        kind,
        f"{holds} {share} {format_bandwidth(capacity)} over {plural(cables, 'cable')} {to} the rest, and "
        f"{format_bytes(volume)} must {leave}; the last bytes travel {format_time(late)}",
        {
            **data,
            "direction": "out" if leaving else "in",
            "nodes": node_labels(fabric, members[:_KEPT]),
            "ranks_inside": len(members),
            "bytes": volume,
            "capacity_Bps": capacity,
            "cables": cables,
            "links": [fabric.link_label(int(link)) for link in crossing[:_KEPT]],
            "latency_s": late,
        },
        np.bincount(crossing, minlength=fabric.links).astype(float),
    )
