"""Catalogue files of a user: inheritance, and refusals that name file, key and line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topo.errors import CatalogueError
from topologies.catalogue import load_system
from topologies.catalogue.document import read

MINE = """\
base: dgx-h100
name: my-node
title: My node
chip:
  memory: {value: 96GB, source: my own data sheet, confidence: datasheet}
"""
WHOLE = """\
name: whole
title: Whole
vendor: me
status: planned
library: ideal
references:
  sheet: my own data sheet
chip:
  name: chip
  peak_flops:
    bf16: {value: 100TFLOP/s, source: sheet, confidence: estimate}
  memory: {value: 32GB, source: sheet, confidence: estimate}
  memory_bandwidth: {value: 1TB/s, source: sheet, confidence: estimate}
scale_up:
  technology: mine
  domain_size: {value: 4, source: sheet, confidence: estimate}
  links: {value: 6, source: sheet, confidence: estimate}
  link_bandwidth: {value: 50GB/s, source: sheet, confidence: estimate}
  accelerator_bandwidth: {value: 300GB/s, source: sheet, confidence: estimate}
  marketing_bandwidth: {value: 600GB/s, convention: both directions, source: sheet, confidence: estimate}
  link_latency: {value: 1us, source: sheet, confidence: estimate}
  multicast: {value: false, source: sheet, confidence: estimate}
  reduce: {value: false, source: sheet, confidence: estimate}
  builder: {rule: full_mesh, parameters: {n: 4, links_per_pair: 2}, source: sheet, confidence: estimate}
"""


def _write(folder: Path, text: str, name: str = "mine.yaml") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def _line_of(text: str, part: str) -> int:
    return next(i for i, line in enumerate(text.splitlines(), 1) if part in line)


def _refused(folder: Path, text: str, message: str, part: str = "") -> None:
    """The file is refused with the message, which names the line where ``part`` stands."""
    with pytest.raises(CatalogueError, match=message) as error:
        load_system(_write(folder, text))
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("mine.yaml")
    if part:
        assert f"mine.yaml, line {_line_of(text, part)}:" in str(error.value)


def test_a_file_that_stands_alone(tmp_path: Path) -> None:
    system = load_system(_write(tmp_path, WHOLE))
    assert system.accelerators == 4 and system.library == "ideal" and system.power_w is None
    assert {source.source for source in system.sources} == {"my own data sheet"}
    assert load_system(_write(tmp_path, WHOLE), count=1).fabric.links == 12


def test_json_is_read_likewise(tmp_path: Path) -> None:
    import json

    import yaml

    path = _write(tmp_path, json.dumps(yaml.safe_load(WHOLE), indent=1), "mine.json")
    assert load_system(path).accelerators == 4


def test_a_file_inherits_and_changes_lines(tmp_path: Path) -> None:
    system, base = load_system(_write(tmp_path, MINE)), load_system("dgx-h100")
    assert system.title == "My node" and system.chip is not None and base.chip is not None
    assert system.chip.memory_bytes == 96e9 and system.chip.peak_flops == base.chip.peak_flops
    assert system.fabric.links == base.fabric.links and system.library == "nccl"
    memory = {source.key: source for source in system.sources}["chip.memory"]
    assert (memory.source, memory.confidence, memory.text) == ("my own data sheet", "datasheet", "96GB")


def test_a_file_inherits_from_another_file_and_is_joined(tmp_path: Path) -> None:
    _write(tmp_path, MINE, "first.yaml")
    price = "price: {value: 1kUSD, per: domain, source: an offer, confidence: analyst}\n"
    second = f"base: first.yaml\nname: second\npower: null\n{price}"
    system = load_system(_write(tmp_path, second), count=2)
    assert system.accelerators == 16 and system.price_usd == 2000
    assert system.power_w == 16 * 700 and any("chips alone" in note for note in system.notes)


def test_changed_links_forget_the_inherited_totals(tmp_path: Path) -> None:
    text = (
        "base: trn2-ultra\nname: faster\nscale_up:\n"
        "  link_bandwidth: {value: [128GB/s, 128GB/s, 128GB/s], source: what if, confidence: estimate}\n"
    )
    scale_up = load_system(_write(tmp_path, text)).scale_up
    assert scale_up is not None
    assert scale_up.accelerator_bandwidth == 6 * 128e9 and scale_up.marketing_bandwidth is None


def test_notes_add_up(tmp_path: Path) -> None:
    text = "base: trn3-gen1\nname: mine\nnotes: [mine too]\n"
    notes = load_system(_write(tmp_path, text)).notes
    assert len(notes) > 2 and "mine too" in notes


@pytest.mark.parametrize("word", ["source", "confidence"])
def test_a_value_without_source_or_confidence_is_refused(tmp_path: Path, word: str) -> None:
    value = {"source": "confidence: datasheet", "confidence": "source: my own data sheet"}[word]
    text = MINE.replace("source: my own data sheet, confidence: datasheet", value)
    _refused(tmp_path, text, rf"chip.memory has no {word}; add {word}: ", "memory:")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("value: 32GB", "value: 32", r"chip.memory is wrong: 32 has no unit; for example 80GB or 32GiB"),
        ("value: 32GB", "value: 32GB/s", r"chip.memory is wrong: size '32GB/s'"),
        ("value: 32GB", "value: -32GB", r"chip.memory is wrong: size '-32GB' is not above zero"),
        ("value: 32GB", "value: [32GB, 64GB]", r"chip.memory is a list; give one value"),
        ("value: 50GB/s", "value: 50GB", r"scale_up.link_bandwidth is wrong: bandwidth '50GB'"),
        ("value: 50GB/s", "value: 0GB/s", r"scale_up.link_bandwidth is wrong: .* not above zero"),
        ("value: 50GB/s", "value: nanGB/s", r"scale_up.link_bandwidth is wrong"),
        ("value: 1us", "value: 1", r"scale_up.link_latency is wrong: 1 has no unit; for example 350ns"),
        ("value: 100TFLOP/s", "value: 100TB/s", r"chip.peak_flops.bf16 is wrong: .*no unit of quantity"),
        ("links: {value: 6", "links: {value: 6.5", r"scale_up.links is wrong: .*not a whole number"),
        ("links: {value: 6", "links: {value: six", r"scale_up.links is wrong: 'six' is not a whole number"),
        (
            "multicast: {value: false",
            "multicast: {value: no",
            r"scale_up.multicast.value is wrong: .*boolean",
        ),
        (
            "links: {value: 6, source: sheet, confidence: estimate}",
            "links: 6",
            r"scale_up.links is '6' alone; write \{value",
        ),
        (
            "memory: {value: 32GB, source: sheet, confidence: estimate}",
            "memory: {}",
            r"chip.memory has no source; add source",
        ),
        (
            "  link_latency: {value: 1us, source: sheet, confidence: estimate}\n",
            "",
            r"scale_up has no link_latency",
        ),
        ("library: ideal", "library: nccl2", r"library is 'nccl2'; use 'ideal', 'nccl'"),
        ("bf16:", "bf17:", r"chip.peak_flops.bf17"),
        (
            "technology: mine",
            "technolgy: mine",
            r"scale_up.*technolgy is unknown here; did you mean 'technology'",
        ),
        ("convention: both directions", "convention: total", r"convention is 'total'; use 'both directions'"),
        (
            "value: 32GB, source: sheet",
            "value: 32GB, source: shet",
            r"chip.memory.source is 'shet', which is not under references; did you mean 'sheet'",
        ),
        (
            "memory: {value: 32GB, source: sheet, confidence: estimate}",
            "memory: {value: 32GB, source: sheet, confidence: sure}",
            r"chip.memory.confidence is 'sure'; use datasheet, paper, analyst, estimate or memory",
        ),
        ("rule: full_mesh", "rule: ful_mesh", r"unknown builder 'ful_mesh'; did you mean 'full_mesh'"),
        (
            "links_per_pair: 2",
            "links: 2",
            r"scale_up.builder full_mesh cannot be drawn: .*unexpected keyword argument 'links'",
        ),
        (
            "parameters: {n: 4",
            "parameters: {n: x",
            r"scale_up.builder: accelerators of a full mesh 'x' is not a",
        ),
        ("rule: full_mesh", "rule: switched_planes", r"scale_up.builder switched_planes cannot be drawn"),
        (
            "rule: full_mesh",
            "rule: dojo",
            r"scale_up.builder dojo cannot be drawn: it lacks 'tile_edge_bandwidth'",
        ),
        ("rule: full_mesh", "rule: ub_clos", r"scale_up.builder ub_clos cannot be drawn: it lacks 'planes'"),
        (
            "scale_up:\n",
            "shape: {kind: wafer, source: sheet, confidence: estimate}\nscale_up:\n",
            r"shape has no blocks, which wafer needs",
        ),
        (
            "scale_up:\n",
            "shape: {kind: torus-slice, default: 4x4, largest: big, wrap: full-length, source: sheet, "
            "confidence: estimate}\nscale_up:\n",
            r"shape has largest 'big', which is not of the form 16x16",
        ),
        (
            "scale_up:\n",
            "shape: {kind: heap, default: '8', source: sheet, confidence: estimate}\nscale_up:\n",
            r"cannot be drawn: it lacks 'n_endpoints'",
        ),
        (
            "links_per_pair: 2",
            "links_per_pair: 1",
            r"scale_up.builder gives an accelerator 150GB/s a direction, but links and "
            r"link_bandwidth make 300GB/s",
        ),
        (
            "value: 32GB",
            "value: !!python/name:os.system 32GB",
            r"chip.memory.value has the tag .*files are data",
        ),
        ("value: 32GB", "value: &a 32GB", r"uses an anchor or alias; write the value out"),
        (
            "value: 50GB/s",
            "value: 50TB/s",
            r"scale_up.link_bandwidth is 50TB/s: outside 100MB/s to 4TB/s; it means bytes/s of one "
            r"link in one direction",
        ),
        ("value: 1us", "value: 1s", r"scale_up.link_latency is 1s: outside"),
        ("value: 100TFLOP/s", "value: 100EFLOP/s", r"chip.peak_flops.bf16 is 100EFLOP/s: outside"),
        (
            "value: 300GB/s",
            "value: 600GB/s",
            r"scale_up.accelerator_bandwidth is 600GB/s, but 6 links together make 300GB/s; that "
            r"looks like both directions summed: give 300GB/s here",
        ),
        ("value: 50GB/s", "value: 100GB/s", r"link_bandwidth looks like both directions summed"),
        (
            "value: 300GB/s",
            "value: 400GB/s",
            r"accelerator_bandwidth is 400GB/s, but 6 links together make 300GB/s; give 300GB/s",
        ),
        (
            "value: 600GB/s",
            "value: 300GB/s",
            r"marketing_bandwidth is 300GB/s, but links of 300GB/s a direction make 600GB/s",
        ),
    ],
)
def test_a_wrong_value_is_refused_with_what_would_be_right(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in WHOLE
    _refused(tmp_path, WHOLE.replace(old, new), message)


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("value: 32GB", "value: 32", "memory:"),
        ("value: 300GB/s", "value: 600GB/s", "accelerator_bandwidth:"),
        ("technology: mine", "technolgy: mine", "technolgy: mine"),
        ("links_per_pair: 2", "links_per_pair: 1", "builder:"),
        ("source: sheet, confidence: estimate}\n  memory_b", "source: sheet}\n  memory_b", "  memory: "),
    ],
)
def test_the_line_is_named(tmp_path: Path, old: str, new: str, part: str) -> None:
    _refused(tmp_path, WHOLE.replace(old, new), "scale_up|chip", part)


def test_a_wrong_inherited_line_is_named_where_it_stands(tmp_path: Path) -> None:
    _write(tmp_path, WHOLE.replace("value: 32GB", "value: 32"), "first.yaml")
    path = _write(tmp_path, "base: first.yaml\nname: second\n")
    with pytest.raises(CatalogueError, match=r"^first\.yaml, line 12: chip\.memory is wrong"):
        load_system(path)


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    text = MINE + "title: Another\n"
    _refused(
        tmp_path, text, r"title is given twice; it already stands in line 3: delete one", "title: Another"
    )


def test_an_unknown_base_is_refused_with_the_nearest_names(tmp_path: Path) -> None:
    text = MINE.replace("base: dgx-h100", "base: dgx-h10")
    _refused(
        tmp_path, text, r"base names 'dgx-h10': unknown system 'dgx-h10'; did you mean 'dgx-h100'", "base:"
    )
    _refused(
        tmp_path,
        MINE.replace("base: dgx-h100", "base: gone.yaml"),
        r"base names 'gone.yaml': there is no file",
    )
    _refused(tmp_path, MINE.replace("base: dgx-h100", "base: [a]"), r"base \['a'\] is no name")


def test_a_cycle_of_bases_is_refused(tmp_path: Path) -> None:
    _write(tmp_path, "base: mine.yaml\nname: other\n", "other.yaml")
    with pytest.raises(
        CatalogueError,
        match=r"other\.yaml, line 1: base leads back .*mine\.yaml -> other\.yaml -> mine\.yaml",
    ):
        load_system(_write(tmp_path, "name: mine\nbase: other.yaml\n"))
    with pytest.raises(
        CatalogueError, match=r"self\.yaml, line 1: base leads back .*self\.yaml -> self\.yaml"
    ):
        load_system(_write(tmp_path, "base: self.yaml\n", "self.yaml"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds 0 documents; write one system a file"),
        ("name: a\n---\nname: b\n", "holds 2 documents"),
        ("[1, 2]", "not a catalogue file"),
        ("a: {b: 1", "not YAML, did not find expected"),
        ("a:\n\tb: 1", "line 2: not YAML"),
        ("a: " + "[" * 100_000, "nested too deeply"),
        ("- " * 5000, "nested too deeply"),
        ("<<: {a: 1}", "has a key that is no word"),
        ("? [1]\n: 2", "has a key that is no word"),
        ("a: &x [1]\nb: *x", "uses an anchor or alias"),
        ("a: '" + "x" * 300_000 + "'", "larger than 256 KiB"),
        ("{}", "has no name"),
    ],
)
def test_what_is_no_catalogue_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    _refused(tmp_path, text, message)


def test_binary_and_missing_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(CatalogueError, match="not UTF-8 text"):
        load_system(str(tmp_path / "mine.yaml"))
    with pytest.raises(CatalogueError, match="there is no file"):
        load_system(str(tmp_path / "gone.yaml"))
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(CatalogueError, match="there is no file"):
        load_system(str(tmp_path / "folder.yaml"))


def test_words_of_old_yaml_stay_words(tmp_path: Path) -> None:
    text = (
        "a: 012\nb: yes\nc: 1e3\nd: 1.5\ne: 0x1\nf: 2024-01-02\ng: 1:30\nh: null\ni: true\nj: .inf\nk: '7'\n"
    )
    assert read(Path(_write(tmp_path, text))).data == {
        "a": "012", "b": "yes", "c": 1000.0, "d": 1.5, "e": "0x1", "f": "2024-01-02", "g": "1:30", "h": None,
        "i": True, "j": ".inf", "k": "7",
    }  # fmt: skip


@given(
    st.integers(0, len(WHOLE) - 1),
    st.sampled_from(["", ":", "}", "{", "\n", "9", " ", "'", "#", "[", "x", "-"]),
)
def test_a_damaged_file_is_refused_in_one_line_or_loads(
    tmp_path_factory: pytest.TempPathFactory, at: int, put: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.yaml"
    path.write_text(WHOLE[:at] + put + WHOLE[at + 1 :], encoding="utf-8")
    try:
        assert load_system(str(path)).accelerators >= 2
    except CatalogueError as error:
        assert "\n" not in str(error)
