"""Broadcast and reduce near their bounds, and all-reduce along many trees of a mesh."""

from __future__ import annotations

import numpy as np
import pytest

from tests.topo.algorithms.sites import (
    built,
    clusters,
    collective_on,
    dimmed,
    fabric_of,
    seconds,
    star,
    timed,
)
from topo.algorithms import Site, build
from topo.algorithms.mesh_trees import mesh_tree, shares_of_trees, trunks
from topo.bounds import lower_bound
from topo.errors import AlgorithmError
from topo.fabric import Fabric, Grid
from topologies.full_mesh import full_mesh
from topologies.hypercube import hypercube

ROOTED = ("broadcast", "reduce")


def _ratio(name: str, fabric: Fabric, operation: str, chunks: int, size: float = 1e9) -> float:
    """Time over the bound."""
    return (
        timed(name, fabric, operation, size, chunks)
        / lower_bound(collective_on(fabric, operation, size), fabric).seconds
    )


@pytest.mark.parametrize("operation", ROOTED)
@pytest.mark.parametrize("chunks", [1, 4, 32])
@pytest.mark.parametrize("ranks", [3, 5, 8])
def test_relays_on_a_star_send_everything_once(ranks: int, chunks: int, operation: str) -> None:
    size, port = 2.4e8, 5e10
    formula = 2e-6 + size / port + (ranks - 2) / (ranks - 1) * size / (chunks * port)
    time = timed("scatter-allgather:gather=relay", star(ranks), operation, size, chunks)
    assert time == pytest.approx(formula, rel=1e-9)


@pytest.mark.parametrize("operation", ROOTED)
def test_relays_use_every_link_of_a_full_mesh(operation: str) -> None:
    fabric = fabric_of(full_mesh(6, 5e10, 1e-7))
    assert _ratio("scatter-allgather:gather=relay", fabric, operation, 64) < 1.03


@pytest.mark.parametrize("operation", ROOTED)
@pytest.mark.parametrize(
    ("fabric", "most"), [(dimmed((4, 4)), 1.07), (dimmed((3, 5)), 1.07)], ids=["4x4", "3x5"]
)
def test_chains_along_all_rings_use_every_link(operation: str, fabric: Fabric, most: float) -> None:
    assert _ratio("multi-ring", fabric, operation, 256) < most


def test_chains_along_one_of_two_rings_of_a_hypercube() -> None:
    fabric = fabric_of(hypercube(5))
    # Two rings take four of five links.
    assert _ratio("multi-ring", fabric, "broadcast", 512) == pytest.approx(5 / 4, rel=0.08)


@pytest.mark.parametrize("operation", ROOTED)
@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (2, 3, 3), (5,)])
def test_a_dealt_scatter_and_buckets_take_twice_the_bound(operation: str, shape: tuple[int, ...]) -> None:
    fabric = dimmed(shape)
    assert _ratio("scatter-allgather:gather=bucket", fabric, operation, 1) < 2.8
    for root in (0, fabric.ranks // 2):
        built("scatter-allgather:gather=bucket", fabric, collective_on(fabric, operation, root=root))


def test_buckets_need_a_grid() -> None:
    fabric = star(4)
    with pytest.raises(AlgorithmError, match="needs a torus or mesh; take gather=ring"):
        build(
            "scatter-allgather:gather=bucket", collective_on(fabric, "broadcast"), Site(fabric, np.arange(4))
        )


# ------------------------------------------------------------------------------------------ hierarchical


@pytest.mark.parametrize("inside", ["ring", "direct", "nvls"])
@pytest.mark.parametrize("across", ["ring", "tree", "binary"])
@pytest.mark.parametrize("operation", ROOTED)
def test_rooted_hierarchies_prove_themselves_from_any_root(inside: str, across: str, operation: str) -> None:
    for nodes, gpus in ((2, 2), (3, 4), (5, 2)):
        fabric = clusters(nodes, gpus)
        for root in {0, gpus - 1, fabric.ranks // 2}:
            for chunks in (1, 2):
                name = f"hierarchical:inside={inside},across={across}"
                built(name, fabric, collective_on(fabric, operation, root=root), chunks)


@pytest.mark.parametrize("operation", ROOTED)
def test_a_rooted_hierarchy_uses_every_rail(operation: str) -> None:
    fabric = clusters(4, 4)
    for inside in ("nvls", "direct"):
        assert _ratio(f"hierarchical:inside={inside}", fabric, operation, 64) < 1.15
    assert _ratio("chain", fabric, operation, 64) > 3


def test_halving_is_no_way_to_broadcast_across() -> None:
    fabric = clusters(2, 2)
    with pytest.raises(AlgorithmError, match="take across=ring, tree or binary"):
        build("hierarchical:across=halving", collective_on(fabric, "broadcast"), Site(fabric, np.arange(4)))


# ----------------------------------------------------------------------------------------- mesh trees


@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (2, 3, 3), (6,), (1, 5)])
def test_mesh_trees_prove_themselves(shape: tuple[int, ...]) -> None:
    fabric = dimmed(shape, wrap=False)
    for chunks in (1, 3):
        built("mesh-trees", fabric, collective_on(fabric, "all-reduce"), chunks)


@pytest.mark.parametrize(("shape", "most"), [((4, 4), 1.03), ((8, 8), 1.15), ((5, 6), 1.17)])
def test_mesh_trees_come_near_what_corners_allow(shape: tuple[int, int], most: float) -> None:
    fabric = dimmed(shape, wrap=False)
    assert _ratio("mesh-trees", fabric, "all-reduce", 256) < most
    assert _ratio("concurrent-bucket", fabric, "all-reduce", 16) > 1.3 * most


def test_mesh_trees_load_the_links_as_planned() -> None:
    """k x k with T trunks each way: (1 + 1/T) S/(2B) without latency and fill."""
    quick, size = dimmed((8, 8), wrap=False).scaled(latency=0.0), 1e9
    time = timed("mesh-trees:trunks=4", quick, "all-reduce", size, 600)
    assert time == pytest.approx((1 + 1 / 4) * size / (2 * 5e10), rel=0.03)


def test_mesh_tree_moves_along_one_dimension_after_another() -> None:
    grid = Grid((3, 4), (False, False))
    tree = mesh_tree(grid, np.asarray([1, 2]), (1, 0))
    assert tree.root == 6
    # (0, 0) moves along the row to column 2 and then down the trunk.
    assert [int(tree.parent[0]), int(tree.parent[1]), int(tree.parent[2])] == [1, 2, 6]
    assert sorted([6, *np.concatenate(tree.levels()).tolist()]) == list(range(12))


def test_trunks_are_spread_and_shares_add_up() -> None:
    grid = Grid((4, 9), (False, False))
    assert [int(root[1]) for root in trunks(grid, (1, 0), 3)] == [1, 4, 7]
    fabric = dimmed((4, 9), wrap=False)
    shares = shares_of_trees(Site(fabric, np.arange(36)), grid, 4)
    assert sum(x.share for x in shares) == pytest.approx(1.0, rel=1e-12)
    with pytest.raises(AlgorithmError, match="mesh without wrap links"):
        build("mesh-trees", collective_on(star(4), "all-reduce"), Site(star(4), np.arange(4)))


def test_damage_is_seen() -> None:
    fabric = dimmed((3, 3), wrap=False)
    damaged = fabric.without([(fabric.nodes[0], fabric.nodes[1])])
    for name in ("mesh-trees", "wafer-chain"):
        with pytest.raises(AlgorithmError, match="a link of the mesh is missing"):
            build(name, collective_on(damaged, "all-reduce"), Site(damaged, np.arange(9)))
    # Buckets go round the gap.
    schedule = built("concurrent-bucket", damaged, collective_on(damaged, "all-reduce"))
    assert seconds(schedule, damaged) > timed("concurrent-bucket", fabric, "all-reduce")
