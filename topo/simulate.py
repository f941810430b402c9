"""A System, a Collective and a size in; a Result out.

With :mod:`topo.choose`, which finds the fastest algorithm, and :mod:`topo.library`, which runs what a communication
library would, the one place where algorithms, network and bounds meet.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from topo.algorithms import Site
from topo.bounds import Bound, lower_bound
from topo.ccl import CCL
from topo.choose import History, Options, Run, compiled, fastest, named, timed
from topo.collective import Collective
from topo.errors import CollectiveError, InternalError, NetworkError, nearest
from topo.fabric import Fabric, IntArray
from topo.library import library_of, library_run, system_for
from topo.prepared import spelled_out, uncontended
from topo.results import Result
from topo.schedule import Schedule
from topo.system import System

ENGINES = ("fluid", "packet")
BELOW_BOUND = 1e-9
"""Relative rounding that a time may lie below its bound."""


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
    return timed(compiled(schedule, site, options).program, options)[0]


def _time_split(run: Run) -> tuple[float, float, float]:
    """Latency, serialisation and contention of a run; they add up to its time, a library's launch being latency.

    Latency is the time of the same schedule with next to no bytes; serialisation what the bytes add when every
    transfer has its links for itself; contention the rest.
    """
    alone = run.launch + uncontended(run.prepared.folded)
    latency, alone = min(run.launch + run.prepared.latency, run.seconds), min(alone, run.seconds)
    return latency, max(alone - latency, 0.0), run.seconds - max(alone, latency)


def _bottleneck(run: Run, fabric: Fabric) -> tuple[str, float]:
    folded = run.prepared.folded
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
    ccl: str | CCL | None = None,
    engine: str = "fluid",
    ranks: IntArray | None = None,
    chunks: int | str | None = None,
    options: Options | None = None,
    history: History | None = None,
    exact: bool = False,
    packet: float | None = None,
    buffers: int | None = None,
) -> Result:
    """Simulate one collective.

    Parameters
    ----------
    system : System
    collective : Collective
    algorithm : str
        A registered name; or ``auto``: simulate those that fit and take the fastest, or leave the choice to the
        library.
    ccl : str or CCL, optional
        Communication library: a name, a file, or one loaded; the system's own by default, and ``ideal`` for the
        packet engine.
    engine : str
        ``fluid``; or ``packet``: the same algorithm, chosen by the fluid engine, packet by packet.
    ranks : int array, optional
        The fabric's rank of each rank of the group.
    chunks : int or ``best``, optional
        Pieces to pipeline the data in.  By default ``auto`` finds the best number and a named algorithm takes 1.
    options : Options, optional
    history : History, optional
        Lets ``auto`` learn from larger sizes of the same collective on the same system: give the same one while
        sizes fall.
    exact : bool
        Give the exact bound where the fabric is small or regular enough for one, else the best elementary bound.
    packet : float, optional
        Bytes of a packet, for the packet engine; 4 KiB by default.
    buffers : int, optional
        Packets of room in each virtual channel, for the packet engine; plenty by default.

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
    if engine != "packet" and (packet is not None or buffers is not None):
        raise NetworkError(f"the {engine} engine has neither packets nor buffers", "add the packet engine")
    library = library_of(system, ccl, engine)
    system = system_for(system, library)
    fabric = system.fabric
    site = Site(fabric, group_of(fabric, None) if ranks is None else ranks)
    if collective.ranks != len(site.ranks):
        raise CollectiveError(
            f"the collective is for {collective.ranks} ranks but the group has {len(site.ranks)}"
        )
    bound = lower_bound(collective, fabric, site.ranks, exact)
    if isinstance(chunks, str) and chunks != "best":
        raise CollectiveError(f"chunks {chunks!r} is no number", "give a whole number, or best")
    number = chunks if isinstance(chunks, int) else None
    if not library.ideal:
        run = library_run(library, system, collective, site, options, algorithm, chunks)
    elif algorithm == "auto":
        run = fastest(collective, site, options, bound, number, history)
    else:
        run = named(algorithm, collective, site, options, 1 if chunks is None else number)
    if engine == "packet":
        run = _by_packets(run, site, options, packet, buffers)
    require_bound(
        run.seconds, bound, f"{run.prepared.algorithm.name} {collective.operation} on {system.name}"
    )
    latency, serialisation, contention = _time_split(run)
    bottleneck, utilisation = _bottleneck(run, fabric)
    speed = collective.bytes / run.seconds if run.seconds > 0 else 0.0
    return Result(
        operation=collective.operation,
        system=system.name,
        ranks=collective.ranks,
        bytes=collective.bytes,
        algorithm=run.prepared.algorithm.name,
        detail=run.prepared.schedule.detail,
        chunks=run.prepared.chunks,
        ccl=library.name,
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
        transfers=run.prepared.schedule.transfers,
        events=run.events,
        wall_s=time.perf_counter() - began,
    )


def _by_packets(run: Run, site: Site, options: Options, packet: float | None, buffers: int | None) -> Run:
    """The same schedule run again, packet by packet."""
    from topo.network.packet import PACKET, require_few_packets, require_few_streams, run_packets

    schedule = run.prepared.schedule
    require_few_streams(schedule)
    program = spelled_out(schedule, site, options)
    size = PACKET if packet is None else packet
    require_few_packets(program, size, schedule.collective.bytes)
    outcome = run_packets(program, site.fabric, packet=size, buffer=buffers, seed=options.seed)
    return replace(run, seconds=outcome.finish, events=outcome.events)


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
