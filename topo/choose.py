"""How ``auto`` chooses: simulate what can win, cheapest promise first, and stop at the bound.

Every algorithm that fits is built and compiled, which tells its latency (with next to no bytes) and how long its
busiest link is busy.  In the order of their sum they are simulated, each no further than the best time so far; one
whose latency or busiest link alone takes longer is left out, and a time at the lower bound ends the search.  Where
all stay far above the bound on a damaged or irregular fabric, schedules made for it are searched for.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import simpy

from topo.algorithms import Algorithm, Site, build, find, fitting, refusal, with_variants
from topo.bounds import Bound
from topo.collective import Collective
from topo.errors import AlgorithmError
from topo.fabric import FloatArray
from topo.network.fold import Folded, fold, unfolded
from topo.network.network import Network, Outcome
from topo.network.program import Program, compile_program, scaled
from topo.network.solver import run_alone
from topo.network.structured import structured
from topo.regularity import irregular, whole_grid
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
SAFETY = 0.98
"""Share of a known time that floors for smaller sizes are set at: contention may make a smaller run fare better."""
NEXT_TO_NOTHING = 1e-12
"""Factor on all bytes that leaves latency alone."""
KEPT_ROWS = 200_000
"""Largest program, in rows and links, that is kept for other sizes."""
WORTH_SEARCHING = 1.25
"""Ratio to the lower bound above which schedules are searched for, on a fabric that no formula was made for."""
SEARCHED_RANKS = 64
"""Ranks up to which they are."""
SEARCHED_CHUNKS = 16
"""Pieces that they are pipelined in, one number only: each costs."""
MANY_EVENTS = 40_000
"""Events that a try with more chunks may be expected to take."""
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


@dataclass(frozen=True, eq=False)
class Prepared:
    """A schedule ready to run.

    Parameters
    ----------
    algorithm : Algorithm
    schedule : Schedule
    chunks : int
    folded : Folded
    latency : float
        Seconds with next to no bytes; no run is shorter.
    """

    algorithm: Algorithm
    schedule: Schedule
    chunks: int
    folded: Folded
    latency: float

    @property
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
        return replace(known, schedule=schedule, folded=replace(folded, program=program))
    folded = compiled(schedule, site, options)
    latency = run_alone(scaled(folded.program, bytes=NEXT_TO_NOTHING), sharing=False)[0].finish
    ready = Prepared(algorithm, schedule, chunks, folded, latency)
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
    """

    prepared: Prepared
    seconds: float
    events: int


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
    if max(ready.latency, ready.busy) > cutoff:
        return Run(ready, np.inf, 0)
    seconds, events = timed(ready.folded.program, options, cutoff)
    return Run(ready, seconds, events)


def best_chunks(
    algorithm: Algorithm,
    collective: Collective,
    site: Site,
    options: Options,
    floor: float = 0.0,
    cutoff: float = np.inf,
    history: History | None = None,
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
    history : History, optional
    """
    pipelines = algorithm.pipelines and may_cut(collective, CHUNK_COUNTS[0])
    ready = prepared(algorithm, collective, site, 1, options)
    floor = max(floor, ready.latency, ready.busy)
    if floor >= cutoff:
        return Run(ready, np.inf, 0)
    history = history if history is not None else History()
    best = last = simulated(ready, options, np.inf if pipelines else cutoff)
    reach = best.seconds
    if not pipelines:
        history.note(best, collective.bytes, reach)
        return best
    for chunks in history.chunk_counts(algorithm.name, collective.bytes):
        if best.seconds <= floor * AT_THE_BOUND or floor >= cutoff or not may_cut(collective, chunks):
            break
        run = simulated(prepared(algorithm, collective, site, chunks, options), options)
        endless = max(run.seconds - (last.seconds - run.seconds) / (chunks / last.prepared.chunks - 1), floor)
        if run.seconds < best.seconds:
            best = run
        reach = min(reach, endless, run.seconds)
        if run.seconds >= last.seconds or endless >= cutoff or endless > WORTH_MORE_CHUNKS * run.seconds:
            break
        if run.events * chunks // last.prepared.chunks > MANY_EVENTS:
            break
        last = run
    history.note(best, collective.bytes, reach)
    return best


@dataclass(eq=False)
class History:
    """What ``auto`` learned at larger sizes of the same collective on the same site.

    With a fixed schedule a smaller size takes at least its share of the larger one's time, and more chunks pay
    less.  So, sizes taken from large to small, each algorithm comes with a floor, the last winner goes first, and
    no more chunks are tried than were best before.

    Parameters
    ----------
    times : dict
        By algorithm: bytes, seconds and chunks of its best run so far.
    winner : str
    """

    times: dict[str, tuple[float, float, int]] = field(default_factory=dict)
    winner: str = ""

    def floor(self, algorithm: str, size: float) -> float:
        """Seconds that the algorithm takes at least at a size."""
        known = self.times.get(algorithm)
        if known is None or size > known[0] or known[1] == np.inf:
            return 0.0
        return known[1] * size / known[0]

    def chunk_counts(self, algorithm: str, size: float) -> tuple[int, ...]:
        """The numbers of chunks worth trying: those known best and the next lower one, or all."""
        known = self.times.get(algorithm)
        if known is None or size > known[0]:
            return CHUNK_COUNTS
        return tuple(chunks for chunks in CHUNK_COUNTS if chunks <= known[2])[-2:]

    def note(self, run: Run, size: float, reach: float) -> None:
        """Remember a run, and the time that more chunks might have reached."""
        if reach < np.inf:
            self.times[run.prepared.algorithm.name] = (size, reach * SAFETY, run.prepared.chunks)


def port_time(schedule: Schedule, site: Site) -> float:
    """Seconds that the bytes of a schedule need at the busiest port of its ranks; no run is shorter."""
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
    collective: Collective,
    site: Site,
    options: Options,
    bound: Bound,
    chunks: int | None = None,
    history: History | None = None,
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
    history = history if history is not None else History()
    hop = float(site.fabric.latency.min(initial=np.inf))
    promises: list[tuple[float, float, Algorithm]] = []
    for entry in tries:
        if entry.costly:
            continue
        schedule = build(entry.name, collective, site, chunks or 1)
        if not affordable(schedule, site):
            continue
        floor = max(port_time(schedule, site), history.floor(entry.name, collective.bytes))
        promise = 0.0 if entry.name == history.winner else floor + schedule.steps * hop
        promises.append((promise, floor, entry))
    promises.sort(key=lambda promise: promise[0])
    enough = bound.seconds * (AT_THE_BOUND if collective.ranks <= LARGE_GROUP else NEAR_THE_BOUND)
    best: Run | None = None
    for _, floor, entry in promises:
        cutoff = best.seconds if best is not None else np.inf
        if floor >= cutoff:
            continue
        if chunks is None:
            run = best_chunks(entry, collective, site, options, bound.seconds, cutoff, history)
        else:
            run = simulated(prepared(entry, collective, site, chunks, options), options, cutoff)
        if run.seconds < cutoff:
            best = run
        if best is not None and best.seconds <= enough:
            break
    if best is None or best.seconds > WORTH_SEARCHING * bound.seconds:
        best = _searched(
            [entry for entry in tries if entry.costly], collective, site, options, bound, chunks, best
        )
    if best is None:
        raise AlgorithmError(f"no algorithm finishes {collective.operation} on {site.fabric.name}")
    history.winner = best.prepared.algorithm.name
    return best


def _searched(
    entries: list[Algorithm],
    collective: Collective,
    site: Site,
    options: Options,
    bound: Bound,
    chunks: int | None,
    best: Run | None,
) -> Run | None:
    """The best run when schedules are also searched for: on small groups, where nothing else fits or the fabric is
    irregular, and only until one comes near the bound.
    """
    hopeless = best is None or (irregular(site.fabric) and not whole_grid(site.fabric))
    if collective.ranks > SEARCHED_RANKS or not hopeless:
        return best
    # Those that do not pipeline are done after one run.
    for entry in sorted(entries, key=lambda entry: entry.pipelines):
        pieces = chunks or (
            SEARCHED_CHUNKS if entry.pipelines and may_cut(collective, SEARCHED_CHUNKS) else 1
        )
        cutoff = best.seconds if best is not None else np.inf
        run = simulated(prepared(entry, collective, site, pieces, options), options, cutoff)
        if run.seconds < cutoff:
            best = run
        if best is not None and best.seconds <= WORTH_SEARCHING * bound.seconds:
            break
    return best


def named(
    algorithm: str, collective: Collective, site: Site, options: Options, chunks: int | None = 1
) -> Run:
    """The run of one algorithm by name; without a number of chunks, with the best one."""
    entry = find(algorithm)
    if chunks is not None or refusal(entry, collective, site):
        return simulated(prepared(entry, collective, site, chunks or 1, options), options)
    return best_chunks(entry, collective, site, options)
