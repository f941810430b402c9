"""``topo export``, and ``topo run`` of what it wrote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

EXPORT = ("export", "all-reduce", "--on", "ring:4")
BOMB = """<?xml version="1.0"?><!DOCTYPE algo [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<algo name="&b;" ngpus="2" coll="allreduce" nchunksperloop="1" nchannels="1" proto="Simple"></algo>"""


@pytest.mark.parametrize("algorithm", ["ring", "direct", "recursive-doubling", "auto"])
def test_what_is_written_runs_like_the_algorithm(
    topo: Callable[..., Any], tmp_path: Path, algorithm: str
) -> None:
    file = tmp_path / "program.xml"
    record = topo(*EXPORT, "--algorithm", algorithm, "-o", file, "--json").data
    run = ("run", "all-reduce", "--on", "ring:4", "--size", "64MiB", "--json", "--algorithm")
    ours = topo(*run, record["algorithm"], "--chunks", record["chunks"]).data
    theirs = topo(*run, file).data
    assert theirs["algorithm"] == str(file)
    assert theirs["bound_s"] == ours["bound_s"] <= theirs["time_s"]
    # A thread block for every peer keeps what the algorithm overlaps; order within one may cost a little.
    assert theirs["time_s"] == pytest.approx(ours["time_s"], rel=0.05)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((*EXPORT, "--algorithm", "ring", "-o", "ring.txt"), ".xml"),
        ((*EXPORT, "--algorithm", "rign", "-o", "ring.xml"), "'ring'"),
        ((*EXPORT, "--algorithm", "ring", "-o", "nowhere/ring.xml"), "cannot be written"),
        (("export", "all-reduce", "--on", "switch:4", "--algorithm", "nvls", "-o", "a.xml"), "nvls"),
        (("export", "barrier", "--on", "ring:4", "--algorithm", "dissemination", "-o", "a.xml"), "barrier"),
        ((*EXPORT, "-o", "ring.xml"), "--algorithm"),
    ],
)
def test_what_cannot_be_written_is_refused(
    topo: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    said = topo(*arguments)
    assert said.code == 2 and words in said.problem
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no xml at all", "XML"),
        ("<graph></graph>", "graph"),
        (BOMB, "entit"),
        (
            '<algo name="a" ngpus="2" coll="allreduce" nchunksperloop="1" nchannels="1" proto="Simple"></algo>',
            "gpu",
        ),
    ],
)
def test_what_is_no_program_is_refused(
    topo: Callable[..., Any], tmp_path: Path, text: str, words: str
) -> None:
    file = tmp_path / "bad.xml"
    file.write_text(text, encoding="utf-8")
    said = topo("run", "all-reduce", "--on", "ring:2", "--size", "1MiB", "--algorithm", file)
    assert said.code == 2 and words in said.problem


def test_a_program_for_other_ranks_or_another_operation_is_refused(
    topo: Callable[..., Any], tmp_path: Path
) -> None:
    file = tmp_path / "ring.xml"
    assert topo(*EXPORT, "--algorithm", "ring", "-o", file).code == 0
    assert (
        "4 ranks"
        in topo("run", "all-reduce", "--on", "ring:5", "--size", "1MiB", "--algorithm", file).problem
    )
    other = topo("run", "all-gather", "--on", "ring:4", "--size", "1MiB", "--algorithm", file).problem
    assert "does not do all-gather" in other
    assert (
        "cannot be read"
        in topo("run", "all-reduce", "--on", "ring:4", "--size", "1", "--algorithm", "no.xml").problem
    )
