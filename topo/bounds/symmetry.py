"""What makes a fabric easy: grids whose links are all alike, translations, accelerators that are twins.

A *lattice* fabric is a Cayley graph of an abelian group: every accelerator sees the same network, and each
link belongs to a class of links with the same displacement.  Rings, tori, twisted tori, hypercubes and full
meshes are lattices.  *Twins* are accelerators with the same links to the same nodes, such as all accelerators
on one switch; exchanging two of them changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from topo.fabric import Fabric, FloatArray, Grid, IntArray
from topo.translation import link_orbits

_MOST_LINKS = 4_000_000


@dataclass(frozen=True, eq=False)
class Lattice:
    """A fabric whose accelerators form an abelian group that acts on its links.

    Parameters
    ----------
    shape : tuple of int
        Order of each coordinate; accelerators stand in row-major order of their coordinates.
    displacement : int array [classes, dimensions]
        Canonical difference target - source of the links of each class.
    link_class : int array [links]
    bandwidth, latency : float arrays [classes]
        Of every link of the class.
    """

    shape: tuple[int, ...]
    displacement: IntArray
    link_class: IntArray
    bandwidth: FloatArray
    latency: FloatArray


@dataclass(frozen=True, eq=False)
class UniformGrid:
    """A mesh or torus whose links are alike within each dimension.

    Parameters
    ----------
    grid : Grid
        Without a twist.
    bandwidth, latency : float arrays [dimensions]
        Of each link of the dimension, in either direction; 0 where the dimension has one node.
    """

    grid: Grid
    bandwidth: FloatArray
    latency: FloatArray

    def distances(self, coordinates: IntArray, step: FloatArray) -> FloatArray:
        """Length of the shortest way over coordinate differences [..., dimensions].

        Parameters
        ----------
        coordinates : int array [..., dimensions]
            Differences of coordinates.
        step : float array [dimensions]
            Length of a link of each dimension.
        """
        lengths = np.asarray(self.grid.shape)
        apart = np.abs(coordinates)
        apart = np.where(self.grid.wrap, np.minimum(apart, lengths - apart), apart)
        return np.asarray(apart @ step, dtype=float)

    def span(self, step: FloatArray) -> float:
        """The largest distance between two accelerators."""
        lengths = np.asarray(self.grid.shape)
        return float(np.where(self.grid.wrap, lengths // 2, lengths - 1) @ step)

    def total(self, step: FloatArray) -> float:
        """Sum of distances over all ordered pairs of accelerators.

        Along a path of L nodes the distances add up to L(L^2-1)/3, around a ring to L floor(L^2/4); each pair
        of coordinates occurs (N/L)^2 times.
        """
        nodes, sum_ = self.grid.size, 0.0
        for length, wraps, one in zip(self.grid.shape, self.grid.wrap, step, strict=True):
            along = length * (length**2 // 4) if wraps else length * (length**2 - 1) // 3
            sum_ += along * (nodes / length) ** 2 * float(one)
        return sum_


def lattice_of(fabric: Fabric) -> Lattice | None:
    """The fabric as a lattice, or None when it is none that is recognised."""
    if "lattice" not in fabric.cache:
        fabric.cache["lattice"] = _lattice(fabric)
    found: Lattice | None = fabric.cache["lattice"]
    return found


def _lattice(fabric: Fabric) -> Lattice | None:
    if len(fabric.nodes) != fabric.ranks:
        return None
    grids = [] if fabric.grid is None else [fabric.grid]
    for grid in (*grids, Grid((fabric.ranks,), (True,))):
        cyclic = all(wraps or length <= 2 for length, wraps in zip(grid.shape, grid.wrap, strict=True))
        if cyclic and (found := _lattice_on(fabric, grid)) is not None:
            return found
    return None


def _lattice_on(fabric: Fabric, grid: Grid) -> Lattice | None:
    """The lattice of Z^d modulo the wraps (and twists) of a grid."""
    twist = np.zeros((len(grid.shape),) * 2, dtype=np.int64)
    if grid.twist:
        twist[:] = grid.twist
    twisting = twist.any(axis=1)
    if twist[:, twisting].any():
        return None  # a wrap that shifts a coordinate which itself shifts others
    moved = _differences(fabric, grid)
    # Going k steps along dimension d is the same as the twist of d: take it off, twisting dimensions first.
    for d in (*np.flatnonzero(twisting), *np.flatnonzero(~twisting)):
        turns = moved[:, d] // grid.shape[d]
        moved[:, d] -= turns * grid.shape[d]
        moved += turns[:, None] * twist[d]
    code = np.ravel_multi_index(tuple(moved.T), grid.shape)
    classes, first, link_class, count = np.unique(code, True, True, True)
    bandwidth, latency = fabric.bandwidth[first], fabric.latency[first]
    alike = np.allclose(fabric.bandwidth, bandwidth[link_class], rtol=1e-12, atol=0)
    if (count != fabric.ranks).any() or not alike or (fabric.latency != latency[link_class]).any():
        return None
    displacement = np.stack(np.unravel_index(classes, grid.shape), axis=-1)
    return Lattice(grid.shape, displacement, link_class, bandwidth, latency)


def _differences(fabric: Fabric, grid: Grid) -> IntArray:
    """Coordinates of the target less those of the source of each link, where all nodes are accelerators."""
    place = grid.coordinates(np.arange(grid.size))
    rank = fabric.rank_of_node
    return np.asarray(place[rank[fabric.target]] - place[rank[fabric.source]])


def uniform_grid(fabric: Fabric) -> UniformGrid | None:
    """The fabric as a grid with equal links within each dimension, or None."""
    if "uniform grid" not in fabric.cache:
        fabric.cache["uniform grid"] = _uniform_grid(fabric)
    found: UniformGrid | None = fabric.cache["uniform grid"]
    return found


def _uniform_grid(fabric: Fabric) -> UniformGrid | None:
    grid = fabric.grid
    if grid is None or grid.twisted or len(fabric.nodes) != fabric.ranks:
        return None
    plain = _uniform_torus(fabric, grid)
    if plain is not None:
        return plain
    shape = np.asarray(grid.shape)
    moved = _differences(fabric, grid)
    wraps = np.asarray(grid.wrap) & (shape > 2)
    around = wraps & (np.abs(moved) == shape - 1)
    moved = np.where(around, -np.sign(moved), moved)
    if (np.abs(moved).sum(axis=1) != 1).any():
        return None
    along = np.abs(moved).argmax(axis=1)
    # Links of each dimension, both directions together: a closed dimension has one more link per line.
    lines = grid.size // shape
    expected = 2 * lines * np.where(wraps, shape, shape - 1)
    if (np.bincount(along, minlength=len(shape)) != expected).any():
        return None
    bandwidth, latency = np.zeros(len(shape)), np.zeros(len(shape))
    bandwidth[along], latency[along] = fabric.bandwidth, fabric.latency
    alike = np.allclose(fabric.bandwidth, bandwidth[along], rtol=1e-12, atol=0)
    if not alike or (fabric.latency != latency[along]).any():
        return None
    return UniformGrid(grid, bandwidth, latency)


def _uniform_torus(fabric: Fabric, grid: Grid) -> UniformGrid | None:
    """The same of a torus, told by the orbits of its links, which simulation needs too."""
    orbits = link_orbits(fabric, grid) if all(grid.wrap) and min(grid.shape) > 2 else None
    if orbits is None or len(orbits.first) != 2 * len(grid.shape):
        return None
    rank = fabric.rank_of_node
    near, far = (grid.coordinates(rank[end[orbits.first]]) for end in (fabric.source, fabric.target))
    along = (near != far).argmax(axis=1)
    if ((near != far).sum(axis=1) != 1).any():
        return None
    pairs = orbits.first[np.argsort(along, kind="stable")].reshape(len(grid.shape), 2)
    for of_links in (fabric.bandwidth, fabric.latency):
        if (of_links[pairs[:, 0]] != of_links[pairs[:, 1]]).any():
            return None
    return UniformGrid(grid, fabric.bandwidth[pairs[:, 0]], fabric.latency[pairs[:, 0]])


def twin_classes(fabric: Fabric, members: IntArray) -> IntArray:
    """Class of each of some accelerators, numbered from 0: twins have the same links to the same nodes.

    Parameters
    ----------
    members : int array [members]
        Nodes.

    Notes
    -----
    Only fabrics in which all members have equally many links are looked at; elsewhere everyone is alone.
    """
    alone = np.arange(len(members))
    rows = []
    for (pointer, order), ends in ((fabric.outgoing, fabric.target), (fabric.incoming, fabric.source)):
        degrees = pointer[members + 1] - pointer[members]
        if not len(degrees) or (degrees != degrees[0]).any() or int(degrees.sum()) > _MOST_LINKS:
            return alone
        links = order[pointer[members][:, None] + np.arange(degrees[0])]
        by_end = np.take_along_axis(links, np.argsort(ends[links], axis=1, kind="stable"), axis=1)
        rows += [ends[by_end].astype(float), fabric.bandwidth[by_end], fabric.latency[by_end]]
    signature = np.ascontiguousarray(np.concatenate(rows, axis=1))
    flat = signature.view([("", np.void, signature.shape[1] * 8)]).ravel()
    return np.asarray(np.unique(flat, return_inverse=True)[1])
