"""The compiled kernel of the event solver: plain loops over records, for numba.

The records are those of :mod:`topo.network.event_solver`, which also explains the method.  Functions here take few
arrays, allocate nothing, and change only what they are given.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

BLOCK = 64
TIE = 1e-12
ROUNDING = 4e-15
LEVEL = 1e-9
REACHED, FINISHED, STALLED, HEAP_FULL, WATCHED = 0, 1, 2, 3, 4
# Places in the array of whole numbers that the kernel keeps between calls.
EVENTS, ACTIVE, HEAP, CHANGED, DIRTY, STAMP, LOCAL, FULL = range(8)
NUMBERS = 8

jit = nb.njit(cache=True, error_model="numpy", nogil=True)


@jit
def slack(moment: float, origin: float) -> float:
    """How far apart two moments may be and still be one: rounding since ``origin``, and of the clock itself."""
    return TIE * (moment - origin) + ROUNDING * moment


@jit
def push(heap: Any, n: int, time: float, row: int) -> None:
    """Add an arrival to a binary heap of n."""
    i = n
    while i > 0:
        parent = (i - 1) // 2
        if heap[parent].time <= time:
            break
        heap[i].time = heap[parent].time
        heap[i].row = heap[parent].row
        i = parent
    heap[i].time = time
    heap[i].row = row


@jit
def pop(heap: Any, n: int) -> None:
    """Remove the first arrival from a binary heap of n."""
    time, row = heap[n - 1].time, heap[n - 1].row
    n -= 1
    i = 0
    while True:
        child = 2 * i + 1
        if child >= n:
            break
        if child + 1 < n and heap[child + 1].time < heap[child].time:
            child += 1
        if heap[child].time >= time:
            break
        heap[i].time = heap[child].time
        heap[i].row = heap[child].row
        i = child
    if n > 0:
        heap[i].time = time
        heap[i].row = row


@jit
def refresh(ends: Any, minima: Any, tops: Any, changed: Any, count: int) -> None:
    """Bring block minima up to date after ``count`` rows in ``changed`` got new ends."""
    if count * 4 > len(minima):
        for block in range(len(minima)):
            low = np.inf
            for i in range(block * BLOCK, min((block + 1) * BLOCK, len(ends))):
                low = min(low, ends[i])
            minima[block] = low
        for top in range(len(tops)):
            low = np.inf
            for block in range(top * BLOCK, min((top + 1) * BLOCK, len(minima))):
                low = min(low, minima[block])
            tops[top] = low
        return
    for k in range(count):
        block = changed[k] // BLOCK
        low = np.inf
        for i in range(block * BLOCK, min((block + 1) * BLOCK, len(ends))):
            low = min(low, ends[i])
        minima[block] = low
        top = block // BLOCK
        low = np.inf
        for b in range(top * BLOCK, min((top + 1) * BLOCK, len(minima))):
            low = min(low, minima[b])
        tops[top] = low


@jit
def activate(
    i: int, rows: Any, links: Any, hops: Any, on_link: Any, dirty: Any, numbers: Any, now: float
) -> None:
    """Put a row on its links."""
    rows[i].remaining = rows[i].bytes
    rows[i].since = now
    rows[i].rate = 0.0
    rows[i].bottleneck = -1
    rows[i].active = 1
    numbers[ACTIVE] += 1
    numbers[CHANGED] += 1
    for h in range(rows[i].first, rows[i].last):
        link = hops[h].link
        place = links[link].first + links[link].count
        on_link[place] = h
        hops[h].place = place
        links[link].count += 1
        if links[link].dirty == 0:
            links[link].dirty = 1
            dirty[numbers[DIRTY]] = link
            numbers[DIRTY] += 1


@jit
def resume(
    active: Any,
    remaining: Any,
    rows: Any,
    links: Any,
    hops: Any,
    on_link: Any,
    dirty: Any,
    numbers: Any,
    now: float,
) -> None:
    """Put rows back on their links in mid-drain."""
    for k in range(len(active)):
        activate(active[k], rows, links, hops, on_link, dirty, numbers, now)
        rows[active[k]].remaining = remaining[k]


@jit
def deactivate(i: int, rows: Any, links: Any, hops: Any, on_link: Any, dirty: Any, numbers: Any) -> None:
    """Take a row off its links."""
    rows[i].active = 0
    numbers[ACTIVE] -= 1
    numbers[CHANGED] += 1
    for h in range(rows[i].first, rows[i].last):
        link = hops[h].link
        links[link].count -= 1
        moved = on_link[links[link].first + links[link].count]
        on_link[hops[h].place] = moved
        hops[moved].place = hops[h].place
        if links[link].dirty == 0:
            links[link].dirty = 1
            dirty[numbers[DIRTY]] = link
            numbers[DIRTY] += 1


@jit
def sift(order: Any, links: Any, i: int, n: int) -> None:
    """Restore a heap of links by key below place i."""
    link = order[i]
    key = links[link].key
    while True:
        child = 2 * i + 1
        if child >= n:
            break
        if child + 1 < n and links[order[child + 1]].key < links[order[child]].key:
            child += 1
        if links[order[child]].key >= key:
            break
        order[i] = order[child]
        i = child
    order[i] = link


@jit
def fill(rows: Any, links: Any, hops: Any, on_link: Any, order: Any, n: int, stamp: int) -> None:
    """Progressive filling of the rows stamped ``stamp`` over ``n`` links in ``order``.

    ``left`` and ``weight`` of those links are what the rows outside leave them, and the weight of the rows
    inside.  A link's fair share only grows as rows freeze, so a link is looked at again only when its old share
    comes up first.
    """
    m = 0
    for k in range(n):
        link = order[k]
        if links[link].weight > 0.0:
            links[link].key = max(links[link].left, 0.0) / links[link].weight
            order[m] = link
            m += 1
    for k in range(m // 2, -1, -1):
        if k < m:
            sift(order, links, k, m)
    level = 0.0
    while m > 0:
        link = order[0]
        if links[link].unfrozen <= 0:
            m -= 1
            order[0] = order[m]
            if m > 0:
                sift(order, links, 0, m)
            continue
        share = max(links[link].left, 0.0) / links[link].weight if links[link].weight > 0.0 else np.inf
        if share > links[link].key * (1 + LEVEL):
            links[link].key = share
            sift(order, links, 0, m)
            continue
        if share > level * (1 + LEVEL):
            level = share
        for place in range(links[link].first, links[link].first + links[link].count):
            f = hops[on_link[place]].row
            if rows[f].stamp != stamp or rows[f].new_bottleneck >= 0:
                continue
            rows[f].new_rate = level
            rows[f].new_bottleneck = link
            for h in range(rows[f].first, rows[f].last):
                other = hops[h].link
                links[other].left -= level * hops[h].weight
                links[other].weight -= hops[h].weight
                links[other].unfrozen -= 1
        m -= 1
        order[0] = order[m]
        if m > 0:
            sift(order, links, 0, m)


@jit
def accept(f: int, rows: Any, ends: Any, now: float) -> bool:
    """Give a row its new rate; whether that changed anything."""
    rows[f].bottleneck = rows[f].new_bottleneck
    rate = rows[f].new_rate
    if rate == rows[f].rate:
        return False
    if now > rows[f].since:
        rows[f].remaining = max(rows[f].remaining - rows[f].rate * (now - rows[f].since), 0.0)
    rows[f].since = now
    rows[f].rate = rate
    if rows[f].remaining <= 0.0:
        ends[f] = now
    else:
        ends[f] = now + rows[f].remaining / rate if rate > 0.0 else np.inf
    return True


@jit
def solve_all(
    rows: Any,
    links: Any,
    hops: Any,
    on_link: Any,
    ends: Any,
    order: Any,
    changed: Any,
    numbers: Any,
    now: float,
) -> int:
    """Solve all active rows anew; return how many rows in ``changed`` got new ends."""
    numbers[FULL] += 1
    numbers[STAMP] += 1
    stamp = numbers[STAMP]
    n = 0
    for link in range(len(links)):
        if links[link].count > 0:
            links[link].left = links[link].capacity
            links[link].unfrozen = links[link].count
            weight = 0.0
            for place in range(links[link].first, links[link].first + links[link].count):
                weight += hops[on_link[place]].weight
            links[link].weight = weight
            order[n] = link
            n += 1
    for f in range(len(rows)):
        if rows[f].active:
            rows[f].stamp = stamp
            rows[f].new_bottleneck = -1
            rows[f].new_rate = 0.0
    fill(rows, links, hops, on_link, order, n, stamp)
    count = 0
    for f in range(len(rows)):
        if rows[f].active and accept(f, rows, ends, now):
            changed[count] = f
            count += 1
    return count


@jit
def join(
    f: int, stamp: int, rows: Any, links: Any, hops: Any, members: Any, n: int, touched: Any, m: int
) -> int:
    """Add a row to the set that is solved again, and its links to those touched; return their number."""
    rows[f].stamp = stamp
    members[n] = f
    for h in range(rows[f].first, rows[f].last):
        link = hops[h].link
        if links[link].stamp != stamp:
            links[link].stamp = stamp
            touched[m] = link
            m += 1
    return m


@jit
def solve_local(
    rows: Any,
    links: Any,
    hops: Any,
    on_link: Any,
    ends: Any,
    order: Any,
    members: Any,
    touched: Any,
    dirty: Any,
    changed: Any,
    numbers: Any,
    now: float,
) -> int:
    """Solve again what the dirty links force; -1 when that grows beyond half of all rows."""
    numbers[STAMP] += 1
    stamp = numbers[STAMP]
    n, m = 0, 0
    for k in range(numbers[DIRTY]):
        link = dirty[k]
        if links[link].stamp != stamp:
            links[link].stamp = stamp
            touched[m] = link
            m += 1
    for k in range(numbers[DIRTY]):
        link = dirty[k]
        for place in range(links[link].first, links[link].first + links[link].count):
            f = hops[on_link[place]].row
            if rows[f].stamp != stamp and (rows[f].bottleneck == link or rows[f].bottleneck < 0):
                m = join(f, stamp, rows, links, hops, members, n, touched, m)
                n += 1
    while True:
        if 2 * n > numbers[ACTIVE] and n > 32:
            return -1
        for k in range(m):
            link = touched[k]
            left = links[link].capacity
            weight = 0.0
            inside = 0
            for place in range(links[link].first, links[link].first + links[link].count):
                h = on_link[place]
                f = hops[h].row
                if rows[f].stamp == stamp:
                    weight += hops[h].weight
                    inside += 1
                else:
                    left -= hops[h].weight * rows[f].rate
            links[link].left = left
            links[link].weight = weight
            links[link].unfrozen = inside
            order[k] = link
        for k in range(n):
            rows[members[k]].new_bottleneck = -1
            rows[members[k]].new_rate = 0.0
        fill(rows, links, hops, on_link, order, m, stamp)
        before = n
        for k in range(m):
            link = touched[k]
            load = 0.0
            fastest = 0.0
            low = np.inf
            first, last = links[link].first, links[link].first + links[link].count
            for place in range(first, last):
                h = on_link[place]
                f = hops[h].row
                inside_set = rows[f].stamp == stamp
                rate = rows[f].new_rate if inside_set else rows[f].rate
                load += hops[h].weight * rate
                fastest = max(fastest, rate)
                if inside_set and rows[f].new_bottleneck == link:
                    low = min(low, rate)
            full = load >= links[link].capacity * (1 - LEVEL)
            for place in range(first, last):
                f = hops[on_link[place]].row
                if rows[f].stamp == stamp:
                    continue
                loose = rows[f].bottleneck == link and (not full or rows[f].rate < fastest * (1 - LEVEL))
                if loose or rows[f].rate > low * (1 + LEVEL):
                    m = join(f, stamp, rows, links, hops, members, n, touched, m)
                    n += 1
        if n == before:
            break
    numbers[LOCAL] += 1
    count = 0
    for k in range(n):
        if accept(members[k], rows, ends, now):
            changed[count] = members[k]
            count += 1
    return count


@jit
def raise_gate(
    g: int, rows: Any, gates: Any, member_rows: Any, waiter_rows: Any, queue: Any, queued: int
) -> int:
    """A gate whose last short member has come: raise its level and queue its waiters."""
    while gates[g].short == 0 and gates[g].level < gates[g].repeat:
        gates[g].level += 1
        if gates[g].level == gates[g].repeat:
            break
        short = 0
        for k in range(gates[g].member_first, gates[g].member_last):
            row = member_rows[k]
            count = rows[row].arrived if gates[g].arrival else rows[row].drained
            if count == gates[g].level:
                short += 1
        gates[g].short = short
    for k in range(gates[g].waiter_first, gates[g].waiter_last):
        row = waiter_rows[k]
        if rows[row].queued == 0:
            rows[row].queued = 1
            queue[queued] = row
            queued += 1
    return queued


@jit
def count_up(
    i: int,
    arrival: bool,
    rows: Any,
    gates: Any,
    row_gates: Any,
    member_rows: Any,
    waiter_rows: Any,
    queue: Any,
    queued: int,
) -> int:
    """One more arrival or departure of a row; queue what may start now."""
    was = rows[i].arrived - 1 if arrival else rows[i].drained - 1
    for k in range(rows[i].gate_first, rows[i].gate_last):
        g = row_gates[k]
        if (gates[g].arrival == 1) == arrival and gates[g].level == was:
            gates[g].short -= 1
            if gates[g].short == 0:
                queued = raise_gate(g, rows, gates, member_rows, waiter_rows, queue, queued)
    return queued


@jit
def arrive(
    i: int,
    now: float,
    rows: Any,
    gates: Any,
    row_gates: Any,
    member_rows: Any,
    waiter_rows: Any,
    unfinished: Any,
    queue: Any,
    queued: int,
) -> int:
    """A repeat of a row has arrived."""
    rows[i].arrived += 1
    if rows[i].arrived == rows[i].repeat:
        rows[i].finish = now
        unfinished[rows[i].job] -= 1
    return count_up(i, True, rows, gates, row_gates, member_rows, waiter_rows, queue, queued)


@jit
def ready(i: int, rows: Any, gates: Any, waits: Any) -> bool:
    """Whether the next repeat of a row may start."""
    if rows[i].started != rows[i].drained or rows[i].started >= rows[i].repeat:
        return False
    for k in range(rows[i].wait_first, rows[i].wait_last):
        g = waits[k].gate
        need = min(max(rows[i].started - waits[k].lag + 1, 0), gates[g].repeat)
        if gates[g].level < need:
            return False
    return True


@jit
def start_queued(
    queued: int,
    now: float,
    rows: Any,
    links: Any,
    hops: Any,
    on_link: Any,
    gates: Any,
    waits: Any,
    row_gates: Any,
    member_rows: Any,
    waiter_rows: Any,
    unfinished: Any,
    heap: Any,
    queue: Any,
    dirty: Any,
    numbers: Any,
) -> None:
    """Start every queued row that may; empty ones drain at once."""
    k = 0
    while k < queued:
        i = queue[k]
        k += 1
        rows[i].queued = 0
        while ready(i, rows, gates, waits):
            rows[i].started += 1
            if rows[i].bytes > 0.0:
                activate(i, rows, links, hops, on_link, dirty, numbers, now)
                break
            rows[i].drained += 1
            queued = count_up(i, False, rows, gates, row_gates, member_rows, waiter_rows, queue, queued)
            if rows[i].latency > 0.0:
                push(heap, numbers[HEAP], now + rows[i].latency, i)
                numbers[HEAP] += 1
            else:
                queued = arrive(
                    i, now, rows, gates, row_gates, member_rows, waiter_rows, unfinished, queue, queued
                )
        if k > len(queue) // 2:
            # Make room: what is left moves to the front.
            for j in range(k, queued):
                queue[j - k] = queue[j]
            queued -= k
            k = 0


@jit
def next_moment(tops: Any, heap: Any, numbers: Any) -> float:
    """When the next transfer drains or arrives."""
    moment = np.inf
    for k in range(len(tops)):
        moment = min(moment, tops[k])
    if numbers[HEAP] > 0:
        moment = min(moment, heap[0].time)
    return moment


@jit
def resolve(
    rows: Any,
    links: Any,
    hops: Any,
    on_link: Any,
    ends: Any,
    minima: Any,
    tops: Any,
    order: Any,
    members: Any,
    touched: Any,
    dirty: Any,
    changed: Any,
    numbers: Any,
    now: float,
) -> None:
    """New rates after an event."""
    if numbers[DIRTY] > 0:
        count = -1
        if numbers[CHANGED] * 8 <= numbers[ACTIVE]:
            count = solve_local(
                rows, links, hops, on_link, ends, order, members, touched, dirty, changed, numbers, now
            )
        if count < 0:
            count = solve_all(rows, links, hops, on_link, ends, order, changed, numbers, now)
        refresh(ends, minima, tops, changed, count)
        for k in range(numbers[DIRTY]):
            links[dirty[k]].dirty = 0
    numbers[DIRTY] = 0
    numbers[CHANGED] = 0


@jit
def advance(
    until: float,
    clock: Any,
    rows: Any,
    links: Any,
    hops: Any,
    on_link: Any,
    gates: Any,
    waits: Any,
    row_gates: Any,
    member_rows: Any,
    waiter_rows: Any,
    unfinished: Any,
    heap: Any,
    ends: Any,
    minima: Any,
    tops: Any,
    queue: Any,
    order: Any,
    members: Any,
    touched: Any,
    dirty: Any,
    changed: Any,
    numbers: Any,
    most_events: int,
    watch: int,
) -> int:
    """Run to ``until``, to the end of a job, to a stall, or until the heap of arrivals may overflow.

    Also stops when a repeat of row ``watch`` has drained; -1 watches none.
    """
    jobs = 0
    for j in range(len(unfinished)):
        jobs += 1 if unfinished[j] > 0 else 0
    while True:
        if numbers[HEAP] + len(rows) > len(heap):
            return HEAP_FULL
        if numbers[EVENTS] >= most_events:
            return REACHED
        now = next_moment(tops, heap, numbers)
        if now > until + slack(until, clock[1]):
            clock[0] = max(clock[0], until)
            return REACHED
        if now == np.inf:
            return STALLED
        now = min(now, until)
        clock[0] = now
        watched = rows[watch].drained if watch >= 0 else 0
        numbers[EVENTS] += 1
        limit = now + slack(now, clock[1])
        queued, gone = 0, 0
        for top in range(len(tops)):
            if tops[top] > limit:
                continue
            for block in range(top * BLOCK, min((top + 1) * BLOCK, len(minima))):
                if minima[block] > limit:
                    continue
                for i in range(block * BLOCK, min((block + 1) * BLOCK, len(rows))):
                    if ends[i] <= limit:
                        ends[i] = np.inf
                        changed[gone] = i
                        gone += 1
        refresh(ends, minima, tops, changed, gone)
        for k in range(gone):
            i = changed[k]
            deactivate(i, rows, links, hops, on_link, dirty, numbers)
            rows[i].drained += 1
            if rows[i].queued == 0:
                rows[i].queued = 1
                queue[queued] = i
                queued += 1
            queued = count_up(i, False, rows, gates, row_gates, member_rows, waiter_rows, queue, queued)
            if rows[i].latency > 0.0:
                push(heap, numbers[HEAP], now + rows[i].latency, i)
                numbers[HEAP] += 1
            else:
                queued = arrive(
                    i, now, rows, gates, row_gates, member_rows, waiter_rows, unfinished, queue, queued
                )
        while numbers[HEAP] > 0 and heap[0].time <= limit:
            i = heap[0].row
            pop(heap, numbers[HEAP])
            numbers[HEAP] -= 1
            queued = arrive(
                i, now, rows, gates, row_gates, member_rows, waiter_rows, unfinished, queue, queued
            )
        start_queued(
            queued,
            now,
            rows,
            links,
            hops,
            on_link,
            gates,
            waits,
            row_gates,
            member_rows,
            waiter_rows,
            unfinished,
            heap,
            queue,
            dirty,
            numbers,
        )
        resolve(
            rows,
            links,
            hops,
            on_link,
            ends,
            minima,
            tops,
            order,
            members,
            touched,
            dirty,
            changed,
            numbers,
            now,
        )
        left = 0
        for j in range(len(unfinished)):
            left += 1 if unfinished[j] > 0 else 0
        if left < jobs:
            return FINISHED
        if watch >= 0 and rows[watch].drained != watched:
            return WATCHED
