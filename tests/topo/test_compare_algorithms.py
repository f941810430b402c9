"""Algorithms side by side: crossovers against their closed forms, names in lists, and when auto searches."""

from __future__ import annotations

import numpy as np
import pytest

import topo
from topo import compare_algorithms as module
from topo.algorithms import Site
from topo.collective import Collective
from topo.compare_algorithms import chosen_algorithms, compare_algorithms, solved
from topo.errors import AlgorithmError
from topo.regularity import irregular


def site_of(name: str) -> Site:
    fabric = topo.load(name).fabric
    return Site(fabric, np.arange(fabric.ranks))


def test_a_crossover_of_closed_forms_solves_their_equation() -> None:
    # One step of 1us over two links with 7 n/B behind it, or two steps with 2 * 7/8 n/B: level at 2us B / 5.25.
    system = topo.load("switch:8,bandwidth=50GB/s,latency=1us")
    size = solved(system, "all-reduce", ("one-shot", "direct"), (1, 1), 2.0**10, 2.0**30)
    assert size == pytest.approx(2e-6 * 50e9 / 5.25, rel=1e-9)
    assert solved(system, "all-reduce", ("one-shot", "direct"), (1, 1), 2.0**20, 2.0**30) is None
    assert solved(system, "all-reduce", ("one-shot", "chain"), (1, 1), 2.0**10, 2.0**30) is None


def test_the_formulas_and_the_bisection_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    system, sizes = topo.load("switch:8"), [2.0**10, 2.0**20]
    names = "one-shot,direct"
    (analytic,) = compare_algorithms(system, "all-reduce", sizes, names).crossovers
    monkeypatch.setattr(module, "solved", lambda *_: None)
    monkeypatch.setattr(module, "BISECTIONS", 20)
    (searched,) = compare_algorithms(system, "all-reduce", sizes, names).crossovers
    assert (analytic.how, searched.how) == ("closed form", "bisected")
    assert (analytic.below, analytic.above) == (searched.below, searched.above) == ("one-shot", "direct")
    assert searched.bytes == pytest.approx(analytic.bytes, rel=1e-3)


def test_parameters_may_hold_commas() -> None:
    fabric = "dgx-h100*2"
    asked = "hierarchical:inside=direct,across=ring,ring"
    collective = Collective("all-gather", 16, 2.0**20)
    names, _ = chosen_algorithms(asked, collective, site_of(fabric))
    assert names == ["hierarchical:inside=direct,across=ring", "ring"]


def test_searched_ones_are_left_out_of_all_on_large_groups_and_say_so() -> None:
    names, left = chosen_algorithms("all", Collective("all-gather", 81, 2.0**20), site_of("torus:9x9"))
    assert "ring" in names and "forest" not in names
    assert {one.algorithm for one in left} >= {"forest", "synthesised"}
    assert all("64 ranks" in one.why for one in left if one.algorithm == "forest")


def test_nothing_fits_is_said() -> None:
    with pytest.raises(AlgorithmError, match="these can"):
        chosen_algorithms("nvls", Collective("all-gather", 4, 1.0), site_of("ring:4"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("torus:4x4", False),
        ("mesh:4x4", False),
        ("dgx-h100*2", False),
        ("torus:4x4,failed=0.0-0.1", True),
        ("dgx-h100*2,failed=n0.gpu0-leaf0", True),
        ("full-mesh:5,failed=0-1", True),
    ],
)
def test_irregular_is_damaged(name: str, expected: bool) -> None:
    assert irregular(topo.load(name).fabric) is expected


def test_auto_searches_only_on_irregular_fabrics() -> None:
    damaged = topo.simulate("torus:3x3,failed=0.0-0.1", "all-reduce", "256MiB", exact=True)
    others = [
        topo.simulate("torus:3x3,failed=0.0-0.1", "all-reduce", "256MiB", algorithm=name).time_s
        for name in ("ring", "direct", "multi-ring")
    ]
    assert damaged.time_s <= min(others)
    healthy = topo.simulate("torus:3x3", "all-reduce", "256MiB")
    assert healthy.algorithm not in ("forest", "synthesised")
