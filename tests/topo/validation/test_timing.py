"""Ways of timing, and machines whose cores are ranks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from topo.ccl import load
from topo.validation import load_rows, read_rows
from topo.validation.compare import compare_rows
from topo.validation.cores import load_target, target_by_cores
from topo.validation.timing import as_timed, timing_of

Table = Callable[..., Path]
CORES = {"target": "trn1*2", "system": "Trainium by NeuronCores", "devices": "32"}


@pytest.mark.parametrize(
    ("source", "notes", "timing"),
    [
        ("", "torch all_reduce_bench; nccl 2.27.7", "pytorch"),
        ("github:Azure/AI-benchmarking-guide@1 page", "in-place busbw", "one-process"),
        ("", "older run (launch overhead ~150us included)", "host"),
        ("", "newer run (device time)", "device"),
        ("github:somebody/logs", "nccl-tests", ""),
    ],
)
def test_sources_tell_how_they_timed(source: str, notes: str, timing: str) -> None:
    assert timing_of(source, notes) == timing


def test_what_each_way_of_timing_adds() -> None:
    nccl, neuron = load("nccl"), load("neuron")
    assert as_timed(1e-3, "", nccl, 8, 1) == as_timed(1e-3, "device", nccl, 8, 1) == 1e-3
    assert as_timed(1e-3, "pytorch", nccl, 8, 1) == pytest.approx(1e-3 + nccl.get("call_pytorch"))
    assert as_timed(1e-3, "host", neuron, 8, 1) == pytest.approx(
        1e-3 + neuron.get("call_host") + 8 * neuron.get("call_each")
    )
    assert as_timed(1e-6, "one-process", nccl, 16, 2) == pytest.approx(8 * nccl.get("call_each"))
    assert as_timed(1e-3, "one-process", nccl, 8, 1) == 1e-3


def test_the_column_says_more_than_the_notes(table: Table) -> None:
    path = table({"notes": "torch all_reduce_bench"}, {"notes": "torch all_reduce_bench", "timing": "device"})
    assert [row.timing for row in load_rows([path])] == ["pytorch", "device"]
    (problem,) = read_rows([table({"timing": "stopwatch"})]).problems
    assert problem.column == "timing" and "one-process" in problem.message


def test_cores_are_ranks_where_the_row_says_so(table: Table) -> None:
    (row,) = load_rows([table(CORES)])
    assert row.target == "trn1,ranks=cores"
    assert target_by_cores("trn1*2", "Trn1 chips", 32) == "trn1*2"
    assert target_by_cores("trn1*2", "NeuronCores", 33) == "trn1*2"
    fabric = load_target(row.target).fabric
    chips = load_target("trn1").fabric
    assert (fabric.ranks, fabric.domains) == (2 * chips.ranks, 1)
    on_chip = fabric.links_between(fabric.accelerators[:1], fabric.accelerators[1:2])[0]
    out = fabric.bandwidth[fabric.source == fabric.accelerators[0]].sum() - fabric.bandwidth[on_chip]
    assert 2 * out == pytest.approx(chips.bandwidth[chips.source == chips.accelerators[0]].sum())


def test_rows_of_cores_are_compared(table: Table) -> None:
    outcome = compare_rows(load_rows([table(CORES, CORES | {"devices": "2", "bytes": "64"})]))
    assert [c.row.ranks for c in outcome.compared] == [32, 2] and not outcome.problems
