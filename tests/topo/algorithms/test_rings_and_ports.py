"""Rings found over direct links, and unequal all-to-alls taken apart port by port."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from tests.topo.algorithms.sites import built, collective_on, dimmed, fabric_of, seconds, star, timed
from topo.algorithms import Site, build, find
from topo.algorithms.birkhoff import steps_of
from topo.algorithms.ring_search import cable_units, closed_walk, disjoint_rings, ring_over_links
from topo.collective import Collective
from topo.errors import AlgorithmError
from topo.fabric import Fabric
from topologies.full_mesh import full_mesh
from topologies.grid import torus, twisted_torus
from topologies.hypercube import hypercube
from topologies.path import path


def _hybrid_cube_mesh() -> Fabric:
    """The DGX-1's eight accelerators: two full quads, joined; some pairs by two cables."""
    quad = {(0, 1): 1, (0, 2): 1, (0, 3): 2, (1, 2): 2, (1, 3): 1, (2, 3): 2}
    cables = {**quad, **{(a + 4, b + 4): n for (a, b), n in quad.items()}}
    cables |= {(0, 4): 2, (1, 5): 2, (2, 6): 1, (3, 7): 1}
    graph = nx.DiGraph()
    graph.add_nodes_from(range(8))
    for (a, b), count in cables.items():
        for one, other in ((a, b), (b, a)):
            graph.add_edge(one, other, bandwidth=25e9, latency=1e-6, cables=count)
    return Fabric.from_networkx(graph, "hybrid cube mesh")


@pytest.mark.parametrize(
    ("fabric", "rings"),
    [
        (_hybrid_cube_mesh(), 3),
        (fabric_of(full_mesh(7)), 3),
        (fabric_of(full_mesh(8)), 3),
        (fabric_of(hypercube(4)), 2),
        (dimmed((4, 4)), 2),
        (dimmed((3, 5)), 2),
        (dimmed((4, 4, 4)), 3),
        (dimmed((4, 5), wrap=False), 1),
        (fabric_of(torus((4, 4, 4), (1.28e11, 1.28e11, 6.4e10), 1e-6)), 5),
        (fabric_of(torus((4, 4), (1.5e11, 5e10), 1e-6)), 4),
        (fabric_of(twisted_torus((2, 2, 4))), 3),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_as_many_disjoint_rings_as_the_cables_hold(fabric: Fabric, rings: int) -> None:
    ranks = np.arange(fabric.ranks)
    found, unit = disjoint_rings(fabric, ranks)
    assert len(found) == rings
    units, same = cable_units(fabric, ranks)
    assert unit == same
    used = np.zeros_like(units)
    for order in found:
        assert sorted(order.tolist()) == ranks.tolist()
        onward = np.roll(order, -1)
        used[order, onward] += 1
        used[onward, order] += 1
    assert (used <= units).all()


def test_rings_of_slow_and_fast_dimensions_use_all_of_both() -> None:
    fabric, size = fabric_of(torus((4, 4, 4), (1.28e11, 1.28e11, 6.4e10), 1e-6)), 1e9
    assert timed("multi-ring", fabric, "all-gather", size) == pytest.approx(
        63 * 1e-6 + 63 / 64 * size / 640e9, rel=1e-9
    )


def test_full_use_of_the_cables_is_full_bandwidth() -> None:
    fabric, size = _hybrid_cube_mesh(), 1e9
    assert timed("multi-ring", fabric, "all-reduce", size) == pytest.approx(
        2 * 7 / 8 * size / 150e9, rel=2e-3
    )
    assert timed("multi-ring", fabric, "all-reduce", size) < timed("ring", fabric, "all-reduce", size) / 2.9


def test_the_ring_walks_over_direct_links_where_it_can() -> None:
    fabric = fabric_of(hypercube(4))
    order = ring_over_links(fabric, np.arange(16))
    assert order is not None
    assert all(bin(a ^ b).count("1") == 1 for a, b in zip(order, np.roll(order, -1), strict=True))
    # Rank order crosses up to four links a step.
    link = float(fabric.bandwidth[0])
    assert timed("ring", fabric, "all-gather", 1.6e9) == pytest.approx(15 * 1e8 / link, rel=1e-3)


def test_where_there_is_no_ring_none_is_claimed() -> None:
    odd = dimmed((3, 3), wrap=False)
    assert disjoint_rings(odd, np.arange(9))[0] == []
    line = fabric_of(path(4))
    for fabric in (odd, line, star(4)):
        collective = collective_on(fabric, "all-reduce")
        with pytest.raises(AlgorithmError, match="no ring of direct links"):
            build("multi-ring", collective, Site(fabric, np.arange(fabric.ranks)))
    # A bow tie: two triangles that share a node.
    ways = np.zeros((5, 5), dtype=np.int64)
    for a, b in ((0, 1), (1, 2), (2, 0), (2, 3), (3, 4), (4, 2)):
        ways[a, b] = ways[b, a] = 1
    assert closed_walk(ways) is None


def test_large_groups_are_not_searched() -> None:
    fabric = fabric_of(torus((9, 9)))
    with pytest.raises(AlgorithmError, match="up to 64 ranks"):
        build("multi-ring", collective_on(fabric, "all-reduce"), Site(fabric, np.arange(81)))
    assert ring_over_links(star(80), np.arange(80)) is None


# ------------------------------------------------------------------------------------------- birkhoff


def _matrix(seed: int, ranks: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    blocks = random.integers(0, 6, (ranks, ranks)) * 1e6 * (random.random((ranks, ranks)) < 0.6)
    np.fill_diagonal(blocks, 0.0)
    return blocks


@pytest.mark.parametrize("seed", range(6))
def test_steps_are_matchings_that_add_up_to_the_blocks(seed: int) -> None:
    blocks = _matrix(seed, 7)
    total = np.zeros_like(blocks)
    for step in steps_of(blocks):
        assert len(set(step.source)) == len(step.source) and len(set(step.target)) == len(step.target)
        total[step.source, step.target] += step.bytes
    assert total == pytest.approx(blocks, rel=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_the_busiest_port_alone_counts(seed: int) -> None:
    blocks = _matrix(seed, 6)
    rows = tuple(tuple(map(float, row)) for row in blocks)
    collective = Collective("all-to-all", 6, float(blocks.sum(axis=1).max()), matrix=rows)
    fabric = star(6)
    ports = 1e-6 + max(blocks.sum(axis=0).max(), blocks.sum(axis=1).max()) / 5e10
    time = seconds(built("birkhoff", fabric, collective), fabric)
    assert time == pytest.approx(ports, rel=1e-9)
    form = find("birkhoff").closed_form
    assert form is not None and form(collective, Site(fabric, np.arange(6)), 1) == pytest.approx(
        ports, rel=1e-12
    )
    assert seconds(built("direct", fabric, collective), fabric) >= ports * (1 - 1e-9)


def test_equal_blocks_take_one_step_per_peer() -> None:
    collective = collective_on(star(5), "all-to-all")
    assert len(steps_of(collective.blocks())) == 4
