"""Where a drawing puts nodes: grids by their coordinates, clusters by domains and tiers, the rest as built.

Fabrics too large for a page are thinned: the first part is drawn, and a note says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from topo.fabric import ACCELERATOR, BoolArray, Fabric, FloatArray, IntArray
from topo.report.thinning import crowded, said, set_in_tiers, thinned, whole_groups

MOST_ALONG = {1: 64, 2: 18, 3: 5}
"""Nodes drawn along each dimension of a grid, by number of dimensions."""
_TAIL = 2
"""Of a longer dimension as many are drawn at its end."""
MOST_WITHOUT_SWITCHES = 150
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
    dots : tuple of (x, y, x, y)
        Dotted lines where alike nodes are left out.
    note : str
        What is not drawn.
    """

    place: FloatArray
    bend: FloatArray
    boxes: tuple[tuple[float, float, float, float, str], ...] = ()
    dots: tuple[tuple[float, float, float, float], ...] = ()
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
    along = [_along(length, most) for length in grid.shape]
    kept = np.stack([along[d][coordinates[:, d]] for d in range(len(grid.shape))], axis=1)
    shown = ~np.isnan(kept).any(axis=1)
    kept = kept[:, dimensions]
    place = np.full((len(fabric.nodes), 2), np.nan)
    if len(dimensions) == 2:
        on_paper = kept
    else:
        layer = _LEANING[1] * float(np.nanmax(kept[:, 1])) + _APART
        x = kept[:, 0] + _LEANING[0] * kept[:, 1]
        on_paper = np.stack([x, _LEANING[1] * kept[:, 1] + layer * kept[:, 2]], axis=1)
    place[fabric.accelerators[shown]] = on_paper[shown]
    bend = _wrap_bends(fabric, coordinates)
    note, dots = "", []
    if not shown.all():
        part = "x".join(str(int((~np.isnan(a)).sum())) for a in along)
        whole = "x".join(map(str, grid.shape))
        note = f"{part} of {whole} accelerators; dots stand for the rest"
        for d in dimensions:
            if not np.isnan(along[d]).any():
                continue
            here = np.flatnonzero(shown & (coordinates[:, d] == most - _TAIL - 1))
            there = coordinates[here].copy()
            there[:, d] = grid.shape[d] - _TAIL
            dots += np.concatenate([on_paper[here], on_paper[grid.numbers(there)]], axis=1).tolist()
    return Layout(place, bend, dots=tuple(tuple(line) for line in dots), note=note)


def _along(length: int, most: int) -> FloatArray:
    """Places of the nodes of one dimension: all, or the first and the last with a gap between."""
    place = np.arange(length, dtype=float)
    if length > most + 1:
        place[length - _TAIL :] = most - _TAIL + 0.6 + np.arange(_TAIL)
        place[most - _TAIL : length - _TAIL] = np.nan
    return place


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
    everything = np.ones(len(fabric.nodes), dtype=bool)
    straight = np.zeros(fabric.links)
    joined = bool((fabric.kind != ACCELERATOR).any())
    if joined and crowded(fabric, everything):
        keep = thinned(fabric, np.arange(len(fabric.nodes)))
        if not keep.all() and keep.sum() <= MOST_NODES:
            thin, dots = set_in_tiers(fabric, keep, place, np.arange(len(keep)))
            return Layout(thin, straight, dots=tuple(dots), note=said(fabric, keep))
    note = ""
    if not joined and len(fabric.nodes) > MOST_NODES:
        keep, note = whole_groups(fabric, MOST_WITHOUT_SWITCHES)
        place[~keep] = np.nan
    elif len(fabric.nodes) > MOST_NODES:
        keep = np.zeros(len(fabric.nodes), dtype=bool)
        keep[fabric.accelerators[: MOST_NODES // 2]] = True
        touched = np.zeros(len(fabric.nodes), dtype=bool)
        touched[fabric.target[keep[fabric.source]]] = True
        switches = np.flatnonzero(touched & (fabric.kind != ACCELERATOR))[: MOST_NODES // 2]
        keep[switches] = True
        place[~keep] = np.nan
        # The switches of the whole come to stand above the part that is drawn.
        part = place[fabric.accelerators[: MOST_NODES // 2], 0]
        order = np.argsort(np.argsort(place[switches, 0], kind="stable"))
        place[switches, 0] = part.min() + np.ptp(part) * (order + 0.5) / len(switches)
        note = f"the first {MOST_NODES // 2:,} of {fabric.ranks:,} accelerators, and switches that they reach"
    return Layout(_not_flat(place) if joined else place, straight, note=note)


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
    size = len(_drawn_members(fabric, owner == 0))
    number = min(fabric.domains, max(2, min(MOST_DOMAINS, MOST_ACCELERATORS // size)))
    # The first and the last: several units of a network, or several sites, come into view.
    shown = [*range(-(-number // 2)), *range(fabric.domains - number // 2, fabric.domains)]
    result = np.full_like(place, np.nan)
    boxes, left, tallest = [], 0.0, 0.0
    dots: list[tuple[float, float, float, float]] = []
    for place_of, domain in enumerate(shown):
        members = _drawn_members(fabric, owner == domain)
        inside, inner_dots = _inside_domain(fabric, np.flatnonzero(owner == domain), members, place)
        width, height = inside.max(axis=0)
        result[members] = inside + np.asarray([left, 0.0])
        dots += [(x + left, y, other + left, level) for x, y, other, level in inner_dots]
        boxes.append((left - 0.7, -0.7, left + float(width) + 0.7, float(height) + 0.7, f"domain {domain}"))
        left += float(width) + 2.2
        tallest = max(tallest, float(height))
        if place_of + 1 < number and shown[place_of + 1] > domain + 1:
            dots.append((left - 1.2, tallest / 2, left + 1.0, tallest / 2))
            left += 2.2
    width = left - 2.2
    tier = _tiers(fabric, owner)
    drawn = ~np.isnan(result[:, 0])
    for level in range(1, int(tier.max()) + 1):
        reached = np.zeros(len(owner), dtype=bool)
        reached[fabric.target[drawn[fabric.source]]] = True
        here = np.flatnonzero((tier == level) & (owner < 0) & reached)[:MOST_SWITCHES]
        result[here, 0] = width * (np.arange(len(here)) + 0.5) / max(len(here), 1)
        result[here, 1] = tallest + level * max(3.0, 0.14 * width)
        drawn[here] = True
    hidden = (owner < 0) & ~drawn
    notes = []
    if any(len(_drawn_members(fabric, owner == d)) < (owner == d).sum() for d in shown):
        notes.append("dots stand for more of the same")
    if number < fabric.domains:
        notes.append(f"{number} of {fabric.domains:,} scale-up domains; the rest is alike")
    elif hidden.any():
        notes.append(f"{int(hidden.sum()):,} switches are not drawn")
    return Layout(result, np.zeros(fabric.links), tuple(boxes), tuple(dots), "; ".join(notes))


def _drawn_members(fabric: Fabric, inside: BoolArray) -> IntArray:
    """Nodes of a domain that are drawn: all, or some of many twins."""
    members = np.flatnonzero(inside)
    within = inside & (fabric.kind != ACCELERATOR)
    return np.flatnonzero(thinned(fabric, members)) if within.any() and crowded(fabric, inside) else members


def _inside_domain(
    fabric: Fabric, every: IntArray, members: IntArray, place: FloatArray
) -> tuple[FloatArray, list[tuple[float, float, float, float]]]:
    """Places of the drawn nodes of a domain, from (0, 0), and dots: a row with its switches above, or as built."""
    if len(members) < len(every):
        keep = np.zeros(len(fabric.nodes), dtype=bool)
        keep[members] = True
        spread, dots = set_in_tiers(fabric, keep, place, every)
        return spread[members], dots
    accelerator = fabric.kind[members] == ACCELERATOR
    count = int(accelerator.sum())
    inside = np.zeros((len(members), 2))
    if accelerator.all():
        low, high = place[members].min(axis=0), place[members].max(axis=0)
        scale = (np.sqrt(count) * 1.5) / max(float((high - low).max()), 1e-9)
        return np.asarray((place[members] - low) * scale), []
    inside[accelerator, 0] = np.arange(count)
    switches = len(members) - count
    inside[~accelerator, 0] = count * (np.arange(switches) + 0.5) / switches - 0.5
    inside[~accelerator, 1] = max(2.5, 0.4 * count)
    return inside, []


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
