"""Schedules made ready to run, and run: built, compiled to the smallest exact program, simulated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import simpy

from topo.algorithms import Algorithm, Site, build
from topo.collective import Collective
from topo.fabric import FloatArray
from topo.network.fold import Folded, fold, unfolded
from topo.network.network import Network, Outcome
from topo.network.program import Program, compile_program, scaled
from topo.network.solver import run_alone
from topo.network.structured import structured
from topo.schedule import Schedule

NEXT_TO_NOTHING = 1e-6
"""Bytes of the largest transfer that leave latency alone, whatever the size of the collective."""
KEPT_ROWS = 200_000
"""Largest program, in rows and links, that is kept for other sizes."""
LONG = 2_000
"""Transfers, folded ones counted once, beyond which the compiled solver runs them, each on a link of its own."""


@dataclass(frozen=True)
class Options:
    """How to simulate.

    Parameters
    ----------
    barrier : bool
        Lock-step instead of data dependencies.
    switching : str
        ``cut-through`` or ``store-and-forward``.
    routing : str
        ``auto``, ``shortest``, ``dimension-order`` or ``ecmp``.
    seed : int
    certify : bool
        Check the max-min certificate after every change of rates, and prove the schedule.
    folding : bool
        Whether to fold symmetric transfers; the answer is the same.
    """

    barrier: bool = False
    switching: str = "cut-through"
    routing: str = "auto"
    seed: int = 0
    certify: bool = False
    folding: bool = True


def spelled_out(schedule: Schedule, site: Site, options: Options) -> Program:
    """The program of a schedule at its site with every transfer in it."""
    return compile_program(
        schedule,
        site.fabric,
        ranks=site.ranks,
        barrier=options.barrier,
        switching=options.switching,
        routing=options.routing,
        seed=options.seed,
    )


def compiled(schedule: Schedule, site: Site, options: Options) -> Folded:
    """The smallest exact program of a schedule at its site."""
    if options.certify:
        schedule.verify()
    if options.folding and site.whole and options.switching == "cut-through":
        by_shift = structured(schedule, site.fabric, barrier=options.barrier, routing=options.routing)
        if by_shift is not None:
            return by_shift
    program = spelled_out(schedule, site, options)
    return (fold(program) if options.folding else None) or unfolded(program)


def uncontended(folded: Folded, bytes: float = 1.0) -> float:
    """Seconds when every transfer has its links for itself, its bytes times a factor.

    Parameters
    ----------
    folded : Folded
    bytes : float
        Factor on all bytes.
    """
    program = scaled(folded.program, bytes=bytes)
    own = np.arange(program.rows)
    apart = replace(
        program,
        route_pointer=np.arange(program.rows + 1),
        route_link=own,
        route_weight=np.ones(program.rows),
        capacity=_own_rates(folded),
    )
    # Long ones run in the compiled solver, which knows links only as shared.
    return run_alone(apart, sharing=int(program.repeat.sum()) > LONG)[0].finish


def _own_rates(folded: Folded) -> FloatArray:
    """Rate of one transfer of each row alone on its links [rows], bytes/s.

    A folded row weighs on a link as all its transfers that cross it do; one of them crosses all links of the class
    with weight x links / transfers.  A transfer that is split over like links counts as one that takes one of them.
    """
    program = folded.program
    row = np.repeat(np.arange(program.rows), np.diff(program.route_pointer))
    weight = program.route_weight * folded.link_count[program.route_link] / program.count[row]
    rate = np.full(program.rows, np.inf)
    np.minimum.at(rate, row, program.capacity[program.route_link] / np.where(weight > 1, 1.0, weight))
    return rate


@dataclass(frozen=True, eq=False)
class Prepared:
    """A schedule ready to run.

    Parameters
    ----------
    algorithm : Algorithm
    schedule : Schedule
    chunks : int
    folded : Folded
    like : Prepared, optional
        The same but for its bytes, with the same latency therefore.
    """

    algorithm: Algorithm
    schedule: Schedule
    chunks: int
    folded: Folded
    like: Prepared | None = None

    @cached_property
    def latency(self) -> float:
        """Seconds with next to no bytes; no run is shorter."""
        if self.like is not None:
            return self.like.latency
        largest = float(self.folded.program.bytes.max(initial=0.0))
        return uncontended(self.folded, NEXT_TO_NOTHING / largest if largest > 0 else 1.0)

    @cached_property
    def busy(self) -> float:
        """Seconds that the busiest link needs for its bytes; no run is shorter."""
        program = self.folded.program
        return float((program.link_bytes() / program.capacity).max(initial=0.0))


def prepared(
    algorithm: Algorithm, collective: Collective, site: Site, chunks: int, options: Options
) -> Prepared:
    """Build and compile an algorithm.

    What was compiled for another size of the same collective is used again when the schedules differ in nothing
    but their bytes.
    """
    schedule = build(algorithm.name, collective, site, chunks)
    of_any_size = replace(collective, bytes=0.0 if collective.operation == "barrier" else 1.0, matrix=None)
    key = ("prepared", algorithm.name, of_any_size, site.ranks.tobytes(), chunks, options)
    known: Prepared | None = site.fabric.cache.get(key)
    if known is not None and _same_but_bytes(schedule, known.schedule):
        folded = known.folded
        spelled_out = len(folded.row_class) > 0
        sizes = np.concatenate(
            [np.repeat(batch.bytes, batch.copies if spelled_out else 1) for batch in schedule.batches]
        )
        program = replace(folded.program, bytes=sizes[folded.representative])
        return replace(known, schedule=schedule, folded=replace(folded, program=program), like=known)
    folded = compiled(schedule, site, options)
    ready = Prepared(algorithm, schedule, chunks, folded)
    rows = folded.program.rows + len(folded.program.route_link)
    if options.switching == "cut-through" and rows <= KEPT_ROWS and not options.certify:
        site.fabric.cache[key] = ready
    return ready


def _same_but_bytes(one: Schedule, other: Schedule) -> bool:
    if len(one.batches) != len(other.batches):
        return False
    ratio = 0.0
    for a, b in zip(one.batches, other.batches, strict=True):
        plain = (a.repeat, a.step, a.form, a.grid, len(a.waits)) == (
            b.repeat,
            b.step,
            b.form,
            b.grid,
            len(b.waits),
        )
        if not plain or (a.fan is not None and b.fan is None) or a.routes is not b.routes or len(a) != len(b):
            return False
        if not (np.array_equal(a.source, b.source) and np.array_equal(a.target, b.target)):
            return False
        if a.fan is not None and b.fan is not None and not all(map(np.array_equal, a.fan, b.fan)):
            return False
        for x, y in zip(a.waits, b.waits, strict=True):
            if (x.batch, x.lag, x.on) != (y.batch, y.lag, y.on) or x.pairs is not None or y.pairs is not None:
                return False
        moved = np.flatnonzero(b.bytes > 0)
        if not np.array_equal(a.bytes > 0, b.bytes > 0):
            return False
        if len(moved):
            ratio = ratio or float(a.bytes[moved[0]] / b.bytes[moved[0]])
            if not np.allclose(a.bytes[moved], ratio * b.bytes[moved], rtol=1e-12, atol=0.0):
                return False
    return True


@dataclass(frozen=True, eq=False)
class Run:
    """A schedule that was simulated.

    Parameters
    ----------
    prepared : Prepared
    seconds : float
        Infinite when a cutoff ended the simulation.
    events : int
    launch : float
        Seconds of them before anything moves, a communication library's overhead.
    """

    prepared: Prepared
    seconds: float
    events: int
    launch: float = 0.0


def timed(program: Program, options: Options, cutoff: float = np.inf) -> tuple[float, int]:
    """Seconds and events of a program in a SimPy environment of its own; infinity when it passes the cutoff."""
    env = simpy.Environment()
    network = Network.of_links(env, program.capacity, certify=options.certify)
    done = network.start_program(program)
    env.run(until=done if cutoff == np.inf else done | env.timeout(cutoff))
    outcome: Outcome | None = done.value if done.triggered else None
    return outcome.duration if outcome else np.inf, network.solver.events


def simulated(ready: Prepared, options: Options, cutoff: float = np.inf) -> Run:
    """Simulate what is prepared; its time is infinite when it passes the cutoff."""
    if ready.busy > cutoff:
        return Run(ready, np.inf, 0)
    seconds, events = timed(ready.folded.program, options, cutoff)
    return Run(ready, seconds, events)
