"""How fast trees can be packed: the exact rate, and the root weights that make it largest.

Source: Zhao et al., "ForestColl: Throughput-optimal collective communications on heterogeneous network fabrics"
(2024) for the cut bound; the discrete Newton iteration on cuts and the weights of an all-reduce are derived in
docs.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from topo.algorithms.synthesis.cuts import MOST, lacking, leaving
from topo.algorithms.synthesis.network import Network
from topo.errors import AlgorithmError
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
        if max(best.numerator * int(capacity.sum()), best.denominator * total) > MOST // 2:
            raise AlgorithmError(
                "the bandwidths of this fabric are too finely graded to pack trees exactly", "take another algorithm"
            )
        cuts = lacking(capacity * best.numerator, weights * best.denominator)
        found = [_ratio(capacity, weights, cut) for cut in cuts]
        if not found or max(found) <= best:
            return best
        best = max(found)


def _ratio(capacity: IntArray, weights: IntArray, inside: BoolArray) -> Fraction:
    return Fraction(int(weights[inside[: len(weights)]].sum()), leaving(capacity, inside))


def all_reduce_weights(network: Network, finest: int) -> IntArray:
    """Root weights for an all-reduce on a network whose edges are as wide one way as the other.

    Every tree is climbed by a reduction and descended by a broadcast, so it takes one unit of each of its edges
    both ways; half of every edge is for each.  The weights x maximise sum(x) subject to x(A) <= capacity(A)/2 for
    every node set A with a rank outside; among the best, the smallest weight is largest.

    Parameters
    ----------
    network : Network
    finest : int
        Largest sum of the whole-numbered weights.

    Returns
    -------
    int array [members]
        Proportional to the best weights, as nearly as whole numbers up to ``finest`` allow.
    """
    best = _largest_sum(network)
    return _whole_weights(best, finest)


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
        rows = np.vstack([np.hstack([sides, np.zeros((len(cuts), 1))]), np.hstack([-np.eye(members), np.ones((members, 1))])])
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
            return weights
        cuts += fresh


def _whole_weights(weights: FloatArray, finest: int) -> IntArray:
    share = weights / weights.sum()
    for total in range(1, finest + 1):
        whole = np.round(share * total)
        if np.abs(whole - share * total).max() < 1e-6 * total:
            return whole.astype(np.int64)
    whole = np.floor(share * finest)
    return np.maximum(whole, 0).astype(np.int64)
