"""Pictures and text of placements."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import topo
from topo.report.layout import lay_out
from topo.report.placement import (
    draw_placement,
    placement_block,
    placement_record,
    shown_axes,
    squares,
)
from topo.training.placement import Placement, place

PLANS = {
    "gb200-nvl72": {"tp": 4, "pp": 3, "dp": 6},
    "tpu-v5p:4x4x4": {"tp": 4, "cp": 4, "dp": 4},
    "dojo:1x1": {"tp": 5, "dp": 5},
    "dgx-h100*2": {"tp": 4, "pp": 2, "dp": 2, "ep": 2, "shard": 1},
}


def placed(system: str, **degrees: int) -> Placement:
    keys = {"tp": 1, "cp": 1, "dp": 1, "pp": 1, "ep": 1} | degrees
    return place(SimpleNamespace(**keys), topo.load(system).fabric)


@pytest.mark.parametrize("system", PLANS)
def test_every_fabric_is_drawn_once_for_each_axis(system: str, tmp_path: Path) -> None:
    laid = placed(system, **PLANS[system])
    path = draw_placement(laid, tmp_path / "placed.svg")
    text = path.read_text()
    for axis in shown_axes(laid):
        assert f"<!-- {axis}: " in text
    assert ("stage 0" in text) == (laid.degree("pp") > 1)
    draw_placement(laid, tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_text() == text


@pytest.mark.parametrize("system", ["gb200-nvl72", "dgx-h100*64", "trn2-ultra*4", "dojo:1x2"])
def test_squares_show_everybody_apart(system: str) -> None:
    fabric = topo.load(system).fabric
    layout = squares(fabric)
    place = layout.place[fabric.accelerators]
    assert not np.isnan(place).any()
    assert len(np.unique(place.round(6), axis=0)) == fabric.ranks
    assert len(layout.boxes) == (fabric.domains if fabric.domains > 1 else 0)
    assert layout.note == ""


def test_too_many_are_said() -> None:
    fabric = topo.load("dgx-h100*512").fabric
    layout = squares(fabric)
    assert layout.note == "the first 2,048 of 4,096 accelerators"
    assert not lay_out(fabric).drawn[fabric.accelerators].all()


def test_text_and_record() -> None:
    laid = placed("dgx-h100*4", tp=8, pp=2, dp=2)
    record = placement_record(laid)
    assert record["axes"]["tp"] == {
        "groups": 4,
        "ranks": 8,
        "domains": 1,
        "where": "8 ranks inside a domain",
        "first": [f"n0.gpu{i}" for i in range(8)],
    }
    assert record["axes"]["pp"]["domains"] == 2
    block = placement_block(laid)
    assert "domain 3: 1.1.0 1.1.1" in block
    assert "4 groups: 8 ranks inside a domain" in block
    grid = placed("tpu-v5p:2x4x4", tp=4, dp=8).table().splitlines()
    assert grid[1:3] == ["domain 0: 0.0 0.1 0.2 0.3", "          1.0 1.1 1.2 1.3"]
    assert "stride 1 in rank order" in placement_block(placed("dgx-h100", dp=8))
