"""``topo rollout`` and ``topo sites`` as people meet them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.topo.cli.conftest import Said

Run = Callable[..., Said]
SMALL = "layers=8,hidden=1024,heads=16,ffn=4096,vocabulary=32000"
PAIR = "site(dgx-h100)*2,distance=100km,bandwidth=1Tb/s"


def test_rollout(topo: Run) -> None:
    words = ("rollout", SMALL, "--on", "dgx-h100*2", "--output", "512", "--sequences", "64")
    record = topo(*words, "--json").data
    assert record["accelerators"] == 16 and record["update_s"] > 0
    text = topo(*words, "--arrangement", "apart").out
    for word in ("arrangement", "generators", "trainers", "update", "decoding", "money"):
        assert f"\n  {word}" in text


def test_sites(topo: Run) -> None:
    words = ("sites", SMALL, "--on", PAIR, "--seq", "1024", "--global-batch", "16")
    record = topo(*words, "--json").data
    assert record["sites"] == 2 and record["slowdown"] >= 1
    text = topo(*words, "--method", "streaming").out
    for word in ("plan", "fibre", "exchange", "step", "break-even"):
        assert f"\n  {word}" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("rollout", SMALL, "--on", "dgx-h100", "--ratio", "-1"), "ratio"),
        (("rollout", "llama3-405b", "--on", "dgx-h100"), "GB"),
        (("rollout", SMALL, "--on", "ring:4"), "no chips"),
        (("sites", SMALL, "--on", "dgx-h100*2"), "one site"),
        (("sites", SMALL, "--on", PAIR, "--method", "diloco"), "one of"),
    ],
)
def test_bad_input(topo: Run, words: tuple[str, ...], message: str) -> None:
    done = topo(*words)
    assert done.code == 2
    assert message in done.problem
