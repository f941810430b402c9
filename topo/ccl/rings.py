"""Directed rings that share no cable, as NCCL and RCCL build their channels on directly wired machines.

A full mesh of n accelerators splits into n - 1 directed Hamiltonian rings, except for n = 4 and n = 6 (Tillson, "A
Hamiltonian decomposition of K*2m, 2m >= 8", 1980).  R rings of bandwidth B each: all-reduce
2 (n-1) (a + S/(n R B)).  Source of the use: ROCm rccl, src/graph/rome_models.cc (models 79 and 84).
"""

from __future__ import annotations

import numpy as np

from topo.algorithms import Site
from topo.fabric import IntArray

MOST_TRIES = 200_000
"""Steps of the search; groups of up to nine ranks need far fewer."""
MOST_RANKS = 16


def direct_links(site: Site) -> IntArray:
    """Equal cables that each rank of the group has of its own to each other [ranks, ranks]."""
    fabric, count = site.fabric, len(site.ranks)
    nodes = fabric.accelerators[site.ranks]
    pair = fabric.links_between(np.repeat(nodes, count), np.tile(nodes, count))
    rate = np.where(pair >= 0, fabric.bandwidth[pair], 0.0).reshape(count, count)
    least = rate[rate > 0].min(initial=np.inf)
    cables: IntArray = np.floor(rate / least + 0.01).astype(np.int64)
    return cables


def directed_rings(linked: IntArray) -> list[IntArray]:
    """As many directed rings through all ranks that share no cable as a search finds, each as an order of ranks."""
    search = _Search(linked.copy())
    search.next_ring()
    return [np.asarray(ring, dtype=np.int64) for ring in search.best]


class _Search:
    """Rings one after the other, each by the links that are left, with steps back."""

    def __init__(self, free: IntArray) -> None:
        self.free = free
        self.most = int(min(free.sum(axis=0).min(), free.sum(axis=1).min()))
        self.rings: list[list[int]] = []
        self.best: list[list[int]] = []
        self.tries = 0

    def next_ring(self) -> bool:
        """Whether the rings so far can be completed to the most there could be."""
        if len(self.rings) > len(self.best):
            self.best = [list(ring) for ring in self.rings]
        if len(self.best) == self.most or self.tries > MOST_TRIES:
            return True
        return self._onward([0], {0})

    def _onward(self, path: list[int], used: set[int]) -> bool:
        self.tries += 1
        here = path[-1]
        if len(path) == len(self.free):
            return self._closed(path)
        options = [int(w) for w in np.flatnonzero(self.free[here] > 0) if int(w) not in used]
        for there in sorted(options, key=lambda w: int(self.free[:, w].sum())):
            self.free[here, there] -= 1
            if self._onward([*path, there], used | {there}):
                return True
            self.free[here, there] += 1
            if len(path) == 1:
                # Which link of the first rank comes next makes no difference: all have to be used.
                break
        return False

    def _closed(self, path: list[int]) -> bool:
        if self.free[path[-1], 0] <= 0:
            return False
        self.free[path[-1], 0] -= 1
        self.rings.append(path)
        if self.next_ring():
            return True
        self.rings.pop()
        self.free[path[-1], 0] += 1
        return False
