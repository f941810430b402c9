"""Synthesised schedules for sizes at which latency counts: greedy in expanded time, several seeds, the best kept.

All-gather is searched on the fabric, reduce-scatter on the reversed fabric and then run backwards in time,
all-reduce is one after the other.  See :mod:`topo.algorithms.synthesis.greedy`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from tqdm import tqdm

from topo.algorithms.parameters import whole, whole_or_best
from topo.algorithms.registry import Site, algorithm
from topo.algorithms.ring import GATHERING, REDUCING
from topo.algorithms.synthesis.greedy import Edges, Timeline, edges_of, greedy
from topo.algorithms.synthesis.network import MOST_NODES, network_of
from topo.algorithms.synthesis.streams import routes_of
from topo.collective import Collective, cut
from topo.errors import AlgorithmError
from topo.fabric import BoolArray, IntArray
from topo.schedule import Schedule, ScheduleBuilder, Wait, one_each

MOST_RANKS = 128
MOST_TRANSFERS = 200_000
PIECES = (1, 2, 4)
"""Chunks per rank that are tried."""
BUDGET = 60_000
"""Transfers that the search places in all, beyond which it tries fewer seeds."""
Pairs = tuple[IntArray, IntArray]


def small_enough(collective: Collective, site: Site) -> str:
    """The search places every chunk at every rank one by one."""
    if collective.ranks > MOST_RANKS:
        return f"the search among {collective.ranks} ranks takes too long (it stops at {MOST_RANKS})"
    if len(site.fabric.nodes) > MOST_NODES:
        return f"{site.fabric.name} has {len(site.fabric.nodes)} nodes (the search stops at {MOST_NODES})"
    return ""


@algorithm(
    "synthesised",
    ("all-reduce", "all-gather", "reduce-scatter"),
    fits=small_enough,
    scales=False,
    costly=True,
    parameters=(
        whole_or_best("pieces", "a number of chunks per rank"),
        whole("seed", 0, 0),
        whole("tries", 4),
    ),
)
def synthesised(
    collective: Collective, site: Site, chunks: int, pieces: int, seed: int, tries: int
) -> Schedule:
    """Found by search for this fabric and size: an idle way takes the rarest chunk that its far end lacks."""
    n = collective.ranks
    if pieces * n * (n - 1) > MOST_TRANSFERS:
        raise AlgorithmError(
            f"{pieces} pieces among {n} ranks are {pieces * n * (n - 1)} transfers",
            f"give at most {MOST_TRANSFERS // (n * (n - 1))} pieces",
        )
    found = _best(collective, site, pieces, seed, tries)
    flow = _flow(found, collective.operation)
    detail = f"{found.pieces} pieces a rank, best of {found.tried} tries from seed {seed}"
    builder = ScheduleBuilder(collective, "synthesised", partial(cut, collective, found.pieces), detail)
    _add_levels(builder, flow, collective.bytes / (n * found.pieces))
    return builder.build()


# ---------------------------------------------------------------------------------------------- the search


@dataclass(frozen=True, eq=False)
class _Found:
    """The best timelines."""

    pieces: int
    tried: int
    edges: dict[bool, Edges]
    timeline: dict[bool, Timeline]
    """By whether they run on the reversed fabric."""

    @property
    def finish(self) -> float:
        return sum(timeline.finish for timeline in self.timeline.values())


def _best(collective: Collective, site: Site, pieces: int, seed: int, tries: int) -> _Found:
    fabric, operation, n = site.fabric, collective.operation, collective.ranks
    key = ("synthesised", site.ranks.tobytes(), operation, collective.bytes, pieces, seed, tries)
    if key in fabric.cache:
        known: _Found = fabric.cache[key]
        return known
    sides = [side for side, used in ((True, operation in REDUCING), (False, operation in GATHERING)) if used]
    edges = {side: _edges(site, side) for side in sides}
    uneven = any(len(np.unique(np.round(e.cost / e.cost.min(), 9))) > 1 for e in edges.values())
    variants = (False, True) if uneven else (False,)
    counts = [pieces] if pieces else [c for c in PIECES if c == 1 or c * n * (n - 1) <= BUDGET // 4]
    runs = [(count, patient, seed) for count in counts for patient in variants]
    placed, best = 0, None
    progress = tqdm(desc="synthesis", unit="try", delay=2, disable=None, leave=False)
    tried = 0
    while runs:
        count, patient, number = runs.pop(0)
        size = collective.bytes / (n * count)
        found = _Found(
            count, 0, edges, {side: greedy(edges[side], n, count, size, number, patient) for side in sides}
        )
        tried += 1
        progress.update()
        placed += count * n * (n - 1) * len(sides)
        better = best is None or found.finish < best[0].finish
        if best is None or better:
            best = (found, patient)
        if not runs and tried < len(counts) * len(variants) + tries - 1 and placed < BUDGET:
            # More seeds for what did best.
            runs.append((best[0].pieces, best[1], number + 1))
    progress.close()
    assert best is not None, "at least one number of pieces is tried"
    chosen = _Found(best[0].pieces, tried, edges, best[0].timeline)
    fabric.cache[key] = chosen
    return chosen


def _edges(site: Site, backwards: bool) -> Edges:
    key = ("edges", site.ranks.tobytes(), backwards)
    if key not in site.fabric.cache:
        network = network_of(site.fabric, site.ranks, backwards, balanced=False)
        site.fabric.cache[key] = edges_of(network, site.fabric)
    found: Edges = site.fabric.cache[key]
    return found


# -------------------------------------------------------------------------------------------- the schedule


@dataclass(frozen=True, eq=False)
class _Flow:
    """Transfers in an order that respects what they wait for: pairs (waiting, awaited)."""

    source: IntArray
    target: IntArray
    chunk: IntArray
    way: IntArray
    edges: Edges
    reduce: BoolArray
    arrival: Pairs
    drain: Pairs

    def __len__(self) -> int:
        return len(self.source)


def _flow(found: _Found, operation: str) -> _Flow:
    parts = [_one(found.edges[side], found.timeline[side], side) for side in found.timeline]
    return parts[0] if len(parts) == 1 else _chained(parts[0], parts[1])


def _one(edges: Edges, timeline: Timeline, backwards: bool) -> _Flow:
    count = len(timeline.edge)
    source, target = edges.source[timeline.edge], edges.target[timeline.edge]
    later = np.flatnonzero(timeline.brought >= 0)
    arrival = (later, timeline.brought[later])
    drain = timeline.before
    if not backwards:
        return _Flow(
            source, target, timeline.chunk, timeline.edge, edges, np.zeros(count, dtype=bool), arrival, drain
        )

    def mirrored(pairs: Pairs) -> Pairs:
        return count - 1 - pairs[1], count - 1 - pairs[0]

    return _Flow(
        target[::-1],
        source[::-1],
        timeline.chunk[::-1],
        timeline.edge[::-1],
        edges,
        np.ones(count, dtype=bool),
        mirrored(arrival),
        mirrored(drain),
    )


def _chained(first: _Flow, second: _Flow) -> _Flow:
    """A reduce-scatter and then an all-gather, each chunk and link going on as soon as it can."""
    shift = len(first)
    # The first copies of a chunk wait for every reduction into its root.
    begins = np.setdiff1d(np.arange(len(second)), second.arrival[0])
    into: dict[tuple[int, int], list[int]] = {}
    for i, place in enumerate(zip(first.target.tolist(), first.chunk.tolist(), strict=True)):
        into.setdefault(place, []).append(i)
    joints = [
        (i + shift, j)
        for i in begins.tolist()
        for j in into.get((int(second.source[i]), int(second.chunk[i])), [])
    ]
    last = {link: i for i in range(shift) for link in first.edges.ways[first.way[i]].links}
    seen: set[int] = set()
    handovers: set[tuple[int, int]] = set()
    for i in range(len(second)):
        fresh = [link for link in second.edges.ways[second.way[i]].links if link not in seen]
        handovers |= {(i + shift, last[link]) for link in fresh if link in last}
        seen.update(fresh)

    def joined(one: Pairs, two: Pairs, more: list[tuple[int, int]]) -> Pairs:
        extra = np.asarray(more, dtype=np.int64).reshape(-1, 2)
        return (
            np.concatenate([one[0], two[0] + shift, extra[:, 0]]),
            np.concatenate([one[1], two[1] + shift, extra[:, 1]]),
        )

    both = Edges(
        np.concatenate([first.edges.source, second.edges.source]),
        np.concatenate([first.edges.target, second.edges.target]),
        first.edges.ways + second.edges.ways,
        np.concatenate([first.edges.latency, second.edges.latency]),
        np.concatenate([first.edges.cost, second.edges.cost]),
    )
    return _Flow(
        np.concatenate([first.source, second.source]),
        np.concatenate([first.target, second.target]),
        np.concatenate([first.chunk, second.chunk]),
        np.concatenate([first.way, second.way + len(first.edges.ways)]),
        both,
        np.concatenate([first.reduce, second.reduce]),
        joined(first.arrival, second.arrival, joints),
        joined(first.drain, second.drain, sorted(handovers)),
    )


def _add_levels(builder: ScheduleBuilder, flow: _Flow, size: float) -> None:
    """One batch per level and kind: a transfer stands one level above the highest it waits for."""
    level = _levels(flow)
    batch_of = np.zeros(len(flow), dtype=np.int64)
    place = np.zeros(len(flow), dtype=np.int64)
    kinds = level * 2 + ~flow.reduce
    for kind in np.unique(kinds).tolist():
        members = np.flatnonzero(kinds == kind)
        batch_of[members] = len(builder.batches)
        place[members] = np.arange(len(members))
        number = builder.add(
            flow.source[members],
            flow.target[members],
            size,
            one_each(flow.chunk[members]),
            reduce=bool(flow.reduce[members[0]]),
            waits=[
                *_waits(flow.arrival, members, batch_of, place, "arrival"),
                *_waits(flow.drain, members, batch_of, place, "drain"),
            ],
            step=kind // 2,
            routes=routes_of([flow.edges.ways[i] for i in flow.way[members]]),
        )
        assert number == batch_of[members[0]]


def _levels(flow: _Flow) -> IntArray:
    waiting = np.concatenate([flow.arrival[0], flow.drain[0]])
    awaited = np.concatenate([flow.arrival[1], flow.drain[1]])
    level = np.zeros(len(flow), dtype=np.int64)
    for i in np.argsort(waiting, kind="stable").tolist():
        level[waiting[i]] = max(level[waiting[i]], level[awaited[i]] + 1)
    return level


def _waits(pairs: Pairs, members: IntArray, batch_of: IntArray, place: IntArray, on: str) -> list[Wait]:
    chosen = np.isin(pairs[0], members)
    waiting, awaited = pairs[0][chosen], pairs[1][chosen]
    behind = batch_of[awaited]
    return [
        Wait(int(number), on=on, pairs=(place[waiting[behind == number]], place[awaited[behind == number]]))
        for number in np.unique(behind)
    ]
