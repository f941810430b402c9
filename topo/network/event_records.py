"""Records of the event solver: what its kernel knows of rows, flows, links, gates and moments.

A *row* is one of the Program; a *flow* is a row while it drains, in one of the *slots*, so that what the kernel
touches at every event lies close together.  A *hop* is a link of a row; the *places* of a link hold the hops of the
flows that cross it now.  Rows of one latency arrive in the order in which they drain, so the arrivals under way are
one queue for each *delay*.
"""

from __future__ import annotations

import numpy as np

from topo.errors import NetworkError
from topo.network.program import Program, group

ROW = np.dtype(
    [
        ("bytes", "f8"),
        ("finish", "f8"),
        ("repeat", "i8"),
        ("drained", "i8"),
        ("arrived", "i8"),
        ("first", "i4"),  # hops
        ("last", "i4"),
        ("wait_first", "i4"),  # waits
        ("wait_last", "i4"),
        ("departures", "i4"),  # lists: gates that count its departures, up to ``arrivals``
        ("arrivals", "i4"),  # lists: gates that count its arrivals, up to ``end``
        ("end", "i4"),
        ("delay", "i4"),
        ("job", "i4"),
        ("slot", "i4"),  # -1: it does not drain now
        ("queued", "i8"),
    ]
)
FLOW = np.dtype(
    [
        ("remaining", "f8"),
        ("rate", "f8"),
        ("since", "f8"),
        ("new_rate", "f8"),
        ("stamp", "i8"),
        ("row", "i4"),  # -1: the slot is free
        ("first", "i4"),
        ("last", "i4"),
        ("bottleneck", "i4"),
        ("new_bottleneck", "i4"),
        ("unused", "i4"),
    ]
)
LINK = np.dtype(
    [
        ("capacity", "f8"),
        ("used", "f8"),  # load of all flows
        ("level", "f8"),  # rate of the flows bound here
        ("free", "f8"),  # what flows outside the set that is solved leave
        ("inside_weight", "f8"),  # weight of the set
        ("left", "f8"),  # the same two while the filling goes on
        ("weight", "f8"),
        ("low", "f8"),  # level at which the filling bound flows here
        ("fastest", "f8"),  # highest rate in the set
        ("stamp", "i8"),
        ("first", "i4"),  # places
        ("count", "i4"),
        ("bound", "i4"),  # flows outside the set that are bound here
        ("inside", "i4"),
        ("unfrozen", "i4"),
        ("dirty", "i4"),  # 1: flows came or went; 2: the capacity changed
    ]
)
HOP = np.dtype([("weight", "f8"), ("link", "i4"), ("place", "i4")])
PLACE = np.dtype([("slot", "i4"), ("hop", "i4")])
GATE = np.dtype(
    [
        ("level", "i8"),
        ("repeat", "i8"),
        ("short", "i4"),
        ("arrival", "i4"),
        ("member_first", "i4"),  # lists
        ("member_last", "i4"),
        ("waiter_first", "i4"),  # lists
        ("waiter_last", "i4"),
    ]
)
WAIT = np.dtype([("lag", "i8"), ("gate", "i8")])
ARRIVAL = np.dtype([("time", "f8"), ("row", "i4"), ("next", "i4")])
DELAY = np.dtype(
    [("latency", "f8"), ("time", "f8"), ("head", "i4"), ("tail", "i4"), ("heap", "i4"), ("unused", "i4")]
)
SHARE = np.dtype([("share", "f8"), ("link", "i8")])
REACHED, FINISHED, STALLED, NO_ROOM, WATCHED = 0, 1, 2, 3, 4
"""Words for why the kernel stopped."""
NO_LIMIT = 2**63 - 1
MOST = 2**31 - 1
"""Most rows, hops, gates or waits: positions are kept in 32 bits."""


def require_positions(program: Program) -> None:
    """Refuse a program with more of anything than positions can name.

    Raises
    ------
    NetworkError
    """
    members, waits = len(program.member_row), len(program.wait_gate)
    for what, number in (
        ("hops", len(program.route_link)),
        ("memberships of gates and waits", 2 * members + waits),
        ("transfers and repeats under way", 2 * program.rows),
    ):
        if number > MOST:
            raise NetworkError(
                f"the program has {number:,} {what}, the event solver takes {MOST:,}",
                "fold it, or simulate fewer ranks",
            )


def rows_and_gates(program: Program, job_of_row: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Records of rows and gates, and the lists that they point into."""
    p = program
    rows = np.zeros(p.rows, dtype=ROW)
    rows["bytes"], rows["repeat"] = p.bytes, p.repeat
    rows["first"], rows["last"] = p.route_pointer[:-1], p.route_pointer[1:]
    rows["wait_first"], rows["wait_last"] = p.wait_pointer[:-1], p.wait_pointer[1:]
    rows["job"], rows["slot"] = job_of_row, -1
    gates = np.zeros(p.gates, dtype=GATE)
    gates["repeat"], gates["arrival"] = p.gate_repeat, p.gate_on_arrival
    members, waiters = len(p.member_row), len(p.wait_gate)
    gates["member_first"], gates["member_last"] = (
        members + p.member_pointer[:-1],
        members + p.member_pointer[1:],
    )
    gates["short"] = np.diff(p.member_pointer)
    waiter_pointer, waiter_order = group(p.wait_gate, p.gates)
    gates["waiter_first"] = 2 * members + waiter_pointer[:-1]
    gates["waiter_last"] = 2 * members + waiter_pointer[1:]
    # Gates of each row: those that count departures first.
    gate = np.repeat(np.arange(p.gates), np.diff(p.member_pointer))
    arrival = p.gate_on_arrival[gate].astype(np.int64)
    pointer, order = group(2 * p.member_row + arrival, 2 * p.rows)
    rows["departures"], rows["arrivals"], rows["end"] = pointer[:-1:2], pointer[1::2], pointer[2::2]
    lists = np.empty(2 * members + waiters, dtype=np.int32)
    lists[:members] = gate[order]
    lists[members : 2 * members] = p.member_row
    lists[2 * members :] = np.repeat(np.arange(p.rows), np.diff(p.wait_pointer))[waiter_order]
    return rows, gates, lists


def links_and_hops(program: Program) -> tuple[np.ndarray, np.ndarray]:
    """Records of links and hops."""
    p = program
    hops = np.zeros(len(p.route_link), dtype=HOP)
    hops["weight"], hops["link"] = p.route_weight, p.route_link
    links = np.zeros(len(p.capacity), dtype=LINK)
    links["capacity"], links["stamp"] = p.capacity, -1
    crossing = np.bincount(p.route_link, minlength=len(p.capacity))
    links["first"] = np.cumsum(crossing) - crossing
    return links, hops


def delays_of(program: Program, rows: np.ndarray) -> np.ndarray:
    """Records of the different latencies; each row learns its own."""
    latency, which = np.unique(program.latency, return_inverse=True)
    rows["delay"] = which
    delays = np.zeros(len(latency), dtype=DELAY)
    delays["latency"], delays["head"], delays["tail"] = latency, -1, -1
    return delays
