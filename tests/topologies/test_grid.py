"""Meshes, tori and twisted tori."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.topologies.graphs import cables_at, cut, distances, links_by_ends, shifted, spread_load
from topo.errors import TopoError
from topo.fabric import Fabric
from topologies import load
from topologies.grid import large_mesh, large_torus, mesh, torus, twist_of

shapes = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple)


def name_of(family: str, shape: tuple[int, ...]) -> str:
    return f"{family}:{'x'.join(map(str, shape))}"


@given(shapes)
def test_torus_closed_forms(shape: tuple[int, ...]) -> None:
    fabric = load(name_of("torus", shape)).fabric
    size = math.prod(shape)
    assert fabric.ranks == size
    assert (cables_at(fabric) == 2 * sum(length > 1 for length in shape)).all()
    assert distances(fabric).max() == sum(length // 2 for length in shape)
    for d, length in enumerate(shape):
        if length % 2 == 0:
            below = fabric.grid.coordinates(np.arange(size))[:, d] < length // 2
            assert cut(fabric, below) == pytest.approx(2 * size / length * 50e9)


@given(shapes)
def test_mesh_closed_forms(shape: tuple[int, ...]) -> None:
    fabric = load(name_of("mesh", shape)).fabric
    size = math.prod(shape)
    assert fabric.links == 2 * sum(size // length * (length - 1) for length in shape)
    assert distances(fabric).max() == sum(length - 1 for length in shape)
    for d, length in enumerate(shape):
        if length > 1:
            below = fabric.grid.coordinates(np.arange(size))[:, d] < length // 2
            assert cut(fabric, below) == pytest.approx(size / length * 50e9)


@given(shapes, st.data())
def test_torus_looks_the_same_from_everywhere(shape: tuple[int, ...], data: st.DataObject) -> None:
    fabric = load(name_of("torus", shape)).fabric
    by = tuple(data.draw(st.integers(0, length - 1)) for length in shape)
    moved = shifted(fabric.grid, by)
    image = fabric.links_between(moved[fabric.source], moved[fabric.target])
    assert sorted(image) == list(range(fabric.links))
    assert (fabric.cables[image] == fabric.cables).all()


def test_nodes_are_named_by_coordinates_in_row_major_order() -> None:
    fabric = load("torus:2x3x4").fabric
    assert fabric.nodes[:5] == ("0.0.0", "0.0.1", "0.0.2", "0.0.3", "0.1.0")
    assert fabric.grid.shape == (2, 3, 4)
    assert fabric.routing == "dimension-order"


def test_dimensions_have_their_own_links() -> None:
    fabric = load("torus:4x2,bandwidth=100GB/s/25GB/s,latency=1us/3us").fabric
    links = links_by_ends(fabric)
    assert links["0.0", "1.0"] == links["0.0", "3.0"] == (100e9, 1e-6, 1)
    assert links["0.0", "0.1"] == (50e9, 3e-6, 2)
    assert (fabric.egress == 250e9).all()


@pytest.mark.parametrize(
    ("shape", "wrap", "links"),
    [((2, 2), None, 8), ((2, 2), (False, True), 8), ((1, 4), None, 8), ((1, 1), None, 0)],
)
def test_short_dimensions(shape: tuple[int, ...], wrap: tuple[bool, ...] | None, links: int) -> None:
    fabric = Fabric.from_networkx(torus(shape, wrap=wrap))
    assert fabric.links == links


def test_partly_closed_torus() -> None:
    fabric = Fabric.from_networkx(torus((4, 4), wrap=(False, True)))
    assert fabric.links == 2 * (12 + 16)
    assert distances(fabric).max() == 3 + 2


@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from([(2, 2, 4), (4, 4, 8), (3, 3, 6), (2, 4, 4), (4, 8, 8), (3, 6, 6)]),
    st.permutations(range(3)),
)
def test_twisted_torus_looks_the_same_from_everywhere(shape: tuple[int, ...], order: list[int]) -> None:
    shape = tuple(shape[i] for i in order)
    fabric = load(name_of("twisted-torus", shape)).fabric
    assert fabric.grid.twisted
    assert (cables_at(fabric) == 6).all()
    hops = np.sort(distances(fabric), axis=1)
    assert (hops == hops[0]).all()
    for by in ((1, 0, 0), (0, 1, 0), (0, 0, 1)):
        moved = shifted(fabric.grid, by)
        image = fabric.links_between(moved[fabric.source], moved[fabric.target])
        assert sorted(image) == list(range(fabric.links))


@pytest.mark.parametrize("k", [2, 4, 6])
def test_twisted_torus_mean_distance_and_diameter(k: int) -> None:
    """Closed forms for even k: 7k/8 - 1/(4k) and 35k/32 - 1/(4k), against k and 5k/4 of the plain torus."""
    for shape, mean, plain in (
        ((k, k, 2 * k), 7 * k / 8 - 1 / (4 * k), k),
        ((k, 2 * k, 2 * k), 35 * k / 32 - 1 / (4 * k), 5 * k / 4),
    ):
        assert distances(load(name_of("twisted-torus", shape)).fabric)[0].mean() == pytest.approx(mean)
        assert distances(load(name_of("torus", shape)).fabric)[0].mean() == pytest.approx(plain)


def test_twisted_torus_diameters() -> None:
    for shape, plain, twisted in (((4, 4, 8), 8, 6), ((4, 8, 8), 10, 6)):
        assert distances(load(name_of("torus", shape)).fabric).max() == plain
        assert distances(load(name_of("twisted-torus", shape)).fabric).max() == twisted


@pytest.mark.parametrize(
    ("shape", "plain", "twisted"), [((4, 4, 8), 128.0, 220 / 3), ((4, 8, 8), 256.0, 184.0)]
)
def test_twisted_torus_all_to_all_load(shape: tuple[int, ...], plain: float, twisted: float) -> None:
    """The busiest link of a uniform all-to-all; under the twist all links carry the same."""
    assert spread_load(load(name_of("torus", shape)).fabric).max() == pytest.approx(plain)
    load_twisted = spread_load(load(name_of("twisted-torus", shape)).fabric)
    assert load_twisted.max() == pytest.approx(twisted)
    assert load_twisted.min() == pytest.approx(twisted)


@pytest.mark.parametrize("shape", [(4, 4, 4), (4, 8), (1, 1, 2), (4, 4, 16), (2, 4, 8)])
def test_other_shapes_are_not_twisted(shape: tuple[int, ...]) -> None:
    with pytest.raises(TopoError, match="cannot be twisted"):
        twist_of(shape)


@pytest.mark.parametrize("twist", [[[0, 1]], [[0, 1], [0]], [[1, 0], [0, 0]], [[0, -1], [0, 0]]])
def test_wrong_twist_is_refused(twist: list[list[int]]) -> None:
    with pytest.raises(TopoError, match="twist"):
        torus((4, 4), twist=twist)


def test_large_torus_is_quick() -> None:
    """4,096 nodes and 24,576 links in well under 0.3 s; twice that is left for a busy machine."""
    best = math.inf
    for _ in range(3):
        start = time.process_time()
        fabric = load("torus:16x16x16").fabric
        best = min(best, time.process_time() - start)
    assert fabric.links == 24576
    assert best < 0.6


@pytest.mark.parametrize(
    ("family", "large", "shape"),
    [
        (torus, large_torus, (3, 4)),
        (torus, large_torus, (2, 3, 4)),
        (torus, large_torus, (1, 5, 2)),
        (mesh, large_mesh, (3, 1, 4)),
        (mesh, large_mesh, (2, 2)),
    ],
)
def test_compiled_without_the_graph_as_with_it(
    family: Callable[..., nx.DiGraph], large: Callable[..., Fabric], shape: tuple[int, ...]
) -> None:
    rates = tuple(1e10 * (d + 1) for d in range(len(shape)))
    one, other = Fabric.from_networkx(family(shape, rates, 1e-6)), large(shape, rates, 1e-6)
    for field in dataclasses.fields(Fabric):
        if field.name == "cache":
            continue
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, np.ndarray):
            np.testing.assert_array_equal(a, b, err_msg=field.name)
        else:
            assert a == b, field.name


def test_large_tori_by_name_come_without_the_graph() -> None:
    fabric = load("torus:24x24x24,bandwidth=10GB/s").fabric
    assert fabric.name == "torus:24x24x24,bandwidth=10GB/s"
    assert fabric.links == 6 * 24**3
    fabric.require_connected()
