"""``topo compare --algorithms``."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from topo.results import COLUMNS

COMPARE = ("compare", "all-gather", "--on", "ring:4", "--sizes", "1KiB,1MiB")


def test_a_list_is_compared_and_written(topo: Callable[..., Any], tmp_path: Path) -> None:
    said = topo(*COMPARE, "--algorithms", "ring,direct,bidirectional-ring", "--output", tmp_path)
    assert said.code == 0 and said.err == ""
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"algorithms.{kind}" for kind in ("csv", "json", "txt")} | {
        f"algorithms-all-gather.{kind}" for kind in ("svg", "png")
    }
    assert all(name in said.out for name in names)
    with (tmp_path / "algorithms.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == (*COLUMNS, "of_bound_percent")
    assert len(rows) == 3 * 2
    (data,) = json.loads((tmp_path / "algorithms.json").read_text(encoding="utf-8"))
    assert [r["time_s"] for r in data["results"]] == [float(row["time_s"]) for row in rows]
    for r in data["results"]:
        assert r["of_bound_percent"] == pytest.approx(min(100, 100 * r["bound_s"] / r["time_s"]))


def test_all_takes_whatever_fits_searched_ones_included(topo: Callable[..., Any]) -> None:
    (data,) = topo(*COMPARE, "--algorithms", "all", "--json").data
    assert {"ring", "direct", "forest", "synthesised"} <= set(data["algorithms"])
    assert {r["algorithm"] for r in data["results"]} == set(data["algorithms"])
    assert all(r["time_s"] >= r["bound_s"] * (1 - 1e-9) for r in data["results"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((*COMPARE, "--algorithms", "rign"), "'ring'"),
        ((*COMPARE, "--algorithms", "ring,ring"), "twice"),
        ((*COMPARE, "--algorithms", "auto"), "write all"),
        ((*COMPARE, "--algorithms", ","), "write all"),
        ((*COMPARE, "--algorithms", "nvls"), "these can: ring"),
        ((*COMPARE, "--algorithms", "all", "--algorithm", "ring"), "--algorithms"),
        (("compare", "all-gather", "--algorithms", "all"), "--on"),
        (("compare", "all-gahter", "--on", "ring:4", "--algorithms", "all"), "all-gather"),
    ],
)
def test_bad_input(
    topo: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    said = topo(*arguments)
    assert said.code == 2 and words in said.problem
