"""``topo step`` as people meet it."""

from __future__ import annotations

from collections.abc import Callable

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
