"""``topo validate`` and ``topo calibrate`` from outside."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

DATA = Path(__file__).parents[2] / "data" / "nccl_tests"
HEADER = "id,devices,op,bytes,time_us,target\n"
GOOD = "a,8,all_reduce,1048576,50,switch:8\n"
Topo = Callable[..., object]


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.csv"
    path.write_text(HEADER + GOOD)
    return path


def test_json(topo: Topo, good: Path) -> None:
    said = topo("validate", "--data", good, "--json")
    assert (said.code, said.err) == (0, "")
    (row,) = said.data["rows"]
    assert row["id"] == "a" and row["target"] == "switch:8" and row["op"] == "all_reduce"
    assert row["error"] == row["simulated_s"] / row["measured_s"] - 1
    assert said.data["summary"]["overall"][-1]["count"] == 1


def test_csv_and_text(topo: Topo, good: Path) -> None:
    said = topo("validate", "--data", good, "--csv")
    (row,) = csv.DictReader(io.StringIO(said.out))
    assert row["id"] == "a" and float(row["measured_s"]) == pytest.approx(50e-6)
    said = topo("validate", "--data", good)
    assert said.code == 0 and "switch:8" in said.out and "1-64 MiB" in said.out


def test_bad_rows_end_with_2_and_the_rest_is_there(topo: Topo, good: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text(HEADER + GOOD.replace("50", "0") + GOOD.replace("a,", "b,") + GOOD.replace("a,8", "c,9"))
    said = topo("validate", "--data", bad, good, "--json")
    assert said.code == 2 and [row["id"] for row in said.data["rows"]] == ["b", "a"]
    lines = said.err.splitlines()
    assert len(lines) == 2 and all(line.startswith("topo: error: bad.csv row ") for line in lines)
    assert "row 2 (a), column time_us" in lines[0] and "row 4 (c), column devices" in lines[1]


def test_an_error_that_grew_ends_with_1(topo: Topo, good: Path, tmp_path: Path) -> None:
    record = tmp_path / "recorded.json"
    said = topo("validate", "--data", good, "--record", "--recorded", record)
    assert said.code == 0 and record.exists()
    assert topo("validate", "--data", good, "--recorded", record).code == 0
    key, value = next(iter(json.loads(record.read_text()).items()))
    record.write_text(json.dumps({key: value | {"worst": value["worst"] / 2}}))
    said = topo("validate", "--data", good, "--recorded", record, "--json")
    assert said.code == 1 and "worst" in said.err and said.data["rows"]


def test_filters(topo: Topo) -> None:
    said = topo("validate", "--system", "mi300*", "--operation", "all-reduce", "--json", "--jobs", 1)
    assert {row["target"] for row in said.data["rows"]} == {"mi300x"} and len(said.data["rows"]) == 62
    assert "did you mean" in topo("validate", "--operation", "all-redude").problem
    assert "no measurement is left" in topo("validate", "--system", "dgx-a1").problem


def test_figures_and_page(topo: Topo, good: Path, tmp_path: Path) -> None:
    said = topo(
        "validate", "--data", good, "--figures", tmp_path / "f", "--page", tmp_path / "docs", "--json"
    )
    assert said.code == 0 and said.data["rows"]
    assert {path.suffix for path in (tmp_path / "f").iterdir()} == {".svg", ".png"}
    text = (tmp_path / "docs" / "validation.md").read_text()
    assert "switch:8" in text and (tmp_path / "docs" / "validation" / "errors.svg").exists()


def test_options_that_contradict(topo: Topo, good: Path) -> None:
    assert "choose one" in topo("validate", "--json", "--csv").problem
    assert "--data" in topo("validate", good).problem


def test_calibrate_writes_a_library_that_run_takes(topo: Topo, tmp_path: Path) -> None:
    output = tmp_path / "mine.yaml"
    said = topo("calibrate", DATA / "all-reduce-8xh100.txt", "-o", output, "--json")
    assert said.code == 0 and said.err == "" and output.with_suffix(".svg").exists()
    assert said.data["system"] == "dgx-h100" and said.data["rows"] == 50
    assert said.data["after"]["median"] < said.data["before"]["median"] + 0.01
    assert all(c["standard_error"] > 0 for c in said.data["constants"])
    run = topo("run", "all-reduce", "--on", "dgx-h100", "--size", "1GiB", "--ccl", output, "--json")
    assert run.code == 0 and run.data["ccl"] == "mine"


def test_calibrate_says_what_it_found(topo: Topo) -> None:
    said = topo("calibrate", DATA / "alltoall-8xb200.json", "--on", "hgx-b200*2")
    assert said.code == 0 and "before" in said.out and "after" in said.out


def test_broken_logs_are_named_and_the_rest_is_used(topo: Topo) -> None:
    broken, sound = DATA / "broken.txt", DATA / "all-reduce-8xh100.txt"
    said = topo("calibrate", broken, sound, "--operation", "all-reduce", "--json")
    assert said.code == 2 and said.data["rows"] >= 50
    assert all(line.startswith("topo: error: broken.txt:") for line in said.err.splitlines())


def test_calibrate_without_a_measurement(topo: Topo, tmp_path: Path) -> None:
    empty = tmp_path / "empty.log"
    empty.write_text("hello\n")
    said = topo("calibrate", empty)
    assert said.code == 2 and said.out == "" and "no output of nccl-tests" in said.err
    assert "does not end in .yaml" in topo("calibrate", DATA / "broken.txt", "-o", "x.txt").problem
    assert "did you mean 'all-reduce'" in topo("calibrate", empty, "--operation", "all-redus").problem
