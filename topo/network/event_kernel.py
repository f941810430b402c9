"""Compiled: the loop over events.  The records are explained in :mod:`topo.network.event_records`."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from numba.np.numpy_support import carray

from topo.network.compiling import digest, jit
from topo.network.event_gates import arrive, drain, start_queued
from topo.network.event_rates import deactivate, resolve
from topo.network.event_records import ARRIVAL, DELAY, FLOW, GATE, HOP, LINK, PLACE, ROW, WAIT
from topo.network.event_times import (
    ACTIVE,
    BLOCK,
    DIRTY,
    EVENTS,
    FRESH,
    HEAP,
    HIGH,
    OVER,
    QUEUED,
    ROOM,
    SOURCES,
    ended,
    next_moment,
    next_queue,
    release,
    send,
    slack,
)

REACHED, FINISHED, STALLED, NO_ROOM, WATCHED = 0, 1, 2, 3, 4
"""Words for why the kernel stopped."""
FILES = (
    "compiling.py",
    "event_gates.py",
    "event_kernel.py",
    "event_rates.py",
    "event_records.py",
    "event_times.py",
)
"""All that is compiled, or laid out, into the entry."""


@jit
def leave(
    now: float, limit: float, rows: Any, flows: Any, ends: Any, minima: Any, tops: Any, links: Any, hops: Any,
    places: Any, gates: Any, lists: Any, arrivals: Any, delays: Any, dirty: Any, gone: Any, free: Any,
    queue: Any, numbers: Any,
) -> None:  # fmt: skip
    """What has drained by now leaves its links, and what has arrived has arrived."""
    queued = 0
    for k in range(ended(limit, numbers[HIGH], ends, minima, tops, gone)):
        s = gone[k]
        i = flows[s].row
        deactivate(s, rows, flows, links, hops, places, dirty, free, numbers)
        queued = drain(i, rows, gates, lists, queue, queued)
        if rows[i].delay >= 0:
            send(i, rows[i].delay, now, arrivals, delays, numbers)
        else:
            queued = arrive(i, now, rows, gates, lists, queue, queued, numbers)
        if rows[i].queued == 0 and rows[i].drained < rows[i].repeat:
            rows[i].queued = 1
            queue[queued] = i
            queued += 1
    while numbers[HEAP] > 0 and delays[delays[0].heap].time <= limit:
        delay = delays[0].heap
        entry = delays[delay].head
        while entry >= 0 and arrivals[entry].time <= limit:
            following = arrivals[entry].next
            queued = arrive(arrivals[entry].row, now, rows, gates, lists, queue, queued, numbers)
            release(entry, arrivals, numbers)
            entry = following
        delays[delay].head = entry
        next_queue(delays, arrivals, numbers)
    numbers[QUEUED] = queued


SIGNATURE = "int64(float64, int64, int64, CPointer(voidptr), CPointer(int64))"
ARRAYS = (
    "clock", "numbers", "ends", "lists", "per_slot", "per_link", "queue", "rows", "flows", "links", "hops",
    "places", "gates", "waits", "arrivals", "delays",
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
        per_link = carray(p[5], (3, n[9]), np.int32)
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
        numbers[SOURCES] = sources
        slots = len(flows)
        blocks = (slots + BLOCK - 1) // BLOCK
        own, minima, tops = ends[:slots], ends[slots : slots + blocks], ends[slots + blocks :]
        order, touched, dirty = per_link[0], per_link[1], per_link[2]
        members, fresh, free = per_slot[0], per_slot[1], per_slot[2]
        watched = rows[watch].drained if watch >= 0 else 0
        word = REACHED
        while True:
            now = clock[0]
            if numbers[QUEUED] > 0 and not start_queued(
                now, rows, flows, links, hops, places, gates, waits, lists,
                arrivals, delays, dirty, fresh, free, queue, numbers,
            ):  # fmt: skip
                word = NO_ROOM
                break
            if numbers[DIRTY] + numbers[FRESH] > 0:
                resolve(
                    now, flows, links, hops, places, own, minima, tops, order, touched, dirty, members, fresh,
                    numbers,
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
            if numbers[ROOM] < numbers[ACTIVE]:
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
