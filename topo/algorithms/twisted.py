"""Bucket algorithm on twisted tori.

A step along a dimension of a twisted torus walks a ring that closes through the twist, so the rings of the
dimensions overlap and their plain product does not reach every node just once.  A twisted torus is still an abelian
group, and it is the direct product of other rings: one along a dimension, which carries nearly all the bytes, and
others along diagonals such as (-1, 1, 0), two links a step, which carry few.  For k x k x 2k:  Z_2k (x) + Z_k (y - x)
+ Z_k (z - x); for k x 2k x 2k:  Z_2k (x) + Z_2k (y) + Z_k (x - y - z).  One instance for each leading dimension and
direction, with shares that even out the dimensions' load (a linear program).  Derived here; the wiring is that of
Camarero, Martinez and Beivide, "Lattice graphs for high-scale interconnection topologies" (2015), as in TPU v4
(Jouppi et al., ISCA 2023, arXiv 2304.01433).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import partial

import numpy as np

from topo.algorithms.bucket import Bucket, dimension_speeds, shared_out
from topo.algorithms.bucket_split import NEAR, Instance, smallest_maximum
from topo.algorithms.registry import Site, algorithm
from topo.algorithms.ring import RING_OPERATIONS
from topo.collective import Collective
from topo.fabric import FloatArray, Grid, IntArray
from topo.schedule import Schedule, ScheduleBuilder


@dataclass(frozen=True, eq=False)
class Product:
    """A twisted torus as a direct product of rings.

    Parameters
    ----------
    steps : tuple of tuple of int
        The step of each ring, in links along each dimension.
    lengths : tuple of int
    rank : int array [nodes]
        The rank at each place, row-major in the rings' places.
    """

    steps: tuple[tuple[int, ...], ...]
    lengths: tuple[int, ...]
    rank: IntArray

    def load(self) -> FloatArray:
        """Bytes per byte of data that a rank sends along each dimension in a reduce-scatter [dimensions]."""
        total = np.zeros(len(self.steps[0]))
        product = 1.0
        for step, length in zip(self.steps, self.lengths, strict=True):
            product *= length
            total += (length - 1) / product * np.abs(step)
        return total


def _moved(grid: Grid, nodes: IntArray, step: tuple[int, ...]) -> IntArray:
    for dimension, count in enumerate(step):
        for _ in range(abs(count)):
            nodes = grid.neighbours(nodes, dimension, 1 if count > 0 else -1)
    return nodes


def products(grid: Grid) -> dict[int, Product]:
    """The product of rings with the smallest load for each dimension that can lead."""
    size = len(grid.shape)
    steps = [s for s in itertools.product((0, 1, -1), repeat=size) if any(s) and next(x for x in s if x) > 0]
    forward = {step: _moved(grid, np.arange(grid.size), step) for step in steps}
    length = {step: _cycle(forward[step]) for step in steps}
    found: dict[int, Product] = {}
    for leader in grid.dimensions:
        first = tuple(int(d == leader) for d in range(size))
        for others in itertools.permutations([s for s in steps if s != first], size - 1):
            chosen = (first, *others)
            lengths = tuple(length[s] for s in chosen)
            if math.prod(lengths) != grid.size or min(lengths) < 2:
                continue
            candidate = Product(chosen, lengths, np.zeros(0, dtype=np.int64))
            if leader in found and candidate.load().sum() >= found[leader].load().sum() - 1e-12:
                continue
            rank = _all_places([forward[s] for s in chosen], lengths)
            if len(np.unique(rank)) == grid.size:
                found[leader] = Product(chosen, lengths, rank)
    return found


def _cycle(forward: IntArray) -> int:
    at, count = int(forward[0]), 1
    while at:
        at, count = int(forward[at]), count + 1
    return count


def _all_places(forward: list[IntArray], lengths: tuple[int, ...]) -> IntArray:
    """Node reached from node 0 by every combination of steps, row-major."""
    nodes = np.zeros(1, dtype=np.int64)
    for move, length in zip(forward, lengths, strict=True):
        rows = [nodes]
        for _ in range(length - 1):
            rows.append(move[rows[-1]])
        nodes = np.stack(rows, axis=1).ravel()
    return nodes


def _products_of(site: Site) -> dict[int, Product]:
    fabric = site.fabric
    if "ring products" not in fabric.cache:
        assert fabric.grid is not None, "fits() was asked before"
        fabric.cache["ring products"] = products(fabric.grid)
    found: dict[int, Product] = fabric.cache["ring products"]
    return found


def on_a_twisted_torus(collective: Collective, site: Site) -> str:
    """It needs the whole of a twisted torus that is a product of rings."""
    grid = site.grid
    if grid is None or not grid.twisted:
        return "it needs all ranks of a twisted torus"
    if not all(grid.wrap):
        return "every dimension must wrap"
    return "" if _products_of(site) else "no rings along its dimensions and diagonals make it up"


@algorithm("twisted-bucket", RING_OPERATIONS, fits=on_a_twisted_torus, pipelines=True)
def twisted_bucket(collective: Collective, site: Site, chunks: int) -> Schedule:
    """Buckets along rings that close through the twist, all leading dimensions and directions at once."""
    grid = site.grid
    assert grid is not None, "fits() was asked before"
    leading = list(_products_of(site).values())
    speed = dimension_speeds(site, grid)[list(grid.dimensions)]
    load = np.stack([p.load()[list(grid.dimensions)] / speed for p in leading], axis=1)
    share, _ = smallest_maximum(load)
    used = [(p, float(x)) for p, x in zip(leading, share, strict=True) if x > NEAR]
    chosen = [(p, x / 2, way) for p, x in used for way in (1, -1)]
    shares = np.asarray([x for _, x, _ in chosen]) / sum(x for _, x, _ in chosen)
    detail = ", ".join(sorted({"x".join(map(str, p.lengths)) for p, _, _ in chosen}))
    cutting = partial(shared_out, collective, shares)
    builder = ScheduleBuilder(collective, "twisted-bucket", cutting, f"rings {detail}")
    for part, (p, _, way) in enumerate(chosen):
        virtual = Grid(p.lengths, (True,) * len(p.lengths))
        instance = Instance(tuple(range(len(p.lengths))), way, float(shares[part]))
        Bucket(virtual, p.rank, instance, part, len(chosen), (grid, np.asarray(p.steps))).add(builder)
    return builder.build().pipelined(chunks)
