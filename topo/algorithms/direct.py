"""Direct exchange: every rank talks to every other without relays.

On a star with link bandwidth B and latency a: all-to-all 2a + (N-1)m/B; two-shot all-reduce
2(2a + (N-1)/N S/B); one-shot all-reduce 2a + (N-1)S/B.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from topo.algorithms.registry import Site, algorithm
from topo.collective import Collective, cut
from topo.fabric import IntArray
from topo.schedule import Schedule, ScheduleBuilder, one_each, rows_of


def all_pairs(ranks: int) -> tuple[IntArray, IntArray]:
    """Every ordered pair of different ranks, by source, nearest rank numbers first."""
    source = np.repeat(np.arange(ranks), ranks - 1)
    shift = np.tile(np.arange(1, ranks), ranks)
    return source, (source + shift) % ranks


@algorithm("direct", ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "broadcast", "reduce", "send-recv"))
def direct(collective: Collective, site: Site, chunks: int) -> Schedule:
    """Everyone sends straight to everyone at once; all-reduce as reduce-scatter then all-gather (two-shot)."""
    n, operation = collective.ranks, collective.operation
    builder = ScheduleBuilder(collective, "direct", partial(cut, collective))
    if operation == "send-recv":
        builder.add([collective.root], [collective.peer], collective.bytes, one_each(np.zeros(1, dtype=np.int64)))
    elif operation in ("broadcast", "reduce"):
        others = np.delete(np.arange(n), collective.root)
        roots = np.full(n - 1, collective.root)
        ends = (roots, others) if operation == "broadcast" else (others, roots)
        chunk = one_each(np.zeros(n - 1, dtype=np.int64))
        builder.add(*ends, collective.bytes, chunk, reduce=operation == "reduce")
    elif operation == "all-to-all":
        source, target = all_pairs(n)
        size = collective.blocks()[source, target]
        moved = size > 0
        source, target, size = source[moved], target[moved], size[moved]
        builder.add(source, target, size, one_each(source * n + target))
    else:
        source, target = all_pairs(n)
        before: tuple[int, ...] = ()
        share = collective.bytes / n
        if operation != "all-gather":
            before = (builder.add(source, target, share, one_each(target), reduce=True),)
        if operation != "reduce-scatter":
            builder.add(source, target, share, one_each(source), after=before)
    return builder.build()


@algorithm("one-shot", ("all-reduce",))
def one_shot(collective: Collective, site: Site, chunks: int) -> Schedule:
    """Every rank sends its whole buffer to every peer, which reduces: one hop, N-1 times the bytes."""
    n = collective.ranks
    builder = ScheduleBuilder(collective, "one-shot", partial(cut, collective))
    source, target = all_pairs(n)
    whole = rows_of(np.tile(np.arange(n), (len(source), 1)))
    builder.add(source, target, collective.bytes, whole, reduce=True)
    return builder.build()


@algorithm("pairwise", ("all-to-all",))
def pairwise(collective: Collective, site: Site, chunks: int) -> Schedule:
    """All-to-all in N-1 shifted steps: in step t rank r sends to r+t, (N-1)(2a + m/B) on a star."""
    n = collective.ranks
    builder = ScheduleBuilder(collective, "pairwise", partial(cut, collective))
    blocks = collective.blocks()
    ranks = np.arange(n)
    before: tuple[int, ...] = ()
    for shift in range(1, n):
        peer = (ranks + shift) % n
        before = (builder.add(ranks, peer, blocks[ranks, peer], one_each(ranks * n + peer), after=before),)
    return builder.build()
