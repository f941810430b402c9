"""Processes of this machine, some of which die."""

from __future__ import annotations

from pathlib import Path

import calls
import pytest

from topo.sweep import Point, Store, read_records, sweep
from topo.sweep.local import Here, Processes
from topo.sweep.record import TIMINGS


def test_processes_give_the_records_of_one_process(tmp_path: Path) -> None:
    asked = [Point.of("add", {"a": value}) for value in (*range(40), "no", "bug")]
    found = []
    for name, executor in (("here", Here()), ("two", Processes(2)), ("three", Processes(3))):
        with Store(tmp_path / name) as store:
            assert sweep(asked, store, executor, calls.add).computed == 42
        records = {record["point"]: record for record in read_records(tmp_path / name)}
        found.append([{k: v for k, v in records[p.key].items() if k not in TIMINGS} for p in asked])
    assert found[0] == found[1] == found[2]
    assert [record.get("sum") for record in found[0]] == [*range(40), None, None]


def test_a_process_that_dies_takes_only_its_point_with_it(tmp_path: Path) -> None:
    values = [*range(6), "always", "once", *range(6, 12)]
    asked = [Point.of("deadly", {"a": value, "mark": str(tmp_path / str(value))}) for value in values]
    with Store(tmp_path / "r") as store:
        summary = sweep(asked, store, Processes(2), calls.deadly)
    assert (summary.computed, summary.failed) == (14, 1)
    records = {record["input_a"]: record for record in read_records(tmp_path / "r")}
    assert records["always"]["outcome"] == "crash"
    assert "died twice, at last by signal 9" in records["always"]["error"]
    assert records["once"]["lived"] is True


def test_stopping_leaves_no_process_behind(tmp_path: Path) -> None:
    import multiprocessing

    asked = [Point.of("slowly", {"a": value, "seconds": 0.01 if value < 4 else 30}) for value in range(10)]

    def stop(outcome: str) -> None:
        if len(seen := [*store.outcomes]) == 3:
            raise KeyboardInterrupt(seen)

    with Store(tmp_path) as store, pytest.raises(KeyboardInterrupt):
        sweep(asked, store, Processes(2), calls.slowly, progress=stop)
    assert not multiprocessing.active_children()
    assert len(read_records(tmp_path)) == 3
