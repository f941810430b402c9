"""The event solver: the fluid simulation for traffic without repeats or symmetry, compiled with numba.

Same semantics as :mod:`topo.network.solver`, row for row.  After an event only what it changed is solved again:
the flows bound to the links that changed, then, as long as a touched flow lacks its max-min certificate, those
too; so the rates are certified at every event.  When an event changes much, everything is solved again instead.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from topo.fabric import FloatArray, IntArray, spread
from topo.network import event_kernel as kernel
from topo.network.event_records import (
    ARRIVAL,
    FLOW,
    NO_LIMIT,
    NO_ROOM,
    PLACE,
    SHARE,
    WAIT,
    delays_of,
    links_and_hops,
    require_positions,
    rows_and_gates,
)
from topo.network.event_times import (
    BLOCK,
    DIRTY,
    EVENTS,
    FRESH,
    FULL,
    HEAP,
    HIGH,
    LOCAL,
    NUMBERS,
    QUEUED,
    ROOM,
    SPARE,
)
from topo.network.program import Program

VIEWS = ("_table", "unfinished", "_capacity", "_dirty")
"""What points into other arrays."""


class EventSolver:
    """Runs programs on links, event by event.

    Parameters
    ----------
    program : Program
        One program, or several joined.
    job_of_row : int array [rows]
        Positions of the jobs that the rows belong to, 0 .. jobs - 1.
    now : float
        Seconds.
    origin : float, optional
        Seconds at which the links were last idle; now by default.
    """

    def __init__(
        self,
        program: Program,
        job_of_row: np.ndarray,
        jobs: int,
        now: float = 0.0,
        origin: float | None = None,
    ) -> None:
        p = program
        require_positions(p)
        self.program = p
        self.clock = np.asarray([now, now if origin is None else origin, np.inf], dtype=float)
        self.numbers = np.zeros(NUMBERS + jobs, dtype=np.int64)
        self.unfinished = self.numbers[NUMBERS:]
        self.unfinished += np.bincount(job_of_row, minlength=jobs)
        self.rows, self.gates, self.lists = rows_and_gates(p, job_of_row)
        self.links, self.hops = links_and_hops(p)
        self._capacity, self._dirty = self.links["capacity"], self.links["dirty"]
        self.delays = delays_of(p, self.rows)
        self.flows = np.zeros(p.rows, dtype=FLOW)
        self.flows["row"], self.flows["stamp"] = -1, -1
        blocks = -(-p.rows // BLOCK)
        self.ends = np.full(p.rows + blocks - (-blocks // BLOCK), np.inf)
        self.places = np.zeros(len(self.hops), dtype=PLACE)
        self.waits = np.zeros(len(p.wait_gate), dtype=WAIT)
        self.waits["gate"], self.waits["lag"] = p.wait_gate, p.wait_lag
        self.arrivals = np.zeros(0, dtype=ARRIVAL)
        self.heap = np.zeros(len(self.links), dtype=SHARE)
        self.per_link = np.zeros((2, len(self.links)), dtype=np.int32)
        self.per_slot = np.zeros((3, p.rows), dtype=np.int32)
        self.queue = np.zeros(2 * p.rows + 64, dtype=np.int32)
        self._make_room(p.rows + 64)

    def _make_room(self, more: int) -> None:
        """Room for more arrivals under way."""
        old = len(self.arrivals)
        fresh = np.zeros(more, dtype=ARRIVAL)
        fresh["row"] = -1
        fresh["next"] = np.arange(old + 1, old + more + 1)
        fresh["next"][-1] = self.numbers[SPARE] if self.numbers[ROOM] else -1
        self.arrivals = np.concatenate([self.arrivals, fresh])
        self.numbers[SPARE] = old
        self.numbers[ROOM] += more
        self._point()

    def _point(self) -> None:
        """Where the arrays lie and how long they are, as the kernel wants it."""
        arrays = [getattr(self, name) for name in kernel.ARRAYS]
        addresses = (ctypes.c_void_p * len(arrays))(*[array.ctypes.data for array in arrays])
        lengths = (ctypes.c_int64 * len(arrays))(*[len(array) for array in arrays])
        self._table = (
            ctypes.cast(addresses, ctypes.POINTER(ctypes.c_void_p)),
            ctypes.cast(lengths, ctypes.POINTER(ctypes.c_int64)),
        )

    def __getstate__(self) -> dict[str, Any]:
        """For copies: what points at arrays points at those of the copy."""
        return {key: value for key, value in vars(self).items() if key not in VIEWS}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.unfinished = self.numbers[NUMBERS:]
        self._capacity, self._dirty = self.links["capacity"], self.links["dirty"]
        self._point()

    @property
    def now(self) -> float:
        """Seconds reached."""
        moment: float = self.clock.item(0)
        return moment

    @property
    def events(self) -> int:
        """Events so far."""
        return int(self.numbers[EVENTS])

    @property
    def solves(self) -> tuple[int, int]:
        """How often only what changed was solved again, and how often everything."""
        return int(self.numbers[LOCAL]), int(self.numbers[FULL])

    def take_over(
        self,
        counts: dict[str, IntArray],
        finish: FloatArray,
        gates: dict[str, IntArray],
        moving: tuple[IntArray, FloatArray],
        pending: list[tuple[float, IntArray]],
        waiting: IntArray,
    ) -> None:
        """Go on from a state of the batch solver; nothing happens before the next :meth:`advance`.

        Parameters
        ----------
        counts : ``drained`` and ``arrived`` of every row
        finish : when rows that are over arrived
        gates : ``level`` and ``short`` of every gate
        moving : active rows and their remaining bytes
        pending : moments of arrival, ascending, and the rows that arrive
        waiting : rows that may start now
        """
        for name, values in counts.items():
            self.rows[name] = values
        self.rows["finish"] = finish
        for name, values in gates.items():
            self.gates[name] = values
        over = self.rows["arrived"] >= self.rows["repeat"]
        self.unfinished -= np.bincount(self.rows["job"][over], minlength=len(self.unfinished))
        self._send(pending)
        self._resume(*moving)
        self.queue[: len(waiting)] = waiting
        self.rows["queued"][waiting] = 1
        self.numbers[QUEUED] = len(waiting)

    def _send(self, pending: list[tuple[float, IntArray]]) -> None:
        """Put arrivals on their way: one queue for each latency, and a heap of the queues."""
        if not pending:
            return
        rows = np.concatenate([rows for _, rows in pending])
        times = np.repeat([time for time, _ in pending], [len(rows) for _, rows in pending])
        if len(rows) > self.numbers[ROOM]:
            self._make_room(len(rows))
        order = np.argsort(self.rows["delay"][rows], kind="stable")
        rows, times = rows[order], times[order]
        delay = self.rows["delay"][rows]
        entry = np.flatnonzero(self.arrivals["row"] < 0)[: len(rows)]
        self.arrivals["time"][entry], self.arrivals["row"][entry] = times, rows
        begins = np.flatnonzero(np.diff(delay, prepend=-1))
        ends = np.append(begins[1:], len(delay)) - 1
        following = np.append(entry[1:], -1)
        following[ends] = -1
        self.arrivals["next"][entry] = following
        queues = self.delays[delay[begins]]
        queues["head"], queues["tail"], queues["time"] = entry[begins], entry[ends], times[begins]
        self.delays[delay[begins]] = queues
        # Sorted by time it is a heap.
        self.delays["heap"][: len(begins)] = delay[begins][np.argsort(times[begins], kind="stable")]
        self.numbers[HEAP] = len(begins)
        spare = np.flatnonzero(self.arrivals["row"] < 0)
        self.arrivals["next"][spare] = np.append(spare[1:], -1)
        self.numbers[SPARE], self.numbers[ROOM] = spare[0] if len(spare) else -1, len(spare)

    def _resume(self, active: IntArray, remaining: FloatArray) -> None:
        """Put rows back on their links in mid-drain."""
        p, flows, n = self.program, self.flows, len(active)
        self.rows["slot"][active] = np.arange(n)
        flows["row"][:n], flows["remaining"][:n], flows["since"][:n] = active, remaining, self.now
        flows["first"][:n], flows["last"][:n] = p.route_pointer[active], p.route_pointer[active + 1]
        flows["bottleneck"][:n] = -1
        hop = spread(p.route_pointer, active)
        slot = np.repeat(np.arange(n), p.route_pointer[active + 1] - p.route_pointer[active])
        order = np.argsort(p.route_link[hop], kind="stable")
        hop, slot = hop[order], slot[order]
        count = np.bincount(p.route_link[hop], minlength=len(self.links))
        place = (
            self.links["first"][p.route_link[hop]]
            + np.arange(len(hop))
            - (np.cumsum(count) - count)[p.route_link[hop]]
        )
        self.links["count"] = count
        self.places["slot"][place], self.places["hop"][place] = slot, hop
        self.hops["place"][hop] = place
        self.per_slot[1, :n] = np.arange(n)
        self.numbers[[FRESH, HIGH]] = n

    def hand_back(self) -> tuple[IntArray, FloatArray, list[tuple[float, IntArray]]]:
        """Active rows, their remaining bytes now, and arrivals to come."""
        active, rates = self.rates()
        flows = self.flows[self.rows["slot"][active]]
        remaining = np.maximum(flows["remaining"] - rates * (self.now - flows["since"]), 0.0)
        under_way = self.arrivals[self.arrivals["row"] >= 0]
        under_way = under_way[np.lexsort((under_way["row"], under_way["time"]))]
        times, first = np.unique(under_way["time"], return_index=True)
        parts = np.split(under_way["row"].astype(np.int64), first[1:]) if len(times) else []
        return active, remaining, list(zip(times.tolist(), parts, strict=True))

    def counts(self) -> tuple[IntArray, IntArray, IntArray]:
        """Repeats started, drained and arrived of every row."""
        drained = self.rows["drained"].copy()
        return drained + (self.rows["slot"] >= 0), drained, self.rows["arrived"].copy()

    def set_capacity(self, link: int, bytes_per_second: float) -> None:
        """Change a link from now on."""
        self._capacity[link] = bytes_per_second
        if not self._dirty[link]:
            self.per_link[1, self.numbers[DIRTY]] = link
            self.numbers[DIRTY] += 1
        self._dirty[link] = 2
        self.advance(-np.inf)

    def next_event(self) -> float:
        """When the next transfer drains or arrives; infinity when nothing moves."""
        moment: float = self.clock.item(2)
        return moment

    def advance(self, until: float = np.inf, most_events: int = NO_LIMIT, watch: int = -1) -> int:
        """Run to a moment, to the end of a job, to a stall, or to the end of a repeat of row ``watch``.

        The answer is the kernel's word for which.
        """
        while True:
            word: int = kernel.advance(until, most_events, watch, *self._table)
            if word != NO_ROOM:
                return word
            self._make_room(len(self.arrivals))

    def rates(self) -> tuple[IntArray, FloatArray]:
        """Active rows and their rates."""
        active = np.flatnonzero(self.rows["slot"] >= 0)
        return active, self.flows["rate"][self.rows["slot"][active]]
