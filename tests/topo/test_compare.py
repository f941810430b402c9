"""Comparisons as data."""

from __future__ import annotations

from dataclasses import replace

import pytest

import topo
from topo import compare as comparing
from topo.compare import Comparison, Settings, compare
from topo.errors import CollectiveError, InternalError, TopoError
from topo.report.summary import summary
from topo.results import Result
from topo.system import System

SIZES = tuple(1024.0 * 4**k for k in range(8))
SLOW = "switch:8,bandwidth=10GB/s,latency=100ns"
FAST = "switch:8,bandwidth=100GB/s,latency=10us"


def systems(*names: str) -> list[System]:
    return [topo.load(name) for name in names]


def direct(*names: str, sizes: tuple[float, ...] = SIZES, workers: int = 1) -> Comparison:
    settings = Settings(algorithm="direct")
    return compare(systems(*names), ["all-gather", "all-to-all"], sizes, settings=settings, workers=workers)


def alike(result: Result) -> Result:
    return replace(result, wall_s=0.0)


def test_every_run_is_there_in_order() -> None:
    seen: list[int] = []
    found = compare(systems(SLOW, FAST), ["all-gather"], SIZES, progress=seen.append)
    assert [(r.system, r.bytes) for r in found.results] == [(name, s) for name in (SLOW, FAST) for s in SIZES]
    assert seen == [len(SIZES)] * 2
    assert [r.bytes for r in found.of("all-gather", FAST)] == list(SIZES)
    assert found.at("all-gather", SIZES[0])[0].system == SLOW
    assert found.at("all-gather", SIZES[-1])[0].system == FAST


def test_the_crossover_is_where_both_take_equally_long() -> None:
    found = direct(SLOW, FAST)
    (one,) = [c for c in found.crossovers if c.operation == "all-gather"]
    # 2 a1 + (7/8) S / B1 = 2 a2 + (7/8) S / B2
    size = 2 * (10e-6 - 100e-9) / (7 / 8 * (1 / 10e9 - 1 / 100e9))
    assert one.bytes == pytest.approx(size, rel=0.02)
    assert (one.below, one.above) == (SLOW, FAST)


def test_orders_that_change_further_back_are_interpolated() -> None:
    best = "switch:8,bandwidth=1TB/s,latency=50ns"
    found = compare(systems(best, SLOW, FAST), ["all-gather"], SIZES, settings=Settings(algorithm="direct"))
    assert [span.winner for span in found.spans] == [best]
    (one,) = found.crossovers
    assert (one.below, one.above, one.fastest) == (SLOW, FAST, False)
    assert one.bytes == pytest.approx(2 * 9.9e-6 / (7 / 8 * (1 / 10e9 - 1 / 100e9)), rel=0.1)
    (_, _, _, behind) = summary(found)["all-gather"]
    assert behind.startswith(f"Further back {FAST} overtakes {SLOW} near 2")


def test_spans_cover_all_sizes_and_say_by_how_much() -> None:
    found = direct(SLOW, FAST)
    spans = [span for span in found.spans if span.operation == "all-gather"]
    assert [span.winner for span in spans] == [SLOW, FAST]
    assert (spans[0].first, spans[-1].last) == (SIZES[0], SIZES[-1])
    assert SIZES.index(spans[1].first) == SIZES.index(spans[0].last) + 1
    for span in spans:
        factors = []
        for size in SIZES:
            if span.first <= size <= span.last:
                best, second = found.at("all-gather", size)
                factors.append(second.time_s / best.time_s)
        assert (span.least, span.most) == (min(factors), max(factors))


def test_results_do_not_depend_on_the_number_of_processes() -> None:
    names, sizes = (SLOW, FAST, "torus:2x4"), tuple(1024.0 * 2**k for k in range(6))
    alone, together = direct(*names, sizes=sizes), direct(*names, sizes=sizes, workers=2)
    assert len(alone.results) > comparing.FEW_RUNS
    assert list(map(alike, alone.results)) == list(map(alike, together.results))
    assert (alone.crossovers, alone.spans) == (together.crossovers, together.spans)


def test_one_system_that_fails_does_not_lose_the_others() -> None:
    settings = Settings(algorithm="nvls")
    names = ("ring:4", "switch:4,in_network=true")
    found = compare(systems(*names), ["all-reduce"], [1e6, 2e6], settings=settings)
    assert [r.system for r in found.results] == [names[1]] * 2
    assert [(f.system, f.bytes, f.internal) for f in found.failures] == [
        (names[0], 1e6, False),
        (names[0], 2e6, False),
    ]
    assert "these can" in found.failures[0].message


def test_when_all_fail_the_first_is_raised() -> None:
    with pytest.raises(TopoError, match="nvls cannot run"):
        compare(systems("ring:4", "ring:5"), ["all-reduce"], [1e6], settings=Settings(algorithm="nvls"))


def test_contradictions_are_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def contradict(system: System, *arguments: object, **keywords: object) -> Result:
        if system.name == SLOW:
            raise InternalError("time below bound")
        return topo.simulate(FAST, "all-gather", 1e6)

    monkeypatch.setattr(comparing, "simulate", contradict)
    found = compare(systems(SLOW, FAST), ["all-gather"], [1e6])
    assert [failure.internal for failure in found.failures] == [True]
    with pytest.raises(InternalError):
        compare(systems(SLOW), ["all-gather"], [1e6])


def test_contenders_say_what_an_accelerator_can_send() -> None:
    cluster, wafer = (comparing.contender(s) for s in systems("dgx-h100*2", "wse3,blocks=8x8"))
    assert (cluster.accelerators, cluster.domains) == (16, 2)
    assert cluster.scale_up_Bps == pytest.approx(450e9)
    assert cluster.scale_out_Bps == pytest.approx(50e9)
    assert cluster.send_Bps == pytest.approx(500e9)
    assert not cluster.blocks_of_a_wafer
    assert wafer.blocks_of_a_wafer
    assert wafer.scale_out_Bps == 0


@pytest.mark.parametrize(
    ("names", "operations", "sizes", "words"),
    [
        ((SLOW, SLOW), ["all-gather"], [1e6], "twice"),
        ((), ["all-gather"], [1e6], "nothing to compare"),
        ((SLOW,), [], [1e6], "nothing to compare"),
        ((SLOW,), ["all-gather"], [], "nothing to compare"),
        ((SLOW,), ["all-gahter"], [1e6], "all-gather"),
        ((SLOW,), ["all-gather"], [-1.0], "size"),
    ],
)
def test_senseless_comparisons_are_refused(
    names: tuple[str, ...], operations: list[str], sizes: list[float], words: str
) -> None:
    with pytest.raises(CollectiveError, match=words):
        compare(systems(*names), operations, sizes)


def test_repeated_operations_and_sizes_count_once() -> None:
    found = compare(systems(SLOW), ["all-gather", "all-gather"], [2e6, 1e6, 2e6])
    assert [r.bytes for r in found.results] == [1e6, 2e6]
