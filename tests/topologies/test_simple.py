"""Paths, rings, stars, full meshes, hypercubes, trees and explicit graphs."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.topologies.graphs import cables_at, cut, distances, links_by_ends
from topo.errors import TopoError
from topo.fabric import Fabric
from topologies import load
from topologies.explicit_edges import explicit_edges
from topologies.switched_planes import switched_planes

compiled = Fabric.from_networkx


@given(st.integers(1, 40))
def test_path(n: int) -> None:
    fabric = load(f"path:{n}").fabric
    assert fabric.nodes == tuple(range(n))
    assert fabric.links == 2 * (n - 1)
    assert distances(fabric).max() == n - 1


def test_path_takes_one_value_per_link() -> None:
    fabric = load("path:4,bandwidth=100GB/s/25GB/s/50GB/s,latency=1us/2us/3us").fabric
    links = links_by_ends(fabric)
    assert links[1, 2] == links[2, 1] == (25e9, 2e-6, 1)
    assert links[2, 3] == (50e9, 3e-6, 1)


@given(st.integers(2, 40))
def test_ring(n: int) -> None:
    fabric = load(f"ring:{n},bandwidth=10GB/s").fabric
    assert fabric.links == (2 * n if n > 2 else 2)
    assert (cables_at(fabric) == (2 if n > 2 else 1)).all()
    assert distances(fabric).max() == n // 2
    assert cut(fabric, np.arange(n) < n // 2) == (20e9 if n > 2 else 10e9)


@given(st.integers(1, 40))
def test_switch(n: int) -> None:
    fabric = load(f"switch:{n}").fabric
    assert fabric.ranks == n
    assert not fabric.in_network
    assert (fabric.egress == 50e9).all()
    assert n == 1 or distances(fabric).max() == 2


@pytest.mark.parametrize(
    ("keys", "multicast", "reduces"),
    [
        ("multicast=true", True, False),
        ("reduce=true", False, True),
        ("in_network=true", True, True),
        ("multicast=true,reduce=false", True, False),
    ],
)
def test_switch_abilities(keys: str, multicast: bool, reduces: bool) -> None:
    fabric = load(f"switch:4,{keys}").fabric
    assert fabric.multicast.any() == multicast
    assert fabric.reduce.any() == reduces
    assert not (fabric.multicast | fabric.reduce)[fabric.accelerators].any()


@given(st.integers(2, 16))
def test_full_mesh(n: int) -> None:
    fabric = load(f"full-mesh:{n},bandwidth=10GB/s").fabric
    assert (cables_at(fabric) == n - 1).all()
    assert distances(fabric).max() == 1
    half = n // 2
    assert cut(fabric, np.arange(n) < half) == half * (n - half) * 10e9


@given(st.integers(1, 7))
def test_hypercube(d: int) -> None:
    fabric = load(f"hypercube:{d},bandwidth=10GB/s").fabric
    ranks = np.arange(2**d)
    assert (distances(fabric) == np.bitwise_count(ranks[:, None] ^ ranks[None, :])).all()
    assert (cables_at(fabric) == d).all()
    assert cut(fabric, ranks < 2 ** (d - 1)) == 2 ** (d - 1) * 10e9


@given(st.integers(0, 6))
def test_binary_tree(depth: int) -> None:
    fabric = load(f"binary-tree:{depth}").fabric
    assert fabric.ranks == 2 ** (depth + 1) - 1
    assert nx.is_tree(fabric.to_networkx().to_undirected())
    assert distances(fabric)[0].max() == depth


def test_hybrid_cube_mesh() -> None:
    edges = [(0, 1, 1), (0, 2, 1), (1, 3, 1), (2, 6, 1), (3, 7, 1), (4, 5, 1), (4, 6, 1), (5, 7, 1)]
    edges += [(0, 3, 2), (0, 4, 2), (1, 2, 2), (1, 5, 2), (2, 3, 2), (4, 7, 2), (5, 6, 2), (6, 7, 2)]
    fabric = compiled(explicit_edges(8, edges, 25e9, "0.7us"))
    assert (cables_at(fabric) == 6).all()
    assert fabric.cables.sum() == 2 * 24
    assert distances(fabric).max() == 2
    assert (fabric.egress == 150e9).all()


@pytest.mark.parametrize(
    ("edges", "said"),
    [
        ([(0, 0, 1)], "to itself"),
        ([(0, 1, 1), (1, 0, 1)], "twice"),
        ([(0, 9, 1)], "too large"),
        ([(0, 1)], "multiplicity"),
        ([(0, 1, 0)], "too small"),
        ([(0, 1.5, 1)], "whole number"),
    ],
)
def test_wrong_edge_is_named(edges: list[tuple[int, ...]], said: str) -> None:
    with pytest.raises(TopoError, match=said):
        explicit_edges(2, edges, 25e9, 1e-6)


@pytest.mark.parametrize(("planes", "egress"), [([5, 4, 4, 5], 450e9), ([2] * 6, 300e9), ([9, 9], 450e9)])
def test_switched_planes(planes: list[int], egress: float) -> None:
    fabric = compiled(switched_planes(8, planes, 25e9, 1e-6, multicast=True, reduce=True))
    assert (fabric.egress == egress).all()
    assert cables_at(fabric)[8:].tolist() == [8 * m for m in planes]
    assert distances(fabric).max() == 2
    assert fabric.multicast.sum() == fabric.reduce.sum() == len(planes)
    # Half of the accelerators against the other half: the switches are on whichever side is better.
    half = np.zeros(len(fabric.nodes), dtype=bool)
    half[:4] = True
    assert cut(fabric, half) == 4 * egress
