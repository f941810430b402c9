"""Symmetries that bounds rest on: found where they are, refused where they are not."""

from __future__ import annotations

import numpy as np
import pytest

from tests.topo.bounds.graphs import boxes, star
from topo.bounds.group import Group
from topo.bounds.orbits import automorphism, symmetry_of
from topo.bounds.symmetry import lattice_of, twin_classes, uniform_grid
from topo.fabric import Fabric
from topologies.full_mesh import full_mesh
from topologies.grid import mesh, torus, twisted_torus
from topologies.hypercube import hypercube
from topologies.path import path
from topologies.rail import rail
from topologies.ring import ring


def whole(fabric: Fabric) -> Group:
    return Group(fabric, np.arange(fabric.ranks))


@pytest.mark.parametrize(
    ("graph", "classes"),
    [
        (torus((4, 4, 4)), 6),
        (torus((2, 4)), 3),
        (twisted_torus((4, 4, 8)), 6),
        (twisted_torus((8, 4, 4)), 6),
        (hypercube(4), 4),
        (ring(7), 2),
        (full_mesh(6), 5),
    ],
)
def test_lattices(graph: object, classes: int) -> None:
    found = lattice_of(Fabric.from_networkx(graph))
    assert found is not None and len(found.bandwidth) == classes


@pytest.mark.parametrize("graph", [mesh((4, 4)), path(5), star(4, 1.0), boxes(2, 2, 2, 1, 1.0)])
def test_no_lattices(graph: object) -> None:
    assert lattice_of(Fabric.from_networkx(graph)) is None


def test_damage_ends_both() -> None:
    damaged = Fabric.from_networkx(torus((4, 4))).without([("0.0", "0.1")])
    assert lattice_of(damaged) is None and uniform_grid(damaged) is None
    orbits = symmetry_of(whole(damaged)).orbits
    assert orbits.nodes > 1
    # Orbits must not mix a node beside the gap with one that has all its links.
    degree = np.bincount(damaged.source)
    for orbit in range(orbits.nodes):
        assert len(set(degree[orbits.node == orbit])) == 1


def test_twins() -> None:
    fabric = Fabric.from_networkx(star(5, 1.0))
    assert len(set(twin_classes(fabric, fabric.accelerators).tolist())) == 1
    fabric = Fabric.from_networkx(boxes(2, 3, 2, 1, 1.0))
    assert twin_classes(fabric, fabric.accelerators).tolist() in ([0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0])


def test_a_wrong_guess_is_refused() -> None:
    group = whole(Fabric.from_networkx(boxes(2, 3, 2, 1, 1.0)))
    assert automorphism(group, np.asarray([3, 4, 5, 0, 1, 2])) is not None
    assert automorphism(group, np.asarray([1, 2, 0, 3, 4, 5])) is not None
    assert automorphism(group, np.asarray([3, 1, 2, 0, 4, 5])) is None


def test_a_group_must_map_to_itself() -> None:
    fabric = Fabric.from_networkx(boxes(2, 3, 2, 1, 1.0))
    some = Group(fabric, np.asarray([0, 1]))
    assert automorphism(some, np.asarray([3, 4, 5, 0, 1, 2])) is None
    orbits = symmetry_of(some).orbits
    assert orbits.node[0] == orbits.node[1] != orbits.node[2]


def test_every_generator_is_a_symmetry() -> None:
    for fabric in (
        rail(4, 4),
        Fabric.from_networkx(mesh((4, 4))),
        Fabric.from_networkx(twisted_torus((2, 2, 4))),
    ):
        for one in symmetry_of(whole(fabric)).generators:
            assert (fabric.source[one.link] == one.node[fabric.source]).all()
            assert (fabric.target[one.link] == one.node[fabric.target]).all()
            assert (fabric.bandwidth[one.link] == fabric.bandwidth).all()
            assert sorted(one.node) == list(range(len(fabric.nodes)))


def test_orbits_of_a_cluster() -> None:
    symmetry = symmetry_of(whole(rail(4, 4)))
    assert len(symmetry.senders[0]) == 1
    # Up and down, inside the node and to the rail.
    assert symmetry.orbits.links == 4
