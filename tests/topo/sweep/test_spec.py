"""Specs: YAML and the words of GRID=."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from topo.errors import TopoError
from topo.sweep.spec import Spec, parse_grid, read_spec

COMMANDS = ("run", "bound", "dead_cable")


def read(folder: Path, text: str) -> Spec:
    path = folder / "spec.yaml"
    path.write_text(text, encoding="utf-8")
    return read_spec(path, COMMANDS)


def test_the_documented_spec(tmp_path: Path) -> None:
    spec = read(
        tmp_path,
        "question: Why?\nrun: {operation: all-reduce, on: [ring:8, torus:4x4], size: [1KiB, 1MiB]}\n",
    )
    (block,) = spec.blocks
    assert spec.question == "Why?"
    assert block.command == "run"
    assert block.values == {
        "operation": ("all-reduce",),
        "on": ("ring:8", "torus:4x4"),
        "size": ("1KiB", "1MiB"),
    }
    assert len(spec) == 4


def test_on_and_off_are_words_and_underscores_are_hyphens(tmp_path: Path) -> None:
    spec = read(tmp_path, "run: {on: off, my_key: [4:30, 1e3, 7, true, null]}")
    assert spec.blocks[0].values == {"on": ("off",), "my-key": ("4:30", "1e3", 7, True, None)}


def test_ranges(tmp_path: Path) -> None:
    spec = read(
        tmp_path,
        "run: {size: [1KiB..64KiB*8, 1GiB], chunks: {from: 1, to: 8, factor: 2}, x: {from: 0, to: 1, step: 0.5}}",
    )
    assert spec.blocks[0].values["size"] == ("1KiB", "8KiB", "64KiB", "1GiB")
    assert spec.blocks[0].values["chunks"] == (1, 2, 4, 8)
    assert spec.blocks[0].values["x"] == (0, 0.5, 1)


def test_several_blocks_and_designs(tmp_path: Path) -> None:
    spec = read(tmp_path, "run: [{a: 1}, {a: [2, 3]}]\ndead_cable:\ndesign: {kind: grid, seed: 3}")
    assert [block.command for block in spec.blocks] == ["run", "run", "dead_cable"]
    assert len(spec) == 4
    assert {block.seed for block in spec.blocks} == {3}
    random = read(tmp_path, "run: {a: [1, 2, 3]}\ndesign: random\ncount: 2\nseed: 5")
    assert (len(random), random.blocks[0].seed) == (2, 5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "names no command"),
        ("- run", "names no command"),
        ("design: grid", "names no command"),
        ("rnu: {a: 1}", "'run'"),
        ("run: {a: [1, 2}", "line 1"),
        ("run: 5", "no parameters"),
        ("run: {a: []}", "has no values"),
        ("run: []", "is empty"),
        ("run: {size: 4KiB..1KiB}", "1KiB..4KiB"),
        ("run: {a: {from: 1, to: 2}}", "step: instead"),
        ("run: {a: {from: 1, to: 2, step: 0}}", "leads nowhere"),
        ("run: {a: {from: 0, to: 2, factor: 2}}", "leads nowhere"),
        ("run: {a: {form: 1}}", "cannot be read"),
        ("run: {a: {from: 0, to: 1e0, step: 1}}", "cannot be read"),
        ("run: {a: 1}\ndesign: {knd: random}", "'kind'"),
        ("run: {a: 1}\ndesign: random\ncount: many", "no whole number"),
        ("run: {my_a: 1, my-a: 2}", "twice"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(TopoError, match=words):
        read(tmp_path, text)


def test_no_file_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(TopoError, match="No such file"):
        read_spec(tmp_path / "none.yaml", COMMANDS)
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TopoError, match="no text file"):
        read_spec(tmp_path / "x.yaml", COMMANDS)


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("domain=8,72", {"domain": (8, 72)}),
        (
            "domain=8 model=llama3-70b,mixtral-8x7b",
            {"domain": (8,), "model": ("llama3-70b", "mixtral-8x7b")},
        ),
        ("on=torus:4x4,bandwidth=1GB/s;ring:8", {"on": ("torus:4x4,bandwidth=1GB/s", "ring:8")}),
        ("size=1KiB..4KiB share=0.5", {"size": ("1KiB", "2KiB", "4KiB"), "share": (0.5,)}),
        ("", {}),
    ],
)
def test_grid_words(words: str, values: dict[str, Any]) -> None:
    assert parse_grid(words) == values


@pytest.mark.parametrize("words", ["domain", "=8", "domain=", "domain=,"])
def test_grid_words_that_say_nothing(words: str) -> None:
    with pytest.raises(TopoError, match="model=llama3-70b"):
        parse_grid(words)
