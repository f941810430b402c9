"""``topo report`` on the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("plotly", reason="the extra 'report' is not installed")

SPEC = "question: Is <a> better?\nrun: {operation: all-reduce, on: [ring:8, dgx-h100], size: [1KiB, 1MiB]}\n"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from topo.cli import main

    folder = tmp_path_factory.mktemp("report")
    (folder / "spec.yaml").write_text(SPEC, encoding="utf-8")
    with pytest.raises(SystemExit):
        main(["sweep", str(folder / "spec.yaml"), "--results", str(folder / "r"), "--jobs", "1"])
    return folder / "r"


def test_a_page_from_stored_records(topo: Callable[..., Any], results: Path, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    said = topo("report", results, "-o", path)
    assert (said.code, said.err) == (0, "")
    text = path.read_text(encoding="utf-8")
    assert "Is &lt;a&gt; better?" in text
    assert "Picture of the fabric ring:8" in text
    assert "Nothing comparable was measured on: ring:8" in text
    assert len(text) < 10e6
    assert topo("report", results, "--title", "Mine").code == 0
    assert "<h1>Mine</h1>" in (results / "report.html").read_text(encoding="utf-8")


def test_figures_from_stored_records(topo: Callable[..., Any], results: Path, tmp_path: Path) -> None:
    assert topo("report", results, "--figures", tmp_path / "f").code == 0
    names = {path.suffix for path in (tmp_path / "f").iterdir()}
    assert names == {".svg", ".png"}


def test_a_folder_without_records(topo: Callable[..., Any], tmp_path: Path) -> None:
    assert "no results folder" in topo("report", tmp_path).problem
    assert "no results folder" in topo("report", tmp_path / "none").problem
