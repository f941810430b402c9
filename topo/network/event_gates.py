"""Compiled: which rows may start after an event.

A gate rises when the last of its short members has come; the rows that wait for it are queued, and start when all
their waits are over.
"""

from __future__ import annotations

from typing import Any

from topo.network.compiling import inlined, jit
from topo.network.event_rates import KEPT_SLOT, activate, clear_kept, come_back
from topo.network.event_times import KEPT, NEXT, QUEUED, ROOM, send


@jit
def members_short(gate: Any, rows: Any, lists: Any) -> int:
    """Members of a gate that have come no further than its level."""
    short = 0
    for k in range(gate.member_first, gate.member_last):
        row = rows[lists[k]]
        count = row.arrived if gate.arrival else row.drained
        if count == gate.level:
            short += 1
    return short


@inlined
def count_up(
    first: int, last: int, was: int, rows: Any, gates: Any, lists: Any, queue: Any, queued: int
) -> int:
    """A member of gates came one further than ``was``: raise them where it was the last, and queue their waiters."""
    for k in range(first, last):
        gate = gates[lists[k]]
        if gate.level != was:
            continue
        gate.short -= 1
        if gate.short > 0:
            continue
        alone = gate.member_last - gate.member_first == 1
        while gate.short == 0 and gate.level < gate.repeat:
            gate.level += 1
            if gate.level < gate.repeat:
                gate.short = 1 if alone else members_short(gate, rows, lists)
        for w in range(gate.waiter_first, gate.waiter_last):
            waiter = lists[w]
            if rows[waiter].queued == 0:
                rows[waiter].queued = 1
                queue[queued] = waiter
                queued += 1
    return queued


@inlined
def ready(row: Any, gates: Any, waits: Any) -> bool:
    """Whether the next repeat of a row may start."""
    started = row.drained
    may: bool = row.slot < 0 and started < row.repeat
    if may:
        for k in range(row.wait_first, row.wait_last):
            wait = waits[k]
            gate = gates[wait.gate]
            if gate.level < min(max(started - wait.lag + 1, 0), gate.repeat):
                may = False
                break
    return may


@jit
def start_queued(
    now: float, rows: Any, flows: Any, links: Any, hops: Any, places: Any, gates: Any, waits: Any, lists: Any,
    arrivals: Any, delays: Any, fresh: Any, free: Any, queue: Any, numbers: Any,
) -> bool:  # fmt: skip
    """Start every queued row that may; empty ones drain at once.  False when there is no room for their arrivals."""
    k, queued = numbers[NEXT], numbers[QUEUED]
    while k < queued:
        i = queue[k]
        row = rows[i]
        while ready(row, gates, waits):
            if row.bytes > 0.0:
                if numbers[KEPT] == 1 and row.slot > KEPT_SLOT:
                    clear_kept(rows, flows, links, hops, places, free, numbers)
                if numbers[KEPT] == 1:
                    come_back(row, now, flows, numbers)
                else:
                    activate(i, row, now, flows, links, hops, places, fresh, free, numbers)
                break
            if numbers[ROOM] == 0:
                numbers[NEXT], numbers[QUEUED] = k, queued
                return False
            was = row.drained
            row.drained = was + 1
            queued = count_up(row.departures, row.arrivals, was, rows, gates, lists, queue, queued)
            numbers[ROOM] -= 1
            send(i, row.delay, now, arrivals, delays, numbers)
        row.queued = 0
        k += 1
        if k > len(queue) // 2:
            # Make room: what is left moves to the front.
            for j in range(k, queued):
                queue[j - k] = queue[j]
            queued -= k
            k = 0
    numbers[NEXT], numbers[QUEUED] = 0, 0
    return True
