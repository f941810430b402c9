"""Compiled: the loop over events.  The records are explained in :mod:`topo.network.event_records`."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from numba.np.numpy_support import carray

from topo.network.compiling import digest, jit
from topo.network.event_gates import count_up, start_queued
from topo.network.event_rates import KEPT_SLOT, deactivate, resolve
from topo.network.event_records import (
    ARRIVAL,
    DELAY,
    FINISHED,
    FLOW,
    GATE,
    HOP,
    LINK,
    NO_ROOM,
    PLACE,
    REACHED,
    ROW,
    SHARE,
    STALLED,
    WAIT,
    WATCHED,
)
from topo.network.event_times import (
    BLOCK,
    DIRTY,
    EVENTS,
    FREE,
    FRESH,
    GONE,
    HEAP,
    HIGH,
    KEPT,
    NUMBERS,
    OVER,
    QUEUED,
    ROOM,
    SOURCES,
    SPARE,
    ended,
    next_moment,
    next_queue,
    send,
    slack,
)

FILES = (
    "compiling.py",
    "event_gates.py",
    "event_kernel.py",
    "event_rates.py",
    "event_records.py",
    "event_times.py",
    "moments.py",
)
"""All that is compiled, or laid out, into the entry."""


@jit
def leave(
    now: float, limit: float, rows: Any, flows: Any, ends: Any, minima: Any, tops: Any, links: Any, hops: Any,
    places: Any, gates: Any, lists: Any, arrivals: Any, delays: Any, dirty: Any, gone: Any, free: Any,
    queue: Any, numbers: Any,
) -> None:  # fmt: skip
    """What has drained by now leaves its links, and what has arrived has arrived."""
    queued, room = 0, numbers[ROOM]
    leaving = ended(limit, numbers[HIGH], ends, minima, tops, gone)
    # When all leave together the same rows may well come back together: their places are kept.
    if leaving > 0 and leaving == numbers[HIGH]:
        numbers[KEPT] = 1
    numbers[GONE] += leaving
    for k in range(leaving):
        flow = flows[gone[k]]
        i = flow.row
        row = rows[i]
        if numbers[KEPT] == 1:
            row.slot = KEPT_SLOT - gone[k]
        else:
            row.slot = -1
            deactivate(gone[k], flow, links, hops, places, dirty, free, numbers)
        was = row.drained
        row.drained = was + 1
        queued = count_up(row.departures, row.arrivals, was, rows, gates, lists, queue, queued)
        send(i, row.delay, now, arrivals, delays, numbers)
        if row.queued == 0 and row.drained < row.repeat:
            row.queued = 1
            queue[queued] = i
            queued += 1
    room -= leaving
    if numbers[KEPT] == 1:
        numbers[FREE] = numbers[HIGH]
    elif numbers[FREE] == numbers[HIGH]:
        numbers[HIGH], numbers[FREE] = 0, 0
    while numbers[HEAP] > 0 and delays[delays[0].heap].time <= limit:
        delay = delays[delays[0].heap]
        entry = delay.head
        while entry >= 0:
            arrival = arrivals[entry]
            if arrival.time > limit:
                break
            row = rows[arrival.row]
            was = row.arrived
            row.arrived = was + 1
            if was + 1 == row.repeat:
                row.finish = now
                numbers[NUMBERS + row.job] -= 1
                if numbers[NUMBERS + row.job] == 0:
                    numbers[OVER] += 1
            queued = count_up(row.arrivals, row.end, was, rows, gates, lists, queue, queued)
            following = arrival.next
            arrival.row = -1
            arrival.next = numbers[SPARE]
            numbers[SPARE] = entry
            room += 1
            entry = following
        delay.head = entry
        next_queue(delays, arrivals, numbers)
    numbers[QUEUED] = queued
    numbers[ROOM] = room


SIGNATURE = "int64(float64, int64, int64, CPointer(voidptr), CPointer(int64))"
ARRAYS = (
    "clock", "numbers", "ends", "lists", "per_slot", "per_link", "queue", "rows", "flows", "links", "hops",
    "places", "gates", "waits", "arrivals", "delays", "heap",
)  # fmt: skip
"""The arrays of the kernel, in the order of their addresses."""


def bound_to(sources: int) -> Any:
    """The entry of the kernel, kept on disk for these sources."""

    @nb.cfunc(SIGNATURE, error_model="numpy", cache=True)
    def advance(until: float, most_events: int, watch: int, p: Any, n: Any) -> int:
        """Run to ``until``, to the end of a job, to a stall, or until there is no room for arrivals.

        Also stops when a repeat of row ``watch`` has drained; -1 watches none.  What earlier calls left undone, rows
        to start and rates to solve again, comes first.
        """
        clock = carray(p[0], (n[0],), np.float64)
        numbers = carray(p[1], (n[1],), np.int64)
        ends = carray(p[2], (n[2],), np.float64)
        lists = carray(p[3], (n[3],), np.int32)
        per_slot = carray(p[4], (3, n[8]), np.int32)
        per_link = carray(p[5], (2, n[9]), np.int32)
        queue = carray(p[6], (n[6],), np.int32)
        rows = carray(p[7], (n[7],), ROW)
        flows = carray(p[8], (n[8],), FLOW)
        links = carray(p[9], (n[9],), LINK)
        hops = carray(p[10], (n[10],), HOP)
        places = carray(p[11], (n[11],), PLACE)
        gates = carray(p[12], (n[12],), GATE)
        waits = carray(p[13], (n[13],), WAIT)
        arrivals = carray(p[14], (n[14],), ARRIVAL)
        delays = carray(p[15], (n[15],), DELAY)
        heap = carray(p[16], (n[16],), SHARE)
        numbers[SOURCES] = sources
        slots = len(flows)
        blocks = (slots + BLOCK - 1) // BLOCK
        own, minima, tops = ends[:slots], ends[slots : slots + blocks], ends[slots + blocks :]
        touched, dirty = per_link[0], per_link[1]
        members, fresh, free = per_slot[0], per_slot[1], per_slot[2]
        watched = rows[watch].drained if watch >= 0 else 0
        word = REACHED
        while True:
            now = clock[0]
            if numbers[QUEUED] > 0 and not start_queued(
                now, rows, flows, links, hops, places, gates, waits, lists,
                arrivals, delays, fresh, free, queue, numbers,
            ):  # fmt: skip
                word = NO_ROOM
                break
            if numbers[DIRTY] + numbers[FRESH] + numbers[GONE] + numbers[KEPT] > 0:
                resolve(
                    now, rows, flows, links, hops, places, own, minima, tops, heap, touched, dirty, members, fresh,
                    free, numbers,
                )  # fmt: skip
            if numbers[OVER] > 0:
                numbers[OVER] = 0
                word = FINISHED
                break
            if watch >= 0 and rows[watch].drained != watched:
                word = WATCHED
                break
            if numbers[EVENTS] >= most_events:
                break
            if numbers[ROOM] < numbers[HIGH] - numbers[FREE]:
                word = NO_ROOM
                break
            now = next_moment(tops, delays, numbers)
            if now > until + slack(until, clock[1]):
                clock[0] = max(clock[0], until)
                break
            if now == np.inf:
                word = STALLED
                break
            clock[0] = now = min(now, until)
            numbers[EVENTS] += 1
            leave(
                now, now + slack(now, clock[1]), rows, flows, own, minima, tops, links, hops, places, gates,
                lists, arrivals, delays, dirty, members, free, queue, numbers,
            )  # fmt: skip
        clock[2] = next_moment(tops, delays, numbers)
        return word

    return advance.ctypes


advance = bound_to(digest(*FILES))
