"""Exchanges: rounds of messages, each round after the one before, and their time reversal.

Most collectives of the switched and torus kind are a list of rounds.  A reduce-scatter is the time reversal of an
all-gather: the rounds backwards, every message the other way, adding instead of copying.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from topo.fabric import FloatArray, Grid, IntArray
from topo.schedule import ScheduleBuilder, Table


@dataclass(frozen=True, eq=False)
class Round:
    """Messages that leave together.

    Parameters
    ----------
    source, target : int arrays [messages]
        Ranks.
    count : float or float array [messages]
        Size of each message in shares.
    chunks : callable
        Gives the chunks of each message; called only for the proof.
    shift : int, optional
        When the sources are all ranks in order and every target is this many ranks on.
    """

    source: IntArray
    target: IntArray
    count: float | FloatArray
    chunks: Callable[[], Table]
    shift: int | None = None

    def reversed(self) -> Round:
        """The same messages the other way."""
        if self.shift is None:
            return Round(self.target, self.source, self.count, self.chunks)
        n, shift, chunks = len(self.source), self.shift, self.chunks

        def turned() -> Table:
            # By sending rank again: rank r now sends what rank r - shift sent.
            pointer, ids = chunks()
            counts = np.roll(np.diff(pointer), shift)
            starts = np.roll(pointer[:-1], shift)
            new = np.concatenate([[0], np.cumsum(counts)])
            return new, ids[np.repeat(starts - new[:-1], counts) + np.arange(new[-1])]

        return Round(self.source, (self.source - shift) % n, self.count, turned, -shift)


def ahead(order: IntArray, shift: int, count: float, chunks: Callable[[], Table]) -> Round:
    """Every rank sends to the one that many places ahead in some order; ``chunks`` go by place."""
    n = len(order)
    target = order[(np.arange(n) + shift) % n]
    natural = bool((order == np.arange(n)).all())
    return Round(order, target, count, chunks, shift if natural else None)


def time_reversed(rounds: Sequence[Round]) -> list[Round]:
    """An all-gather's rounds as those of the reduce-scatter, and the other way about."""
    return [r.reversed() for r in reversed(rounds)]


def add_round(
    builder: ScheduleBuilder,
    each: Round,
    share: float,
    *,
    reduce: bool = False,
    after: Sequence[int] = (),
    **options: Any,
) -> int:
    """Add one round as a batch; options as for the builder."""

    def pieces(repeat: int) -> Table:
        return each.chunks()

    if each.shift is not None:
        grid = Grid((len(each.source),), (True,))
        shifts = np.asarray([[each.shift]])
        return builder.add_shifts(
            grid, shifts, each.count * share, pieces, reduce=reduce, after=after, **options
        )
    return builder.add(
        each.source, each.target, each.count * share, pieces, reduce=reduce, after=after, **options
    )


def add_rounds(
    builder: ScheduleBuilder,
    rounds: Sequence[Round],
    share: float,
    *,
    reduce: bool = False,
    after: Sequence[int] = (),
) -> tuple[int, ...]:
    """Add rounds to a schedule, each of a rank's messages after all that it sent and received before.

    Parameters
    ----------
    share : float
        Bytes of one share.
    reduce : bool
    after : batch numbers
        What the ranks wait for before their first message.

    Returns
    -------
    Batches that together end the exchange: what follows waits for them.
    """
    ranks = builder.collective.ranks
    last_sent = np.full(ranks, -1)
    got: list[IntArray] = []
    added: list[int] = []

    def needed(senders: IntArray) -> list[int]:
        """Batches that hold the last sending of any of some ranks, or a receipt since then."""
        since = last_sent[senders]
        found = {int(i) for i in np.unique(since) if i >= 0}
        for i in range(len(got) - 1, max(int(since.min(initial=len(got))), 0) - 1, -1):
            received = np.zeros(ranks, dtype=bool)
            received[got[i]] = True
            if (received[senders] & (since <= i)).any():
                found.add(i)
        return [added[i] for i in sorted(found)] + (list(after) if (since < 0).any() else [])

    for each in rounds:
        number = add_round(
            builder,
            each,
            share,
            reduce=reduce,
            after=needed(np.unique(each.source)),
            step=None if not added else builder.batches[added[-1]].step + 1,
        )
        last_sent[each.source] = len(added)
        got.append(each.target)
        added.append(number)
    return tuple(needed(np.arange(ranks)))


def ragged(rows: Sequence[Sequence[int]]) -> Table:
    """A table from rows of unequal length."""
    pointer = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(row) for row in rows], out=pointer[1:])
    return pointer, np.asarray([chunk for row in rows for chunk in row], dtype=np.int64)
