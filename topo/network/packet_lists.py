"""Events, lists and credits of the packet engine: small steps of :mod:`topo.network.packet_kernel`, for numba."""

from __future__ import annotations

from typing import Any

from topo.network.compiling import jit
from topo.network.packet_records import (
    DIRTY,
    EVENT_LIST,
    EVENTS_USED,
    FRESH,
    FULL,
    PACKET_LIST,
    PACKETS_USED,
    WAKE,
)


@jit
def post(kind: int, of: int, time: int, events: Any, fresh: Any, numbers: Any) -> None:
    """Set down an event of the pool; it gets its place in the calendar at the end of this moment."""
    e = numbers[EVENT_LIST]
    if e >= 0:
        numbers[EVENT_LIST] = events[e].next
    elif numbers[EVENTS_USED] < len(events):
        e = numbers[EVENTS_USED]
        numbers[EVENTS_USED] += 1
    else:
        numbers[FULL] = 1
        return
    events[e].kind = kind
    events[e].of = of
    events[e].time = time
    fresh[numbers[FRESH]] = e
    numbers[FRESH] += 1


@jit
def wake(m: int, time: int, links: Any, events: Any, fresh: Any, numbers: Any) -> None:
    """Have a link decide again at a moment, unless it will earlier."""
    if time < links[m].wake_at:
        links[m].wake_at = time
        if links[m].timed == 0:
            links[m].timed = 1
            events[m].time = time
            fresh[numbers[FRESH]] = m
            numbers[FRESH] += 1
        else:
            post(WAKE, m, time, events, fresh, numbers)


@jit
def append(q: int, m: int, queues: Any, links: Any) -> None:
    """Give a queue the last place in the round of its link."""
    queues[q].listed = 1
    queues[q].next = -1
    if links[m].head < 0:
        links[m].head = q
    else:
        queues[links[m].tail].next = q
    links[m].tail = q


@jit
def soil(m: int, links: Any, dirty: Any, numbers: Any) -> None:
    """Have a link decide at the end of this moment."""
    if links[m].dirty == 0:
        links[m].dirty = 1
        dirty[numbers[DIRTY]] = m
        numbers[DIRTY] += 1


@jit
def new_packet(packets: Any, numbers: Any) -> int:
    """Take a packet from the pool, which has room for all that the buffers can hold."""
    p = numbers[PACKET_LIST]
    if p >= 0:
        numbers[PACKET_LIST] = packets[p].next
    else:
        p = numbers[PACKETS_USED]
        numbers[PACKETS_USED] += 1
    return int(p)


@jit
def enqueue(
    p: int,
    ready: int,
    q: int,
    first_event: int,
    packets: Any,
    queues: Any,
    events: Any,
    fresh: Any,
    numbers: Any,
) -> None:
    """Put a packet that is on its way into the queue where it will wait; an event lists the queue when it is in."""
    packets[p].ready = ready
    packets[p].next = -1
    if queues[q].head < 0:
        queues[q].head = p
        events[first_event + q].time = ready
        fresh[numbers[FRESH]] = first_event + q
        numbers[FRESH] += 1
    else:
        packets[queues[q].tail].next = p
    queues[q].tail = p


@jit
def has_credit(c: int, channels: Any, slots: Any, now: int) -> bool:
    """Whether the far end of a channel is known to have room for a packet."""
    if channels[c].coming > 0 and slots[channels[c].first + channels[c].oldest] <= now:
        channels[c].credits += 1
        channels[c].coming -= 1
        channels[c].oldest += 1
        if channels[c].oldest == channels[c].size or channels[c].coming == 0:
            channels[c].oldest = 0
    return bool(channels[c].credits > 0)


@jit
def release(c: int, time: int, channels: Any, slots: Any) -> None:
    """A packet's room at the far end of a channel is free again, as its near end learns at a moment."""
    time = max(time, channels[c].last)
    channels[c].last = time
    at = channels[c].oldest + channels[c].coming
    if at >= channels[c].size:
        at -= channels[c].size
    slots[channels[c].first + at] = time
    channels[c].coming += 1


@jit
def push_far(e: int, time: int, n: int, events: Any, heap: Any) -> None:
    """Put an event into the heap of ``n`` far ones."""
    while n > 0 and events[heap[(n - 1) // 2]].time > time:
        heap[n] = heap[(n - 1) // 2]
        n = (n - 1) // 2
    heap[n] = e


@jit
def pop_far(n: int, events: Any, heap: Any) -> int:
    """Remove the first of the ``n`` far events."""
    first = heap[0]
    n -= 1
    moved = heap[n]
    i = 0
    while 2 * i + 1 < n:
        child = 2 * i + 1
        if child + 1 < n and events[heap[child + 1]].time < events[heap[child]].time:
            child += 1
        if events[heap[child]].time >= events[moved].time:
            break
        heap[i] = heap[child]
        i = child
    heap[i] = moved
    return int(first)


@jit
def sort_by_time(n: int, events: Any, current: Any) -> None:
    """Sort the events of a tick (Shell sort); those of one moment keep their order."""
    for i in range(n):
        events[current[i]].next = i
    gap = 1
    while 3 * gap + 1 < n:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(gap, n):
            e = current[i]
            j = i
            while j >= gap:
                f = current[j - gap]
                if events[f].time < events[e].time or (
                    events[f].time == events[e].time and events[f].next < events[e].next
                ):
                    break
                current[j] = f
                j -= gap
            current[j] = e
        gap //= 3
