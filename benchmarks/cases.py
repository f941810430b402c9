"""The cases that the engine's speed is stated for."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.traffic import (
    A2A,
    RING,
    exchange_program,
    first_found,
    irregular,
    loaded,
    permutation,
    ring_program,
    schedule_of,
)
from topo.network import Program, compile_program
from topo.network.fold import Folded, fold
from topo.network.program import flow_program
from topo.network.solver import run_alone
from topo.network.structured import structured

if TYPE_CHECKING:
    import simpy


@dataclass(frozen=True)
class Case:
    """One thing whose speed is measured.

    Parameters
    ----------
    name : str
    prepare : callable
        Returns the function that is measured; it returns the amount of work done.
    unit : str
        What the amount counts.
    seconds : float, optional
        CPU seconds to reach.
    rate : float, optional
        Amount a CPU second to reach.
    small : callable, optional
        A small program of the same kind, for the plain SimPy model.
    rounds : int
    """

    name: str
    prepare: Callable[[], Callable[[], float]]
    unit: str = "transfers"
    seconds: float | None = None
    rate: float | None = None
    small: Callable[[], Program] | None = None
    rounds: int = 3


def folded_of(program: Program) -> Folded:
    """A program folded.

    Raises
    ------
    ValueError
        It does not fold.
    """
    found = fold(program)
    if found is None:
        raise ValueError("the program does not fold")
    return found


# -------------------------------------------------------------------------------------------- what is timed


def unfolded_run(make: Callable[[], Program], whole: bool = False) -> Callable[[], Callable[[], float]]:
    """Run every transfer by itself, nothing folded and no repeats skipped; ``whole`` times the making too."""

    def prepare() -> Callable[[], float]:
        ready = None if whole else make()

        def run() -> float:
            program = ready or make()
            run_alone(program, skip_repeats=False)
            return float(program.transfers)

        return run

    return prepare


def folded_run(make: Callable[[], Program]) -> Callable[[], Callable[[], float]]:
    """Fold a compiled program and run it."""

    def prepare() -> Callable[[], float]:
        program = make()

        def run() -> float:
            run_alone(folded_of(program).program)
            return float(program.transfers)

        return run

    return prepare


def compiled_run(make: Callable[[], Program]) -> Callable[[], Callable[[], float]]:
    """Find ways, compile, fold where that pays, run."""

    def prepare() -> Callable[[], float]:
        make()

        def run() -> float:
            loaded.cache_clear()
            program = make()
            folded = fold(program)
            run_alone(folded.program if folded else program)
            return float(program.transfers)

        return run

    return prepare


def structured_run(
    name: str, operation: str, algorithm: str, load: bool = False
) -> Callable[[], Callable[[], float]]:
    """Compile by symmetry and run; ``load`` times the making of the fabric too."""

    def prepare() -> Callable[[], float]:
        schedule_of(name, operation, algorithm)

        def run() -> float:
            if load:
                loaded.cache_clear()
            schedule, fabric = schedule_of(name, operation, algorithm)
            fabric.cache.clear()
            folded = structured(schedule, fabric)
            if folded is None:
                raise ValueError(f"{name} has no structure")
            run_alone(folded.program)
            return float(schedule.transfers)

        return run

    return prepare


def solved_run(name: str, operation: str, algorithm: str) -> Callable[[], Callable[[], float]]:
    """The same without finding orbits of links again."""

    def prepare() -> Callable[[], float]:
        schedule, fabric = schedule_of(name, operation, algorithm)
        structured(schedule, fabric)

        def run() -> float:
            folded = structured(schedule, fabric)
            if folded is None:
                raise ValueError(f"{name} has no structure")
            run_alone(folded.program)
            return float(schedule.transfers)

        return run

    return prepare


def events_run(make: Callable[[], Program]) -> Callable[[], Callable[[], float]]:
    """The event solver alone."""

    def prepare() -> Callable[[], float]:
        program = make()

        def run() -> float:
            return float(run_alone(program, patience=0)[1].events)

        return run

    return prepare


def coupled_run(act: str, couplings: int = 20_000) -> Callable[[], Callable[[], float]]:
    """A SimPy process that wakes at short intervals beside a Network that has an event or two in each.

    ``act`` is what the process does then: ``wake`` nothing, ``capacity`` change a link, ``start`` a schedule.  The
    time holds all: SimPy's own events, the events of the solver, and the coupling.
    """

    def prepare() -> Callable[[], float]:
        import simpy

        from topo.network import Network

        capacity = np.full(4, 1e9)
        interval = 1e-6
        stream = flow_program(
            capacity, np.full(1, 1e9 * interval), np.zeros(1), np.array([0, 1]), np.zeros(1, dtype=np.int64)
        )
        stream = replace(stream, repeat=np.full(1, couplings, dtype=np.int64))
        other = flow_program(capacity, np.full(1, 100.0), np.zeros(1), np.array([0, 1]), np.full(1, 2))

        def run() -> float:
            env = simpy.Environment()
            network = Network.of_links(env, capacity)
            network.solver.skip_repeats = False
            network.solver.patience = 0
            network.start_program(stream)

            def process() -> Generator[simpy.Event, Any, None]:
                for number in range(couplings):
                    yield env.timeout(interval * 0.99)
                    if act == "capacity":
                        network.set_capacity(0, 1e9 * (1 + number % 2 * 1e-3))
                    elif act == "start":
                        network.start_program(other)

            env.process(process())
            env.run()
            return float(couplings)

        return run

    return prepare


def packet_run(operation: str, algorithm: str, size: float) -> Callable[[], Callable[[], float]]:
    """The packet engine on a torus 4x4x4."""

    def prepare() -> Callable[[], float]:
        from topo.network.packet import run_packets

        schedule, fabric = schedule_of("torus:4x4x4", operation, algorithm, size)
        program = compile_program(schedule, fabric)

        def run() -> float:
            return float(run_packets(program, fabric).packet_hops)

        return run

    return prepare


def process_run(*arguments: str) -> Callable[[], Callable[[], float]]:
    """A whole process of the command line; its CPU time counts through the caller's clock for children."""

    def prepare() -> Callable[[], float]:
        import subprocess
        import sys

        def run() -> float:
            subprocess.run(
                [sys.executable, "-c", "from topo.cli import main; main()", *arguments],
                check=True,
                stdout=subprocess.DEVNULL,
            )
            return 1.0

        return run

    return prepare


DEAD = "torus:8x8x8,failed=0.0.0-0.0.1"

CASES = (
    Case(
        "ring, switch of 512, unfolded",
        unfolded_run(lambda: ring_program("switch:512")),
        seconds=0.06,
        small=lambda: ring_program("switch:16"),
    ),
    Case(
        "bucket, torus 16x16x16, whole topo run process",
        process_run(
            "run", "all-reduce", "--on", "torus:16x16x16", "--size", "64MiB", "--algorithm", "bucket"
        ),
        unit="runs",
        seconds=0.8,
    ),
    Case(
        "ring of 4096, unfolded, with its generation",
        unfolded_run(lambda: ring_program("ring:4096"), whole=True),
        seconds=3.0,
        small=lambda: ring_program("ring:16"),
        rounds=1,
    ),
    Case(
        "ring of 4096, folded",
        solved_run("ring:4096", *RING),
        seconds=0.01,
        small=lambda: ring_program("ring:16"),
    ),
    Case(
        "all-to-all, torus 8x8x8, unfolded",
        unfolded_run(lambda: exchange_program("torus:8x8x8")),
        seconds=0.3,
        small=lambda: exchange_program("torus:4x4x4"),
    ),
    Case(
        "all-to-all, torus 8x8x8, folded from raw flows",
        folded_run(lambda: exchange_program("torus:8x8x8")),
        seconds=0.025,
        small=lambda: exchange_program("torus:4x4x4"),
    ),
    Case(
        "all-to-all, torus 8x8x8, structured",
        solved_run("torus:8x8x8", *A2A),
        seconds=0.001,
        small=lambda: exchange_program("torus:4x4x4"),
    ),
    Case(
        "all-to-all, torus 74x74x74, build and simulate",
        structured_run("torus:74x74x74", *A2A),
        seconds=0.3,
        rounds=1,
    ),
    Case(
        "irregular, 1 flow a sender",
        events_run(lambda: irregular(1, 100_000)),
        unit="events",
        rate=1e6,
        small=lambda: irregular(1, 1024),
    ),
    Case(
        "irregular, 4 flows a sender",
        events_run(lambda: irregular(4, 50_000)),
        unit="events",
        rate=4e5,
        small=lambda: irregular(4, 1024),
    ),
    Case(
        "irregular, 16 flows a sender",
        events_run(lambda: irregular(16, 20_000)),
        unit="events",
        rate=3e4,
        rounds=1,
    ),
    Case("SimPy process that wakes the network", coupled_run("wake"), unit="couplings", rate=2e5),
    Case("SimPy process that changes a link", coupled_run("capacity"), unit="couplings", rate=2e5),
    Case(
        "SimPy process that starts a schedule",
        coupled_run("start", 1000),
        unit="couplings",
        rate=2e5,
        rounds=1,
    ),
    Case("packets, ring, torus 4x4x4", packet_run(*RING, 64e6), unit="packet-hops", rate=20e6),
    Case("packets, all-to-all, torus 4x4x4", packet_run(*A2A, 16e6), unit="packet-hops", rate=8e6),
    Case(
        "all-to-all, torus 8x8x8 with a dead cable",
        compiled_run(lambda: exchange_program(DEAD)),
        seconds=60.0,
        small=lambda: exchange_program("torus:3x3x3,failed=0.0.0-0.0.1"),
        rounds=1,
    ),
    Case(
        "all-to-all, torus 8x8x8 over first-found ways",
        compiled_run(lambda: first_found("torus:8x8x8")),
        seconds=60.0,
        small=lambda: first_found("torus:4x4x4"),
        rounds=1,
    ),
    Case(
        "random permutation, torus 16x16x16",
        compiled_run(lambda: permutation("torus:16x16x16")),
        seconds=0.3,
        small=lambda: permutation("torus:8x8x8"),
    ),
)
