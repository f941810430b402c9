"""Compiled: which rows may start after an event.

A gate rises when the last of its short members has come; the rows that wait for it are queued, and start when all
their waits are over.
"""

from __future__ import annotations

from typing import Any

from topo.network.compiling import jit
from topo.network.event_rates import activate
from topo.network.event_times import NEXT, NUMBERS, OVER, QUEUED, ROOM, send


@jit
def raise_gate(g: int, rows: Any, gates: Any, lists: Any, queue: Any, queued: int) -> int:
    """A gate whose last short member has come: raise its level and queue its waiters."""
    first, last = gates[g].member_first, gates[g].member_last
    while gates[g].short == 0 and gates[g].level < gates[g].repeat:
        gates[g].level += 1
        if gates[g].level == gates[g].repeat:
            break
        short = 0
        for k in range(first, last):
            count = rows[lists[k]].arrived if gates[g].arrival else rows[lists[k]].drained
            if count == gates[g].level:
                short += 1
        gates[g].short = short
    for k in range(gates[g].waiter_first, gates[g].waiter_last):
        row = lists[k]
        if rows[row].queued == 0:
            rows[row].queued = 1
            queue[queued] = row
            queued += 1
    return queued


@jit
def drain(i: int, rows: Any, gates: Any, lists: Any, queue: Any, queued: int) -> int:
    """A repeat of a row has left; queue what may start now."""
    was = rows[i].drained
    rows[i].drained = was + 1
    for k in range(rows[i].departures, rows[i].arrivals):
        g = lists[k]
        if gates[g].level == was:
            gates[g].short -= 1
            if gates[g].short == 0:
                queued = raise_gate(g, rows, gates, lists, queue, queued)
    return queued


@jit
def arrive(
    i: int, now: float, rows: Any, gates: Any, lists: Any, queue: Any, queued: int, numbers: Any
) -> int:
    """A repeat of a row has arrived; queue what may start now."""
    was = rows[i].arrived
    rows[i].arrived = was + 1
    if was + 1 == rows[i].repeat:
        rows[i].finish = now
        job = NUMBERS + rows[i].job
        numbers[job] -= 1
        if numbers[job] == 0:
            numbers[OVER] += 1
    for k in range(rows[i].arrivals, rows[i].end):
        g = lists[k]
        if gates[g].level == was:
            gates[g].short -= 1
            if gates[g].short == 0:
                queued = raise_gate(g, rows, gates, lists, queue, queued)
    return queued


@jit
def ready(i: int, rows: Any, gates: Any, waits: Any) -> bool:
    """Whether the next repeat of a row may start."""
    started = rows[i].drained
    if rows[i].slot >= 0 or started >= rows[i].repeat:
        return False
    for k in range(rows[i].wait_first, rows[i].wait_last):
        g = waits[k].gate
        need = min(max(started - waits[k].lag + 1, 0), gates[g].repeat)
        if gates[g].level < need:
            return False
    return True


@jit
def start_queued(
    now: float, rows: Any, flows: Any, links: Any, hops: Any, places: Any, gates: Any, waits: Any, lists: Any,
    arrivals: Any, delays: Any, dirty: Any, fresh: Any, free: Any, queue: Any, numbers: Any,
) -> bool:  # fmt: skip
    """Start every queued row that may; empty ones drain at once.  False when there is no room for their arrivals."""
    k, queued = numbers[NEXT], numbers[QUEUED]
    while k < queued:
        i = queue[k]
        while ready(i, rows, gates, waits):
            if rows[i].bytes > 0.0:
                activate(i, rows[i].bytes, now, rows, flows, links, hops, places, dirty, fresh, free, numbers)
                break
            if numbers[ROOM] == 0:
                numbers[NEXT], numbers[QUEUED] = k, queued
                return False
            queued = drain(i, rows, gates, lists, queue, queued)
            if rows[i].delay >= 0:
                send(i, rows[i].delay, now, arrivals, delays, numbers)
            else:
                queued = arrive(i, now, rows, gates, lists, queue, queued, numbers)
        rows[i].queued = 0
        k += 1
        if k > len(queue) // 2:
            # Make room: what is left moves to the front.
            for j in range(k, queued):
                queue[j - k] = queue[j]
            queued -= k
            k = 0
    numbers[NEXT], numbers[QUEUED] = 0, 0
    return True
