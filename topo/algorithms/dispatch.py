"""All-to-all of tokens to experts without duplicates between scale-up domains.

With expert parallelism a token goes to the ranks of its top-k experts.  Where several of them share a domain, one
copy between domains is enough: it goes over the sender's rail to the rank at the same place in that domain, which
hands it on to the ranks that want it.  Source: DeepSeek-AI, "DeepSeek-V3 technical report", arXiv 2412.19437,
section 3.2.2, and DeepEP.  With one expert a rank, N ranks in n domains of G, and uniform choice, a token reaches
n (1 - C(N - G, k)/C(N, k)) domains on average.

Proof: the bytes of a token ride on one chunk whose goal is the first rank that wants it; for every further rank a
chunk without bytes rides along.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from topo.algorithms.domain_grids import members_by_domain
from topo.algorithms.exchange import ragged
from topo.algorithms.registry import Site
from topo.collective import Chunks, Collective
from topo.errors import AlgorithmError
from topo.fabric import FloatArray, IntArray
from topo.schedule import Schedule, ScheduleBuilder, Table

MOST_PROVED = 10
"""Ranks of a domain up to which the classes of tokens (2^G of them) can be spelled out for the proof."""


@dataclass(frozen=True)
class Tokens:
    """Tokens of one rank that go to the same ranks.

    Parameters
    ----------
    source : int
    targets : tuple of int
        Different ranks, the source perhaps among them.
    bytes : float
    """

    source: int
    targets: tuple[int, ...]
    bytes: float


def reached_domains(ranks: int, domains: int, top_k: int) -> float:
    """Domains that a token reaches on average, its ``top_k`` ranks chosen uniformly."""
    return domains * (1 - math.comb(ranks - ranks // domains, top_k) / math.comb(ranks, top_k))


def drawn_tokens(ranks: int, tokens: int, top_k: int, token_bytes: float, seed: int) -> list[Tokens]:
    """Tokens whose ranks are drawn uniformly, ``tokens`` per rank, equal ones put together.

    Parameters
    ----------
    ranks, tokens, top_k : int
    token_bytes : float
        Bytes of one token.
    seed : int
    """
    random = np.random.default_rng(seed)
    found: dict[tuple[int, tuple[int, ...]], int] = {}
    for source in range(ranks):
        for _ in range(tokens):
            chosen = tuple(sorted(int(r) for r in random.choice(ranks, top_k, replace=False)))
            found[source, chosen] = found.get((source, chosen), 0) + 1
    return [Tokens(source, chosen, count * token_bytes) for (source, chosen), count in sorted(found.items())]


# ------------------------------------------------------------------------------------------ any routing


class _Ledger:
    """Chunks numbered as they come, and what each message carries."""

    def __init__(self) -> None:
        self.bytes: list[float] = []
        self.origin: list[int] = []
        self.target: list[int] = []
        self.messages: dict[tuple[int, int, int], list[int]] = {}

    def chunk(self, size: float, origin: int, target: int) -> int:
        self.bytes.append(size)
        self.origin.append(origin)
        self.target.append(target)
        return len(self.bytes) - 1

    def send(self, phase: int, source: int, target: int, chunk: int) -> None:
        carried = self.messages.setdefault((phase, source, target), [])
        if chunk not in carried[-2:]:
            carried.append(chunk)

    def chunks(self) -> Chunks:
        return Chunks(np.asarray(self.bytes), np.asarray(self.origin), np.asarray(self.target))

    def phase(self, number: int) -> tuple[IntArray, IntArray, FloatArray, Table]:
        """Sources, targets, bytes and chunks of the messages of one phase."""
        sizes = np.asarray(self.bytes)
        messages = sorted((s, t, ids) for (p, s, t), ids in self.messages.items() if p == number)
        table = ragged([ids for _, _, ids in messages])
        source = np.asarray([s for s, _, _ in messages], dtype=np.int64)
        target = np.asarray([t for _, t, _ in messages], dtype=np.int64)
        return source, target, np.asarray([sizes[ids].sum() for _, _, ids in messages]), table


def dispatch(tokens: Sequence[Tokens], site: Site) -> Schedule:
    """Schedule of a dispatch with known routing, one copy of a token per domain.

    Parameters
    ----------
    tokens : sequence of Tokens
    site : Site
        Its group is the expert-parallel group.

    Raises
    ------
    AlgorithmError
        No two domains of equal size, or tokens that name ranks twice or outside the group.
    """
    members = members_by_domain(site)
    n = len(site.ranks)
    if members is None:
        raise AlgorithmError("dispatch needs at least two scale-up domains of equal size", "take direct")
    domain, place = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    domain[members], place[members] = np.indices(members.shape)
    ledger = _Ledger()
    matrix = np.zeros((n, n))
    for token in tokens:
        if len(set(token.targets)) != len(token.targets) or not all(0 <= t < n for t in token.targets):
            raise AlgorithmError(
                f"tokens of rank {token.source} go to ranks {token.targets}", f"0 to {n - 1}, once each"
            )
        matrix[token.source, list(token.targets)] += token.bytes
        others = [t for t in token.targets if t != token.source]
        for there, group in itertools.groupby(
            sorted(others, key=lambda t: (domain[t], t)), key=lambda t: domain[t]
        ):
            goals = list(group)
            relay = (
                int(members[there, place[token.source]]) if there != domain[token.source] else token.source
            )
            payload = ledger.chunk(token.bytes, token.source, goals[0])
            marks = [payload] + [ledger.chunk(0.0, token.source, goal) for goal in goals[1:]]
            for goal, mark in zip(goals, marks, strict=True):
                for chunk in (payload, mark):
                    if relay != token.source:
                        ledger.send(0, token.source, relay, chunk)
                    if goal != relay:
                        ledger.send(1 if relay != token.source else 2, relay, goal, chunk)
    rows = tuple(tuple(map(float, row)) for row in matrix)
    collective = Collective("all-to-all", n, float(matrix.sum(axis=1).max()), matrix=rows)
    builder = ScheduleBuilder(
        collective, "dispatch", ledger.chunks, f"{members.shape[0]} x {members.shape[1]}"
    )
    # Phase 0 between domains, 1 onwards inside, 2 inside from the start.
    between = builder.add(*ledger.phase(0))
    builder.add(*ledger.phase(1), after=(between,))
    builder.add(*ledger.phase(2))
    return builder.build()


# --------------------------------------------------------------------------------------- uniform routing


def uniform_dispatch(collective: Collective, site: Site, top_k: int, chunks: int = 1) -> Schedule:
    """Schedule of a dispatch in which every token's ``top_k`` ranks are drawn uniformly, in the mean.

    Parameters
    ----------
    collective : Collective
        A plain all-to-all: each rank's buffer holds ``top_k`` copies of its tokens.
    site : Site
    top_k : int
        Ranks of one token.
    chunks : int
        Parts that follow each other.

    Raises
    ------
    AlgorithmError
        Not a plain all-to-all, no two domains of equal size, or more ranks of a token than there are.

    Notes
    -----
    It is no algorithm of the register: it moves fewer bytes than an all-to-all of unrelated blocks must.
    """
    members = members_by_domain(site)
    if collective.operation != "all-to-all" or collective.matrix is not None:
        raise AlgorithmError(
            "uniform dispatch is for an all-to-all of equal blocks", "give dispatch() the routing"
        )
    if members is None:
        raise AlgorithmError("dispatch needs at least two scale-up domains of equal size", "take direct")
    n = collective.ranks
    domains, width = members.shape
    if not 1 <= top_k <= n:
        raise AlgorithmError(f"a token cannot go to {top_k} of {n} ranks", f"give 1 to {n}")
    share = collective.bytes / n
    # A rank's tokens hold bytes / top_k; those that want something of another domain cross to it.
    crossing = collective.bytes / top_k * reached_domains(n, domains, top_k) / domains
    classes = _Classes(members, top_k, collective.bytes)
    detail = f"{domains} x {width}, top {top_k}"
    builder = ScheduleBuilder(collective, "dispatch", classes.chunks, detail)
    away = _indices(domains, width, domains, differ=0)
    home, place, there = away
    ends = members[home, place], members[there, place]
    between = builder.add(*ends, crossing, _every_time(partial(classes.crossing, *away)))
    inside = _indices(domains, width, width, differ=1)
    home, place, goal = inside
    ends = members[home, place], members[home, goal]
    builder.add(*ends, share, _every_time(partial(classes.own, *inside)))
    handed_on = _every_time(partial(classes.handed_on, *inside))
    builder.add(*ends, share * (domains - 1), handed_on, after=(between,))
    return builder.build().pipelined(chunks)


def _indices(*lengths: int, differ: int) -> tuple[IntArray, IntArray, IntArray]:
    """All index triples whose last differs from the first or second (``differ``)."""
    rows = np.indices(lengths).reshape(3, -1)
    first, second, third = rows[:, rows[2] != rows[differ]]
    return first, second, third


def _every_time(table: Callable[[], Table]) -> Callable[[int], Table]:
    return lambda repeat: table()


class _Classes:
    """Chunks of uniform routing: for each (rank, other domain) one class of tokens per set of places there."""

    def __init__(self, members: IntArray, top_k: int, size: float) -> None:
        self.members, self.top_k, self.size = members, top_k, size
        self.domains, self.width = members.shape

    def sets(self) -> list[tuple[int, ...]]:
        """Sets of places of a domain that a token can want."""
        if self.width > MOST_PROVED:
            raise AlgorithmError(
                f"the proof of a dispatch spells out 2^{self.width} classes of tokens",
                f"prove it with domains of up to {MOST_PROVED} ranks",
            )
        sizes = range(1, min(self.top_k, self.width) + 1)
        return [chosen for size in sizes for chosen in itertools.combinations(range(self.width), size)]

    def _first(self, home: int, place: int, there: int) -> int:
        """First chunk of what a rank sends to another domain, after the blocks inside domains."""
        per = sum(len(s) for s in self.sets())
        pair = (home * self.width + place) * self.domains + there
        return int(self.domains * self.width * self.width + pair * per)

    def chunks(self) -> Chunks:
        n = self.members.size
        share = self.size / n
        sizes: list[float] = []
        origin: list[int] = []
        target: list[int] = []
        for row in self.members:
            for source, goal in itertools.product(row, row):
                sizes.append(0.0 if source == goal else share)
                origin.append(int(source))
                target.append(int(goal))
        total = math.comb(n, self.top_k)
        for (home, place), there in itertools.product(np.ndindex(*self.members.shape), range(self.domains)):
            for chosen in self.sets():
                odds = math.comb(n - self.width, self.top_k - len(chosen)) / total
                for i, goal in enumerate(chosen):
                    inside = home == there
                    sizes.append(0.0 if i or inside else self.size / self.top_k * odds)
                    origin.append(int(self.members[home, place]))
                    target.append(origin[-1] if inside else int(self.members[there, goal]))
        return Chunks(np.asarray(sizes), np.asarray(origin), np.asarray(target))

    def own(self, home: IntArray, place: IntArray, goal: IntArray) -> Table:
        """Blocks inside domains."""
        return ragged([[int(b)] for b in (home * self.width + place) * self.width + goal])

    def crossing(self, home: IntArray, place: IntArray, there: IntArray) -> Table:
        """All classes of tokens for another domain."""
        per = sum(len(s) for s in self.sets())
        firsts = [self._first(*map(int, at)) for at in zip(home, place, there, strict=True)]
        return ragged([range(first, first + per) for first in firsts])

    def handed_on(self, home: IntArray, place: IntArray, goal: IntArray) -> Table:
        """What a rank got over its rail for another place of its domain."""
        offsets: list[list[int]] = [[] for _ in range(self.width)]
        start = 0
        for chosen in self.sets():
            for i, wanted in enumerate(chosen):
                offsets[wanted] += [start] if i == 0 else [start, start + i]
            start += len(chosen)
        rows = []
        for here, at, to in zip(home.tolist(), place.tolist(), goal.tolist(), strict=True):
            firsts = [self._first(other, at, here) for other in range(self.domains) if other != here]
            rows.append([first + offset for first in firsts for offset in offsets[to]])
        return ragged(rows)
