"""A second, deliberately simple engine: the judge of the real one.

Plain Python, one object per transfer and repeat, textbook progressive filling from zero after every event.  No
gates, no folding, no skipping, no arrays.  It finds its own routes, too.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from topo.fabric import SWITCH, Fabric
from topo.schedule import LAST, Schedule

Link = int
TIE = 1e-12


# ------------------------------------------------------------------------------------------------------ sharing


def max_min(capacity: Mapping[Link, float], flows: Sequence[Mapping[Link, float]]) -> list[float]:
    """Textbook progressive filling: raise all rates together, freeze the flows of each link that fills up."""
    rate = [0.0] * len(flows)
    open_flows = set(range(len(flows)))
    while open_flows:
        load: dict[Link, float] = defaultdict(float)
        frozen_load: dict[Link, float] = defaultdict(float)
        for f, route in enumerate(flows):
            for link, weight in route.items():
                if f in open_flows:
                    load[link] += weight
                else:
                    frozen_load[link] += weight * rate[f]
        level = {link: max(capacity[link] - frozen_load[link], 0.0) / load[link] for link in load}
        lowest = min(level.values())
        full = {link for link in level if level[link] <= lowest * (1 + 1e-10)}
        now_frozen = {f for f in open_flows if full & flows[f].keys()}
        for f in now_frozen:
            rate[f] = lowest
        open_flows -= now_frozen
    return rate


# ------------------------------------------------------------------------------------------------------- routes


def neighbours(fabric: Fabric) -> dict[int, list[tuple[int, Link]]]:
    """Next nodes and the links to them, by node."""
    found: dict[int, list[tuple[int, Link]]] = defaultdict(list)
    for link in range(fabric.links):
        found[int(fabric.source[link])].append((int(fabric.target[link]), link))
    return found


def distances(fabric: Fabric, goal: int) -> dict[int, int]:
    """Fewest links from each node to the goal."""
    backwards: dict[int, list[int]] = defaultdict(list)
    for a, b in zip(fabric.source.tolist(), fabric.target.tolist(), strict=True):
        backwards[b].append(a)
    found, queue = {goal: 0}, [goal]
    for node in queue:
        for previous in backwards[node]:
            if previous not in found:
                found[previous] = found[node] + 1
                queue.append(previous)
    return found


def shortest(fabric: Fabric, source: int, target: int) -> tuple[dict[Link, float], float]:
    """Shares by link and the longest latency of the shortest ways, split by bandwidth at every node."""
    far = distances(fabric, target)
    onward = neighbours(fabric)
    shares: dict[Link, float] = defaultdict(float)

    def walk(node: int, share: float) -> float:
        if node == target:
            return 0.0
        ways = [(n, link) for n, link in onward[node] if far.get(n, -1) == far[node] - 1]
        width = sum(float(fabric.bandwidth[link]) for _, link in ways)
        late = 0.0
        for n, link in ways:
            part = share * float(fabric.bandwidth[link]) / width
            shares[link] += part
            late = max(late, float(fabric.latency[link]) + walk(n, part))
        return late

    return shares, walk(source, 1.0)


def by_dimension(fabric: Fabric, source: int, target: int) -> tuple[dict[Link, float], float] | None:
    """Dimension order by ranks, half-ring ties split; None when a link on the way is missing."""
    grid = fabric.grid
    assert grid is not None
    place = list(itertools.product(*[range(k) for k in grid.shape]))
    number = {p: i for i, p in enumerate(place)}
    choices: list[list[int]] = []
    for d, k in enumerate(grid.shape):
        ahead = place[target][d] - place[source][d]
        if not grid.wrap[d]:
            choices.append([ahead])
            continue
        up = ahead % k
        choices.append([up, up - k] if 2 * up == k else [up] if 2 * up < k else [up - k])
    onward = neighbours(fabric)
    shares: dict[Link, float] = defaultdict(float)
    latency = 0.0
    ways = list(itertools.product(*choices))
    for way in ways:
        at, late = list(place[source]), 0.0
        for d, steps in enumerate(way):
            for _ in range(abs(steps)):
                here = int(fabric.accelerators[number[tuple(at)]])
                at[d] = (at[d] + (1 if steps > 0 else -1)) % grid.shape[d]
                there = int(fabric.accelerators[number[tuple(at)]])
                found = [link for n, link in onward[here] if n == there]
                if not found:
                    return None
                shares[found[0]] += 1 / len(ways)
                late += float(fabric.latency[found[0]])
        latency = max(latency, late)
    return shares, latency


def route(fabric: Fabric, source_rank: int, target_rank: int) -> tuple[dict[Link, float], float]:
    """The fabric's own way between two ranks."""
    if fabric.routing == "dimension-order":
        found = by_dimension(fabric, source_rank, target_rank)
        if found is not None:
            return found
    return shortest(fabric, int(fabric.accelerators[source_rank]), int(fabric.accelerators[target_rank]))


def star_tree(
    fabric: Fabric, sources: Iterable[int], targets: Iterable[int]
) -> tuple[dict[Link, float], float]:
    """A tree over the one switch that all ranks hang on."""
    (switch,) = (int(n) for n in np.flatnonzero(fabric.kind == SWITCH))
    index = {(int(a), int(b)): i for i, (a, b) in enumerate(zip(fabric.source, fabric.target, strict=True))}
    up = [index[int(fabric.accelerators[r]), switch] for r in sources]
    down = [index[switch, int(fabric.accelerators[r])] for r in targets]
    late = max(float(fabric.latency[i]) for i in up) + max(float(fabric.latency[i]) for i in down)
    return dict.fromkeys(up + down, 1.0), late


# ------------------------------------------------------------------------------------------------------ the run


@dataclass(eq=False)
class Transfer:
    """One repeat of one transfer (of one link of it, when messages are stored and forwarded)."""

    bytes: float
    links: dict[Link, float]
    latency: float
    after_arrival: set[Transfer] = field(default_factory=set)
    after_drain: set[Transfer] = field(default_factory=set)
    begun: bool = False
    left: float = 0.0
    drained: float | None = None
    arrived: float | None = None

    def ready(self) -> bool:
        return (
            not self.begun
            and all(t.arrived is not None for t in self.after_arrival)
            and all(t.drained is not None for t in self.after_drain)
        )


@dataclass(eq=False)
class Message:
    """One repeat of one transfer of a schedule: one Transfer, or one for each link when stored and forwarded."""

    hops: dict[Link, Transfer]
    heads: list[Transfer]
    tails: list[Transfer]


Name = tuple[int, int, int]
"""Batch, repeat and transfer."""


@dataclass(eq=False)
class NaiveJob:
    """A schedule to run, and what became of it."""

    start: float
    messages: dict[Name, Message]

    @property
    def all(self) -> list[Transfer]:
        return [t for message in self.messages.values() for t in message.hops.values()]

    @property
    def finish(self) -> float:
        return max((t.arrived or 0.0 for t in self.all), default=self.start)

    def row_finish(self) -> list[float]:
        """When the last repeat of every transfer of every batch arrived, batch after batch."""
        ends: dict[tuple[int, int], float] = defaultdict(float)
        for (batch, _, i), message in self.messages.items():
            ends[batch, i] = max(ends[batch, i], *(t.arrived or 0.0 for t in message.tails))
        return [ends[key] for key in sorted(ends)]


def ranks_of(table: tuple[np.ndarray, np.ndarray], i: int) -> list[int]:
    """Ranks in row i of a compressed table."""
    return [int(r) for r in table[1][table[0][i] : table[0][i + 1]]]


def job(
    fabric: Fabric,
    schedule: Schedule,
    *,
    start: float = 0.0,
    ranks: Sequence[int] | None = None,
    barrier: bool = False,
    store_and_forward: bool = False,
) -> NaiveJob:
    """Expand a schedule into single transfers with explicit dependencies."""
    schedule = schedule.whole()
    group = list(range(schedule.collective.ranks)) if ranks is None else [int(r) for r in ranks]
    messages: dict[Name, Message] = {}
    for number, batch in enumerate(schedule.batches):
        for i in range(len(batch)):
            senders, receivers = ranks_of(batch.senders(), i), ranks_of(batch.receivers(), i)
            if batch.form == "direct":
                links, latency = route(fabric, group[senders[0]], group[receivers[0]])
            else:
                links, latency = star_tree(fabric, [group[r] for r in senders], [group[r] for r in receivers])
            for repeat in range(batch.repeat):
                size = float(batch.bytes[i])
                if store_and_forward:
                    messages[number, repeat, i] = _hop_by_hop(fabric, size, links, batch.form == "direct")
                else:
                    whole = Transfer(size, dict(links), latency)
                    messages[number, repeat, i] = Message({0: whole}, [whole], [whole])
    for (number, repeat, i), message in messages.items():
        for arrival, name in _dependencies(schedule, number, repeat, i, barrier):
            for head in message.heads:
                if arrival:
                    head.after_arrival.update(messages[name].tails)
                else:
                    head.after_drain.update(messages[name].heads)
        if repeat:
            for key, hop in message.hops.items():
                hop.after_drain.add(messages[number, repeat - 1, i].hops[key])
    return NaiveJob(start, messages)


def _hop_by_hop(fabric: Fabric, size: float, links: dict[Link, float], ranks_relay: bool) -> Message:
    """Transfers of the single links of a message; no stream of a tree passes a rank."""
    hops = {k: Transfer(size * share, {k: 1.0}, float(fabric.latency[k])) for k, share in links.items()}
    relays = [ranks_relay or fabric.kind[node] == SWITCH for node in range(len(fabric.nodes))]
    feeds = [
        (a, b)
        for a in hops
        for b in hops
        if fabric.target[a] == fabric.source[b] and relays[fabric.source[b]]
    ]
    for a, b in feeds:
        hops[b].after_arrival.add(hops[a])
    heads = [hops[k] for k in hops if k not in {b for _, b in feeds}]
    tails = [hops[k] for k in hops if k not in {a for a, _ in feeds}]
    return Message(hops, heads, tails)


def _dependencies(
    schedule: Schedule, number: int, repeat: int, i: int, barrier: bool
) -> Iterable[tuple[bool, Name]]:
    """What one message waits for, as (its arrival or its drain, name)."""
    batch = schedule.batches[number]
    if barrier:
        for n, other in enumerate(schedule.batches):
            for r in range(other.repeat):
                if other.step + r < batch.step + repeat:
                    yield from ((True, (n, r, j)) for j in range(len(other)))
        return
    mine = set(ranks_of(batch.senders(), i))
    for wait in batch.waits:
        other = schedule.batches[wait.batch]
        until = other.repeat if wait.lag == LAST else min(max(repeat - wait.lag + 1, 0), other.repeat)
        if not until:
            continue
        arrival = wait.on == "arrival"
        for j in range(len(other)):
            if wait.pairs is not None:
                meant = any(a == i and b == j for a, b in zip(*wait.pairs, strict=True))
            else:
                meant = bool(mine & set(ranks_of(other.receivers() if arrival else other.senders(), j)))
            if meant:
                yield arrival, (wait.batch, until - 1, j)


class StalledError(Exception):
    """Nothing moves any more, but transfers are left."""


def run(
    capacity: Sequence[float] | np.ndarray,
    jobs: Sequence[NaiveJob],
    changes: Sequence[tuple[float, Link, float]] = (),
) -> None:
    """Run jobs on links from time zero until all is done; ``changes`` are (time, link, new capacity)."""
    speed = {link: float(c) for link, c in enumerate(capacity)}
    now = 0.0
    later = sorted(changes)
    waiting: list[tuple[float, Transfer]] = [(j.start, t) for j in jobs for t in j.all]
    active: list[Transfer] = []
    flying: list[tuple[float, Transfer]] = []
    while waiting or active or flying:
        while True:
            begin = [(s, t) for s, t in waiting if s <= now and t.ready()]
            if not begin:
                break
            for entry in begin:
                waiting.remove(entry)
                transfer = entry[1]
                transfer.begun = True
                if transfer.bytes > 0:
                    transfer.left = transfer.bytes
                    active.append(transfer)
                else:
                    transfer.drained = now
                    if transfer.latency > 0:
                        flying.append((now + transfer.latency, transfer))
                    else:
                        transfer.arrived = now
        rates = max_min(speed, [t.links for t in active])
        moments = [now + t.left / r for t, r in zip(active, rates, strict=True) if r > 0]
        moments += [when for when, _ in flying] + [c[0] for c in later] + [s for s, _ in waiting if s > now]
        if not moments:
            if not (waiting or active):
                return
            raise StalledError(f"{len(active)} active, {len(waiting)} waiting")
        then = min(moments)
        for t, r in zip(active, rates, strict=True):
            t.left -= r * (then - now)
        ended = [t for t, r in zip(active, rates, strict=True) if t.left <= r * then * TIE]
        now = then
        active = [t for t in active if t not in ended]
        for t in ended:
            t.drained = now
            flying.append((now + t.latency, t))
        for when, t in flying:
            if when <= now * (1 + TIE):
                t.arrived = now
        flying = [(when, t) for when, t in flying if t.arrived is None]
        while later and later[0][0] <= now:
            _, link, value = later.pop(0)
            speed[link] = value
