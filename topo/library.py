"""A collective as a communication library would carry it out, simulated.

The library says which schedule, protocol and pieces (:mod:`topo.ccl`); the Network says how long that takes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from topo.algorithms import Algorithm, Site, find
from topo.ccl import (
    CCL,
    Acted,
    Call,
    Links,
    Place,
    acted,
    adding_between,
    links_of,
    load,
    offered,
    place_of,
    sized,
)
from topo.collective import Collective
from topo.errors import CollectiveError, NetworkError
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


def system_for(system: System, ccl: CCL) -> System:
    """The system as a library uses it: with switches between domains that add, where it asks them to.

    Raises
    ------
    NetworkError
        It asks them to, and they cannot.
    """
    if not ccl.collnet or system.fabric.domains == 1:
        return system
    between = system_links(system, ccl).between
    if not between.adds:
        raise NetworkError(
            f"{ccl.name}: the switches of {between.title} do not add", "take the library without collnet=on"
        )
    return replace(system, fabric=adding_between(system.fabric))


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


def library_program(
    call: Call, collective: Collective, place: Place, options: Options | None = None
) -> LibraryProgram:
    """The program of one call.

    Raises
    ------
    TopoError
        It cannot be built or held there.
    """
    chosen = options or Options()

    def compile(schedule: Schedule, site: Site) -> Folded:
        return compiled(schedule, site, chosen)

    return LibraryProgram(acted(call, collective, place, compile), call.launch)


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
    place = place_of(site, system_links(system, ccl))
    calls = offered(ccl, collective, place, algorithm)
    if isinstance(chunks, int):
        calls = [call.in_chunks(chunks) for call in calls]
    best: Run | None = None
    for one in sized(calls, collective, place):
        if best is not None and (one.last_resort or one.least >= best.seconds):
            continue
        program = library_program(one.call, collective, place, options)
        cutoff = np.inf if best is None else best.seconds - program.launch
        seconds, events = timed(program.acted.folded.program, options, cutoff)
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
    parts = [part for part in schedule.detail.split(", ") if part]
    # Both may tell the number of chunks.
    parts += [part for part in call.detail.split(", ") if part and part not in parts]
    return ", ".join(parts)
