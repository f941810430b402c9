"""Skipped repeats: a run whose state recurs, up to a shift in time and in repeat counts, repeats itself exactly.

The run is deterministic and depends only on that relative state, so the repeats in between are jumped over, not
extrapolated.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from topo.fabric import FloatArray, IntArray, spread
from topo.network.batch_solver import BatchSolver
from topo.network.moments import TIE
from topo.schedule import LAST


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A state to compare later ones with."""

    now: float
    started: IntArray
    drained: IntArray
    arrived: IntArray
    active: IntArray
    remaining: FloatArray
    pending: list[tuple[float, IntArray]]


class Recurrence:
    """Watches a run for a state that it was in before."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew: the run is another one now."""
        self._kept: Snapshot | None = None
        self._since = 0
        self._patience = 1

    def periods(self, run: BatchSolver, until: float) -> tuple[int, IntArray, float]:
        """How many periods can be skipped now, how far each row comes in one, and its seconds.

        Keeps the state for later, now and then.
        """
        kept = self._kept
        self._since += 1
        if kept is not None and len(kept.active) == len(run.active) and len(kept.pending) == len(run.pending):
            advance = recurrence(run, kept)
            if advance is not None:
                periods = safe_periods(run, kept, advance, until)
                if periods > 0:
                    self._kept = None
                    return periods, advance, run.now - kept.now
        if kept is None or self._since >= self._patience:
            # Brent's way to find a cycle: keep states at ever longer distances.
            self._patience = self._patience * 2 if kept is not None else 1
            self._since = 0
            self._kept = snapshot(run)
        return 0, run.active[:0], 0.0


def snapshot(run: BatchSolver) -> Snapshot:
    """The state of a run."""
    run.settle()
    return Snapshot(
        run.now,
        run.started.copy(),
        run.drained.copy(),
        run.arrived.copy(),
        run.active.copy(),
        run.remaining.copy(),
        [(time, rows) for time, _, rows in sorted(run.pending, key=lambda entry: entry[:2])],
    )


def recurrence(run: BatchSolver, kept: Snapshot) -> IntArray | None:
    """How far each row has come since the kept state, when the state is otherwise the same."""
    p = run.program
    if not np.array_equal(kept.active, run.active):
        return None
    advance = run.started - kept.started
    if not advance.any() or not np.array_equal(advance, run.drained - kept.drained):
        return None
    if not np.array_equal(advance, run.arrived - kept.arrived):
        return None
    run.settle()
    noise = run.slack(run.now) * run.rate + TIE * p.bytes[run.active]
    if (np.abs(run.remaining - kept.remaining) > noise).any():
        return None
    pending = sorted(run.pending, key=lambda entry: (entry[0], entry[1]))
    for (time, _, rows), (time_then, rows_then) in zip(pending, kept.pending, strict=True):
        if abs((time - run.now) - (time_then - kept.now)) > run.slack(time):
            return None
        if not np.array_equal(np.sort(rows), np.sort(rows_then)):
            return None
    return advance


def safe_periods(run: BatchSolver, kept: Snapshot, advance: IntArray, until: float) -> int:
    """How often the period can be repeated with no row ending and no wait changing its meaning."""
    p = run.program
    moving = np.flatnonzero(advance)
    periods = int(((p.repeat[moving] - run.started[moving]) // advance[moving] - 1).min())
    if run.now <= kept.now:
        return 0
    if until < np.inf:
        periods = min(periods, int((until - run.now) / (run.now - kept.now)) - 1)
    if periods > 0:
        periods = min(periods, periods_before_a_start(run, advance))
    if periods <= 0:
        return 0
    entries = spread(p.wait_pointer, moving)
    owner = np.repeat(moving, p.wait_pointer[moving + 1] - p.wait_pointer[moving])
    gate, lag = p.wait_gate[entries], p.wait_lag[entries]
    ordinary = (lag != LAST) & (run.level[gate] < p.gate_repeat[gate])
    owner, gate, lag = owner[ordinary], gate[ordinary], lag[ordinary]
    if not len(gate):
        return periods
    if (kept.started[owner] - lag < 0).any():
        return 0
    # A gate must advance with those that wait for it, member by member.
    members = spread(p.member_pointer, gate)
    waiting = np.repeat(advance[owner], p.member_pointer[gate + 1] - p.member_pointer[gate])
    member = p.member_row[members]
    on_its_way = run.arrived[member] < p.repeat[member]
    if (on_its_way & (advance[member] != waiting)).any():
        return 0
    return periods


def periods_before_a_start(run: BatchSolver, advance: IntArray) -> int:
    """How often the period can be repeated before a gate lets a row go that stands still now."""
    p = run.program
    still = np.flatnonzero((advance == 0) & (run.started == run.drained) & (run.started < p.repeat))
    entries = spread(p.wait_pointer, still)
    if not len(entries):
        return int(np.iinfo(np.int64).max)
    owner = np.repeat(still, p.wait_pointer[still + 1] - p.wait_pointer[still])
    gate, lag = p.wait_gate[entries], p.wait_lag[entries]
    need = np.clip(run.started[owner] - lag + 1, 0, p.gate_repeat[gate])
    speed = np.zeros(p.gates, dtype=np.int64)
    np.maximum.at(speed, run.member_gate, advance[p.member_row])
    closed = (run.level[gate] < need) & (speed[gate] > 0)
    left = (need - 1 - run.level[gate])[closed] // speed[gate][closed] - 1
    return int(left.min(initial=np.iinfo(np.int64).max))


def jump(run: BatchSolver, periods: int, advance: IntArray, period: float) -> None:
    """Skip periods of some seconds in which each row advances by so many repeats."""
    for count in (run.started, run.drained, run.arrived):
        count += periods * advance
    run.recount()
    shift = periods * period
    run.work = 0
    run.now += shift
    run.since += shift
    run.ends = run.ends + shift
    run.pending = [(time + shift, serial, rows) for time, serial, rows in run.pending]
    heapq.heapify(run.pending)
