"""Max-min fair sharing by progressive filling, and its certificate.

Theory: Bertsekas and Gallager, "Data Networks", chapter 6.  A flow of rate r puts r * weight on each of its
links.  Rates are max-min fair exactly when no link is above capacity and every flow crosses a saturated link on
which no flow is faster.
"""

from __future__ import annotations

import numpy as np

from topo.errors import InternalError
from topo.fabric import FloatArray, IntArray

TIE = 1e-9
"""Shares within this relative distance are one level of the filling."""


def max_min_rates(capacity: FloatArray, pointer: IntArray, link: IntArray, weight: FloatArray) -> FloatArray:
    """Max-min fair rates of flows.

    Parameters
    ----------
    capacity : float array [links]
        Bytes/s.
    pointer, link, weight : compressed table
        Links of each flow, and the share of its rate that each carries; every flow has at least one.

    Returns
    -------
    float array [flows], bytes/s.
    """
    return filled(capacity, pointer, link, weight)[0]


def filled(
    capacity: FloatArray, pointer: IntArray, link: IntArray, weight: FloatArray
) -> tuple[FloatArray, int]:
    """Max-min fair rates, and the number of levels that the filling took."""
    flows = len(pointer) - 1
    rate = np.zeros(flows)
    if flows == 1:
        rate[0] = (capacity[link] / weight).min()
        return rate, 1
    levels = 0
    names, link = np.unique(link, return_inverse=True)
    left = capacity[names].astype(float)
    alive = np.arange(flows)
    starts, counts = pointer[:-1], np.diff(pointer)
    while len(alive):
        levels += 1
        load = np.bincount(link, weight, len(left))
        share = np.full(len(left), np.inf)
        np.divide(left, load, out=share, where=load > 0)
        own = np.minimum.reduceat(share[link], starts)
        level = own.min()
        frozen = own <= level * (1 + TIE)
        rate[alive[frozen]] = level
        if frozen.all():
            break
        gone = np.repeat(frozen, counts)
        left -= level * np.bincount(link[gone], weight[gone], len(left))
        np.maximum(left, 0.0, out=left)
        link, weight = link[~gone], weight[~gone]
        alive, counts = alive[~frozen], counts[~frozen]
        starts = np.cumsum(counts) - counts
    return rate, levels


def certify_rates(
    capacity: FloatArray,
    pointer: IntArray,
    link: IntArray,
    weight: FloatArray,
    rate: FloatArray,
    tolerance: float = 1e-6,
) -> None:
    """Check the max-min certificate.

    Raises
    ------
    InternalError
        A link is above capacity, or a flow has no saturated link on which its rate is maximal.
    """
    if not len(rate):
        return
    row = np.repeat(np.arange(len(rate)), np.diff(pointer))
    load = np.bincount(link, weight * rate[row], len(capacity))
    over = np.flatnonzero(load > capacity * (1 + tolerance))
    if len(over):
        raise InternalError(f"link {over[0]} carries {load[over[0]]:g} of {capacity[over[0]]:g} bytes/s")
    fastest = np.zeros(len(capacity))
    np.maximum.at(fastest, link, rate[row])
    tight = (load >= capacity * (1 - tolerance))[link] & (rate[row] >= fastest[link] * (1 - tolerance))
    certified = np.zeros(len(rate), dtype=bool)
    certified[row[tight]] = True
    if not certified.all():
        raise InternalError(
            f"flow {int(np.flatnonzero(~certified)[0])} has no bottleneck: rates are not max-min fair"
        )
