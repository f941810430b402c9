"""``topo run``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import topo as library

CONTRACT = [
    "operation",
    "system",
    "ranks",
    "bytes",
    "algorithm",
    "ccl",
    "time_s",
    "algbw_Bps",
    "busbw_Bps",
    "bound_s",
    "bound_kind",
    "bound_ratio",
    "bottleneck",
    "events",
    "wall_s",
]


def test_json_has_the_keys_of_the_contract(topo: Callable[..., Any]) -> None:
    data = topo("run", "all-reduce", "--on", "ring:8", "--size", "1MB", "--algorithm", "ring", "--json").data
    assert set(CONTRACT) <= set(data)
    assert (data["operation"], data["system"], data["ranks"], data["bytes"]) == (
        "all-reduce",
        "ring:8",
        8,
        1_000_000,
    )
    # 2 (N-1) (a + S / (N B))
    assert data["time_s"] == pytest.approx(14 * (1e-6 + 1e6 / 8 / 50e9), rel=1e-12)
    assert data["busbw_Bps"] == pytest.approx(data["algbw_Bps"] * 2 * 7 / 8)
    assert data["bound_ratio"] == pytest.approx(data["time_s"] / data["bound_s"])


def test_text_says_what_json_says(topo: Callable[..., Any]) -> None:
    arguments = ("run", "all-gather", "--on", "torus:4x4", "--size", "64MiB", "--algorithm", "bucket")
    data, text = topo(*arguments, "--json").data, topo(*arguments).out
    first, *rest = text.splitlines()
    assert first == "all-gather of 64MiB on torus:4x4, 16 ranks"
    assert library.units.format_time(data["time_s"]) in text
    assert library.units.format_bandwidth(data["busbw_Bps"]) in text
    assert f"{data['bound_s'] / data['time_s']:.1%}".replace("%", " %") in text
    assert f"({data['bound_kind']})" in text
    assert data["bottleneck"] in text
    assert max(map(len, rest)) <= 110


def test_shares_of_the_time_split_add_up(topo: Callable[..., Any]) -> None:
    data = topo("run", "all-to-all", "--on", "torus:4x4", "--size", "1MiB", "--json").data
    parts = data["latency_s"] + data["serialisation_s"] + data["contention_s"]
    assert parts == pytest.approx(data["time_s"], rel=1e-9)


def test_a_group_is_counted_or_named(topo: Callable[..., Any]) -> None:
    arguments = ("run", "all-reduce", "--on", "switch:8", "--size", "1MB", "--algorithm", "direct", "--json")
    first, named = topo(*arguments, "--ranks", "4").data, topo(*arguments, "--ranks", "1,4-6").data
    assert first["ranks"] == named["ranks"] == 4
    assert first["time_s"] == pytest.approx(named["time_s"], rel=1e-12)


def test_one_way_options_reach_the_simulation(topo: Callable[..., Any]) -> None:
    base = ("run", "broadcast", "--on", "path:5,bandwidth=10GB/s,latency=1us", "--size", "1MB", "--json")
    chained = topo(*base, "--algorithm", "chain", "--chunks", "4", "--root", "0").data
    assert (chained["chunks"], chained["algorithm"]) == (4, "chain")
    sent = ("run", "send-recv", "--on", "path:5,bandwidth=10GB/s,latency=1us", "--size", "1MB", "--json")
    whole = topo(
        *sent, "--chunks", "1", "--switching", "store-and-forward", "--root", "0", "--peer", "4"
    ).data
    assert whole["time_s"] == pytest.approx(4 * (1e-6 + 1e-4), rel=1e-12)
    through = topo(*sent, "--root", "4", "--peer", "0").data
    assert through["time_s"] == pytest.approx(4e-6 + 1e-4, rel=1e-12)


def test_lock_step_and_certificates(topo: Callable[..., Any]) -> None:
    arguments = ("run", "all-reduce", "--on", "torus:4x4", "--size", "1MiB", "--algorithm", "bucket")
    certified = topo(*arguments, "--barrier", "--certify")
    assert certified.code == 0
    assert "lock-step" in certified.out and "certified" in certified.out
    assert "certified" not in topo(*arguments).out


def test_ecmp_follows_its_seed(topo: Callable[..., Any]) -> None:
    arguments = ("run", "all-to-all", "--on", "fat-tree:4x4", "--size", "1MiB", "--routing", "ecmp", "--json")
    times = {seed: topo(*arguments, "--seed", seed).data["time_s"] for seed in (1, 2, 3)}
    assert topo(*arguments, "--seed", "1").data["time_s"] == times[1]
    assert len(set(times.values())) > 1


def test_a_barrier_has_no_size(topo: Callable[..., Any]) -> None:
    data = topo("run", "barrier", "--on", "switch:8", "--json").data
    assert data["bytes"] == 0 and data["time_s"] > 0
    assert "busbw" not in topo("run", "barrier", "--on", "switch:8").out


def test_python_and_command_line_agree(topo: Callable[..., Any]) -> None:
    data = topo("run", "all-reduce", "--on", "torus:2x4", "--size", "1MiB", "--json").data
    result = library.simulate("torus:2x4", "all-reduce", "1MiB")
    assert (data["time_s"], data["algorithm"]) == (result.time_s, result.algorithm)
