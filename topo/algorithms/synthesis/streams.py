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
from topo.fabric import BoolArray, FloatArray, IntArray, spread
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


@dataclass(frozen=True, eq=False)
class Pace:
    """How long steps take.

    Parameters
    ----------
    before : float array [stages + 1, links]
        Seconds that each link is busy per byte of one tree, with all stages before each at work.
    latency : float
        Largest latency of a hop, seconds.
    """

    before: FloatArray
    latency: float

    @classmethod
    def of(cls, hops: Hops, bandwidth: FloatArray) -> Pace:
        """The pace of hops on links of the given bytes/s."""
        sizes = np.asarray([len(way.links) for way in hops.ways])
        entries = spread(np.concatenate([[0], np.cumsum(sizes)]), hops.way)
        link = np.asarray([link for way in hops.ways for link in way.links], dtype=np.int64)[entries]
        share = np.asarray([share for way in hops.ways for share in way.shares])[entries]
        busy = np.zeros((hops.stages + 1, len(bandwidth)))
        np.add.at(busy, (np.repeat(hops.stage, sizes[hops.way]) + 1, link), share / bandwidth[link])
        return cls(np.cumsum(busy, axis=0), hops.latency)

    def whole(self, chunks: int, lag: int, bytes: float) -> float:
        """Seconds, at most, of ``chunks`` chunks of trees of ``bytes`` bytes, with a lag between stages."""
        begins = np.arange(len(self.before) - 1) * lag
        marks = np.unique(np.concatenate([begins, begins + chunks]))
        start, times = marks[:-1], np.diff(marks)
        first = np.searchsorted(begins + chunks, start, side="right")
        last = np.searchsorted(begins, start, side="right")
        step = (self.before[last] - self.before[first]).max(axis=1) * bytes / chunks
        return float((times * np.maximum(step, (step + self.latency) / lag)).sum()) + self.latency

    def best_lag(self, chunks: int, bytes: float) -> int:
        """The lag between stages, in steps, with the shortest whole time; no more than chunks, so no step is empty."""
        times = [self.whole(chunks, lag, bytes) for lag in range(1, min(MOST_LAG, chunks) + 1)]
        return 1 + times.index(min(times))

    def best_chunks(self, bytes: float, transfers: int) -> int:
        """The number of chunks, a power of two, with about the shortest whole time.

        Parameters
        ----------
        bytes : float
            Of one tree.
        transfers : int
            In a step with all stages at work.
        """
        most = min(MOST_CHUNKS, max(MOST_TRANSFERS // transfers, 1), max(int(bytes / LEAST_BYTES), 1))
        counts = [1 << i for i in range(most.bit_length())]
        times = [self.whole(chunks, self.best_lag(chunks, bytes), bytes) for chunks in counts]
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
    row = rows_of_hops(hops)
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


def rows_of_hops(hops: Hops) -> IntArray:
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
        waits=[
            *(_waits(added, start, repeat, lag, "arrival") if hops.stages > 1 else ()),
            *_waits(added, start, repeat, 1, "drain"),
        ],
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
