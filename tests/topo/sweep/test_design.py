"""Designs: which combinations come out, and which cannot be asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topo.errors import SweepError
from topo.sweep.design import Block

VALUES = {"a": (1, 2), "b": ("x", "y", "z")}


def test_a_grid_has_every_combination_and_the_last_varies_fastest() -> None:
    block = Block("run", VALUES)
    assert len(block) == 6
    assert [(point["a"], point["b"]) for point in block] == [(a, b) for a in (1, 2) for b in "xyz"]


def test_a_list_goes_side_by_side() -> None:
    block = Block("run", {"a": (1, 2, 3), "b": ("x", "y", "z"), "c": (0,)}, "list")
    assert list(block) == [{"a": a, "b": b, "c": 0} for a, b in zip((1, 2, 3), "xyz", strict=True)]


def test_no_parameter_at_all_is_one_point() -> None:
    assert list(Block("run")) == [{}]
    assert list(Block("run", {}, "list")) == [{}]


@given(st.integers(1, 12), st.integers(0, 100))
def test_a_random_design_is_part_of_the_grid_and_repeats_itself(count: int, seed: int) -> None:
    values = {"a": tuple(range(3)), "b": tuple(range(4))}
    block = Block("run", values, "random", count, seed)
    points = [tuple(point.items()) for point in block]
    assert len(points) == len(block) == len(set(points)) == count
    assert set(points) <= {tuple(point.items()) for point in Block("run", values)}
    assert points == [tuple(point.items()) for point in Block("run", values, "random", count, seed)]


def test_a_random_design_of_an_enormous_grid_is_instant() -> None:
    values = {str(number): tuple(range(10)) for number in range(18)}
    assert len(list(Block("run", values, "random", 5, 1))) == 5


@pytest.mark.parametrize(
    ("values", "design", "count", "words"),
    [
        ({"a": ()}, "grid", None, "'a' has no values"),
        (VALUES, "gird", None, "'grid'"),
        (VALUES, "list", None, "a has 2, b has 3"),
        (VALUES, "random", None, "count: 100"),
        (VALUES, "random", 0, "count: 100"),
        (VALUES, "random", 7, "take 6 at most"),
        (VALUES, "grid", 3, "design: random"),
        ({str(n): tuple(range(10)) for n in range(30)}, "grid", None, "more points than can be counted"),
    ],
)
def test_what_cannot_be_is_said(
    values: dict[str, tuple[object, ...]], design: str, count: int | None, words: str
) -> None:
    with pytest.raises(SweepError, match=words):
        Block("run", values, design, count)
