"""Reading measurements: what is wrong is named by row and column, the rest is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from topo.errors import TopoError
from topo.validation import BANDS, band, load_rows, read_rows
from topo.validation.reader import COLUMNS, packaged

Table = Callable[..., Path]


def test_the_packaged_files_are_sound() -> None:
    reading = read_rows()
    assert reading.problems == ()
    assert len(packaged()) == 16
    assert len(reading.rows) > 700 and len({row.target for row in reading.rows}) >= 12
    assert all(row.source and row.seconds > 0 for row in reading.rows)
    assert {out.reason for out in reading.left_out} == {
        "names no system to simulate",
        "gives no size",
        "operation sendrecv_bidir is not simulated",
    }


def test_a_row_says_what_it_said(table: Table) -> None:
    (row,) = load_rows([table({"algorithm": "ring", "source": "log", "nodes": "2", "in_place": "1"})])
    assert (row.id, row.file, row.number, row.target) == ("row1", "mine.csv", 2, "switch:8")
    assert (row.operation, row.ranks, row.nodes, row.bytes) == ("all-reduce", 8, 2, 2.0**20)
    assert row.seconds == pytest.approx(50e-6) and row.in_place is True and row.algorithm == "ring"
    assert row.busbw == pytest.approx(2**20 / 50e-6 * 2 * 7 / 8)


@pytest.mark.parametrize(
    ("changes", "column", "message"),
    [
        ({"time_us": "0"}, "time_us", "not above zero"),
        ({"time_us": "-3"}, "time_us", "not above zero"),
        ({"time_us": "nan"}, "time_us", "no number"),
        ({"time_us": "1_000"}, "time_us", "no number"),
        ({"time_us": "50us"}, "time_us", "unit of its own; give plain microseconds"),
        ({"bytes": "1MiB"}, "bytes", "unit of its own; give plain bytes"),
        ({"bytes": "0"}, "bytes", "not above zero"),
        ({"devices": "eight"}, "devices", "no whole number"),
        ({"devices": "2.5"}, "devices", "no whole number"),
        ({"devices": "1"}, "devices", "at least two"),
        ({"nodes": "9"}, "nodes", "more than the 8 devices"),
        ({"op": "allreduse"}, "op", "did you mean 'allreduce'"),
        ({"op": ""}, "op", "blank"),
        ({"in_place": "maybe"}, "in_place", "in-place"),
        ({"algbw_GBs": "167.8"}, "algbw_GBs", "Gbit/s"),
        ({"algbw_GBs": "20971"}, "algbw_GBs", "MB/s"),
    ],
)
def test_what_is_wrong_is_named(table: Table, changes: dict[str, str], column: str, message: str) -> None:
    reading = read_rows([table({}, changes, {"bytes": "64"})])
    assert {row.id for row in reading.rows} >= {"row1", "row3"}
    (problem,) = reading.problems
    assert (problem.file, problem.number, problem.column) == ("mine.csv", 3, column)
    assert message in problem.message
    assert str(problem).startswith("mine.csv row 3")


def test_a_blank_id_is_named_and_the_row_kept(table: Table) -> None:
    reading = read_rows([table({"id": ""}, {"bytes": "64"})])
    assert [row.id for row in reading.rows] == ["mine.csv:2", "row2"]
    assert [(p.number, p.column) for p in reading.problems] == [(2, "id")]


def test_rows_are_there_once(table: Table) -> None:
    same = read_rows(
        [table({"id": "a"}, {"id": "a", "bytes": "64"}, {"id": "b"}, {"id": "c", "time_us": "51"})]
    )
    assert [row.id for row in same.rows] == ["a", "c"]
    assert [(p.number, p.column) for p in same.problems] == [(3, "id"), (4, "")]
    assert "repeats row 2" in same.problems[1].message


@pytest.mark.parametrize("missing", ["id", "devices", "op", "bytes", "time_us", "target"])
def test_a_missing_column_is_named(table: Table, missing: str) -> None:
    columns = tuple(column for column in COLUMNS if column != missing)
    reading = read_rows([table({}, columns=columns)])
    assert [(p.number, p.column) for p in reading.problems] == [(1, missing)]
    assert "missing" in reading.problems[0].message


def test_another_unit_in_the_header_is_named(table: Table) -> None:
    columns = tuple("time_ms" if column == "time_us" else column for column in COLUMNS)
    reading = read_rows([table({}, columns=columns)])
    assert "time_ms has another unit" in reading.problems[0].message
    both = read_rows([table({}, columns=(*COLUMNS, "time_ms"))])
    assert both.problems[0].column == "time_ms" and "give time_us" in both.problems[0].message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "is empty"),
        (b"a;b;c\n1;2;3\n", "names none of the columns"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b'id,devices,op,bytes,time_us,target\nx,8,"all', "is no CSV"),
        (b"id,devices,op,bytes,time_us,target\nx,8\n", "has 2 cells where the header has 6"),
        (b"id,id,devices,op,bytes,time_us,target\n", "is there twice"),
    ],
)
def test_what_is_no_table(tmp_path: Path, text: bytes, message: str) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(text)
    reading = read_rows([path])
    assert reading.rows == () and any(message in p.message for p in reading.problems)


def test_files_that_are_not_there(tmp_path: Path, table: Table) -> None:
    reading = read_rows([tmp_path / "absent.csv", table({})])
    assert len(reading.rows) == 1 and "cannot be read" in reading.problems[0].message
    with pytest.raises(TopoError, match=r"absent\.csv"):
        load_rows([tmp_path / "absent.csv"])


def test_rows_that_cannot_be_compared_say_why(table: Table) -> None:
    reading = read_rows(
        [table({"target": ""}, {"bytes": ""}, {"time_us": ""}, {"op": "moe_dispatch"}, {"devices": ""})]
    )
    assert reading.rows == () and reading.problems == ()
    assert [out.reason for out in reading.left_out] == [
        "names no system to simulate",
        "gives no size",
        "gives neither time nor bandwidth",
        "operation moe_dispatch is not simulated",
        "gives no number of ranks",
    ]


def test_a_time_follows_from_a_bandwidth(table: Table) -> None:
    by_algbw, by_busbw, over_a_range = load_rows(
        [
            table(
                {"time_us": "", "algbw_GBs": "10"},
                {"time_us": "", "busbw_GBs": "17.5"},
                {"time_us": "", "busbw_GBs": "17.5", "bytes": "1-4GiB"},
            )
        ]
    )
    assert by_algbw.seconds == by_busbw.seconds == pytest.approx(2**20 / 10e9)
    assert by_algbw.derived and over_a_range.bytes == 2**31
    assert over_a_range.seconds == pytest.approx(2**31 / 10e9)


def test_bands() -> None:
    sizes = [2.0**16 - 1, 2.0**16, 2.0**20 - 1, 2.0**20, 2.0**26, 2.0**26 + 1]
    assert [BANDS.index(band(size)) for size in sizes] == [0, 1, 1, 2, 2, 3]
