"""Published training steps: strictly read, simulated where the plan is complete, left out with a reason elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from topo.validation.training import (
    COLUMNS,
    ComparedStep,
    compare_steps,
    read_steps,
    steps_by_key,
    steps_csv,
    steps_data,
    steps_families,
    steps_report,
)

GOOD = {
    "id": "dgxc_llama3.1-8b_BF16_8",
    "model": "llama3.1-8b",
    "seq": "8192",
    "global_batch": "128",
    "micro_batch": "1",
    "TP": "1",
    "PP": "1",
    "DP": "4",
    "CP": "2",
    "EP": "NA",
    "devices": "8",
    "precision": "BF16",
    "step_time_s": "12.27",
    "source": "github:NVIDIA/dgxc-benchmarking@741c886 llama3.1/README.md",
    "target": "dgx-h100",
}
Steps = Callable[..., Path]


@pytest.fixture
def steps(tmp_path: Path) -> Steps:
    """Write rows, each GOOD with some cells changed, to a file."""

    def write(*rows: dict[str, str], columns: tuple[str, ...] = COLUMNS) -> Path:
        lines = [",".join(columns)]
        lines += [",".join((GOOD | changes).get(column, "") for column in columns) for changes in rows]
        path = tmp_path / "steps.csv"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


def test_the_packaged_file_is_sound() -> None:
    rows, problems = read_steps()
    assert problems == [] and len(rows) == 380 and len({row.id for row in rows}) == 380


@pytest.mark.parametrize(
    ("changes", "column", "message"),
    [
        ({"step_time_s": "0"}, "step_time_s", "not above zero"),
        ({"step_time_s": "12.27 s"}, "step_time_s", "no number"),
        ({"devices": "7.5"}, "devices", "no whole number"),
        ({"TP": "two"}, "TP", "no number"),
        ({"id": "dgxc_first"}, "id", "every row has its own"),
    ],
)
def test_what_is_wrong_is_named(steps: Steps, changes: dict[str, str], column: str, message: str) -> None:
    rows, problems = read_steps([steps({"id": "dgxc_first"}, {"id": "dgxc_second"} | changes)])
    assert [row.id for row in rows] == ["dgxc_first"]
    assert [(p.number, p.column) for p in problems] == [(3, column)] and message in problems[0].message


def test_a_missing_column_is_named(steps: Steps) -> None:
    columns = tuple(column for column in COLUMNS if column != "step_time_s")
    rows, problems = read_steps([steps({}, columns=columns)])
    assert rows == [] and problems[0].column == "step_time_s"


def test_a_step_is_compared_and_the_rest_left_out_with_a_reason(steps: Steps) -> None:
    rows, problems = read_steps(
        [
            steps(
                {},
                {"id": "dgxc_no_target", "target": ""},
                {"id": "dgxc_no_system", "target": "dgx-h1000"},
                {"id": "dgxc_no_batch", "global_batch": "", "micro_batch": ""},
                {"id": "dgxc_no_model", "model": "telepath-9b"},
                {"id": "somebody_else"},
            )
        ]
    )
    assert problems == []
    done: list[int] = []
    outcome = compare_steps(rows, progress=done.append)
    assert sum(done) == len(rows) == 6
    (compared,) = outcome.compared
    assert isinstance(compared, ComparedStep) and compared.measured_s == 12.27
    assert compared.error == compared.seconds / 12.27 - 1
    assert sum(seconds for _, seconds in compared.split) == pytest.approx(compared.seconds)
    assert {out.id for out in outcome.left_out} == {
        "dgxc_no_target",
        "dgxc_no_batch",
        "dgxc_no_model",
        "somebody_else",
    }
    assert all(out.reason for out in outcome.left_out)
    (problem,) = outcome.problems
    assert (problem.id, problem.column) == ("dgxc_no_system", "target")

    data = steps_data(outcome)
    assert data["rows"][0]["simulated_s"] == compared.seconds and data["rows"][0]["op"] == "training-step"
    assert len(data["left_out"]) == 4 and data["summary"]["overall"][0]["count"] == 1
    assert "step_time" not in steps_csv(outcome.compared) and "compute_s" in steps_csv(outcome.compared)
    assert list(steps_families(outcome.compared)) == [("NVIDIA/dgxc-benchmarking", "dgx-h100", "bf16")]
    assert list(steps_by_key(outcome.compared)) == [
        "training step | NVIDIA/dgxc-benchmarking | dgx-h100 | bf16"
    ]
    assert "Left out" in steps_report(outcome)
