"""Chains: data passed along a line of ranks in segments.

Pipelined broadcast over h = N - 1 hops in k segments: h a + (h + k - 1) S/(k B).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from topo.algorithms.registry import Site, algorithm
from topo.algorithms.ring import ring_order
from topo.collective import Collective, segments
from topo.schedule import Schedule, ScheduleBuilder, Table, one_each


def in_chunks(chunks: int) -> str:
    """What a schedule says of its segments."""
    return f"{chunks} chunks" if chunks > 1 else ""


def segment(transfers: int) -> partial[Table]:
    """Pieces of a batch whose repeat ``t`` carries segment ``t`` on every transfer."""
    return partial(_segment, transfers)


def _segment(transfers: int, repeat: int) -> Table:
    return one_each(np.full(transfers, repeat))


@algorithm("chain", ("broadcast", "reduce", "all-reduce", "send-recv"), pipelines=True)
def chain(collective: Collective, site: Site, chunks: int) -> Schedule:
    """A line of ranks passes segments on; all-reduce goes up the line and back down."""
    operation = collective.operation
    builder = ScheduleBuilder(collective, "chain", partial(segments, collective, chunks), in_chunks(chunks))
    if operation == "send-recv":
        _pass_along(builder, [collective.root, collective.peer], chunks)
        return builder.build()
    order = ring_order(site)
    start = int(np.flatnonzero(order == collective.root)[0])
    line = [int(rank) for rank in np.roll(order, -start)]
    last: tuple[int, ...] = ()
    if operation in ("reduce", "all-reduce"):
        last = _pass_along(builder, line[::-1], chunks, reduce=True)
    if operation in ("broadcast", "all-reduce"):
        _pass_along(builder, line, chunks, after=last)
    return builder.build()


def _pass_along(
    builder: ScheduleBuilder, line: Sequence[int], chunks: int, *, reduce: bool = False, after: tuple[int, ...] = ()
) -> tuple[int, ...]:
    """One batch per hop, so that segment t waits at each rank only for segment t."""
    size = builder.collective.bytes / chunks
    for source, target in zip(line[:-1], line[1:], strict=True):
        hop = builder.add(
            [source], [target], size, segment(1), repeat=chunks, reduce=reduce, pipeline=after, loop=False
        )
        after = (hop,)
    return after
