"""``topo sweep`` on the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars
import pytest

ROOT = Path(__file__).parents[3]
SPEC = "question: Why?\nrun: {operation: all-reduce, on: [ring:8, torus:4x4], size: [1KiB, 1MiB]}\n"


@pytest.fixture
def spec(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "spec.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_the_documented_sweep(topo: Callable[..., Any], spec: Callable[[str], Path], tmp_path: Path) -> None:
    results = tmp_path / "results"
    said = topo("sweep", spec(SPEC), "--results", results, "--jobs", 1, "--json")
    assert said.code == 0
    assert said.data["points"] == said.data["computed"] == 4
    table = polars.read_parquet(results / "records.parquet")
    alone = topo("run", "all-reduce", "--on", "torus:4x4", "--size", "1MiB", "--json").data
    assert set(alone) <= set(table.columns)
    (row,) = table.filter((polars.col("system") == "torus:4x4") & (polars.col("bytes") == 2**20)).to_dicts()
    assert {name: row[name] for name in alone if name != "wall_s"} == {
        name: value for name, value in alone.items() if name != "wall_s"
    }
    assert polars.read_csv(results / "records.csv").height == 4
    again = topo("sweep", spec(SPEC), "--results", results, "--jobs", 1, "--json")
    assert (again.data["computed"], again.data["kept"]) == (0, 4)


def test_two_processes_write_the_same_table(
    topo: Callable[..., Any], spec: Callable[[str], Path], tmp_path: Path
) -> None:
    tables = []
    for jobs in (1, 2):
        results = tmp_path / str(jobs)
        assert topo("sweep", spec(SPEC), "--results", results, "--jobs", jobs).code == 0
        table = polars.read_parquet(results / "records.parquet").drop("wall_s", "point_wall_s")
        tables.append(table.write_csv())
    assert tables[0] == tables[1]


def test_what_is_refused_is_a_record(
    topo: Callable[..., Any], spec: Callable[[str], Path], tmp_path: Path
) -> None:
    text = "run: {operation: [all-reduce, all-reduse], on: [ring:8, rign:8], size: 1KiB, algorithm: ring}"
    said = topo("sweep", spec(text), "--results", tmp_path / "r", "--jobs", 1)
    assert said.code == 0
    assert "3 failed" in said.err and "did you mean 'ring'" in said.err
    table = polars.read_csv(tmp_path / "r" / "records.csv")
    assert table["outcome"].to_list() == ["ok", "error", "error", "error"]
    assert "did you mean 'all-reduce'" in table["error"][2]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("run: {operation: all-reduce, on: ring:8, size: 1KiB, algoritm: ring}", "did you mean 'algorithm'"),
        ("run: {operation: all-reduce, on: ring:8, size: []}", "is empty"),
        ("run: {operation: all-reduce, on: ring:8, size: 1KiB, chunks: [1, x]}", "integer"),
        ("run: {operation: all-reduce, on: ring:8, size: 1KiB, barrier: 3}", "true or false"),
        ("run: {operation: all-reduce, size: 1KiB}", "--on"),
        ("rnu: {}", "did you mean 'run'"),
        ("list: {}", "one of run"),
        (
            "run: {operation: all-reduce, on: ring:8, size: 1KiB, seed: {from: 1, to: 1000000, step: 1}}",
            "1,000,000 points",
        ),
    ],
)
def test_is_refused_before_anything_is_computed(
    topo: Callable[..., Any], spec: Callable[[str], Path], tmp_path: Path, text: str, words: str
) -> None:
    if "1000000" in text:
        text = text.replace("seed", "root")  # either is a whole number
    said = topo("sweep", spec(text), "--results", tmp_path / "r")
    assert said.code == 2
    assert words in said.problem
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--cluster", "slrum"), "did you mean 'slurm'"),
        (("--cluster", "slurm", "--scheduler", "tcp://x:1"), "one of them"),
        (("--scheduler", "tcp://x:1", "--jobs", "2"), "this machine"),
        (("--cluster-option", "queue=x"), "--cluster slurm"),
        (("--cluster", "slurm", "--cluster-option", "queue"), "queue=gpu"),
    ],
)
def test_contradicting_executors_are_refused(
    topo: Callable[..., Any],
    spec: Callable[[str], Path],
    tmp_path: Path,
    options: tuple[str, ...],
    words: str,
) -> None:
    said = topo("sweep", spec(SPEC), "--results", tmp_path / "r", *options)
    assert said.code == 2
    assert words in said.problem


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_what_was_computed(
    spec: Callable[[str], Path], tmp_path: Path, number: signal.Signals
) -> None:
    path = spec("run: {operation: all-to-all, on: [ring:4, ring:5, ring:6, ring:7], size: 1KiB..1GiB}")
    arguments = ["sweep", str(path), "--results", str(tmp_path / "r"), "--jobs", "2"]
    command = [sys.executable, "-c", "from topo.cli import main; main()", *arguments]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    journal = tmp_path / "r" / "journal.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and (not journal.exists() or journal.stat().st_size < 5000):
        time.sleep(0.05)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does: to every process of the group
    else:
        process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on from there" in said
    assert "Traceback" not in said
    assert all(
        json.loads(line.partition(" ")[2]) for line in journal.read_text(encoding="utf-8").splitlines()
    )


def test_a_disk_that_is_full_when_the_tables_are_written(spec: Callable[[str], Path], tmp_path: Path) -> None:
    """Files may not grow beyond what two records take, so that the journal fits and the tables do not."""
    path = spec("run: {operation: all-reduce, on: ring:4, size: [1KiB, 2KiB]}")
    code = (
        "import resource; from topo.cli import main; import topo.cli.run, polars, topo.simulate; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000)); main()"
    )
    command = [
        sys.executable,
        "-B",
        "-c",
        code,
        "sweep",
        str(path),
        "--results",
        str(tmp_path / "r"),
        "--jobs",
        "1",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "is full; the journal is complete; make room and give the same command again" in done.stderr
    assert len((tmp_path / "r" / "journal.jsonl").read_bytes().splitlines()) == 2
    assert not list((tmp_path / "r").glob("*.part"))
