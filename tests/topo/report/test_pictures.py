"""Figures and drawings: complete, reproducible, and of a fabric that a reader can count."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import networkx as nx
import numpy as np
import pytest

import topo
from topo.compare import Comparison, compare
from topo.errors import TopoError
from topo.fabric import ACCELERATOR, SWITCH, Fabric
from topo.report.drawing import draw
from topo.report.figures import write_figures
from topo.report.layout import domain_of_nodes, lay_out
from topo.report.style import look


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    pair = [topo.load("ring:4"), topo.load("switch:4")]
    return compare(pair, ["all-gather", "all-reduce", "all-to-all"], [1024.0 * 8**k for k in range(6)])


def test_figures_are_written_and_reproducible(comparison: Comparison, tmp_path: Path) -> None:
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        written = write_figures(comparison, folder)
        assert [path.name for path in written] == [
            f"{name}.{kind}" for name in ("busbw", "time", "of-bound") for kind in ("svg", "png")
        ]
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
        assert 5_000 < path.stat().st_size < 300_000


def test_series_stay_apart_in_grey() -> None:
    looks = [look(number) for number in range(8)]
    assert len({(str(one.linestyle), one.marker) for one in looks}) == 8
    assert len({str(one.linestyle) for one in looks[:6]}) == 6
    for one, other in pairwise(looks[:6]):
        assert one.marker != other.marker


@pytest.mark.parametrize(
    "name",
    [
        "path:5",
        "ring:6",
        "ring:2",
        "mesh:3x4",
        "torus:4x4",
        "torus:4x4x4",
        "torus:2x2x2x2",
        "twisted-torus:2x2x4",
        "hypercube:3",
        "fat-tree:4x4",
        "fat-tree:4",
        "dragonfly:5x2x2",
        "rail:3x4",
        "gb200-nvl72,accelerators=8",
        "dgx-h100*3",
        "tpu-v4:4x4x4*2",
        "wse3",
    ],
)
def test_every_node_has_a_place_of_its_own(name: str) -> None:
    layout = lay_out(topo.load(name).fabric)
    assert layout.drawn.all() and not layout.note
    assert len(np.unique(layout.place.round(6), axis=0)) == len(layout.place)


def test_grids_stand_as_grids() -> None:
    fabric = topo.load("torus:4x5").fabric
    layout = lay_out(fabric)
    assert len(np.unique(layout.place[:, 0])) == 4 and len(np.unique(layout.place[:, 1])) == 5
    steps = np.abs(
        np.diff(fabric.grid.coordinates(np.stack([fabric.source, fabric.target]).T.ravel()), axis=0)
    )[::2]
    assert ((layout.bend != 0) == (steps.max(axis=1) > 1)).all(), "wrap links are arcs, others straight"


def test_clusters_stand_as_boxes_below_their_switches() -> None:
    fabric = topo.load("dgx-h100*3").fabric
    layout, owner = lay_out(fabric), domain_of_nodes(fabric)
    assert len(layout.boxes) == 3
    for domain, (left, bottom, right, top, label) in enumerate(layout.boxes):
        inside = ((layout.place > (left, bottom)) & (layout.place < (right, top))).all(axis=1)
        assert (inside == (owner == domain)).all()
        assert label == f"domain {domain}"
    assert layout.place[owner < 0, 1].min() > max(box[3] for box in layout.boxes)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mesh:60x60", "18x18 of 60x60 accelerators; dots"),
        ("torus:16x16x16", "5x5x5 of 16x16x16 accelerators; dots"),
        ("dgx-h100*64", "8 of 64 scale-up domains"),
        ("switch:2000", "8 of 2,000 accelerators"),
    ],
)
def test_large_fabrics_are_thinned_and_say_so(name: str, words: str, tmp_path: Path) -> None:
    fabric = topo.load(name).fabric
    layout = lay_out(fabric)
    assert words in layout.note
    assert 0 < layout.drawn.sum() <= 640
    picture = draw(fabric, tmp_path / "large.svg")
    assert picture.stat().st_size < 3_000_000


@pytest.mark.parametrize(
    ("name", "accelerators", "switches", "dots"),
    [
        ("gb200-nvl72", 8, 6, 2),
        ("gb200-nvl36x2", 16, 36, 2),
        ("helios-mi455x", 8, 6, 2),
        ("atlas950,assume=ideal-switch", 8, 1, 1),
        ("cloudmatrix384", 32, 28 + 42, 1 + 1 + 7),
        ("groq-10440", 144, 0, 0),
    ],
)
def test_what_looks_alike_is_drawn_once_in_a_while(
    name: str, accelerators: int, switches: int, dots: int
) -> None:
    fabric = topo.load(name).fabric
    layout = lay_out(fabric)
    drawn = layout.drawn
    assert int((drawn & (fabric.kind == ACCELERATOR)).sum()) == accelerators
    assert int((drawn & (fabric.kind == SWITCH)).sum()) == switches
    assert len(layout.dots) == dots
    places = layout.place[drawn]
    assert len(np.unique(places.round(6), axis=0)) == len(places)
    joined = np.zeros(len(drawn), dtype=bool)
    joined[fabric.target[drawn[fabric.source]]] = True
    assert joined[drawn].all(), "nothing hangs in the air"


def test_every_site_comes_into_view() -> None:
    fabric = topo.load("site(dgx-h100*16)*2,distance=1000km").fabric
    drawn = [str(fabric.nodes[node]) for node in np.flatnonzero(lay_out(fabric).drawn)]
    for site in ("s0.", "s1."):
        assert any(label.startswith(site) for label in drawn)
    owner = domain_of_nodes(fabric)
    assert set(owner[lay_out(fabric).drawn]) == {-1, 0, 1, 2, 3, 28, 29, 30, 31}


def test_graphs_without_positions_are_laid_out(tmp_path: Path) -> None:
    star = nx.star_graph(5)
    nx.set_node_attributes(star, {0: "switch"}, "kind")
    for graph in (nx.petersen_graph(), star):
        nx.set_edge_attributes(graph, 1e9, "bandwidth")
        fabric = Fabric.from_networkx(graph)
        layout = lay_out(fabric)
        assert layout.drawn.all()
        assert draw(fabric, tmp_path / "graph.png").stat().st_size > 2_000


def test_links_that_are_alike_share_a_line_of_the_legend(tmp_path: Path) -> None:
    from topo.report.drawing import _classes

    for name, words in (
        ("trn2-ultra", ["128GB/s, 1.5us", "64GB/s, 1.5us"]),
        (
            "wse3,blocks=8x8",
            ["about 95 cables of 3.72GB/s, 157.5ns", "about 146 cables of 3.72GB/s, 102.1ns"],
        ),
    ):
        fabric = topo.load(name).fabric
        classes, which = _classes(fabric, np.arange(fabric.links))
        assert sorted(one.words for one in classes) == sorted(words)
        assert (np.bincount(which) > 0).all()


def test_the_same_fabric_gives_the_same_picture(tmp_path: Path) -> None:
    fabric = topo.load("torus:3x3").fabric
    first = draw(fabric, tmp_path / "first.svg").read_bytes()
    assert draw(fabric, tmp_path / "second.svg").read_bytes() == first
    assert not re.search(rb"<dc:date>", first)


def test_a_picture_needs_a_known_kind_and_a_folder(tmp_path: Path) -> None:
    fabric = topo.load("ring:4").fabric
    with pytest.raises(TopoError, match="no known kind"):
        draw(fabric, tmp_path / "ring.gif")
    with pytest.raises(TopoError, match="does not exist"):
        draw(fabric, tmp_path / "nowhere" / "ring.svg")
