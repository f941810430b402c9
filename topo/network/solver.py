"""The fluid solver: exact max-min simulation of programs that may start, and links that may change, at any time.

Two solvers share the work.  In the batch solver (:mod:`topo.network.batch_solver`) all that ends together is one
event, and repeats that recur are skipped (:mod:`topo.network.repeats`).  When much work piles up there, or is
certain to, the compiled event solver (:mod:`topo.network.event_solver`) takes the run over from where it stands.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from topo.errors import InternalError, NetworkError
from topo.fabric import FloatArray, IntArray, spread
from topo.network.batch_solver import BatchSolver
from topo.network.event_records import FINISHED, NO_LIMIT, REACHED, STALLED, WATCHED
from topo.network.joining import joined
from topo.network.program import Program, pointer_from
from topo.network.repeats import Recurrence, jump
from topo.network.sharing import certify_rates
from topo.network.stalls import stalled

if TYPE_CHECKING:
    from topo.network.event_solver import EventSolver

WORTH_LOOKING = 32
"""Repeats still to go from which it may pay to look for a recurrence in the compiled solver."""
PENDING_PER_LOOK = 16
"""Groups of arrivals under way that cost as much to show as one more look."""
MOST_LOOKING = 20_000_000
LOOK_ROWS = 2_000
"""Rows that may be compared in looking for recurrences there, and what a look costs beyond its rows."""
HEAVY = 30_000
"""Hops of all transfers (of one repeat each, where repeats may be skipped) from which the compiled solver begins."""
PATIENCE = 300_000
"""Work of the batch solver after which the compiled one takes over: about what loading it costs."""
NOT_YET, NEVER = -1, -2
"""No row to watch: none was looked for, or none is worth it."""


@dataclass(eq=False)
class Job:
    """One program in the solver."""

    number: int
    program: Program
    start: float
    finish: float = np.inf
    row_finish: FloatArray = field(default_factory=lambda: np.zeros(0))


class FluidSolver(BatchSolver):
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
        super().__init__(capacity, sharing=sharing, certify=certify)
        self.skip_repeats, self.patience = skip_repeats, patience
        self.skipped = 0
        self.jobs: list[Job] = []
        self.running = 0
        self._compiled: EventSolver | None = None
        self._recurrence = Recurrence()
        self._forget()

    def _forget(self) -> None:
        """The run is another one now."""
        self.rates.clear()
        self._recurrence.forget()
        self._watch = NOT_YET
        self._looks = 0

    @property
    def events(self) -> int:
        """Events so far, in both solvers."""
        return self.steps + (self._compiled.events if self._compiled is not None else 0)

    # ------------------------------------------------------------------------------------- jobs and changes

    def add(self, program: Program) -> Job:
        """Start a program now."""
        if len(program.capacity) != len(self.capacity):
            raise NetworkError("the program speaks of other links than this network has")
        job = Job(len(self.jobs) and self.jobs[-1].number + 1, program, self.now)
        self._take_back()
        self.settle()
        old = [j for j in self.jobs if j.finish == np.inf]
        if not old:
            self.origin = self.now
        if not program.rows:
            # Nothing to move, as in an all-to-all of empty blocks.
            job.finish = self.now
            self.jobs.append(job)
            return job
        self.jobs = [*old, job]
        self.running += 1
        whole = joined([j.program for j in self.jobs], self.capacity)
        job_of_row = np.repeat([j.number for j in self.jobs], [j.program.rows for j in self.jobs])
        if old:
            self.extend(whole, job_of_row, np.isin(self.job_of_row, [j.number for j in old]))
        else:
            self.load(whole, job_of_row)
        self._forget()
        fresh = np.arange(whole.rows - program.rows, whole.rows)
        if self.sharing and self._heavy(whole):
            self._compiled = self._handed_over(fresh)
            self._compiled.advance(-np.inf)
        else:
            self.start_ready(fresh)
            self.solve()
            self._finished()
        return job

    def _heavy(self, p: Program) -> bool:
        """Whether a program is certain to take more work than loading the compiled solver."""
        if self.patience == 0:
            return True
        times = np.minimum(p.repeat, HEAVY) if not self.skip_repeats else 1
        return int((np.diff(p.route_pointer) * times).sum()) > HEAVY

    def set_capacity(self, link: int, bytes_per_second: float) -> None:
        """Change the capacity of a link from now on; 0 stalls what crosses it."""
        if bytes_per_second < 0 or not np.isfinite(bytes_per_second):
            raise NetworkError(
                f"a link cannot carry {bytes_per_second} bytes/s", "give 0 or a positive number"
            )
        self.capacity[link] = bytes_per_second
        if self._compiled is not None:
            self._compiled.set_capacity(link, bytes_per_second)
            self._recurrence.forget()
            return
        self.settle()
        self._forget()
        self.solve()

    # ------------------------------------------------------------------------------------------- the run

    def next_event(self) -> float:
        """When the next transfer drains or arrives; infinity when nothing moves."""
        return self.next_batch() if self._compiled is None else self._compiled.next_event()

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
        while self.running:
            if self._compiled is not None or (self.work > self.patience and self.sharing):
                return self._advance_compiled(until)
            moment = self.next_batch()
            if moment == np.inf and until == np.inf:
                raise stalled(self)
            if moment > until + self.slack(until):
                break
            self.step(min(moment, until))
            if self.over:
                return self._finished()
            if self.skip_repeats:
                self._skip(until)
        if until < np.inf:
            self.now = max(self.now, until)
        return []

    def _finished(self) -> list[Job]:
        """The jobs that are over by now."""
        found = [job for job in self.jobs if job.number in self.over]
        for job in found:
            job.finish = self.now
            job.row_finish = self.row_finish[self.job_of_row == job.number]
        self.over = []
        self.running -= len(found)
        return found

    def _skip(self, until: float) -> None:
        """Jump over as many periods of a state that recurs as surely repeat it."""
        periods, advance, period = self._recurrence.periods(self, until)
        if periods <= 0:
            return
        compiled = self._compiled is not None
        self._take_back()
        self.skipped += periods
        jump(self, periods, advance, period)
        if compiled:
            self.rates.clear()
            self.solve()

    # ------------------------------------------------------------------------------------ the compiled solver

    def _advance_compiled(self, until: float) -> list[Job]:
        """The rest of :meth:`advance` in the compiled event solver."""
        solver = self._compiled
        if solver is None:
            solver = self._compiled = self._handed_over(self.active[:0])
            solver.advance(-np.inf)
        limit = until + self.slack(until)
        while solver.next_event() <= limit:
            most = solver.events + 1 if self.certify else NO_LIMIT
            word = solver.advance(until, most, self._watched(solver))
            self.now = solver.now
            if self.certify:
                self._certify_compiled(solver)
            if word == REACHED:
                continue
            if word == FINISHED:
                numbers = [job.number for job in self.jobs]
                self.row_finish = solver.rows["finish"]
                self.over = [
                    number
                    for number, left in zip(numbers, solver.unfinished.tolist(), strict=True)
                    if not left and self.unfinished[number]
                ]
                self.unfinished.update(dict.fromkeys(self.over, 0))
                return self._finished()
            if word == WATCHED:
                self._mirror(solver)
                # To show what is under way costs as much as many rows.
                self._looks += 1 + len(self.pending) // PENDING_PER_LOOK
                self._skip(until)
                if self._compiled is None:
                    return self.advance(until)
            elif word == STALLED:
                self._take_back()
                raise stalled(self)
        if until < np.inf:
            self.now = max(self.now, until)
            solver.clock[0] = self.now
        return []

    def _watched(self, solver: EventSolver) -> int:
        """A row after whose repeats to look whether the state recurs: the one with most to go; negative for none."""
        if self._watch == NEVER or not self.skip_repeats:
            return NEVER
        rows = solver.rows
        if self._looks * (LOOK_ROWS + len(rows)) > MOST_LOOKING:
            self._watch = NEVER
        elif self._watch == NOT_YET or rows["drained"][self._watch] >= rows["repeat"][self._watch]:
            left = rows["repeat"] - rows["drained"]
            under_way = ((rows["drained"] > 0) | (rows["slot"] >= 0)) & (left > 0)
            most = int(left.max(initial=0))
            if under_way.any():
                left = np.where(under_way, left, 0)
            self._watch = int(left.argmax()) if left.max(initial=0) >= WORTH_LOOKING else NOT_YET
            if most < WORTH_LOOKING:
                self._watch = NEVER
        return self._watch

    def _mirror(self, solver: EventSolver) -> None:
        """Show the state of the compiled solver here."""
        self.started, self.drained, self.arrived = solver.counts()
        self.level, self.short = solver.gates["level"].copy(), solver.gates["short"].astype(np.int64)
        self.active, self.remaining, pending = solver.hand_back()
        self.rate = solver.rates()[1]
        self.since = self.now
        self.pending = [(time, serial, rows) for serial, (time, rows) in enumerate(pending)]
        self.serial = len(pending)

    def _take_back(self) -> None:
        """Leave the compiled solver with all its state."""
        solver = self._compiled
        if solver is None:
            return
        self._compiled = None
        self.steps += solver.events
        self._mirror(solver)
        self.row_finish = solver.rows["finish"].copy()
        numbers = [job.number for job in self.jobs]
        self.unfinished.update(zip(numbers, solver.unfinished.tolist(), strict=True))

    def _handed_over(self, waiting: IntArray) -> EventSolver:
        """The compiled solver in this state, with rows that may start now."""
        from topo.network.event_solver import EventSolver

        self.settle()
        place = np.searchsorted([job.number for job in self.jobs], self.job_of_row)
        solver = EventSolver(self.program, place, len(self.jobs), self.now, self.origin)
        solver.links["capacity"] = self.capacity
        solver.take_over(
            {"drained": self.drained, "arrived": self.arrived},
            self.row_finish,
            {"level": self.level, "short": self.short},
            (self.active, self.remaining),
            [(time, rows) for time, _, rows in sorted(self.pending, key=lambda entry: entry[:2])],
            waiting,
        )
        return solver

    def _certify_compiled(self, solver: EventSolver) -> None:
        p = solver.program
        active, rates = solver.rates()
        entries = spread(p.route_pointer, active)
        pointer = pointer_from(p.route_pointer[active + 1] - p.route_pointer[active])
        certify_rates(self.capacity, pointer, p.route_link[entries], p.route_weight[entries], rates)


def run_alone(program: Program, **options: Any) -> tuple[Job, FluidSolver]:
    """Run one program on idle links from time zero to its end."""
    solver = FluidSolver(program.capacity, **options)
    job = solver.add(program)
    while job.finish == np.inf:
        solver.advance()
    if job.finish < solver.now:
        raise InternalError("a job finished before the solver's clock")
    return job, solver
