"""Butterflies: rounds in which members pair up, for recursive doubling and halving, Swing and the like.

A butterfly is given by the peer of every member in every round; pairs are mutual.  Reach: what a member stands
for from round s on is itself and, round after round, what its peers stand for.  In round s of the reduce-scatter a
member sends its peer the blocks of all that the peer reaches from round s + 1 on; the all-gather runs backwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from topo.algorithms.exchange import Round, time_reversed
from topo.fabric import FloatArray, IntArray
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
        return [self._round(s) for s in range(len(self.peers))]

    def gather(self) -> list[Round]:
        """Rounds of the all-gather: the reduce-scatter backwards."""
        return time_reversed(self.scatter())

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
