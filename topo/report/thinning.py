"""Which part of a large fabric a drawing shows: some of those that look alike, and dots for the rest.

Accelerators that hang on the same switches, and switches that join the same nodes, are twins: of many the first few
and the last are drawn.  Of many clusters of twins (the nodes of a Clos) likewise.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from topo.fabric import ACCELERATOR, SWITCH, BoolArray, Fabric, FloatArray, IntArray

MOST_LINES = 300
"""Cables that are still told apart on a page."""
MOST_TWINS = {ACCELERATOR: 8, SWITCH: 6}
MOST_CLUSTERS = 4
FEWEST_FOR_CLUSTERS = 48
MOST_TIERS = 6
_FREE = 2.0
"""Room for the dots, in distances between neighbours."""


def crowded(fabric: Fabric, drawn: BoolArray) -> bool:
    """Whether more lines would be drawn than can be told apart."""
    visible = drawn[fabric.source] & drawn[fabric.target] & (fabric.source < fabric.target)
    return int(visible.sum()) > MOST_LINES


def thinned(fabric: Fabric, members: IntArray) -> BoolArray:
    """Which nodes to draw of some that are joined by switches [nodes].

    Parameters
    ----------
    fabric : Fabric
    members : int array
        Nodes in question, in the order of the drawing.
    """
    keep = np.zeros(len(fabric.nodes), dtype=bool)
    keep[members] = True
    classes = _twins(fabric, members)
    for kind in (ACCELERATOR, SWITCH):
        for twins in classes:
            if fabric.kind[twins[0]] == kind:
                keep[twins] = False
                keep[_first_and_last(twins, MOST_TWINS[kind])] = True
    clusters = [c for c in classes if fabric.kind[c[0]] == ACCELERATOR]
    accelerators = keep & (fabric.kind == ACCELERATOR)
    if len(clusters) > MOST_CLUSTERS and accelerators.sum() > FEWEST_FOR_CLUSTERS and len(clusters[0]) > 1:
        chosen = np.zeros(len(keep), dtype=bool)
        for number in _first_and_last(np.arange(len(clusters)), MOST_CLUSTERS).tolist():
            chosen[clusters[number]] = True
        keep &= chosen | (fabric.kind != ACCELERATOR)
        keep &= _reached(fabric, keep)
    return keep


def set_in_tiers(
    fabric: Fabric, keep: BoolArray, place: FloatArray, members: IntArray
) -> tuple[FloatArray, list[tuple[float, float, float, float]]]:
    """Places of the nodes kept, tier by tier in a row each, and a dotted line wherever some are left out.

    Parameters
    ----------
    fabric : Fabric
    keep : bool array [nodes]
    place : float array [nodes, 2]
        As built: equal heights make a tier.
    members : int array
        Nodes in question.
    """
    result = np.full_like(place, np.nan)
    dots: list[tuple[float, float, float, float]] = []
    level, across_of = place[:, 1], place[:, 0]
    if len(np.unique(np.round(level[keep], 6))) > MOST_TIERS:  # no tiers: a star, for instance
        level, across_of = (fabric.kind != ACCELERATOR).astype(float), np.arange(len(keep), dtype=float)
    heights = np.unique(np.round(level[keep], 6))
    rows: list[tuple[IntArray, FloatArray, list[int]]] = []
    for height in heights:
        tier = members[np.isclose(level[members], height)]
        tier = tier[np.argsort(across_of[tier], kind="stable")]
        at = np.flatnonzero(keep[tier])
        across = np.arange(len(at), dtype=float)
        gaps = np.flatnonzero(np.diff(at) > 1).tolist()
        for gap in gaps:
            across[gap + 1 :] += _FREE - 1.0
        rows.append((tier[at], across, gaps))
    width = max(float(steps[-1]) for _, steps, _ in rows)
    rise = max(2.5, 0.5 * width / max(len(rows) - 1, 1))
    for number, (nodes, steps, gaps) in enumerate(rows):
        x = _across(steps, width)
        result[nodes, 0], result[nodes, 1] = x, number * rise
        dots += [(float(x[g]), number * rise, float(x[g + 1]), number * rise) for g in gaps]
    return result, dots


def said(fabric: Fabric, keep: BoolArray) -> str:
    """How many of how many are drawn."""
    parts = []
    for kind, word in ((ACCELERATOR, "accelerators"), (SWITCH, "switches")):
        drawn, all_of_them = int((keep & (fabric.kind == kind)).sum()), int((fabric.kind == kind).sum())
        if drawn < all_of_them:
            parts.append(f"{drawn} of {all_of_them:,} {word}")
    return " and ".join(parts) + "; the rest is alike" if parts else ""


def whole_groups(fabric: Fabric, most: int) -> tuple[BoolArray, str]:
    """The first accelerators as whole groups by the first part of their labels (``r0`` of ``r0.n1.tsp2``)."""
    labels = [str(fabric.nodes[node]).partition(".")[0] for node in fabric.accelerators]
    groups = list(dict.fromkeys(labels))
    size = len(labels) // max(len(groups), 1)
    number = max(1, most // max(size, 1))
    shown = set(groups[:number])
    keep = np.zeros(len(fabric.nodes), dtype=bool)
    if size < 2 or number >= len(groups):
        keep[fabric.accelerators[:most]] = True
        return keep, f"the first {most:,} of {fabric.ranks:,} accelerators"
    keep[fabric.accelerators[[label in shown for label in labels]]] = True
    drawn = int(keep.sum())
    return keep, f"the first {number} of {len(groups):,} groups, {drawn} of {fabric.ranks:,} accelerators"


def _across(steps: FloatArray, width: float) -> FloatArray:
    """A row spread over the width of the widest, a little less where it is much shorter; one node in the middle."""
    own = float(steps[-1])
    if not own:
        return np.full(len(steps), width / 2)
    wide = width if own >= 0.7 * width else 0.86 * width
    return np.asarray(steps * wide / own + (width - wide) / 2)


def _first_and_last(items: IntArray, most: int) -> IntArray:
    return items if len(items) <= most else np.concatenate([items[: most - 1], items[-1:]])


def _twins(fabric: Fabric, members: Sequence[int] | IntArray) -> list[IntArray]:
    """Nodes by what they are joined to, in order of the first of each class; scale-out links do not count."""
    pointer, order = fabric.outgoing
    inner = ~fabric.scale_out
    found: dict[Hashable, list[int]] = {}
    for node in np.asarray(members).tolist():
        links = order[pointer[node] : pointer[node + 1]]
        links = links[inner[links]]
        targets = fabric.target[links]
        by_target = np.argsort(targets, kind="stable")
        key: Hashable = node
        if len(links):
            key = (
                int(fabric.kind[node]),
                targets[by_target].tobytes(),
                fabric.bandwidth[links][by_target].tobytes(),
            )
        found.setdefault(key, []).append(node)
    return [np.asarray(nodes) for nodes in found.values()]


def _reached(fabric: Fabric, keep: BoolArray) -> BoolArray:
    """Accelerators kept, and switches above them: what is reached without coming down again."""
    above: BoolArray = fabric.kind == ACCELERATOR
    seen: BoolArray = keep & above
    while True:
        onward = np.zeros_like(seen)
        onward[fabric.target[seen[fabric.source]]] = True
        higher = np.zeros_like(seen)
        higher[fabric.target[above[fabric.source]]] = True
        fresh = onward & keep & higher & ~above
        if not fresh.any():
            return seen
        seen |= fresh
        above = above | higher
