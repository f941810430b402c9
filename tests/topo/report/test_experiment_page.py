"""The documentation's page of an experiment: from stored records, with the records that its finding rests on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from topo.errors import ReportError
from topo.report.chart import Chart
from topo.report.experiment_page import write_experiment_page
from topo.sweep.store import Store

ABOUT = {
    "title": "A test",
    "question": "Which?",
    "method": "Simulated.",
    "falsified": "A faster one.",
    "command": "topo experiment test",
    "charts": [Chart("Time | size", "bytes", "time_s", ("system",)).to_data()],
}


def record(place: int, **more: Any) -> dict[str, Any]:
    known = {"point": f"{place:032x}", "command": "test", "outcome": "ok", "error": "", "version": "1"}
    inputs = {"input_on": "mi300x", "input_size": place}
    found = {"system": "mi300x", "operation": "all-reduce", "bytes": place, "time_s": 1e-3 * place}
    return {**known, **inputs, **found, "point_wall_s": 1.0, **more}


def kept(folder: Path, *records: dict[str, Any], **about: Any) -> Path:
    with Store(folder) as store:
        for entry in records:
            store.add(entry)
        store.describe({**ABOUT, **about})
    return folder


def test_the_page_traces_its_finding(tmp_path: Path) -> None:
    failed = record(3, outcome="error", error="too small | wide")
    results = kept(
        tmp_path / "results", record(1), record(2), failed, finding="It took 2 ms.", evidence=[f"{2:032x}"]
    )
    page, figure = write_experiment_page(results, tmp_path / "docs")
    text = page.read_text(encoding="utf-8")
    assert page.name == "test.md"
    assert figure.exists() and f"]({figure.name})" in text
    assert "| 00000000 | 2 | 0.002 |" in text
    assert "**Finding.** It took 2 ms." in text
    assert "- mi300x (the largest of 4 groups)" in text
    assert "3 records, 3 s of computing, 1 refused" in text
    assert write_experiment_page(results, tmp_path / "docs") == [page, figure]
    assert page.read_text(encoding="utf-8") == text


def test_a_sweep_is_no_experiment(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="no records of one experiment"):
        write_experiment_page(kept(tmp_path, record(1), question=""), tmp_path / "docs")
