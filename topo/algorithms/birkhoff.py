"""All-to-all of unequal blocks without a port ever waiting for another.

The matrix of blocks, filled up to equal row and column sums, is a sum of weighted permutations (Birkhoff 1946, von
Neumann 1953).  One permutation after the other, every port has one stream at a time, and the time is that of the
busiest port: a + max(largest row sum, largest column sum)/B on a non-blocking switch, the least possible (open shop
with preemption; Gonzalez and Sahni 1976).  The order is kept by waiting for the port's stream before, at both ends;
no message is counted for that, as for schedules fixed beforehand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from topo.algorithms.homes import star
from topo.algorithms.registry import Site, algorithm
from topo.collective import Chunks, Collective
from topo.errors import AlgorithmError
from topo.fabric import FloatArray, IntArray
from topo.schedule import LAST, Schedule, ScheduleBuilder, Wait, one_each

MOST_RANKS = 64
"""Ranks up to which the matrix is taken apart."""
NEAR = 1e-12


@dataclass(frozen=True, eq=False)
class Step:
    """One permutation: who sends how many bytes to whom."""

    source: IntArray
    target: IntArray
    bytes: FloatArray


def steps_of(blocks: FloatArray) -> list[Step]:
    """Permutations whose weighted sum covers the blocks, and what each really moves.

    Parameters
    ----------
    blocks : float array [ranks, ranks]
        Bytes; the diagonal is zero.
    """
    from scipy.optimize import linear_sum_assignment

    n = len(blocks)
    real = blocks.astype(float).copy()
    most = max(real.sum(axis=0).max(), real.sum(axis=1).max())
    idle = _filled_up(real, most)
    found: list[Step] = []
    rank = np.arange(n)
    for _ in range(2 * n * n):
        left = real + idle
        if left.max() <= NEAR * most:
            return found
        # A perfect matching among what is left; among those one with as many bytes as it gets.
        usable = left > NEAR * most
        _, to = linear_sum_assignment(np.where(usable, left, -most * n), maximize=True)
        weight = float(left[rank, to].min())
        if weight <= NEAR * most:
            break
        moved = np.minimum(real[rank, to], weight)
        real[rank, to] -= moved
        idle[rank, to] = np.maximum(idle[rank, to] - (weight - moved), 0.0)
        sends = np.flatnonzero(moved > NEAR * most)
        found.append(Step(rank[sends], to[sends], moved[sends]))
    raise AlgorithmError("the matrix of blocks could not be taken apart", "take direct")


def _filled_up(real: FloatArray, most: float) -> FloatArray:
    """Idle time that brings every row and column of the matrix to the same sum."""
    idle = np.zeros_like(real)
    rows, columns = most - real.sum(axis=1), most - real.sum(axis=0)
    i = j = 0
    while i < len(rows) and j < len(columns):
        piece = min(rows[i], columns[j])
        idle[i, j] += piece
        rows[i] -= piece
        columns[j] -= piece
        i, j = (i + 1, j) if rows[i] <= columns[j] else (i, j + 1)
    return idle


def on_small_groups(collective: Collective, site: Site) -> str:
    """The matrix is taken apart for small groups only."""
    if collective.ranks > MOST_RANKS:
        return f"it takes matrices apart for up to {MOST_RANKS} ranks"
    return ""


def _time(collective: Collective, site: Site, chunks: int) -> float | None:
    """On a star: the busiest port."""
    port = star(site)
    if port is None:
        return None
    blocks = collective.blocks()
    return port.time(float(max(blocks.sum(axis=0).max(), blocks.sum(axis=1).max())))


@algorithm("birkhoff", ("all-to-all",), fits=on_small_groups, scales=False, closed_form=_time)
def birkhoff(collective: Collective, site: Site, chunks: int) -> Schedule:
    """All-to-all as permutations one after another: the busiest port never waits, also with unequal blocks."""
    n = collective.ranks
    blocks = collective.blocks()
    plan = steps_of(blocks)

    def cutting() -> Chunks:
        sizes = [step.bytes for step in plan]
        return Chunks(
            np.concatenate(sizes),
            np.concatenate([step.source for step in plan]),
            np.concatenate([step.target for step in plan]),
        )

    builder = ScheduleBuilder(collective, "birkhoff", cutting, f"{len(plan)} steps")
    sent, got = np.full(n, -1), np.full(n, -1)
    first = 0
    for number, step in enumerate(plan):
        waits = _port_waits(step.source, sent, [s.source for s in plan]) + _port_waits(
            step.target, got, [s.target for s in plan]
        )
        chunks_of = one_each(first + np.arange(len(step.source)))
        builder.add(step.source, step.target, step.bytes, chunks_of, waits=waits, step=number)
        sent[step.source], got[step.target] = number, number
        first += len(step.source)
    return builder.build()


def _port_waits(ports: IntArray, last: IntArray, users: list[IntArray]) -> list[Wait]:
    """Waits of the transfers of a step for the last earlier stream of their port."""
    found: list[Wait] = []
    for batch in np.unique(last[ports]):
        if batch < 0:
            continue
        mine = np.flatnonzero(last[ports] == batch)
        theirs = np.asarray([int(np.flatnonzero(users[batch] == port)[0]) for port in ports[mine]])
        found.append(Wait(int(batch), LAST, "drain", (mine, theirs)))
    return found
