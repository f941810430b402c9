"""Where a drawing puts nodes: grids by their coordinates, clusters by domains and tiers, the rest as built.

Fabrics too large for a page are thinned: the first part is drawn, and a note says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from topo.fabric import ACCELERATOR, BoolArray, Fabric, FloatArray, IntArray

MOST_ALONG = {1: 64, 2: 24, 3: 8}
"""Nodes drawn along each dimension of a grid, by number of dimensions."""
MOST_DOMAINS = 8
MOST_ACCELERATORS = 160
MOST_SWITCHES = 36
MOST_NODES = 600
_LEANING = (0.52, 0.36)  # the second dimension of a layer goes obliquely back
_APART = 1.0  # free height between layers
_FLATTEST = 2.2  # width over height
_ARC = 0.38  # height of an arc, in distances between neighbours


@dataclass(frozen=True, eq=False)
class Layout:
    """A fabric on paper.

    Parameters
    ----------
    place : float array [nodes, 2]
        NaN for nodes that are not drawn.
    bend : float array [links]
        How far an arc stands off the straight line; 0 is straight.
    boxes : tuple of (left, bottom, right, top, label)
        Scale-up domains.
    note : str
        What is not drawn.
    """

    place: FloatArray
    bend: FloatArray
    boxes: tuple[tuple[float, float, float, float, str], ...] = ()
    note: str = ""

    @property
    def drawn(self) -> BoolArray:
        """Whether a node is drawn [nodes]."""
        return ~np.isnan(self.place[:, 0])


def lay_out(fabric: Fabric) -> Layout:
    """A layout that a person recognises."""
    if fabric.grid is not None and len(fabric.grid.dimensions) in (2, 3) and fabric.domains == 1:
        return _grid(fabric)
    place = fabric.position.copy()
    if np.isnan(place).any():
        place = _without_positions(fabric)
    if fabric.domains > 1:
        return _domains(fabric, place)
    return _plain(fabric, place)


# ------------------------------------------------------------------------------------------------------ grids


def _grid(fabric: Fabric) -> Layout:
    grid = fabric.grid
    assert grid is not None
    dimensions = grid.dimensions
    most = MOST_ALONG[len(dimensions)]
    if len(dimensions) == 2:
        most = max(most, min(48, MOST_NODES // min(grid.shape[d] for d in dimensions)))
    coordinates = grid.coordinates(np.arange(grid.size))
    shown = (coordinates < most).all(axis=1)
    kept = coordinates[:, dimensions].astype(float)
    place = np.full((len(fabric.nodes), 2), np.nan)
    if len(dimensions) == 2:
        on_paper = kept
    else:
        depth = min(grid.shape[dimensions[1]], most)
        layer = _LEANING[1] * (depth - 1) + _APART
        x = kept[:, 0] + _LEANING[0] * kept[:, 1]
        on_paper = np.stack([x, _LEANING[1] * kept[:, 1] + layer * kept[:, 2]], axis=1)
    place[fabric.accelerators[shown]] = on_paper[shown]
    bend = _wrap_bends(fabric, coordinates)
    note = ""
    if not shown.all():
        part = "x".join(str(min(length, most)) for length in grid.shape)
        whole = "x".join(map(str, grid.shape))
        note = f"the first {part} of {whole} accelerators; the rest goes on alike"
    return Layout(place, bend, note=note)


def _wrap_bends(fabric: Fabric, coordinates: IntArray) -> FloatArray:
    """Arcs for links that close a dimension, all of a dimension to the same side."""
    bend = np.zeros(fabric.links)
    rank = fabric.rank_of_node
    ends = np.flatnonzero((rank[fabric.source] >= 0) & (rank[fabric.target] >= 0))
    moved = coordinates[rank[fabric.target[ends]]] - coordinates[rank[fabric.source[ends]]]
    far = np.abs(moved) > 1
    bend[ends] = np.where(far, -np.sign(moved) * _ARC, 0.0).sum(axis=1)
    return bend


# --------------------------------------------------------------------------------------------- other fabrics


def _plain(fabric: Fabric, place: FloatArray) -> Layout:
    note = ""
    if len(fabric.nodes) > MOST_NODES:
        keep = np.zeros(len(fabric.nodes), dtype=bool)
        keep[fabric.accelerators[: MOST_NODES // 2]] = True
        touched = np.zeros(len(fabric.nodes), dtype=bool)
        touched[fabric.target[keep[fabric.source]]] = True
        switches = np.flatnonzero(touched & (fabric.kind != ACCELERATOR))[: MOST_NODES // 2]
        keep[switches] = True
        place[~keep] = np.nan
        if len(switches):
            # The switches of the whole come to stand above the part that is drawn.
            part = place[fabric.accelerators[: MOST_NODES // 2], 0]
            order = np.argsort(np.argsort(place[switches, 0], kind="stable"))
            place[switches, 0] = part.min() + np.ptp(part) * (order + 0.5) / len(switches)
        note = f"the first {MOST_NODES // 2:,} of {fabric.ranks:,} accelerators, and switches that they reach"
    return Layout(_not_flat(place), np.zeros(fabric.links), note=note)


def _not_flat(place: FloatArray) -> FloatArray:
    """Raise the tiers of a drawing that would be a mere strip."""
    drawn = place[~np.isnan(place[:, 0])]
    width, height = drawn.max(axis=0) - drawn.min(axis=0)
    if 0 < height < width / _FLATTEST:
        place = place * (1.0, width / _FLATTEST / height)
    return place


def _domains(fabric: Fabric, place: FloatArray) -> Layout:
    """Scale-up domains as boxes in a row; switches that serve several stand above them, tier by tier."""
    owner = domain_of_nodes(fabric)
    if (owner >= 0).all():
        return _plain(fabric, place)
    size = max(1, fabric.ranks // fabric.domains)
    shown = min(fabric.domains, max(2, min(MOST_DOMAINS, MOST_ACCELERATORS // size)))
    result = np.full_like(place, np.nan)
    boxes, left, tallest = [], 0.0, 0.0
    for domain in range(shown):
        members = np.flatnonzero(owner == domain)
        inside = _inside_domain(fabric, members, place)
        width, height = inside.max(axis=0)
        result[members] = inside + np.asarray([left, 0.0])
        boxes.append((left - 0.7, -0.7, left + float(width) + 0.7, float(height) + 0.7, f"domain {domain}"))
        left += float(width) + 2.2
        tallest = max(tallest, float(height))
    width = left - 2.2
    tier = _tiers(fabric, owner)
    drawn = (owner >= 0) & (owner < shown)
    for level in range(1, int(tier.max()) + 1):
        reached = np.zeros(len(owner), dtype=bool)
        reached[fabric.target[drawn[fabric.source]]] = True
        here = np.flatnonzero((tier == level) & (owner < 0) & reached)[:MOST_SWITCHES]
        result[here, 0] = width * (np.arange(len(here)) + 0.5) / max(len(here), 1)
        result[here, 1] = tallest + level * max(3.0, 0.14 * width)
        drawn[here] = True
    hidden = (owner < 0) & ~drawn
    notes = []
    if shown < fabric.domains:
        notes.append(f"the first {shown} of {fabric.domains:,} scale-up domains; the rest is alike")
    elif hidden.any():
        notes.append(f"{int(hidden.sum()):,} switches are not drawn")
    return Layout(result, np.zeros(fabric.links), tuple(boxes), "; ".join(notes))


def _inside_domain(fabric: Fabric, members: IntArray, place: FloatArray) -> FloatArray:
    """Places of the nodes of a domain, from (0, 0): a row with its switches above, or as built."""
    accelerator = fabric.kind[members] == ACCELERATOR
    count = int(accelerator.sum())
    inside = np.zeros((len(members), 2))
    if accelerator.all():
        low, high = place[members].min(axis=0), place[members].max(axis=0)
        scale = (np.sqrt(count) * 1.5) / max(float((high - low).max()), 1e-9)
        return np.asarray((place[members] - low) * scale)
    inside[accelerator, 0] = np.arange(count)
    switches = len(members) - count
    inside[~accelerator, 0] = count * (np.arange(switches) + 0.5) / switches - 0.5
    inside[~accelerator, 1] = max(2.5, 0.4 * count)
    return inside


def domain_of_nodes(fabric: Fabric) -> IntArray:
    """Scale-up domain of each node; -1 for switches that serve several or that scale out."""
    owner = np.full(len(fabric.nodes), -1, dtype=np.int64)
    owner[fabric.accelerators] = fabric.domain
    inside = ~fabric.scale_out
    source, target = fabric.source[inside], fabric.target[inside]
    low = np.full(len(owner), np.iinfo(np.int64).max)
    high = np.full(len(owner), -1)
    from_accelerator = owner[source] >= 0
    np.minimum.at(low, target[from_accelerator], owner[source[from_accelerator]])
    np.maximum.at(high, target[from_accelerator], owner[source[from_accelerator]])
    single = (owner < 0) & (low == high)
    owner[single] = high[single]
    return owner


def _tiers(fabric: Fabric, owner: IntArray) -> IntArray:
    """Fewest links from a domain to each node."""
    tier = np.where(owner >= 0, 0, -1)
    level = 0
    while (tier < 0).any():
        onward = fabric.target[tier[fabric.source] == level]
        fresh = onward[tier[onward] < 0]
        if not len(fresh):
            break
        level += 1
        tier[fresh] = level
    return tier


def _without_positions(fabric: Fabric) -> FloatArray:
    """Tiers of switches above a row of accelerators; without switches a circle."""
    place = np.full((len(fabric.nodes), 2), np.nan)
    tier = _tiers(fabric, np.where(fabric.kind == ACCELERATOR, 0, -1))
    if not tier.max():
        angle = np.pi / 2 - 2 * np.pi * np.arange(len(tier)) / len(tier)
        return np.stack([np.cos(angle), np.sin(angle)], axis=1) * max(1.0, len(tier) / 6)
    for level in np.unique(tier):
        members = np.flatnonzero(tier == level)
        place[members, 0] = fabric.ranks * (np.arange(len(members)) + 0.5) / len(members)
        place[members, 1] = level * max(1.5, fabric.ranks / 6)
    return place
