"""Compiling by places: clusters in whose domains all places are alike.

The turn of the ranks inside every domain by one place is a symmetry of a cluster with a switched domain and rails or
one leaf switch outside, and of a schedule whose every batch the turn maps to itself, such as a tree over each rail
between two phases in the domains' switches.  Then the transfers that the first place of each domain sends stand for
all: a row carries the load of its images over the links of an orbit evenly, and one gate stands for those of all
ranks of a domain, since images start, drain and arrive together.  In broadcast and reduce the root's place of every
domain stays where it is, and the other places turn.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from topo.fabric import Fabric, IntArray, spread
from topo.network.blocks import over_orbits
from topo.network.program import Program, assembled, pointer_from
from topo.routing import Routes, find_routes
from topo.schedule import Batch, Schedule
from topo.star_trees import star_routes
from topo.translation import Orbits, cycles, link_image

MANY = 100_000
"""Ends of transfers to be spelled out from which it pays to look for the symmetry."""


def by_places(
    schedule: Schedule, fabric: Fabric, barrier: bool, routing: str, least: int | None = None
) -> tuple[Program, Orbits, IntArray] | None:
    """Compile one place of each domain for all ranks; None when schedule or fabric is not invariant, or is small.

    Parameters
    ----------
    schedule, fabric, barrier, routing
        As in :func:`topo.network.structured.structured`.
    least : int, optional
        Ends of transfers below which it is not tried; :data:`MANY` by default.

    Returns
    -------
    (Program, Orbits, int array [rows]) or None
        As in :func:`topo.network.blocks.by_blocks`.
    """
    if sum(_ends(batch) for batch in schedule.batches) < (MANY if least is None else least):
        return None
    width = _width(fabric)
    if width is None or not all(_plain(batch) for batch in schedule.batches):
        return None
    rooted = schedule.collective.operation in ("broadcast", "reduce")
    turn = Turn(width, schedule.collective.root % width if rooted else NONE)
    parts = _first_places(schedule, turn)
    if parts is None:
        return None
    orbits = _orbits(fabric, turn)
    if orbits is None:
        return None
    routes = _routes([batch for batch, _ in parts], fabric, routing)
    if routes is None:
        return None
    before = np.cumsum([0] + [len(batch) for batch in schedule.batches[:-1]])
    program = assembled(
        replace(schedule, batches=tuple(_by_orbit(batch, turn) for batch, _ in parts)),
        [
            over_orbits(route, orbits, np.repeat(turn.images(batch), np.diff(route.pointer)))
            for route, (batch, _) in zip(routes, parts, strict=True)
        ],
        fabric.bandwidth[orbits.first],
        barrier,
    )
    program = replace(program, count=np.concatenate([turn.images(batch) for batch, _ in parts]))
    origins = [origin + first for (_, origin), first in zip(parts, before.tolist(), strict=True)]
    return program, orbits, np.concatenate(origins)


def _ends(batch: Batch) -> int:
    return len(batch) * batch.copies + (len(batch.fan[1]) if batch.fan is not None else 0)


def _width(fabric: Fabric) -> int | None:
    """Ranks of a domain, where all have equally many and follow each other; None elsewhere."""
    domains = fabric.domains
    width, over = divmod(fabric.ranks, domains)
    if over or domains == 1 or width == 1 or (fabric.domain != np.arange(fabric.ranks) // width).any():
        return None
    return width


NONE = -1
"""No place."""


@dataclass(frozen=True)
class Turn:
    """The turn of the ranks of every domain by one place.

    Parameters
    ----------
    width : int
        Ranks of a domain.
    fixed : int
        A place that stays where it is, or :data:`NONE`.
    """

    width: int
    fixed: int = NONE

    def of(self, ranks: IntArray) -> IntArray:
        """Where it takes ranks."""
        place, size = ranks % self.width, self.width
        onward = (place + 1) % size
        if self.fixed != NONE:
            onward = np.where(onward == self.fixed, (onward + 1) % size, onward)
            onward = np.where(place == self.fixed, place, onward)
        return ranks - place + onward

    @property
    def first(self) -> int:
        """The place that stands for all that turn."""
        return int(self.fixed == 0)

    @property
    def order(self) -> int:
        """Places that turn."""
        return self.width - (self.fixed != NONE)

    def orbit(self, ranks: IntArray) -> IntArray:
        """A number for the ranks of one domain that turn, and one for its fixed one."""
        if self.fixed == NONE:
            return ranks // self.width
        number: IntArray = 2 * (ranks // self.width) + (ranks % self.width == self.fixed)
        return number

    def stands(self, batch: Batch) -> IntArray:
        """The transfers that stand for their images: from the first place, or if from the fixed one then to it."""
        source, target = batch.source % self.width, batch.target % self.width
        fixed = (source == self.fixed) & ((target == self.fixed) | (target == self.first))
        return np.flatnonzero((source == self.first) | fixed)

    def images(self, batch: Batch) -> IntArray:
        """Images of each transfer, itself among them."""
        source, target = batch.source % self.width, batch.target % self.width
        stays = (source == self.fixed) & (target == self.fixed)
        return np.where(stays, 1, self.order)


def _orbits(fabric: Fabric, turn: Turn) -> Orbits | None:
    key = ("place orbits", turn)
    if key not in fabric.cache:
        image = link_image(fabric, turn.of(np.arange(fabric.ranks)))
        fabric.cache[key] = None if image is None else cycles(fabric.links, [(image, turn.order)])
    found: Orbits | None = fabric.cache[key]
    return found


def _plain(batch: Batch) -> bool:
    known = batch.form in ("direct", "reduce", "multicast")
    return known and batch.routes is None and all(wait.pairs is None for wait in batch.waits)


def _first_places(schedule: Schedule, turn: Turn) -> list[tuple[Batch, IntArray]] | None:
    """Of every batch the transfers that the first place of each domain sends, and their places in it.

    None without symmetry.
    """
    known: dict[tuple[object, ...], tuple[Batch, IntArray] | None] = {}
    parts: list[tuple[Batch, IntArray]] = []
    for batch in schedule.batches:
        # The parts of a pipeline are alike but for their bytes and waits.
        size = float(batch.bytes[0]) if len(batch) and (batch.bytes == batch.bytes[0]).all() else None
        key = (batch.form, id(batch.source), id(batch.target), id(batch.fan), batch.grid)
        if size is None:
            part = _first_place(batch, turn)
        else:
            if key not in known:
                known[key] = _first_place(batch, turn)
            part = known[key]
        if part is None:
            return None
        of_part = part[0]
        alike = replace(
            batch,
            source=of_part.source,
            target=of_part.target,
            fan=of_part.fan,
            bytes=of_part.bytes if size is None else np.full(len(of_part), size),
            grid=None,
        )
        parts.append((alike, part[1]))
    return parts


def _first_place(batch: Batch, turn: Turn) -> tuple[Batch, IntArray] | None:
    """The same for one batch; a fan must be all ranks of one domain, which the turn leaves as it is."""
    width = turn.width
    transfers = np.repeat(np.arange(len(batch)), batch.copies)
    batch = batch.whole()
    domain = np.zeros(len(batch), dtype=np.int64)
    if batch.form != "direct":
        if batch.fan is None or (np.diff(batch.fan[0]) != width).any():
            return None
        fan = np.sort(batch.fan[1].reshape(-1, width), axis=1)
        if (fan != fan[:, :1] + np.arange(width)).any() or (fan[:, 0] % width).any():
            return None
        domain = fan[:, 0]
    ends = np.stack([batch.source, batch.target, domain])
    image = np.stack([turn.of(batch.source), turn.of(batch.target), domain])
    order, turned = (np.lexsort((batch.bytes, x[2], x[1], x[0])) for x in (ends, image))
    if (ends[:, order] != image[:, turned]).any() or (batch.bytes[order] != batch.bytes[turned]).any():
        return None
    chosen = turn.stands(batch)
    part = replace(batch, source=batch.source[chosen], target=batch.target[chosen], bytes=batch.bytes[chosen])
    if batch.fan is not None:
        fans = batch.fan[1][spread(batch.fan[0], chosen)]
        part = replace(part, fan=(np.arange(len(chosen) + 1) * width, fans))
    return part, transfers[chosen]


def _routes(parts: list[Batch], fabric: Fabric, routing: str) -> list[Routes] | None:
    """Routes of every batch; None where streams go through more than one switch."""
    direct = [part for part in parts if part.form == "direct"]
    ends = iter(np.cumsum([len(part) for part in direct]).tolist())
    together = None
    if direct:
        source = np.concatenate([part.source for part in direct])
        together = find_routes(fabric, source, np.concatenate([part.target for part in direct]), routing)
    found: list[Routes] = []
    for part in parts:
        if part.form == "direct":
            assert together is not None
            end = next(ends)
            found.append(together.take(np.arange(end - len(part), end)))
            continue
        stars = star_routes(fabric, part.senders(), part.receivers())
        if stars is None:
            return None
        found.append(stars)
    return found


def _by_orbit(part: Batch, turn: Turn) -> Batch:
    """A batch whose ends are the orbits of the ranks."""
    within = replace(part, source=turn.orbit(part.source), target=turn.orbit(part.target))
    if part.fan is None:
        return within
    if turn.fixed == NONE:
        each = np.ones(len(part), dtype=np.int64)
        return replace(within, fan=(pointer_from(each), turn.orbit(part.fan[1][part.fan[0][:-1]])))
    domain = part.fan[1][part.fan[0][:-1]] // turn.width
    both = np.stack([2 * domain, 2 * domain + 1], axis=1).ravel()
    return replace(within, fan=(np.arange(len(part) + 1) * 2, both))
