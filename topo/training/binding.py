"""The communication library of a training step: which call each group makes, and what the call costs.

The ideal library takes the fastest schedule that the fabric allows (:mod:`topo.training.choice`).  Others choose as
they choose for any collective (:mod:`topo.ccl`), on the group's own part of the fabric; their terms (launch, time per
step, bytes on the wire) act on the compiled program, and links carry the share that payload can reach.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from topo.algorithms import Site, find
from topo.ccl import CCL, Acted, Call, Links, acted, offered, place_of, reached
from topo.choose import port_time
from topo.collective import Collective
from topo.errors import AlgorithmError
from topo.fabric import Fabric, IntArray
from topo.library import library_of, system_for, system_links
from topo.network.fold import Folded, unfolded
from topo.network.program import flow_program
from topo.prepared import Options, compiled, timed
from topo.schedule import Schedule
from topo.system import System
from topo.training.choice import (
    LARGE,
    MOST_ROWS,
    Choose,
    Chosen,
    choose,
    promise,
    rows_of,
    shared_part,
    shift_schedule,
)
from topo.training.operation import Operation

VERY_LARGE = 4096
"""Ranks above which only schedules are written down that stay small."""


@dataclass(frozen=True, eq=False)
class Binding:
    """A system as its library uses it.

    Parameters
    ----------
    fabric : Fabric
        With the share of every link that payload can reach.
    choose : callable
        ``choose(fabric, ranks, operation)`` gives a group its schedule.
    library : str
        Its name.
    """

    fabric: Fabric
    choose: Choose
    library: str


def bind(system: System, ccl: str | CCL | None = None) -> Binding:
    """The binding of a system to a library, its own by default.

    Raises
    ------
    NetworkError
        Unknown library.
    """
    library = library_of(system, ccl)
    system = system_for(system, library)
    if library.ideal:
        return Binding(system.fabric, choose, library.name)
    links = system_links(system, library)

    def by_library(fabric: Fabric, ranks: IntArray, operation: Operation) -> Chosen:
        return _called(library, system.fabric, links, ranks, operation)

    return Binding(reached(system.fabric, links), by_library, library.name)


def _called(library: CCL, fabric: Fabric, links: Links, ranks: IntArray, operation: Operation) -> Chosen:
    """The call of one group."""
    size = len(ranks)
    site = shared_part(fabric, ranks)
    place = place_of(site, links)
    if operation.operation == "send-recv":
        call = offered(library, Collective("send-recv", size, operation.bytes), place)[0]
        recipe: tuple[str | int, ...] = (call.algorithm, call.schedule, call.protocol)
        return Chosen(shift_schedule(size, operation), call.launch, terms=call.terms, recipe=recipe)
    collective = operation.collective(size)
    calls = offered(library, collective, place)
    simulate = len(calls) > 1 and size <= LARGE
    best: tuple[float, Chosen] | None = None
    for call in calls:
        if size > VERY_LARGE and not _scales(call, collective):
            continue
        done = acted(call, collective, place, _compiled if simulate else _uncompiled)
        if any(batch.routes is not None for batch in done.schedule.batches):
            continue
        if rows_of(done.schedule) > MOST_ROWS:
            continue
        bytes_of_one = 1.0 if collective.matrix is not None else operation.bytes
        recipe = (call.algorithm, call.schedule, call.protocol, call.chunks)
        # A port's bytes take their time whatever the schedule: no need to simulate what that alone rules out.
        least = call.launch + bytes_of_one * port_time(done.schedule, site)
        if best is not None and least >= best[0]:
            continue
        chosen = Chosen(done.schedule.whole(), call.launch, bytes_of_one, call.terms, call.algorithm, recipe)
        cutoff = np.inf if best is None else best[0] - call.launch
        seconds = call.launch + (
            _timed(done, cutoff) if simulate else bytes_of_one * promise(done.schedule, site)
        )
        if best is None or seconds < best[0]:
            best = seconds, chosen
    if best is None:
        raise AlgorithmError(
            f"{library.name} offers nothing for {operation.operation} in groups of {size} on {fabric.name}",
            "take the library ideal, or another degree for this axis",
        )
    return best[1]


def _scales(call: Call, collective: Collective) -> bool:
    """Whether a call's schedule can be written down for a very large group."""
    return call.schedule != "rings" and (find(call.schedule).scales or collective.operation == "all-to-all")


def _timed(done: Acted, cutoff: float) -> float:
    return timed(done.folded.program, Options(), cutoff)[0]


def _compiled(schedule: Schedule, site: Site) -> Folded:
    return compiled(schedule, site, Options())


def _uncompiled(schedule: Schedule, site: Site) -> Folded:
    """In place of a program where only the schedule is wanted."""
    none = np.zeros(0, dtype=np.int64)
    empty = flow_program(site.fabric.bandwidth, np.zeros(0), np.zeros(0), np.zeros(1, dtype=np.int64), none)
    return unfolded(empty)
