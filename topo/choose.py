"""How ``auto`` chooses: simulate what can win, cheapest promise first, and stop at the bound.

Every algorithm that fits is built, and promised at least the time that its bytes need at each rank's ports plus
the least latency of its steps.  In the order of those promises they are simulated, each no further than the best
time so far; an algorithm whose ports alone take longer is left out, and a time at the lower bound ends the search.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import simpy

from topo.algorithms import Algorithm, Site, build, find, fitting, refusal, with_variants
from topo.bounds import Bound
from topo.collective import Collective
from topo.errors import AlgorithmError
from topo.fabric import FloatArray
from topo.network.fold import Folded, fold, unfolded
from topo.network.network import Network
from topo.network.program import Program, compile_program
from topo.network.structured import structured
from topo.schedule import Schedule
from topo.translation import link_orbits

CHUNK_COUNTS = (4, 16, 64, 256)
SMALLEST_CHUNK = 1024.0
LARGE_GROUP = 512
AT_THE_BOUND = 1.0005
"""Ratio to the lower bound at which no better algorithm is looked for."""
NEAR_THE_BOUND = 1.02
"""The same for large groups, where every try costs."""
WORTH_MORE_CHUNKS = 0.99
MANY_TRANSFERS = 400_000
"""Transfers, repeats not counted, beyond which only translation-invariant schedules are tried."""


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


@dataclass(frozen=True, eq=False)
class Run:
    """A schedule that was simulated.

    Parameters
    ----------
    algorithm : Algorithm
    schedule : Schedule
    chunks : int
    folded : Folded
        What ran.
    seconds : float
    events : int
    """

    algorithm: Algorithm
    schedule: Schedule
    chunks: int
    folded: Folded
    seconds: float
    events: int


def compiled(schedule: Schedule, site: Site, options: Options) -> Folded:
    """The smallest exact program of a schedule at its site."""
    if options.certify:
        schedule.verify()
    if options.folding and site.whole and options.switching == "cut-through":
        by_shift = structured(schedule, site.fabric, barrier=options.barrier, routing=options.routing)
        if by_shift is not None:
            return by_shift
    program = compile_program(
        schedule,
        site.fabric,
        ranks=site.ranks,
        barrier=options.barrier,
        switching=options.switching,
        routing=options.routing,
        seed=options.seed,
    )
    return (fold(program) if options.folding else None) or unfolded(program)


def timed(program: Program, options: Options, cutoff: float = np.inf) -> tuple[float, int]:
    """Seconds and events of a program in a SimPy environment of its own; infinity when it passes the cutoff."""
    env = simpy.Environment()
    network = Network.of_links(env, program.capacity, certify=options.certify)
    done = network.start_program(program)
    env.run(until=done if cutoff == np.inf else done | env.timeout(cutoff))
    seconds = done.value.duration if done.triggered else np.inf
    return float(seconds), network.solver.events


def simulated(
    algorithm: Algorithm,
    collective: Collective,
    site: Site,
    chunks: int,
    options: Options,
    cutoff: float = np.inf,
) -> Run:
    """Build and simulate one algorithm; its time is infinite when it passes the cutoff."""
    schedule = build(algorithm.name, collective, site, chunks)
    folded = compiled(schedule, site, options)
    seconds, events = timed(folded.program, options, cutoff)
    return Run(algorithm, schedule, chunks, folded, seconds, events)


def port_time(schedule: Schedule, site: Site) -> float:
    """Seconds that the bytes of a schedule need at the busiest port of its ranks."""
    sent, received = _port_bytes(schedule)
    egress, ingress = site.fabric.egress[site.ranks], site.fabric.ingress[site.ranks]
    return float(max((sent / egress).max(), (received / ingress).max()))


def _port_bytes(schedule: Schedule) -> tuple[FloatArray, FloatArray]:
    sent = np.zeros(schedule.collective.ranks)
    received = np.zeros(schedule.collective.ranks)
    for batch in schedule.batches:
        if batch.grid is not None:
            total = float(batch.bytes.sum()) * batch.repeat
            sent += total
            received += total
            continue
        for into, (pointer, ranks) in ((sent, batch.senders()), (received, batch.receivers())):
            np.add.at(into, ranks, np.repeat(batch.bytes * batch.repeat, np.diff(pointer)))
    return sent, received


def best_chunks(
    algorithm: Algorithm,
    collective: Collective,
    site: Site,
    options: Options,
    floor: float = 0.0,
    cutoff: float = np.inf,
) -> Run:
    """The best number of chunks among powers of four, as long as more of them promise to help.

    The time of a pipeline in k chunks is near A + B/k.  Two runs give A; the search ends when A cannot win, or is
    so near that more chunks gain next to nothing.

    Parameters
    ----------
    floor : float
        A time that cannot be beaten; the search ends there.
    cutoff : float
        A time that has to be beaten.
    """
    pipelines = algorithm.pipelines and may_cut(collective, CHUNK_COUNTS[0])
    best = last = simulated(algorithm, collective, site, 1, options, np.inf if pipelines else cutoff)
    if not pipelines:
        return best
    floor = max(floor, port_time(best.schedule, site))
    for chunks in CHUNK_COUNTS:
        if best.seconds <= floor * AT_THE_BOUND or floor >= cutoff or not may_cut(collective, chunks):
            break
        run = simulated(algorithm, collective, site, chunks, options)
        endless = max(run.seconds - (last.seconds - run.seconds) / (chunks / last.chunks - 1), floor)
        if run.seconds < best.seconds:
            best = run
        if run.seconds >= last.seconds or endless >= cutoff or endless > WORTH_MORE_CHUNKS * run.seconds:
            break
        last = run
    return best


def may_cut(collective: Collective, chunks: int) -> bool:
    """Whether chunks of every rank's share would still be of a sensible size."""
    return collective.bytes / (chunks * collective.ranks) >= SMALLEST_CHUNK


def affordable(schedule: Schedule, site: Site) -> bool:
    """Whether a schedule stays small, spelled out or by shift."""
    if sum(len(batch) * batch.copies for batch in schedule.batches) <= MANY_TRANSFERS:
        return True
    grid = schedule.batches[0].grid
    same = grid is not None and all(batch.grid == grid for batch in schedule.batches)
    return same and grid is not None and site.whole and link_orbits(site.fabric, grid) is not None


def candidates(collective: Collective, site: Site) -> list[Algorithm]:
    """The algorithms that ``auto`` tries: all that fit, on large groups only those that scale."""
    able = fitting(collective, site)
    if collective.ranks > LARGE_GROUP:
        able = [entry for entry in able if entry.scales] or able
    if not able:
        raise AlgorithmError(f"no algorithm carries out {collective.operation} on {site.fabric.name}")
    return [variant for entry in able for variant in with_variants(entry, collective, site)]


def fastest(
    collective: Collective, site: Site, options: Options, bound: Bound, chunks: int | None = None
) -> Run:
    """The fastest run of all algorithms that fit.

    Raises
    ------
    AlgorithmError
        None fits, or none pipelines although chunks were asked for.
    """
    tries = candidates(collective, site)
    if chunks is not None and chunks > 1:
        tries = [entry for entry in tries if entry.pipelines]
        if not tries:
            raise AlgorithmError(
                f"no algorithm pipelines {collective.operation} here", "leave the chunks out"
            )
    hop = float(site.fabric.latency.min())
    promises: list[tuple[float, float, Algorithm]] = []
    for entry in tries:
        schedule = build(entry.name, collective, site, chunks or 1)
        if not affordable(schedule, site):
            continue
        ports = port_time(schedule, site)
        promises.append((ports + schedule.steps * hop, ports, entry))
    promises.sort(key=lambda promise: promise[0])
    enough = bound.seconds * (AT_THE_BOUND if collective.ranks <= LARGE_GROUP else NEAR_THE_BOUND)
    best: Run | None = None
    for _, ports, entry in promises:
        cutoff = best.seconds if best is not None else np.inf
        if ports >= cutoff:
            continue
        if chunks is None:
            run = best_chunks(entry, collective, site, options, bound.seconds, cutoff)
        else:
            run = simulated(entry, collective, site, chunks, options, cutoff)
        if run.seconds < cutoff:
            best = run
        if best is not None and best.seconds <= enough:
            break
    if best is None:
        raise AlgorithmError(f"no algorithm finishes {collective.operation} on {site.fabric.name}")
    return best


def named(
    algorithm: str, collective: Collective, site: Site, options: Options, chunks: int | None = None
) -> Run:
    """The run of one algorithm by name, with the best number of chunks unless that is given."""
    entry = find(algorithm)
    if chunks is not None or refusal(entry, collective, site):
        return simulated(entry, collective, site, 1 if chunks is None else chunks, options)
    return best_chunks(entry, collective, site, options)


__all__ = [
    "Options",
    "Run",
    "best_chunks",
    "candidates",
    "compiled",
    "fastest",
    "named",
    "port_time",
    "simulated",
    "timed",
]
