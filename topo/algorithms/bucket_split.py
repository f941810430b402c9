"""How much data each order of dimensions of a concurrent bucket algorithm carries.

An order pi sends x_pi (k_d - 1)/P_pi(d) of the data along dimension d, P_pi(d) the product of the lengths up to and
including d in that order.  The shares x that minimise the busiest dimension's time, max_d sum_pi x_pi (k_d - 1) /
(P_pi(d) B_d), are a linear program; its optimum times S is the bandwidth term of a reduce-scatter or all-gather.
Derived here; the idea of splitting over orders is Themis' (Rashidi et al., ISCA 2022, arXiv 2110.04478).  Where all
rotations of the dimensions with equal shares do as well, they are taken.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from topo.fabric import FloatArray, Grid

MOST_ORDERED = 4
"""Dimensions up to which every order is weighed; with more, the rotations only."""
NEAR = 1e-9


@dataclass(frozen=True)
class Instance:
    """One bucket run: its order of dimensions, its direction, and its share of the data."""

    order: tuple[int, ...]
    direction: int
    share: float


def dimension_loads(grid: Grid, orders: list[tuple[int, ...]], speed: FloatArray) -> FloatArray:
    """Seconds per byte that each order puts on each dimension [dimensions, orders].

    Parameters
    ----------
    grid : Grid
    orders : list of tuple of int
    speed : float array [dimensions]
        Bytes/s of a rank along each dimension, both directions together where both serve.
    """
    load = np.zeros((len(grid.shape), len(orders)))
    for i, order in enumerate(orders):
        product = 1.0
        for d in order:
            product *= grid.shape[d]
            load[d, i] = (grid.shape[d] - 1) / product / speed[d]
    return load[list(grid.dimensions)]


def split(grid: Grid, speed: FloatArray, *, optimal: bool) -> tuple[list[Instance], str]:
    """Instances of the concurrent bucket and what to say of them.

    Without chunks that follow each other the instances drift apart, and equal shares do better than optimal ones.

    Parameters
    ----------
    grid : Grid
    speed : float array [dimensions]
        Bytes/s of a link along each dimension, one way.
    optimal : bool
        Optimal shares, or rotations with equal shares.
    """
    dimensions = grid.dimensions
    rotations = [dimensions[i:] + dimensions[:i] for i in range(len(dimensions))]
    # A folded dimension keeps both directions of its links busy with one stream.
    directions = (1, -1) if any(grid.wrap[d] for d in dimensions) else (1,)
    # The two neighbours of a ring of two are one, over one link.
    doubled = [wrap and length > 2 for wrap, length in zip(grid.wrap, grid.shape, strict=True)]
    both = speed * np.where(doubled, 2.0, 1.0)
    orders = list(itertools.permutations(dimensions)) if len(dimensions) <= MOST_ORDERED else rotations
    even = float(dimension_loads(grid, rotations, both).mean(axis=1).max())
    # Every order moves (N-1)/N of the data over all dimensions together, so no shares beat this.
    ideal = (grid.size - 1) / grid.size / float(both[list(dimensions)].sum())
    share, best = np.zeros(0), even
    if optimal and even > ideal * (1 + NEAR):
        share, best = smallest_maximum(dimension_loads(grid, orders, both))
    if even <= best * (1 + NEAR):
        orders, share, detail = rotations, np.full(len(rotations), 1 / len(rotations)), ""
    else:
        kept = share > NEAR
        detail = " ".join(
            f"{x:.0%}:{'>'.join(map(str, order))}" for order, x in zip(orders, share, strict=True) if x > NEAR
        )
        orders = [order for order, keep in zip(orders, kept, strict=True) if keep]
        share = share[kept] / share[kept].sum()
    return [
        Instance(order, direction, float(x) / len(directions))
        for order, x in zip(orders, share, strict=True)
        for direction in directions
    ], detail


def smallest_maximum(load: FloatArray) -> tuple[FloatArray, float]:
    """Shares that sum to one and minimise the largest row of ``load @ shares``, and that minimum."""
    from scipy.optimize import linprog

    rows, columns = load.shape
    if columns == 1:
        return np.ones(1), float(load.max())
    scale = load.max()
    found = linprog(
        np.append(np.zeros(columns), 1.0),
        A_ub=np.column_stack([load / scale, -np.ones(rows)]),
        b_ub=np.zeros(rows),
        A_eq=np.append(np.ones(columns), 0.0)[None],
        b_eq=[1.0],
        method="highs",
    )
    return np.maximum(found.x[:-1], 0.0), float(found.fun * scale)
