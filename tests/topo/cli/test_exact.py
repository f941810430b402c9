"""``topo run --exact``: the exact bound in place of the elementary one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


def test_the_exact_bound_replaces_the_elementary_one(topo: Callable[..., Any]) -> None:
    run = ("run", "all-gather", "--on", "torus:3x3,failed=0.0-0.1", "--size", "1MiB", "--json")
    plain, exact = topo(*run).data, topo(*run, "--exact").data
    bound = topo("bound", "all-gather", "--on", "torus:3x3,failed=0.0-0.1", "--size", "1MiB", "--json").data
    assert exact["bound_s"] == pytest.approx(bound["bound_s"]) and exact["bound_kind"] == bound["bound_kind"]
    assert exact["bound_s"] >= plain["bound_s"] * (1 - 1e-9)
    assert exact["time_s"] == plain["time_s"]
    assert exact["bound_ratio"] == pytest.approx(exact["time_s"] / exact["bound_s"])


def test_the_block_says_the_ratio_to_it(topo: Callable[..., Any]) -> None:
    said = topo("run", "broadcast", "--on", "mesh:2x2", "--size", "1MiB", "--exact")
    assert said.code == 0 and "x the bound" in said.out
