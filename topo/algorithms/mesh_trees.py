"""All-reduce on meshes along many trees at once, each up to its root and down again.

On a line an all-reduce by reduce-scatter and all-gather keeps every link busy for 2 (N-1)/N S/B, while a chain to
the middle and back needs S/B: every link carries each half of the way once, in opposite directions.  On a mesh the
same holds for trees that run along one dimension to a trunk, and along the trunk to its middle.  Half of the data
takes the trees that run along rows first, half those along columns, and each half is spread over several trunks so
that no trunk is busier than the rest.  On a k x k mesh with T trunks each way: (1 + 1/T) S/(2B) and the pipeline's
fill, where every all-reduce takes at least S/(2B) at the corners.  Derived here; the shares come from the linear
program of :mod:`topo.algorithms.bucket_split`.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import partial

import numpy as np

from topo.algorithms.bucket import dimension_speeds
from topo.algorithms.bucket_split import NEAR, smallest_maximum
from topo.algorithms.chain import in_chunks
from topo.algorithms.parameters import whole
from topo.algorithms.registry import Site, algorithm
from topo.algorithms.trees import Stream, Tree, along_tree
from topo.algorithms.wafer import on_a_mesh
from topo.collective import EVERY_RANK, Chunks, Collective
from topo.fabric import FloatArray, Grid, IntArray
from topo.schedule import Schedule, ScheduleBuilder

TRUNKS = 8
"""Trunks per order of dimensions unless asked otherwise."""


@dataclass(frozen=True, eq=False)
class _Share:
    """A tree and its share of the data."""

    tree: Tree
    share: float


def mesh_tree(grid: Grid, root: IntArray, order: tuple[int, ...]) -> Tree:
    """The tree in which every node moves towards the root along one dimension after another.

    Parameters
    ----------
    grid : Grid
        Without wraps.
    root : int array [dimensions]
        Coordinates.
    order : tuple of int
        Which dimension comes first.
    """
    at = grid.coordinates(np.arange(grid.size))
    away = at - root
    onward = at.copy()
    moving = np.ones(grid.size, dtype=bool)
    for d in order:
        now = moving & (away[:, d] != 0)
        onward[now, d] -= np.sign(away[now, d])
        moving &= ~now
    parent = np.where(moving, -1, grid.numbers(onward))
    return Tree(parent, int(grid.numbers(root)))


def trunks(grid: Grid, order: tuple[int, ...], most: int) -> list[IntArray]:
    """Roots of the trees of one order: trunks evenly spread, each with its root in the middle."""
    count = min(most, max(grid.shape[d] for d in order[:-1])) if len(order) > 1 else 1
    found: list[IntArray] = []
    for i in range(count):
        root = np.zeros(len(grid.shape), dtype=np.int64)
        for d in order[:-1]:
            root[d] = (2 * i + 1) * grid.shape[d] // (2 * count)
        root[order[-1]] = grid.shape[order[-1]] // 2
        found.append(root)
    return found


def _loads(grid: Grid, orders: list[tuple[int, ...]], most: int, speed: FloatArray) -> FloatArray:
    """Seconds per byte of an all-reduce on each dimension's links [dimensions, orders]."""
    load = np.zeros((len(grid.shape), len(orders)))
    for i, order in enumerate(orders):
        roots = np.stack(trunks(grid, order, most))
        for place, d in enumerate(order):
            # Links along d are used where the trees have arrived in all dimensions before.
            lines = len(np.unique(roots[:, list(order[:place])], axis=0)) if place else 1
            load[d, i] = 1 / lines / speed[d]
    return load[list(grid.dimensions)]


def shares_of_trees(site: Site, grid: Grid, most: int) -> list[_Share]:
    """Trees and the shares that even out the dimensions' load."""
    orders = list(itertools.permutations(grid.dimensions))
    share, _ = smallest_maximum(_loads(grid, orders, most, dimension_speeds(site, grid)))
    found: list[_Share] = []
    for order, part in zip(orders, share, strict=True):
        if part > NEAR:
            roots = trunks(grid, order, most)
            found += [_Share(mesh_tree(grid, root, order), float(part) / len(roots)) for root in roots]
    total = sum(x.share for x in found)
    return [_Share(x.tree, x.share / total) for x in found]


@algorithm(
    "mesh-trees",
    ("all-reduce",),
    fits=on_a_mesh,
    pipelines=True,
    scales=False,
    parameters=(whole("trunks", TRUNKS),),
)
def mesh_trees(collective: Collective, site: Site, chunks: int, *, trunks: int) -> Schedule:
    """On a mesh, trees along rows and along columns to several trunks at once, up and down again."""
    grid = site.grid
    assert grid is not None, "fits() was asked before"
    trees = shares_of_trees(site, grid, trunks)
    sizes = np.repeat([collective.bytes * x.share / chunks for x in trees], chunks)
    builder = ScheduleBuilder(
        collective,
        "mesh-trees",
        partial(_cut, sizes),
        ", ".join(filter(None, (f"{len(trees)} trees", in_chunks(chunks)))),
    )
    for number, x in enumerate(trees):
        along_tree(builder, x.tree, Stream(float(sizes[number * chunks]), chunks, number * chunks))
    return builder.build()


def _cut(sizes: FloatArray) -> Chunks:
    every = np.full(len(sizes), EVERY_RANK)
    return Chunks(sizes, every, every)
