"""Scale-up domains of a group: who is in which, and the grid that each of them is."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from math import prod

import numpy as np

from topo.algorithms.registry import Site
from topo.fabric import Grid, IntArray


def members_by_domain(site: Site) -> IntArray | None:
    """Ranks as a matrix [domains, members], or None when the domains are of unequal size or fewer than two."""
    domains, counts = np.unique(site.domain, return_counts=True)
    if len(domains) < 2 or len(set(counts.tolist())) != 1 or counts[0] < 2:
        return None
    return np.argsort(site.domain, kind="stable").reshape(len(domains), -1)


def domain_grid(site: Site) -> Grid | None:
    """The grid that every domain of the group is in rank order, row after row; None where they are none.

    At least two sides must be longer than one; links that are no grid's, as of a twisted torus, make it none.
    """
    members = members_by_domain(site)
    if members is None:
        return None
    key = ("domain grid", site.ranks.tobytes())
    if key not in site.fabric.cache:
        site.fabric.cache[key] = _find_grid(site, members)
    found: Grid | None = site.fabric.cache[key]
    return found


def _find_grid(site: Site, members: IntArray) -> Grid | None:
    fabric, width = site.fabric, members.shape[1]
    nodes = fabric.accelerators[site.ranks[members]]
    place = np.full(len(fabric.nodes), -1, dtype=np.int64)
    place[nodes[0]] = np.arange(width)
    inner = (place[fabric.source] >= 0) & (place[fabric.target] >= 0) & ~fabric.scale_out
    pairs = set(zip(place[fabric.source[inner]].tolist(), place[fabric.target[inner]].tolist(), strict=True))
    near = {b for a, b in pairs if a == 0}
    for shape in _shapes(width, near):
        strides = [prod(shape[d + 1 :]) for d in range(len(shape))]
        wrap = tuple(
            side == 2 or (side - 1) * stride in near for side, stride in zip(shape, strides, strict=True)
        )
        grid = Grid(shape, wrap)
        source, target = _neighbours(grid)
        if set(zip(source.tolist(), target.tolist(), strict=True)) != pairs:
            continue
        if (fabric.links_between(nodes[:, source], nodes[:, target]) >= 0).all():
            return grid
    return None


def _shapes(size: int, near: set[int]) -> Iterator[tuple[int, ...]]:
    """Shapes of two and more sides of which all neighbours of the first node are neighbours in fact."""
    strides = sorted(n for n in near if 1 < n < size and size % n == 0)
    for count in range(1, min(len(strides), 5) + 1):
        for chosen in itertools.combinations(strides, count):
            ends = (1, *chosen, size)
            if all(b % a == 0 for a, b in itertools.pairwise(ends)):
                yield tuple(b // a for a, b in itertools.pairwise(ends))[::-1]


def _neighbours(grid: Grid) -> tuple[IntArray, IntArray]:
    """All links of a grid, without repeats."""
    cell = np.arange(grid.size)
    ends = [
        np.stack([cell, grid.neighbours(cell, d, step)]) for d in range(len(grid.shape)) for step in (1, -1)
    ]
    pairs = np.unique(np.concatenate(ends, axis=1), axis=1)
    source, target = pairs[:, pairs[1] >= 0]
    return source, target
