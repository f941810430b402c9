"""Compiled: max-min fair rates of flows, solved again only where they may have changed.

After an event the flows that came and those bound to links that changed are solved again beside all others.  As
long as a flow outside that set has lost its certificate (a full link on which no flow is faster), it joins, and
the set is solved again.  What the others take of a link is known without looking at them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from topo.network.compiling import inlined, jit
from topo.network.event_times import (
    DIRTY,
    FREE,
    FRESH,
    FULL,
    GONE,
    HIGH,
    KEPT,
    LOCAL,
    STAMP,
    refresh,
    set_end,
)

KEPT_SLOT = -2
"""The slot of a row whose places are kept counts down from here."""
LEVEL = 1e-9
"""Shares within this relative distance are one level of the filling."""
FEW = 24
"""Links among which a look at all is quicker than a heap."""
SMALL = 32
"""Sets that are never too large to be solved apart."""


@inlined
def enter(s: int, h: int, links: Any, hops: Any, places: Any) -> None:
    """Give a hop of a flow a place on its link."""
    hop = hops[h]
    link = links[hop.link]
    hop.place = link.first + link.count
    place = places[hop.place]
    place.slot = s
    place.hop = h
    link.count += 1


@inlined
def activate(
    i: int, row: Any, now: float, flows: Any, links: Any, hops: Any, places: Any, fresh: Any, free: Any,
    numbers: Any,
) -> None:  # fmt: skip
    """Put a row on its links."""
    if numbers[FREE] > 0:
        numbers[FREE] -= 1
        s = free[numbers[FREE]]
    else:
        s = numbers[HIGH]
        numbers[HIGH] += 1
    row.slot = s
    flow = flows[s]
    flow.row = i
    flow.first = row.first
    flow.last = row.last
    flow.remaining = row.bytes
    flow.since = now
    flow.rate = 0.0
    flow.bottleneck = -1
    fresh[numbers[FRESH]] = s
    numbers[FRESH] += 1
    for h in range(row.first, row.last):
        enter(s, h, links, hops, places)


@inlined
def come_back(row: Any, now: float, flows: Any, numbers: Any) -> None:
    """Put a row back on the links where its places were kept."""
    row.slot = KEPT_SLOT - row.slot
    flow = flows[row.slot]
    flow.remaining = row.bytes
    flow.since = now
    numbers[FREE] -= 1


@jit
def clear_kept(rows: Any, flows: Any, links: Any, hops: Any, places: Any, free: Any, numbers: Any) -> None:
    """Give up the places kept for rows that did not come back; all that did are solved again."""
    numbers[KEPT] = 0
    numbers[FREE] = 0
    for s in range(numbers[HIGH]):
        flow = flows[s]
        row = rows[flow.row]
        # With a rate of zero, all rates are new ones.
        flow.rate = 0.0
        if row.slot < 0:
            row.slot = -1
            flow.row = -1
            free[numbers[FREE]] = s
            numbers[FREE] += 1
            for h in range(flow.first, flow.last):
                links[hops[h].link].count = 0
    for s in range(numbers[HIGH]):
        flow = flows[s]
        if flow.row >= 0:
            for h in range(flow.first, flow.last):
                links[hops[h].link].count = 0
    for s in range(numbers[HIGH]):
        flow = flows[s]
        if flow.row >= 0:
            for h in range(flow.first, flow.last):
                enter(s, h, links, hops, places)
    numbers[GONE] = numbers[HIGH]


@inlined
def deactivate(
    s: int, flow: Any, links: Any, hops: Any, places: Any, dirty: Any, free: Any, numbers: Any
) -> None:
    """Take a flow off its links."""
    flow.row = -1
    if flow.bottleneck >= 0:
        links[flow.bottleneck].bound -= 1
    for h in range(flow.first, flow.last):
        hop = hops[h]
        link = links[hop.link]
        link.count -= 1
        moved = places[link.first + link.count]
        place = places[hop.place]
        place.slot = moved.slot
        place.hop = moved.hop
        hops[moved.hop].place = hop.place
        link.used -= hop.weight * flow.rate
        if link.dirty == 0:
            link.dirty = 1
            dirty[numbers[DIRTY]] = hop.link
            numbers[DIRTY] += 1
    free[numbers[FREE]] = s
    numbers[FREE] += 1


@jit
def sift(heap: Any, i: int, n: int) -> None:
    """Restore a heap of links by share below place i."""
    share, link = heap[i].share, heap[i].link
    while True:
        child = 2 * i + 1
        if child >= n:
            break
        if child + 1 < n and heap[child + 1].share < heap[child].share:
            child += 1
        if heap[child].share >= share:
            break
        heap[i].share = heap[child].share
        heap[i].link = heap[child].link
        i = child
    heap[i].share = share
    heap[i].link = link


@jit
def freeze(number: int, level: float, stamp: int, flows: Any, links: Any, hops: Any, places: Any) -> None:
    """Fix the rates of the flows of the set on a link that is full."""
    full = links[number]
    for p in range(full.first, full.first + full.count):
        flow = flows[places[p].slot]
        if flow.stamp != stamp or flow.new_bottleneck >= 0:
            continue
        flow.new_rate = level
        flow.new_bottleneck = number
        full.low = level
        for h in range(flow.first, flow.last):
            hop = hops[h]
            link = links[hop.link]
            link.left -= level * hop.weight
            link.weight -= hop.weight
            link.unfrozen -= 1
            link.fastest = level


@jit
def fill(heap: Any, n: int, stamp: int, flows: Any, links: Any, hops: Any, places: Any) -> None:
    """Progressive filling of the flows of a set over the first ``n`` links in ``heap``.

    As long as one level fills a good part of the links, or only few are left, every round looks at all links; then
    a heap takes over.  A link's share only grows as flows freeze, so the heap looks at a link again only when its
    old share comes up first.
    """
    level = 0.0
    while True:
        m = 0
        best = np.inf
        for k in range(n):
            number = heap[k].link
            link = links[number]
            if link.unfrozen > 0:
                share = max(link.left, 0.0) / link.weight
                best = min(best, share)
                heap[m].share = share
                heap[m].link = number
                m += 1
        n = m
        if n == 0:
            return
        level = max(level, best)
        limit = level * (1 + LEVEL)
        frozen = 0
        for k in range(n):
            if heap[k].share <= limit:
                number = heap[k].link
                if links[number].unfrozen > 0:
                    freeze(number, level, stamp, flows, links, hops, places)
                    frozen += 1
        if n > FEW and frozen * 8 < n:
            break
    for k in range(n // 2, -1, -1):
        sift(heap, k, n)
    while n > 0:
        number = heap[0].link
        link = links[number]
        if link.unfrozen > 0:
            share = max(link.left, 0.0) / link.weight
            if share > heap[0].share * (1 + LEVEL):
                heap[0].share = share
                sift(heap, 0, n)
                continue
            if share > level * (1 + LEVEL):
                level = share
            freeze(number, level, stamp, flows, links, hops, places)
        n -= 1
        heap[0].share = heap[n].share
        heap[0].link = heap[n].link
        if n > 0:
            sift(heap, 0, n)


@inlined
def join(flow: Any, stamp: int, m: int, links: Any, hops: Any, touched: Any) -> int:
    """Add a flow to the set, and its links to those touched; return their number."""
    if flow.bottleneck >= 0:
        links[flow.bottleneck].bound -= 1
    for h in range(flow.first, flow.last):
        hop = hops[h]
        link = links[hop.link]
        if link.stamp != stamp:
            link.stamp = stamp
            link.free = link.capacity - link.used
            link.inside_weight = 0.0
            link.inside = 0
            touched[m] = hop.link
            m += 1
        link.free += hop.weight * flow.rate
        link.inside_weight += hop.weight
        link.inside += 1
    return m


@inlined
def first_members(
    everything: bool, stamp: int, flows: Any, links: Any, places: Any, dirty: Any, members: Any, fresh: Any,
    numbers: Any,
) -> int:  # fmt: skip
    """The flows that are certainly solved again: all, or those that came and those bound to links that changed."""
    n = 0
    if everything:
        for s in range(numbers[HIGH]):
            if flows[s].row >= 0:
                flows[s].stamp = stamp
                members[n] = s
                n += 1
    else:
        for k in range(numbers[FRESH]):
            flows[fresh[k]].stamp = stamp
            members[n] = fresh[k]
            n += 1
        for k in range(numbers[DIRTY]):
            link = links[dirty[k]]
            if link.bound > 0 or link.dirty == 2:
                for p in range(link.first, link.first + link.count):
                    flow = flows[places[p].slot]
                    if flow.stamp != stamp and (flow.bottleneck == dirty[k] or link.dirty == 2):
                        flow.stamp = stamp
                        members[n] = places[p].slot
                        n += 1
    return n


@inlined
def uncertified(
    m: int, n: int, stamp: int, flows: Any, links: Any, places: Any, touched: Any, members: Any
) -> int:
    """Add the flows outside the set that its new rates leave without certificate; return how many it has now."""
    for k in range(m):
        link = links[touched[k]]
        if link.inside == link.count:
            continue
        # Flows outside lose their certificate where the link has room now, or is faster for others ...
        loose = link.bound > 0 and (
            link.left > LEVEL * link.capacity or link.fastest > link.level * (1 + LEVEL)
        )
        # ... and a flow of the set where it is bound to a link that others use faster.
        most = link.low * (1 + LEVEL)
        if not loose and (most == np.inf or (link.bound > 0 and link.level <= most)):
            continue
        for p in range(link.first, link.first + link.count):
            flow = flows[places[p].slot]
            if flow.stamp != stamp and (flow.rate > most or (loose and flow.bottleneck == touched[k])):
                flow.stamp = stamp
                members[n] = places[p].slot
                n += 1
    return n


@jit
def solve(
    everything: bool, now: float, flows: Any, links: Any, hops: Any, places: Any, ends: Any, minima: Any,
    tops: Any, heap: Any, touched: Any, dirty: Any, members: Any, fresh: Any, numbers: Any,
) -> bool:  # fmt: skip
    """Solve again what changed, or everything; false when what changed turns out to be too much."""
    numbers[STAMP] += 1
    stamp = numbers[STAMP]
    active = numbers[HIGH] - numbers[FREE]
    joined, m, spent = 0, 0, 0
    n = first_members(everything, stamp, flows, links, places, dirty, members, fresh, numbers)
    while joined < n:
        while joined < n:
            m = join(flows[members[joined]], stamp, m, links, hops, touched)
            joined += 1
        spent += n
        if not everything and n > SMALL and (2 * n > active or spent > active):
            return False
        for k in range(m):
            link = links[touched[k]]
            link.left = link.capacity if link.inside == link.count else link.free
            link.weight = link.inside_weight
            link.unfrozen = link.inside
            link.low = np.inf
            link.fastest = 0.0
            heap[k].link = touched[k]
        for k in range(n):
            flow = flows[members[k]]
            flow.new_bottleneck = -1
            flow.new_rate = 0.0
        fill(heap, m, stamp, flows, links, hops, places)
        if not everything:
            n = uncertified(m, n, stamp, flows, links, places, touched, members)
    for k in range(m):
        link = links[touched[k]]
        if link.inside == link.count:
            link.used = 0.0
            link.bound = 0
    for k in range(n):
        flow = flows[members[k]]
        old, rate = flow.rate, flow.new_rate
        flow.bottleneck = flow.new_bottleneck
        if flow.bottleneck >= 0:
            link = links[flow.bottleneck]
            link.bound += 1
            link.level = rate
        for h in range(flow.first, flow.last):
            hop = hops[h]
            link = links[hop.link]
            link.used += hop.weight * (rate if link.inside == link.count else rate - old)
        if rate == old:
            continue
        if now > flow.since:
            flow.remaining = max(flow.remaining - old * (now - flow.since), 0.0)
        flow.since = now
        flow.rate = rate
        end = now
        if flow.remaining > 0.0:
            end = now + flow.remaining / rate if rate > 0.0 else np.inf
        if everything:
            ends[members[k]] = end
        else:
            set_end(members[k], end, ends, minima, tops)
    return True


@jit
def as_before(now: float, flows: Any, ends: Any, minima: Any, tops: Any, numbers: Any) -> None:
    """All rows whose places were kept, and no others, are back: their rates are as they were."""
    for s in range(numbers[HIGH]):
        flow = flows[s]
        ends[s] = now + flow.remaining / flow.rate if flow.rate > 0.0 else np.inf
    refresh(numbers[HIGH], ends, minima, tops)
    numbers[KEPT] = 0


@jit
def resolve(
    now: float, rows: Any, flows: Any, links: Any, hops: Any, places: Any, ends: Any, minima: Any, tops: Any,
    heap: Any, touched: Any, dirty: Any, members: Any, fresh: Any, free: Any, numbers: Any,
) -> None:  # fmt: skip
    """New rates after an event."""
    active = numbers[HIGH] - numbers[FREE]
    if numbers[KEPT] == 1 and numbers[DIRTY] == 0 and active * numbers[FREE] == 0:
        # Nobody is there, or all are back.
        if active > 0:
            as_before(now, flows, ends, minima, tops, numbers)
        numbers[GONE] = 0
        return
    if numbers[KEPT] == 1:
        clear_kept(rows, flows, links, hops, places, free, numbers)
    everything = (numbers[FRESH] + numbers[GONE]) * 8 > numbers[HIGH] - numbers[FREE]
    while not solve(
        everything, now, flows, links, hops, places, ends, minima, tops, heap, touched, dirty, members, fresh,
        numbers,
    ):  # fmt: skip
        everything = True
    if everything:
        refresh(numbers[HIGH], ends, minima, tops)
    numbers[FULL if everything else LOCAL] += 1
    for k in range(numbers[DIRTY]):
        links[dirty[k]].dirty = 0
    numbers[DIRTY] = 0
    numbers[FRESH] = 0
    numbers[GONE] = 0
