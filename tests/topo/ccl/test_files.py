"""Library and technology files: every number sourced, in its unit and plausible."""

from __future__ import annotations

from pathlib import Path

import pytest

from topo import ccl
from topo.errors import CatalogueError

GOOD = "name: ours\nbase: nccl\ntechnologies:\n  ib-ndr:\n    reach: {value: 0.5, source: test, confidence: fit}\n"


def test_a_users_file_changes_what_it_names(tmp_path: Path) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text(GOOD, encoding="utf-8")
    ours, known = ccl.load(path), ccl.load("nccl")
    assert (ours.name, ours.family) == ("ours", "nccl")
    assert ours.technologies["ib-ndr"].get("reach") == 0.5
    assert ours.technologies["nvlink4"] == known.technologies["nvlink4"]
    assert known.technologies["ib-ndr"].get("reach") > 0.5


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("0.5", "7", "between 0.2 and 1"),
        ("reach", "reahc", "did you mean 'reach'"),
        ("ib-ndr", "ib-ndd", "did you mean 'ib-ndr'"),
        (", source: test", "", "has no source"),
        ("confidence: fit", "confidence: sure", "use datasheet"),
        ("{value: 0.5, source: test, confidence: fit}", "0.5", "write {value"),
        ("technologies:", "tecnologies:", "did you mean 'technologies'"),
    ],
)
def test_a_wrong_file_says_where(tmp_path: Path, old: str, new: str, words: str) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text(GOOD.replace(old, new), encoding="utf-8")
    with pytest.raises(CatalogueError) as caught:
        ccl.load(path)
    assert words in str(caught.value)
    assert "ours.yaml" in str(caught.value) or "knows no link technology" in str(caught.value)


def test_what_is_guessed_says_so() -> None:
    known = ccl.load("nccl").technologies
    (new, out) = ccl.guessed(ccl.Links(known["nvlink6"], known["ib-xdr"]), between=True)
    assert "NVLink 6" in new and "all constants are guessed" in new and "taken over" in new
    assert "XDR" in out
    assert ccl.guessed(ccl.Links(known["nvlink4"], known["ib-xdr"]), between=False) == []
