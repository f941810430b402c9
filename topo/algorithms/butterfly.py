"""Butterflies: rounds in which members pair up, for recursive doubling and halving, Swing and the like.

A butterfly is given by the peer of every member in every round; pairs are mutual.  Reach: what a member stands
for from round s on is itself and, round after round, what its peers stand for.  In round s of the reduce-scatter a
member sends its peer the blocks of all that the peer reaches from round s + 1 on; the all-gather runs backwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from topo.algorithms.exchange import Round, time_reversed
from topo.fabric import BoolArray, FloatArray, IntArray
from topo.schedule import Table, rows_of


@dataclass(frozen=True, eq=False)
class Butterfly:
    """A butterfly among some members.

    Parameters
    ----------
    peers : int arrays [members], one per round
        The peer of every member.
    rank : int array [members]
        The rank that each member is.
    table : callable
        From a matrix of members to the table of the chunks that they own.
    weight : float array [members], optional
        Shares that each member owns; one each by default.
    """

    peers: tuple[IntArray, ...]
    rank: IntArray
    table: Callable[[IntArray], Table] = rows_of
    weight: FloatArray | None = None

    def reach(self, first: int) -> IntArray:
        """What each member reaches from round ``first`` on [members, 2^rounds left], itself included."""
        found = np.arange(len(self.rank))[:, None]
        for peer in reversed(self.peers[first:]):
            found = np.concatenate([found, found[peer]], axis=1)
        return found

    def scatter(self) -> list[Round]:
        """Rounds of the reduce-scatter: about half of what is left goes to the peer each time."""
        if 1 << len(self.peers) != len(self.rank):
            return time_reversed(self._without_doubles()[0])
        return [self._round(s) for s in range(len(self.peers))]

    def gather(self) -> list[Round]:
        """Rounds of the all-gather: the reduce-scatter backwards."""
        return time_reversed(self.scatter())

    @property
    def complete(self) -> bool:
        """Whether every member hears of every other."""
        return 1 << len(self.peers) == len(self.rank) or self._without_doubles()[1]

    def _without_doubles(self) -> tuple[list[Round], bool]:
        """Rounds of the all-gather when ways meet again: nobody is sent what it has; and whether all end with all."""
        held = np.eye(len(self.rank), dtype=bool)
        rounds: list[Round] = []
        for peer in reversed(self.peers):
            fresh = held & ~held[peer]
            count = fresh.sum(axis=1) if self.weight is None else fresh @ self.weight
            sends = np.flatnonzero(count)
            chunks = partial(self._rows, fresh[sends])
            rounds.append(Round(self.rank[sends], self.rank[peer[sends]], count[sends].astype(float), chunks))
            held = held | held[peer]
        return rounds, bool(held.all())

    def _rows(self, owned: BoolArray) -> Table:
        tables = [self.table(np.flatnonzero(row)[None]) for row in owned]
        counts = [int(pointer[-1]) for pointer, _ in tables]
        return np.concatenate([[0], np.cumsum(counts)]), np.concatenate([ids for _, ids in tables])

    def exchange(self) -> list[Round]:
        """Rounds in which peers exchange everything; one share is the whole, chunk 0 of ``table``."""
        one = np.zeros((len(self.rank), 1), dtype=np.int64)
        return [Round(self.rank, self.rank[peer], 1.0, lambda: self.table(one)) for peer in self.peers]

    def _round(self, s: int) -> Round:
        peer = self.peers[s]
        count: float | FloatArray = float(1 << (len(self.peers) - s - 1))
        if self.weight is not None:
            count = self.weight[self.reach(s + 1)].sum(axis=1)[peer]
        return Round(self.rank, self.rank[peer], count, lambda: self.table(self.reach(s + 1)[peer]))
