"""``topo compare``."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from topo.cli import compare as command
from topo.errors import InternalError
from topo.results import COLUMNS

ROOT = Path(__file__).parents[3]
TWO = ("compare", "all-gather", "--on", "ring:4", "--on", "switch:4", "--sizes", "1KiB..1GiB*1024")
FILES = {
    *("results.csv", "results.json", "nccl-tests.txt", "summary.txt"),
    *(f"{name}.{kind}" for name in ("busbw", "time", "of-bound") for kind in ("svg", "png")),
}


def test_everything_is_written_and_named(topo: Callable[..., Any], tmp_path: Path) -> None:
    said = topo(*TWO, "--output", tmp_path / "a" / "b")
    assert said.code == 0 and said.err == ""
    assert {path.name for path in (tmp_path / "a" / "b").iterdir()} == FILES
    assert all(name in said.out for name in FILES)
    with (tmp_path / "a" / "b" / "results.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 2 * 3
    data = json.loads((tmp_path / "a" / "b" / "results.json").read_text(encoding="utf-8"))
    assert [r["time_s"] for r in data["results"]] == [float(row["time_s"]) for row in rows]
    assert (tmp_path / "a" / "b" / "nccl-tests.txt").read_text(encoding="utf-8") in said.out


def test_files_go_to_results_compare_by_default(
    topo: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert topo(*TWO).code == 0
    assert {path.name for path in (tmp_path / "results" / "compare").iterdir()} == FILES


def test_json_prints_json_and_writes_nothing(
    topo: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = topo(*TWO, "--json").data
    assert [system["name"] for system in data["systems"]] == ["ring:4", "switch:4"]
    assert data["sizes"] == [1 << 10, 1 << 20, 1 << 30]
    assert {"results", "fastest", "crossovers", "failures", "summary"} <= set(data)
    assert list(tmp_path.iterdir()) == []


def test_many_rows_are_set_side_by_side(
    topo: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "SHORT", 5)
    out = topo(*TWO, "--output", tmp_path).out
    assert "#" not in out
    assert out.splitlines()[0].split() == ["all-gather", "ring:4", "switch:4"]
    assert out.count("*") == 3 + 1, "one winner a size, and the legend"


def test_without_arguments_it_is_the_default_comparison(
    topo: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "SYSTEMS", ("ring:4", "switch:4"))
    monkeypatch.setattr(command, "OPERATIONS", ("all-gather",))
    data = topo("compare", "--json", "--sizes", "1KiB").data
    assert data["operations"] == ["all-gather"]
    assert len(data["results"]) == 2


def test_the_default_comparison_is_the_one_promised() -> None:
    from topo.units import size_range
    from topologies import load

    counts = [load(name).fabric.ranks for name in command.SYSTEMS]
    assert len(counts) == 5 and all(64 <= count <= 72 for count in counts)
    assert command.OPERATIONS == ("all-reduce", "all-gather", "reduce-scatter", "all-to-all")
    sizes = size_range(command.SIZES)
    assert (sizes[0], sizes[-1]) == (1 << 10, 4 << 30)
    assert len(sizes) >= 12


def test_what_was_left_out_is_said(topo: Callable[..., Any], tmp_path: Path) -> None:
    said = topo(
        *(
            "compare",
            "all-reduce",
            "--on",
            "ring:4",
            "--on",
            "switch:4,in_network=true",
            "--sizes",
            "1KiB..1MiB*32",
        ),
        *("--algorithm", "nvls", "--output", tmp_path),
    )
    assert said.code == 0
    assert said.err.startswith("topo: left out: all-reduce on ring:4: nvls cannot run")
    assert said.err.count("\n") == 1
    assert "Left out" in said.out


def test_a_contradiction_ends_with_exit_code_1_but_keeps_the_rest(
    topo: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from topo import compare as comparing

    simulate = comparing.simulate

    def contradict(system: Any, *arguments: Any, **keywords: Any) -> Any:
        if system.name == "ring:4":
            raise InternalError("the simulated time lies below the bound")
        return simulate(system, *arguments, **keywords)

    monkeypatch.setattr(comparing, "simulate", contradict)
    said = topo(*TWO, "--output", tmp_path)
    assert said.code == 1
    assert "topo: internal error: the simulated time lies below the bound" in said.err
    assert {path.name for path in tmp_path.iterdir()} == FILES


def test_an_unwritable_folder_is_refused_before_anything_runs(
    topo: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from topo import compare as comparing

    monkeypatch.setattr(comparing, "simulate", None)
    (tmp_path / "file").write_text("")
    said = topo(*TWO, "--output", tmp_path / "file")
    assert said.code == 2
    assert "cannot be written" in said.problem and "--output" in said.problem


def test_ctrl_c_is_clean(tmp_path: Path) -> None:
    arguments = [
        "compare",
        "--on",
        "torus:4x4x4",
        "--on",
        "mesh:8x8",
        "--jobs",
        "2",
        "--output",
        str(tmp_path),
    ]
    process = subprocess.Popen(
        [sys.executable, "-c", "from topo.cli import main; main()", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(2.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert err.strip() == "topo: stopped"
