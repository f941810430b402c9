"""The driver: moves the solvers of all Networks of a SimPy environment through its time.

Between two SimPy events nobody else acts, so the solvers may run ahead of the clock up to the next event.  Several
Networks in one environment advance in turn, the one with the earliest event first and never beyond the next event
of another, so that none is ever ahead of a schedule that finishes elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any, Protocol

import simpy

from topo.errors import NetworkError
from topo.network.solver import FluidSolver


class Driven(Protocol):
    """What the driver asks of a Network."""

    solver: FluidSolver

    @property
    def busy(self) -> bool:
        """Whether some schedule is unfinished."""

    def report(self) -> None:
        """Succeed the events of the schedules that have finished by now."""


class Driver:
    """The one process that all Networks of an environment share."""

    def __init__(self, env: simpy.Environment) -> None:
        self.env = env
        self.networks: list[Driven] = []
        self.news = env.event()
        env.process(self._run())

    @classmethod
    def of(cls, env: simpy.Environment) -> Driver:
        """The driver of an environment; it is kept there, and goes with it."""
        found: Driver = vars(env).setdefault("_topo_driver", None) or cls(env)
        vars(env)["_topo_driver"] = found
        return found

    def wake(self, network: Driven) -> None:
        """There is something to do for a Network."""
        if network not in self.networks:
            self.networks.append(network)
        if not self.news.triggered:
            self.news.succeed()

    def catch_up(self, network: Driven) -> None:
        """Bring a Network to the present, all events of this moment included.

        Raises
        ------
        NetworkError
            The Network has run ahead, because it was called from outside while no event was pending.
        """
        solver, now = network.solver, self.env.now
        if solver.now > now:
            raise NetworkError(
                f"the network has already run ahead to {solver.now} s, the clock stands at {now} s",
                "call it from SimPy processes, or between calls of env.run()",
            )
        if solver.now < now or solver.next_event() <= now:
            while solver.advance(now):
                pass
        network.report()

    def _run(self) -> Generator[simpy.Event, Any, None]:
        env = self.env
        while True:
            if not self.networks:
                self.news = env.event()
                yield self.news
            # Let everybody else act first who acts now.
            while env.peek() <= env.now:
                yield env.timeout(0.0)
            for network in self.networks:
                self.catch_up(network)
            if env.peek() <= env.now:
                continue
            self.networks = [network for network in self.networks if network.busy]
            if not self.networks:
                continue
            horizon = env.peek()
            finish = self._run_ahead(horizon)
            if finish is not None:
                yield from self._sleep_until(finish)
            else:
                delay = horizon - env.now
                # To wake a rounding late is no harm here, but too early is: it would go on for ever.
                yield env.timeout(delay if env.now + delay >= horizon else math.nextafter(delay, math.inf))

    def _run_ahead(self, horizon: float) -> float | None:
        """Advance all solvers to the horizon, or to the first end of a schedule; the answer is that moment."""
        if len(self.networks) == 1:
            solver = self.networks[0].solver
            return solver.now if solver.advance(horizon) else None
        while True:
            following = [network.solver.next_event() for network in self.networks]
            first = min(range(len(following)), key=following.__getitem__)
            others = min((t for i, t in enumerate(following) if i != first), default=math.inf)
            if following[first] > horizon:
                return None
            solver = self.networks[first].solver
            if solver.advance(min(horizon, others)):
                return solver.now

    def _sleep_until(self, moment: float) -> Generator[simpy.Event, Any, None]:
        """Let the clock come to exactly this moment."""
        env = self.env
        if env.now + (moment - env.now) != moment:
            # From half way on the difference is exact (Sterbenz, "Floating-Point Computation", 1974).
            yield env.timeout((moment - env.now) / 2)
        yield env.timeout(moment - env.now)
