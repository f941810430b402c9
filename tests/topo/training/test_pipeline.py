"""Pipeline schedules against closed forms and the oracles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from topo.training.pipeline import Task, in_flight, makespan, order

CASES = {
    case["id"]: case
    for case in json.loads((Path(__file__).parents[2] / "data" / "collectives.json").read_text())["cases"]
    if case["group"] == "pipeline"
}
SCHEDULE = {"gpipe": "gpipe", "1f1b": "1f1b", "interleaved": "interleaved", "zbh1": "zb-h1"}


@pytest.mark.parametrize("name", CASES)
def test_oracles(name: str) -> None:
    case: dict[str, Any] = CASES[name]
    t = case["topology"]
    found = makespan(
        SCHEDULE[name.split("_")[1]], t["p"], t["m"], t["tF"], t["tB"], t.get("tW", 0.0), t.get("v", 1)
    )
    assert found == pytest.approx(case["expected"], rel=1e-9)


@pytest.mark.parametrize("stages", [1, 2, 4, 7])
@pytest.mark.parametrize("batches", [1, 3, 8, 20])
def test_bubbles(stages: int, batches: int) -> None:
    full = (batches + stages - 1) * 3.0
    assert makespan("gpipe", stages, batches, 1.0, 2.0) == pytest.approx(full)
    assert makespan("1f1b", stages, batches, 1.0, 2.0) == pytest.approx(full)
    if batches >= stages:
        zero = makespan("zb-h1", stages, batches, 1.0, 1.0, 1.0)
        assert zero == pytest.approx(3 * batches + stages - 1)


@pytest.mark.parametrize("stages", [2, 4])
@pytest.mark.parametrize("chunks", [2, 3, 5])
def test_interleaving(stages: int, chunks: int) -> None:
    batches = 4 * stages
    expected = batches * 3.0 + (stages - 1) * 3.0 / chunks
    assert makespan("interleaved", stages, batches, 1.0, 2.0, virtual_stages=chunks) == pytest.approx(
        expected
    )


@pytest.mark.parametrize("schedule", ["gpipe", "1f1b", "interleaved", "zb-h1"])
def test_every_task_once(schedule: str) -> None:
    stages, batches = 4, 8
    chunks = 2 if schedule == "interleaved" else 1
    for stage in range(stages):
        tasks = order(schedule, stages, stage, batches, chunks)
        kinds = "FBW" if schedule == "zb-h1" else "FB"
        wanted = {Task(k, c, j) for k in kinds for c in range(chunks) for j in range(batches)}
        assert len(tasks) == len(wanted)
        assert set(tasks) == wanted


def test_activations_in_flight() -> None:
    def most(schedule: str, stage: int = 0, chunks: int = 1) -> int:
        return in_flight(order(schedule, 4, stage, 16, chunks), schedule == "zb-h1")

    assert most("gpipe") == 16
    assert [most("1f1b", stage) for stage in range(4)] == [4, 3, 2, 1]
    assert most("interleaved", chunks=2) == 4 * 2 + 4 - 1  # chunks; p (1 + (p-1)/(pv)) whole stages
    assert most("zb-h1", 0) == 4
    assert most("zb-h1", 3) == 4
