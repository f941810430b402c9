"""Schedules: what is counted, pipelining, templates spelled out, and what builders refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import strategies as some
from topo.algorithms import Site, build, fitting
from topo.collective import Collective, cut
from topo.errors import ScheduleError
from topo.fabric import Fabric, Grid
from topo.network import compile_program
from topo.network.solver import run_alone
from topo.schedule import LAST, Schedule, ScheduleBuilder, Wait, one_each, rows_of

SYSTEMS = {
    "ring": some.ring(5),
    "torus": some.torus((3, 4)),
    "star": some.star(6, in_network=True),
    "domains": some.domains_on_a_switch(2, 3),
}


def made(fabric: Fabric, algorithm: str, operation: str, chunks: int = 1) -> Schedule:
    site = Site(fabric, np.arange(fabric.ranks))
    return build(algorithm, Collective(operation, fabric.ranks, 6e6), site, chunks)


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize(
    "operation", ["all-reduce", "all-gather", "reduce-scatter", "all-to-all", "broadcast"]
)
def test_what_is_sent_is_received(name: str, operation: str) -> None:
    """Point to point every byte that leaves arrives; no rank sends less than the operation needs."""
    fabric = SYSTEMS[name]
    n, size = fabric.ranks, 6e6
    least = {"all-reduce": 2 * (n - 1) * size, "broadcast": (n - 1) * size}.get(operation, (n - 1) * size)
    for algorithm in fitting(Collective(operation, n, size), Site(fabric, np.arange(n))):
        if algorithm.costly:
            continue
        schedule = made(fabric, algorithm.name, operation)
        sent, received = schedule.bytes_sent().sum(), schedule.bytes_received().sum()
        if all(batch.form == "direct" for batch in schedule.batches):
            assert sent == pytest.approx(received, rel=1e-12), algorithm.name
            assert sent >= least * (1 - 1e-12), algorithm.name
        assert schedule.transfers == sum(len(batch) * batch.repeat for batch in schedule.whole().batches)


def test_a_ring_is_a_template() -> None:
    """Many transfers, two batches."""
    schedule = made(some.ring(64), "ring", "all-reduce")
    assert len(schedule.batches) == 2
    assert schedule.transfers == 64 * 126
    assert schedule.steps == 126
    assert schedule.bytes_sent().tolist() == pytest.approx([2 * 63 / 64 * 6e6] * 64)


def test_bytes_of_trees() -> None:
    """Every rank sends its share up, its owner gets one copy of the sum; and the other way round."""
    schedule = made(SYSTEMS["star"], "nvls", "all-reduce")
    assert schedule.bytes_sent().tolist() == pytest.approx([7e6] * 6)
    assert schedule.bytes_received().tolist() == pytest.approx([7e6] * 6)


# ---------------------------------------------------------------------------------------------------- pipelining

PIPELINED = [
    ("nvls", "all-reduce", "star"),
    ("hierarchical", "all-reduce", "domains"),
    ("ring", "all-reduce", "ring"),
]


@pytest.mark.parametrize(("algorithm", "operation", "name"), PIPELINED)
@pytest.mark.parametrize("pieces", [2, 3, 8])
def test_pipelining_proves_itself_and_moves_the_same(
    algorithm: str, operation: str, name: str, pieces: int
) -> None:
    whole = made(SYSTEMS[name], algorithm, operation)
    parts = whole.whole().pipelined(pieces)
    parts.verify()
    np.testing.assert_allclose(parts.bytes_sent(), whole.bytes_sent(), rtol=1e-12)
    assert parts.transfers == pieces * whole.transfers
    assert f"{pieces} chunks" in parts.detail
    assert whole.pipelined(1) is whole


@pytest.mark.parametrize(("algorithm", "operation", "name"), PIPELINED)
def test_pipelining_without_latency_never_hurts_a_tree(algorithm: str, operation: str, name: str) -> None:
    fabric = SYSTEMS[name].scaled(latency=0.0)
    whole = made(fabric, algorithm, operation)
    times = [
        run_alone(compile_program(whole.pipelined(pieces), fabric), certify=True)[0].finish
        for pieces in (1, 2, 4)
    ]
    assert times[1] <= times[0] * (1 + 1e-9)
    assert times[2] <= times[1] * (1 + 1e-9)


def test_pipelines_keep_waits_of_every_kind() -> None:
    """Lags within a part stay within it; every part follows the part before through each batch."""
    collective = Collective("all-reduce", 3, 3e3)
    builder = ScheduleBuilder(collective, "test", lambda: cut(collective))
    chunk = one_each(np.zeros(1, dtype=np.int64))
    builder.add([0], [1], 1e3, chunk, repeat=4, loop=False)
    builder.add([1], [2], 1e3, chunk, repeat=4, waits=[Wait(0, 0)], loop=False)
    builder.add([1], [0], 1e3, chunk, after=(0,))
    schedule = builder.build().pipelined(2)
    assert len(schedule.batches) == 6
    assert {(w.batch, w.lag, w.on) for w in schedule.batches[4].waits} == {
        (3, 0, "arrival"),
        (1, LAST, "drain"),
    }
    assert {(w.batch, w.lag, w.on) for w in schedule.batches[5].waits} == {
        (3, LAST, "arrival"),
        (3, LAST, "drain"),
        (2, LAST, "drain"),
    }
    steps = [batch.step for batch in schedule.batches]
    assert steps[1] == steps[0] + 1 and steps[4] == steps[3] + 1
    assert steps[2] == steps[0] + 4 and steps[5] >= steps[3] + 4


def test_too_many_chunks() -> None:
    with pytest.raises(ScheduleError, match="give at most"):
        made(SYSTEMS["domains"], "hierarchical", "all-reduce").pipelined(10**6)


# ----------------------------------------------------------------------------------------------------- templates


@given(st.integers(2, 4), st.integers(1, 4), st.data())
def test_shifts_spelled_out(rows: int, columns: int, data: st.DataObject) -> None:
    """A batch by shifts is every shift from every rank, transfer by transfer and within each by rank."""
    grid = Grid((rows, columns), (True, True))
    moves = st.tuples(st.integers(0, rows - 1), st.integers(0, columns - 1)).filter(any)
    shifts = np.asarray(data.draw(st.lists(moves, min_size=1, max_size=4)))
    collective = Collective("all-gather", grid.size, 1.0)
    builder = ScheduleBuilder(collective, "test", lambda: cut(collective))
    builder.add_shifts(
        grid, shifts, np.arange(1.0, len(shifts) + 1), rows_of(np.zeros((0, 1), dtype=np.int64))
    )
    schedule = builder.build()
    (batch,) = schedule.whole().batches
    expected = [
        (rank, int(grid.numbers((grid.coordinates(np.array([rank])) + shift) % grid.shape)[0]), float(i + 1))
        for i, shift in enumerate(shifts)
        for rank in range(grid.size)
    ]
    assert (
        list(zip(batch.source.tolist(), batch.target.tolist(), batch.bytes.tolist(), strict=True)) == expected
    )
    assert schedule.transfers == len(expected)
    assert schedule.whole().whole() is not schedule


# ------------------------------------------------------------------------------------------------------- builders


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"bytes": -1.0}, "test: batch 0 moves a negative or endless number of bytes"),
        ({"bytes": float("nan")}, "negative or endless"),
        ({"bytes": float("inf")}, "negative or endless"),
        ({"repeat": 0}, "test: batch 0 is repeated 0 times"),
        ({"target": [9]}, "test: batch 0 names a rank outside 0 to 3"),
        ({"source": [-1]}, "names a rank outside 0 to 3"),
        ({"form": "broadcast"}, "form 'broadcast' is unknown; one of direct, multicast"),
    ],
)
def test_what_builders_refuse(values: dict[str, Any], words: str) -> None:
    collective = Collective("all-reduce", 4, 4.0)
    builder = ScheduleBuilder(collective, "test", lambda: cut(collective))
    given_: dict[str, Any] = {
        "source": [0],
        "target": [1],
        "bytes": 1.0,
        "pieces": rows_of(np.zeros((1, 1), int)),
    }
    with pytest.raises(ScheduleError) as caught:
        builder.add(**(given_ | values))
    assert words in str(caught.value)


def test_steps_follow_from_what_is_waited_for() -> None:
    collective = Collective("all-reduce", 4, 4.0)
    builder = ScheduleBuilder(collective, "test", lambda: cut(collective))
    chunk = one_each(np.zeros(1, dtype=np.int64))
    first = builder.add([0], [1], 1.0, chunk, repeat=3)
    second = builder.add([1], [2], 1.0, chunk, after=(first,))
    third = builder.add([1], [3], 1.0, chunk, pipeline=(first,), repeat=3, loop=False)
    steps = [builder.batches[number].step for number in (first, second, third)]
    assert steps == [0, 3, 1]
    assert builder.batches[first].waits == () or builder.batches[first].waits[0].batch == first
    assert builder.build().steps == 4
