"""The table of routes: which links a transfer holds, and which share of it each link carries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from topo.fabric import FloatArray, IntArray, spread


@dataclass(frozen=True, eq=False)
class Routes:
    """Routes of some transfers, as one compressed table.

    Parameters
    ----------
    pointer : int array [transfers + 1]
    link : int array [entries]
    fraction : float array [entries]
        Share of the transfer that the link carries.
    latency : float array [transfers]
        Sum of link latencies, seconds; the largest over the ways of a split route.
    """

    pointer: IntArray
    link: IntArray
    fraction: FloatArray
    latency: FloatArray

    def __len__(self) -> int:
        return len(self.latency)

    def rows(self) -> IntArray:
        """Transfer of each entry."""
        return np.repeat(np.arange(len(self)), np.diff(self.pointer))

    def take(self, rows: IntArray) -> Routes:
        """Routes of some transfers only, in the given order (repeats allowed)."""
        entries = spread(self.pointer, rows)
        pointer = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum(np.diff(self.pointer)[rows], out=pointer[1:])
        return Routes(pointer, self.link[entries], self.fraction[entries], self.latency[rows])


def routes_from_entries(
    count: int, row: IntArray, link: IntArray, fraction: FloatArray, latency: FloatArray, links: int
) -> Routes:
    """Collect loose (transfer, link, share) entries; shares on the same link add up."""
    key = row * links + link
    order = np.argsort(key, kind="stable")
    key = key[order]
    fresh = np.ones(len(key), dtype=bool)
    fresh[1:] = key[1:] != key[:-1]
    starts = np.flatnonzero(fresh)
    shares = np.add.reduceat(fraction[order], starts) if len(starts) else np.zeros(0)
    key = key[starts]
    pointer = np.zeros(count + 1, dtype=np.int64)
    np.cumsum(np.bincount(key // links, minlength=count), out=pointer[1:])
    return Routes(pointer, key % links, shares, latency)
