"""Compiled: max-min fair rates of flows, solved again only where they may have changed.

After an event the flows that came and those bound to links that changed are solved again beside all others.  As
long as a flow outside that set has lost its certificate (a full link on which no flow is faster), it joins, and
the set is solved again.  What the others take of a link is known without looking at them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from topo.network.compiling import jit
from topo.network.event_times import (
    ACTIVE,
    CHANGED,
    DIRTY,
    FREE,
    FRESH,
    FULL,
    HIGH,
    LOCAL,
    STAMP,
    refresh,
    set_end,
)

LEVEL = 1e-9
"""Shares within this relative distance are one level of the filling."""
FEW = 24
"""Links among which a look at all is quicker than a heap."""
SMALL = 32
"""Sets that are never too large to be solved apart."""


@jit
def activate(
    i: int, remaining: float, now: float, rows: Any, flows: Any, links: Any, hops: Any, places: Any,
    dirty: Any, fresh: Any, free: Any, numbers: Any,
) -> None:  # fmt: skip
    """Put a row on its links."""
    if numbers[FREE] > 0:
        numbers[FREE] -= 1
        s = free[numbers[FREE]]
    else:
        s = numbers[HIGH]
        numbers[HIGH] += 1
    rows[i].slot = s
    flows[s].row = i
    flows[s].first = rows[i].first
    flows[s].last = rows[i].last
    flows[s].remaining = remaining
    flows[s].since = now
    flows[s].rate = 0.0
    flows[s].bottleneck = -1
    fresh[numbers[FRESH]] = s
    numbers[FRESH] += 1
    numbers[ACTIVE] += 1
    numbers[CHANGED] += 1
    for h in range(rows[i].first, rows[i].last):
        link = hops[h].link
        place = links[link].first + links[link].count
        places[place].slot = s
        places[place].hop = h
        hops[h].place = place
        links[link].count += 1


@jit
def deactivate(
    s: int, rows: Any, flows: Any, links: Any, hops: Any, places: Any, dirty: Any, free: Any, numbers: Any
) -> None:
    """Take a flow off its links."""
    rate = flows[s].rate
    if flows[s].bottleneck >= 0:
        links[flows[s].bottleneck].bound -= 1
    for h in range(flows[s].first, flows[s].last):
        link = hops[h].link
        links[link].count -= 1
        place = hops[h].place
        moved = links[link].first + links[link].count
        places[place].slot = places[moved].slot
        places[place].hop = places[moved].hop
        hops[places[place].hop].place = place
        links[link].used -= hops[h].weight * rate
        if links[link].dirty == 0:
            links[link].dirty = 1
            dirty[numbers[DIRTY]] = link
            numbers[DIRTY] += 1
    rows[flows[s].row].slot = -1
    flows[s].row = -1
    free[numbers[FREE]] = s
    numbers[FREE] += 1
    numbers[ACTIVE] -= 1
    numbers[CHANGED] += 1
    if numbers[ACTIVE] == 0:
        numbers[FREE] = 0
        numbers[HIGH] = 0


@jit
def sift(order: Any, links: Any, i: int, n: int) -> None:
    """Restore a heap of links by share below place i."""
    link = order[i]
    share = links[link].share
    while True:
        child = 2 * i + 1
        if child >= n:
            break
        if child + 1 < n and links[order[child + 1]].share < links[order[child]].share:
            child += 1
        if links[order[child]].share >= share:
            break
        order[i] = order[child]
        i = child
    order[i] = link


@jit
def freeze(link: int, level: float, stamp: int, flows: Any, links: Any, hops: Any, places: Any) -> None:
    """Fix the rates of the flows of the set on a link that is full."""
    for place in range(links[link].first, links[link].first + links[link].count):
        s = places[place].slot
        if flows[s].stamp != stamp or flows[s].new_bottleneck >= 0:
            continue
        flows[s].new_rate = level
        flows[s].new_bottleneck = link
        links[link].low = level
        for h in range(flows[s].first, flows[s].last):
            other = hops[h].link
            links[other].left -= level * hops[h].weight
            links[other].weight -= hops[h].weight
            links[other].unfrozen -= 1
            links[other].fastest = level


@jit
def fill(order: Any, n: int, stamp: int, flows: Any, links: Any, hops: Any, places: Any) -> None:
    """Progressive filling of the flows of a set over ``n`` links in ``order``.

    As long as one level fills a good part of the links, or only few are left, every round looks at all links; then
    a heap takes over.  A link's share only grows as flows freeze, so the heap looks at a link again only when its
    old share comes up first.
    """
    level = 0.0
    while True:
        m = 0
        best = np.inf
        for k in range(n):
            link = order[k]
            if links[link].unfrozen > 0:
                share = max(links[link].left, 0.0) / links[link].weight
                links[link].share = share
                best = min(best, share)
                order[m] = link
                m += 1
        n = m
        if n == 0:
            return
        level = max(level, best)
        limit = level * (1 + LEVEL)
        frozen = 0
        for k in range(n):
            if links[order[k]].share <= limit and links[order[k]].unfrozen > 0:
                freeze(order[k], level, stamp, flows, links, hops, places)
                frozen += 1
        if n > FEW and frozen * 8 < n:
            break
    for k in range(n // 2, -1, -1):
        if k < n:
            sift(order, links, k, n)
    while n > 0:
        link = order[0]
        if links[link].unfrozen > 0:
            share = max(links[link].left, 0.0) / links[link].weight
            if share > links[link].share * (1 + LEVEL):
                links[link].share = share
                sift(order, links, 0, n)
                continue
            if share > level * (1 + LEVEL):
                level = share
            freeze(link, level, stamp, flows, links, hops, places)
        n -= 1
        order[0] = order[n]
        if n > 0:
            sift(order, links, 0, n)


@jit
def join(
    s: int, stamp: int, n: int, m: int, flows: Any, links: Any, hops: Any, members: Any, touched: Any
) -> int:
    """Add a flow to the set, and its links to those touched; return their number."""
    flows[s].stamp = stamp
    members[n] = s
    if flows[s].bottleneck >= 0:
        links[flows[s].bottleneck].bound -= 1
    rate = flows[s].rate
    for h in range(flows[s].first, flows[s].last):
        link = hops[h].link
        weight = hops[h].weight
        if links[link].stamp != stamp:
            links[link].stamp = stamp
            links[link].free = links[link].capacity - links[link].used
            links[link].inside_weight = 0.0
            links[link].inside = 0
            touched[m] = link
            m += 1
        links[link].free += weight * rate
        links[link].inside_weight += weight
        links[link].inside += 1
    return m


@jit
def solve(
    everything: bool, now: float, flows: Any, links: Any, hops: Any, places: Any, ends: Any, minima: Any,
    tops: Any, order: Any, touched: Any, dirty: Any, members: Any, fresh: Any, numbers: Any,
) -> bool:  # fmt: skip
    """Solve again what changed, or everything; false when what changed turns out to be too much."""
    numbers[STAMP] += 1
    stamp = numbers[STAMP]
    n, m = 0, 0
    if everything:
        for s in range(numbers[HIGH]):
            if flows[s].row >= 0:
                m = join(s, stamp, n, m, flows, links, hops, members, touched)
                n += 1
    else:
        for k in range(numbers[FRESH]):
            m = join(fresh[k], stamp, n, m, flows, links, hops, members, touched)
            n += 1
        for k in range(numbers[DIRTY]):
            link = dirty[k]
            if links[link].bound == 0 and links[link].dirty == 1:
                continue
            for place in range(links[link].first, links[link].first + links[link].count):
                s = places[place].slot
                if flows[s].stamp != stamp and (flows[s].bottleneck == link or links[link].dirty == 2):
                    m = join(s, stamp, n, m, flows, links, hops, members, touched)
                    n += 1
    spent = 0
    while True:
        spent += n
        if not everything and n > SMALL and (2 * n > numbers[ACTIVE] or spent > numbers[ACTIVE]):
            return False
        for k in range(m):
            link = touched[k]
            whole = links[link].inside == links[link].count
            links[link].left = links[link].capacity if whole else links[link].free
            links[link].weight = links[link].inside_weight
            links[link].unfrozen = links[link].inside
            links[link].low = np.inf
            links[link].fastest = 0.0
            order[k] = link
        for k in range(n):
            flows[members[k]].new_bottleneck = -1
            flows[members[k]].new_rate = 0.0
        fill(order, m, stamp, flows, links, hops, places)
        if everything:
            break
        before = n
        for k in range(m):
            link = touched[k]
            if links[link].inside == links[link].count:
                continue
            # Flows outside lose their certificate where the link has room now, or is faster for others ...
            loose = links[link].bound > 0 and (
                links[link].left > LEVEL * links[link].capacity
                or links[link].fastest > links[link].level * (1 + LEVEL)
            )
            # ... and a flow of the set where it is bound to a link that others use faster.
            most = links[link].low * (1 + LEVEL)
            if not loose and (most == np.inf or (links[link].bound > 0 and links[link].level <= most)):
                continue
            for place in range(links[link].first, links[link].first + links[link].count):
                s = places[place].slot
                if flows[s].stamp != stamp and (
                    flows[s].rate > most or (loose and flows[s].bottleneck == link)
                ):
                    m = join(s, stamp, n, m, flows, links, hops, members, touched)
                    n += 1
        if n == before:
            break
    for k in range(m):
        link = touched[k]
        if links[link].inside == links[link].count:
            links[link].used = 0.0
            links[link].bound = 0
    for k in range(n):
        accept(members[k], not everything, now, flows, links, hops, ends, minima, tops)
    return True


@jit
def accept(
    s: int, apart: bool, now: float, flows: Any, links: Any, hops: Any, ends: Any, minima: Any, tops: Any
) -> None:
    """Give a flow its new rate."""
    old, rate = flows[s].rate, flows[s].new_rate
    bottleneck = flows[s].new_bottleneck
    flows[s].bottleneck = bottleneck
    if bottleneck >= 0:
        links[bottleneck].bound += 1
        links[bottleneck].level = rate
    for h in range(flows[s].first, flows[s].last):
        link = hops[h].link
        whole = links[link].inside == links[link].count
        links[link].used += hops[h].weight * (rate if whole else rate - old)
    if rate == old:
        return
    if now > flows[s].since:
        flows[s].remaining = max(flows[s].remaining - old * (now - flows[s].since), 0.0)
    flows[s].since = now
    flows[s].rate = rate
    end = np.inf
    if flows[s].remaining <= 0.0:
        end = now
    elif rate > 0.0:
        end = now + flows[s].remaining / rate
    if apart:
        set_end(s, end, ends, minima, tops)
    else:
        ends[s] = end


@jit
def resolve(
    now: float, flows: Any, links: Any, hops: Any, places: Any, ends: Any, minima: Any, tops: Any,
    order: Any, touched: Any, dirty: Any, members: Any, fresh: Any, numbers: Any,
) -> None:  # fmt: skip
    """New rates after an event."""
    apart = numbers[CHANGED] * 8 <= numbers[ACTIVE] and solve(
        False,
        now,
        flows,
        links,
        hops,
        places,
        ends,
        minima,
        tops,
        order,
        touched,
        dirty,
        members,
        fresh,
        numbers,
    )
    if apart:
        numbers[LOCAL] += 1
    else:
        solve(
            True,
            now,
            flows,
            links,
            hops,
            places,
            ends,
            minima,
            tops,
            order,
            touched,
            dirty,
            members,
            fresh,
            numbers,
        )
        refresh(numbers[HIGH], ends, minima, tops)
        numbers[FULL] += 1
    for k in range(numbers[DIRTY]):
        links[dirty[k]].dirty = 0
    numbers[DIRTY] = 0
    numbers[FRESH] = 0
    numbers[CHANGED] = 0
