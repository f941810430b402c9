"""Direct exchange: every rank talks to every other without relays.

On a star with link bandwidth B and latency a: all-to-all 2a + (N-1)m/B; two-shot all-reduce
2(2a + (N-1)/N S/B); one-shot all-reduce 2a + (N-1)S/B.  As a barrier, signals without bytes: the longest path's
latency, which no barrier can beat where issuing a message costs nothing.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from topo.algorithms.dissemination import tokens
from topo.algorithms.homes import full_mesh, star
from topo.algorithms.invariance import PairChunks, add_by_shift, all_shifts, shift_grid
from topo.algorithms.registry import Site, algorithm
from topo.collective import OPERATIONS, Chunks, Collective, cut
from topo.fabric import IntArray
from topo.schedule import Schedule, ScheduleBuilder, Table, one_each, rows_of


def cut_blocks(collective: Collective) -> Chunks:
    """The collective's natural chunks; an empty block of an all-to-all has nowhere to go."""
    chunks = cut(collective)
    if collective.operation != "all-to-all":
        return chunks
    return replace(chunks, target=np.where(chunks.bytes > 0, chunks.target, chunks.origin))


def block(ranks: int) -> PairChunks:
    """The all-to-all block of each pair."""
    return lambda source, target: one_each(source * ranks + target)


def _time(collective: Collective, site: Site, chunks: int) -> float | None:
    """On a star and on a full mesh, whose ranks have a link for each peer."""
    port, link, n = star(site), full_mesh(site), collective.ranks
    path = port or link
    if path is None or collective.matrix is not None:
        return None
    streams = n - 1 if port else 1
    if collective.operation == "barrier":
        return path.time(0.0)
    if collective.operation == "send-recv":
        return path.time(collective.bytes)
    if collective.operation in ("broadcast", "reduce"):
        return path.time(streams * collective.bytes)
    once = path.time(streams * collective.bytes / n)
    return 2 * once if collective.operation == "all-reduce" else once


@algorithm(
    "direct",
    OPERATIONS,
    closed_form=_time,
)
def direct(collective: Collective, site: Site, chunks: int) -> Schedule:
    """Everyone sends straight to everyone at once; all-reduce as reduce-scatter then all-gather (two-shot)."""
    n, operation = collective.ranks, collective.operation
    cutting = tokens if operation == "barrier" else cut_blocks
    builder = ScheduleBuilder(collective, "direct", partial(cutting, collective))
    if operation == "send-recv":
        builder.add(
            [collective.root], [collective.peer], collective.bytes, one_each(np.zeros(1, dtype=np.int64))
        )
        return builder.build()
    if operation in ("broadcast", "reduce"):
        others = np.delete(np.arange(n), collective.root)
        roots = np.full(n - 1, collective.root)
        source, target = (roots, others) if operation == "broadcast" else (others, roots)
        chunk = one_each(np.zeros(n - 1, dtype=np.int64))
        builder.add(source, target, collective.bytes, chunk, reduce=operation == "reduce")
        return builder.build()
    grid = shift_grid(site)
    shifts, share = all_shifts(grid), collective.bytes / n
    if operation == "all-to-all":
        add_by_shift(builder, grid, shifts, share, block(n))
        return builder.build()
    before: tuple[int, ...] = ()
    if operation not in ("all-gather", "barrier"):
        before = (
            add_by_shift(builder, grid, shifts, share, lambda source, target: one_each(target), reduce=True),
        )
    if operation != "reduce-scatter":
        add_by_shift(builder, grid, shifts, share, lambda source, target: one_each(source), before)
    return builder.build()


def _one_shot_time(collective: Collective, site: Site, chunks: int) -> float | None:
    """On a star a + (N-1) S/B, on a full mesh a + S/B."""
    port, link = star(site), full_mesh(site)
    if port:
        return port.time((collective.ranks - 1) * collective.bytes)
    return link.time(collective.bytes) if link else None


@algorithm("one-shot", ("all-reduce",), scales=False, closed_form=_one_shot_time)
def one_shot(collective: Collective, site: Site, chunks: int) -> Schedule:
    """Every rank sends its whole buffer to every peer, which reduces: one hop, N-1 times the bytes."""
    n = collective.ranks
    builder = ScheduleBuilder(collective, "one-shot", partial(cut_blocks, collective))

    def whole(source: IntArray, target: IntArray) -> Table:
        return rows_of(np.tile(np.arange(n), (len(source), 1)))

    grid = shift_grid(site)
    add_by_shift(builder, grid, all_shifts(grid), collective.bytes, whole, reduce=True)
    return builder.build()


def _pairwise_time(collective: Collective, site: Site, chunks: int) -> float | None:
    """On a star."""
    port, n = star(site), collective.ranks
    return None if port is None or collective.matrix else (n - 1) * port.time(collective.bytes / n)


@algorithm("pairwise", ("all-to-all",), scales=False, closed_form=_pairwise_time)
def pairwise(collective: Collective, site: Site, chunks: int) -> Schedule:
    """All-to-all in N-1 shifted steps: in step t rank r sends to r+t, (N-1)(2a + m/B) on a star."""
    n = collective.ranks
    builder = ScheduleBuilder(collective, "pairwise", partial(cut_blocks, collective))
    grid = shift_grid(site)
    before: tuple[int, ...] = ()
    for shift in all_shifts(grid):
        before = (add_by_shift(builder, grid, shift[None], collective.bytes / n, block(n), before),)
    return builder.build()
