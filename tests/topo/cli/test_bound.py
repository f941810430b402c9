"""``topo bound``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def test_json_has_the_keys_of_the_contract(topo: Callable[..., Any]) -> None:
    data = topo("bound", "all-gather", "--on", "torus:4x4", "--size", "64MiB", "--json").data
    assert {"bound_s", "bound_kind", "certificate"} <= set(data)
    assert (data["operation"], data["system"], data["ranks"], data["bytes"]) == (
        "all-gather",
        "torus:4x4",
        16,
        64 * 2**20,
    )
    assert data["bound_s"] == pytest.approx(15 / 16 * 64 * 2**20 / 200e9 + 1e-6)
    assert data["exact"] is True
    assert data["bound_s"] == max(bound["bound_s"] for bound in data["bounds"])


def test_text_says_it_in_words(topo: Callable[..., Any]) -> None:
    text = " ".join(topo("bound", "all-gather", "--on", "rail:4x4,nic=10GB/s", "--size", "64MiB").out.split())
    assert "all-gather of 64MiB on rail:4x4" in text
    assert "these 4 accelerators (n0.gpu0, n0.gpu1, n0.gpu2, n0.gpu3) share 40GB/s over 4 cables" in text
    assert "exact yes" in text


def test_quick_seeks_nothing_exact(topo: Callable[..., Any]) -> None:
    data = topo("bound", "all-to-all", "--on", "torus:4x4", "--size", "1MiB", "--quick", "--json").data
    assert data["exact"] is None and data["bound_kind"] == "cut"
    exact = topo("bound", "all-to-all", "--on", "torus:4x4", "--size", "1MiB", "--json").data
    assert exact["bound_kind"] == "all-to-all-lp"
    assert exact["bound_s"] == pytest.approx(data["bound_s"])


def test_what_the_all_reduce_program_does_not_prove_is_said(topo: Callable[..., Any]) -> None:
    text = topo("bound", "all-reduce", "--on", "torus:3x3,failed=0.0-0.1", "--size", "64MiB").out
    assert "among schedules with a tree that reduces and a tree that spreads" in text


def test_shadow_prices(topo: Callable[..., Any]) -> None:
    arguments = ("bound", "broadcast", "--on", "path:4", "--size", "64MiB", "--shadow", "2")
    data, text = topo(*arguments, "--json").data, topo(*arguments).out
    assert len(data["shadow_prices"]) == 2
    assert all(price["cut_s"] is None for price in data["shadow_prices"])
    assert "splits the group" in text


def test_barrier_needs_no_size(topo: Callable[..., Any]) -> None:
    data = topo("bound", "barrier", "--on", "torus:4x4", "--json").data
    assert (
        data["bound_s"] == pytest.approx(4e-6) and data["bound_kind"] == "latency" and data["exact"] is None
    )
    assert "moves no bytes" in topo("bound", "barrier", "--on", "torus:4x4").out


def test_drawing(topo: Callable[..., Any], tmp_path: Path) -> None:
    picture = tmp_path / "cut.svg"
    said = topo("bound", "all-to-all", "--on", "torus:4x4", "--size", "1MiB", "--draw", picture)
    assert said.code == 0 and "links bind" in picture.read_text()


def test_small_groups_and_roots(topo: Callable[..., Any]) -> None:
    arguments = ("bound", "broadcast", "--on", "path:5", "--size", "1MB", "--json")
    data = topo(*arguments, "--ranks", "0,2,4", "--root", "1").data
    assert data["ranks"] == 3
    assert data["data"]["latency_s"] == pytest.approx(2e-6)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("all-gather", "--on", "ring:8"), "--size"),
        (("all-gatherr", "--on", "ring:8", "--size", "1MB"), "all-gather"),
        (("all-gather", "--on", "rung:8", "--size", "1MB"), "ring"),
        (("all-gather", "--on", "ring:8", "--size", "0"), "size"),
        (("all-gather", "--on", "ring:8", "--size", "1MB", "--ranks", "9"), "8 accelerators"),
        (("all-gather", "--on", "ring:8", "--size", "1MB", "--ranks", "0,0"), "twice"),
        (("all-gather", "--on", "ring:8", "--size", "1MB", "--ranks", "0,8"), "ranks run from 0 to 7"),
        (("all-gather", "--on", "ring:8", "--size", "1MB", "--ranks", "1"), "two ranks"),
        (("broadcast", "--on", "ring:8", "--size", "1MB", "--root", "8"), "root 8"),
        (("all-gather", "--on", "ring:8", "--size", "1MB", "--shadow", "0"), "shadow"),
        (("all-gather", "--on", "ring:8", "--size", "1MB", "--draw", "x.gif"), "gif"),
    ],
)
def test_bad_input_is_one_line(topo: Callable[..., Any], arguments: tuple[str, ...], says: str) -> None:
    said = topo("bound", *arguments)
    assert said.code == 2 and says in said.problem
