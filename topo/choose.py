"""How ``auto`` chooses: simulate what can win, cheapest promise first, and stop at the bound.

Every algorithm that fits is built and compiled, which tells its latency (with next to no bytes) and how long its
busiest link is busy.  In the order of their sum they are simulated, each no further than the best time so far; one
whose latency or busiest link alone takes longer is left out, and a time at the lower bound ends the search.  Where
all stay above the bound, trees are packed for the fabric at hand; where they stay far above it on a damaged or
irregular fabric, schedules are searched for chunk by chunk.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from topo.algorithms import Algorithm, Site, build, find, fitting, refusal, with_variants
from topo.bounds import Bound
from topo.collective import Collective
from topo.errors import AlgorithmError
from topo.network.structured import compact
from topo.prepared import Options, Prepared, Run, compiled, prepared, simulated, timed
from topo.promise import Promise, port_time, promise
from topo.regularity import irregular, whole_grid
from topo.schedule import Schedule

__all__ = [
    "History",
    "Options",
    "Prepared",
    "Run",
    "affordable",
    "best_chunks",
    "candidates",
    "compiled",
    "fastest",
    "may_cut",
    "named",
    "port_time",
    "prepared",
    "simulated",
    "timed",
]
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
WORTH_A_FOREST = 1.05
"""Ratio to the lower bound above which trees are packed for the fabric at hand."""
EVENTS_BEFORE_A_FOREST = 5_000
"""Events that the others may take before that; what the trees reach then keeps the rest short."""
PACKED_RANKS = 128
"""Ranks up to which they are."""
PACKED_RANKS_ROOTED = 512
"""The same where all trees grow from one root, which takes fewer."""
WORTH_SEARCHING = 1.25
"""Ratio to the lower bound above which schedules are searched for, on a fabric that no formula was made for."""
SEARCHED_RANKS = 64
"""Ranks up to which they are."""
MANY_EVENTS = 40_000
"""Events that a try with more chunks may be expected to take."""
MANY_EVENTS_OF_THE_BEST = 400_000
"""The same once for the best of all, while it stays off the bound."""
MANY_ROWS = 20_000
"""Transfers to be spelled out beyond which a schedule is tried last, ..."""
WORTH_MANY_ROWS = 1.1
"""... where the others stay above this ratio to the lower bound, ..."""
SURELY = 0.9
"""... and only if the links it draws are busy for less than this share of the best time so far."""
MANY_TRANSFERS = 400_000
"""Transfers, repeats not counted, beyond which only translation-invariant schedules are tried, ..."""
FEW_A_RANK = 4
"""... or those that have no more than so many for each rank."""


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
    # What is costly finds its own number.
    pipelines = algorithm.pipelines and not algorithm.costly and may_cut(collective, CHUNK_COUNTS[0])
    ready = prepared(algorithm, collective, site, 1, options)
    floor = max(floor, ready.busy)
    if floor >= cutoff or (floor := max(floor, ready.latency)) >= cutoff:
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
    promises : dict
        By algorithm: bytes, and what its schedule promised.
    winner : str
    losers : set of str
        Costly algorithms that were beaten at the last size; what is made for throughput loses at smaller ones too.
    """

    times: dict[str, tuple[float, float, int]] = field(default_factory=dict)
    promises: dict[str, tuple[float, Promise]] = field(default_factory=dict)
    winner: str = ""
    losers: set[str] = field(default_factory=set)

    def floor(self, algorithm: str, size: float) -> float:
        """Seconds that the algorithm takes at least at a size."""
        known = self.times.get(algorithm)
        if known is None or size > known[0] or known[1] == np.inf:
            return 0.0
        return known[1] * size / known[0]

    def promise(self, algorithm: str, schedule: Schedule, site: Site, routing: str) -> Promise:
        """What an algorithm promises at a size; loads of links are counted at the largest size only."""
        size = schedule.collective.bytes
        known = self.promises.get(algorithm)
        if known is None or size > known[0]:
            made = promise(schedule, site, routing)
            self.promises[algorithm] = size, made
        else:
            hops = schedule.steps * float(site.fabric.latency.min(initial=np.inf))
            share = size / known[0] if known[0] > 0 else 1.0
            floor = max(known[1].floor * share * SAFETY, port_time(schedule, site))
            busy = (known[1].seconds - hops) * share
            made = Promise(floor, max(floor, busy) + hops, known[1].rows)
        known_floor = self.floor(algorithm, size)
        return replace(made, floor=max(made.floor, known_floor), seconds=max(made.seconds, known_floor))

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


def may_cut(collective: Collective, chunks: int) -> bool:
    """Whether chunks of every rank's share would still be of a sensible size."""
    return collective.bytes / (chunks * collective.ranks) >= SMALLEST_CHUNK


def affordable(schedule: Schedule, site: Site) -> bool:
    """Whether a schedule stays small, spelled out or by its symmetries."""
    most = max(MANY_TRANSFERS, FEW_A_RANK * len(site.ranks))
    if sum(len(batch) * batch.copies for batch in schedule.batches) <= most:
        return True
    return site.whole and compact(schedule, site.fabric)


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
    earlier = dict(history.times)
    promises: list[tuple[Promise, Algorithm]] = []
    for entry in tries:
        if entry.costly:
            continue
        schedule = build(entry.name, collective, site, 1 if chunks is None else chunks)
        if affordable(schedule, site):
            promises.append((history.promise(entry.name, schedule, site, options.routing), entry))
    promises.sort(
        key=lambda made: (made[0].rows > MANY_ROWS, made[1].name != history.winner, made[0].seconds)
    )
    enough = bound.seconds * (AT_THE_BOUND if collective.ranks <= LARGE_GROUP else NEAR_THE_BOUND)
    best: Run | None = None
    events = 0
    # Trees for throughput first; what does not pipeline is for latency.
    costly = sorted((entry for entry in tries if entry.costly), key=lambda entry: not entry.pipelines)

    def search(entries: list[Algorithm]) -> None:
        nonlocal best
        for entry in entries:
            costly.remove(entry)
            if worth_it(entry, collective, site, bound, best, history):
                history.losers.add(entry.name)
                best = _better(entry, collective, site, options, chunks, best, history)

    search([entry for entry in costly if entry.name == history.winner])
    for made, entry in promises:
        cutoff = best.seconds if best is not None else np.inf
        if cutoff <= enough or (made.rows > MANY_ROWS and cutoff <= bound.seconds * WORTH_MANY_ROWS):
            break
        if made.floor >= cutoff or made.seconds * SURELY >= cutoff:
            continue
        if chunks is None:
            run = best_chunks(entry, collective, site, options, bound.seconds, cutoff, history)
        else:
            run = simulated(prepared(entry, collective, site, chunks, options), options, cutoff)
        events += run.events
        if run.seconds < cutoff:
            best = run
        if events > EVENTS_BEFORE_A_FOREST:
            search([entry for entry in costly if entry.pipelines])
    search(list(costly))
    if best is None:
        raise AlgorithmError(f"no algorithm finishes {collective.operation} on {site.fabric.name}")
    if chunks is None and best.seconds > bound.seconds * NEAR_THE_BOUND:
        best = _in_more_chunks(best, collective, site, options, earlier.get(best.prepared.algorithm.name))
        history.note(best, collective.bytes, best.seconds)
    history.winner = best.prepared.algorithm.name
    history.losers.discard(history.winner)
    return best


def _in_more_chunks(
    best: Run,
    collective: Collective,
    site: Site,
    options: Options,
    known: tuple[float, float, int] | None,
) -> Run:
    """The best run in more chunks, as long as they help: what wins may take more events than what is tried."""
    algorithm = best.prepared.algorithm
    if not algorithm.pipelines or algorithm.costly:
        return best
    most = CHUNK_COUNTS[-1] if known is None or collective.bytes > known[0] else known[2]
    for chunks in CHUNK_COUNTS:
        if not best.prepared.chunks < chunks <= most:
            continue
        more = best.events * chunks // best.prepared.chunks
        if not MANY_EVENTS < more <= MANY_EVENTS_OF_THE_BEST or not may_cut(collective, chunks):
            break
        run = simulated(prepared(algorithm, collective, site, chunks, options), options, best.seconds)
        if run.seconds >= best.seconds:
            break
        gained, best = run.seconds < WORTH_MORE_CHUNKS * best.seconds, run
        if not gained:
            break
    return best


def worth_it(
    entry: Algorithm, collective: Collective, site: Site, bound: Bound, best: Run | None, history: History
) -> bool:
    """Whether a costly algorithm may gain enough over the best so far to be built.

    Trees packed for the fabric: on groups that are not too large, while the bytes are what takes the time.  A search
    chunk by chunk: only on small groups, where nothing else fits or no formula was made for the fabric.
    """
    rooted = collective.operation in ("broadcast", "reduce")
    ratio = best.seconds / bound.seconds if best is not None else np.inf
    if entry.pipelines:
        most = PACKED_RANKS_ROOTED if rooted else PACKED_RANKS
        if collective.ranks > most or ratio <= WORTH_A_FOREST:
            return False
        if best is None:
            return True
        floor = history.floor(entry.name, collective.bytes)
        bytes_count = bound.kind != "latency" or ratio > WORTH_SEARCHING
        return bytes_count and floor < best.seconds and entry.name not in history.losers
    made_for_none = irregular(site.fabric) and not whole_grid(site.fabric)
    return collective.ranks <= SEARCHED_RANKS and ratio > WORTH_SEARCHING and (best is None or made_for_none)


def _better(
    entry: Algorithm,
    collective: Collective,
    site: Site,
    options: Options,
    chunks: int | None,
    best: Run | None,
    history: History,
) -> Run | None:
    """The faster of the best run so far and that of a costly algorithm, which finds its number of chunks itself."""
    cutoff = best.seconds if best is not None else np.inf
    run = simulated(
        prepared(entry, collective, site, 1 if chunks is None else chunks, options), options, cutoff
    )
    if entry.pipelines:
        history.note(run, collective.bytes, min(run.seconds, cutoff))
    return run if run.seconds < cutoff else best


def named(
    algorithm: str, collective: Collective, site: Site, options: Options, chunks: int | None = 1
) -> Run:
    """The run of one algorithm by name; without a number of chunks, with the best one."""
    entry = find(algorithm)
    if chunks is not None or refusal(entry, collective, site):
        return simulated(prepared(entry, collective, site, 1 if chunks is None else chunks, options), options)
    return best_chunks(entry, collective, site, options)
