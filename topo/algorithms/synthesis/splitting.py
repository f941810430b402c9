"""Removing relays: their edges are split off pairwise, with every root still reaching every rank in full.

For a relay that gives out what it takes in such a complete splitting exists (Bang-Jensen, Frank, Jackson,
"Preserving and increasing local edge-connectivity in mixed graphs", 1995).  Here it is found by trying a whole,
even plan at once and looking only where that fails: a cut that a trial overdraws is remembered, and its slack
limits every later plan.
"""

from __future__ import annotations

import numpy as np
from tqdm import tqdm

from topo.algorithms.synthesis.cuts import lacking
from topo.algorithms.synthesis.network import Network
from topo.errors import InternalError
from topo.fabric import BoolArray, FloatArray, IntArray

SWEEPS = 60
RELAY_WEIGHT = 1e-3
"""How little a plan likes to join two other relays."""

Splits = list[tuple[int, int, int]]
"""(source, target, units)."""


def remove_relays(network: Network, weights: IntArray) -> None:
    """Split off every relay of a network in place.

    Parameters
    ----------
    network : Network
        Wide enough that every rank can be sent the whole weight of the roots.
    weights : int array [members]
    """
    cuts = _Cuts(network, weights)
    relays = sorted(network.relays, key=lambda relay: (int((network.capacity[relay] > 0).sum()), relay))
    for relay in tqdm(
        relays, desc="splitting switches off", unit="switch", delay=2, disable=None, leave=False
    ):
        _remove(network, relay, cuts)


class _Cuts:
    """Node sets that a trial overdrew, and the test for more of them."""

    def __init__(self, network: Network, weights: IntArray) -> None:
        self.network, self.weights = network, weights
        self.sets = np.zeros((0, len(network.capacity)), dtype=bool)

    def slack(self) -> IntArray:
        """Capacity that leaves each set beyond the weight inside it [sets]."""
        sets = self.sets.astype(np.int64)
        out = ((sets @ self.network.capacity) * (1 - sets)).sum(axis=1)
        return np.asarray(out - sets[:, : len(self.weights)] @ self.weights, dtype=np.int64)

    def find(self) -> bool:
        """Look for overdrawn sets; remember them and say whether there are any."""
        fresh = lacking(self.network.capacity, self.weights)
        if fresh:
            self.sets = np.unique(np.concatenate([self.sets, np.asarray(fresh)]), axis=0)
        return bool(fresh)

    def touched(self, relay: int, source: IntArray, target: IntArray) -> BoolArray:
        """Which sets lose capacity when source - relay - target is split off [sets, pairs].

        Those on whose border both edges lie: both ends on one side, the relay on the other.
        """
        start, end = self.sets[:, source], self.sets[:, target]
        return np.asarray((start == end) & (start != self.sets[:, [relay]]), dtype=bool)


def _remove(network: Network, relay: int, cuts: _Cuts) -> None:
    while network.capacity[relay].any():
        before = int(network.capacity[relay].sum())
        _try(network, relay, _even_plan(network, relay, cuts), cuts)
        if int(network.capacity[relay].sum()) == before:
            _one_more(network, relay, cuts)


def _even_plan(network: Network, relay: int, cuts: _Cuts) -> Splits:
    """Splits that spread every edge evenly over all it may go on to, within the known cuts."""
    into, out = network.capacity[:, relay], network.capacity[relay]
    source, target = np.flatnonzero(into), np.flatnonzero(out)
    supply, demand = into[source].astype(float), out[target].astype(float)
    wish = np.ones((len(source), len(target)))
    wish[source[:, None] == target[None, :]] = 0.0
    wish[(source[:, None] >= network.members) & (target[None, :] >= network.members)] *= RELAY_WEIGHT
    pair_source, pair_target = np.repeat(source, len(target)), np.tile(target, len(source))
    touched = cuts.touched(relay, pair_source, pair_target).reshape(-1, *wish.shape)
    slack = cuts.slack().astype(float)
    wish[touched[slack <= 0].any(axis=0)] = 0.0
    wish = _fitted(wish, supply, demand, touched[slack > 0], slack[slack > 0])
    return _rounded(wish, source, target, supply, demand, touched, slack)


def _fitted(
    wish: FloatArray, supply: FloatArray, demand: FloatArray, touched: BoolArray, slack: FloatArray
) -> FloatArray:
    """Scale rows and columns in turn to their sums (Sinkhorn), never beyond the slack of a cut."""
    for _ in range(SWEEPS):
        for axis, margin in ((1, supply), (0, demand)):
            total = wish.sum(axis=axis)
            factor = np.divide(margin, total, out=np.zeros_like(total), where=total > 0)
            wish = wish * (factor[:, None] if axis == 1 else factor[None, :])
        for mask, most in zip(touched, slack, strict=True):
            total = wish[mask].sum()
            if total > most:
                wish[mask] *= most / total
    for axis, margin in ((1, supply), (0, demand)):
        total = wish.sum(axis=axis)
        factor = np.minimum(np.divide(margin, total, out=np.ones_like(total), where=total > 0), 1.0)
        wish = wish * (factor[:, None] if axis == 1 else factor[None, :])
    return wish


def _rounded(
    wish: FloatArray,
    source: IntArray,
    target: IntArray,
    supply: FloatArray,
    demand: FloatArray,
    touched: BoolArray,
    slack: FloatArray,
) -> Splits:
    whole = np.floor(wish + 1e-9)
    left = wish - whole
    supply, demand = supply - whole.sum(axis=1), demand - whole.sum(axis=0)
    slack = slack - (touched * whole[None]).sum(axis=(1, 2))
    # Largest remainders first; among equals diagonal after diagonal, the diagonals far from each other, so that
    # no row takes all the same columns and none takes neighbours only.
    rows, columns = np.nonzero(left > 1e-9)
    turn = reversed_bits((columns - rows) % len(target), len(target))
    for i in np.lexsort((rows, turn, -np.round(left[rows, columns], 9))):
        row, column = rows[i], columns[i]
        if supply[row] < 1 or demand[column] < 1 or (slack[touched[:, row, column]] < 1).any():
            continue
        whole[row, column] += 1
        supply[row] -= 1
        demand[column] -= 1
        slack[touched[:, row, column]] -= 1
    return [
        (int(source[i]), int(target[j]), int(whole[i, j])) for i, j in zip(*np.nonzero(whole), strict=True)
    ]


def reversed_bits(numbers: IntArray, many: int) -> IntArray:
    """Numbers below ``many`` with their binary digits in reverse: 0, 1/2, 1/4, 3/4, ... of the range come first."""
    result = np.zeros_like(numbers)
    for _ in range(max(many - 1, 1).bit_length()):
        result = result * 2 + numbers % 2
        numbers = numbers // 2
    return result


def _try(network: Network, relay: int, plan: Splits, cuts: _Cuts) -> None:
    """Carry out as much of a plan as the cuts allow, halving it where it fails."""
    if not plan:
        return
    trial = network.capacity.copy()
    for source, target, units in plan:
        _split_capacity(network.capacity, relay, source, target, units)
    overdrawn = cuts.find()
    network.capacity[:] = trial
    if not overdrawn:
        for source, target, units in plan:
            network.split(source, relay, target, units)
        return
    if len(plan) > 1:
        half = len(plan) // 2
        _try(network, relay, _within(plan[:half], relay, cuts), cuts)
        _try(network, relay, _within(plan[half:], relay, cuts), cuts)
    else:
        _try(network, relay, _within(plan, relay, cuts), cuts)


def _within(plan: Splits, relay: int, cuts: _Cuts) -> Splits:
    """A plan cut down to the slack of the known cuts."""
    slack = cuts.slack()
    kept: Splits = []
    touched = cuts.touched(relay, np.asarray([s for s, _, _ in plan]), np.asarray([t for _, t, _ in plan]))
    for i, (source, target, units) in enumerate(plan):
        allowed = min(units, int(slack[touched[:, i]].min(initial=units)))
        if allowed > 0:
            kept.append((source, target, allowed))
            slack[touched[:, i]] -= allowed
    return kept


def _one_more(network: Network, relay: int, cuts: _Cuts) -> None:
    """Split off any pair at all, as much of it as goes; loops last."""
    into, out = network.capacity[:, relay], network.capacity[relay]
    pairs = [(int(s), int(t)) for s in np.flatnonzero(into) for t in np.flatnonzero(out)]
    before = int(out.sum())
    for source, target in sorted(pairs, key=lambda pair: (pair[0] == pair[1], pair)):
        units = int(min(into[source], out[target]))
        _try(network, relay, _within([(source, target, units)], relay, cuts), cuts)
        if int(network.capacity[relay].sum()) < before:
            return
    raise InternalError(f"no edges of {network.names[relay]} can be split off")


def _split_capacity(capacity: IntArray, relay: int, source: int, target: int, units: int) -> None:
    capacity[source, relay] -= units
    capacity[relay, target] -= units
    if source != target:
        capacity[source, target] += units
