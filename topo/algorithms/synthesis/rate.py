"""How fast trees can be packed: the exact rate, and the root weights that make it largest.

Source: Zhao et al., "ForestColl: Throughput-optimal collective communications on heterogeneous network fabrics"
(2024) for the cut bound, here found by a discrete Newton iteration on minimum cuts.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from topo.algorithms.synthesis.cuts import lacking, leaving
from topo.algorithms.synthesis.network import Network
from topo.bounds.maxflow import MOST
from topo.fabric import BoolArray, FloatArray, IntArray

CLOSE = 1e-7


def rate(network: Network, weights: IntArray) -> Fraction:
    """The largest ratio, over all cuts, of the roots' weight inside to the capacity that leaves.

    With ``weights[r]`` shares of data to spread from each rank r, time >= shares x this ratio, and trees that
    reach it exist.

    Parameters
    ----------
    network : Network
    weights : int array [members]
    """
    capacity, members = network.capacity, network.members
    total = int(weights.sum())
    into = capacity.sum(axis=0)[:members]
    best = max(Fraction(total - int(weights[v]), int(into[v])) for v in range(members))
    while True:
        cuts = lacking(capacity * best.numerator, weights * best.denominator)
        found = [_ratio(capacity, weights, cut) for cut in cuts]
        if not found or max(found) <= best:
            return best
        best = max(found)


def _ratio(capacity: IntArray, weights: IntArray, inside: BoolArray) -> Fraction:
    return Fraction(int(weights[inside[: len(weights)]].sum()), leaving(capacity, inside))


def all_reduce_weights(network: Network, finest: int) -> tuple[IntArray, float]:
    """Root weights for an all-reduce on a network whose edges are as wide one way as the other.

    Reductions climb trees in a part of the capacities, broadcasts descend trees in the rest.  On such a network
    nothing is lost by giving each of them half of every edge and both the same trees: time reversal swaps the two
    parts, so they may be taken as each other's reverse, and what limits the sum of the weights are sums of
    capacity over cuts taken both ways, which are those of half the network whichever part it is.  The weights x
    maximise sum(x) subject to x(A) <= capacity out of A / 2 for every node set A with a rank outside; among the
    best, the smallest weight is largest.

    Parameters
    ----------
    network : Network
    finest : int
        Largest sum of the whole-numbered weights.

    Returns
    -------
    (int array [members], float)
        Weights proportional to the best, as nearly as whole numbers up to ``finest`` allow; and the sum of the
        best on the whole capacities (twice x).
    """
    best = _largest_sum(network)
    return _whole_weights(best, finest), float(best.sum())


def _largest_sum(network: Network) -> FloatArray:
    from scipy.optimize import linprog

    members, capacity = network.members, network.capacity
    cuts: list[BoolArray] = []
    for v in range(members):
        alone = np.zeros(len(capacity), dtype=bool)
        alone[v] = True
        cuts += [alone, ~alone]
    while True:
        sides = np.asarray([cut[:members] for cut in cuts], dtype=float)
        limits = np.asarray([leaving(capacity, cut) for cut in cuts], dtype=float)
        most = linprog(-np.ones(members), A_ub=sides, b_ub=limits, method="highs")
        # Second: the same sum with the smallest weight as large as can be.
        column = np.append(np.zeros(len(cuts)), np.ones(members))[:, None]
        rows = np.hstack([np.vstack([sides, -np.eye(members)]), column])
        even = linprog(
            np.append(np.zeros(members), -1.0),
            A_ub=rows,
            b_ub=np.append(limits, np.zeros(members)),
            A_eq=np.append(np.ones(members), 0.0)[None, :],
            b_eq=[-most.fun],
            method="highs",
        )
        weights = np.maximum((even if even.status == 0 else most).x[:members], 0.0)
        scale = MOST / 4 / max(float(capacity.sum()), float(weights.sum()))
        supply = np.floor(weights * scale * (1 - CLOSE)).astype(np.int64)
        fresh = lacking(np.floor(capacity * scale).astype(np.int64), supply)
        fresh = [c for c in fresh if weights[c[:members]].sum() > leaving(capacity, c) * (1 + CLOSE)]
        if not fresh:
            return np.asarray(weights, dtype=np.float64)
        cuts += fresh


def _whole_weights(weights: FloatArray, finest: int) -> IntArray:
    share = weights / weights.sum()
    for total in range(1, finest + 1):
        whole = np.round(share * total)
        if np.abs(whole - share * total).max() < 1e-6 * total:
            return np.asarray(whole, dtype=np.int64)
    return np.asarray(np.floor(share * finest), dtype=np.int64)
