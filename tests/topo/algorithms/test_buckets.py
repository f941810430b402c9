"""Buckets on tori, meshes and twisted tori: shares of the data, folded dimensions, nearness to the bound."""

from __future__ import annotations

import numpy as np
import pytest

from tests.topo.algorithms.sites import collective_on, dimmed, fabric_of, seconds, timed
from topo.algorithms import Site, build
from topo.algorithms.bucket_split import dimension_loads, smallest_maximum, split
from topo.algorithms.ring import folded_places, ring_order
from topo.algorithms.twisted import products
from topo.fabric import Fabric, Grid
from topologies.grid import torus, twisted_torus


def _ports(fabric: Fabric, size: float) -> float:
    """Seconds of an all-gather's bytes at the narrowest port."""
    n = fabric.ranks
    return (n - 1) / n * size / float(fabric.ingress.min())


def test_optimal_shares_of_the_reference_case() -> None:
    """4x4 with 50 and 25 GB/s: 7/9 of the data start along the fast dimension and all links are busy."""
    grid = Grid((4, 4), (True, True))
    instances, detail = split(grid, np.asarray([5e10, 2.5e10]), optimal=True)
    first = sum(x.share for x in instances if x.order == (0, 1))
    assert first == pytest.approx(7 / 9, rel=1e-9)
    assert sum(x.share for x in instances) == pytest.approx(1.0, rel=1e-12)
    assert "78%:0>1" in detail


def test_equal_dimensions_keep_equal_shares() -> None:
    instances, detail = split(Grid((4, 4, 4), (True,) * 3), np.full(3, 5e10), optimal=True)
    assert detail == "" and len(instances) == 6
    assert {x.share for x in instances} == {1 / 6}


@pytest.mark.parametrize("ratio", [0.2, 0.25, 1.0, 4.0, 5.0])
def test_ideal_is_met_when_no_dimension_is_over_four_times_as_fast(ratio: float) -> None:
    grid, speed = Grid((4, 4), (True, True)), np.asarray([ratio, 1.0])
    _, best = smallest_maximum(dimension_loads(grid, [(0, 1), (1, 0)], speed))
    ideal = 15 / 16 / speed.sum()
    assert (best == pytest.approx(ideal, rel=1e-9)) == (0.25 <= ratio <= 4)
    assert best >= ideal * (1 - 1e-9)


@pytest.mark.parametrize("shape", [(4, 8), (3, 5), (2, 8), (4, 4, 8)])
def test_unequal_tori_come_near_the_ports_when_pipelined(shape: tuple[int, ...]) -> None:
    fabric, size = dimmed(shape), 1e9
    name = "concurrent-bucket"
    assert timed(name, fabric, "all-reduce", size, 16) < 1.06 * 2 * _ports(fabric, size)


def test_optimal_shares_help_where_dimensions_differ_in_speed() -> None:
    fabric, size = fabric_of(torus((4, 4), [5e10, 2.5e10], 1e-7)), 1e9
    ideal = 2 * _ports(fabric, size)
    assert timed("concurrent-bucket:shares=optimal", fabric, "all-reduce", size, 16) < 1.02 * ideal
    assert timed("concurrent-bucket:shares=equal", fabric, "all-reduce", size, 16) > 1.3 * ideal


# ---------------------------------------------------------------------------------------------- meshes


@pytest.mark.parametrize("length", range(2, 12))
def test_a_folded_line_is_a_ring_of_short_steps(length: int) -> None:
    order = np.argsort(folded_places(length))
    assert sorted(order.tolist()) == list(range(length))
    steps = np.abs(np.diff(np.append(order, order[0])))
    assert steps.max() <= 2


@pytest.mark.parametrize("shape", [(8,), (4, 4), (3, 5), (4, 6), (2, 3, 4)])
def test_meshes_reach_what_their_corners_allow(shape: tuple[int, ...]) -> None:
    fabric, size = dimmed(shape, wrap=False), 1e9
    assert timed("concurrent-bucket", fabric, "all-reduce", size, 16) < 1.07 * 2 * _ports(fabric, size)


@pytest.mark.parametrize("shape", [(4, 4), (3, 4), (4, 3), (2, 5), (6, 2), (7,)])
def test_rings_on_meshes_walk_over_neighbours_and_close(shape: tuple[int, ...]) -> None:
    fabric = dimmed(shape, wrap=False)
    grid = fabric.grid
    assert grid is not None
    order = ring_order(Site(fabric, np.arange(fabric.ranks)))
    assert sorted(order.tolist()) == list(range(fabric.ranks))
    place = grid.coordinates(order)
    hops = np.abs(place - np.roll(place, -1, axis=0)).sum(axis=1)
    assert hops.max() <= (1 if len(shape) == 2 else 2)


def test_an_odd_mesh_still_has_a_ring() -> None:
    fabric = dimmed((3, 3), wrap=False)
    assert sorted(ring_order(Site(fabric, np.arange(9))).tolist()) == list(range(9))


# ---------------------------------------------------------------------------------------- twisted tori


@pytest.mark.parametrize("shape", [(2, 2, 4), (3, 3, 6), (4, 4, 8), (2, 4, 4), (4, 8, 8), (3, 6, 6)])
def test_twisted_tori_are_products_of_rings(shape: tuple[int, int, int]) -> None:
    grid = fabric_of(twisted_torus(shape)).grid
    assert grid is not None
    found = products(grid)
    assert set(found) == {0, 1, 2}
    for leader, product in found.items():
        assert sorted(product.rank.tolist()) == list(range(grid.size))
        assert int(np.prod(product.lengths)) == grid.size
        # The leading ring closes through the twist, after the longer length.
        assert product.lengths[0] == max(shape) and product.steps[0][leader] == 1
    # k x k x 2k has a ring of 2k and two of k; k x 2k x 2k two of 2k and one of k.
    longest = sum(length == max(shape) for length in found[0].lengths)
    assert longest == (1 if sorted(shape)[1] == min(shape) else 2)


@pytest.mark.parametrize(("shape", "most"), [((4, 4, 8), 1.13), ((2, 4, 4), 1.16), ((3, 3, 6), 1.17)])
def test_twisted_all_reduce_comes_near_the_ports(shape: tuple[int, int, int], most: float) -> None:
    fabric, size = fabric_of(twisted_torus(shape)), 1e9
    collective = collective_on(fabric, "all-reduce", size)
    schedule = build("twisted-bucket", collective, Site(fabric, np.arange(fabric.ranks)), 16)
    assert seconds(schedule, fabric) < most * 2 * _ports(fabric, size)
