"""Blocks, tables and summaries: what they say is what the numbers are."""

from __future__ import annotations

from dataclasses import replace

import pytest

import topo
from topo.compare import Comparison, Settings, compare
from topo.report.blocks import of_bound, percent, run_block, set_block
from topo.report.summary import listing, summary, times
from topo.report.system import system_block
from topo.report.tables import brief_tables, nccl_table, nccl_tables, to_csv, to_data

SLOW = "switch:8,bandwidth=10GB/s,latency=100ns"
FAST = "switch:8,bandwidth=100GB/s,latency=10us"
SIZES = tuple(1024.0 * 4**k for k in range(11))


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    operations = ["all-gather", "all-reduce", "all-to-all"]
    return compare(
        [topo.load(SLOW), topo.load(FAST)], operations, SIZES, settings=Settings(algorithm="direct")
    )


def test_shares_do_not_round_to_all_or_nothing() -> None:
    assert percent(0.973) == "97.3 %"
    assert percent(0.99999) == ">99.9 %"
    assert percent(1e-6) == "<0.1 %"
    assert (percent(0.0), percent(1.0)) == ("0.0 %", "100.0 %")


def test_blocks_wrap_between_words() -> None:
    block = set_block("title", [("label", "word " * 60), ("empty", "")])
    lines = block.splitlines()
    assert lines[0] == "title" and max(map(len, lines)) <= 110
    assert {line.split()[0] for line in lines[2:-1]} == {"label", "word"}


def test_the_share_of_the_bound_is_in_words() -> None:
    result = topo.simulate("ring:4", "all-reduce", "1MB", algorithm="ring")
    assert of_bound(result) == percent(result.bound_s / result.time_s) + " of the bound"
    assert of_bound(replace(result, time_s=result.bound_s)) == "the optimum"
    assert of_bound(replace(result, bound_s=0.0)) == "no bound above zero"
    assert "no bound above zero" in run_block(replace(result, bound_s=0.0, bound_ratio=float("inf")))


def test_nccl_columns(comparison: Comparison) -> None:
    table = nccl_table(comparison.of("all-gather", SLOW))
    data = [line.split() for line in table.splitlines() if not line.startswith("#")]
    assert len(data) == len(SIZES)
    for row, result in zip(data, comparison.of("all-gather", SLOW), strict=True):
        size, count, kind, redop, root, time, algbw, busbw, bound, share, algorithm = row
        assert (float(size), int(count)) == (result.bytes, int(result.bytes / 4 / 8))
        assert (kind, redop, root, algorithm) == ("float", "none", "-1", "direct")
        assert float(time) == pytest.approx(result.time_s * 1e6, abs=0.006)
        assert float(algbw) == pytest.approx(result.algbw_Bps / 1e9, abs=0.006)
        assert float(busbw) == pytest.approx(result.busbw_Bps / 1e9, abs=0.006)
        assert float(bound) == pytest.approx(result.bound_s * 1e6, abs=0.006)
        assert float(share) == pytest.approx(100 * result.bound_s / result.time_s, abs=0.06)
    reduced = nccl_table(comparison.of("all-reduce", SLOW)).splitlines()[-1].split()
    assert reduced[1:5] == [str(int(SIZES[-1] / 4)), "float", "sum", "-1"]
    rooted = topo.simulate("ring:4", "broadcast", "1MB", root=2)
    assert nccl_table([rooted], root=2).splitlines()[-1].split()[3:5] == ["none", "2"]
    assert nccl_tables(comparison).count("# all-") == 6


def test_brief_tables_mark_the_fastest_and_keep_the_ends(comparison: Comparison) -> None:
    for block, operation in zip(brief_tables(comparison).split("\n\n"), comparison.operations, strict=True):
        names, units, *rows = block.splitlines()
        assert names.split() == [operation, SLOW, FAST]
        assert "GB/s" in units
        assert (rows[0].split()[0], rows[-1].split()[0]) == ("1KiB", "1GiB")
        assert rows[0].split()[1].startswith("*") and rows[-1].split()[3].startswith("*")
        assert all(row.count("*") == 1 for row in rows)
        assert len(rows) <= 12


def test_csv_and_json_hold_every_result(comparison: Comparison) -> None:
    assert len(to_csv(comparison.results).splitlines()) == 1 + len(comparison.results)
    data = to_data(comparison)
    assert len(data["results"]) == len(comparison.results)
    assert len(data["crossovers"]) == 3


def test_the_summary_names_winners_factors_and_crossovers(comparison: Comparison) -> None:
    found = summary(comparison)
    first, second, small, large = found["all-gather"]
    (crossover,) = [c for c in comparison.crossovers if c.operation == "all-gather"]
    size = topo.units.format_bytes(round(crossover.bytes / 1024) * 1024)
    assert first.startswith(f"{SLOW} is fastest up to {size}: {FAST} takes ")
    assert second.startswith(f"{FAST} is fastest above {size}: {SLOW} takes ")
    spans = [span for span in comparison.spans if span.operation == "all-gather"]
    assert f"{times(spans[1].least)} to {times(spans[1].most)} times as long." in second
    assert small.startswith(f"At 1KiB: {SLOW} ") and large.startswith(f"At 1GiB: {FAST} ")
    limits = " ".join(found["What limits each"])
    assert "link gpu0 -> switch0 and 15 like it" in limits
    assert "latency is over half of the time of" in limits
    fair = " ".join(found["Reading it fairly"])
    assert f"{SLOW}, 8 x 10GB/s: all-gather " in fair and f"{FAST}, 8 x 100GB/s: all-gather " in fair


def test_level_systems_are_called_level() -> None:
    pair = [topo.load("switch:4"), topo.load("switch:4,bandwidth=50.01GB/s")]
    (sentence, *_) = summary(compare(pair, ["all-gather"], [1 << 30]))["all-gather"]
    assert "are level at 1GiB" in sentence


def test_one_system_alone_wins_nothing() -> None:
    found = summary(compare([topo.load("switch:4")], ["all-gather"], [1 << 20]))
    assert found["all-gather"] == ["switch:4 is the only one with results."]


def test_unlike_systems_are_remarked_on() -> None:
    found = summary(compare([topo.load("wse3,blocks=4x4"), topo.load("switch:8")], ["all-gather"], [1 << 20]))
    fair = " ".join(found["Reading it fairly"])
    assert "wse3,blocks=4x4 has 16 and switch:8 has 8 accelerators" in fair
    assert "one of 16 blocks of a single wafer" in fair


def test_listing_and_factors() -> None:
    assert [listing(list("abc"[:n])) for n in (1, 2, 3)] == ["a", "a and b", "a, b and c"]
    assert [times(x) for x in (1.044, 2.34, 45.4)] == ["1.04", "2.3", "45"]


def test_a_system_block_without_a_catalogue_entry() -> None:
    from topo.describe import describe

    block = system_block(describe(topo.load("path:3")))
    assert block.splitlines()[0] == "path:3"
    assert "sources" not in block and "chip" not in block
