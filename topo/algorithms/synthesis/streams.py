"""Trees as a Schedule: chunks follow each other through all trees at once, in step.

In step t an edge at stage s of its tree carries chunk t - L s; L, the lag, is 1, or more where latency would
otherwise stall the next step.  What one link carries in a step is one transfer, and a run of steps with the same
edges at work is one batch.  Where edges share links behind a switch every tree keeps a transfer of its own: all
are then of equal size, max-min sharing gives each its due, and no step takes longer than the fullest link.
With n chunks, h stages, step time T and latency a the whole takes at most (n + L(h-1)) max(T, (T + a)/L) + a.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from topo.algorithms.synthesis.network import Way
from topo.fabric import BoolArray, IntArray
from topo.routing import Routes
from topo.schedule import Pieces, ScheduleBuilder, Table, Wait

MOST_LAG = 4
MOST_CHUNKS = 1024
MOST_TRANSFERS = 1 << 20
"""Transfers of one step times chunks beyond which fewer chunks are taken."""
LEAST_BYTES = 64.0
"""Bytes of the smallest chunk that is taken unasked."""
ENOUGH = 1.001


@dataclass(frozen=True, eq=False)
class Hops:
    """Edges of trees, each crossed once by every chunk.

    Parameters
    ----------
    tree, source, target, stage : int arrays [hops]
        What is crossed at a stage has arrived where the next stage needs it.
    way : int array [hops]
    ways : list of Way
    reduce : bool array [hops]
    """

    tree: IntArray
    source: IntArray
    target: IntArray
    stage: IntArray
    way: IntArray
    ways: list[Way]
    reduce: BoolArray

    @property
    def stages(self) -> int:
        """Number of stages."""
        return int(self.stage.max()) + 1

    @property
    def latency(self) -> float:
        """Largest latency of a hop, seconds."""
        return max([self.ways[int(i)].latency for i in np.unique(self.way)])


def whole_time(chunks: int, lag: int, stages: int, tree: float, latency: float) -> float:
    """Seconds, at most, of ``chunks`` chunks through trees that take ``tree`` seconds without latency and filling."""
    step = tree / chunks
    return (chunks + lag * (stages - 1)) * max(step, (step + latency) / lag) + latency


def best_lag(chunks: int, stages: int, tree: float, latency: float) -> int:
    """The lag between stages, in steps, with the shortest whole time."""
    times = [whole_time(chunks, lag, stages, tree, latency) for lag in range(1, MOST_LAG + 1)]
    return 1 + times.index(min(times))


def best_chunks(hops: Hops, bytes: float, tree: float) -> int:
    """The number of chunks, a power of two, with about the shortest whole time.

    Parameters
    ----------
    hops : Hops
    bytes : float
        Of one tree.
    tree : float
        Seconds that the trees take without latency and filling.
    """
    most = min(MOST_CHUNKS, max(MOST_TRANSFERS // len(np.unique(_rows(hops))), 1), max(int(bytes / LEAST_BYTES), 1))
    counts = [1 << i for i in range(most.bit_length())]
    times: list[float] = []
    for chunks in counts:
        lag = best_lag(chunks, hops.stages, tree, hops.latency)
        times.append(whole_time(chunks, lag, hops.stages, tree, hops.latency))
    enough = ENOUGH * min(times)
    return counts[[time <= enough for time in times].index(True)]


def add_streams(builder: ScheduleBuilder, hops: Hops, chunks: int, share: float, lag: int) -> None:
    """Add the batches that send ``chunks`` chunks through all trees.

    Parameters
    ----------
    builder : ScheduleBuilder
    hops : Hops
    chunks : int
        Chunk c of tree i is chunk ``i * chunks + c`` of the collective.
    share : float
        Bytes of one chunk.
    lag : int
    """
    row = _rows(hops)
    begins = np.unique(hops.stage) * lag
    marks = np.unique(np.concatenate([begins, begins + chunks]))
    added: list[tuple[int, int, int]] = []
    for start, end in zip(marks[:-1].tolist(), marks[1:].tolist(), strict=True):
        first = hops.stage * lag
        active = (first <= start) & (start < first + chunks)
        kinds = [reduce for reduce in (True, False) if (active & (hops.reduce == reduce)).any()]
        numbers = [(len(builder.batches) + i, start, end - start) for i in range(len(kinds))]
        added += numbers
        for reduce in kinds:
            chosen = np.flatnonzero(active & (hops.reduce == reduce))
            _add(builder, hops, chosen, row, chunks, share, lag, start, end - start, reduce, added)


def _rows(hops: Hops) -> IntArray:
    """Transfers that hops share: one per way that has its links for itself, one per hop elsewhere."""
    alike: dict[tuple[object, ...], int] = {}
    same = np.asarray([alike.setdefault((way.links, way.shares), i) for i, way in enumerate(hops.ways)])
    users: dict[int, int] = {}
    for i in np.unique(same[hops.way]).tolist():
        for link in hops.ways[i].links:
            users[link] = users.get(link, 0) + 1
    alone = np.asarray([all(users.get(link, 1) == 1 for link in way.links) for way in hops.ways])
    return np.where(alone[hops.way], same[hops.way], len(hops.ways) + np.arange(len(hops.way)))


def _add(
    builder: ScheduleBuilder,
    hops: Hops,
    chosen: IntArray,
    row: IntArray,
    chunks: int,
    share: float,
    lag: int,
    start: int,
    repeat: int,
    reduce: bool,
    added: list[tuple[int, int, int]],
) -> None:
    chosen = chosen[np.argsort(row[chosen], kind="stable")]
    _, first, counts = np.unique(row[chosen], return_index=True, return_counts=True)
    pointer = np.concatenate([[0], np.cumsum(counts)])
    one = chosen[first]
    builder.add(
        hops.source[one],
        hops.target[one],
        counts.astype(np.float64) * share,
        _pieces(pointer, hops.tree[chosen] * chunks + start - lag * hops.stage[chosen]),
        repeat=repeat,
        reduce=reduce,
        loop=False,
        waits=[*_waits(added, start, repeat, lag, "arrival"), *_waits(added, start, repeat, 1, "drain")],
        step=start,
        routes=routes_of([hops.ways[i] for i in hops.way[one]]),
    )


def _pieces(pointer: IntArray, chunk: IntArray) -> Pieces:
    def by_repeat(repeat: int) -> Table:
        return pointer, chunk + repeat

    return by_repeat


def _waits(added: list[tuple[int, int, int]], start: int, repeat: int, lag: int, on: str) -> list[Wait]:
    """Waits of every step for the step ``lag`` before it, in whichever batches that lies."""
    return [
        Wait(number, lag + other - start, on)
        for number, other, times in added
        if other <= start + repeat - 1 - lag and other + times - 1 >= start - lag
    ]


def routes_of(ways: list[Way]) -> Routes:
    """Routes of transfers that take one way each."""
    pointer = np.concatenate([[0], np.cumsum([len(way.links) for way in ways])])
    return Routes(
        pointer,
        np.asarray([link for way in ways for link in way.links], dtype=np.int64),
        np.asarray([share for way in ways for share in way.shares]),
        np.asarray([way.latency for way in ways]),
    )
