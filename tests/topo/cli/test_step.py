"""``topo step`` as people meet it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.topo.cli.conftest import Said

Run = Callable[..., Said]
SMALL = "layers=8,hidden=1024,heads=16,ffn=4096,vocabulary=32000"


def test_command(topo: Run) -> None:
    done = topo("step", SMALL, "--on", "dgx-h100", "--dp", "4", "--tp", "2", "--seq", "2048", "--json")
    record = done.data
    assert record["accelerators"] == 8
    assert record["tokens_per_s"] * record["step_s"] == pytest.approx(record["tokens"])
    text = topo("step", SMALL, "--on", "dgx-h100", "--fsdp", "--seq", "2048", "--contention", "isolated").out
    for word in ("step", "MFU, HFU", "time split", "bound", "memory", "energy", "money"):
        assert f"\n  {word}" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("llama3-9b", "--on", "dgx-h100"), "did you mean"),
        (("llama3-8b", "--on", "dgx-h100", "--tp", "3"), "does not divide"),
        (("llama3-8b", "--on", "dgx-h100", "--dp", "3"), "accelerators"),
        (("llama3-8b", "--on", "dgx-h100", "--ep", "2"), "has no experts"),
        (("llama3-8b", "--on", "dgx-h100", "--dp", "8", "--global-batch", "9"), "does not divide"),
    ],
)
def test_bad_input(topo: Run, words: tuple[str, ...], message: str) -> None:
    done = topo("step", *words)
    assert done.code == 2
    assert message in done.problem


def test_dataflow_machines(topo: Run) -> None:
    model = "layers=8,hidden=1024,heads=16,ffn=4096,vocabulary=32000"
    still = topo("step", model, "--on", "wse3", "--mapping", "dataflow", "--seq", "1024", "--json").data
    words = ("--changes", "2", "--reconfiguration", "10s")
    moved = topo(
        "step", model, "--on", "wse3", "--mapping", "dataflow", "--seq", "1024", *words, "--json"
    ).data
    assert moved["step_s"] - still["step_s"] >= 20.0
    streamed = topo("step", "llama3-8b", "--on", "wse3*2", "--mapping", "streaming", "--json").data
    assert streamed["step_s"] >= streamed["bound_s"]
    text = topo("step", "llama3-8b", "--on", "wse3*2", "--mapping", "streaming").out
    assert "weights down" in text
    refused = topo("step", "llama3-70b", "--on", "wse3", "--mapping", "dataflow")
    assert "stream its weights" in refused.problem
    assert "takes no tp" in topo("step", model, "--on", "wse3", "--mapping", "dataflow", "--tp", "2").problem
    assert "did you mean" in topo("step", model, "--on", "wse3", "--mapping", "streamin").problem


def test_every_part_of_a_plan_can_be_named(topo: Run) -> None:
    words = ("--ideal-kernels", "--contention", "isolated", "--global-batch", "16", "--seq", "1024", "--json")
    hybrid = topo("step", SMALL, "--on", "dgx-h100", "--tp", "1", "--fsdp", "--shard", "4", *words).data
    assert "ZeRO 3 in shards of 4" in hybrid["plan"]
    uneven = topo(
        "step", SMALL, "--on", "dgx-h100", "--tp", "4", "--pp", "2", "--layer-split", "5-3", *words
    ).data
    assert "layers 5-3" in uneven["plan"]
    far = topo("step", SMALL, "--on", "dgx-h100", "--tp", "1", "--offload", "50GB/s", *words).data
    assert far["memory_optimizer_bytes"] == 0.0
    small = topo("step", SMALL, "--on", "dgx-h100", "--bucket", "1MB", "--prefetch", "2", *words).data
    assert small["step_s"] > 0
    shuffled = topo(
        "step", SMALL, "--on", "dgx-h100", "--tp", "1", "--cp", "4", "--context", "ulysses", *words
    )
    assert "ulysses" in shuffled.data["plan"]
    wrong = topo("step", SMALL, "--on", "dgx-h100", "--pp", "2", "--layer-split", "5+3")
    assert "cannot be read" in wrong.problem


def test_placements_are_named_and_drawn(topo: Run, tmp_path: Path) -> None:
    done = topo(
        "place", "--on", "dgx-h100*2", "--tp", "4", "--ep", "4", "--draw", str(tmp_path / "a.svg"), "--json"
    )
    assert done.data["axes"]["ep"]["groups"] == 4
    assert (tmp_path / "a.svg").read_text().count("<svg") == 1
    listed = topo("place", "--on", "tpu-v5p:2x2x2", "--tp", "2", "--list").out.splitlines()
    assert "tp,dp" in listed[0]
    assert len(set(listed)) == len(listed) > 3
    assert "of no known kind" in topo("place", "--on", "dgx-h100", "--draw", "a.xyz").problem
    assert "take one of 1, 2, 4, 8" in topo("place", "--on", "dgx-h100", "--tp", "2", "--ep", "3").problem
    words = ("--ideal-kernels", "--contention", "isolated", "--global-batch", "16", "--seq", "1024")
    topo("step", SMALL, "--on", "dgx-h100", "--tp", "4", *words, "--draw", str(tmp_path / "b.svg"))
    assert "tensor parallel" in (tmp_path / "b.svg").read_text()
    refused = topo("step", SMALL, "--on", "wse3", "--mapping", "dataflow", "--draw", str(tmp_path / "c.svg"))
    assert "mapping dataflow has no --draw" in refused.problem
