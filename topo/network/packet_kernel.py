"""The compiled kernel of the packet engine: plain loops over records, for numba.

The records are those of :mod:`topo.network.packet_records`; :mod:`topo.network.packet` explains the model.  All
events of one moment are taken first and links decide afterwards, so that no decision hangs on the order of
simultaneous events.  Events stand in a calendar: a wheel of short ticks, each sorted when its time comes, and a
heap behind it.  Every link and every queue has an event of its own; others come from a pool.

The arrays come in as bare pointers: numba counts references to arrays that Python owns whenever they are handed
on, which would take most of the time.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numba as nb
import numpy as np

from topo.network.compiling import digest, jit
from topo.network.packet_lists import (
    append,
    enqueue,
    has_credit,
    new_packet,
    pop_far,
    post,
    push_far,
    release,
    soil,
    sort_by_time,
    wake,
)
from topo.network.packet_records import (
    ARRIVE,
    CHANNEL,
    DEPART,
    DIRTY,
    EVENT,
    EVENT_LIST,
    EVENTS,
    FINISHED,
    FRESH,
    FULL,
    GATE,
    HOP,
    HOPS,
    JOIN,
    LINK,
    NEVER,
    NOW,
    PACKET,
    PACKET_LIST,
    PART,
    POOL_FULL,
    QUEUE,
    REPEAT,
    ROW,
    SHIFT,
    SOURCES,
    STREAM,
    STUCK,
    UNFINISHED,
    WAIT,
    WAKE,
    WHEEL,
)
from topo.network.packet_rows import complete, join, leave, progress, ready, start


@jit
def run(packet: float, at_address: Any, length_of: Any, sources: int) -> int:
    """Run until every row has arrived, on the arrays at ``at_address`` of the lengths ``length_of``."""
    rows = nb.carray(at_address[0], (length_of[0],), ROW)
    links = nb.carray(at_address[1], (length_of[1],), LINK)
    channels = nb.carray(at_address[2], (length_of[2],), CHANNEL)
    slots = nb.carray(at_address[3], (length_of[3],), np.int64)
    queues = nb.carray(at_address[4], (length_of[4],), QUEUE)
    streams = nb.carray(at_address[5], (length_of[5],), STREAM)
    hops = nb.carray(at_address[6], (length_of[6],), HOP)
    repeats = nb.carray(at_address[7], (length_of[7],), REPEAT)
    joins = nb.carray(at_address[8], (length_of[8],), JOIN)
    parts = nb.carray(at_address[9], (length_of[9],), PART)
    inputs = nb.carray(at_address[10], (length_of[10],), np.int64)
    outputs = nb.carray(at_address[11], (length_of[11],), np.int64)
    gates = nb.carray(at_address[12], (length_of[12],), GATE)
    waits = nb.carray(at_address[13], (length_of[13],), WAIT)
    row_gates = nb.carray(at_address[14], (length_of[14],), np.int64)
    member_rows = nb.carray(at_address[15], (length_of[15],), np.int64)
    waiter_rows = nb.carray(at_address[16], (length_of[16],), np.int64)
    raised = nb.carray(at_address[17], (length_of[17],), np.int64)
    dirty = nb.carray(at_address[18], (length_of[18],), np.int64)
    packets = nb.carray(at_address[19], (length_of[19],), PACKET)
    events = nb.carray(at_address[20], (length_of[20],), EVENT)
    fresh = nb.carray(at_address[21], (length_of[21],), np.int64)
    wheel = nb.carray(at_address[22], (length_of[22],), WHEEL)
    current = nb.carray(at_address[23], (length_of[23],), np.int64)
    heap = nb.carray(at_address[24], (length_of[24],), np.int64)
    numbers = nb.carray(at_address[25], (length_of[25],), np.int64)
    numbers[SOURCES] = sources
    first_queue = len(links)
    first_other = first_queue + len(queues)
    shift, mask = numbers[SHIFT], len(wheel) - 1
    now, tick, at, length, near, far, sent = 0, 0, 0, 0, 0, 0, 0
    for r in range(len(rows)):
        if ready(r, rows, gates, waits):
            start(r, rows, streams, queues, links, dirty, events, fresh, numbers)
    while True:
        # What happens at this moment.
        while at < length and events[current[at]].time == now:
            e = current[at]
            at += 1
            numbers[EVENTS] += 1
            if e < first_queue:
                links[e].timed = 0
                if links[e].wake_at == now:
                    links[e].wake_at = NEVER
                soil(e, links, dirty, numbers)
            elif e < first_other:
                q = e - first_queue
                m = queues[q].link
                append(q, m, queues, links)
                if links[m].free_at > now:
                    wake(m, links[m].free_at, links, events, fresh, numbers)
                else:
                    soil(m, links, dirty, numbers)
            else:
                events[e].next = numbers[EVENT_LIST]
                numbers[EVENT_LIST] = e
                m = events[e].of
                if events[e].kind == WAKE:
                    if links[m].wake_at == now:
                        links[m].wake_at = NEVER
                    soil(m, links, dirty, numbers)
                else:
                    progress(
                        events[e].kind,
                        m,
                        rows,
                        gates,
                        waits,
                        row_gates,
                        member_rows,
                        waiter_rows,
                        raised,
                        streams,
                        queues,
                        links,
                        dirty,
                        events,
                        fresh,
                        numbers,
                    )
        # Links decide.
        for i in range(numbers[DIRTY]):
            m = dirty[i]
            links[m].dirty = 0
            if links[m].free_at > now:
                wake(m, links[m].free_at, links, events, fresh, numbers)
                continue
            if links[m].parked > 0:
                for c in range(links[m].channel_first, links[m].channel_last):
                    if channels[c].head >= 0 and has_credit(c, channels, slots, now):
                        q = channels[c].head
                        channels[c].head = queues[q].next
                        links[m].parked -= 1
                        append(q, m, queues, links)
            while links[m].head >= 0 and links[m].free_at <= now:
                q = links[m].head
                links[m].head = queues[q].next
                c = queues[q].channel
                if not has_credit(c, channels, slots, now):
                    queues[q].next = -1
                    if channels[c].head < 0:
                        channels[c].head = q
                    else:
                        queues[channels[c].tail].next = q
                    channels[c].tail = q
                    links[m].parked += 1
                    continue
                channels[c].credits -= 1
                sent += 1
                part = -1
                if queues[q].injection == 1:
                    p = -1
                    s = queues[q].head
                    hop, repeat = streams[s].hop, streams[s].repeat
                    streams[s].left -= 1
                    short = 0
                    following = streams[s].next
                    if streams[s].left == 0:
                        short = streams[s].short
                    elif following >= 0:
                        streams[s].next = -1
                        streams[queues[q].tail].next = s
                        queues[q].tail = s
                    else:
                        following = s
                else:
                    p = queues[q].head
                    s = -1
                    hop, repeat, short = packets[p].hop, packets[p].repeat, packets[p].short
                    part = packets[p].part
                    following = packets[p].next
                queues[q].head = following
                r = hops[hop].row
                size, wide = packet, links[m].packet_time
                if short == 1:
                    size = rows[r].short_bytes
                    wide = np.int64(np.ceil(size * links[m].per_byte))
                free_at = now + wide
                links[m].bytes += size
                links[m].free_at = free_at
                # What it leaves behind.
                if s >= 0:
                    if streams[s].left == 0:
                        post(DEPART, r, free_at, events, fresh, numbers)
                elif part >= 0:
                    leave(part, free_at, joins, parts, inputs, links, channels, slots, events, fresh, numbers)
                else:
                    back = queues[q].back
                    heard = free_at + channels[back].late
                    release(back, heard, channels, slots)
                    if channels[back].head >= 0:
                        behind = channels[back].link
                        wake(behind, max(heard, links[behind].free_at), links, events, fresh, numbers)
                # Where it comes.
                if hops[hop].last == 1:
                    end = free_at + links[m].latency
                    rows[r].received += size
                    release(c, end + links[m].latency, channels, slots)
                    first = rows[r].repeat_first
                    if first < 0:  # one way only: packets come in order
                        rows[r].landed += 1
                        if rows[r].landed == rows[r].expected:
                            rows[r].landed = 0
                            post(ARRIVE, r, end, events, fresh, numbers)
                    else:
                        repeats[first + repeat].landed += 1
                        repeats[first + repeat].time = max(repeats[first + repeat].time, end)
                        if repeats[first + repeat].landed == rows[r].expected:
                            complete(r, rows, repeats, events, fresh, numbers)
                else:
                    ahead = now + hops[hop].delay
                    if short == 1:
                        ahead = now + links[m].latency
                        ahead += max(0, wide - np.int64(np.ceil(size * hops[hop].per_byte)))
                    if hops[hop].join >= 0:
                        join(
                            hop,
                            repeat,
                            short,
                            ahead,
                            first_queue,
                            hops,
                            joins,
                            parts,
                            outputs,
                            packets,
                            queues,
                            events,
                            fresh,
                            numbers,
                        )
                    else:
                        if p < 0:
                            p = new_packet(packets, numbers)
                            packets[p].repeat, packets[p].short, packets[p].part = repeat, short, -1
                        packets[p].hop = hop + 1
                        enqueue(
                            p,
                            ahead,
                            hops[hop + 1].queue,
                            first_queue,
                            packets,
                            queues,
                            events,
                            fresh,
                            numbers,
                        )
                        p = -1
                if p >= 0:
                    packets[p].next = numbers[PACKET_LIST]
                    numbers[PACKET_LIST] = p
                # A queue keeps its place in the round when its next packet will be in before the link is free.
                queues[q].listed = 0
                if following >= 0:
                    if s >= 0 or packets[following].ready <= free_at:
                        append(q, m, queues, links)
                    else:
                        events[first_queue + q].time = packets[following].ready
                        fresh[numbers[FRESH]] = first_queue + q
                        numbers[FRESH] += 1
            if links[m].head >= 0:
                wake(m, links[m].free_at, links, events, fresh, numbers)
            elif links[m].parked > 0:  # sleep until the first credit that is under way
                soonest: Any = NEVER
                for c in range(links[m].channel_first, links[m].channel_last):
                    if channels[c].head >= 0:
                        if channels[c].credits > 0:
                            soonest = 0
                        elif channels[c].coming > 0:
                            soonest = min(soonest, slots[channels[c].first + channels[c].oldest])
                if soonest < NEVER:
                    wake(m, max(soonest, links[m].free_at, now), links, events, fresh, numbers)
        numbers[DIRTY] = 0
        if numbers[FULL] == 1:
            return POOL_FULL
        # What was set down gets its place in the calendar.
        if at == length:
            at, length = 0, 0
        for i in range(numbers[FRESH]):
            e = fresh[i]
            time = events[e].time
            distance = (time >> shift) - tick
            if distance <= 0:
                if length == len(current):
                    for k in range(at, length):
                        current[k - at] = current[k]
                    at, length = 0, length - at
                k = length
                while k > at and events[current[k - 1]].time > time:
                    current[k] = current[k - 1]
                    k -= 1
                current[k] = e
                length += 1
            elif distance <= mask:
                b = (time >> shift) & mask
                events[e].next = -1
                if wheel[b].head < 0:
                    wheel[b].head = e
                else:
                    events[wheel[b].tail].next = e
                wheel[b].tail = e
                near += 1
            else:
                push_far(e, time, far, events, heap)
                far += 1
        numbers[FRESH] = 0
        if at == length:  # go on to the next tick with events
            if near == 0 and far == 0:
                break
            until: Any = NEVER
            if far > 0:
                until = events[heap[0]].time >> shift
            tick += 1
            if near == 0:
                tick = until
            while tick < until and wheel[tick & mask].head < 0:
                tick += 1
            at, length, ordered = 0, 0, True
            before = now
            e = wheel[tick & mask].head
            wheel[tick & mask].head = -1
            while e >= 0:
                current[length] = e
                length += 1
                ordered = ordered and events[e].time >= before
                before = events[e].time
                e = events[e].next
            near -= length
            while far > 0 and events[heap[0]].time >> shift == tick:
                e = pop_far(far, events, heap)
                far -= 1
                current[length] = e
                length += 1
                ordered = ordered and events[e].time >= before
                before = events[e].time
            if not ordered:
                sort_by_time(length, events, current)
        now = events[current[at]].time
        numbers[NOW] = now
    numbers[HOPS] = sent
    return FINISHED if numbers[UNFINISHED] == 0 else STUCK


SIGNATURE = "int64(float64, CPointer(voidptr), CPointer(int64))"
ARRAYS = (
    "rows", "links", "channels", "slots", "queues", "streams", "hops", "repeats", "joins", "parts", "inputs",
    "outputs", "gates", "waits", "row_gates", "member_rows", "waiter_rows", "raised", "dirty", "packets", "events",
    "fresh", "wheel", "current", "heap", "numbers",
)  # fmt: skip
"""The arrays of the kernel, in the order of their addresses; those without a record hold whole numbers."""


FILES = ("compiling.py", "packet_kernel.py", "packet_lists.py", "packet_records.py", "packet_rows.py")


@cache
def compiled() -> Any:
    """The kernel as a C function; compiled on first use and kept on disk for these sources."""
    sources = digest(*FILES)

    @nb.cfunc(SIGNATURE, error_model="numpy", cache=True)
    def enter(packet: float, at_address: Any, length_of: Any) -> int:
        return run(packet, at_address, length_of, sources)

    return enter.ctypes
