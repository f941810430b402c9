"""Points of one system come together, whoever computes them."""

from __future__ import annotations

from collections.abc import Iterator

from topo.sweep import Point
from topo.sweep.piles import AHEAD, Piles, piled


def points(number: int, systems: int = 3) -> Iterator[Point]:
    for place in range(number):
        yield Point.of("run", {"on": f"ring:{place % systems}", "size": place})


def test_one_system_after_the_other_and_every_point_once() -> None:
    found = [(point.inputs["on"], point.inputs["size"]) for point in piled(points(7))]
    assert found == [(f"ring:{n % 3}", n) for n in (0, 3, 6, 1, 4, 2, 5)]


def test_points_are_drawn_a_few_ahead() -> None:
    drawn: list[int] = []

    def counted() -> Iterator[Point]:
        for point in points(3 * AHEAD):
            drawn.append(1)
            yield point

    taken = piled(counted())
    assert next(taken) and len(drawn) == AHEAD
    assert len({point.key for point in taken} | {next(points(1)).key}) == 3 * AHEAD


def test_two_workers_share_a_system_only_at_the_end() -> None:
    piles = Piles(points(8, systems=2))
    one = piles.take(None)
    assert one is not None and one.inputs["on"] == "ring:0"
    other = piles.take(None, [one])
    assert other is not None and other.inputs["on"] == "ring:1"
    for _ in range(3):
        one = piles.take(one, [other])
        assert one is not None and one.inputs["on"] == "ring:0"
    assert (helping := piles.take(one, [other])) is not None
    assert (helping.inputs["on"], helping.inputs["size"]) == ("ring:1", 7)
    assert len(list(iter(lambda: piles.take(other), None))) == 2


def test_points_without_a_system() -> None:
    assert [p.inputs["a"] for p in piled(Point.of("x", {"a": n}) for n in range(4))] == [0, 1, 2, 3]
