"""Recursive doubling and halving, for any number of ranks.

Source: Thakur, Rabenseifner and Gropp, "Optimization of Collective Communication Operations in MPICH" (2005).
Recursive doubling all-reduce log2 N (a + S/B); halving then doubling 2 log2 N a + 2(N-1)/N S/B.  A number of
ranks that is not a power of two folds the surplus into partners before and unfolds it after: + 2(a + S/B).
On a line of ranks the rounds at distance d put d messages on the middle link; near peers first they cost
2(N-1) a + log2 N S/B in lock-step for all-reduce.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from topo.algorithms.butterfly import Butterfly
from topo.algorithms.exchange import Round, add_rounds, ragged
from topo.algorithms.homes import star
from topo.algorithms.parameters import choice
from topo.algorithms.registry import Site, algorithm
from topo.collective import Chunks, Collective, cut, segments
from topo.fabric import IntArray
from topo.schedule import Schedule, ScheduleBuilder, Table, rows_of


class Core:
    """The power of two ranks that take part after folding, and the partners folded into them."""

    def __init__(self, ranks: int) -> None:
        self.size = 1 << (ranks.bit_length() - 1)
        self.surplus = ranks - self.size
        folded = np.arange(0, 2 * self.surplus, 2)
        self.rank = np.concatenate([folded, np.arange(2 * self.surplus, ranks)])
        self.partner = folded + 1
        self.folded = self.rank[: self.surplus]

    @property
    def rounds(self) -> int:
        """Rounds of a butterfly among the core."""
        return self.size.bit_length() - 1

    def peers(self, near_first: bool) -> tuple[IntArray, ...]:
        """Peers at distance 1, 2, 4 ... or ... 4, 2, 1."""
        bits = range(self.rounds) if near_first else reversed(range(self.rounds))
        return tuple(np.arange(self.size) ^ (1 << bit) for bit in bits)

    def owners(self, members: IntArray) -> Table:
        """Chunks of one per rank that members own: their own and their partner's."""
        own = [[int(r)] + ([int(r) + 1] if i < self.surplus else []) for i, r in enumerate(self.rank)]
        return ragged([[chunk for m in row for chunk in own[m]] for row in members.tolist()])

    @property
    def weight(self) -> np.ndarray:
        """Ranks that each member stands for."""
        return np.where(np.arange(self.size) < self.surplus, 2.0, 1.0)

    def fold(self, chunks: IntArray, count: float) -> list[Round]:
        """Partners hand over the given chunks; reversed, they get them back."""
        if not self.surplus:
            return []
        return [Round(self.partner, self.folded, count, lambda: rows_of(np.tile(chunks, (self.surplus, 1))))]

    def fold_own(self) -> list[Round]:
        """Partners hand over one share, their own."""
        if not self.surplus:
            return []
        return [Round(self.partner, self.folded, 1.0, lambda: rows_of(self.partner[:, None]))]


def _doubling_time(collective: Collective, site: Site, chunks: int) -> float | None:
    """On a star: ceil(log2 N) (a + S/B) for all-reduce; all-gather of a power of two log2 N a + (N-1)/N S/B."""
    port, core = star(site), Core(collective.ranks)
    if port is None or core.surplus:
        return None
    if collective.operation == "all-reduce":
        return core.rounds * port.time(collective.bytes)
    return core.rounds * port.latency + (1 - 1 / core.size) * collective.bytes / port.bandwidth


@algorithm("recursive-doubling", ("all-reduce", "all-gather"), closed_form=_doubling_time)
def recursive_doubling(collective: Collective, site: Site, chunks: int) -> Schedule:
    """Partners at distance 1, 2, 4 ... exchange all they have: log2 N (a + S/B) for all-reduce."""
    n, core = collective.ranks, Core(collective.ranks)
    if collective.operation == "all-gather":
        builder = ScheduleBuilder(collective, "recursive-doubling", partial(cut, collective))
        wings = Butterfly(core.peers(near_first=False), core.rank, core.owners, core.weight)
        share = collective.bytes / n
        before = add_rounds(builder, core.fold_own(), share)
        before = add_rounds(builder, wings.gather(), share, after=before)
        add_rounds(builder, _all_but_own(core, n), share, after=before)
        return builder.build()
    builder = ScheduleBuilder(collective, "recursive-doubling", partial(segments, collective))
    wings = Butterfly(core.peers(near_first=True), core.rank)
    whole = core.fold(np.zeros(1, dtype=np.int64), 1.0)
    rounds = [*whole, *wings.exchange()]
    before = add_rounds(builder, rounds, collective.bytes, reduce=True)
    add_rounds(builder, [r.reversed() for r in whole], collective.bytes, after=before)
    return builder.build()


def _all_but_own(core: Core, ranks: int) -> list[Round]:
    """What the partners lack at the end of an all-gather."""
    if not core.surplus:
        return []
    every = np.arange(ranks)

    def missing() -> Table:
        return rows_of(np.stack([every[every != partner] for partner in core.partner]))

    return [Round(core.folded, core.partner, float(ranks - 1), missing)]


def _halving_time(collective: Collective, site: Site, chunks: int, *, order: str) -> float | None:
    """On a star, a power of two: log2 N a + (N-1)/N S/B, twice that for all-reduce."""
    port, core = star(site), Core(collective.ranks)
    if port is None or core.surplus:
        return None
    once = core.rounds * port.latency + (1 - 1 / core.size) * collective.bytes / port.bandwidth
    return 2 * once if collective.operation == "all-reduce" else once


def _near_first(collective: Collective, site: Site) -> list[str]:
    return [] if star(site) else ["halving-doubling:order=near"]


@algorithm(
    "halving-doubling",
    ("all-reduce", "reduce-scatter"),
    parameters=(choice("order", ("far", "near")),),
    closed_form=_halving_time,
    variants=_near_first,
)
def halving_doubling(collective: Collective, site: Site, chunks: int, *, order: str) -> Schedule:
    """Reduce-scatter by halving, all-gather by doubling (Rabenseifner): 2 log2 N a + 2(N-1)/N S/B."""
    core = Core(collective.ranks)
    peers = core.peers(order == "near")
    if collective.operation == "reduce-scatter":
        return _scatter(collective, core, peers)
    # The vector is cut by the members of the core, not by all ranks.
    share = collective.bytes / core.size
    every = np.full(core.size, -1)
    builder = ScheduleBuilder(
        collective, "halving-doubling", lambda: Chunks(np.full(core.size, share), every, every)
    )
    wings = Butterfly(peers, core.rank)
    whole = core.fold(np.arange(core.size), float(core.size))
    before = add_rounds(builder, [*whole, *wings.scatter()], share, reduce=True)
    add_rounds(builder, [*wings.gather(), *(r.reversed() for r in whole)], share, after=before)
    return builder.build()


def _scatter(collective: Collective, core: Core, peers: tuple[IntArray, ...]) -> Schedule:
    """Reduce-scatter: each member of the core reduces its own share and its partner's."""
    n = collective.ranks
    builder = ScheduleBuilder(collective, "halving-doubling", partial(cut, collective))
    share = collective.bytes / n
    wings = Butterfly(peers, core.rank, core.owners, core.weight if core.surplus else None)
    rounds = [*core.fold(np.arange(n), float(n)), *wings.scatter()]
    before = add_rounds(builder, rounds, share, reduce=True)
    add_rounds(builder, [r.reversed() for r in core.fold_own()], share, after=before)
    return builder.build()
