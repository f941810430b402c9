"""Recursive doubling and halving, for any number of ranks.

Source: Thakur, Rabenseifner and Gropp, "Optimization of Collective Communication Operations in MPICH" (2005).
Recursive doubling all-reduce log2 N (a + S/B); halving then doubling 2 log2 N a + 2(N-1)/N S/B.  A number of
ranks that is not a power of two folds the surplus into partners before and unfolds it after: + 2(a + S/B).
"""

from __future__ import annotations

from functools import partial

import numpy as np

from topo.algorithms.registry import Site, algorithm
from topo.collective import Chunks, Collective, cut
from topo.fabric import IntArray
from topo.schedule import Schedule, ScheduleBuilder, Table, rows_of


class _Core:
    """The power of two ranks that take part after folding, and the data they stand for."""

    def __init__(self, ranks: int) -> None:
        self.size = 1 << (ranks.bit_length() - 1)
        self.surplus = ranks - self.size
        folded = np.arange(0, 2 * self.surplus, 2)
        self.rank = np.concatenate([folded, np.arange(2 * self.surplus, ranks)])
        self.partner = folded + 1


@algorithm("recursive-doubling", ("all-reduce", "all-gather"))
def recursive_doubling(collective: Collective, site: Site, chunks: int) -> Schedule:
    """Partners at distance 1, 2, 4 ... exchange all they have: log2 N (a + S/B) for all-reduce."""
    n = collective.ranks
    if collective.operation == "all-gather":
        return _doubling_gather(collective)
    builder = ScheduleBuilder(collective, "recursive-doubling", partial(cut, collective))
    core = _Core(n)
    whole = np.arange(n)

    def everything(count: int) -> Table:
        return rows_of(np.tile(whole, (count, 1)))

    before: tuple[int, ...] = ()
    if core.surplus:
        fold = everything(core.surplus)
        before = (builder.add(core.partner, core.rank[: core.surplus], collective.bytes, fold, reduce=True),)
    member = np.arange(core.size)
    for bit in range(core.size.bit_length() - 1):
        peer = core.rank[member ^ (1 << bit)]
        before = (
            builder.add(core.rank, peer, collective.bytes, everything(core.size), reduce=True, after=before),
        )
    if core.surplus:
        builder.add(core.rank[: core.surplus], core.partner, collective.bytes, fold, after=before)
    return builder.build()


def _doubling_gather(collective: Collective) -> Schedule:
    """All-gather by doubling; the surplus ranks hand their share over first and get everything at the end."""
    n = collective.ranks
    builder = ScheduleBuilder(collective, "recursive-doubling", partial(cut, collective))
    core = _Core(n)
    share = collective.bytes / n
    held = [[int(rank)] + ([int(rank) + 1] if i < core.surplus else []) for i, rank in enumerate(core.rank)]
    before: tuple[int, ...] = ()
    if core.surplus:
        before = (builder.add(core.partner, core.rank[: core.surplus], share, _ragged([[int(p)] for p in core.partner])),)
    member = np.arange(core.size)
    for bit in range(core.size.bit_length() - 1):
        peer = member ^ (1 << bit)
        sizes = np.asarray([len(chunk) * share for chunk in held])
        before = (builder.add(core.rank, core.rank[peer], sizes, _ragged(held), after=before),)
        held = [held[i] + held[int(p)] for i, p in enumerate(peer)]
    if core.surplus:
        missing = [[c for c in range(n) if c != int(p)] for p in core.partner]
        builder.add(core.rank[: core.surplus], core.partner, share * (n - 1), _ragged(missing), after=before)
    return builder.build()


def _ragged(rows: list[list[int]]) -> Table:
    pointer = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(row) for row in rows], out=pointer[1:])
    return pointer, np.asarray([chunk for row in rows for chunk in row], dtype=np.int64)


@algorithm("halving-doubling", ("all-reduce", "reduce-scatter"))
def halving_doubling(collective: Collective, site: Site, chunks: int) -> Schedule:
    """Reduce-scatter by halving, all-gather by doubling (Rabenseifner): 2 log2 N a + 2(N-1)/N S/B."""
    n = collective.ranks
    core = _Core(n)
    if collective.operation == "reduce-scatter" and not core.surplus:
        return _halving_scatter(collective, core)
    # The vector is cut by the members of the core, not by all ranks.
    share = collective.bytes / core.size

    def cutting() -> Chunks:
        if collective.operation == "all-reduce":
            every = np.full(core.size, -1)
            return Chunks(np.full(core.size, share), every, every)
        return cut(collective)

    builder = ScheduleBuilder(collective, "halving-doubling", cutting)
    if collective.operation == "reduce-scatter":
        return _folded_scatter(builder, collective, core)
    whole = np.arange(core.size)
    before: tuple[int, ...] = ()
    fold = rows_of(np.tile(whole, (core.surplus, 1)))
    if core.surplus:
        before = (builder.add(core.partner, core.rank[: core.surplus], collective.bytes, fold, reduce=True),)
    before = _halve(builder, core, collective.bytes, before)
    before = _double(builder, core, collective.bytes, before)
    if core.surplus:
        builder.add(core.rank[: core.surplus], core.partner, collective.bytes, fold, after=before)
    return builder.build()


def _ranges(core: _Core, bit: int, side: IntArray) -> IntArray:
    """Members of the core that agree with ``side`` in all bits from ``bit`` up [len(side), 2^bit]."""
    return ((side >> bit) << bit)[:, None] + np.arange(1 << bit)


def _halve(builder: ScheduleBuilder, core: _Core, total: float, before: tuple[int, ...]) -> tuple[int, ...]:
    member = np.arange(core.size)
    for bit in reversed(range(core.size.bit_length() - 1)):
        peer = member ^ (1 << bit)
        size = total * (1 << bit) / core.size
        table = rows_of(_ranges(core, bit, peer))
        before = (builder.add(core.rank, core.rank[peer], size, table, reduce=True, after=before),)
    return before


def _double(builder: ScheduleBuilder, core: _Core, total: float, before: tuple[int, ...]) -> tuple[int, ...]:
    member = np.arange(core.size)
    for bit in range(core.size.bit_length() - 1):
        peer = member ^ (1 << bit)
        size = total * (1 << bit) / core.size
        before = (builder.add(core.rank, core.rank[peer], size, rows_of(_ranges(core, bit, member)), after=before),)
    return before


def _halving_scatter(collective: Collective, core: _Core) -> Schedule:
    builder = ScheduleBuilder(collective, "halving-doubling", partial(cut, collective))
    _halve(builder, core, collective.bytes, ())
    return builder.build()


def _folded_scatter(builder: ScheduleBuilder, collective: Collective, core: _Core) -> Schedule:
    """Reduce-scatter of a folded group: each member of the core reduces its own share and its partner's."""
    n = collective.ranks
    share = collective.bytes / n
    whole = rows_of(np.tile(np.arange(n), (core.surplus, 1)))
    before = (builder.add(core.partner, core.rank[: core.surplus], collective.bytes, whole, reduce=True),)
    stands_for = [[int(rank)] + ([int(rank) + 1] if i < core.surplus else []) for i, rank in enumerate(core.rank)]
    member = np.arange(core.size)
    for bit in reversed(range(core.size.bit_length() - 1)):
        peer = member ^ (1 << bit)
        rows = [[c for m in row for c in stands_for[int(m)]] for row in _ranges(core, bit, peer)]
        sizes = np.asarray([len(row) * share for row in rows])
        before = (builder.add(core.rank, core.rank[peer], sizes, _ragged(rows), reduce=True, after=before),)
    own = _ragged([[int(p)] for p in core.partner])
    builder.add(core.rank[: core.surplus], core.partner, share, own, after=before)
    return builder.build()
