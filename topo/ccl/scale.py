"""Which of a library's calls are simulated, and in which order: on large groups a schedule is sized up first.

In small groups every call is simulated that its ports do not rule out.  In large ones the calls come by what their
schedules promise; one that would have to be spelled out at great length is made only where the library has no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from topo.algorithms import Site, find
from topo.ccl.call import Call, reached, schedule_of
from topo.ccl.place import Place
from topo.collective import Collective
from topo.promise import Promise, port_time, promise, rows_of_program

SMALL_GROUP = 64
"""Ranks up to which every call is simulated."""
VERY_LARGE_GROUP = 4096
"""Ranks above which only schedules are built that stay near a few transfers a rank, if there are any."""
MANY_ROWS = 100_000
"""Transfers to be spelled out beyond which a call is the last resort."""
SURELY = 0.9
"""Share of a promised time, an estimate from transfers drawn, that is believed."""


@dataclass(frozen=True)
class Sized:
    """A call and what is known of it before it is compiled.

    Parameters
    ----------
    call : Call
    least : float
        Seconds that it takes at least, by all that is known.
    last_resort : bool
        Whether it is made only where the library has no other.
    """

    call: Call
    least: float
    last_resort: bool = False


def sized(calls: Sequence[Call], collective: Collective, place: Place) -> list[Sized]:
    """The calls in the order in which to simulate them.

    Parameters
    ----------
    calls : sequence of Call
        All that the library offers.
    collective : Collective
    place : Place
    """
    if len(calls) == 1:
        return [Sized(calls[0], 0.0)]
    site = Site(reached(place.site.fabric, place.links), place.site.ranks)
    if place.ranks > VERY_LARGE_GROUP:
        calls = [call for call in calls if _scales(call)] or calls
    found = [_size_up(call, collective, site) for call in calls]
    if place.ranks > SMALL_GROUP:
        found.sort(key=lambda one: (one.last_resort, one.least))
    return found


def _scales(call: Call) -> bool:
    return call.schedule != "rings" and find(call.schedule).scales


def _size_up(call: Call, collective: Collective, site: Site) -> Sized:
    known_bytes = collective.matrix is not None
    schedule = schedule_of(call, collective if known_bytes else replace(collective, bytes=1.0), site)
    size = 1.0 if known_bytes else collective.bytes
    # What a protocol adds only makes a call slower, so bytes alone are a floor.
    if len(site.ranks) <= SMALL_GROUP:
        return Sized(call, call.launch + size * port_time(schedule, site))
    rows = rows_of_program(schedule, site)
    hops = schedule.steps * float(site.fabric.latency.min(initial=np.inf))
    if rows > MANY_ROWS:
        least = call.launch + size * port_time(schedule, site) + hops
        return Sized(call, least, last_resort=True)
    made: Promise = promise(schedule, site)
    busy = max(made.seconds - hops, 0.0)
    return Sized(call, call.launch + SURELY * (size * busy + hops))
