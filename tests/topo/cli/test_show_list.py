"""``topo show`` and ``topo list``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from topo.algorithms import ALGORITHMS
from topo.collective import OPERATIONS
from topologies import names


def test_show_has_the_keys_of_the_contract(topo: Callable[..., Any]) -> None:
    data = topo("show", "tpu-v4:4x4x4", "--json").data
    assert data["accelerators"] == 64
    assert (data["links"], data["cables"]) == (384, 192)
    assert data["scale_up_bandwidth_Bps"] == pytest.approx(300e9)
    assert data["diameter"] == 6
    assert data["bisection_Bps"] == pytest.approx(32 * 50e9)
    assert data["degrees"] == {"accelerator": {"6": 64}}
    assert data["grid"] == [4, 4, 4]
    assert all(source["source"] and source["confidence"] for source in data["sources"])


def test_show_counts_planes_and_rails(topo: Callable[..., Any]) -> None:
    rack = topo("show", "gb200-nvl72", "--json").data
    assert (rack["accelerators"], rack["switches"], rack["diameter"]) == (72, 18, 2)
    assert rack["scale_up_bandwidth_Bps"] == pytest.approx(900e9)
    assert rack["degrees"] == {"accelerator": {"18": 72}, "switch": {"72": 18}}
    cluster = topo("show", "dgx-h100*8", "--json").data
    assert (cluster["accelerators"], cluster["domains"]) == (64, 8)
    assert cluster["scale_up_bandwidth_Bps"] == pytest.approx(450e9)
    assert cluster["scale_out_bandwidth_Bps"] == pytest.approx(50e9)
    alone = topo("show", "dgx-h100", "--json").data
    assert alone["scale_out_bandwidth_Bps"] == pytest.approx(50e9)


def test_show_marks_what_nobody_published(topo: Callable[..., Any]) -> None:
    data, text = topo("show", "wse3", "--json").data, topo("show", "wse3").out
    uncertain = [source for source in data["sources"] if source["uncertain"]]
    assert uncertain and len(uncertain) < len(data["sources"])
    for source in data["sources"]:
        line = next(line for line in text.splitlines() if line.strip().startswith(source["key"] + " "))
        assert ("?  " in line) == source["uncertain"], line


def test_a_mesh_has_corners(topo: Callable[..., Any]) -> None:
    data = topo("show", "mesh:3x4", "--json").data
    assert data["degrees"] == {"accelerator": {"2": 4, "3": 6, "4": 2}}
    assert data["scale_up_bandwidth_least_Bps"] == pytest.approx(data["scale_up_bandwidth_Bps"] / 2)
    assert "the least: 100GB/s" in topo("show", "mesh:3x4").out


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_draw(topo: Callable[..., Any], tmp_path: Path, suffix: str) -> None:
    picture = tmp_path / f"ring.{suffix}"
    said = topo("show", "ring:8", "--draw", picture, "--json")
    assert said.data["drawing"] == str(picture)
    begins = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}[suffix]
    assert picture.read_bytes().startswith(begins)


def test_list_knows_everything_registered(topo: Callable[..., Any]) -> None:
    data = topo("list", "--json").data
    listed = {kind: [entry["name"] for entry in entries] for kind, entries in data.items()}
    assert sorted(listed["topologies"] + listed["systems"]) == sorted(names())
    assert listed["algorithms"] == list(ALGORITHMS)
    assert listed["operations"] == list(OPERATIONS)
    assert all(entry["summary"] for entries in data.values() for entry in entries)


@pytest.mark.parametrize("kind", ["systems", "topologies", "algorithms", "operations"])
def test_list_one_kind(topo: Callable[..., Any], kind: str) -> None:
    entries = topo("list", kind, "--json").data
    lines = topo("list", kind).out.splitlines()
    assert [line.split()[0] for line in lines] == [entry["name"] for entry in entries]


def test_show_explains_the_advertised_bandwidth(topo: Callable[..., Any]) -> None:
    rack = topo("show", "gb200-nvl72", "--json").data["advertised"]
    assert (rack["marketing_Bps"], rack["per_direction_Bps"], rack["links"]) == (1.8e12, 900e9, 18)
    assert rack["conversion"].startswith(
        "18 x 50GB/s = 900GB/s per direction; advertised 1.8TB/s counts both"
    )
    slow_z = topo("show", "trn2-ultra", "--json").data["advertised"]["conversion"]
    assert slow_z.startswith("4 x 128GB/s + 2 x 64GB/s = 640GB/s per direction")
    assert "advertised 1.8TB/s" in " ".join(topo("show", "gb200-nvl72").out.split())
    assert topo("show", "ring:4", "--json").data["advertised"] is None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--vendor", "cerebras"), ["wse2", "wse3"]),
        (
            ("--match", "nvlink 5", "--min-accelerators", "40"),
            ["gb200-nvl36x2", "gb200-nvl72", "gb300-nvl72"],
        ),
        (("--min-accelerators", "9000"), ["groq-10440", "tpu-8t", "tpu-v7"]),
        (("--max-accelerators", "4", "--sort", "power"), ["wse2", "wse3", "maia100"]),
        (("--min-scale-up", "1.5TB/s", "--sort", "scale-up"), ["dojo", "rubin", "helios", "vera"]),
    ],
)
def test_list_filters_and_sorts(
    topo: Callable[..., Any], options: tuple[str, ...], expected: list[str]
) -> None:
    entries = topo("list", "systems", *options, "--json").data
    assert len(entries) == len(expected)
    assert all(e["name"].startswith(name) for e, name in zip(entries, expected, strict=True)), entries


@pytest.mark.parametrize("key", ["flops", "price", "memory", "scale-out"])
def test_list_sorts_largest_first_and_unpublished_last(topo: Callable[..., Any], key: str) -> None:
    name = {"flops": "bf16_flops", "price": "price_usd", "memory": "memory_bytes"}.get(
        key, "scale_out_bandwidth_Bps"
    )
    values = [entry[name] for entry in topo("list", "systems", "--sort", key, "--json").data]
    known = [value for value in values if value is not None]
    assert known == sorted(known, reverse=True) and len(known) > 15
    assert all(value is None for value in values[len(known) :])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("systems", "--vendor", "Gogle"), "Google"),
        (("systems", "--sort", "pric"), "price"),
        (("systems", "--min-accelerators", "0"), "min-accelerators"),
        (("systems", "--min-scale-up", "fast"), "fast"),
        (("algorithms", "--sort", "name"), "for systems"),
    ],
)
def test_list_refuses_what_it_cannot_sort_or_filter(
    topo: Callable[..., Any], arguments: tuple[str, ...], said: str
) -> None:
    refused = topo("list", *arguments)
    assert refused.code == 2 and said in refused.problem


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tpu-v4:3x4x4", "tpu-v4"),
        ("tpu-v5e:32x32", "16x16"),
        ("gb200-nvl27", "gb200-nvl72"),
        ("atlas950", "state an assumption"),
        ("gb200-nvl72,scale_up=ualin", "ualink"),
        ("dgx-h100*4,scale_out=dragonfl", "dragonfly"),
        ("dgx-h100*4,nic=50", "no unit"),
        ("site(dgx-h100)*2", "distance"),
        ("no-such-file.yaml", "no-such-file.yaml"),
    ],
)
def test_show_refuses_machines_that_cannot_be(topo: Callable[..., Any], name: str, said: str) -> None:
    refused = topo("show", name)
    assert refused.code == 2 and said in refused.problem
