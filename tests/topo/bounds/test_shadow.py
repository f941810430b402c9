"""Which cable matters."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.topo.bounds.graphs import boxes, ring, unit_graph
from topo.bounds.shadow import shadow_prices
from topo.collective import Collective
from topo.errors import BoundError
from topo.fabric import Fabric
from topologies.grid import torus


def test_the_bridge_of_two_triangles() -> None:
    cables = [(0, 1, 1.0), (1, 2, 1.0), (2, 0, 1.0), (3, 4, 1.0), (4, 5, 1.0), (5, 3, 1.0), (2, 3, 1.0)]
    fabric = Fabric.from_networkx(unit_graph(6, cables))
    first, *others = shadow_prices(Collective("all-gather", 6, 600.0), fabric, exact=True)
    assert set(first.ends) == {2, 3} and first.binds
    assert first.bound_s == pytest.approx(300.0)
    assert first.cut_s == math.inf
    # Two bridges: then 5 blocks must come in over the 2 links of a corner.
    assert first.doubled_s == pytest.approx(250.0)
    assert all(not price.binds and price.doubled_s == price.bound_s for price in others)
    assert sum(price.alike for price in (first, *others)) == 7


def test_cables_of_a_ring_are_alike() -> None:
    fabric = Fabric.from_networkx(ring(6, 1.0))
    (only,) = shadow_prices(Collective("all-reduce", 6, 600.0), fabric, exact=True)
    assert only.alike == 6
    assert only.bound_s == pytest.approx(500.0)
    assert only.cut_s == pytest.approx(600.0)
    # With length 0 on the doubled cable a ring of 5 is left: 2 (5-1) messages over 10 links.
    assert only.doubled_s == pytest.approx(600 * 8 / 10)


@pytest.mark.parametrize("exact", [False, True])
def test_one_of_parallel_cables(exact: bool) -> None:
    fabric = Fabric.from_networkx(torus((2, 4), 1.0, 0.0))
    found = shadow_prices(Collective("all-to-all", 8, 800.0), fabric, exact=exact)
    assert [price.alike for price in found] == [8, 8]
    assert all(price.cut_s >= price.bound_s >= price.doubled_s for price in found)
    assert found[0].change > 0 and found[0].change >= found[1].change


def test_slow_cables_between_boxes_bind_and_fast_ones_inside_do_not() -> None:
    fabric = Fabric.from_networkx(boxes(2, 4, 10, 1, 1.0))
    found = shadow_prices(Collective("all-gather", 8, 800.0), fabric, exact=True)
    by_end = {price.ends[1]: price for price in found}
    assert by_end["common"].binds and not by_end["box0"].binds
    assert by_end["common"].cut_s == pytest.approx(400 / 3)


def test_a_root_breaks_the_symmetry() -> None:
    fabric = Fabric.from_networkx(ring(4, 1.0))
    found = shadow_prices(Collective("broadcast", 4, 100.0), fabric)
    assert len(found) == 4 and all(price.alike == 1 for price in found)
    assert {0} <= set(found[0].ends)


def test_no_more_than_asked_for() -> None:
    fabric = Fabric.from_networkx(torus((4, 4)))
    collective = Collective("broadcast", 16, 1e6)
    assert len(shadow_prices(collective, fabric, most=3)) == 3
    with pytest.raises(BoundError, match="one or more"):
        shadow_prices(collective, fabric, most=0)
    with pytest.raises(BoundError, match="rank"):
        shadow_prices(collective, fabric, np.asarray([0]))
