"""Collectives: what must be true before and after, in nccl-tests' size convention.

The size of a collective is the size that nccl-tests prints: the buffer of each rank for all-reduce, broadcast
and reduce; the gathered output for all-gather; the input for reduce-scatter; the send buffer of each rank (one
block for every rank, one of which stays at home) for all-to-all.
Source of sizes and bus-bandwidth factors: NVIDIA nccl-tests, doc/PERFORMANCE.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from topo.errors import CollectiveError, nearest
from topo.fabric import FloatArray, IntArray

OPERATIONS = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "broadcast",
    "reduce",
    "send-recv",
    "barrier",
)
ROOTED = ("broadcast", "reduce", "send-recv")
EVERY_RANK = -1


@dataclass(frozen=True)
class Collective:
    """One collective operation on a group.

    Parameters
    ----------
    operation : str
        One of :data:`OPERATIONS`.
    ranks : int
        Size of the group, at least 2.
    bytes : float
        nccl-tests' size; 0 only for a barrier.
    root : int
        Root of a broadcast or reduce, sender of a send-recv.
    peer : int
        Receiver of a send-recv; -1 means the last rank.
    matrix : tuple of tuple of float, optional
        All-to-all with unequal blocks: ``matrix[s][d]`` bytes from rank s to rank d.

    Raises
    ------
    CollectiveError
        Unknown operation, a group of one, a size that is not a positive number, a root outside the group.
    """

    operation: str
    ranks: int
    bytes: float
    root: int = 0
    peer: int = -1
    matrix: tuple[tuple[float, ...], ...] | None = None

    def __post_init__(self) -> None:
        if self.operation not in OPERATIONS:
            raise CollectiveError(
                f"operation {self.operation!r} is unknown",
                nearest(str(self.operation), OPERATIONS) or f"one of {', '.join(OPERATIONS)}",
            )
        if self.ranks < 2:
            raise CollectiveError(
                f"a collective among {self.ranks} rank{'' if self.ranks == 1 else 's'} moves nothing",
                "give at least two ranks",
            )
        if (
            not math.isfinite(self.bytes)
            or self.bytes < 0
            or (self.bytes == 0 and self.operation != "barrier")
        ):
            raise CollectiveError(f"size {self.bytes} is not a positive number of bytes", "for example 64MiB")
        if self.bytes > 2**60:
            raise CollectiveError(f"size {self.bytes:.3g} bytes is beyond 1 EiB", "for example 64MiB")
        if self.peer == -1 and self.operation == "send-recv":
            object.__setattr__(self, "peer", self.ranks - 1 if self.root != self.ranks - 1 else 0)
        peer = 0 if self.peer == -1 else self.peer
        for what, rank in (("root", self.root), ("peer", peer)):
            if not 0 <= rank < self.ranks:
                raise CollectiveError(
                    f"{what} {rank} is outside the group", f"ranks run from 0 to {self.ranks - 1}"
                )
        if self.operation == "send-recv" and self.root == self.peer:
            raise CollectiveError(f"rank {self.root} cannot send to itself", "choose another peer")
        if self.operation == "barrier":
            object.__setattr__(self, "bytes", 0.0)
        if self.matrix is not None:
            self._check_matrix()

    def _check_matrix(self) -> None:
        if self.operation != "all-to-all":
            raise CollectiveError(
                f"a matrix of block sizes does not fit {self.operation}", "it is for all-to-all"
            )
        rows = self.matrix or ()
        if len(rows) != self.ranks or any(len(row) != self.ranks for row in rows):
            raise CollectiveError(f"the matrix of block sizes is not {self.ranks} x {self.ranks}")
        if any(not math.isfinite(value) or value < 0 for row in rows for value in row):
            raise CollectiveError("the matrix of block sizes holds a negative or endless number")

    @property
    def busbw_factor(self) -> float:
        """Bus bandwidth over algorithm bandwidth (nccl-tests, doc/PERFORMANCE.md)."""
        share = (self.ranks - 1) / self.ranks
        return {
            "all-reduce": 2 * share,
            "all-gather": share,
            "reduce-scatter": share,
            "all-to-all": share,
        }.get(self.operation, 1.0)

    def blocks(self) -> FloatArray:
        """Bytes from each rank to each other in an all-to-all [ranks, ranks]; the diagonal is zero."""
        if self.matrix is not None:
            table = np.asarray(self.matrix, dtype=float)
        else:
            table = np.full((self.ranks, self.ranks), self.bytes / self.ranks)
        np.fill_diagonal(table, 0.0)
        return table


@dataclass(frozen=True, eq=False)
class Chunks:
    """How a collective's data is cut.

    Parameters
    ----------
    bytes : float array [chunks]
    origin : int array [chunks]
        The rank that holds the chunk at the start; -1: every rank holds its own contribution to it.
    target : int array [chunks]
        The rank that must hold the chunk at the end; -1: every rank must.
    """

    bytes: FloatArray
    origin: IntArray
    target: IntArray

    def __len__(self) -> int:
        return len(self.bytes)


def cut(collective: Collective, pieces: int = 1) -> Chunks:
    """Cut a collective into its natural chunks, each in ``pieces`` equal parts.

    All-reduce, all-gather and reduce-scatter have one chunk per rank and piece, numbered
    ``rank * pieces + piece``; all-to-all one per pair and piece, ``(source * ranks + target) * pieces + piece``;
    the others one per piece.
    """
    n, op = collective.ranks, collective.operation
    if op in ("all-reduce", "all-gather", "reduce-scatter"):
        owner = np.repeat(np.arange(n), pieces)
        every = np.full(n * pieces, EVERY_RANK)
        size = np.full(n * pieces, collective.bytes / (n * pieces))
        return Chunks(
            size, owner if op == "all-gather" else every, owner if op == "reduce-scatter" else every
        )
    if op == "all-to-all":
        size = np.repeat(collective.blocks().ravel() / pieces, pieces)
        pair = np.repeat(np.arange(n * n), pieces)
        return Chunks(size, pair // n, pair % n)
    return segments(collective, pieces)


def segments(collective: Collective, pieces: int = 1) -> Chunks:
    """Cut the whole buffer of an all-reduce, broadcast, reduce, send-recv or barrier into equal segments."""
    op = collective.operation
    size = np.full(pieces, collective.bytes / pieces)
    every = np.full(pieces, EVERY_RANK)
    root, peer = np.full(pieces, collective.root), np.full(pieces, collective.peer)
    return Chunks(
        size,
        root if op in ("broadcast", "send-recv") else every,
        {"reduce": root, "send-recv": peer}.get(op, every),
    )
