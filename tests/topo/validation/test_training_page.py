"""Recorded times of training steps: kept step by step, summed up and drawn for the page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from topo.validation import training_page
from topo.validation.step_times import StepTime, read_times, write_times
from topo.validation.training import ComparedStep, Step

STEP = ComparedStep(
    Step("a_1", "steps.csv", 2, "dgx-h100*8", "github:NVIDIA/x@1", ()),
    *("llama3-8b", "dp 64", "dgx-h100*8", "bf16", "nccl"),
    *(10.0, 9.0, 0.4, (("compute", 9.0),)),
)
OTHER = replace(STEP, row=replace(STEP.row, id="b_1", source="github:acme/y"), seconds=13.0)


def test_times_are_kept_by_step(tmp_path: Path) -> None:
    path = tmp_path / "times.json"
    assert read_times(path) == []
    write_times([STEP, OTHER], path)
    write_times([replace(STEP, seconds=11.0)], path, keep=True)
    first, second = read_times(path)
    assert first == StepTime("a_1", "NVIDIA/x", "dgx-h100", "bf16", "llama3-8b", 10.0, 11.0)
    assert [first.error, second.error] == pytest.approx([0.1, 0.3])
    write_times([OTHER], path)
    assert [time.id for time in read_times(path)] == ["b_1"]


def test_the_section_says_what_is_met_and_what_is_missed() -> None:
    times = [
        StepTime(f"a_{i}", "NVIDIA/x", "dgx-h100", "bf16", model, 10.0, 10.0 * (1 + error))
        for i, (model, error) in enumerate(
            [("good", 0.01), ("good", -0.02), ("good", 0.03)] * 5 + [("bad", -0.4)] * 3
        )
    ]
    text = "\n".join(training_page.training_section(times))
    assert "18 published steps" in text
    assert "the median is met, the 90th percentile is not met" in text
    bad, good = (text.index(f"- {model} on dgx-h100") for model in ("bad", "good"))
    assert bad < good and "too fast by 40%" in text
    assert training_page.training_section([]) == ["Not recorded yet: `topo validate --training --record`."]


def test_the_figure_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    time = StepTime("a_1", "NVIDIA/x", "dgx-h100", "bf16", "llama3-8b", 10.0, 9.0)
    monkeypatch.setattr(training_page, "read_times", lambda: [time, replace(time, published_by="acme/y")])
    (path,) = training_page.draw_steps(tmp_path / "figures")
    drawing = path.read_text(encoding="utf-8")
    assert path.name == "training-steps.svg"
    assert drawing.count("<path") > 10
    monkeypatch.setattr(training_page, "read_times", list)
    assert training_page.draw_steps(tmp_path) == []
