"""Reductions and broadcasts on a wafer of cores, in clock cycles.

Model: Luczynski, Gianinazzi, Iff, Wilson, De Sensi and Hoefler, "Near-Optimal Wafer-Scale Reduce", HPDC 2024 (arXiv
2404.15888).  A vector of B wavelets (32-bit words, one per link and cycle) on P cores takes

    max(C, E/N + L) + (2 T_R + 1) D    cycles,

C the most wavelets through one ramp, E the hops of all wavelets together, N the links used, L the longest way, D the
depth of dependent steps, and T_R the latency of a ramp between core and router (about 2 on the machine of the paper).
Wall time is cycles over clock frequency.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from topo.errors import AlgorithmError, nearest
from topo.fabric import FloatArray, IntArray

RAMP = 2
"""T_R of the paper's machine, cycles."""
MOST_GENERATED = 128
"""Cores of a row up to which Auto-Gen searches."""


@dataclass(frozen=True)
class Cost:
    """What a pattern on a row of cores costs in the model.

    Parameters
    ----------
    contention : float
        Most wavelets through one ramp, C.
    energy : float
        Hops of all wavelets, E.
    distance : int
        Hops of the longest way, L.
    depth : int
        Dependent steps, D.
    links : int
        Links used, N.
    """

    contention: float
    energy: float
    distance: int
    depth: int
    links: int

    def cycles(self, ramp: int = RAMP) -> float:
        """Clock cycles, with ``ramp`` the latency between core and router."""
        return max(self.contention, self.energy / self.links + self.distance) + (2 * ramp + 1) * self.depth


def _row(cores: int, wavelets: float) -> None:
    if cores < 2:
        raise AlgorithmError(f"a row of {cores} cores has nothing to reduce", "give at least two")
    if not wavelets > 0:
        raise AlgorithmError(f"{wavelets} wavelets are no vector", "give a positive number")


def broadcast(cores: int, wavelets: float) -> Cost:
    """Multicast from the end of a row to all."""
    _row(cores, wavelets)
    return Cost(wavelets, wavelets * (cores - 1), cores - 1, 1, cores - 1)


def star(cores: int, wavelets: float) -> Cost:
    """Every core sends to the root."""
    _row(cores, wavelets)
    return Cost(wavelets * (cores - 1), wavelets * cores * (cores - 1) / 2, cores - 1, 1, cores - 1)


def chain(cores: int, wavelets: float) -> Cost:
    """Every core adds what its neighbour sends and sends on, wavelet by wavelet."""
    _row(cores, wavelets)
    return Cost(wavelets, wavelets * (cores - 1), cores - 1, cores - 1, cores - 1)


def tree(cores: int, wavelets: float) -> Cost:
    """Distance doubling: in round s every second core that is left sends 2^s cores on."""
    _row(cores, wavelets)
    parents = tree_parents(cores)
    return _of_parents(parents, wavelets)


def two_phase(cores: int, wavelets: float, group: int = 0) -> Cost:
    """Chains inside groups, then a chain over the groups' first cores; ``group`` 0 takes the square root."""
    _row(cores, wavelets)
    group = group or best_group(cores)
    if not 1 <= group <= cores:
        raise AlgorithmError(f"groups of {group} do not fit a row of {cores} cores", f"give 1 to {cores}")
    groups = -(-cores // group)
    energy = wavelets * (cores - groups + (groups - 1) * group)
    most = 1 + (group > 1 and groups > 1)
    return Cost(most * wavelets, energy, cores - 1, group + groups - 2, cores - 1)


def best_group(cores: int) -> int:
    """Group size of the two-phase reduce: about the square root of the cores."""
    return max(round(math.sqrt(cores)), 1)


PATTERNS = {"star": star, "chain": chain, "tree": tree, "two-phase": two_phase}


def reduce_cycles(pattern: str, cores: int, wavelets: float, ramp: int = RAMP) -> float:
    """Cycles of a reduce on a row by name: star, chain, tree, two-phase or auto-gen.

    Raises
    ------
    AlgorithmError
        Unknown pattern, or a row or vector that is none.
    """
    if pattern == "auto-gen":
        return auto_gen(cores, wavelets, ramp)[0]
    if pattern not in PATTERNS:
        names = [*PATTERNS, "auto-gen"]
        raise AlgorithmError(
            f"wafer pattern {pattern!r} is unknown", nearest(pattern, names) or f"one of {', '.join(names)}"
        )
    return PATTERNS[pattern](cores, wavelets).cycles(ramp)


def xy_reduce_cycles(pattern: str, rows: int, columns: int, wavelets: float, ramp: int = RAMP) -> float:
    """Cycles on a grid: along the rows, then down the first column."""
    return sum(reduce_cycles(pattern, cores, wavelets, ramp) for cores in (columns, rows) if cores > 1)


def snake_reduce_cycles(rows: int, columns: int, wavelets: float, ramp: int = RAMP) -> float:
    """Cycles of a chain that winds through the whole grid."""
    return chain(rows * columns, wavelets).cycles(ramp)


def grid_broadcast_cycles(rows: int, columns: int, wavelets: float, ramp: int = RAMP) -> float:
    """Cycles of a multicast along the column and then the rows."""
    _row(rows * columns, wavelets)
    return wavelets + rows + columns - 2 + 2 * ramp + 1


def grid_bound_cycles(rows: int, columns: int, wavelets: float, ramp: int = RAMP) -> float:
    """Cycles that no reduce on a grid can beat: the root's ramp, or the way from the far corner."""
    _row(rows * columns, wavelets)
    return max(wavelets, rows + columns - 2) + 2 * ramp + 1


# -------------------------------------------------------------------------------- trees on a row of cores


def tree_parents(cores: int) -> IntArray:
    """Parent of each core in the distance-doubling tree: without its lowest bit; -1 for the root."""
    core = np.arange(cores)
    return np.where(core > 0, core - (core & -core), -1)


def two_phase_parents(cores: int, group: int = 0) -> IntArray:
    """Parent of each core in the two-phase tree."""
    group = group or best_group(cores)
    core = np.arange(cores)
    return np.where(core % group == 0, np.maximum(core - group, -1), core - 1)


def _of_parents(parents: IntArray, wavelets: float) -> Cost:
    """Cost of a reduce along any tree on a row with its root at core 0."""
    core = np.arange(1, len(parents))
    depth = np.zeros(len(parents), dtype=np.int64)
    for i in core:
        depth[i] = depth[parents[i]] + 1
    energy = float((core - parents[1:]).sum())
    fan_in = int(np.bincount(parents[1:]).max())
    last = len(parents) - 1
    return Cost(fan_in * wavelets, energy * wavelets, last, int(depth.max()), last)


def tree_cost(parents: IntArray, wavelets: float) -> Cost:
    """Cost of a reduce along a tree on a row.

    Parameters
    ----------
    parents : int array [cores]
        Parent of each core, further left than it; -1 for core 0, the root.
    wavelets : float
    """
    if len(parents) < 2 or parents[0] != -1 or (parents[1:] >= np.arange(1, len(parents))).any():
        raise AlgorithmError(
            "the parents are no tree with its root at core 0", "every parent is further left"
        )
    return _of_parents(np.asarray(parents), wavelets)


# ------------------------------------------------------------------------- least energy, and Auto-Gen


def least_energy(cores: int, depth: int) -> float:
    """Least hops per wavelet of a reduce to the end of a row with at most ``depth`` dependent steps.

    ``E(1, d) = 0``, ``E(p, 0)`` infinite, ``E(p, d) = min_i E(i, d) + E(p - i, d - 1) + i``: the root's last child
    is core i and gathers all to its right.
    """
    return float(_energies(cores, depth)[depth, cores])


@lru_cache(maxsize=8)
def _energies(cores: int, depth: int) -> FloatArray:
    """Least energy with any fan-in [depth, cores]."""
    table = np.full((depth + 1, cores + 1), np.inf)
    table[:, 1] = 0.0
    for d in range(1, depth + 1):
        for p in range(2, cores + 1):
            table[d, p] = (table[d, 1:p] + table[d - 1, p - 1 : 0 : -1] + np.arange(1, p)).min()
    return table


def _limited(cores: int, depth: int, fan_in: int) -> FloatArray:
    """Least energy [depth, children of the root, cores] when no core has more than ``fan_in`` children."""
    table = np.full((depth + 1, fan_in + 1, cores + 1), np.inf)
    table[:, :, 1] = 0.0
    left = np.arange(cores + 1)
    right = left[:, None] - left
    split = (right >= 1) & (left >= 1)
    for d in range(1, depth + 1):
        below = np.where(split, table[d - 1, fan_in][right] + left, np.inf)
        for children in range(1, fan_in + 1):
            found = (below + table[d, children - 1]).min(axis=1)
            table[d, children, 2:] = found[2:]
    return table


def bound_cycles(cores: int, wavelets: float, ramp: int = RAMP) -> float:
    """Cycles that no reduce on a row beats in this model: the best depth, every ramp used once."""
    _row(cores, wavelets)
    depth = np.arange(1, cores)
    energy = _energies(cores, cores - 1)[1:, cores]
    cycles = np.maximum(wavelets, wavelets * energy / (cores - 1) + cores - 1) + (2 * ramp + 1) * depth
    return float(cycles.min())


def auto_gen(cores: int, wavelets: float, ramp: int = RAMP) -> tuple[float, IntArray]:
    """The best reduction tree of the model on a row: its cycles and the parent of each core.

    Over all depths d and fan-ins c the least-energy tree is found by
    ``E(p, d, c) = min_i E(i, d, c - 1) + E(p - i, d - 1, c0) + i`` and the pair with the fewest cycles kept.

    Raises
    ------
    AlgorithmError
        More than :data:`MOST_GENERATED` cores.
    """
    _row(cores, wavelets)
    if cores > MOST_GENERATED:
        raise AlgorithmError(f"Auto-Gen on {cores} cores takes too long", f"rows of up to {MOST_GENERATED}")
    best = min(cost(cores, wavelets).cycles(ramp) for cost in PATTERNS.values())
    # A tree deeper or wider than these loses to the best plain pattern by its depth or its ramps alone.
    deepest = min(cores - 1, int((best - cores) / (2 * ramp + 1)) + 1)
    widest = min(cores - 1, max(int(best / wavelets), 1))
    least, parents = np.inf, np.zeros(0, dtype=np.int64)
    depth = np.arange(1, deepest + 1)
    for fan_in in range(1, widest + 1):
        table = _limited(cores, deepest, fan_in)
        energy = table[1:, -1, cores]
        cycles = np.maximum(fan_in * wavelets, wavelets * energy / (cores - 1) + cores - 1)
        cycles = cycles + (2 * ramp + 1) * depth
        at = int(cycles.argmin())
        if cycles[at] < least:
            least = float(cycles[at])
            parents = _traced(cores, int(depth[at]), table)
    return least, parents


def _traced(cores: int, depth: int, table: FloatArray) -> IntArray:
    """A tree that attains the least energy."""
    fan_in = table.shape[1] - 1
    parents = np.full(cores, -1, dtype=np.int64)
    work = [(0, cores, depth, fan_in)]
    while work:
        root, size, d, children = work.pop()
        if size == 1:
            continue
        i = np.arange(1, size)
        at = 1 + int((table[d, children - 1][i] + table[d - 1, fan_in][size - i] + i).argmin())
        parents[root + at] = root
        work += [(root, at, d, children - 1), (root + at, size - at, d - 1, fan_in)]
    return parents
