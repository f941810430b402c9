"""Translations: the shifts of a grid that leave a fabric as it is.

On a torus, a twisted torus, a rack or a rail cluster every accelerator sees the same network.  Then a transfer
pattern that is the same at every rank needs only its form at one rank: transfers fall into classes by their
shift, links into orbits, and nothing of the size of all pairs is ever built.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from topo.fabric import Fabric, FloatArray, Grid, IntArray
from topo.routing import Routes, find_routes, routes_from_entries


@dataclass(frozen=True, eq=False)
class Orbits:
    """Links by orbit under all translations.

    Parameters
    ----------
    of_link : int array [links]
        Orbit of each link.
    first : int array [orbits]
        A link of each orbit.
    size : int array [orbits]
        Links in each orbit.
    """

    of_link: IntArray
    first: IntArray
    size: IntArray


def shifted(grid: Grid, nodes: IntArray, shift: IntArray) -> IntArray:
    """Where translations take nodes.

    Parameters
    ----------
    grid : Grid
        Its wraps are taken as closed; twists carry into other coordinates.
    nodes : int array [...]
        Row-major numbers.
    shift : int array [..., dimensions]
        Displacements, of any sign and size.
    """
    place = grid.coordinates(np.asarray(nodes)) + shift
    shape = np.asarray(grid.shape)
    if grid.twisted:
        twist = np.asarray(grid.twist)
        for d in np.argsort(~np.asarray([any(row) for row in grid.twist]), kind="stable"):
            turns = place[..., d] // shape[d]
            place[..., d] -= turns * shape[d]
            place += turns[..., None] * twist[d]
    return grid.numbers(place % shape)


def link_orbits(fabric: Fabric, grid: Grid) -> Orbits | None:
    """Orbits of the links when every translation of ``grid`` leaves the fabric as it is; else None.

    Parameters
    ----------
    fabric : Fabric
    grid : Grid
        Coordinates of all accelerators in rank order.

    Notes
    -----
    Each generating translation is extended from accelerators to switches layer by layer (a switch goes where its
    already mapped neighbours go; twins, such as the planes of a rack, keep their order) and then checked link by
    link, so the answer does not rest on how the fabric was built.
    """
    if grid.size != fabric.ranks:
        return None
    key = ("orbits", grid)
    if key not in fabric.cache:
        fabric.cache[key] = _orbits(fabric, grid)
    found: Orbits | None = fabric.cache[key]
    return found


def _orbits(fabric: Fabric, grid: Grid) -> Orbits | None:
    label = np.arange(fabric.links)
    for d in grid.dimensions:
        shift = np.zeros(len(grid.shape), dtype=np.int64)
        shift[d] = 1
        moved = _extended(fabric, shifted(grid, np.arange(grid.size), shift))
        if moved is None:
            return None
        image = fabric.links_between(moved[fabric.source], moved[fabric.target])
        if (image < 0).any() or len(np.unique(image)) != len(image):
            return None
        for what in (fabric.bandwidth, fabric.latency, fabric.cables):
            if (what != what[image]).any():
                return None
        # The smallest label on each cycle, by repeated doubling of the step.
        for _ in range(int(np.ceil(np.log2(grid.size))) + 1):
            label = np.minimum(label, label[image])
            image = image[image]
    first, of_link, size = np.unique(label, return_inverse=True, return_counts=True)
    return Orbits(of_link, first, size)


def _extended(fabric: Fabric, rank_image: IntArray) -> IntArray | None:
    """A map of all nodes that agrees with a map of ranks; None when switches do not follow."""
    image = np.full(len(fabric.nodes), -1, dtype=np.int64)
    image[fabric.accelerators] = fabric.accelerators[rank_image]
    while (image < 0).any():
        known = image >= 0
        between = known[fabric.source] & ~known[fabric.target]
        if not between.any():
            return None
        node, behind = fabric.target[between], fabric.source[between]
        weight = np.stack([fabric.bandwidth[between], fabric.latency[between]], axis=1)
        here = _signatures(node, behind, weight)
        there = _signatures(node, image[behind], weight)
        waiting: dict[tuple[tuple[float, ...], ...], list[int]] = {}
        for name in sorted(here):
            waiting.setdefault(here[name], []).append(name)
        for name in sorted(there):
            goals = waiting.get(there[name])
            if not goals:
                return None
            image[name] = goals.pop(0)
    return image


def _signatures(
    node: IntArray, neighbour: IntArray, weight: FloatArray
) -> dict[int, tuple[tuple[float, ...], ...]]:
    found: dict[int, list[tuple[float, ...]]] = {}
    for name, other, (bandwidth, latency) in zip(
        node.tolist(), neighbour.tolist(), weight.tolist(), strict=True
    ):
        found.setdefault(name, []).append((other, bandwidth, latency))
    return {name: tuple(sorted(entries)) for name, entries in found.items()}


def orbit_routes(
    fabric: Fabric, grid: Grid, orbits: Orbits, shifts: IntArray, policy: str = "auto"
) -> Routes:
    """Routes of transfers by one shift each, with orbits in the place of links.

    Parameters
    ----------
    shifts : int array [transfers, dimensions]

    Returns
    -------
    Routes
        ``fraction`` is the load that one transfer from every rank puts on each link of the orbit.
    """
    plain = fabric.grid is not None and not grid.twisted and fabric.grid == grid
    by_dimension = (fabric.routing if policy == "auto" else policy) == "dimension-order"
    if plain and by_dimension and all(grid.wrap[d] for d in grid.dimensions):
        return _counted(fabric, grid, orbits, shifts)
    origin = np.zeros(len(shifts), dtype=np.int64)
    routes = find_routes(fabric, shifted(grid, origin, -shifts), origin, policy)
    ranks = grid.size
    return routes_from_entries(
        len(shifts),
        routes.rows(),
        orbits.of_link[routes.link],
        routes.fraction * ranks / orbits.size[orbits.of_link[routes.link]],
        routes.latency,
        len(orbits.size),
    )


def _counted(fabric: Fabric, grid: Grid, orbits: Orbits, shifts: IntArray) -> Routes:
    """Dimension-order routes on a torus, by counting hops instead of walking them."""
    count = len(shifts)
    nodes = fabric.accelerators
    rows, links, loads = [], [], []
    latency = np.zeros(count)
    for d in grid.dimensions:
        length = grid.shape[d]
        ahead = shifts[:, d] % length
        back = length - ahead
        ways = []
        for direction in (1, -1):
            onward = grid.neighbours(np.zeros(1, dtype=np.int64), d, direction)
            link = int(fabric.links_between(nodes[:1], nodes[onward])[0])
            ways.append(link)
        up = np.where(2 * ahead < length, ahead, np.where(2 * ahead == length, ahead / 2, 0.0))
        down = np.where(2 * ahead > length, back, np.where(2 * ahead == length, ahead / 2, 0.0))
        for link, hops in zip(ways, (up, down), strict=True):
            used = np.flatnonzero(hops)
            orbit = orbits.of_link[link]
            rows.append(used)
            links.append(np.full(len(used), orbit))
            loads.append(hops[used] * grid.size / orbits.size[orbit])
        slower = np.maximum(
            np.where(up > 0, fabric.latency[ways[0]], 0.0), np.where(down > 0, fabric.latency[ways[1]], 0.0)
        )
        latency += slower * np.minimum(ahead, back)
    return routes_from_entries(
        count, np.concatenate(rows), np.concatenate(links), np.concatenate(loads), latency, len(orbits.size)
    )
