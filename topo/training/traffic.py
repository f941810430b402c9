"""Traffic of a training step: the collectives of all groups on one network, inside a SimPy environment.

``contention='full'``: whatever runs at the same time shares links by max-min fairness, to the byte.
``contention='isolated'``: every operation takes the time that it takes with nothing else running.

Operations that share no link never meet; those that may meet form an *island* with one folded set of links
(:mod:`topo.training.layout`).  Between two starts nothing changes, so the end of all that runs is known at each
start: what runs together in an island is simulated as soon as something joins it, from there to its end, and the
same company at the same distances in time (to 0.1 ps) is simulated once.
"""

from __future__ import annotations

import copy
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import simpy

from topo.ccl import CCL
from topo.errors import NetworkError, nearest
from topo.fabric import FloatArray
from topo.network.solver import FluidSolver, Job
from topo.system import System
from topo.training.binding import bind
from topo.training.layout import ALL, Compilation, Compiler, Island, Key, compiler_of, lone_compiler
from topo.training.operation import Operation
from topo.training.placement import Placement

CONTENTIONS = ("full", "isolated")
INSTANT = 1e-13
"""Seconds within which distances between starts count as equal."""

History = tuple[tuple[float, Key], ...]


@dataclass(eq=False)
class _Company:
    """Operations of one island that run, or ran, together: those started since the first of them, and their ends."""

    island: int
    begin: float
    starts: list[tuple[float, Key, simpy.Event]] = field(default_factory=list)
    finish: FloatArray = field(default_factory=lambda: np.zeros(0))
    version: int = 0
    solver: FluidSolver | None = None
    jobs: list[Job] = field(default_factory=list)

    def running(self, now: float) -> list[Key]:
        """What is unfinished."""
        return [
            key
            for (_, key, done), end in zip(self.starts, self.finish, strict=True)
            if not done.triggered and end > now + INSTANT
        ]


class Traffic:
    """Collectives of a placed plan on a network.

    Parameters
    ----------
    env : simpy.Environment
    system : System
    placement : Placement
    ccl : str or CCL, optional
        Communication library, the system's own by default.
    contention : str
        ``full`` or ``isolated``.
    operations : sequence of Operation
        All that will be started.  With full contention they are folded together, so one that was not named can
        join only while nothing runs, and then everything is folded anew.

    Examples
    --------
    >>> import simpy, topo
    >>> from types import SimpleNamespace
    >>> from topo.training.operation import Operation
    >>> from topo.training.placement import place
    >>> from topo.training.traffic import Traffic
    >>> system = topo.load("dgx-h100*4")
    >>> plan = SimpleNamespace(tp=8, cp=1, dp=4, pp=1, ep=1)
    >>> env = simpy.Environment()
    >>> traffic = Traffic(env, system, place(plan, system.fabric), "ideal")
    >>> done = traffic.start(Operation("dp", "all-reduce", 1e9))
    >>> round(env.run(until=done) * 1e3, 1)
    30.0
    """

    def __init__(
        self,
        env: simpy.Environment,
        system: System,
        placement: Placement,
        ccl: str | CCL | None = None,
        contention: str = "full",
        operations: Sequence[Operation] = (),
    ) -> None:
        if contention not in CONTENTIONS:
            raise NetworkError(
                f"contention {contention!r} is unknown",
                nearest(contention, CONTENTIONS) or f"one of {', '.join(CONTENTIONS)}",
            )
        self.env, self.system, self.contention = env, system, contention
        binding = bind(system, ccl)
        self.fabric, self.choose, self.library = binding.fabric, binding.choose, binding.library
        self.placement = replace(placement, fabric=self.fabric)
        self.compiler = compiler_of(self.placement, self.choose, self.library)
        self.operations: list[Operation] = []
        self._compiled: Compilation | None = None
        self._alone: dict[Operation, Compilation] = {}
        self._lone_compilers: dict[str, Compiler] = {}
        self._companies: list[_Company] = []
        self._meet: dict[tuple[Key, Key], bool] = {}
        self._ends: dict[tuple[int, History], FloatArray] = {}
        self._started: dict[Key, int] = {}
        self.declare(operations)

    # ---------------------------------------------------------------------------------------- what may run

    def declare(self, operations: Sequence[Operation]) -> None:
        """Name operations that will be started.

        Raises
        ------
        NetworkError
            With full contention, while something runs.
        """
        fresh = [op for op in dict.fromkeys(operations) if op not in self.operations]
        if not fresh:
            return
        if self.contention == "full":
            if any(company.running(self.env.now) for company in self._companies):
                raise NetworkError(
                    f"{fresh[0].operation} along {fresh[0].axis} was not named before other operations started",
                    "name all operations when the traffic is made",
                )
            self._compiled = None
            self._companies.clear()
            self._meet.clear()
            self._ends.clear()
        self.operations += fresh

    def _whole(self) -> Compilation:
        if self._compiled is None:
            self._compiled = self.compiler.lay_out(self.operations)
        return self._compiled

    def _of(self, operation: Operation) -> Compilation:
        """The compilation in which an operation is run alone."""
        if self.contention == "full" and operation in self.operations:
            return self._whole()
        if operation not in self._alone:
            self._alone[operation] = self._lone(operation.axis).lay_out([operation])
        return self._alone[operation]

    def _lone(self, axis: str) -> Compiler:
        """What compiles operations of an axis that are run alone."""
        if axis not in self._lone_compilers:
            self._lone_compilers[axis] = lone_compiler(self.compiler, axis, self.library)
        return self._lone_compilers[axis]

    def _keys(self, found: Compilation, operation: Operation, stage: int | None) -> list[Key]:
        stages = found.layouts[operation].stages()
        if stage is None or stages == (ALL,):
            return [(operation, number) for number in stages]
        if stage not in stages:
            raise NetworkError(f"stage {stage} of {len(stages)}", f"stages run from 0 to {len(stages) - 1}")
        return [(operation, stage)]

    # --------------------------------------------------------------------------------------------- asking

    def seconds(self, operation: Operation, stage: int | None = None) -> float:
        """Seconds of an operation with nothing else running: all its groups at once, or those of one stage."""
        key = (operation, -2 if stage is None else stage)
        whole = self.contention == "full" and operation in self.operations
        known = self.compiler.seconds if whole else self._lone(operation.axis).seconds
        if key not in known:
            found = self._of(operation)
            keys = self._keys(found, operation, stage)
            overhead = found.layouts[operation].overhead(ALL if stage is None else stage)
            island = found.islands[found.island[operation]]
            solver = FluidSolver(island.capacity)
            jobs = [solver.add(found.programs[each]) for each in keys]
            known[key] = overhead + float(_ends(solver, jobs).max())
        return known[key]

    def alone(self, operation: Operation, stage: int | None = None) -> bool:
        """Whether no operation of another axis or stage shares a link with this one.

        Then ``seconds`` is what it takes, as long as what runs along the axis runs one after the other.
        """
        if self.contention == "isolated":
            return True
        found = self._whole()
        mine = self._keys(found, operation, stage)
        return not any(
            self._touch(one, other)
            for one in mine
            for other in found.programs
            if other[0].axis != operation.axis or (stage is not None and other[1] != one[1])
        )

    def algorithm(self, operation: Operation) -> str:
        """What the groups go by, for people."""
        chosen = self._of(operation).layouts[operation].chosen
        return " / ".join(dict.fromkeys(c.algorithm for c in chosen))

    def book(self, operation: Operation, stage: int | None = None, times: int = 1) -> None:
        """Count an operation that was carried out without :meth:`start`, for :meth:`link_bytes`.

        Parameters
        ----------
        operation : Operation
        stage : int, optional
            All of them by default.
        times : int
        """
        for key in self._keys(self._of(operation), operation, stage):
            self._started[key] = self._started.get(key, 0) + times

    def link_bytes(self) -> FloatArray:
        """Bytes that each link of the fabric has been given to carry so far [links]."""
        total = np.zeros(self.fabric.links)
        classes: dict[int, tuple[Island, FloatArray]] = {}
        for key, times in self._started.items():
            found = self._of(key[0])
            island = found.islands[found.island[key[0]]]
            carried = times * found.programs[key].link_bytes()
            before = classes.get(id(island))
            classes[id(island)] = island, carried + (before[1] if before else 0.0)
        for island, carried in classes.values():
            total += island.on_links(carried)
        return total

    def bottleneck(self, seconds: float) -> tuple[str, float]:
        """The link with the most to carry for its bandwidth in a time, in words, and its share of that time."""
        busy = self.link_bytes() / self.fabric.bandwidth / seconds if seconds > 0 else np.zeros(1)
        if not busy.max(initial=0.0) > 0:
            return "no link carries anything", 0.0
        worst = int(busy.argmax())
        alike = int((busy >= busy[worst] * (1 - 1e-6)).sum())
        level = "scale-out " if self.fabric.scale_out[worst] else "scale-up "
        level = level if self.fabric.scale_out.any() else ""
        more = f" and {alike - 1} like it" if alike > 1 else ""
        return f"{level}link {self.fabric.link_label(worst)}{more}, {busy[worst]:.1%} busy", float(
            busy[worst]
        )

    # -------------------------------------------------------------------------------------------- running

    def start(self, operation: Operation, stage: int | None = None) -> simpy.Event:
        """Start an operation now, in all its groups or those of one stage.

        Returns
        -------
        simpy.Event
            Succeeds when the last byte has arrived, with the seconds it took.

        Raises
        ------
        NetworkError
            With full contention, an operation that was not named while something else runs.
        """
        if operation not in self.operations:
            self.declare([operation])
        found = self._of(operation)
        keys = self._keys(found, operation, stage)
        for key in keys:
            self._started[key] = self._started.get(key, 0) + 1
        done = self.env.event()
        if self.contention == "isolated":
            self.env.process(self._sleep(self.seconds(operation, stage), done))
        else:
            overhead = found.layouts[operation].overhead(ALL if stage is None else stage)
            self.env.process(self._carry(keys, overhead, done))
        return done

    def _sleep(self, seconds: float, done: simpy.Event) -> Generator[simpy.Event, Any, None]:
        yield self.env.timeout(seconds)
        done.succeed(seconds)

    def _carry(
        self, keys: list[Key], overhead: float, done: simpy.Event
    ) -> Generator[simpy.Event, Any, None]:
        began = self.env.now
        if overhead > 0:
            yield self.env.timeout(overhead)
        yield self.env.all_of(self._join(keys))
        done.succeed(self.env.now - began)

    def _touch(self, one: Key, other: Key) -> bool:
        """Whether two programs share a link."""
        if (one, other) not in self._meet:
            found = self._whole()
            a, b = found.programs[one], found.programs[other]
            same = found.island[one[0]] == found.island[other[0]]
            meet = same and bool(np.isin(a.route_link, b.route_link).any())
            self._meet[one, other] = self._meet[other, one] = meet
        return self._meet[one, other]

    def _join(self, keys: list[Key]) -> list[simpy.Event]:
        """Put programs on the network now."""
        now = self.env.now
        found = self._whole()
        events = []
        for company in self._companies:
            self._settle(company, now)
        self._companies = [company for company in self._companies if company.running(now)]
        touched: list[_Company] = []
        for key in keys:
            done = self.env.event()
            events.append(done)
            mine = [c for c in self._companies if any(self._touch(key, other) for other in c.running(now))]
            company = self._merged(mine, found.island[key[0]], now)
            company.starts.append((now, key, done))
            company.finish = np.append(company.finish, np.inf)
            touched.append(company)
        for company in dict.fromkeys(touched):
            if company in self._companies:
                self._predict(company)
        return events

    def _merged(self, companies: list[_Company], island: int, now: float) -> _Company:
        if len(companies) == 1:
            return companies[0]
        fresh = _Company(island, min((c.begin for c in companies), default=now))
        entries = [(*start, end) for c in companies for start, end in zip(c.starts, c.finish, strict=True)]
        entries.sort(key=lambda entry: entry[0])
        fresh.starts = [entry[:3] for entry in entries]
        fresh.finish = np.asarray([entry[3] for entry in entries])
        for company in companies:
            company.version += 1
            self._companies.remove(company)
        self._companies.append(fresh)
        return fresh

    def _predict(self, company: _Company) -> None:
        """The ends of all in a company, if nobody else joins it."""
        found = self._whole()
        history = tuple(
            (round((at - company.begin) / INSTANT) * INSTANT, key) for at, key, _ in company.starts
        )
        known = self._ends.get((company.island, history))
        if known is None:
            solver = self._caught_up(company, history, found)
            shared: dict[int, Any] = {id(program): program for program in found.programs.values()}
            known = _ends(copy.deepcopy(solver, shared), company.jobs)
            self._ends[company.island, history] = known
        before = company.finish
        company.finish = company.begin + known
        # What has ended stays ended at the moment it did.
        for number, (_, _, done) in enumerate(company.starts):
            if done.triggered:
                company.finish[number] = before[number]
        company.version += 1
        self._await(company)

    def _caught_up(self, company: _Company, history: History, found: Compilation) -> FluidSolver:
        """The company's solver with all of its history, standing at the last start."""
        if company.solver is None:
            company.solver = FluidSolver(found.islands[company.island].capacity)
        for at, key in history[len(company.jobs) :]:
            while company.solver.advance(at):
                pass
            company.jobs.append(company.solver.add(found.programs[key]))
        return company.solver

    def _await(self, company: _Company) -> None:
        """Wake up when the next of a company ends."""
        left = [
            end
            for (_, _, done), end in zip(company.starts, company.finish, strict=True)
            if not done.triggered
        ]
        if not left:
            return
        moment, version = min(left), company.version

        def over(_: simpy.Event) -> None:
            if company.version == version:
                self._settle(company, moment)
                self._await(company)

        timeout = self.env.timeout(max(moment - self.env.now, 0.0))
        timeout.callbacks.append(over)

    def _settle(self, company: _Company, now: float) -> None:
        """Report what has ended by now."""
        for (_, _, done), end in zip(company.starts, company.finish, strict=True):
            if not done.triggered and end <= now + INSTANT:
                done.succeed()


def _ends(solver: FluidSolver, jobs: Sequence[Job]) -> FloatArray:
    """When each job ends, after running the solver to the end; jobs may be of the solver's original."""
    mine = {job.number: job for job in solver.jobs}
    while any(job.finish == np.inf for job in mine.values()):
        solver.advance()
    return np.asarray([job.finish if job.finish < np.inf else mine[job.number].finish for job in jobs])
