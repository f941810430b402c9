"""Symmetries of a fabric with a group of ranks: which nodes and links are interchangeable.

A linear program whose data do not change under a group of automorphisms has an optimum that does not change
either (average any optimum over the group), so one variable for each orbit of links is enough.  Candidates for
automorphisms are guessed from the order of the ranks, and each is verified link by link before it is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from topo.bounds.group import Group
from topo.bounds.symmetry import lattice_of, twin_classes
from topo.fabric import Fabric, FloatArray, IntArray

_MOST_CANDIDATES = 64
_ROUNDS = 8
_MOST_LINKS = 300_000
"""Links up to which permutations of ranks are tried."""


@dataclass(frozen=True, eq=False)
class Orbits:
    """Nodes and links by orbit.

    Parameters
    ----------
    node, link : int arrays [nodes], [links]
        Orbit of each, numbered from 0.
    """

    node: IntArray
    link: IntArray

    @cached_property
    def nodes(self) -> int:
        """Number of node orbits."""
        return int(self.node.max()) + 1

    @cached_property
    def links(self) -> int:
        """Number of link orbits."""
        return int(self.link.max()) + 1

    @cached_property
    def first_node(self) -> IntArray:
        """One node of each orbit."""
        return np.unique(self.node, return_index=True)[1]

    @cached_property
    def first_link(self) -> IntArray:
        """One link of each orbit."""
        return np.unique(self.link, return_index=True)[1]

    @cached_property
    def link_count(self) -> IntArray:
        """Links of each orbit."""
        return np.bincount(self.link)


@dataclass(frozen=True, eq=False)
class Automorphism:
    """A verified symmetry: where each node and each link goes."""

    node: IntArray
    link: IntArray


@dataclass(frozen=True, eq=False)
class Symmetry:
    """A group of automorphisms of a fabric that maps members to members.

    Parameters
    ----------
    group : Group
    twins : int array [nodes]
        Nodes with the same number may be exchanged freely.
    generators : tuple of Automorphism
    translations : int array [links] or None
        On a lattice, the class of each link under translations; all nodes are then alike.
    """

    group: Group
    twins: IntArray
    generators: tuple[Automorphism, ...]
    translations: IntArray | None

    @cached_property
    def orbits(self) -> Orbits:
        """Orbits under the whole group."""
        found = self._joined(self.twins, self.generators)
        if self.translations is None:
            return found
        link = _connected(len(self.translations), [found.link, self.translations], [])
        return Orbits(np.zeros(len(found.node), dtype=np.int64), link)

    def stabiliser(self, node: int) -> Orbits:
        """Orbits under the known automorphisms that leave a node in its place."""
        twins = self.twins.copy()
        twins[node] = twins.max() + 1
        return self._joined(twins, tuple(one for one in self.generators if one.node[node] == node))

    def _joined(self, twins: IntArray, generators: tuple[Automorphism, ...]) -> Orbits:
        fabric = self.group.fabric
        pairs = twins[fabric.source] * (int(twins.max()) + 1) + twins[fabric.target]
        return Orbits(
            _connected(len(fabric.nodes), [twins], [one.node for one in generators]),
            _connected(fabric.links, [pairs], [one.link for one in generators]),
        )

    @cached_property
    def senders(self) -> tuple[IntArray, FloatArray]:
        """One rank of each orbit of members, and the number of ranks in the orbit."""
        _, first, count = np.unique(self.orbits.node[self.group.nodes], return_index=True, return_counts=True)
        return first, count.astype(float)


def _connected(count: int, labels: list[IntArray], maps: list[IntArray]) -> IntArray:
    """Number the classes of the finest partition that keeps equal labels, and a thing and its image, together."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    things = np.arange(count)
    rows, columns = [things], [things]
    for label in labels:
        _, first, back = np.unique(label, return_index=True, return_inverse=True)
        rows.append(things)
        columns.append(first[back])
    for image in maps:
        rows.append(things)
        columns.append(image)
    row, column = np.concatenate(rows), np.concatenate(columns)
    graph = coo_array((np.ones(len(row), dtype=np.int8), (row, column)), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def symmetry_of(group: Group) -> Symmetry:
    """The symmetries that are found: translations of a lattice, twins, and verified permutations of ranks."""
    key = ("symmetry", group.key)
    if key not in group.fabric.cache:
        group.fabric.cache[key] = _symmetry(group)
    found: Symmetry = group.fabric.cache[key]
    return found


def no_symmetry(group: Group) -> Symmetry:
    """Every node and link for itself."""
    return Symmetry(group, np.arange(len(group.fabric.nodes)), (), None)


def _symmetry(group: Group) -> Symmetry:
    fabric = group.fabric
    twins = np.arange(len(fabric.nodes))
    others = np.flatnonzero(~group.member[fabric.accelerators])
    offset = len(fabric.nodes)
    for some in (group.nodes, fabric.accelerators[others]):
        if len(some):
            twins[some] = offset + twin_classes(fabric, some)
            offset = int(twins.max()) + 1
    lattice = lattice_of(fabric) if group.whole else None
    generators = []
    for image in _candidates(group) if fabric.links <= _MOST_LINKS else ():
        if (found := automorphism(group, image)) is not None:
            generators.append(found)
    return Symmetry(group, twins, tuple(generators), None if lattice is None else lattice.link_class)


# --------------------------------------------------------------------------------------------- candidates


def _candidates(group: Group) -> Iterator[IntArray]:
    """Permutations of the fabric's ranks that may be symmetries."""
    fabric = group.fabric
    n = fabric.ranks
    ranks = np.arange(n)
    if fabric.grid is not None:
        yield from _of_grid(fabric)
        return
    if len(fabric.nodes) == n:
        yield -ranks % n
        yield np.where(ranks == 0, 0, ranks % (n - 1) + 1)
        return
    blocks = [g for g in range(1, n + 1) if n % g == 0]
    for g in blocks[: _MOST_CANDIDATES // 4]:
        block, place, count = ranks // g, ranks % g, n // g
        if count > 1:
            yield (block + 1) % count * g + place
        if count > 2:
            yield np.where(block == 0, 0, block % (count - 1) + 1) * g + place
        if 1 < g < n:
            yield block * g + (place + 1) % g
        if 2 < g < n:
            yield block * g + np.where(place == 0, 0, place % (g - 1) + 1)


def _of_grid(fabric: Fabric) -> Iterator[IntArray]:
    """Reflections of a grid, exchanges of dimensions of one length, and the turn of everything."""
    grid = fabric.grid
    assert grid is not None
    shape = np.asarray(grid.shape)
    place = grid.coordinates(np.arange(grid.size))
    for d in grid.dimensions:
        turned = place.copy()
        # Around a torus keep node 0 in its place; a mesh turns end for end.
        turned[:, d] = -place[:, d] % shape[d] if grid.wrap[d] else shape[d] - 1 - place[:, d]
        yield grid.numbers(turned)
    for d in grid.dimensions:
        for e in grid.dimensions:
            if d < e and shape[d] == shape[e]:
                order = np.arange(len(shape))
                order[[d, e]] = e, d
                yield grid.numbers(place[:, order])
    if grid.twisted:
        turned = -place
        twist = np.asarray(grid.twist)
        for d in sorted(range(len(shape)), key=lambda d: not twist[d].any()):
            turns = turned[:, d] // shape[d]
            turned[:, d] -= turns * shape[d]
            turned += turns[:, None] * twist[d]
        yield grid.numbers(turned % shape)


def automorphism(group: Group, image: IntArray) -> Automorphism | None:
    """Extend a permutation of the fabric's ranks to switches and links, or None when it is no symmetry.

    Parameters
    ----------
    image : int array [fabric.ranks]
        Where each rank goes.
    """
    fabric = group.fabric
    if not (group.member[fabric.accelerators] == group.member[fabric.accelerators[image]]).all():
        return None
    goes = np.full(len(fabric.nodes), -1, dtype=np.int64)
    goes[fabric.accelerators] = fabric.accelerators[image]
    if len(fabric.nodes) > fabric.ranks:
        before = np.zeros(len(fabric.nodes))
        before[fabric.accelerators] = np.arange(fabric.ranks) + 1.0
        after = np.zeros(len(fabric.nodes))
        after[goes[fabric.accelerators]] = np.arange(fabric.ranks) + 1.0
        old, new = _colours(fabric, before), _colours(fabric, after)
        a, b = np.argsort(old, kind="stable"), np.argsort(new, kind="stable")
        goes[a] = b
        if (goes[fabric.accelerators] != fabric.accelerators[image]).any():
            return None
    same = all((quality == quality[goes]).all() for quality in (fabric.kind, fabric.multicast, fabric.reduce))
    link = fabric.links_between(goes[fabric.source], goes[fabric.target])
    if not same or (link < 0).any():
        return None
    alike = np.allclose(fabric.bandwidth, fabric.bandwidth[link], rtol=1e-12, atol=0)
    if not alike or (fabric.latency != fabric.latency[link]).any():
        return None
    return Automorphism(goes, link)


def _colours(fabric: Fabric, start: FloatArray) -> FloatArray:
    """Colours that tell nodes apart by their neighbours' colours; accelerators keep theirs."""
    colour = np.sin(start * 12.9898) * 43758.5453
    colour -= np.floor(colour)
    kept = colour[fabric.accelerators].copy()
    width = fabric.bandwidth / fabric.bandwidth.max()
    for _ in range(_ROUNDS):
        nodes = len(fabric.nodes)
        given = np.bincount(fabric.target, np.sin(colour[fabric.source] * 78.233 + width), nodes)
        taken = np.bincount(fabric.source, np.cos(colour[fabric.target] * 37.719 + width), nodes)
        mixed = np.round(colour + given + np.sqrt(2) * taken, 9)
        known = len(np.unique(np.round(colour, 9)))
        colour = np.round(np.sin(mixed), 9)
        colour[fabric.accelerators] = kept
        if len(np.unique(colour)) == known:
            break
    return colour
