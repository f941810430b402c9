"""Measurements simulated: groups, the sendrecv of nccl-tests, problems, processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import topo
from topo.errors import CollectiveError, TopoError
from topo.validation import errors, load_rows
from topo.validation.compare import compare_rows
from topo.validation.place import collective_of, group_of

Table = Callable[..., Path]


def test_ranks_are_spread_as_the_source_says() -> None:
    two = topo.load("dgx-h100*2").fabric
    assert list(group_of(two, 8, 1)) == list(range(8))
    assert list(group_of(two, 8, 2)) == [0, 1, 2, 3, 8, 9, 10, 11]
    assert list(group_of(two, 16)) == list(range(16))
    rack = topo.load("gb200-nvl72").fabric
    assert list(group_of(rack, 72, 18)) == list(range(72)), "trays of a rack are no domains"
    with pytest.raises(CollectiveError, match="17 ranks"):
        group_of(two, 17)


def test_sendrecv_is_the_slowest_pair_of_a_ring(table: Table) -> None:
    inside, across = load_rows(
        [
            table(
                {"op": "sendrecv", "target": "dgx-h100"},
                {"op": "sendrecv", "target": "dgx-h100*2", "devices": "16", "nodes": "2"},
            )
        ]
    )
    two = topo.load("dgx-h100*2").fabric
    pair = collective_of(across, two, group_of(two, 16, 2))
    assert (pair.root, pair.peer) == (7, 8)
    one = topo.load("dgx-h100").fabric
    pair = collective_of(inside, one, group_of(one, 8, 1))
    assert (pair.root, pair.peer) == (0, 1)


def test_errors_are_simulated_over_measured_time(table: Table) -> None:
    time = topo.simulate("switch:8", "all-reduce", 2**20).time_s * 1e6
    rows = load_rows([table({"time_us": str(time)}, {"time_us": str(2 * time)})])
    assert errors(rows) == pytest.approx([0.0, -0.5])


def test_what_takes_the_place_of_a_library(table: Table) -> None:
    rows = load_rows([table({"target": "dgx-h100"})])
    ideal = errors(rows, "ideal")
    assert errors(rows, {"nccl": "ideal"}) == ideal != errors(rows)
    assert errors(rows, {"rccl": "ideal"}) == errors(rows)


def test_problems_are_named_and_the_rest_is_compared(table: Table) -> None:
    path = table({"target": "swich:8"}, {"devices": "16"}, {}, {"algorithm": "telepathy", "time_us": "3"})
    rows = load_rows([path])
    outcome = compare_rows(rows)
    assert [(p.number, p.column) for p in outcome.problems] == [(2, "target"), (3, "devices")]
    assert "did you mean 'switch'" in outcome.problems[0].message
    assert [c.row.id for c in outcome.compared] == ["row3", "row4"]
    assert outcome.compared[1].note.startswith("asked for telepathy")
    with pytest.raises(TopoError, match="row 2"):
        errors(rows)


def test_what_cannot_be_simulated_is_left_out(table: Table) -> None:
    outcome = compare_rows(load_rows([table({"op": "barrier", "bytes": "0", "algorithm": "nvls"}, {})]))
    assert len(outcome.compared) + len(outcome.left_out) == 2
    assert all(out.reason for out in outcome.left_out)


def test_the_number_of_processes_changes_nothing(table: Table) -> None:
    sizes = [str(2**k) for k in range(3, 24)]
    path = table(
        *(
            {"bytes": size, "target": target}
            for target in ("switch:8", "ring:8", "dgx-h100")
            for size in sizes
        )
    )
    rows = load_rows([path])
    done: list[int] = []
    alone = compare_rows(rows, progress=done.append)
    assert sum(done) == len(rows)
    assert compare_rows(rows, workers=2) == alone
