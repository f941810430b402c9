"""The compiled kernel of the packet engine: plain loops over records, for numba.

The records are those of :mod:`topo.network.packet`, which also explains the model.  All events of one moment are
taken first and links decide afterwards, so that no decision hangs on the order of simultaneous events.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from topo.network.packet_events import (
    ARRIVE,
    AT,
    DEPART,
    DIRTY,
    EVENTS,
    FINISHED,
    FULL,
    GOLDEN,
    HOPS,
    LENGTH,
    NEVER,
    NOW,
    POOL_FULL,
    STUCK,
    UNFINISHED,
    WAKE,
    give_back,
    jit,
    new_item,
    next_tick,
    push,
)


@jit
def soil(m: int, links: Any, dirty: Any, numbers: Any) -> None:
    """Have a link decide at the end of this moment."""
    if links[m].dirty == 0:
        links[m].dirty = 1
        dirty[numbers[DIRTY]] = m
        numbers[DIRTY] += 1


@jit
def list_queue(q: int, queues: Any, links: Any, dirty: Any, numbers: Any) -> None:
    """Give a queue that got its first packet a place in the round of its link."""
    m = queues[q].link
    if queues[q].listed == 0:
        queues[q].listed = 1
        queues[q].next = -1
        if links[m].head < 0:
            links[m].head = q
        else:
            queues[links[m].tail].next = q
        links[m].tail = q
    soil(m, links, dirty, numbers)


@jit
def wake(
    m: int, time: int, links: Any, pool: Any, free: Any, wheel: Any, current: Any, heap: Any, numbers: Any
) -> None:
    """Have a link decide again at a moment, unless it will earlier."""
    if time < links[m].wake_at:
        links[m].wake_at = time
        p = new_item(free, numbers)
        pool[p].hop, pool[p].row = WAKE, m
        push(p, time, pool, wheel, current, heap, numbers)


@jit
def post(
    kind: int,
    row: int,
    time: int,
    pool: Any,
    free: Any,
    wheel: Any,
    current: Any,
    heap: Any,
    numbers: Any,
) -> None:
    """Set down an event of a row."""
    p = new_item(free, numbers)
    pool[p].hop, pool[p].row = kind, row
    push(p, time, pool, wheel, current, heap, numbers)


@jit
def has_credit(c: int, channels: Any, slots: Any, now: int) -> bool:
    """Whether the far end of a channel is known to have room for a packet."""
    size, sent = channels[c].size, channels[c].sent
    if sent < size:
        return True
    return bool(channels[c].released > sent - size and slots[channels[c].first + sent % size] <= now)


@jit
def release(c: int, time: int, channels: Any, slots: Any) -> None:
    """A packet's room at the far end of a channel is free again, as its near end learns at a moment."""
    time = max(time, channels[c].last)
    channels[c].last = time
    slots[channels[c].first + channels[c].released % channels[c].size] = time
    channels[c].released += 1


@jit
def ready(r: int, rows: Any, gates: Any, waits: Any) -> bool:
    """Whether the next repeat of a row may start."""
    t = rows[r].started
    if t >= rows[r].repeat or rows[r].drained < t:
        return False
    for w in range(rows[r].wait_first, rows[r].wait_last):
        g = waits[w].gate
        if gates[g].level < min(max(t - waits[w].lag + 1, 0), gates[g].repeat):
            return False
    return True


@jit
def start(
    r: int,
    rows: Any,
    streams: Any,
    queues: Any,
    links: Any,
    dirty: Any,
    pool: Any,
    free: Any,
    wheel: Any,
    current: Any,
    heap: Any,
    numbers: Any,
) -> None:
    """Hand the packets of the next repeat of a row to its injection queues, way by way in proportion."""
    t = rows[r].started
    rows[r].started += 1
    now = numbers[NOW]
    if rows[r].stream_first == rows[r].stream_last:
        rows[r].injecting = 1
        post(DEPART, r, now, pool, free, wheel, current, heap, numbers)
        post(ARRIVE, r, now + rows[r].latency, pool, free, wheel, current, heap, numbers)
        return
    n = rows[r].packets
    turn = (rows[r].turn + t * GOLDEN) % 1.0
    before = 0
    last = -1
    for s in range(rows[r].stream_first, rows[r].stream_last):
        upto = n if s + 1 == rows[r].stream_last else min(int(np.floor(streams[s].share * n + turn)), n)
        streams[s].left = upto - before
        streams[s].short = 0
        streams[s].repeat = t
        if upto > before:
            last = s
            rows[r].injecting += 1
            q = streams[s].queue
            streams[s].next = -1
            if queues[q].head < 0:
                queues[q].head = s
            else:
                streams[queues[q].tail].next = s
            queues[q].tail = s
            list_queue(q, queues, links, dirty, numbers)
        before = upto
    streams[last].short = 1


@jit
def raise_gates(
    r: int, arrival: int, rows: Any, gates: Any, row_gates: Any, member_rows: Any, raised: Any
) -> int:
    """Count one more arrival (or departure) of a row at its gates; how many levels rose, in ``raised``."""
    count = rows[r].arrived if arrival == 1 else rows[r].drained
    n = 0
    for k in range(rows[r].gate_first, rows[r].gate_last):
        g = row_gates[k]
        if gates[g].arrival != arrival or count != gates[g].level + 1:
            continue
        gates[g].short -= 1
        if gates[g].short > 0:
            continue
        while gates[g].short == 0 and gates[g].level < gates[g].repeat:
            gates[g].level += 1
            short = 0
            for i in range(gates[g].member_first, gates[g].member_last):
                member = member_rows[i]
                done = rows[member].arrived if arrival == 1 else rows[member].drained
                if done <= gates[g].level:
                    short += 1
            gates[g].short = short
        raised[n] = g
        n += 1
    return n


@jit
def landed(
    r: int,
    t: int,
    time: int,
    rows: Any,
    repeats: Any,
    pool: Any,
    free: Any,
    wheel: Any,
    current: Any,
    heap: Any,
    numbers: Any,
) -> None:
    """A packet is on its last link; the last of a repeat announces the arrival of the whole."""
    first = rows[r].repeat_first
    if first < 0:  # one way only: packets come in order
        rows[r].landed += 1
        if rows[r].landed == rows[r].packets:
            rows[r].landed = 0
            post(ARRIVE, r, time, pool, free, wheel, current, heap, numbers)
        return
    repeats[first + t].landed += 1
    repeats[first + t].time = max(repeats[first + t].time, time)
    while rows[r].landed < rows[r].repeat and repeats[first + rows[r].landed].landed == rows[r].packets:
        time = repeats[first + rows[r].landed].time
        rows[r].landed += 1
        if rows[r].landed < rows[r].repeat:
            repeats[first + rows[r].landed].time = max(time, repeats[first + rows[r].landed].time)
        post(ARRIVE, r, time, pool, free, wheel, current, heap, numbers)


@jit
def decide(
    m: int,
    packet: float,
    rows: Any,
    links: Any,
    channels: Any,
    slots: Any,
    queues: Any,
    streams: Any,
    hops: Any,
    repeats: Any,
    dirty: Any,
    pool: Any,
    free: Any,
    wheel: Any,
    current: Any,
    heap: Any,
    numbers: Any,
) -> bool:
    """Let a link send the next packet of its round whose channel has credit; whether it may send again at once."""
    now = numbers[NOW]
    if now < links[m].free_at:
        wake(m, links[m].free_at, links, pool, free, wheel, current, heap, numbers)
        return False
    if links[m].parked > 0:
        for c in range(links[m].channel_first, links[m].channel_last):
            if channels[c].head >= 0 and has_credit(c, channels, slots, now):
                q = channels[c].head
                channels[c].head = queues[q].next
                links[m].parked -= 1
                queues[q].listed = 0
                list_queue(q, queues, links, dirty, numbers)
    while links[m].head >= 0:
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
        late = links[m].latency
        if queues[q].injection == 1:
            s = queues[q].head
            p, r, hop, t = -1, streams[s].row, streams[s].hop, streams[s].repeat
            streams[s].left -= 1
            left = streams[s].left
            short = 1 if left == 0 and streams[s].short == 1 else 0
            queues[q].head = streams[s].next
            if left > 0:
                streams[s].next = -1
                if queues[q].head < 0:
                    queues[q].head = s
                else:
                    streams[queues[q].tail].next = s
                queues[q].tail = s
            size = rows[r].short_bytes if short == 1 else packet
            wide = np.int64(np.ceil(size * links[m].per_byte)) if short == 1 else links[m].packet_time
            if left == 0:
                post(DEPART, r, now + wide, pool, free, wheel, current, heap, numbers)
        else:
            p = queues[q].head
            queues[q].head = pool[p].next
            r, hop, t, short = pool[p].row, pool[p].hop, pool[p].repeat, pool[p].short
            size = rows[r].short_bytes if short == 1 else packet
            wide = np.int64(np.ceil(size * links[m].per_byte)) if short == 1 else links[m].packet_time
            back = hops[hop - 1].channel
            behind = hops[hop - 1].link
            heard = now + wide + links[behind].latency
            release(back, heard, channels, slots)
            if channels[back].head >= 0:
                wake(
                    behind,
                    max(heard, links[behind].free_at),
                    links,
                    pool,
                    free,
                    wheel,
                    current,
                    heap,
                    numbers,
                )
        numbers[HOPS] += 1
        links[m].bytes += size
        links[m].free_at = now + wide
        channels[c].sent += 1
        if hops[hop].last == 1:
            rows[r].received += size
            end = now + late + wide
            release(c, end + late, channels, slots)
            landed(r, t, end, rows, repeats, pool, free, wheel, current, heap, numbers)
            if p >= 0:
                give_back(p, free, numbers)
        else:
            if p < 0:
                p = new_item(free, numbers)
                pool[p].row, pool[p].repeat, pool[p].short = r, t, short
            pool[p].hop = hop + 1
            delay = hops[hop].delay
            if short == 1:
                delay = late + max(0, wide - np.int64(np.ceil(size * links[hops[hop + 1].link].per_byte)))
            push(p, now + delay, pool, wheel, current, heap, numbers)
        queues[q].listed = 0
        if queues[q].head >= 0:
            list_queue(q, queues, links, dirty, numbers)
        if links[m].head >= 0 or links[m].parked > 0:
            if wide == 0:
                return True
            wake(m, now + wide, links, pool, free, wheel, current, heap, numbers)
        return False
    # Nothing may go: sleep until the first credit that is under way.
    first: Any = NEVER
    for c in range(links[m].channel_first, links[m].channel_last):
        if channels[c].head >= 0 and channels[c].released > channels[c].sent - channels[c].size:
            first = min(first, slots[channels[c].first + channels[c].sent % channels[c].size])
    if first < NEVER:
        wake(m, first, links, pool, free, wheel, current, heap, numbers)
    return False


@jit
def run(
    packet: float,
    rows: Any,
    links: Any,
    channels: Any,
    slots: Any,
    queues: Any,
    streams: Any,
    hops: Any,
    repeats: Any,
    gates: Any,
    waits: Any,
    row_gates: Any,
    member_rows: Any,
    waiter_rows: Any,
    raised: Any,
    dirty: Any,
    pool: Any,
    free: Any,
    wheel: Any,
    current: Any,
    heap: Any,
    numbers: Any,
) -> int:
    """Run until every row has arrived."""
    for r in range(len(rows)):
        if ready(r, rows, gates, waits):
            start(r, rows, streams, queues, links, dirty, pool, free, wheel, current, heap, numbers)
    while True:
        while numbers[AT] < numbers[LENGTH] and pool[current[numbers[AT]]].time == numbers[NOW]:
            p = current[numbers[AT]]
            numbers[AT] += 1
            numbers[EVENTS] += 1
            hop, r = pool[p].hop, pool[p].row
            if hop >= 0:
                q = hops[hop].queue
                pool[p].next = -1
                if queues[q].head < 0:
                    queues[q].head = p
                    queues[q].tail = p
                    if queues[q].listed == 0:
                        list_queue(q, queues, links, dirty, numbers)
                else:
                    pool[queues[q].tail].next = p
                    queues[q].tail = p
                continue
            give_back(p, free, numbers)
            if hop == WAKE:
                if links[r].wake_at == numbers[NOW]:
                    links[r].wake_at = NEVER
                soil(r, links, dirty, numbers)
                continue
            if hop == DEPART:
                rows[r].injecting -= 1
                if rows[r].injecting > 0:
                    continue
                rows[r].drained += 1
                n = raise_gates(r, 0, rows, gates, row_gates, member_rows, raised)
                if ready(r, rows, gates, waits):
                    start(r, rows, streams, queues, links, dirty, pool, free, wheel, current, heap, numbers)
            else:
                rows[r].arrived += 1
                if rows[r].arrived == rows[r].repeat:
                    rows[r].finish = numbers[NOW]
                    numbers[UNFINISHED] -= 1
                n = raise_gates(r, 1, rows, gates, row_gates, member_rows, raised)
            for k in range(n):
                g = raised[k]
                for i in range(gates[g].waiter_first, gates[g].waiter_last):
                    w = waiter_rows[i]
                    if ready(w, rows, gates, waits):
                        start(
                            w, rows, streams, queues, links, dirty, pool, free, wheel, current, heap, numbers
                        )
        for i in range(numbers[DIRTY]):
            m = dirty[i]
            while decide(
                m,
                packet,
                rows,
                links,
                channels,
                slots,
                queues,
                streams,
                hops,
                repeats,
                dirty,
                pool,
                free,
                wheel,
                current,
                heap,
                numbers,
            ):
                pass
            links[m].dirty = 0
        numbers[DIRTY] = 0
        if numbers[FULL] == 1:
            return POOL_FULL
        if numbers[AT] == numbers[LENGTH] and not next_tick(pool, wheel, current, heap, numbers):
            return FINISHED if numbers[UNFINISHED] == 0 else STUCK
        numbers[NOW] = pool[current[numbers[AT]]].time
