"""Options of a plan become its fields."""

from __future__ import annotations

import pytest

from topo.cli.plan_options import plan_choices
from topo.errors import TopoError


def test_what_was_not_given_is_left_open() -> None:
    assert plan_choices({"tp": None, "overlap_tp": False, "overlap_ep": False, "dispatch_bytes": None}) == {}


def test_options_become_fields() -> None:
    given = plan_choices(
        {"tp": 8, "fsdp": True, "overlap_ep": True, "dispatch_bytes": "fp8", "layer_split": "3-4"}
    )
    assert given == {"tp": 8, "zero": 3, "overlap_ep": True, "dispatch_bytes": 1.0, "layer_split": (3, 4)}


def test_a_split_that_cannot_be_read_says_how_it_is_written() -> None:
    with pytest.raises(TopoError, match="19-21-21-19"):
        plan_choices({"layer_split": "3-x"})
