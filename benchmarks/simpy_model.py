"""A plain SimPy model: one process per transfer, one object for the links, nothing folded, skipped or compiled.

It answers what the engine answers, the way one writes a simulation by hand, and serves twice: as the baseline that
the engine's speed is compared with, and as an oracle for small cases.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import simpy

from topo.network import Program


class Links:
    """Links that transfers share by max-min fairness; rates are found anew whenever one starts or ends."""

    def __init__(self, env: simpy.Environment, capacity: list[float]) -> None:
        self.env = env
        self.capacity = capacity
        self.left: dict[int, float] = {}
        self.rate: dict[int, float] = {}
        self.route: dict[int, list[tuple[int, float]]] = {}
        self.done: dict[int, simpy.Event] = {}
        self.since = 0.0
        self.version = 0
        self.waking = False

    def send(self, key: int, size: float, route: list[tuple[int, float]]) -> simpy.Event:
        """An event for the moment at which the last byte has left."""
        self._settle()
        self.left[key], self.route[key], self.done[key] = size, route, self.env.event()
        self._changed()
        return self.done[key]

    def _settle(self) -> None:
        passed = self.env.now - self.since
        if passed > 0:
            for key, rate in self.rate.items():
                self.left[key] -= rate * passed
        self.since = self.env.now

    def _changed(self) -> None:
        """Find rates once, after all that happens at this moment."""
        if not self.waking:
            self.waking = True
            self.env.process(self._later())

    def _later(self) -> Generator[simpy.Event, Any, None]:
        yield self.env.timeout(0)
        self.waking = False
        self._fill()
        self.version += 1
        if self.rate:
            wait = min(max(self.left[key], 0.0) / rate for key, rate in self.rate.items())
            self.env.process(self._finish(wait, self.version))

    def _finish(self, wait: float, version: int) -> Generator[simpy.Event, Any, None]:
        yield self.env.timeout(wait)
        if version != self.version:
            return
        self._settle()
        slack = 1e-12 * self.env.now
        over = [key for key, rate in self.rate.items() if self.left[key] <= rate * slack]
        for key in over:
            del self.left[key], self.rate[key], self.route[key]
            self.done.pop(key).succeed()
        self._changed()

    def _fill(self) -> None:
        """Progressive filling."""
        left = dict.fromkeys((link for route in self.route.values() for link, _ in route), 0.0)
        left = {link: self.capacity[link] for link in left}
        growing = dict(self.route)
        self.rate = {}
        while growing:
            load = dict.fromkeys(left, 0.0)
            for route in growing.values():
                for link, weight in route:
                    load[link] += weight
            share = {link: left[link] / weight for link, weight in load.items() if weight > 1e-12}
            level = min(share.values())
            full = {link for link, value in share.items() if value <= level * (1 + 1e-9)}
            for key in [key for key, route in growing.items() if any(link in full for link, _ in route)]:
                for link, weight in growing.pop(key):
                    left[link] -= level * weight
                self.rate[key] = level


def simulate(program: Program) -> float:
    """Seconds that a program takes.

    Parameters
    ----------
    program : Program
        Small: every repeat of every row is a process.
    """
    env = simpy.Environment()
    links = Links(env, program.capacity.tolist())
    repeat = program.repeat.tolist()
    drained = [[env.event() for _ in range(times)] for times in repeat]
    arrived = [[env.event() for _ in range(times)] for times in repeat]

    def needs(row: int, number: int) -> list[simpy.Event]:
        found = []
        for at in range(int(program.wait_pointer[row]), int(program.wait_pointer[row + 1])):
            gate = int(program.wait_gate[at])
            level = min(max(number - int(program.wait_lag[at]) + 1, 0), int(program.gate_repeat[gate]))
            if not level:
                continue
            events = arrived if program.gate_on_arrival[gate] else drained
            members = program.member_row[program.member_pointer[gate] : program.member_pointer[gate + 1]]
            found += [events[int(member)][level - 1] for member in members]
        if number:
            found.append(drained[row][number - 1])
        return found

    def transfer(row: int, number: int) -> Generator[simpy.Event, Any, None]:
        for event in needs(row, number):
            if not event.processed:
                yield event
        size = float(program.bytes[row])
        if size > 0:
            entries = slice(int(program.route_pointer[row]), int(program.route_pointer[row + 1]))
            route = list(
                zip(program.route_link[entries].tolist(), program.route_weight[entries].tolist(), strict=True)
            )
            yield links.send(row, size, route)
        drained[row][number].succeed()
        yield env.timeout(float(program.latency[row]))
        arrived[row][number].succeed()

    for row, times in enumerate(repeat):
        for number in range(times):
            env.process(transfer(row, number))
    env.run()
    return float(env.now)
