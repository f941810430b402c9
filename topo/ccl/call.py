"""A call of a library, and how it acts on the schedule that the Network simulates.

Nothing here knows the time of a call: the terms change bytes and latencies of a compiled schedule, and the
simulation does the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from topo.algorithms import Site, build
from topo.algorithms.ring import rings_through
from topo.ccl.place import Links, Place
from topo.ccl.rings import MOST_RANKS, direct_links, directed_rings
from topo.collective import Collective
from topo.fabric import Fabric, FloatArray
from topo.network.fold import Folded
from topo.network.program import Program
from topo.schedule import Schedule

INSIDE, BETWEEN = 0, 1
Compile = Callable[[Schedule, Site], Folded]
"""The smallest exact program of a schedule; the engine gives it."""


@dataclass(frozen=True)
class Terms:
    """What a protocol does to every transfer, inside a domain and between domains.

    Parameters
    ----------
    step : (float, float)
        Seconds from the end of the drain until the receiver may go on, beyond the link's latency.
    factor : (float, float)
        Bytes on the wire for one byte of payload, in terms of a link at its full reach.
    extra : (float, float)
        Bytes that could have been sent while a link stands idle after each message.
    switch_factor, switch_extra : float
        The same for streams that a switch adds or copies.
    """

    step: tuple[float, float] = (0.0, 0.0)
    factor: tuple[float, float] = (1.0, 1.0)
    extra: tuple[float, float] = (0.0, 0.0)
    switch_factor: float = 1.0
    switch_extra: float = 0.0


@dataclass(frozen=True)
class Call:
    """One collective as a library would carry it out.

    Parameters
    ----------
    algorithm : str
        In the library's words: ``ring``, ``tree``, ``nvls`` ...
    schedule : str
        The registered algorithm whose schedule is simulated, or ``rings``.
    protocol : str
    channels : int
        Thread blocks at work.
    chunks : int
        Pieces that the data is pipelined in.
    launch : float
        Seconds before anything moves.
    terms : Terms
    """

    algorithm: str
    schedule: str
    protocol: str
    channels: int
    chunks: int
    launch: float
    terms: Terms

    def in_chunks(self, chunks: int) -> Call:
        """The same call in another number of pieces, with as much idle time in all."""
        idle = self.terms.switch_extra * self.chunks / chunks
        return replace(self, chunks=chunks, terms=replace(self.terms, switch_extra=idle))

    @property
    def detail(self) -> str:
        """For people."""
        parts = [self.protocol, f"{self.channels} channels" if self.channels > 1 else ""]
        if self.chunks > 1:
            parts.append(f"{self.chunks} chunks")
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True, eq=False)
class Acted:
    """A call ready to run.

    Parameters
    ----------
    call : Call
    schedule : Schedule
        For one byte.
    folded : Folded
        The program with the call's terms in it; its links are those of the fabric at their reach.
    """

    call: Call
    schedule: Schedule
    folded: Folded


def reached(fabric: Fabric, links: Links) -> Fabric:
    """The fabric with every link at the share of its bandwidth that payload can reach; remembered with it."""
    inside, between = links.inside.get("reach", 1.0), links.between.get("reach", 1.0)
    if inside == between == 1.0:
        return fabric
    key = ("ccl reach", inside, between)
    known: Fabric | None = fabric.cache.get(key)
    if known is None:
        share = np.where(fabric.scale_out, between, inside)
        known = replace(fabric, bandwidth=fabric.bandwidth * share, cache={})
        fabric.cache[key] = known
    return known


def acted(call: Call, collective: Collective, place: Place, compile: Compile) -> Acted:
    """Compile the schedule of a call and let its terms act on it."""
    fabric = reached(place.site.fabric, place.links)
    site = Site(fabric, place.site.ranks)
    shape = replace(collective, bytes=1.0, matrix=None)
    key = ("ccl template", call.schedule, shape, call.chunks, site.ranks.tobytes())
    known: tuple[Schedule, Folded] | None = fabric.cache.get(key) if collective.matrix is None else None
    if known is None:
        sample = collective if collective.matrix is not None else replace(collective, bytes=1.0)
        schedule = schedule_of(call, sample, site)
        known = schedule, compile(schedule, site)
        if collective.matrix is None:
            fabric.cache[key] = known
    schedule, folded = known
    size = 1.0 if collective.matrix is not None else collective.bytes
    program = _with_terms(schedule, folded, fabric, call.terms, size)
    return Acted(call, schedule, replace(folded, program=program))


def schedule_of(call: Call, collective: Collective, site: Site) -> Schedule:
    """The schedule of a call, before the call's terms act on it."""
    if call.schedule != "rings":
        return build(call.schedule, collective, site, call.chunks)
    return rings_through(collective, directed_rings(direct_links(site)), "rings")


def wired_rings(site: Site) -> int:
    """How many link-disjoint directed rings join the group without a switch; 0 where none does."""
    if not 2 <= len(site.ranks) <= MOST_RANKS:
        return 0
    key = ("ccl wired rings", site.ranks.tobytes())
    if key not in site.fabric.cache:
        site.fabric.cache[key] = len(directed_rings(direct_links(site)))
    return int(site.fabric.cache[key])


def _with_terms(schedule: Schedule, folded: Folded, fabric: Fabric, terms: Terms, size: float) -> Program:
    program = folded.program
    if not program.rows:
        return program
    counts = np.diff(program.route_pointer)
    row = np.repeat(np.arange(program.rows), counts)
    crosses = np.zeros(program.rows, dtype=bool)
    crosses[row[fabric.scale_out[folded.link[program.route_link]]]] = True
    tier = np.where(crosses, BETWEEN, INSIDE)
    switched = _in_switch(schedule, folded)
    factor = np.where(switched, terms.switch_factor, np.asarray(terms.factor)[tier])
    extra = np.where(switched, terms.switch_extra, np.asarray(terms.extra)[tier])
    step = np.where(switched, 0.0, np.asarray(terms.step)[tier])
    moved = program.bytes > 0
    bytes: FloatArray = np.where(moved, program.bytes * size * factor + extra, 0.0)
    return replace(program, bytes=bytes, latency=np.maximum(program.latency + step, 0.0))


def _in_switch(schedule: Schedule, folded: Folded) -> np.ndarray:
    """Which rows of the program are streams that a switch adds or copies."""
    spelled_out = len(folded.row_class) > 0
    forms = [
        np.full(len(batch) * (batch.copies if spelled_out else 1), batch.form != "direct")
        for batch in schedule.batches
    ]
    return np.asarray(np.concatenate(forms)[folded.representative], dtype=bool)
