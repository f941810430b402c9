"""Collectives: sizes as nccl-tests counts them, factors, chunks, and input that makes no sense."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from topo.collective import EVERY_RANK, OPERATIONS, ROOTED, Collective, cut, segments
from topo.errors import CollectiveError


@pytest.mark.parametrize(
    ("operation", "factor"),
    [
        ("all-reduce", 2 * 7 / 8),
        ("all-gather", 7 / 8),
        ("reduce-scatter", 7 / 8),
        ("all-to-all", 7 / 8),
        ("broadcast", 1),
        ("reduce", 1),
        ("send-recv", 1),
    ],
)
def test_bus_bandwidth_factors(operation: str, factor: float) -> None:
    """The table of nccl-tests' PERFORMANCE.md for eight ranks."""
    assert Collective(operation, 8, 1e6).busbw_factor == pytest.approx(factor)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"operation": "allreduce"}, "operation 'allreduce' is unknown; did you mean 'all-reduce'"),
        ({"operation": "x"}, "one of all-reduce, all-gather"),
        ({"operation": None}, "operation None is unknown"),
        ({"ranks": 1}, "a collective among 1 rank moves nothing"),
        ({"ranks": 0}, "a collective among 0 ranks moves nothing"),
        ({"bytes": 0}, "size 0 is not a positive number of bytes; for example 64MiB"),
        ({"bytes": -4}, "size -4 is not"),
        ({"bytes": math.nan}, "size nan is not"),
        ({"bytes": math.inf}, "size inf is not"),
        ({"bytes": 2.0**61}, "beyond 1 EiB"),
        ({"root": 4}, "root 4 is outside the group; ranks run from 0 to 3"),
        ({"root": -1}, "root -1 is outside the group"),
        ({"operation": "send-recv", "peer": 9}, "peer 9 is outside the group"),
        ({"operation": "send-recv", "peer": -2}, "peer -2 is outside the group"),
        ({"operation": "send-recv", "root": 2, "peer": 2}, "rank 2 cannot send to itself"),
        ({"matrix": ((0.0,) * 4,) * 4}, "does not fit all-reduce"),
        ({"operation": "all-to-all", "matrix": ((0.0,),)}, "is not 4 x 4"),
        ({"operation": "all-to-all", "matrix": ((-1.0,) * 4,) * 4}, "negative or endless"),
        ({"operation": "all-to-all", "matrix": ((math.inf,) * 4,) * 4}, "negative or endless"),
    ],
)
def test_what_makes_no_sense(values: dict[str, Any], words: str) -> None:
    with pytest.raises(CollectiveError) as caught:
        Collective(**({"operation": "all-reduce", "ranks": 4, "bytes": 1e6} | values))
    assert words in str(caught.value)


def test_the_peer_of_a_send() -> None:
    assert Collective("send-recv", 4, 1.0).peer == 3
    assert Collective("send-recv", 4, 1.0, root=3).peer == 0
    assert Collective("send-recv", 4, 1.0, root=3, peer=2).peer == 2


def test_a_barrier_has_no_bytes() -> None:
    assert Collective("barrier", 4, 1e6).bytes == 0
    assert Collective("barrier", 4, 0).bytes == 0


def test_blocks_of_an_all_to_all() -> None:
    even = Collective("all-to-all", 4, 4e6).blocks()
    assert even.sum() == 12e6
    assert np.diag(even).tolist() == [0] * 4
    rows = tuple(tuple(float(10 * s + d) for d in range(3)) for s in range(3))
    odd = Collective("all-to-all", 3, 1.0, matrix=rows)
    assert odd.blocks().tolist() == [[0, 1, 2], [10, 0, 12], [20, 21, 0]]
    assert odd.matrix == rows, "the collective itself is not touched"


@pytest.mark.parametrize("operation", [o for o in OPERATIONS if o != "barrier"])
@pytest.mark.parametrize("pieces", [1, 3])
def test_chunks_add_up(operation: str, pieces: int) -> None:
    n, size = 4, 1.2e6
    collective = Collective(operation, n, size, root=1, peer=2 if operation == "send-recv" else -1)
    chunks = cut(collective, pieces)
    assert len(chunks) == pieces * (1 if operation in ROOTED else n * n if operation == "all-to-all" else n)
    assert chunks.bytes.sum() == pytest.approx(size * (n - 1 if operation == "all-to-all" else 1))
    origins = {"all-gather": set(range(n)), "all-to-all": set(range(n)), "broadcast": {1}, "send-recv": {1}}
    targets = {"reduce-scatter": set(range(n)), "all-to-all": set(range(n)), "reduce": {1}, "send-recv": {2}}
    assert set(chunks.origin.tolist()) == origins.get(operation, {EVERY_RANK})
    assert set(chunks.target.tolist()) == targets.get(operation, {EVERY_RANK})


def test_numbers_of_chunks() -> None:
    chunks = cut(Collective("all-to-all", 3, 3.0), 2)
    number = (1 * 3 + 2) * 2 + 1
    assert (chunks.origin[number], chunks.target[number], chunks.bytes[number]) == (1, 2, 0.5)
    assert segments(Collective("all-reduce", 3, 8.0), 4).bytes.tolist() == [2.0] * 4
