"""The store: nothing lost, doubled or half-written, whatever happens to the process or the disk."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import calls
import polars
import pytest

from topo.errors import SweepError
from topo.sweep import Point, Store, Summary, read_records, sweep
from topo.sweep.local import Here
from topo.sweep.record import TIMINGS
from topo.sweep.store import FORMAT, JOURNAL, QUARANTINE, read_about
from topo.sweep.tables import in_order, write_tables

ROOT = Path(__file__).parents[3]
KILLS = 12


def points(*values: Any) -> list[Point]:
    return [Point.of("add", {"a": value}) for value in values]


def run(folder: Path, *values: Any, retry: bool = False) -> Summary:
    with Store(folder) as store:
        return sweep(points(*values), store, Here(), calls.add, retry=retry)


def untimed(folder: Path) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in record.items() if name not in TIMINGS}
        for record in read_records(folder)
    ]


def test_a_rerun_computes_only_what_is_new(tmp_path: Path) -> None:
    first = run(tmp_path, 1, 2, 2)
    assert (first.points, first.computed, first.kept, first.failed) == (2, 2, 0, 0)
    second = run(tmp_path, 2, 3, 1)
    assert (second.points, second.computed, second.kept) == (3, 1, 2)
    assert [record["sum"] for record in read_records(tmp_path)] == [1, 2, 3]


def test_a_record_has_inputs_results_version_seed_and_times(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        sweep([Point.of("add", {"a": 1, "b": 2, "seed": 9})], store, Here(), calls.add)
    (record,) = read_records(tmp_path)
    assert record["sum"] == 3 and record["nested.list"] == "[1, 2]"
    assert record["input_a"] == 1 and record["seed"] == record["input_seed"] == 9
    assert record["outcome"] == "ok" and record["error"] == "" and record["version"]
    assert record["point_wall_s"] >= 0


def test_failures_are_recorded_and_what_was_nobodys_input_is_tried_again(tmp_path: Path) -> None:
    values = (1, "no", "bug", "type", "memory")
    assert run(tmp_path, *values).failed == 4
    errors = {record["input_a"]: (record["outcome"], record["error"]) for record in read_records(tmp_path)}
    assert errors[1] == ("ok", "")
    assert errors["no"] == ("error", "no is no number; give one")
    assert errors["bug"] == ("crash", "internal error: contradiction")
    assert errors["type"] == ("crash", "internal error: TypeError: wrong type")
    assert errors["memory"] == ("crash", "not enough memory")
    assert run(tmp_path, *values).computed == 3
    assert run(tmp_path, *values, retry=True).computed == 4
    assert len(read_records(tmp_path)) == 5


def test_the_address_is_of_content() -> None:
    point = Point.of("run", {"a": 1, "b": "x"})
    assert point.key == Point.of("run", {"b": "x", "a": 1}).key
    others = [("run", {"a": 1.5, "b": "x"}), ("run", {"a": 1}), ("bound", {"a": 1, "b": "x"})]
    assert len({point.key, *(Point.of(*other).key for other in others)}) == 4
    with pytest.raises(SweepError, match="no value for parameter 'a'"):
        Point.of("run", {"a": float("nan")})


def test_a_changed_file_is_another_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    keys = set()
    for text in ("a", "b", "b "):
        (tmp_path / "rack.yaml").write_text(text, encoding="utf-8")
        point = Point.of("run", {"on": "rack.yaml*2,nic=25GB/s"})
        assert list(point.files) == ["rack.yaml"]
        keys.add(point.key)
    assert len(keys) == 3


@pytest.mark.parametrize("cut", ["torn", "flipped", "rubbish", "line"])
def test_a_spoilt_journal_is_quarantined_and_the_rest_kept(tmp_path: Path, cut: str) -> None:
    run(tmp_path, 1, 2, 3)
    journal = tmp_path / JOURNAL
    content = journal.read_bytes()
    lines = content.splitlines(keepends=True)
    spoilt = {
        "torn": content[:-20],
        "flipped": content.replace(b'"sum":2', b'"sum":7'),
        "rubbish": lines[0] + b"\x00\xff\n" + lines[2],
        "line": lines[0] + lines[1][:30] + b"\n" + lines[2],
    }[cut]
    journal.write_bytes(spoilt)
    assert len(read_records(tmp_path)) == 2, "readers pass it over"
    with Store(tmp_path) as store:
        assert store.quarantined == 1
        assert len(store.outcomes) == 2
    (bad,) = (tmp_path / QUARANTINE).iterdir()
    assert bad.read_bytes() in spoilt
    assert run(tmp_path, 1, 2, 3).computed == 1
    assert sorted(record["sum"] for record in read_records(tmp_path)) == [1, 2, 3]


def test_a_folder_of_another_version_is_refused(tmp_path: Path) -> None:
    run(tmp_path, 1)
    made_by = json.loads((tmp_path / FORMAT).read_text(encoding="utf-8"))
    for change in ({"topo": "0.0.1"}, {"record_format": 99}):
        (tmp_path / FORMAT).write_text(json.dumps(made_by | change), encoding="utf-8")
        with pytest.raises(SweepError, match="must not be mixed"):
            run(tmp_path, 2)
        with pytest.raises(SweepError, match="must not be mixed"):
            read_records(tmp_path)
    (tmp_path / FORMAT).write_text("{", encoding="utf-8")
    with pytest.raises(SweepError, match="cannot be read"):
        run(tmp_path, 2)
    (tmp_path / FORMAT).unlink()
    with pytest.raises(SweepError, match="who made it is unknown"):
        run(tmp_path, 2)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="no results folder"):
        read_records(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(SweepError, match="check the folder"):
        run(tmp_path / "file", 1)
    assert read_about(tmp_path) == {}


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with Store(tmp_path), pytest.raises(SweepError, match=f"another sweep .*process {os.getpid()}"):
        run(tmp_path, 1)
    assert run(tmp_path, 1).computed == 1


def test_a_full_disk_keeps_every_whole_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, room = os.write, 1500

    def limited(handle: int, data: bytes) -> int:
        nonlocal room
        if room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = write(handle, data[:room])
        room -= written
        return written

    monkeypatch.setattr(os, "write", limited)
    with pytest.raises(SweepError, match=r"is full; \d+ records are kept; make room"):
        run(tmp_path, *range(100))
    monkeypatch.undo()
    kept = len(read_records(tmp_path))
    assert kept >= 2
    with Store(tmp_path) as store:
        assert store.quarantined == 0, "no torn line was left"
    assert run(tmp_path, *range(100)).computed == 100 - kept


def test_tables_are_the_records_and_do_not_depend_on_the_order_of_computing(tmp_path: Path) -> None:
    written = []
    for name, order in (("a", (1, 2, "no", 3)), ("b", (3, "no", 1, 2))):
        run(tmp_path / name, *order)
        keys = [point.key for point in points(1, 2, "no", 3)]
        records = [
            {key: value for key, value in record.items() if key not in TIMINGS}
            for record in in_order(read_records(tmp_path / name), keys)
        ]
        parquet, csv = write_tables(tmp_path / name, records)
        written.append((parquet.read_bytes(), csv.read_bytes()))
        table = polars.read_parquet(parquet)
        assert table["sum"].to_list() == [1, 2, None, 3]
        assert table["input_a"].to_list() == ["1", "2", "no", "3"]
        assert polars.read_csv(csv).height == 4
    assert written[0] == written[1]


def start(folder: Path, number: int, jobs: int) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{Path(calls.__file__).parent}"}
    return subprocess.Popen(
        [sys.executable, calls.__file__, str(folder), str(number), str(jobs)],
        env=environment,
        stderr=subprocess.PIPE,
    )


def wait_for_lines(folder: Path, process: subprocess.Popen[bytes], lines: int) -> None:
    """Until the journal has more lines than that, or the process has ended."""
    journal = folder / JOURNAL
    while process.poll() is None and (not journal.exists() or journal.read_bytes().count(b"\n") <= lines):
        time.sleep(0.002)


def check_journal(folder: Path) -> Mapping[str, Any]:
    """Every line of the journal but a torn last one is a record, and no point is there twice."""
    lines = (folder / JOURNAL).read_bytes().splitlines(keepends=True) if (folder / JOURNAL).exists() else []
    whole = [json.loads(line.partition(b" ")[2]) for line in lines if line.endswith(b"\n")]
    assert len(whole) >= len(lines) - 1
    found = {record["point"]: record for record in whole}
    assert len(found) == len(whole), "doubled"
    return found


@pytest.mark.parametrize("jobs", [1, 2])
def test_killed_at_random_many_times_nothing_is_lost_doubled_or_half_written(
    tmp_path: Path, jobs: int
) -> None:
    number, rng, kills = 400, random.Random(jobs), 0
    before: Mapping[str, Any] = {}
    while kills < KILLS:
        process = start(tmp_path / "killed", number, jobs)
        wait_for_lines(tmp_path / "killed", process, len(before) + rng.randrange(number // KILLS))
        time.sleep(rng.uniform(0.0, 0.01))
        process.send_signal(signal.SIGKILL)
        kills += 1
        _, said = process.communicate(timeout=60)
        assert process.returncode in (0, -signal.SIGKILL), said.decode()
        now = check_journal(tmp_path / "killed")
        assert all(now[key] == record for key, record in before.items()), "lost or changed"
        before = now
    process = start(tmp_path / "killed", number, jobs)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said.decode()
    assert len(check_journal(tmp_path / "killed")) == number
    undisturbed = start(tmp_path / "whole", number, 1)
    _, said = undisturbed.communicate(timeout=60)
    assert undisturbed.returncode == 0, said.decode()
    assert sorted(untimed(tmp_path / "killed"), key=str) == sorted(untimed(tmp_path / "whole"), key=str)
    tables = [
        polars.read_csv(tmp_path / name / "records.csv").drop(TIMINGS).write_csv()
        for name in ("killed", "whole")
    ]
    assert tables[0] == tables[1]
    assert not list((tmp_path / "killed").glob("*.part")), "no leftovers"


def test_workers_end_when_the_sweep_is_killed(tmp_path: Path) -> None:
    process = start(tmp_path, 5000, 2)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not (tmp_path / JOURNAL).exists():
        time.sleep(0.02)
    time.sleep(0.5)
    children = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True, check=False
    ).stdout.split()
    process.kill()
    process.communicate()
    assert children
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and any(Path(f"/proc/{pid}").exists() for pid in children):
        time.sleep(0.05)
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
