"""One place of each domain stands for all: the same seconds and bytes as every transfer spelled out."""

from __future__ import annotations

import numpy as np
import pytest

import topo
from topo.algorithms import Site, build
from topo.collective import Collective
from topo.network.fold import fold, unfolded
from topo.network.places import by_places
from topo.network.program import compile_program
from topo.network.solver import run_alone
from topo.schedule import Schedule
from topo.system import System

SCHEDULES = [
    ("hierarchical:inside=nvls,across=tree", "all-reduce"),
    ("hierarchical:inside=ring,across=tree", "all-reduce"),
    ("hierarchical:inside=nvls,across=ring", "all-gather"),
    ("hierarchical:inside=direct,across=bruck", "reduce-scatter"),
]


def scheduled(system: System, name: str, operation: str, chunks: int = 1, root: int = 0) -> Schedule:
    ranks = system.fabric.ranks
    site = Site(system.fabric, np.arange(ranks))
    return build(name, Collective(operation, ranks, 1e8, root=root), site, chunks)


@pytest.mark.parametrize("barrier", [False, True])
@pytest.mark.parametrize("chunks", [1, 5])
@pytest.mark.parametrize(("name", "operation"), SCHEDULES)
@pytest.mark.parametrize("of", ["dgx-h100*7", "dgx-h100*33", "gb200-nvl72*3"])
def test_a_place_stands_for_all(of: str, name: str, operation: str, chunks: int, barrier: bool) -> None:
    system = topo.load(of)
    schedule = scheduled(system, name, operation, chunks)
    found = by_places(schedule, system.fabric, barrier, "auto", least=0)
    assert found is not None
    program, orbits, origin = found
    whole = compile_program(schedule, system.fabric, barrier=barrier)
    width = system.fabric.ranks // system.fabric.domains
    assert program.rows * width == whole.rows
    rows = np.flatnonzero(np.concatenate([batch.source for batch in schedule.whole().batches]) % width == 0)
    assert program.bytes.tolist() == whole.bytes[rows].tolist()
    assert len(origin) == program.rows
    assert program.link_bytes()[orbits.of_link] == pytest.approx(whole.link_bytes(), rel=1e-12)
    seconds = run_alone((fold(whole) or unfolded(whole)).program)[0].finish
    assert run_alone(program)[0].finish == pytest.approx(seconds, rel=1e-9)


@pytest.mark.parametrize("barrier", [False, True])
@pytest.mark.parametrize("operation", ["broadcast", "reduce"])
@pytest.mark.parametrize("name", ["inside=direct,across=ring", "inside=nvls,across=tree"])
@pytest.mark.parametrize(
    ("of", "root", "chunks"),
    [("dgx-h100*8", 0, 3), ("dgx-h100*7", 0, 1), ("dgx-h100*5", 19, 4)],
)
def test_the_places_beside_the_root_are_alike(
    of: str, root: int, chunks: int, name: str, operation: str, barrier: bool
) -> None:
    system = topo.load(of)
    schedule = scheduled(system, f"hierarchical:{name}", operation, chunks, root)
    found = by_places(schedule, system.fabric, barrier, "auto", least=0)
    assert found is not None
    program, orbits, _ = found
    whole = compile_program(schedule, system.fabric, barrier=barrier)
    assert program.count.sum() == whole.rows
    assert program.link_bytes()[orbits.of_link] == pytest.approx(whole.link_bytes(), rel=1e-12)
    seconds = run_alone((fold(whole) or unfolded(whole)).program)[0].finish
    assert run_alone(program)[0].finish == pytest.approx(seconds, rel=1e-9)


def test_a_library_call_is_the_same_by_places(monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for least in (0, 10**9):
        monkeypatch.setattr("topo.network.places.MANY", least)
        results.append(topo.simulate(topo.load("dgx-h100*16"), "all-reduce", "256MiB"))
    assert results[0].algorithm == "nvls-tree"
    assert results[0].time_s == pytest.approx(results[1].time_s, rel=1e-9)
    assert results[0].latency_s == pytest.approx(results[1].latency_s, rel=1e-9)


def test_no_places_without_symmetry() -> None:
    system = topo.load("dgx-h100*4")
    plain = scheduled(system, "hierarchical:inside=nvls,across=tree", "all-reduce")
    assert by_places(plain, system.fabric, False, "auto") is None  # too small to be worth it
    around = scheduled(system, "hierarchical", "broadcast")
    assert by_places(around, system.fabric, False, "auto", least=0) is None  # rings inside pass the root
    racks = topo.load("gb200-nvl72*2")  # places share leaves by fours, so that one alone cannot stay
    rails = scheduled(racks, "hierarchical:inside=direct,across=ring", "broadcast")
    assert by_places(rails, racks.fabric, False, "auto", least=0) is None
    single = topo.load("switch:8")
    assert by_places(scheduled(single, "ring", "all-reduce"), single.fabric, False, "auto", least=0) is None
