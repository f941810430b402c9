"""The batch solver: exact max-min fluid simulation of programs, in array code.

All that ends together is one event.  When the state of the run recurs up to a shift in time and in repeat
counts, the repeats in between are skipped: the run is deterministic and depends only on that relative state, so
the skip is exact, not extrapolated.  When much work piles up without repeats that could be skipped, the compiled
event solver (:mod:`topo.network.event_solver`) takes the run over from where it stands.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from topo.errors import InternalError, NetworkError
from topo.fabric import FloatArray, IntArray, spread
from topo.network.joining import joined
from topo.network.program import Program, group, without_sharing
from topo.network.sharing import certify_rates, filled
from topo.schedule import LAST

if TYPE_CHECKING:
    from topo.network.event_solver import EventSolver

TIE = 1e-12
"""Distance within which two moments are one event, relative to the time since the links were last idle."""
ROUNDING = 4e-15
"""The same, relative to the clock itself: a few roundings of it."""
CACHED_RATES = 512
EVENT_WORK = 300
"""Work of one event here, in hops of a re-solve divided by eight; a count, so that choices never depend on speed."""
WORTH_LOOKING = 32
"""Repeats still to go from which it may pay to look for a recurrence in the compiled solver."""
PENDING_PER_LOOK = 16
"""Groups of arrivals under way that cost as much to show as one more look."""
MOST_LOOKING = 20_000_000
LOOK_ROWS = 2_000
"""Rows that may be compared in looking for recurrences there, and what a look costs beyond its rows."""
LEVEL_WORK = 100
"""Work of one level of a filling, beyond its hops."""
HEAVY = 30_000
"""Hops of all transfers (of one repeat each, where repeats may be skipped) from which it takes over at once."""
PATIENCE = 300_000
"""Work after which the compiled solver takes over: about what loading it costs."""


@dataclass(eq=False)
class Job:
    """One program in the solver."""

    number: int
    program: Program
    start: float
    finish: float = np.inf
    row_finish: FloatArray = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True, eq=False)
class _Snapshot:
    """A state to compare later ones with."""

    now: float
    started: IntArray
    drained: IntArray
    arrived: IntArray
    active: IntArray
    remaining: FloatArray
    pending: list[tuple[float, IntArray]]


class FluidSolver:
    """Runs programs on links.

    Parameters
    ----------
    capacity : float array [links]
        Bytes/s; every program speaks of these links.
    sharing : bool
        Without it every row runs at the rate it would have alone (to tell contention from serialisation).
    certify : bool
        Check the max-min certificate after every change of rates.
    skip_repeats : bool
        Skip repeats whose state recurs.
    patience : int
        Work after which the compiled event solver takes over.
    """

    def __init__(
        self,
        capacity: FloatArray,
        *,
        sharing: bool = True,
        certify: bool = False,
        skip_repeats: bool = True,
        patience: int = PATIENCE,
    ) -> None:
        self.capacity = capacity.astype(float)
        self.sharing, self.certify, self.skip_repeats = sharing, certify, skip_repeats
        self.patience = patience
        self.now = self._origin = 0.0
        self.events = 0
        self.skipped = 0
        self.jobs: list[Job] = []
        self._unfinished: dict[int, int] = {}
        self._serial = 0
        self._pending: list[tuple[float, int, IntArray]] = []
        self._rates: dict[bytes, FloatArray] = {}
        self._empty()

    # ------------------------------------------------------------------------------------- jobs and changes

    def _empty(self) -> None:
        none, zero = np.zeros(0, dtype=np.int64), np.zeros(0)
        self._program: Program | None = None
        self._job_of_row = none
        self.started, self.drained, self.arrived, self.row_finish = none, none, none, zero
        self.level, self.short = none, none
        self.active, self.remaining, self.rate, self.ends = none, zero, zero, zero
        self._since = self.now
        self._work = 0
        self._compiled: EventSolver | None = None
        self._reset_memory()

    def _reset_memory(self) -> None:
        self._rates.clear()
        self._snapshot: _Snapshot | None = None
        self._since_snapshot = 0
        self._patience = 1
        self._watch = -1
        self._looks = 0

    def add(self, program: Program) -> Job:
        """Start a program now."""
        if len(program.capacity) != len(self.capacity):
            raise NetworkError("the program speaks of other links than this network has")
        job = Job(len(self.jobs) and self.jobs[-1].number + 1, program, self.now)
        self._take_back()
        self._settle()
        old = [j for j in self.jobs if j.finish == np.inf]
        if not old:
            self._origin = self.now
        if not program.rows:
            # Nothing to move, as in an all-to-all of empty blocks.
            job.finish = self.now
            self._unfinished[job.number] = 0
            self.jobs.append(job)
            return job
        self.jobs = [*old, job]
        self._join(job)
        return job

    def set_capacity(self, link: int, bytes_per_second: float) -> None:
        """Change the capacity of a link from now on; 0 stalls what crosses it."""
        if bytes_per_second < 0 or not np.isfinite(bytes_per_second):
            raise NetworkError(
                f"a link cannot carry {bytes_per_second} bytes/s", "give 0 or a positive number"
            )
        self.capacity[link] = bytes_per_second
        if self._compiled is not None:
            self._compiled.set_capacity(link, bytes_per_second)
            self._snapshot = None
            return
        self._settle()
        self._reset_memory()
        self._solve()

    def _slack(self, moment: float) -> float:
        """How far apart two moments may be and still be one."""
        return TIE * (moment - self._origin) + ROUNDING * moment

    def _settle(self) -> None:
        """Bring remaining bytes up to now."""
        if len(self.active) and self.now > self._since:
            self.remaining = np.maximum(self.remaining - self.rate * (self.now - self._since), 0.0)
        self._since = self.now

    def _join(self, job: Job) -> None:
        """Rebuild the arrays from the jobs still running, the new one last."""
        keep = np.isin(self._job_of_row, [j.number for j in self.jobs])
        if self._program is None or not keep.any():
            pending: list[tuple[float, int, IntArray]] = []
            self._empty()
            parts, places = [job.program], np.zeros(0, dtype=np.int64)
        else:
            pending = self._pending
            parts = [j.program for j in self.jobs]
            places = np.cumsum(keep) - 1
        state = (
            {
                name: np.concatenate([getattr(self, name)[keep], np.zeros(job.program.rows, dtype=kind)])
                for name, kind in (
                    ("started", np.int64),
                    ("drained", np.int64),
                    ("arrived", np.int64),
                    ("row_finish", float),
                )
            }
            if len(places)
            else {
                "started": np.zeros(job.program.rows, dtype=np.int64),
                "drained": np.zeros(job.program.rows, dtype=np.int64),
                "arrived": np.zeros(job.program.rows, dtype=np.int64),
                "row_finish": np.zeros(job.program.rows),
            }
        )
        for name, values in state.items():
            setattr(self, name, values)
        self._program = p = joined(parts, self.capacity)
        self._job_of_row = np.concatenate([np.full(j.program.rows, j.number) for j in self.jobs])
        self.active = places[self.active] if len(self.active) else self.active
        self._pending = [(time, serial, places[rows]) for time, serial, rows in pending]
        heapq.heapify(self._pending)
        self._unfinished = {j.number: j.program.rows for j in self.jobs}
        done = self.arrived >= p.repeat
        for number in np.unique(self._job_of_row[done]):
            self._unfinished[int(number)] -= int((done & (self._job_of_row == number)).sum())
        self._gate_members = (p.member_pointer, p.member_row)
        self._member_gate = np.repeat(np.arange(p.gates), np.diff(p.member_pointer))
        self._gates_by_row = tuple(self._index(p, arrival) for arrival in (True, False))
        wait_row = np.repeat(np.arange(p.rows), np.diff(p.wait_pointer))
        self._waiters = (lambda t: (t[0], wait_row[t[1]]))(group(p.wait_gate, p.gates))
        self._alone = without_sharing(p) if not self.sharing else np.zeros(0)
        count = np.where(
            p.gate_on_arrival[self._member_gate], self.arrived[p.member_row], self.drained[p.member_row]
        )
        self.level = np.full(p.gates, np.iinfo(np.int64).max)
        np.minimum.at(self.level, self._member_gate, count)
        self.short = np.bincount(
            self._member_gate[count == self.level[self._member_gate]], minlength=p.gates
        ).astype(np.int64)
        self._reset_memory()
        fresh = np.flatnonzero(self._job_of_row == job.number)
        if self.sharing and self._heavy(p):
            self._compiled = self._handed_over(fresh)
            self._compiled.advance(-np.inf)
            return
        self._start_ready(fresh)
        self._solve()

    def _heavy(self, p: Program) -> bool:
        """Whether a program is certain to take more work than loading the compiled solver."""
        hops = np.diff(p.route_pointer)
        return int((hops * (p.repeat if not self.skip_repeats else 1)).sum()) > HEAVY or self.patience == 0

    def _index(self, p: Program, arrival: bool) -> tuple[IntArray, IntArray]:
        chosen = np.flatnonzero(p.gate_on_arrival[self._member_gate] == arrival)
        pointer, order = group(p.member_row[chosen], p.rows)
        return pointer, self._member_gate[chosen][order]

    # ------------------------------------------------------------------------------------------- the run

    def next_event(self) -> float:
        """When the next transfer drains or arrives; infinity when nothing moves."""
        if self._compiled is not None:
            return self._compiled.next_event()
        drain = self.ends.min() if len(self.ends) else np.inf
        return float(min(drain, self._pending[0][0] if self._pending else np.inf))

    def advance(self, until: float = np.inf) -> list[Job]:
        """Run up to a moment, or to the first moment at which a job finishes.

        Returns
        -------
        list of Job
            The jobs that finished at the moment now reached; empty when ``until`` came first.

        Raises
        ------
        NetworkError
            Nothing moves any more but jobs are unfinished: a dead link or a cycle of dependencies.
        """
        while any(count for count in self._running()):
            if self._compiled is not None or (self._work > self.patience and self.sharing):
                return self._advance_compiled(until)
            moment = self.next_event()
            if moment == np.inf and until == np.inf:
                raise self._stalled()
            if moment > until + self._slack(until):
                break
            finished = self._step(min(moment, until))
            if finished:
                return finished
            if self.skip_repeats:
                self._skip(until)
        if until < np.inf:
            self.now = max(self.now, until)
        return []

    def _advance_compiled(self, until: float) -> list[Job]:
        """The rest of :meth:`advance` in the compiled event solver."""
        from topo.network import event_kernel as kernel
        from topo.network.event_solver import NO_LIMIT

        solver = self._compiled = self._compiled or self._handed_over()
        while True:
            before = solver.events
            watch = self._watched(solver)
            most = solver.events + 1 if self.certify else NO_LIMIT
            word = solver.advance(until, most, watch)
            self.events += solver.events - before
            self.now = solver.now
            if self.certify:
                self._certify_compiled(solver)
            finished = []
            for job, unfinished in zip(self.jobs, solver.unfinished, strict=True):
                if job.finish == np.inf and not unfinished:
                    job.finish = self.now
                    job.row_finish = solver.rows["finish"][self._job_of_row == job.number].copy()
                    self._unfinished[job.number] = 0
                    finished.append(job)
            if finished:
                return finished
            if word == kernel.WATCHED:
                self._mirror(solver)
                # To show what is under way costs as much as many rows.
                self._looks += 1 + len(self._pending) // PENDING_PER_LOOK
                self._skip(until)
                if self._compiled is None:
                    return self.advance(until)
                continue
            if word == kernel.STALLED and until == np.inf:
                self._take_back()
                raise self._stalled()
            if solver.next_event() > until + self._slack(until) or word == kernel.STALLED:
                if until < np.inf:
                    self.now = solver.clock[0] = max(self.now, until)
                return []

    def _watched(self, solver: EventSolver) -> int:
        """A row after whose repeats to look whether the state recurs: the one with most to go; -1 for none."""
        if not self.skip_repeats or self._looks * (LOOK_ROWS + len(solver.rows)) > MOST_LOOKING:
            return -1
        rows = solver.rows
        if self._watch < 0 or rows["drained"][self._watch] >= rows["repeat"][self._watch]:
            left = rows["repeat"] - rows["drained"]
            under_way = ((rows["drained"] > 0) | (rows["slot"] >= 0)) & (left > 0)
            if under_way.any():
                left = np.where(under_way, left, 0)
            self._watch = int(left.argmax()) if left.max(initial=0) >= WORTH_LOOKING else -1
        return self._watch

    def _mirror(self, solver: EventSolver) -> None:
        """Show the state of the compiled solver here, to compare it."""
        self.started, self.drained, self.arrived = solver.counts().values()
        self.level = solver.gates["level"]
        self.active, self.remaining, pending = solver.hand_back()
        self.rate = solver.rates()[1]
        self._since = self.now
        self._pending = [(time, serial, rows) for serial, (time, rows) in enumerate(pending)]

    def _certify_compiled(self, solver: EventSolver) -> None:
        p = solver.program
        active, rates = solver.rates()
        entries = spread(p.route_pointer, active)
        pointer = np.concatenate([[0], np.cumsum(p.route_pointer[active + 1] - p.route_pointer[active])])
        certify_rates(self.capacity, pointer, p.route_link[entries], p.route_weight[entries], rates)

    def _handed_over(self, waiting: IntArray | None = None) -> EventSolver:
        from topo.network.event_solver import EventSolver

        p = self._program
        assert p is not None
        self._settle()
        waiting = np.zeros(0, dtype=np.int64) if waiting is None else waiting
        place = np.searchsorted([job.number for job in self.jobs], self._job_of_row)
        solver = EventSolver(p, place, len(self.jobs), self.now, self._origin)
        solver.links["capacity"] = self.capacity
        solver.take_over(
            {
                "drained": self.drained,
                "arrived": self.arrived,
            },
            self.row_finish,
            {"level": self.level, "short": self.short},
            (self.active, self.remaining),
            [(time, rows) for time, _, rows in sorted(self._pending, key=lambda entry: entry[:2])],
            waiting,
        )
        return solver

    def _take_back(self) -> None:
        """Leave the compiled solver with all its state."""
        solver = self._compiled
        if solver is None:
            return
        self._compiled = None
        self.started, self.drained, self.arrived = solver.counts().values()
        self.row_finish = solver.rows["finish"].copy()
        self.level, self.short = solver.gates["level"].copy(), solver.gates["short"].astype(np.int64)
        self.active, self.remaining, pending = solver.hand_back()
        self.rate = solver.rates()[1]
        self._since = self.now
        self._pending = [(time, serial, rows) for serial, (time, rows) in enumerate(pending)]
        self._serial = len(pending)
        self._unfinished.update(zip([j.number for j in self.jobs], solver.unfinished.tolist(), strict=True))

    def _running(self) -> list[int]:
        return [self._unfinished[job.number] for job in self.jobs if job.finish == np.inf]

    def _step(self, moment: float) -> list[Job]:
        p = self._program
        assert p is not None
        self.events += 1
        self._work += EVENT_WORK + len(self.active)
        self.now = moment
        limit = moment + self._slack(moment)
        candidates: list[IntArray] = []
        changed = False
        if len(self.ends):
            over = self.ends <= limit
            if over.any():
                self._settle()
                drained = self.active[over]
                self.active, self.remaining = self.active[~over], self.remaining[~over]
                candidates += self._drain(drained)
                changed = True
        finished: list[Job] = []
        while self._pending and self._pending[0][0] <= limit:
            _, _, rows = heapq.heappop(self._pending)
            candidates += self._arrive(rows, finished)
        if candidates:
            changed |= self._start_ready(np.unique(np.concatenate(candidates)), finished)
        if changed:
            self._solve()
        return finished

    def _drain(self, rows: IntArray) -> list[IntArray]:
        p = self._program
        assert p is not None
        self.drained[rows] += 1
        latency = p.latency[rows]
        for value in np.unique(latency):
            self._serial += 1
            heapq.heappush(self._pending, (self.now + float(value), self._serial, rows[latency == value]))
        return [rows, *self._raise_gates(rows, arrival=False)]

    def _arrive(self, rows: IntArray, finished: list[Job]) -> list[IntArray]:
        p = self._program
        assert p is not None
        self.arrived[rows] += 1
        done = rows[self.arrived[rows] >= p.repeat[rows]]
        if len(done):
            self.row_finish[done] = self.now
            for number, count in zip(*np.unique(self._job_of_row[done], return_counts=True), strict=True):
                self._unfinished[int(number)] -= int(count)
                if not self._unfinished[int(number)]:
                    job = next(j for j in self.jobs if j.number == number)
                    job.finish = self.now
                    job.row_finish = self.row_finish[self._job_of_row == number]
                    finished.append(job)
        return self._raise_gates(rows, arrival=True)

    def _raise_gates(self, rows: IntArray, arrival: bool) -> list[IntArray]:
        """Count one more arrival or departure of some rows; return the rows that wait for a gate that rose."""
        p = self._program
        assert p is not None
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
            behind = count[p.member_row[members]] == self.level[self._member_gate[members]]
            self.short[gate] = 0
            np.add.at(self.short, self._member_gate[members[behind]], 1)
            gate = gate[self.short[gate] == 0]
        if not len(raised):
            return []
        waiters_pointer, waiters = self._waiters
        return [waiters[spread(waiters_pointer, raised)]]

    def _start_ready(self, candidates: IntArray, finished: list[Job] | None = None) -> bool:
        """Start those candidates whose waits are over; return whether the set of active rows changed."""
        p = self._program
        assert p is not None
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
                self._settle()
                self.active = np.concatenate([self.active, moving])
                self.remaining = np.concatenate([self.remaining, p.bytes[moving]])
                changed = True
            follow: list[IntArray] = []
            if empty.any():
                follow += self._drain(rows[empty])
                limit = self.now + self._slack(self.now)
                while self._pending and self._pending[0][0] <= limit:
                    _, _, arrived = heapq.heappop(self._pending)
                    follow += self._arrive(arrived, finished if finished is not None else [])
            candidates = np.unique(np.concatenate(follow)) if follow else rows[:0]
        return changed

    def _solve(self) -> None:
        """New rates for the active rows."""
        p = self._program
        if p is None:
            return
        order = np.argsort(self.active, kind="stable")
        self.active, self.remaining = self.active[order], self.remaining[order]
        self._since = self.now
        if not len(self.active):
            self.rate = self.ends = np.zeros(0)
            return
        if not self.sharing:
            self.rate = self._alone[self.active]
        else:
            key = self.active.tobytes()
            known = self._rates.get(key)
            if known is None:
                entries = spread(p.route_pointer, self.active)
                self._work += len(entries) // 8
                pointer = np.zeros(len(self.active) + 1, dtype=np.int64)
                np.cumsum(p.route_pointer[self.active + 1] - p.route_pointer[self.active], out=pointer[1:])
                table = (self.capacity, pointer, p.route_link[entries], p.route_weight[entries])
                known, levels = filled(*table)
                self._work += LEVEL_WORK * levels
                if self.certify:
                    certify_rates(*table, known)
                if len(self._rates) >= CACHED_RATES:
                    self._rates.clear()
                self._rates[key] = known
            self.rate = known
        left = np.full(len(self.rate), np.inf)
        with np.errstate(over="ignore"):
            np.divide(self.remaining, self.rate, out=left, where=self.rate > 0)
        self.ends = self.now + np.where(self.remaining > 0, left, 0.0)

    # ----------------------------------------------------------------------------------- skipping repeats

    def _skip(self, until: float) -> None:
        """Compare with a kept state; when it recurs, jump over as many periods as surely repeat it."""
        kept = self._snapshot
        self._since_snapshot += 1
        if (
            kept is not None
            and len(kept.active) == len(self.active)
            and len(kept.pending) == len(self._pending)
        ):
            advance = self._recurrence(kept)
            if advance is not None:
                periods = self._safe_periods(kept, advance, until)
                if periods > 0:
                    self._jump(kept, advance, periods)
                    self._snapshot = None
                    return
        if kept is None or self._since_snapshot >= self._patience:
            # Brent's way to find a cycle: keep states at ever longer distances.
            self._patience = self._patience * 2 if kept is not None else 1
            self._since_snapshot = 0
            self._settle()
            pending = sorted(self._pending, key=lambda entry: (entry[0], entry[1]))
            self._snapshot = _Snapshot(
                self.now,
                self.started.copy(),
                self.drained.copy(),
                self.arrived.copy(),
                self.active.copy(),
                self.remaining.copy(),
                [(time, rows) for time, _, rows in pending],
            )

    def _recurrence(self, kept: _Snapshot) -> IntArray | None:
        """How far each row has come since the kept state, when the state is otherwise the same."""
        p = self._program
        assert p is not None
        if not np.array_equal(kept.active, self.active):
            return None
        advance = self.started - kept.started
        if not advance.any() or not np.array_equal(advance, self.drained - kept.drained):
            return None
        if not np.array_equal(advance, self.arrived - kept.arrived):
            return None
        self._settle()
        noise = self._slack(self.now) * self.rate + TIE * p.bytes[self.active]
        if (np.abs(self.remaining - kept.remaining) > noise).any():
            return None
        pending = sorted(self._pending, key=lambda entry: (entry[0], entry[1]))
        for (time, _, rows), (time_then, rows_then) in zip(pending, kept.pending, strict=True):
            if abs((time - self.now) - (time_then - kept.now)) > self._slack(time):
                return None
            if not np.array_equal(np.sort(rows), np.sort(rows_then)):
                return None
        return advance

    def _safe_periods(self, kept: _Snapshot, advance: IntArray, until: float) -> int:
        """How often the period can be repeated with no row ending and no wait changing its meaning."""
        p = self._program
        assert p is not None
        moving = np.flatnonzero(advance)
        periods = int(((p.repeat[moving] - self.started[moving]) // advance[moving] - 1).min())
        if self.now <= kept.now:
            return 0
        if until < np.inf:
            periods = min(periods, int((until - self.now) / (self.now - kept.now)) - 1)
        if periods > 0:
            periods = min(periods, self._periods_before_a_start(advance))
        if periods <= 0:
            return 0
        entries = spread(p.wait_pointer, moving)
        owner = np.repeat(moving, p.wait_pointer[moving + 1] - p.wait_pointer[moving])
        gate, lag = p.wait_gate[entries], p.wait_lag[entries]
        ordinary = (lag != LAST) & (self.level[gate] < p.gate_repeat[gate])
        owner, gate, lag = owner[ordinary], gate[ordinary], lag[ordinary]
        if not len(gate):
            return periods
        if (kept.started[owner] - lag < 0).any():
            return 0
        # A gate must advance with those that wait for it, member by member.
        members = spread(p.member_pointer, gate)
        waiting = np.repeat(advance[owner], p.member_pointer[gate + 1] - p.member_pointer[gate])
        member = p.member_row[members]
        on_its_way = self.arrived[member] < p.repeat[member]
        if (on_its_way & (advance[member] != waiting)).any():
            return 0
        return periods

    def _periods_before_a_start(self, advance: IntArray) -> int:
        """How often the period can be repeated before a gate lets a row go that stands still now."""
        p = self._program
        assert p is not None
        still = np.flatnonzero((advance == 0) & (self.started == self.drained) & (self.started < p.repeat))
        entries = spread(p.wait_pointer, still)
        if not len(entries):
            return int(np.iinfo(np.int64).max)
        owner = np.repeat(still, p.wait_pointer[still + 1] - p.wait_pointer[still])
        gate, lag = p.wait_gate[entries], p.wait_lag[entries]
        need = np.clip(self.started[owner] - lag + 1, 0, p.gate_repeat[gate])
        speed = np.zeros(p.gates, dtype=np.int64)
        np.maximum.at(speed, self._member_gate, advance[p.member_row])
        closed = (self.level[gate] < need) & (speed[gate] > 0)
        left = (need - 1 - self.level[gate])[closed] // speed[gate][closed] - 1
        return int(left.min(initial=np.iinfo(np.int64).max))

    def _jump(self, kept: _Snapshot, advance: IntArray, periods: int) -> None:
        p = self._program
        assert p is not None
        compiled = self._compiled is not None
        self._take_back()
        shift = periods * (self.now - kept.now)
        for count in (self.started, self.drained, self.arrived):
            count += periods * advance
        count = np.where(
            p.gate_on_arrival[self._member_gate], self.arrived[p.member_row], self.drained[p.member_row]
        )
        self.level = np.full(p.gates, np.iinfo(np.int64).max)
        np.minimum.at(self.level, self._member_gate, count)
        self.short = np.bincount(
            self._member_gate[count == self.level[self._member_gate]], minlength=p.gates
        ).astype(np.int64)
        self.skipped += periods
        self._work = 0
        self.now += shift
        self._since += shift
        self.ends = self.ends + shift
        self._pending = [(time + shift, serial, rows) for time, serial, rows in self._pending]
        heapq.heapify(self._pending)
        if compiled:
            self._rates.clear()
            self._solve()

    def _stalled(self) -> NetworkError:
        p = self._program
        assert p is not None
        stuck = np.flatnonzero(self.arrived < p.repeat)
        blocked = self.active[self.rate <= 0] if len(self.active) else self.active
        if len(blocked):
            links = np.unique(p.route_link[spread(p.route_pointer, blocked)])
            dead = [int(link) for link in links if self.capacity[link] <= 0]
            return NetworkError(
                f"{len(blocked)} transfers are stalled on links without capacity (numbers {dead[:5]})",
                "give those links capacity, or route around them",
            )
        return NetworkError(
            f"{len(stuck)} transfers wait for each other in a cycle",
            "let each batch wait for earlier ones only",
        )


def run_alone(program: Program, **options: Any) -> tuple[Job, FluidSolver]:
    """Run one program on idle links from time zero to its end."""
    solver = FluidSolver(program.capacity, **options)
    job = solver.add(program)
    while job.finish == np.inf:
        solver.advance()
    if job.finish < solver.now:
        raise InternalError("a job finished before the solver's clock")
    return job, solver
