"""The Network: the fluid solver inside a SimPy environment.

Between two SimPy events the network advances in array code; SimPy sees one event per finished schedule.
"""

from __future__ import annotations

from collections.abc import Generator, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import simpy

from topo.errors import NetworkError
from topo.fabric import Fabric, FloatArray, IntArray
from topo.network.program import Program, compile_program
from topo.network.solver import FluidSolver, Job
from topo.schedule import Schedule


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of a started schedule.

    Parameters
    ----------
    start, finish : float
        Seconds of simulation time.
    row_finish : float array [rows of the program]
        When the last repeat of each row arrived.
    program : Program
    """

    start: float
    finish: float
    row_finish: FloatArray
    program: Program

    @property
    def duration(self) -> float:
        """Seconds from start to finish."""
        return self.finish - self.start


class Network:
    """A Fabric on which Schedules run and share links.

    Parameters
    ----------
    env : simpy.Environment
    fabric : Fabric
    switching : str
        ``cut-through`` or ``store-and-forward``.
    routing : str
        ``auto``, ``shortest``, ``dimension-order`` or ``ecmp``.
    seed : int
        For ``ecmp``.
    certify : bool
        Check the max-min certificate after every change of rates.

    Examples
    --------
    >>> import simpy, topo
    >>> from topo.network import Network
    >>> env = simpy.Environment()
    >>> system = topo.load("ring:4,bandwidth=10GB/s")
    >>> network = Network(env, system.fabric)
    >>> done = network.start(topo.schedule(system, "all-reduce", "4MB", algorithm="ring"))
    >>> round(env.run(until=done).duration * 1e6)
    606
    """

    def __init__(
        self,
        env: simpy.Environment,
        fabric: Fabric,
        *,
        switching: str = "cut-through",
        routing: str = "auto",
        seed: int = 0,
        certify: bool = False,
    ) -> None:
        self.fabric = fabric
        self.switching, self.routing, self.seed = switching, routing, seed
        self._begin(env, fabric.bandwidth, certify)

    @classmethod
    def of_links(cls, env: simpy.Environment, capacity: FloatArray, *, certify: bool = False) -> Network:
        """A Network that knows links only; it runs compiled programs (:meth:`start_program`)."""
        network = cls.__new__(cls)
        network._begin(env, capacity, certify)
        return network

    def _begin(self, env: simpy.Environment, capacity: FloatArray, certify: bool) -> None:
        self.env = env
        self.solver = FluidSolver(capacity, certify=certify)
        self.solver.now = env.now
        self._waiting: dict[int, simpy.Event] = {}
        self._news = env.event()
        env.process(self._run())

    def start(
        self, schedule: Schedule, *, ranks: IntArray | None = None, barrier: bool = False
    ) -> simpy.Event:
        """Start a schedule now; the event returned succeeds with an :class:`Outcome` when all has arrived."""
        return self.start_program(
            compile_program(
                schedule,
                self.fabric,
                ranks=ranks,
                barrier=barrier,
                switching=self.switching,
                routing=self.routing,
                seed=self.seed,
            )
        )

    def start_program(self, program: Program) -> simpy.Event:
        """Start a compiled program now."""
        self._catch_up()
        done = self.env.event()
        job = self.solver.add(program)
        if job.finish < np.inf:
            self._succeed(job, done)
        else:
            self._waiting[job.number] = done
        self._tell()
        return done

    def set_bandwidth(self, a: Hashable, b: Hashable, bytes_per_second: float) -> None:
        """Change the bandwidth of the link from node ``a`` to node ``b`` from now on; 0 is a dead link."""
        names = {node: i for i, node in enumerate(self.fabric.nodes)}
        if a not in names or b not in names:
            raise NetworkError(f"no node {a if a not in names else b!r} in {self.fabric.name}")
        link = int(self.fabric.links_between(np.asarray([names[a]]), np.asarray([names[b]]))[0])
        if link < 0:
            raise NetworkError(f"no link from {a} to {b} in {self.fabric.name}")
        self._catch_up()
        self.solver.set_capacity(link, bytes_per_second)
        self._tell()

    def _catch_up(self) -> None:
        while self.solver.now < self.env.now:
            self._finish(self.solver.advance(self.env.now))

    def _tell(self) -> None:
        news, self._news = self._news, self.env.event()
        news.succeed()

    def _succeed(self, job: Job, done: simpy.Event) -> None:
        done.succeed(Outcome(job.start, job.finish, job.row_finish, job.program))

    def _finish(self, jobs: list[Job]) -> None:
        for job in jobs:
            self._succeed(job, self._waiting.pop(job.number))

    def _run(self) -> Generator[simpy.Event, Any, None]:
        while True:
            if not self._waiting:
                yield self._news
                continue
            horizon = self.env.peek()
            if horizon > self.env.now:
                # Nobody else acts before the horizon: run ahead of the clock, then let it catch up.
                finished = self.solver.advance(horizon)
                yield self.env.timeout(self.solver.now - self.env.now)
                self._finish(finished)
            else:
                moment = self.solver.next_event()
                news = self._news
                if moment < np.inf:
                    yield news | self.env.timeout(max(moment - self.env.now, 0.0))
                else:
                    yield news
                self._catch_up()
                if moment <= self.env.now:
                    self._finish(self.solver.advance(self.env.now))
