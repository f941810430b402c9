"""Compiled: the earliest of what is to come, the ends of flows and the arrivals under way.

Ends lie in slots; the lowest of each block of slots and of each block of blocks are kept.  Arrivals form one queue
for each latency, and the queues that hold any form a heap by their heads.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from topo.network import moments
from topo.network.compiling import inlined, jit

BLOCK = 64
# Places in the array of whole numbers that the kernel keeps between calls; the rows that the jobs lack come after.
EVENTS, GONE, KEPT, DIRTY, FRESH, STAMP, LOCAL, FULL, HIGH, FREE, HEAP = range(11)
ROOM, SPARE, QUEUED, NEXT, OVER, SOURCES = range(11, 17)
NUMBERS = 17


slack = jit(moments.slack)


# Without these two a minimum is not computed several at a time; there are no NaNs and no negative zeros here.
@nb.njit(error_model="numpy", fastmath={"nnan", "nsz"})
def lowest(values: Any, first: int, last: int) -> float:
    """The lowest of some values; infinity for none."""
    low = np.inf
    for i in range(first, last):
        low = min(low, values[i])
    return low


@jit
def refresh(high: int, ends: Any, minima: Any, tops: Any) -> None:
    """Find the lowest ends of all blocks of ``high`` slots."""
    blocks = (high + BLOCK - 1) // BLOCK
    for block in range(blocks):
        minima[block] = lowest(ends, block * BLOCK, min((block + 1) * BLOCK, high))
    for top in range((blocks + BLOCK - 1) // BLOCK):
        tops[top] = lowest(minima, top * BLOCK, min((top + 1) * BLOCK, blocks))


@jit
def set_end(slot: int, end: float, ends: Any, minima: Any, tops: Any) -> None:
    """Change one end."""
    old = ends[slot]
    ends[slot] = end
    block = slot // BLOCK
    if end < minima[block]:
        minima[block] = end
    elif old == minima[block]:
        minima[block] = lowest(ends, block * BLOCK, min((block + 1) * BLOCK, len(ends)))
    else:
        return
    top = block // BLOCK
    if minima[block] < tops[top]:
        tops[top] = minima[block]
    elif old == tops[top]:
        tops[top] = lowest(minima, top * BLOCK, min((top + 1) * BLOCK, len(minima)))


@jit
def ended(limit: float, high: int, ends: Any, minima: Any, tops: Any, found: Any) -> int:
    """Collect the slots that end up to ``limit`` in ``found``, and take their ends away."""
    count = 0
    blocks = (high + BLOCK - 1) // BLOCK
    for top in range((blocks + BLOCK - 1) // BLOCK):
        if tops[top] > limit:
            continue
        last_block = min((top + 1) * BLOCK, blocks)
        for block in range(top * BLOCK, last_block):
            if minima[block] > limit:
                continue
            last = min((block + 1) * BLOCK, high)
            for slot in range(block * BLOCK, last):
                if ends[slot] <= limit:
                    ends[slot] = np.inf
                    found[count] = slot
                    count += 1
            minima[block] = lowest(ends, block * BLOCK, last)
        tops[top] = lowest(minima, top * BLOCK, last_block)
    return count


@jit
def sift_delay(delays: Any, n: int) -> None:
    """Restore the heap of queues below its first."""
    place = 0
    moved = delays[0].heap
    time = delays[moved].time
    while True:
        child = 2 * place + 1
        if child >= n:
            break
        if child + 1 < n and delays[delays[child + 1].heap].time < delays[delays[child].heap].time:
            child += 1
        if delays[delays[child].heap].time >= time:
            break
        delays[place].heap = delays[child].heap
        place = child
    delays[place].heap = moved


@inlined
def send(row: int, delay: int, now: float, arrivals: Any, delays: Any, numbers: Any) -> None:
    """Put an arrival on its way; there must be room."""
    entry = numbers[SPARE]
    arrival = arrivals[entry]
    numbers[SPARE] = arrival.next
    queue = delays[delay]
    time = now + queue.latency
    arrival.time = time
    arrival.row = row
    arrival.next = -1
    if queue.head >= 0:
        arrivals[queue.tail].next = entry
    else:
        queue.head = entry
        queue.time = time
        place = numbers[HEAP]
        numbers[HEAP] += 1
        while place > 0:
            parent = (place - 1) // 2
            if delays[delays[parent].heap].time <= time:
                break
            delays[place].heap = delays[parent].heap
            place = parent
        delays[place].heap = delay
    queue.tail = entry


@inlined
def next_queue(delays: Any, arrivals: Any, numbers: Any) -> None:
    """Set the heap right after arrivals were taken from the first queue."""
    first = delays[delays[0].heap]
    if first.head >= 0:
        first.time = arrivals[first.head].time
    else:
        numbers[HEAP] -= 1
        delays[0].heap = delays[numbers[HEAP]].heap
    if numbers[HEAP] > 1:
        sift_delay(delays, numbers[HEAP])


@jit
def next_moment(tops: Any, delays: Any, numbers: Any) -> float:
    """When the next transfer drains or arrives; infinity when nothing moves."""
    blocks = (numbers[HIGH] + BLOCK - 1) // BLOCK
    moment = lowest(tops, 0, (blocks + BLOCK - 1) // BLOCK)
    if numbers[HEAP] > 0:
        moment = min(moment, delays[delays[0].heap].time)
    return moment
