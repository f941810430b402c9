"""Statistics of errors, their record, and the figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import topo.validation.left_record
from topo.errors import TopoError
from topo.validation import load_rows
from topo.validation.compare import Compared, Outcome
from topo.validation.figures import write_figures
from topo.validation.leave_out import Left
from topo.validation.left_record import write_left_one_out
from topo.validation.page import page
from topo.validation.recorded import grown, write_recorded
from topo.validation.statistics import by_key, families, groups, over_all, statistics
from topo.validation.text import report, to_csv, to_data

Table = Callable[..., Path]


@pytest.fixture
def compared(table: Table) -> list[Compared]:
    """Errors of -50 % to +50 % over sizes of every band and two numbers of ranks."""
    rows = load_rows(
        [table(*({"bytes": str(4**k), "devices": str(ranks)} for k in range(2, 15) for ranks in (4, 8)))]
    )
    return [
        Compared(row, row.seconds * (1 + error), "ring", "4 chunks", "ideal", "link a -> b")
        for row, error in zip(rows, np.linspace(-0.5, 0.5, len(rows)), strict=True)
    ]


@given(st.lists(st.floats(-1, 10), min_size=1, max_size=40))
def test_statistics_agree_with_their_definitions(errors: list[float]) -> None:
    found = statistics(errors)
    size = sorted(abs(e) for e in errors)
    assert found.count == len(errors) and found.worst == size[-1]
    assert size[0] <= found.median <= found.p90 <= found.worst
    assert sum(s <= found.median + 1e-12 for s in size) * 2 >= len(size)
    assert found.bias == pytest.approx(sum(errors) / len(errors))


def test_groups_cover_every_row_once(compared: list[Compared]) -> None:
    found = groups(compared)
    assert sum(g.statistics.count for g in found) == len(compared)
    assert len({g.key for g in found}) == len(found) == 8
    whole = over_all(compared)
    assert whole["below 1 MiB"].count + whole["1 MiB and above"].count == whole["all"].count == len(compared)
    assert list(families(compared)) == [("switch:8", "all-reduce")]


def test_an_error_that_grows_is_noticed(compared: list[Compared], tmp_path: Path) -> None:
    path = tmp_path / "recorded.json"
    assert grown(by_key(compared), path) == ([], list(by_key(compared)))
    write_recorded(by_key(compared), path)
    assert grown(by_key(compared), path) == ([], [])
    few = {"another": statistics([0.5])}
    write_recorded(few, path, keep=True)
    assert grown(by_key(compared) | few, path) == ([], [])
    better = [replace(c, seconds=c.row.seconds * (1 + c.error / 2)) for c in compared]
    assert grown(by_key(better), path) == ([], [])
    worse = [replace(c, seconds=9 * c.seconds) if c.row.bytes == 16 else c for c in compared]
    growths, unknown = grown(by_key(worse), path)
    assert unknown == [] and growths and all("< 64 KiB" in str(growth) for growth in growths)
    _, unknown = grown(by_key(compared[1:]), path)
    assert unknown == [next(iter(by_key(compared)))]


@pytest.mark.parametrize("text", ["", "[]", '{"switch:8 | all-reduce | < 64 KiB | 4 ranks": 3}'])
def test_a_broken_record_is_named(compared: list[Compared], tmp_path: Path, text: str) -> None:
    path = tmp_path / "recorded.json"
    path.write_text(text)
    with pytest.raises(TopoError, match="--record"):
        grown(by_key(compared), path)


def test_what_is_printed_is_what_was_found(compared: list[Compared]) -> None:
    outcome = Outcome(tuple(compared), (), ())
    data = to_data(outcome)
    for record, c in zip(data["rows"], compared, strict=True):
        assert record["error"] == record["simulated_s"] / record["measured_s"] - 1 == c.error
        assert {"id", "target", "op", "bytes"} <= set(record)
    assert len(to_csv(compared).splitlines()) == len(compared) + 1
    assert "1 MiB and above" in report(outcome)
    text = page(outcome, [c.row for c in compared])
    assert "all-reduce on switch:8" in text and "26 published measurements" in text


def test_what_was_recorded_stands_on_the_page(
    compared: list[Compared], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topo.validation.left_record, "FILE", tmp_path / "left.json")
    rows = [c.row for c in compared]
    text = page(Outcome(tuple(compared), (), ()), rows)
    assert "Not computed yet" in text
    small = [row for row in rows if row.bytes < 2**20][:2]
    write_left_one_out(
        [Left("dgx-h100", tuple(small), (0.01, -0.01), (0.02, 0.02), ("a",), ("b",))], "system"
    )
    write_left_one_out([Left("box", tuple(small), (0.03, 0.03), (0.04, 0.04), (), ())], "machine")
    text = page(Outcome(tuple(compared), (), ()), rows)
    assert "| dgx-h100 | 2 | 1.0 % | 2.0 % | - | - | 1 of 2 |" in text
    assert "| box | 2 | 3.0 % | 4.0 % | - | - |  |" in text and "| all | 2 |" in text


def test_figures(compared: list[Compared], tmp_path: Path) -> None:
    written = write_figures(compared, tmp_path / "figures", formats=("svg",))
    assert [path.name for path in written] == ["measured-and-simulated.svg", "errors.svg"]
    first = [path.read_bytes() for path in written]
    assert [
        path.read_bytes() for path in write_figures(compared, tmp_path / "figures", formats=("svg",))
    ] == first
