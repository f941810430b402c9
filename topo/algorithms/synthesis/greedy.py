"""Greedy synthesis in expanded time: whenever a way is idle, it takes a chunk that its far end still lacks.

Source: Won et al., "TACOS: Topology-aware collective algorithm synthesizer for distributed machine learning"
(MICRO 2024).  Beyond it: switches (a way between two ranks holds all its links), the rarest chunk first, and a
patient variant in which a slow way leaves a chunk alone that a fast neighbour of its far end has or will have.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from topo.algorithms.synthesis.network import Network, Way
from topo.errors import InternalError
from topo.fabric import Fabric, FloatArray, IntArray

TIE = 1e-12
"""Relative distance within which two moments are one."""
SLOW = 2.0
"""How many times slower than another a way must be to be patient."""


@dataclass(frozen=True, eq=False)
class Edges:
    """Ways between ranks that pass relays only.

    Parameters
    ----------
    source, target : int arrays [edges]
    ways : list of Way
    latency : float array [edges]
        Seconds.
    cost : float array [edges]
        Seconds per byte of a transfer that has the way for itself.
    """

    source: IntArray
    target: IntArray
    ways: list[Way]
    latency: FloatArray
    cost: FloatArray


@dataclass(frozen=True, eq=False)
class Timeline:
    """Transfers in the order in which they start.

    Parameters
    ----------
    edge, chunk : int arrays [transfers]
    brought : int array [transfers]
        The transfer that brought the chunk to where this one takes it from; -1 where it began there.
    before : (int array, int array)
        Pairs (transfer, transfer before it on one of its links).
    finish : float
        Seconds.
    """

    edge: IntArray
    chunk: IntArray
    brought: IntArray
    before: tuple[IntArray, IntArray]
    finish: float


def edges_of(network: Network, fabric: Fabric) -> Edges:
    """The quickest way, through relays only, between every two ranks that have one."""
    source: list[int] = []
    target: list[int] = []
    ways: list[Way] = []
    onward = [np.flatnonzero(row).tolist() for row in network.capacity]
    for start in range(network.members):
        for end, way in _quickest(network, onward, start):
            source.append(start)
            target.append(end)
            ways.append(way)
    cost = [
        max(share / fabric.bandwidth[link] for link, share in zip(w.links, w.shares, strict=True))
        for w in ways
    ]
    latency = [way.latency for way in ways]
    return Edges(np.asarray(source), np.asarray(target), ways, np.asarray(latency), np.asarray(cost))


def _quickest(network: Network, onward: list[list[int]], start: int) -> list[tuple[int, Way]]:
    """Ways of least latency, then fewest edges, from a rank to others through relays; equals take turns."""
    size = len(onward)
    queue: list[tuple[float, int, int, int, Way | None]] = [(0.0, 0, 0, start, None)]
    found: list[tuple[int, Way]] = []
    done: set[int] = set()
    while queue:
        _, hops, _, node, way = heapq.heappop(queue)
        if node in done:
            continue
        done.add(node)
        if way is not None and node < network.members:
            found.append((node, way))
            continue
        for other in onward[node]:
            if other in done:
                continue
            step = network.ways[node, other][0][0]
            longer = step if way is None else way.then(step)
            heapq.heappush(queue, (longer.latency, hops + 1, (node - start) % size, other, longer))
    return sorted(found, key=lambda entry: entry[0])


def greedy(edges: Edges, ranks: int, pieces: int, size: float, seed: int, patient: bool) -> Timeline:
    """An all-gather: every rank starts with ``pieces`` chunks and ends with those of all.

    Parameters
    ----------
    edges : Edges
    ranks : int
    pieces : int
    size : float
        Bytes of a chunk.
    seed : int
    patient : bool
        Whether slow ways leave chunks to fast ones.
    """
    return _Greedy(edges, ranks, pieces, size, seed, patient).run()


class _Greedy:
    def __init__(self, edges: Edges, ranks: int, pieces: int, size: float, seed: int, patient: bool) -> None:
        self.edges, self.ranks = edges, ranks
        self.random = np.random.default_rng(seed)
        chunks = ranks * pieces
        self.has = np.zeros((ranks, chunks), dtype=bool)
        self.has[np.repeat(np.arange(ranks), pieces), np.arange(chunks)] = True
        self.due = self.has.copy()
        self.copies = np.ones(chunks)
        self.drain = edges.cost * size
        self.length = edges.latency + self.drain
        used = sorted({link for way in edges.ways for link in way.links})
        place = {link: i for i, link in enumerate(used)}
        self.links = [[place[link] for link in way.links] for way in edges.ways]
        widest = max(len(links) for links in self.links)
        # Ways of fewer links name one of theirs again.
        self.table = np.asarray([links + [links[0]] * (widest - len(links)) for links in self.links])
        self.users = [np.flatnonzero((self.table == link).any(axis=1)) for link in range(len(used))]
        self.open = np.zeros(len(edges.ways), dtype=bool)
        """Ways that may still be taken at this moment."""
        self.free = np.zeros(len(used))
        self.last = np.full(len(used), -1)
        self.fast = self._fast_neighbours() if patient else None
        self.log: list[tuple[int, int, int]] = []
        self.brought = np.full((ranks, chunks), -1)
        self.before: tuple[list[int], list[int]] = ([], [])
        self.moments: list[float] = [0.0]
        self.arrivals: list[tuple[float, int, int]] = []

    def _fast_neighbours(self) -> list[IntArray]:
        """For every edge the ranks from which its far end can be reached much more quickly."""
        quick: list[IntArray] = []
        for e in range(len(self.edges.ways)):
            into = np.flatnonzero(self.edges.target == self.edges.target[e])
            quick.append(self.edges.source[into[self.length[into] * SLOW <= self.length[e]]])
        return quick

    def run(self) -> Timeline:
        finish = 0.0
        while not self.has.all():
            if not self.moments:
                raise InternalError("greedy synthesis came to a standstill")
            now = heapq.heappop(self.moments)
            limit = now * (1 + TIE)
            while self.moments and self.moments[0] <= limit:
                heapq.heappop(self.moments)
            while self.arrivals and self.arrivals[0][0] <= limit:
                finish, rank, chunk = heapq.heappop(self.arrivals)
                self.has[rank, chunk] = True
            started = self._start(now, limit, patient=self.fast is not None)
            if not started and not self.moments and not self.has.all():
                self._start(now, limit, patient=False)
        log = np.asarray(self.log, dtype=np.int64).reshape(-1, 3)
        pairs = (np.asarray(self.before[0], dtype=np.int64), np.asarray(self.before[1], dtype=np.int64))
        return Timeline(log[:, 0], log[:, 1], log[:, 2], pairs, finish)

    def _start(self, now: float, limit: float, patient: bool) -> bool:
        """Start what can start now; the quickest ways choose first, equals in random order."""
        idle = np.flatnonzero(self.free[self.table].max(axis=1) <= limit)
        useful = (self.has[self.edges.source[idle]] & ~self.due[self.edges.target[idle]]).any(axis=1)
        idle = idle[useful]
        started = False
        self.open[idle] = True
        for e in idle[np.lexsort((self.random.random(len(idle)), self.length[idle]))].tolist():
            if not self.open[e]:
                continue
            chunk = self._choose(e, patient)
            if chunk >= 0:
                self._send(e, chunk, now)
                started = True
        self.open[idle] = False
        return started

    def _choose(self, e: int, patient: bool) -> int:
        source, target = self.edges.source[e], self.edges.target[e]
        wanted = self.has[source] & ~self.due[target]
        if patient and self.fast is not None and len(self.fast[e]):
            wanted &= ~self.due[self.fast[e]].any(axis=0)
        chunks = np.flatnonzero(wanted)
        if not len(chunks):
            return -1
        return int(chunks[np.argmin(self.copies[chunks] + 0.5 * self.random.random(len(chunks)))])

    def _send(self, e: int, chunk: int, now: float) -> None:
        source, target = int(self.edges.source[e]), int(self.edges.target[e])
        number = len(self.log)
        self.log.append((e, chunk, int(self.brought[source, chunk])))
        self.brought[target, chunk] = number
        self.due[target, chunk] = True
        self.copies[chunk] += 1
        drained, arrived = now + float(self.drain[e]), now + float(self.length[e])
        for earlier in {int(self.last[link]) for link in self.links[e]} - {-1}:
            self.before[0].append(number)
            self.before[1].append(earlier)
        for link in self.links[e]:
            self.free[link] = drained
            self.last[link] = number
            self.open[self.users[link]] = False
        heapq.heappush(self.moments, drained)
        heapq.heappush(self.moments, arrived)
        heapq.heappush(self.arrivals, (arrived, target, chunk))
