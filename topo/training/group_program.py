"""The program of groups that go by one schedule, on orbits of links.

Each group given stands for its images under the symmetry of the fabric: its rows carry the weight of all of them on
the orbits of the links.  Ways are found once for every orbit of pairs of ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from topo.ccl import Terms
from topo.collective import Collective
from topo.errors import NetworkError
from topo.fabric import BoolArray, Fabric, FloatArray, IntArray, sums
from topo.network.program import Program, batch_routes, compile_program, pointer_from
from topo.routing import Routes, find_routes, routes_from_entries
from topo.schedule import Batch, Schedule
from topo.training.choice import Chosen
from topo.training.symmetry import smallest
from topo.translation import Orbits

MOST_ROWS = 6_000_000
"""Rows, in hops, that one operation may be compiled to before it is refused."""


@dataclass(frozen=True, eq=False)
class Sized:
    """A program and how its bytes follow from the operation's.

    Parameters
    ----------
    program : Program
    slope, extra : float arrays [rows]
        A row moves ``slope * bytes of the operation + extra``.
    """

    program: Program
    slope: FloatArray
    extra: FloatArray

    def bytes(self, size: float) -> FloatArray:
        """Bytes of each row for an operation of some size [rows]."""
        return self.slope * size + self.extra


def turned(schedule: Schedule, turn: IntArray) -> IntArray | None:
    """Where renumbering the places, place i becoming ``turn[i]``, takes the batches of a schedule.

    Returns
    -------
    int array [batches] or None
        Every batch becomes the one given, in its rows, bytes and waits; None unless all do.
    """
    batches = schedule.batches
    if any(b.routes is not None or any(wait.pairs is not None for wait in b.waits) for b in batches):
        return None
    sets = _RowSets(turn)
    waiting: dict[tuple[object, ...], list[int]] = {}
    for number in reversed(range(len(batches))):
        waiting.setdefault(_traits(batches[number], sets.here(batches[number])), []).append(number)
    goal = np.empty(len(batches), dtype=np.int64)
    for number, batch in enumerate(batches):
        like = waiting.get(_traits(batch, sets.there(batch)))
        if not like:
            return None
        goal[number] = like.pop()
    for number, batch in enumerate(batches):
        moved = {(int(goal[wait.batch]), wait.lag, wait.on) for wait in batch.waits}
        if moved != {(wait.batch, wait.lag, wait.on) for wait in batches[goal[number]].waits}:
            return None
    return goal


def _traits(batch: Batch, rows: bytes) -> tuple[object, ...]:
    return rows, batch.repeat, batch.step, batch.reduce, batch.form


class _RowSets:
    """Rows of batches as sets that can be compared, before and after places are renumbered."""

    def __init__(self, turn: IntArray) -> None:
        self.turn = turn
        self.same = np.arange(len(turn))
        # Sums of fixed pseudo-random numbers tell sets of members apart.
        self.mark = np.random.default_rng(1).integers(0, 1 << 40, len(turn)).astype(float)
        self.known: dict[tuple[object, ...], bytes] = {}

    def here(self, batch: Batch) -> bytes:
        """As they are."""
        return self._set(batch, self.same)

    def there(self, batch: Batch) -> bytes:
        """After renumbering."""
        return self._set(batch, self.turn)

    def _set(self, batch: Batch, turn: IntArray) -> bytes:
        even = bool(len(batch) and (batch.bytes == batch.bytes[0]).all())
        size: float = float(batch.bytes[0]) if even else id(batch)
        key = (id(batch.source), id(batch.target), id(batch.fan), id(turn), size)
        if key not in self.known:
            fan: FloatArray = np.zeros(len(batch))
            if batch.fan is not None:
                pointer, members = batch.fan
                row = np.repeat(np.arange(len(batch)), np.diff(pointer))
                fan = sums(row, self.mark[turn[members]], len(batch))
            ends = turn[batch.source] * len(turn) + turn[batch.target]
            rows = np.stack([ends.astype(float), batch.bytes, fan])
            self.known[key] = rows[:, np.lexsort(rows)].tobytes()
        return self.known[key]


def _kept(schedule: Schedule, images: IntArray) -> tuple[Schedule, IntArray]:
    """A schedule without the batches that others stand for, or as it is where those are waited for."""
    number = np.cumsum(images > 0) - 1
    kept = [batch for batch, times in zip(schedule.batches, images.tolist(), strict=True) if times]
    if any(not images[wait.batch] for batch in kept for wait in batch.waits):
        return schedule, np.ones_like(images)
    renumbered = tuple(
        replace(batch, waits=tuple(replace(wait, batch=int(number[wait.batch])) for wait in batch.waits))
        for batch in kept
    )
    return replace(schedule, batches=renumbered), images[images > 0]


def compiled_groups(
    chosen: Chosen,
    size_of_operation: float,
    fabric: Fabric,
    members: IntArray,
    count: IntArray,
    orbits: Orbits,
    turns: Sequence[IntArray],
    images: IntArray | None = None,
) -> Sized:
    """The program of some groups that go by one schedule, each standing for ``count`` images, on orbits.

    ``images`` [batches], where given, says how many batches of the group each stands for; those with none are
    left out.
    """
    schedule = chosen.schedule
    groups, size = members.shape
    finder = _Ways(schedule, fabric, members, count, orbits, turns)
    stands_for = np.ones(len(schedule.batches), dtype=np.int64)
    if images is not None:
        schedule, stands_for = _kept(schedule, images)
    first = np.arange(groups)[:, None] * size
    known: dict[int, IntArray] = {}

    def ends(places: IntArray) -> IntArray:
        if id(places) not in known:
            known[id(places)] = (first + places[None, :]).ravel()
        return known[id(places)]

    batches = []
    for batch, times in zip(schedule.batches, stands_for.tolist(), strict=True):
        fan = batch.fan
        if fan is not None:
            pointer, places = fan
            fan = pointer_from(np.tile(np.diff(pointer), groups)), ends(places)
        steps = np.arange(groups)[:, None] * len(batch)
        waits = tuple(
            wait
            if wait.pairs is None
            else replace(
                wait,
                pairs=(
                    (steps + wait.pairs[0][None, :]).ravel(),
                    (np.arange(groups)[:, None] * len(schedule.batches[wait.batch]) + wait.pairs[1]).ravel(),
                ),
            )
            for wait in batch.waits
        )
        batches.append(
            replace(
                batch,
                source=ends(batch.source),
                target=ends(batch.target),
                bytes=np.tile(batch.bytes, groups),
                fan=fan,
                waits=waits,
                routes=finder.of(batch, times),
            )
        )
    collective = Collective("all-to-all", max(groups * size, 2), 1.0)
    together = Schedule(collective, schedule.algorithm, tuple(batches), schedule.cutting)
    program = compile_program(together, fabric, ranks=np.arange(collective.ranks))
    program = replace(program, capacity=fabric.bandwidth[orbits.first])
    switched = np.repeat([b.form != "direct" for b in batches], [len(b) for b in batches])
    return _with_terms(program, chosen, size_of_operation, switched, fabric.scale_out[orbits.first])


def _with_terms(
    program: Program, chosen: Chosen, size: float, switched: BoolArray, scale_out: BoolArray
) -> Sized:
    """What a library's protocol does to bytes and latencies, as for any of its calls (:mod:`topo.ccl.call`)."""
    terms = chosen.terms or Terms()
    row = np.repeat(np.arange(program.rows), np.diff(program.route_pointer))
    tier = (np.bincount(row, scale_out[program.route_link], program.rows) > 0).astype(np.int64)
    factor = np.where(switched, terms.switch_factor, np.asarray(terms.factor)[tier])
    extra = np.where(switched, terms.switch_extra, np.asarray(terms.extra)[tier])
    step = np.where(switched, 0.0, np.asarray(terms.step)[tier])
    slope = program.bytes * chosen.size / size * factor
    extra = np.where(program.bytes > 0, extra, 0.0)
    program = replace(program, bytes=slope * size + extra, latency=program.latency + step)
    return Sized(program, slope, extra)


class _Ways:
    """Ways of the transfers of groups, on orbits of links."""

    def __init__(
        self,
        schedule: Schedule,
        fabric: Fabric,
        members: IntArray,
        count: IntArray,
        orbits: Orbits,
        turns: Sequence[IntArray],
    ) -> None:
        self.fabric, self.members, self.count, self.orbits = fabric, members, count, orbits
        self.known: dict[tuple[int, ...], Routes] = {}
        size = members.shape[1]
        plain = [batch for batch in schedule.batches if batch.form == "direct" and batch.routes is None]
        codes: dict[tuple[int, int], IntArray] = {}
        for batch in plain:
            ends = id(batch.source), id(batch.target)
            if ends not in codes:
                codes[ends] = batch.source * size + batch.target
        self.pairs = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *codes.values()]))
        self.size = size
        if not len(self.pairs):
            return
        label = np.arange(len(self.pairs))
        before = None
        while turns and (before is None or (before != label).any()):
            before = label
            for turn in turns:
                moved = turn[self.pairs // size] * size + turn[self.pairs % size]
                label = smallest(label, np.searchsorted(self.pairs, moved), size)
        leader, self.of_pair = np.unique(label, return_inverse=True)
        self.leaders = len(leader)
        if len(leader) * len(members) > MOST_ROWS // 4:
            raise NetworkError(
                f"{schedule.algorithm} in groups of {size} has {len(leader) * len(members):,} different transfers",
                "name an algorithm with fewer, or a placement with more symmetry",
            )
        source = members[:, self.pairs[leader] // size].ravel()
        target = members[:, self.pairs[leader] % size].ravel()
        found = find_routes(fabric, source, target)
        self.ways = self._on_orbits(found, np.repeat(count, len(leader)))

    def of(self, batch: Batch, times: int) -> Routes:
        """Ways of one batch that stands for several, group after group."""
        key = (id(batch.source), id(batch.target), id(batch.fan), id(batch.routes), times)
        if key not in self.known:
            found = self._find(batch)
            self.known[key] = replace(found, fraction=found.fraction * times)
        return self.known[key]

    def _find(self, batch: Batch) -> Routes:
        groups = len(self.members)
        if batch.form == "direct" and batch.routes is None:
            place = np.searchsorted(self.pairs, batch.source * self.size + batch.target)
            rows = np.arange(groups)[:, None] * self.leaders + self.of_pair[place][None, :]
            return self.ways.take(rows.ravel())
        parts = [batch_routes(batch, self.fabric, ranks, "auto", 0) for ranks in self.members]
        whole = Routes(
            pointer_from(np.concatenate([np.diff(part.pointer) for part in parts])),
            np.concatenate([part.link for part in parts]),
            np.concatenate([part.fraction for part in parts]),
            np.concatenate([part.latency for part in parts]),
        )
        return self._on_orbits(whole, np.repeat(self.count, len(batch)))

    def _on_orbits(self, routes: Routes, count: IntArray) -> Routes:
        row = routes.rows()
        link = self.orbits.of_link[routes.link]
        share = routes.fraction * count[row] / self.orbits.size[link]
        return routes_from_entries(len(routes), row, link, share, routes.latency, len(self.orbits.size))
