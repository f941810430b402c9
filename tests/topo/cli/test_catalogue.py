"""``topo catalogue``: the page, its pictures and the maps."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from topologies import load, names

DOCS = Path(__file__).parents[3] / "docs"
SVG = "{http://www.w3.org/2000/svg}"


def test_the_page_shows_everything_and_is_up_to_date(topo: Callable[..., Any], tmp_path: Path) -> None:
    said = topo("catalogue", "--page", tmp_path)
    assert said.code == 0, said.err
    page = (tmp_path / "systems.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^### (\S+)$", page, re.MULTILINE)) == sorted(names())
    pictures = {path.stem: path for path in (tmp_path / "images" / "systems").iterdir()}
    assert sorted(pictures) == sorted(names())
    assert max(path.stat().st_size for path in pictures.values()) < 40_000
    for path in pictures.values():
        root = ElementTree.parse(path).getroot()
        assert root.tag == f"{SVG}svg" and len(root.findall(f"{SVG}path")) >= 2, path
    # What is kept in docs is what the command writes; mend it with make catalogue-page.
    assert (DOCS / "systems.md").read_text(encoding="utf-8") == page
    assert {path.stem for path in (DOCS / "images" / "systems").iterdir()} == set(pictures)


def test_a_picture_draws_every_cable_once(topo: Callable[..., Any]) -> None:
    from topo.report.thumbnail import thumbnail

    for name in ("dgx-a100", "mi300x", "fat-tree:4x4"):
        fabric = load(name).fabric
        root = ElementTree.fromstring(thumbnail(fabric, name))
        links = [p.attrib["d"] for p in root.findall(f"{SVG}path") if "stroke-opacity" in p.attrib]
        points = sum(len(piece.split()) // 2 - 1 for d in links for piece in d.split("M")[1:])
        assert points == fabric.links // 2


def test_the_maps_are_drawn(topo: Callable[..., Any], tmp_path: Path) -> None:
    said = topo("catalogue", "--figures", tmp_path / "figures")
    assert said.code == 0, said.err
    drawn = sorted(path.name for path in (tmp_path / "figures").iterdir())
    maps = ("flop-per-byte", "per-dollar", "per-watt", "scale-up-bandwidth")
    assert drawn == sorted(f"catalogue-{name}.{suffix}" for name in maps for suffix in ("svg", "png"))


def test_nothing_to_write_is_refused(topo: Callable[..., Any]) -> None:
    refused = topo("catalogue")
    assert refused.code == 2 and "--page" in refused.problem


@pytest.mark.parametrize("option", ["--page", "--figures"])
def test_a_file_in_the_way_is_refused(topo: Callable[..., Any], tmp_path: Path, option: str) -> None:
    (tmp_path / "taken").write_text("", encoding="utf-8")
    refused = topo("catalogue", option, tmp_path / "taken")
    assert refused.code == 2 and "taken" in refused.problem
