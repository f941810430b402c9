"""How many bytes each operation must move, whatever the algorithm.

Without help of switches every element of an all-reduce takes at least 2(N-1) messages, because one-way calls
that tell everybody everything number at least 2N-2 (F. Harary and A. J. Schwenk, "The communication problem
on graphs and digraphs", J. Franklin Institute 297, 1974); each message is sent once and received once.  A
stream that switches *copy* is sent once but received many times, one that they *add* is sent many times but
received once; written out as single calls, they still number 2N-2.  So the sum over all receivers holds
unless a switch reduces, the sum over all senders unless a switch multicasts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from topo.collective import Collective
from topo.fabric import BoolArray, FloatArray


@dataclass(frozen=True, eq=False)
class PortVolumes:
    """Bytes that must pass the accelerators' ports.

    Parameters
    ----------
    sent, received : float arrays [ranks]
        At least, by each rank.
    all_sent, all_received : float
        At least, by all ranks together.
    """

    sent: FloatArray
    received: FloatArray
    all_sent: float
    all_received: float


def port_volumes(collective: Collective, multicast: bool, reduces: bool) -> PortVolumes:
    """Least bytes through ports.

    Parameters
    ----------
    multicast, reduces : bool
        Whether some switch of the fabric can copy, or add, what passes it.
    """
    n, size, op = collective.ranks, float(collective.bytes), collective.operation
    sent, received = np.zeros(n), np.zeros(n)
    all_sent = all_received = 0.0
    if op == "all-reduce":
        sent[:] = received[:] = size
        all_sent = n * size if multicast else 2 * (n - 1) * size
        all_received = n * size if reduces else 2 * (n - 1) * size
    elif op == "all-gather":
        sent[:], received[:] = size / n, (n - 1) / n * size
        all_sent, all_received = size if multicast else (n - 1) * size, (n - 1) * size
    elif op == "reduce-scatter":
        sent[:], received[:] = (n - 1) / n * size, size / n
        all_sent, all_received = (n - 1) * size, size if reduces else (n - 1) * size
    elif op == "broadcast":
        sent[collective.root], received[:] = size, size
        received[collective.root] = 0.0
        all_sent, all_received = size if multicast else (n - 1) * size, (n - 1) * size
    elif op == "reduce":
        sent[:], received[collective.root] = size, size
        sent[collective.root] = 0.0
        all_sent, all_received = (n - 1) * size, size if reduces else (n - 1) * size
    elif op == "all-to-all":
        sent, received = _sums(collective)
        all_sent, all_received = float(sent.sum()), float(received.sum())
    elif op == "send-recv":
        sent[collective.root] = received[collective.peer] = size
        all_sent = all_received = size
    return PortVolumes(sent, received, all_sent, all_received)


def _sums(collective: Collective) -> tuple[FloatArray, FloatArray]:
    """Bytes that each rank sends and receives in an all-to-all."""
    if collective.matrix is None:
        one = np.full(collective.ranks, (collective.ranks - 1) / collective.ranks * collective.bytes)
        return one, one.copy()
    blocks = collective.blocks()
    return blocks.sum(axis=1), blocks.sum(axis=0)


def crossing_volume(
    collective: Collective, inside: FloatArray, root_inside: BoolArray, peer_inside: BoolArray
) -> FloatArray:
    """Bytes that must leave sets of ranks, even where switches copy and add; not for a matrix of blocks.

    Parameters
    ----------
    inside : float array [sets]
        How many ranks each set holds.
    root_inside, peer_inside : bool arrays [sets]
        Whether the set holds the collective's root, and its peer.

    Returns
    -------
    float array [sets]

    Notes
    -----
    All-reduce: each side holds contributions that the other lacks.  All-gather: each block must leave once.
    Reduce-scatter: each block of the other side needs a sum over this side.  All-to-all: each pair its block.
    """
    n, size, op = collective.ranks, float(collective.bytes), collective.operation
    outside = n - inside
    split = (inside > 0) & (outside > 0)
    every = np.full(len(inside), size)
    if op == "all-reduce":
        volume = every
    elif op == "all-gather":
        volume = inside * size / n
    elif op == "reduce-scatter":
        volume = outside * size / n
    elif op == "all-to-all":
        volume = inside * outside * size / n
    elif op == "broadcast":
        volume = np.where(root_inside, every, 0.0)
    elif op == "reduce":
        volume = np.where(root_inside, 0.0, every)
    elif op == "send-recv":
        volume = np.where(root_inside & ~peer_inside, every, 0.0)
    else:
        volume = 0.0 * every
    return np.asarray(np.where(split, volume, 0.0))


def crossing_volume_of(collective: Collective, inside: BoolArray) -> float:
    """Bytes that must leave one set of ranks, for any operation.

    Parameters
    ----------
    inside : bool array [ranks]
    """
    if collective.matrix is not None:
        return float(collective.blocks()[np.ix_(inside, ~inside)].sum())
    count = np.asarray([inside.sum()], dtype=float)
    root, peer = inside[collective.root], inside[max(collective.peer, 0)]
    return float(crossing_volume(collective, count, np.asarray([root]), np.asarray([peer]))[0])
