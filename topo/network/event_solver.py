"""The event solver: the fluid simulation for traffic without repeats or symmetry, compiled with numba.

Same semantics as :mod:`topo.network.solver`, row for row.  After an event only what it changed is solved again:
the flows bottlenecked on the links that changed, then, as long as a touched flow lacks its max-min certificate,
those too; so the rates are certified at every event.  When an event changes much, everything is solved again
instead.  Earliest ends are found through minima of blocks of rows, so that one end or all ends can change at
little cost.
"""

from __future__ import annotations

import numpy as np

from topo.fabric import FloatArray, IntArray
from topo.network import kernel
from topo.network.program import Program, group

ROW = np.dtype(
    [
        ("bytes", "f8"),
        ("latency", "f8"),
        ("remaining", "f8"),
        ("rate", "f8"),
        ("since", "f8"),
        ("new_rate", "f8"),
        ("finish", "f8"),
        ("repeat", "i8"),
        ("started", "i8"),
        ("drained", "i8"),
        ("arrived", "i8"),
        ("first", "i8"),
        ("last", "i8"),
        ("wait_first", "i8"),
        ("wait_last", "i8"),
        ("gate_first", "i8"),
        ("gate_last", "i8"),
        ("stamp", "i8"),
        ("job", "i8"),
        ("bottleneck", "i4"),
        ("new_bottleneck", "i4"),
        ("active", "i4"),
        ("queued", "i4"),
    ]
)
LINK = np.dtype(
    [
        ("capacity", "f8"),
        ("left", "f8"),
        ("weight", "f8"),
        ("key", "f8"),
        ("first", "i8"),
        ("count", "i8"),
        ("unfrozen", "i8"),
        ("stamp", "i8"),
        ("dirty", "i8"),
    ]
)
HOP = np.dtype([("weight", "f8"), ("place", "i8"), ("link", "i4"), ("row", "i4")])
GATE = np.dtype(
    [
        ("level", "i8"),
        ("short", "i8"),
        ("repeat", "i8"),
        ("member_first", "i8"),
        ("member_last", "i8"),
        ("waiter_first", "i8"),
        ("waiter_last", "i8"),
        ("arrival", "i8"),
    ]
)
WAIT = np.dtype([("gate", "i8"), ("lag", "i8")])
ARRIVAL = np.dtype([("time", "f8"), ("row", "i8")])
NO_LIMIT = np.iinfo(np.int64).max


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
        self.program = p
        self.clock = np.asarray([now, now if origin is None else origin], dtype=float)
        self.numbers = np.zeros(kernel.NUMBERS, dtype=np.int64)
        rows = np.zeros(p.rows, dtype=ROW)
        for name in ("bytes", "latency", "repeat"):
            rows[name] = getattr(p, name)
        rows["first"], rows["last"] = p.route_pointer[:-1], p.route_pointer[1:]
        rows["wait_first"], rows["wait_last"] = p.wait_pointer[:-1], p.wait_pointer[1:]
        rows["job"], rows["bottleneck"], rows["stamp"] = job_of_row, -1, -1
        hops = np.zeros(len(p.route_link), dtype=HOP)
        hops["weight"], hops["link"] = p.route_weight, p.route_link
        hops["row"] = np.repeat(np.arange(p.rows), np.diff(p.route_pointer))
        links = np.zeros(len(p.capacity), dtype=LINK)
        links["capacity"], links["stamp"] = p.capacity, -1
        crossing = np.bincount(p.route_link, minlength=len(p.capacity))
        links["first"] = np.cumsum(crossing) - crossing
        gates = np.zeros(p.gates, dtype=GATE)
        gates["repeat"], gates["arrival"] = p.gate_repeat, p.gate_on_arrival
        gates["member_first"], gates["member_last"] = p.member_pointer[:-1], p.member_pointer[1:]
        gates["short"] = np.diff(p.member_pointer)
        gate_pointer, gate_order = group(p.member_row, p.rows)
        rows["gate_first"], rows["gate_last"] = gate_pointer[:-1], gate_pointer[1:]
        waiter_pointer, waiter_order = group(p.wait_gate, p.gates)
        gates["waiter_first"], gates["waiter_last"] = waiter_pointer[:-1], waiter_pointer[1:]
        waits = np.zeros(len(p.wait_gate), dtype=WAIT)
        waits["gate"], waits["lag"] = p.wait_gate, p.wait_lag
        self.rows, self.links, self.hops, self.gates, self.waits = rows, links, hops, gates, waits
        self.on_link = np.zeros(len(hops), dtype=np.int64)
        self.row_gates = np.repeat(np.arange(p.gates), np.diff(p.member_pointer))[gate_order]
        self.member_rows = p.member_row.astype(np.int64)
        self.waiter_rows = np.repeat(np.arange(p.rows), np.diff(p.wait_pointer))[waiter_order]
        self.unfinished = np.bincount(job_of_row, minlength=jobs).astype(np.int64)
        self.heap = np.zeros(2 * p.rows + 64, dtype=ARRIVAL)
        blocks = -(-p.rows // kernel.BLOCK)
        self.ends = np.full(p.rows, np.inf)
        self.minima = np.full(blocks, np.inf)
        self.tops = np.full(-(-blocks // kernel.BLOCK), np.inf)
        self.queue = np.zeros(2 * p.rows + 64, dtype=np.int64)
        self.order = np.zeros(len(links), dtype=np.int64)
        self.touched = np.zeros(len(links), dtype=np.int64)
        self.dirty = np.zeros(len(links), dtype=np.int64)
        self.members = np.zeros(p.rows, dtype=np.int64)
        self.changed = np.zeros(p.rows, dtype=np.int64)

    @property
    def now(self) -> float:
        """Seconds reached."""
        return float(self.clock[0])

    @property
    def events(self) -> int:
        """Events so far."""
        return int(self.numbers[kernel.EVENTS])

    def begin(self) -> None:
        """Start every row that waits for nothing."""
        self.queue[: len(self.rows)] = np.arange(len(self.rows))
        self.rows["queued"] = 1
        kernel.start_queued(len(self.rows), self.now, *self._starting())
        self.resolve()

    def take_over(
        self,
        counts: dict[str, IntArray],
        finish: FloatArray,
        gates: dict[str, IntArray],
        moving: tuple[IntArray, FloatArray],
        pending: list[tuple[float, IntArray]],
    ) -> None:
        """Go on from a state of the batch solver.

        Parameters
        ----------
        counts : ``started``, ``drained`` and ``arrived`` of every row
        finish : when rows that are over arrived
        gates : ``level`` and ``short`` of every gate
        moving : active rows and their remaining bytes
        pending : moments of arrival and the rows that arrive
        """
        for name, values in counts.items():
            self.rows[name] = values
        self.rows["finish"] = finish
        for name, values in gates.items():
            self.gates[name] = values
        over = self.rows["arrived"] >= self.rows["repeat"]
        self.unfinished -= np.bincount(self.rows["job"][over], minlength=len(self.unfinished))
        times = np.concatenate([np.full(len(rows), time) for time, rows in pending] or [np.zeros(0)])
        order = np.argsort(times, kind="stable")
        if len(order) > len(self.heap):
            self.heap = np.zeros(2 * len(order), dtype=ARRIVAL)
        self.heap["time"][: len(order)] = times[order]
        if len(order):
            self.heap["row"][: len(order)] = np.concatenate([rows for _, rows in pending])[order]
        self.numbers[kernel.HEAP] = len(order)
        kernel.resume(
            *moving, self.rows, self.links, self.hops, self.on_link, self.dirty, self.numbers, self.now
        )
        self.resolve()

    def hand_back(self) -> tuple[IntArray, FloatArray, list[tuple[float, IntArray]]]:
        """Active rows, their remaining bytes now, and arrivals to come."""
        active, rates = self.rates()
        rows = self.rows[active]
        remaining = np.maximum(rows["remaining"] - rates * (self.now - rows["since"]), 0.0)
        heap = self.heap[: self.numbers[kernel.HEAP]]
        order = np.lexsort((heap["row"], heap["time"]))
        times, first = np.unique(heap["time"][order], return_index=True)
        parts = np.split(heap["row"][order], first[1:]) if len(times) else []
        return active, remaining, list(zip(times.tolist(), parts, strict=True))

    def _starting(self) -> tuple[np.ndarray, ...]:
        return (
            self.rows,
            self.links,
            self.hops,
            self.on_link,
            self.gates,
            self.waits,
            self.row_gates,
            self.member_rows,
            self.waiter_rows,
            self.unfinished,
            self.heap,
            self.queue,
            self.dirty,
            self.numbers,
        )

    def resolve(self) -> None:
        """New rates after rows started or capacities changed."""
        kernel.resolve(
            self.rows,
            self.links,
            self.hops,
            self.on_link,
            self.ends,
            self.minima,
            self.tops,
            self.order,
            self.members,
            self.touched,
            self.dirty,
            self.changed,
            self.numbers,
            self.now,
        )

    def set_capacity(self, link: int, bytes_per_second: float) -> None:
        """Change a link from now on."""
        self.links["capacity"][link] = bytes_per_second
        if not self.links["dirty"][link]:
            self.links["dirty"][link] = 1
            self.dirty[self.numbers[kernel.DIRTY]] = link
            self.numbers[kernel.DIRTY] += 1
        # Everything is solved again: flows elsewhere may now be held by this link.
        self.numbers[kernel.CHANGED] = NO_LIMIT // 16
        self.resolve()

    def next_event(self) -> float:
        """When the next transfer drains or arrives; infinity when nothing moves."""
        return float(kernel.next_moment(self.tops, self.heap, self.numbers))

    def advance(self, until: float = np.inf, most_events: int = NO_LIMIT, watch: int = -1) -> int:
        """Run to a moment, to the end of a job, to a stall, or to the end of a repeat of row ``watch``.

        The answer is the kernel's word for which.
        """
        while True:
            word = int(
                kernel.advance(
                    until,
                    self.clock,
                    self.rows,
                    self.links,
                    self.hops,
                    self.on_link,
                    self.gates,
                    self.waits,
                    self.row_gates,
                    self.member_rows,
                    self.waiter_rows,
                    self.unfinished,
                    self.heap,
                    self.ends,
                    self.minima,
                    self.tops,
                    self.queue,
                    self.order,
                    self.members,
                    self.touched,
                    self.dirty,
                    self.changed,
                    self.numbers,
                    most_events,
                    watch,
                )
            )
            if word != kernel.HEAP_FULL:
                return word
            self.heap = np.concatenate([self.heap, np.zeros(len(self.heap), dtype=ARRIVAL)])

    def rates(self) -> tuple[np.ndarray, FloatArray]:
        """Active rows and their rates."""
        active = np.flatnonzero(self.rows["active"])
        return active, self.rows["rate"][active]
