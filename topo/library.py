"""A collective as a communication library would carry it out, simulated.

The library says which schedule, protocol and pieces (:mod:`topo.ccl`); the Network says how long that takes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from topo.algorithms import Algorithm, Site, find
from topo.ccl import CCL, Acted, Call, Links, acted, links_of, load, offered, place_of
from topo.collective import Collective
from topo.errors import CollectiveError, NetworkError
from topo.fabric import IntArray
from topo.network.fold import Folded
from topo.prepared import Options, Prepared, Run, compiled, timed
from topo.schedule import Schedule
from topo.system import System


def library_of(system: System, ccl: str | CCL | None = None, engine: str = "fluid") -> CCL:
    """The library that a run goes by: the one asked for, or the system's own.

    Raises
    ------
    NetworkError
        An unknown library, or one other than ``ideal`` with the packet engine.
    """
    if ccl is None and engine == "packet":
        return load("ideal")
    found = ccl if isinstance(ccl, CCL) else load(system.library if ccl is None else ccl)
    if engine == "packet" and not found.ideal:
        raise NetworkError(f"the packet engine knows nothing of {found.name}", "take the library ideal")
    return found


def system_links(system: System, ccl: CCL) -> Links:
    """Technologies of a system's links, as a library knows them; remembered with the fabric."""
    up = system.scale_up.technology if system.scale_up else ""
    out = system.scale_out.technology if system.scale_out else ""
    return links_of(ccl, system.fabric, up, out)


@dataclass(frozen=True, eq=False)
class LibraryProgram:
    """A call ready for a Network of the fabric's links at their reach.

    Parameters
    ----------
    acted : Acted
        Its ``folded`` holds the program; its ``call`` what was chosen.
    launch : float
        Seconds before the program starts.
    """

    acted: Acted
    launch: float


def library_programs(
    ccl: CCL,
    system: System,
    collective: Collective,
    ranks: IntArray,
    options: Options | None = None,
    algorithm: str = "auto",
    chunks: int | None = None,
) -> list[LibraryProgram]:
    """Programs of the calls that a library might make; for ``nccl`` the one it makes.

    Parameters
    ----------
    ranks : int array [group]
        The fabric's rank of each rank of the group.

    Raises
    ------
    TopoError
        The library does not offer that there.
    """
    options = options or Options()
    place = place_of(Site(system.fabric, ranks), system_links(system, ccl))
    calls = offered(ccl, collective, place, algorithm)
    if chunks is not None:
        calls = [call.in_chunks(chunks) for call in calls]

    def compile(schedule: Schedule, site: Site) -> Folded:
        return compiled(schedule, site, options)

    return [LibraryProgram(acted(call, collective, place, compile), call.launch) for call in calls]


def library_run(
    ccl: CCL,
    system: System,
    collective: Collective,
    site: Site,
    options: Options,
    algorithm: str = "auto",
    chunks: int | str | None = None,
) -> Run:
    """Simulate a collective as a library would carry it out.

    Raises
    ------
    TopoError
        The library does not offer that there.
    """
    number = chunks if isinstance(chunks, int) else None
    best: Run | None = None
    for program in library_programs(ccl, system, collective, site.ranks, options, algorithm, number):
        seconds, events = timed(program.acted.folded.program, options)
        if best is None or program.launch + seconds < best.seconds:
            best = Run(_prepared(program), program.launch + seconds, events, program.launch)
    if best is None:
        raise CollectiveError(f"{ccl.name} makes no call for {collective.operation}")
    return best


def _prepared(program: LibraryProgram) -> Prepared:
    call, done = program.acted.call, program.acted
    schedule = replace(done.schedule, detail=_detail(done.schedule, call))
    return Prepared(_named(call), schedule, call.chunks, done.folded)


def _named(call: Call) -> Algorithm:
    """The algorithm simulated, under the library's name for it."""
    entry = find("ring" if call.schedule == "rings" else call.schedule)
    return replace(entry, name=call.algorithm)


def _detail(schedule: Schedule, call: Call) -> str:
    return ", ".join(part for part in (schedule.detail, call.detail) if part)
