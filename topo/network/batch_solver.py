"""The batch solver: the fluid simulation of programs in array code, all that ends together as one event.

It suits few rows, and many rows of which many end together.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

import numpy as np

from topo.fabric import BoolArray, FloatArray, IntArray, spread
from topo.network.moments import slack
from topo.network.program import Program, flow_program, group, without_sharing
from topo.network.sharing import certify_rates, filled

CACHED_RATES = 512
EVENT_WORK = 300
"""Work of one event, in hops of a re-solve divided by eight; a count, so that choices never depend on speed."""
LEVEL_WORK = 100
"""Work of one level of a filling, beyond its hops."""


class BatchSolver:
    """Runs programs on links, batch by batch.

    Parameters
    ----------
    capacity : float array [links]
        Bytes/s.
    sharing : bool
        Without it every row runs at the rate it would have alone.
    certify : bool
        Check the max-min certificate after every change of rates.

    Attributes
    ----------
    now, origin : float
        Seconds; and seconds at which the links were last idle.
    program : Program
        All jobs side by side, and the numbers of the jobs by row.
    started, drained, arrived : int arrays [rows]
        Repeats that have come so far.
    level, short : int arrays [gates]
        Least number of repeats among the members of a gate, and members that have come no further.
    active, remaining, rate, ends : arrays [active rows]
        Rows that drain, in ascending order; their bytes at ``since``, rates, and when they end.
    pending : heap of (moment, serial number, rows)
        Arrivals under way.
    unfinished : dict
        Rows that each job lacks.
    work : int
        What has been spent.
    link_name : callable
        What messages call a link of this number.
    """

    def __init__(self, capacity: FloatArray, *, sharing: bool = True, certify: bool = False) -> None:
        self.capacity = capacity.astype(float)
        self.sharing, self.certify = sharing, certify
        self.now = self.origin = self.since = 0.0
        self.steps = self.work = self.serial = 0
        self.rates: dict[bytes, FloatArray] = {}
        self.unfinished: dict[int, int] = {}
        self.link_name: Callable[[int], str] = str
        self.load(_nothing(self.capacity), np.zeros(0, dtype=np.int64))

    # ------------------------------------------------------------------------------------------ what it runs

    def load(self, program: Program, job_of_row: IntArray) -> None:
        """Begin a program; nothing has started."""
        none, zero = np.zeros(0, dtype=np.int64), np.zeros(0)
        self.started, self.drained, self.arrived = (np.zeros(program.rows, dtype=np.int64) for _ in range(3))
        self.row_finish = np.zeros(program.rows)
        self.active, self.remaining, self.rate, self.ends = none, zero, zero, zero
        self.pending: list[tuple[float, int, IntArray]] = []
        self.since = self.now
        self.work = 0
        self._index(program, job_of_row)

    def extend(self, program: Program, job_of_row: IntArray, kept: BoolArray) -> None:
        """Go on with another program, whose first rows and gates are those rows of this one that are ``kept``.

        Parameters
        ----------
        program : Program
        job_of_row : int array [rows]
        kept : bool array [rows of the present program]
        """
        more = program.rows - int(kept.sum())
        none = np.zeros(more, dtype=np.int64)
        self.started, self.drained, self.arrived = (
            np.concatenate([count[kept], none]) for count in (self.started, self.drained, self.arrived)
        )
        self.row_finish = np.concatenate([self.row_finish[kept], np.zeros(more)])
        place = np.cumsum(kept) - 1
        self.active = place[self.active]
        self.pending = [(time, serial, place[rows]) for time, serial, rows in self.pending]
        heapq.heapify(self.pending)
        self._index(program, job_of_row)

    def _index(self, p: Program, job_of_row: IntArray) -> None:
        self.program, self.job_of_row = p, job_of_row
        over = self.arrived >= p.repeat
        names, rows = np.unique(job_of_row, return_counts=True)
        done = np.bincount(np.searchsorted(names, job_of_row[over]), minlength=len(names))
        self.unfinished = dict(zip(names.tolist(), (rows - done).tolist(), strict=True))
        self.over: list[int] = []
        self.member_gate = np.repeat(np.arange(p.gates), np.diff(p.member_pointer))
        self._gates_by_row = tuple(self._gates_of_rows(arrival) for arrival in (True, False))
        wait_row = np.repeat(np.arange(p.rows), np.diff(p.wait_pointer))
        pointer, order = group(p.wait_gate, p.gates)
        self._waiters = pointer, wait_row[order]
        self._alone = without_sharing(p) if not self.sharing else np.zeros(0)
        self.rates.clear()
        self.recount()

    def _gates_of_rows(self, arrival: bool) -> tuple[IntArray, IntArray]:
        chosen = np.flatnonzero(self.program.gate_on_arrival[self.member_gate] == arrival)
        pointer, order = group(self.program.member_row[chosen], self.program.rows)
        return pointer, self.member_gate[chosen][order]

    def recount(self) -> None:
        """Levels of all gates from how far their members have come."""
        p = self.program
        count = np.where(
            p.gate_on_arrival[self.member_gate], self.arrived[p.member_row], self.drained[p.member_row]
        )
        self.level = np.full(p.gates, np.iinfo(np.int64).max)
        np.minimum.at(self.level, self.member_gate, count)
        short = self.member_gate[count == self.level[self.member_gate]]
        self.short = np.bincount(short, minlength=p.gates).astype(np.int64)

    # ---------------------------------------------------------------------------------------------- the run

    def slack(self, moment: float) -> float:
        """How far apart two moments may be and still be one."""
        return slack(moment, self.origin)

    def next_batch(self) -> float:
        """When the next transfer drains or arrives; infinity when nothing moves."""
        drain = self.ends.min() if len(self.ends) else np.inf
        return float(min(drain, self.pending[0][0] if self.pending else np.inf))

    def settle(self) -> None:
        """Bring remaining bytes up to now."""
        if len(self.active) and self.now > self.since:
            self.remaining = np.maximum(self.remaining - self.rate * (self.now - self.since), 0.0)
        self.since = self.now

    def step(self, moment: float) -> None:
        """All that happens at the next moment; ``over`` tells the jobs that finished."""
        self.steps += 1
        self.work += EVENT_WORK + len(self.active)
        self.now = moment
        limit = moment + self.slack(moment)
        candidates: list[IntArray] = []
        changed = False
        if len(self.ends):
            over = self.ends <= limit
            if over.any():
                self.settle()
                drained = self.active[over]
                self.active, self.remaining = self.active[~over], self.remaining[~over]
                candidates += self._drain(drained)
                changed = True
        while self.pending and self.pending[0][0] <= limit:
            _, _, rows = heapq.heappop(self.pending)
            candidates += self._arrive(rows)
        if candidates:
            changed |= self.start_ready(np.unique(np.concatenate(candidates)))
        if changed:
            self.solve()

    def _drain(self, rows: IntArray) -> list[IntArray]:
        p = self.program
        self.drained[rows] += 1
        latency = p.latency[rows]
        for value in np.unique(latency):
            self.serial += 1
            heapq.heappush(self.pending, (self.now + float(value), self.serial, rows[latency == value]))
        return [rows, *self._raise_gates(rows, arrival=False)]

    def _arrive(self, rows: IntArray) -> list[IntArray]:
        p = self.program
        self.arrived[rows] += 1
        done = rows[self.arrived[rows] >= p.repeat[rows]]
        if len(done):
            self.row_finish[done] = self.now
            for number, count in zip(*np.unique(self.job_of_row[done], return_counts=True), strict=True):
                self.unfinished[int(number)] -= int(count)
                if not self.unfinished[int(number)]:
                    self.over.append(int(number))
        return self._raise_gates(rows, arrival=True)

    def _raise_gates(self, rows: IntArray, arrival: bool) -> list[IntArray]:
        """Count one more arrival or departure of some rows; return the rows that wait for a gate that rose."""
        p = self.program
        pointer, gates = self._gates_by_row[0 if arrival else 1]
        entries = spread(pointer, rows)
        if not len(entries):
            return []
        gate = gates[entries]
        count = self.arrived if arrival else self.drained
        was = np.repeat(count[rows] - 1, pointer[rows + 1] - pointer[rows])
        gate = gate[was == self.level[gate]]
        if not len(gate):
            return []
        np.subtract.at(self.short, gate, 1)
        gate = np.unique(gate)
        raised = gate = gate[self.short[gate] == 0]
        while len(gate):
            self.level[gate] += 1
            gate = gate[self.level[gate] < p.gate_repeat[gate]]
            members = spread(p.member_pointer, gate)
            behind = count[p.member_row[members]] == self.level[self.member_gate[members]]
            self.short[gate] = 0
            np.add.at(self.short, self.member_gate[members[behind]], 1)
            gate = gate[self.short[gate] == 0]
        if not len(raised):
            return []
        waiters_pointer, waiters = self._waiters
        return [waiters[spread(waiters_pointer, raised)]]

    def start_ready(self, candidates: IntArray) -> bool:
        """Start those candidates whose waits are over; return whether the set of active rows changed."""
        p = self.program
        changed = False
        while len(candidates):
            free = (self.started[candidates] == self.drained[candidates]) & (
                self.started[candidates] < p.repeat[candidates]
            )
            rows = candidates[free]
            entries = spread(p.wait_pointer, rows)
            if len(entries):
                owner = np.repeat(np.arange(len(rows)), p.wait_pointer[rows + 1] - p.wait_pointer[rows])
                gate = p.wait_gate[entries]
                need = np.clip(self.started[rows][owner] - p.wait_lag[entries] + 1, 0, p.gate_repeat[gate])
                ready = np.ones(len(rows), dtype=bool)
                ready[owner[self.level[gate] < need]] = False
                rows = rows[ready]
            if not len(rows):
                break
            self.started[rows] += 1
            empty = p.bytes[rows] <= 0
            moving = rows[~empty]
            if len(moving):
                self.settle()
                self.active = np.concatenate([self.active, moving])
                self.remaining = np.concatenate([self.remaining, p.bytes[moving]])
                changed = True
            follow: list[IntArray] = []
            if empty.any():
                follow += self._drain(rows[empty])
                limit = self.now + self.slack(self.now)
                while self.pending and self.pending[0][0] <= limit:
                    _, _, arrived = heapq.heappop(self.pending)
                    follow += self._arrive(arrived)
            candidates = np.unique(np.concatenate(follow)) if follow else rows[:0]
        return changed

    def solve(self) -> None:
        """New rates for the active rows."""
        p = self.program
        order = np.argsort(self.active, kind="stable")
        self.active, self.remaining = self.active[order], self.remaining[order]
        self.since = self.now
        if not len(self.active):
            self.rate = self.ends = np.zeros(0)
            return
        if not self.sharing:
            self.rate = self._alone[self.active]
        else:
            key = self.active.tobytes()
            known = self.rates.get(key)
            if known is None:
                entries = spread(p.route_pointer, self.active)
                self.work += len(entries) // 8
                pointer = np.zeros(len(self.active) + 1, dtype=np.int64)
                np.cumsum(p.route_pointer[self.active + 1] - p.route_pointer[self.active], out=pointer[1:])
                table = (self.capacity, pointer, p.route_link[entries], p.route_weight[entries])
                known, levels = filled(*table)
                self.work += LEVEL_WORK * levels
                if self.certify:
                    certify_rates(*table, known)
                if len(self.rates) >= CACHED_RATES:
                    self.rates.clear()
                self.rates[key] = known
            self.rate = known
        left = np.full(len(self.rate), np.inf)
        with np.errstate(over="ignore"):
            np.divide(self.remaining, self.rate, out=left, where=self.rate > 0)
        self.ends = self.now + np.where(self.remaining > 0, left, 0.0)


def _nothing(capacity: FloatArray) -> Program:
    none = np.zeros(0, dtype=np.int64)
    return flow_program(capacity, np.zeros(0), np.zeros(0), np.zeros(1, dtype=np.int64), none)
