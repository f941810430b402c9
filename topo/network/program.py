"""Programs: a Schedule on a Fabric, compiled to arrays that the solver runs.

A *row* is one stream of transfers (a transfer of a batch with all its repeats).  A *gate* counts how far all of
its member rows have come: its level is the smallest number of arrivals (or departures) among them.  A row waits
for levels of gates.  Gates keep "every rank waits for everything it is sent" at two entries per transfer
instead of one entry per pair of transfers.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from topo.errors import NetworkError
from topo.fabric import BoolArray, Fabric, FloatArray, IntArray, sums
from topo.routing import Routes, find_routes, routes_from_entries, tree_routes
from topo.schedule import LAST, Batch, Schedule
from topo.star_trees import star_routes
from topo.turns import turned_routes

SWITCHINGS = ("cut-through", "store-and-forward")


@dataclass(frozen=True, eq=False)
class Program:
    """Arrays that the solver runs.

    Parameters
    ----------
    bytes : float array [rows]
        Bytes of one repeat.
    repeat : int array [rows]
    latency : float array [rows]
        Seconds from the end of the drain to arrival.
    step : int array [rows]
        Lock-step number of the first repeat.
    count : int array [rows]
        Transfers that the row stands for (more than one after folding).
    route : (pointer [rows + 1], link, weight)
        Links of each row; the row's rate times the weight passes the link.
    capacity : float array [links]
        Bytes/s.
    members : (pointer [gates + 1], rows)
    gate_on_arrival : bool array [gates]
        Whether the gate counts arrivals or departures.
    gate_repeat : int array [gates]
        Largest level.
    waits : (pointer [rows + 1], gate, lag)
        Repeat ``t`` of the row needs level ``t - lag + 1`` of the gate, cut to 0 .. ``gate_repeat``.
    """

    bytes: FloatArray
    repeat: IntArray
    latency: FloatArray
    step: IntArray
    count: IntArray
    route_pointer: IntArray
    route_link: IntArray
    route_weight: FloatArray
    capacity: FloatArray
    member_pointer: IntArray
    member_row: IntArray
    gate_on_arrival: BoolArray
    gate_repeat: IntArray
    wait_pointer: IntArray
    wait_gate: IntArray
    wait_lag: IntArray

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.bytes)

    @property
    def gates(self) -> int:
        """Number of gates."""
        return len(self.gate_repeat)

    @property
    def transfers(self) -> int:
        """Number of transfers, repeats and folded ones counted."""
        return int((self.repeat * self.count).sum())

    def link_bytes(self) -> FloatArray:
        """Bytes that each link carries in the whole run [links]."""
        row = np.repeat(np.arange(self.rows), np.diff(self.route_pointer))
        return sums(self.route_link, self.route_weight * (self.bytes * self.repeat)[row], len(self.capacity))


def pointer_from(counts: IntArray) -> IntArray:
    """Row pointer of a compressed table from the lengths of its rows."""
    pointer = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=pointer[1:])
    return pointer


def group(keys: IntArray, rows: int) -> tuple[IntArray, IntArray]:
    """Positions of each key 0 .. rows - 1, as (pointer, positions)."""
    return pointer_from(np.bincount(keys, minlength=rows)), np.argsort(keys, kind="stable")


@dataclass(frozen=True, eq=False)
class _Waits:
    """Loose wait entries while a program is put together."""

    row: IntArray
    gate: IntArray
    lag: IntArray


class _Gates:
    """Gates found so far, one per (batch, kind, rank)."""

    def __init__(self, schedule: Schedule, first: Sequence[int]) -> None:
        self.schedule = schedule
        self.first = first
        self.number = 0
        self.members: list[tuple[IntArray, IntArray]] = []
        self.on_arrival: list[BoolArray] = []
        self.repeat: list[IntArray] = []
        self.by_rank: dict[tuple[int, str], IntArray] = {}

    def add(self, gate_of_member: IntArray, member: IntArray, gates: int, arrival: bool, repeat: int) -> int:
        start = self.number
        self.members.append((gate_of_member + start, member))
        self.on_arrival.append(np.full(gates, arrival))
        self.repeat.append(np.full(gates, repeat))
        self.number += gates
        return start

    def of_rank(self, batch_number: int, on: str) -> IntArray:
        """Gate of each rank for one batch, -1 where the batch has nothing to do with the rank."""
        key = (batch_number, on)
        if key not in self.by_rank:
            batch = self.schedule.batches[batch_number]
            pointer, ranks = batch.receivers() if on == "arrival" else batch.senders()
            unique, place = np.unique(ranks, return_inverse=True)
            member = np.repeat(np.arange(len(batch)), np.diff(pointer)) + self.first[batch_number]
            start = self.add(place, member, len(unique), on == "arrival", batch.repeat)
            table = np.full(self.schedule.collective.ranks, -1, dtype=np.int64)
            table[unique] = start + np.arange(len(unique))
            self.by_rank[key] = table
        return self.by_rank[key]


MANY_STREAMS = 16
"""Streams through switches from which their trees are found all at once, where these are stars."""


def batch_routes(batch: Batch, fabric: Fabric, group_ranks: IntArray, policy: str, seed: int) -> Routes:
    """Routes of the transfers of one batch; ``group_ranks`` gives the fabric's rank of each rank of the group."""
    if batch.routes is not None:
        return batch.routes
    if batch.form == "direct":
        return find_routes(fabric, group_ranks[batch.source], group_ranks[batch.target], policy, seed)
    senders, receivers = batch.senders(), batch.receivers()
    if len(batch) >= MANY_STREAMS:
        stars = star_routes(
            fabric, (senders[0], group_ranks[senders[1]]), (receivers[0], group_ranks[receivers[1]])
        )
        if stars is not None:
            return stars
    parts: list[Routes] = []
    for i in range(len(batch)):
        sources = group_ranks[senders[1][senders[0][i] : senders[0][i + 1]]]
        targets = group_ranks[receivers[1][receivers[0][i] : receivers[0][i + 1]]]
        parts.append(tree_routes(fabric, sources, targets))
    return Routes(
        pointer_from(np.asarray([len(part.link) for part in parts])),
        np.concatenate([part.link for part in parts]),
        np.concatenate([part.fraction for part in parts]),
        np.concatenate([part.latency for part in parts]),
    )


def compile_program(
    schedule: Schedule,
    fabric: Fabric,
    *,
    ranks: IntArray | None = None,
    barrier: bool = False,
    switching: str = "cut-through",
    routing: str = "auto",
    seed: int = 0,
) -> Program:
    """Compile a Schedule for a Fabric.

    Parameters
    ----------
    schedule : Schedule
    fabric : Fabric
    ranks : int array, optional
        The fabric's rank of each rank of the schedule's group; all ranks in order by default.
    barrier : bool
        Lock-step: a step starts when every transfer of the step before has arrived.
    switching : str
        ``cut-through`` or ``store-and-forward``.
    routing, seed
        As in :func:`topo.routing.find_routes`.

    Raises
    ------
    NetworkError
        The group does not fit the fabric, or an option is unknown.
    """
    if switching not in SWITCHINGS:
        raise NetworkError(f"switching {switching!r} is unknown", f"one of {', '.join(SWITCHINGS)}")
    ranks = np.arange(schedule.collective.ranks) if ranks is None else np.asarray(ranks, dtype=np.int64)
    inside = (ranks >= 0) & (ranks < fabric.ranks)
    if len(ranks) != schedule.collective.ranks or not inside.all() or len(np.unique(ranks)) != len(ranks):
        raise NetworkError(
            f"a group of {schedule.collective.ranks} ranks does not fit {fabric.name} with {fabric.ranks} accelerators",
            f"name {schedule.collective.ranks} different ranks from 0 to {fabric.ranks - 1}",
        )
    require_memory(schedule, fabric)
    schedule = schedule.whole()
    if not schedule.transfers:
        return _nothing(fabric)
    routes = _all_routes(schedule, fabric, ranks, routing, seed)
    program = assembled(schedule, routes, fabric.bandwidth, barrier)
    if switching == "store-and-forward":
        from topo.network.store_and_forward import by_hop

        tree = np.repeat(
            [batch.form != "direct" for batch in schedule.batches], [len(batch) for batch in schedule.batches]
        )
        program = by_hop(program, fabric, tree)
    return program


def assembled(
    schedule: Schedule, routes: Sequence[Routes], capacity: FloatArray, barrier: bool, count: int = 1
) -> Program:
    """The program of a schedule whose batches take given routes.

    Parameters
    ----------
    schedule : Schedule
        Spelled out.
    routes : sequence of Routes
        One for each batch.
    capacity : float array [links]
    barrier : bool
    count : int
        Transfers that each row stands for.
    """
    first = np.concatenate([[0], np.cumsum([len(batch) for batch in schedule.batches])]).tolist()
    require_counts(schedule)
    rows = first[-1]
    gates = _Gates(schedule, first)
    waits = _barrier_waits(schedule, gates, rows) if barrier else _data_waits(schedule, gates, first)
    order = np.argsort(waits.row, kind="stable")
    return Program(
        bytes=np.concatenate([batch.bytes for batch in schedule.batches]),
        repeat=np.repeat([batch.repeat for batch in schedule.batches], np.diff(first)),
        latency=np.concatenate([route.latency for route in routes]),
        step=np.repeat([batch.step for batch in schedule.batches], np.diff(first)),
        count=np.full(rows, count, dtype=np.int64),
        route_pointer=pointer_from(np.concatenate([np.diff(route.pointer) for route in routes])),
        route_link=np.concatenate([route.link for route in routes]),
        route_weight=np.concatenate([route.fraction for route in routes]),
        capacity=capacity,
        wait_pointer=pointer_from(np.bincount(waits.row, minlength=rows)),
        wait_gate=waits.gate[order],
        wait_lag=waits.lag[order],
        **_gate_arrays(gates),
    )


def _nothing(fabric: Fabric) -> Program:
    """The program of a schedule without transfers, such as an all-to-all of empty blocks."""
    none = np.zeros(0, dtype=np.int64)
    return flow_program(fabric.bandwidth, np.zeros(0), np.zeros(0), np.zeros(1, dtype=np.int64), none)


MOST_TRANSFERS = 2.0**62


def require_counts(schedule: Schedule) -> None:
    """Refuse a schedule whose transfers or bytes are beyond counting.

    Raises
    ------
    NetworkError
    """
    transfers = sum(float(len(batch)) * batch.copies * batch.repeat for batch in schedule.batches)
    if transfers > MOST_TRANSFERS:
        raise NetworkError(
            f"{schedule.algorithm} {schedule.collective.operation} has about {transfers:.2g} transfers, more than "
            "can be counted",
            "take fewer chunks or fewer ranks",
        )
    most = max(
        (float(batch.bytes.max(initial=0.0)) * len(batch) * batch.repeat for batch in schedule.batches),
        default=0.0,
    )
    if most == np.inf:
        raise NetworkError(
            f"{schedule.algorithm} {schedule.collective.operation} moves more bytes than a number can hold",
            "take a smaller size",
        )


MOST_MEMORY = 16e9
MOST_OF_MACHINE = 0.8
BYTES_PER_HOP = 250.0
"""Peak memory of compiling and folding, per link that a transfer crosses (measured on all-to-all of tori)."""


def require_memory(schedule: Schedule, fabric: Fabric) -> None:
    """Refuse a schedule whose spelled-out transfers would not fit in memory.

    Raises
    ------
    NetworkError
        With the estimate and what fits.
    """
    transfers = sum(len(batch) * batch.copies for batch in schedule.batches)
    if transfers < 1_000_000:
        return
    grid = fabric.grid
    hops = sum(max(k / 4, 1.0) for k in grid.shape) if grid else 4.0
    needed = transfers * hops * BYTES_PER_HOP
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > min(MOST_MEMORY, MOST_OF_MACHINE * there):
        raise NetworkError(
            f"{schedule.algorithm} {schedule.collective.operation} among {schedule.collective.ranks} ranks of "
            f"{fabric.name} spells out {transfers:,} transfers and would take about {needed / 1e9:.0f} GB "
            f"of the {there / 1e9:.0f} GB of this machine",
            "take a translation-invariant fabric (a healthy torus, rack or rail cluster), another algorithm, or "
            "fewer ranks",
        )


def _all_routes(schedule: Schedule, fabric: Fabric, ranks: IntArray, routing: str, seed: int) -> list[Routes]:
    """Routes of every batch; batches between the same ends (the parts of a pipeline) share theirs."""
    known: dict[tuple[str | int, ...], Routes] = {}
    keys = [
        (batch.form, id(batch.source), id(batch.target), id(batch.fan), id(batch.routes))
        for batch in schedule.batches
    ]
    if routing != "ecmp":
        # The ways of all plain batches are found in one go.
        plain = {
            key: batch
            for key, batch in zip(keys, schedule.batches, strict=True)
            if batch.form == "direct" and batch.routes is None and len(batch)
        }
        if plain:
            source = np.concatenate([ranks[batch.source] for batch in plain.values()])
            target = np.concatenate([ranks[batch.target] for batch in plain.values()])
            together = turned_routes(fabric, source, target, routing, seed)
            ends = np.cumsum([len(batch) for batch in plain.values()])
            for key, end, batch in zip(plain, ends.tolist(), plain.values(), strict=True):
                known[key] = together.take(np.arange(end - len(batch), end))
    found: list[Routes] = []
    for number, (key, batch) in enumerate(zip(keys, schedule.batches, strict=True)):
        if routing == "ecmp" or key not in known:
            known[key] = batch_routes(batch, fabric, ranks, routing, seed + number)
        found.append(known[key])
    return found


def _gate_arrays(gates: _Gates) -> dict[str, np.ndarray]:
    if not gates.number:
        empty = np.zeros(0, dtype=np.int64)
        return {
            "member_pointer": np.zeros(1, dtype=np.int64),
            "member_row": empty,
            "gate_on_arrival": np.zeros(0, dtype=bool),
            "gate_repeat": empty,
        }
    gate = np.concatenate([of for of, _ in gates.members])
    member = np.concatenate([row for _, row in gates.members])
    pointer, order = group(gate, gates.number)
    return {
        "member_pointer": pointer,
        "member_row": member[order],
        "gate_on_arrival": np.concatenate(gates.on_arrival),
        "gate_repeat": np.concatenate(gates.repeat),
    }


def _data_waits(schedule: Schedule, gates: _Gates, first: Sequence[int]) -> _Waits:
    rows: list[IntArray] = []
    found: list[IntArray] = []
    lags: list[IntArray] = []
    for number, batch in enumerate(schedule.batches):
        pointer, ranks = batch.senders()
        waiting = np.repeat(np.arange(len(batch)), np.diff(pointer))
        for wait in batch.waits:
            other = schedule.batches[wait.batch]
            if wait.pairs is not None:
                unique, place = np.unique(wait.pairs[0], return_inverse=True)
                start = gates.add(
                    place, wait.pairs[1] + first[wait.batch], len(unique), wait.on == "arrival", other.repeat
                )
                row, gate = unique, start + np.arange(len(unique))
            else:
                gate = gates.of_rank(wait.batch, wait.on)[ranks]
                row, gate = waiting[gate >= 0], gate[gate >= 0]
            rows.append(row + first[number])
            found.append(gate)
            lags.append(np.full(len(row), wait.lag))
    return _joined(rows, found, lags)


def _barrier_waits(schedule: Schedule, gates: _Gates, rows: int) -> _Waits:
    """Every row waits for the step before: one gate for all rows that begin and end in the same steps."""
    step = np.repeat([b.step for b in schedule.batches], [len(b) for b in schedule.batches])
    repeat = np.repeat([b.repeat for b in schedule.batches], [len(b) for b in schedule.batches])
    found_row: list[IntArray] = []
    found_gate: list[IntArray] = []
    found_lag: list[IntArray] = []
    for begin, times in sorted({(int(b.step), int(b.repeat)) for b in schedule.batches}):
        member = np.flatnonzero((step == begin) & (repeat == times))
        gate = gates.add(np.zeros(len(member), dtype=np.int64), member, 1, True, times)
        found_row.append(np.arange(rows))
        found_gate.append(np.full(rows, gate))
        found_lag.append(1 + begin - step)
    return _joined(found_row, found_gate, found_lag)


def _joined(rows: list[IntArray], gates: list[IntArray], lags: list[IntArray]) -> _Waits:
    if not rows:
        empty = np.zeros(0, dtype=np.int64)
        return _Waits(empty, empty, empty)
    return _Waits(np.concatenate(rows), np.concatenate(gates), np.concatenate(lags))


def flow_program(
    capacity: FloatArray, size: FloatArray, start: FloatArray, pointer: IntArray, link: IntArray
) -> Program:
    """A program of plain flows with start times and no latency; a link named twice by a flow counts twice.

    A start time is a gate behind one empty row whose latency is that time.
    """
    flows = len(size)
    times, when = np.unique(start, return_inverse=True)
    late = np.flatnonzero(times > 0)
    clock = np.full(len(times), -1)
    clock[late] = np.arange(len(late))
    gate = clock[when]
    routes = routes_from_entries(
        flows,
        np.repeat(np.arange(flows), np.diff(pointer)),
        link,
        np.ones(len(link)),
        np.zeros(flows),
        len(capacity),
    )
    extra = len(late)
    return Program(
        bytes=np.concatenate([size, np.zeros(extra)]),
        repeat=np.ones(flows + extra, dtype=np.int64),
        latency=np.concatenate([np.zeros(flows), times[late]]),
        step=np.concatenate([np.ones(flows, dtype=np.int64), np.zeros(extra, dtype=np.int64)]),
        count=np.ones(flows + extra, dtype=np.int64),
        route_pointer=np.concatenate([routes.pointer, np.full(extra, routes.pointer[-1])]),
        route_link=routes.link,
        route_weight=routes.fraction,
        capacity=capacity,
        member_pointer=np.arange(extra + 1),
        member_row=flows + np.arange(extra),
        gate_on_arrival=np.ones(extra, dtype=bool),
        gate_repeat=np.ones(extra, dtype=np.int64),
        wait_pointer=pointer_from(
            np.concatenate([(gate >= 0).astype(np.int64), np.zeros(extra, dtype=np.int64)])
        ),
        wait_gate=gate[gate >= 0],
        wait_lag=np.full(int((gate >= 0).sum()), LAST),
    )


def without_sharing(program: Program) -> FloatArray:
    """Rate that each row would have alone on its links [rows], bytes/s."""
    share = program.capacity[program.route_link] / program.route_weight
    rate = np.full(program.rows, np.inf)
    np.minimum.at(rate, np.repeat(np.arange(program.rows), np.diff(program.route_pointer)), share)
    return rate


def scaled(program: Program, bytes: float = 1.0, latency: float = 1.0) -> Program:
    """The program with every size and latency multiplied."""
    return replace(program, bytes=program.bytes * bytes, latency=program.latency * latency)
