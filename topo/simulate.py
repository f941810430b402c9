"""A System, a Collective and a size in; a Result out.

The one place where algorithms, network and bounds meet, and where ``auto`` chooses.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import simpy

from topo.algorithms import Algorithm, Site, build, find, fitting
from topo.bounds import Bound, lower_bound
from topo.collective import Collective
from topo.errors import AlgorithmError, CollectiveError, InternalError, NetworkError, nearest
from topo.fabric import Fabric, IntArray
from topo.network.fold import Folded, fold, unfolded
from topo.network.network import Network
from topo.network.program import Program, compile_program, scaled
from topo.network.solver import run_alone
from topo.network.structured import structured
from topo.results import Result
from topo.schedule import Schedule
from topo.system import System

ENGINES = ("fluid",)
LIBRARIES = ("ideal",)
CHUNK_COUNTS = (1, 4, 16, 64, 256)
SMALLEST_CHUNK = 1024.0
LARGE_GROUP = 512
BELOW_BOUND = 1e-9
"""Relative rounding that a time may lie below its bound."""


@dataclass(frozen=True, eq=False)
class _Run:
    """A schedule that was simulated."""

    entry: Algorithm
    schedule: Schedule
    chunks: int
    folded: Folded
    seconds: float
    events: int


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


def group_of(fabric: Fabric, ranks: int | Sequence[int] | None) -> IntArray:
    """The fabric's ranks that take part.

    Parameters
    ----------
    ranks : int, sequence of int, or None
        The first so many, those named, or all.

    Raises
    ------
    CollectiveError
        A rank that the fabric does not have, or one named twice.
    """
    if ranks is None:
        return np.arange(fabric.ranks)
    if isinstance(ranks, int):
        if not 2 <= ranks <= fabric.ranks:
            raise CollectiveError(
                f"a group of {ranks} ranks on {fabric.name}", f"give 2 to {fabric.ranks} (its accelerators)"
            )
        return np.arange(ranks)
    group = np.asarray(ranks, dtype=np.int64)
    if len(group) and (group.min() < 0 or group.max() >= fabric.ranks):
        raise CollectiveError(
            f"{fabric.name} has no rank {int(group.max() if group.min() >= 0 else group.min())}",
            f"ranks run from 0 to {fabric.ranks - 1}",
        )
    if len(np.unique(group)) != len(group):
        raise CollectiveError("a rank is named twice in the group", "name each rank once")
    return group


def run_schedule(
    schedule: Schedule, fabric: Fabric, *, ranks: IntArray | None = None, options: Options | None = None
) -> float:
    """Seconds that a Schedule takes alone on a Fabric."""
    options = options or Options()
    site = Site(fabric, group_of(fabric, None) if ranks is None else ranks)
    return _timed(_compiled(schedule, site, options).program, options)[0]


def _compiled(schedule: Schedule, site: Site, options: Options) -> Folded:
    if options.certify:
        schedule.verify()
    fabric = site.fabric
    if options.folding and site.whole and options.switching == "cut-through":
        by_shift = structured(schedule, fabric, barrier=options.barrier, routing=options.routing)
        if by_shift is not None:
            return by_shift
    program = compile_program(
        schedule,
        fabric,
        ranks=site.ranks,
        barrier=options.barrier,
        switching=options.switching,
        routing=options.routing,
        seed=options.seed,
    )
    return (fold(program) if options.folding else None) or unfolded(program)


def _timed(program: Program, options: Options) -> tuple[float, int]:
    """Run a program in a SimPy environment of its own."""
    env = simpy.Environment()
    network = Network.of_links(env, program.capacity, certify=options.certify)
    done = network.start_program(program)
    env.run(until=done)
    return float(done.value.duration), network.solver.events


def _simulated(entry: Algorithm, collective: Collective, site: Site, chunks: int, options: Options) -> _Run:
    schedule = build(entry.name, collective, site, chunks)
    folded = _compiled(schedule, site, options)
    seconds, events = _timed(folded.program, options)
    return _Run(entry, schedule, chunks, folded, seconds, events)


def _best_chunks(entry: Algorithm, collective: Collective, site: Site, options: Options) -> _Run:
    """The best number of chunks among powers of four, as long as more of them help."""
    best = _simulated(entry, collective, site, 1, options)
    if not entry.pipelines:
        return best
    for chunks in CHUNK_COUNTS[1:]:
        if collective.bytes / (chunks * collective.ranks) < SMALLEST_CHUNK:
            break
        run = _simulated(entry, collective, site, chunks, options)
        if run.seconds >= best.seconds:
            break
        best = run
    return best


def candidates(collective: Collective, site: Site) -> list[Algorithm]:
    """The algorithms that ``auto`` tries: all that fit, on large groups only those that scale."""
    able = fitting(collective, site)
    if collective.ranks > LARGE_GROUP:
        able = [entry for entry in able if entry.scales] or able
    if not able:
        raise AlgorithmError(f"no algorithm carries out {collective.operation} on {site.fabric.name}")
    return able


def _chosen(collective: Collective, site: Site, algorithm: str, chunks: int | None, options: Options) -> _Run:
    if algorithm == "auto":
        if chunks is not None:
            able = [entry for entry in candidates(collective, site) if entry.pipelines or chunks == 1]
            if not able:
                raise AlgorithmError(
                    f"no algorithm pipelines {collective.operation} here", "leave --chunks out"
                )
            runs = [_simulated(entry, collective, site, chunks, options) for entry in able]
        else:
            runs = [_best_chunks(entry, collective, site, options) for entry in candidates(collective, site)]
        return min(runs, key=lambda run: run.seconds)
    if chunks is None:
        build(algorithm, collective, site)  # refuses what cannot run, before the search
        return _best_chunks(find(algorithm), collective, site, options)
    build(algorithm, collective, site, chunks)
    return _simulated(find(algorithm), collective, site, chunks, options)


def _time_split(run: _Run, options: Options) -> tuple[float, float, float]:
    """Latency, serialisation and contention of a run; they add up to its time.

    Latency is the time of the same schedule with next to no bytes; serialisation what the bytes add when every
    transfer has its links for itself; contention the rest.
    """
    program = run.folded.program
    latency = run_alone(scaled(program, bytes=1e-12), sharing=False)[0].finish
    alone = run_alone(program, sharing=False)[0].finish
    latency, alone = min(latency, run.seconds), min(alone, run.seconds)
    return latency, max(alone - latency, 0.0), run.seconds - max(alone, latency)


def _bottleneck(run: _Run, fabric: Fabric) -> tuple[str, float]:
    folded = run.folded
    carried = folded.program.link_bytes()
    busy = carried / folded.program.capacity / run.seconds if run.seconds > 0 else np.zeros(len(carried))
    if not busy.max(initial=0.0) > 0:
        return "latency only", 0.0
    worst = int(busy.argmax())
    link = int(folded.link[worst])
    number = int(folded.link_count[busy >= busy[worst] * (1 - 1e-6)].sum())
    level = "scale-out " if fabric.scale_out[link] else "scale-up " if fabric.scale_out.any() else ""
    where = f"{level}link {fabric.link_label(link)}"
    if number > 1:
        where += f" and {number - 1} like it"
    return f"{where}, {min(busy[worst], 1.0):.1%} busy", min(float(busy[worst]), 1.0)


def simulate(
    system: System,
    collective: Collective,
    *,
    algorithm: str = "auto",
    ccl: str | None = None,
    engine: str = "fluid",
    ranks: IntArray | None = None,
    chunks: int | None = None,
    options: Options | None = None,
) -> Result:
    """Simulate one collective.

    Parameters
    ----------
    system : System
    collective : Collective
    algorithm : str
        A registered name, or ``auto``: simulate those that fit and take the fastest.
    ccl : str, optional
        Communication library; ``ideal`` by default.
    engine : str
        ``fluid``.
    ranks : int array, optional
        The fabric's rank of each rank of the group.
    chunks : int, optional
        Pieces to pipeline the data in; the best number by default.
    options : Options, optional

    Raises
    ------
    TopoError
        Anything that cannot be, said in one line.
    InternalError
        The simulated time lies below the bound: an error of the program, never shown as a result.
    """
    began = time.perf_counter()
    options = options or Options()
    if engine not in ENGINES:
        raise NetworkError(
            f"engine {engine!r} is unknown", nearest(engine, ENGINES) or f"one of {', '.join(ENGINES)}"
        )
    library = ccl or "ideal"
    if library not in LIBRARIES:
        raise NetworkError(f"library {library!r} is unknown", f"one of {', '.join(LIBRARIES)}")
    fabric = system.fabric
    site = Site(fabric, group_of(fabric, None) if ranks is None else ranks)
    if collective.ranks != len(site.ranks):
        raise CollectiveError(
            f"the collective is for {collective.ranks} ranks but the group has {len(site.ranks)}"
        )
    run = _chosen(collective, site, algorithm, chunks, options)
    bound = lower_bound(collective, fabric, site.ranks)
    require_bound(run.seconds, bound, f"{run.entry.name} {collective.operation} on {system.name}")
    latency, serialisation, contention = _time_split(run, options)
    bottleneck, utilisation = _bottleneck(run, fabric)
    speed = collective.bytes / run.seconds if run.seconds > 0 else 0.0
    return Result(
        operation=collective.operation,
        system=system.name,
        ranks=collective.ranks,
        bytes=collective.bytes,
        algorithm=run.entry.name,
        detail=run.schedule.detail,
        chunks=run.chunks,
        ccl=library,
        engine=engine,
        switching=options.switching,
        barrier=options.barrier,
        time_s=run.seconds,
        algbw_Bps=speed,
        busbw_Bps=speed * collective.busbw_factor,
        bound_s=bound.seconds,
        bound_kind=bound.kind,
        bound_certificate=bound.certificate,
        bound_ratio=run.seconds / bound.seconds if bound.seconds > 0 else float("inf"),
        latency_s=latency,
        serialisation_s=serialisation,
        contention_s=contention,
        bottleneck=bottleneck,
        bottleneck_utilisation=utilisation,
        transfers=run.schedule.transfers,
        events=run.events,
        wall_s=time.perf_counter() - began,
    )


def require_bound(seconds: float, bound: Bound, what: str) -> None:
    """Stop when a time lies below its bound.

    Raises
    ------
    InternalError
        Always an error of the program.
    """
    if seconds < bound.seconds * (1 - BELOW_BOUND):
        raise InternalError(
            f"{what}: the simulated time {seconds:.9g} s lies below the {bound.kind} bound {bound.seconds:.9g} s "
            f"({bound.certificate})"
        )
