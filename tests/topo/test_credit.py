"""How sure a report is: errors found for the systems in it, and said where there are none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from topo.credit import RECORDED, RECORDED_STEPS, credit_of


def collective(system: str, operation: str = "all-reduce", ccl: str = "nccl-2.27") -> dict[str, object]:
    return {"system": system, "operation": operation, "ccl": ccl}


def test_a_measured_system_brings_its_own_errors() -> None:
    found = credit_of([collective("dgx-h100*8")])
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
    own = {key: value for key, value in recorded.items() if key.startswith("dgx-h100*8 | all-reduce")}
    assert {row["system"] for row in found.rows} == {"dgx-h100*8"}
    assert [row["worst"] for row in found.rows] == [value["worst"] for value in own.values()]
    assert all(row["exact"] for row in found.rows)
    assert not found.not_validated
    assert not found.notes


@pytest.mark.parametrize(
    "system", ["dgx-h100*32", "dgx-h100*8,nic=25GB/s", "site(dgx-h100*8)*2,distance=10km"]
)
def test_another_size_is_marked(system: str) -> None:
    found = credit_of([collective(system)])
    assert {"dgx-h100", "dgx-h100*8"} <= {row["system"] for row in found.rows}
    assert not any(row["exact"] for row in found.rows)
    assert all(row["stands_for"] == [system] for row in found.rows)
    assert "another size" in found.notes[0]


@pytest.mark.parametrize("system", ["tpu-v4:4x4x4", "ring:16", "dgx-h1000", "dgx-h100-super", "h100"])
def test_what_was_never_measured_is_said(system: str) -> None:
    found = credit_of([collective(system)])
    assert list(found.not_validated) == [system]
    assert not found.rows


def test_only_the_operations_of_the_report_count() -> None:
    assert credit_of([collective("mi300x", "all-to-all")]).not_validated == ["mi300x"]


def test_steps_have_their_own_errors() -> None:
    found = credit_of([{"system": "dgx-h100*64", "step_s": 1.0}])
    assert len(found.rows) == sum(" | dgx-h100 | " in key for key in json.loads(RECORDED_STEPS.read_text()))
    assert all(row["what"].startswith("training step") for row in found.rows)


def test_the_ideal_library_was_not_measured() -> None:
    assert any("ideal" in note for note in credit_of([collective("dgx-h100", ccl="ideal")]).notes)


def test_without_a_record_nothing_is_claimed(tmp_path: Path) -> None:
    torn = tmp_path / "torn.json"
    torn.write_text('{"dgx-h100 | all', encoding="utf-8")
    found = credit_of([collective("dgx-h100")], torn, tmp_path / "none.json")
    assert found.not_validated == ["dgx-h100"]
