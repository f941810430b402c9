"""What the packet engine does once for each transfer, and on trees: plain loops over records, for numba."""

from __future__ import annotations

from typing import Any

import numpy as np

from topo.network.compiling import jit
from topo.network.packet_lists import append, enqueue, new_packet, post, release, soil, wake
from topo.network.packet_records import ARRIVE, DEPART, GOLDEN, NOW, UNFINISHED


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
    events: Any,
    fresh: Any,
    numbers: Any,
) -> None:
    """Hand the packets of the next repeat of a row to its injection queues, way by way in proportion."""
    t = rows[r].started
    rows[r].started += 1
    now = numbers[NOW]
    if rows[r].stream_first == rows[r].stream_last:
        rows[r].injecting = 1
        post(DEPART, r, now, events, fresh, numbers)
        post(ARRIVE, r, now + rows[r].latency, events, fresh, numbers)
        return
    n = rows[r].packets
    turn = (rows[r].turn + t * GOLDEN) % 1.0
    for s in range(rows[r].stream_first, rows[r].stream_last):
        before = 0 if streams[s].begins == 1 else min(int(np.floor(streams[s].below * n + turn)), n)
        upto = n if streams[s].ends == 1 else min(int(np.floor(streams[s].share * n + turn)), n)
        if upto <= before:
            continue
        streams[s].left = upto - before
        streams[s].short = 1 if upto == n else 0
        streams[s].repeat = t
        streams[s].next = -1
        rows[r].injecting += 1
        q = streams[s].queue
        if queues[q].head < 0:
            queues[q].head = s
            append(q, queues[q].link, queues, links)
            soil(queues[q].link, links, dirty, numbers)
        else:
            streams[queues[q].tail].next = s
        queues[q].tail = s


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
def progress(
    kind: int,
    r: int,
    rows: Any,
    gates: Any,
    waits: Any,
    row_gates: Any,
    member_rows: Any,
    waiter_rows: Any,
    raised: Any,
    streams: Any,
    queues: Any,
    links: Any,
    dirty: Any,
    events: Any,
    fresh: Any,
    numbers: Any,
) -> None:
    """A stream of a row has left, or a repeat of it has arrived: start what waited for that."""
    if kind == DEPART:
        rows[r].injecting -= 1
        if rows[r].injecting > 0:
            return
        rows[r].drained += 1
        n = raise_gates(r, 0, rows, gates, row_gates, member_rows, raised)
        if ready(r, rows, gates, waits):
            start(r, rows, streams, queues, links, dirty, events, fresh, numbers)
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
                start(w, rows, streams, queues, links, dirty, events, fresh, numbers)


@jit
def complete(r: int, rows: Any, repeats: Any, events: Any, fresh: Any, numbers: Any) -> None:
    """Announce the arrival of the repeats of a row whose packets are all on their last links, in order."""
    first = rows[r].repeat_first
    while rows[r].landed < rows[r].repeat and repeats[first + rows[r].landed].landed == rows[r].expected:
        time = repeats[first + rows[r].landed].time
        rows[r].landed += 1
        if rows[r].landed < rows[r].repeat:
            repeats[first + rows[r].landed].time = max(time, repeats[first + rows[r].landed].time)
        post(ARRIVE, r, time, events, fresh, numbers)


@jit
def join(
    hop: int,
    repeat: int,
    short: int,
    time: int,
    first_event: int,
    hops: Any,
    joins: Any,
    parts: Any,
    outputs: Any,
    packets: Any,
    queues: Any,
    events: Any,
    fresh: Any,
    numbers: Any,
) -> None:
    """A packet is on its way to a switch that waits for its like from all inputs, and then copies their sum."""
    j = hops[hop].join
    part = joins[j].part_first + hops[hop].passed % joins[j].parts
    hops[hop].passed += 1
    if parts[part].inputs == 0:
        parts[part].time = time
    parts[part].time = max(parts[part].time, time)
    parts[part].inputs += 1
    if parts[part].inputs < joins[j].need:
        return
    parts[part].copies = joins[j].output_last - joins[j].output_first
    for i in range(joins[j].output_first, joins[j].output_last):
        p = new_packet(packets, numbers)
        packets[p].hop = outputs[i]
        packets[p].repeat = repeat
        packets[p].short = short
        packets[p].part = part
        enqueue(
            p, parts[part].time, hops[outputs[i]].queue, first_event, packets, queues, events, fresh, numbers
        )


@jit
def leave(
    part: int,
    free_at: int,
    joins: Any,
    parts: Any,
    inputs: Any,
    links: Any,
    channels: Any,
    slots: Any,
    events: Any,
    fresh: Any,
    numbers: Any,
) -> None:
    """A copy leaves a switch on a tree; the last one leaves the room of all that it was made of."""
    parts[part].copies -= 1
    if parts[part].copies > 0:
        return
    parts[part].inputs = 0
    j = parts[part].join
    for i in range(joins[j].input_first, joins[j].input_last):
        c = inputs[i]
        heard = free_at + channels[c].late
        release(c, heard, channels, slots)
        if channels[c].head >= 0:
            m = channels[c].link
            wake(m, max(heard, links[m].free_at), links, events, fresh, numbers)
