"""The Network: the fluid solver inside a SimPy environment.

Between two SimPy events the network advances in array code; SimPy sees one event per finished schedule.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
import simpy

from topo.errors import NetworkError
from topo.fabric import Fabric, FloatArray, IntArray
from topo.network.driver import Driver
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
        self.solver.link_name = self._link_name

    @classmethod
    def of_links(cls, env: simpy.Environment, capacity: FloatArray, *, certify: bool = False) -> Network:
        """A Network that knows links only; it runs compiled programs (:meth:`start_program`)."""
        network = cls.__new__(cls)
        network._begin(env, capacity, certify)
        return network

    def _begin(self, env: simpy.Environment, capacity: FloatArray, certify: bool) -> None:
        self.env = env
        self.solver = FluidSolver(capacity, certify=certify)
        self.solver.now = float(env.now)
        self._waiting: list[tuple[Job, simpy.Event]] = []
        self._driver = Driver.of(env)

    def _link_name(self, link: int) -> str:
        fabric = self.fabric
        return f"{fabric.nodes[fabric.source[link]]}-{fabric.nodes[fabric.target[link]]}"

    @property
    def busy(self) -> bool:
        """Whether some schedule is unfinished."""
        return bool(self._waiting)

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
        self._driver.catch_up(self)
        done = self.env.event()
        self._waiting.append((self.solver.add(program), done))
        self.report()
        self._driver.wake(self)
        return done

    def set_bandwidth(self, a: Hashable, b: Hashable, bytes_per_second: float) -> None:
        """Change the bandwidth of the link from node ``a`` to node ``b`` from now on; 0 is a dead link."""
        names = {node: i for i, node in enumerate(self.fabric.nodes)}
        if a not in names or b not in names:
            raise NetworkError(f"no node {a if a not in names else b!r} in {self.fabric.name}")
        link = int(self.fabric.links_between(np.asarray([names[a]]), np.asarray([names[b]]))[0])
        if link < 0:
            raise NetworkError(f"no link from {a} to {b} in {self.fabric.name}")
        self.set_capacity(link, bytes_per_second)

    def set_capacity(self, link: int, bytes_per_second: float) -> None:
        """Change the bandwidth of a link given by its number from now on; 0 is a dead link."""
        if not 0 <= link < len(self.solver.capacity):
            raise NetworkError(
                f"no link {link}", f"links are numbered from 0 to {len(self.solver.capacity) - 1}"
            )
        self._driver.catch_up(self)
        self.solver.set_capacity(link, bytes_per_second)
        self._driver.wake(self)

    def report(self) -> None:
        """Succeed the events of the schedules that have finished by now."""
        if len(self._waiting) == self.solver.running:
            return
        over = [entry for entry in self._waiting if entry[0].finish < np.inf]
        self._waiting = [entry for entry in self._waiting if entry[0].finish == np.inf]
        for job, done in over:
            done.succeed(Outcome(job.start, job.finish, job.row_finish, job.program))
