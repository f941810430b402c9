"""Placement: who has which coordinates, and what the groups of each axis are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import topo
from topo.training.placement import PlacementError, dimensions, legal_placements, place


@dataclass(frozen=True)
class Degrees:
    """A plan as far as a placement goes."""

    tp: int = 1
    cp: int = 1
    dp: int = 1
    pp: int = 1
    ep: int = 1
    shard: int | None = None


def test_rank_order_is_innermost_first() -> None:
    fabric = topo.load("dgx-h100*4").fabric
    laid = place(Degrees(tp=8, dp=2, pp=2), fabric)
    assert laid.groups("tp").tolist() == [list(range(8 * i, 8 * i + 8)) for i in range(4)]
    assert laid.groups("dp")[0].tolist() == [0, 8]
    assert laid.groups("pp")[0].tolist() == [0, 16]
    assert laid.stage_of_groups("dp").tolist() == [0] * 8 + [1] * 8
    assert laid.words()["tp"] == "8 ranks inside a domain"


def test_every_axis_partitions_the_ranks() -> None:
    fabric = topo.load("dgx-h100*4").fabric
    laid = place(Degrees(tp=2, cp=2, dp=4, pp=2, ep=4, shard=4), fabric, "cp,tp,pp,dp")
    for axis in ("tp", "cp", "dp", "pp", "ep", "edp", "data", "shard", "replica"):
        groups = laid.groups(axis)
        assert groups.shape == (32 // laid.degree(axis), laid.degree(axis))
        assert np.array_equal(np.sort(groups.ravel()), np.arange(32))


def test_derived_axes_are_products() -> None:
    fabric = topo.load("switch:16").fabric
    laid = place(Degrees(tp=2, dp=8, ep=4, shard=4), fabric)
    assert laid.groups("ep")[0].tolist() == [0, 1, 2, 3]
    assert laid.groups("edp")[0].tolist() == [0, 4, 8, 12]
    assert laid.groups("shard")[0].tolist() == [0, 2, 4, 6]
    assert laid.groups("replica")[0].tolist() == [0, 8]


def test_dimensions_of_fabrics() -> None:
    assert [d.name for d in dimensions(topo.load("torus:4x2x3").fabric)] == ["z", "y", "x"]
    assert [(d.name, d.size) for d in dimensions(topo.load("dgx-h100*4").fabric)] == [
        ("domain", 8),
        ("domains", 4),
    ]
    ultra = dimensions(topo.load("trn2-ultra*3").fabric)
    assert [(d.name, d.size, d.stride) for d in ultra] == [
        ("z", 4, 1),
        ("y", 4, 4),
        ("x", 4, 16),
        ("domains", 3, 64),
    ]


def test_axes_along_named_dimensions() -> None:
    fabric = topo.load("torus:4x2x3").fabric
    laid = place(Degrees(tp=4, dp=6), fabric, "tp=x,dp=y.z")
    assert laid.groups("tp")[0].tolist() == [0, 6, 12, 18]
    assert laid.groups("dp")[0].tolist() == [0, 3, 1, 4, 2, 5]
    joined = topo.load("dgx-h100*4").fabric
    across = place(Degrees(tp=4, dp=8), joined, "tp=domains,dp=domain")
    assert across.groups("tp")[0].tolist() == [0, 8, 16, 24]


def test_legal_placements_differ() -> None:
    fabric = topo.load("dgx-h100*4").fabric
    plan = Degrees(tp=4, dp=4, pp=2)
    names = legal_placements(plan, fabric)
    assert names[0] == "tp,dp,pp"
    assert len({place(plan, fabric, name).rank.tobytes() for name in names}) == len(names) >= 6


@pytest.mark.parametrize(
    ("plan", "placement", "words"),
    [
        (Degrees(tp=3), None, "multiply to 16"),
        (Degrees(tp=4, dp=4, ep=3), None, "ep 3 does not divide"),
        (Degrees(tp=4, dp=4), "tq,dp", "axis 'tq' is unknown"),
        (Degrees(tp=4, dp=4), "tp,tp", "names tp twice"),
        (Degrees(tp=4, dp=4), "tp=q", "no dimension 'q'"),
        (Degrees(tp=8, dp=2), "tp=x", "does not fit there"),
    ],
)
def test_refusals(plan: Degrees, placement: str | None, words: str) -> None:
    with pytest.raises(PlacementError, match=words):
        place(plan, topo.load("torus:4x4").fabric, placement)


def test_table_shows_coordinates() -> None:
    text = place(Degrees(tp=8, dp=4), topo.load("dgx-h100*4").fabric).table()
    assert "domain 1: 1.0 1.1" in text
