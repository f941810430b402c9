"""Translations: the shifts of a grid that leave a fabric as it is.

On a torus, a twisted torus, a rack or a rail cluster every accelerator sees the same network.  Then a transfer
pattern that is the same at every rank needs only its form at one rank: transfers fall into classes by their
shift, links into orbits, and nothing of the size of all pairs is ever built.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from topo.fabric import Fabric, Grid, IntArray
from topo.hashing import Colours, mix
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
    link (:func:`link_image`), so the answer does not rest on how the fabric was built.
    """
    if grid.size != fabric.ranks:
        return None
    key = ("orbits", grid)
    if key not in fabric.cache:
        fabric.cache[key] = _orbits(fabric, grid)
    found: Orbits | None = fabric.cache[key]
    return found


def _orbits(fabric: Fabric, grid: Grid) -> Orbits | None:
    plain = _torus_orbits(fabric, grid)
    if plain is not None:
        return plain
    images: list[tuple[IntArray, int]] = []
    for d in grid.dimensions:
        shift = np.zeros(len(grid.shape), dtype=np.int64)
        shift[d] = 1
        image = link_image(fabric, shifted(grid, np.arange(grid.size), shift))
        if image is None:
            return None
        images.append((image, grid.size))
    return cycles(fabric.links, images)


def _torus_orbits(fabric: Fabric, grid: Grid) -> Orbits | None:
    """Orbits of a plain torus whose links are alike in each direction, told by looking at each link once."""
    count = grid.size
    closed = all(wrap or length == 1 for wrap, length in zip(grid.wrap, grid.shape, strict=True))
    if fabric.grid != grid or grid.twisted or not closed or len(fabric.nodes) != count:
        return None
    if not np.array_equal(fabric.accelerators, np.arange(count)):
        return None
    in_order = _node_by_node(fabric, grid)
    if in_order is not None:
        return in_order
    of_link = np.full(fabric.links, -1, dtype=np.int64)
    stride, orbits = count, 0
    step = fabric.target - fabric.source
    for length in grid.shape:
        stride //= length
        if length == 1:
            continue
        place = fabric.source // stride % length
        for edge, onward in ((length - 1, stride), (0, -stride))[: 1 if length == 2 else 2]:
            along = step == np.where(place == edge, onward * (1 - length), onward)
            links = np.flatnonzero(along)
            if len(links) != count or (of_link[links] >= 0).any():
                return None
            for what in (fabric.bandwidth, fabric.latency, fabric.cables):
                if (what[links] != what[links[0]]).any():
                    return None
            of_link[links] = orbits
            orbits += 1
    if (of_link < 0).any():
        return None
    first = np.full(orbits, fabric.links, dtype=np.int64)
    np.minimum.at(first, of_link, np.arange(fabric.links))
    return Orbits(of_link, first, np.full(orbits, count, dtype=np.int64))


def _node_by_node(fabric: Fabric, grid: Grid) -> Orbits | None:
    """The same where the links stand node by node and dimension by dimension, all those of a dimension alike."""
    count = grid.size
    long = [d for d in grid.dimensions if grid.shape[d] > 2]
    if len(long) < len(grid.dimensions) or fabric.links != 2 * len(long) * count:
        return None
    width = 2 * len(long)
    source, target, of_link = (
        x.reshape(count, width) for x in (fabric.source, fabric.target, np.empty(fabric.links, np.int64))
    )
    nodes = np.arange(count)
    if (source != nodes[:, None]).any():
        return None
    for place, d in enumerate(long):
        pair = slice(2 * place, 2 * place + 2)
        up, down = (np.roll(nodes.reshape(grid.shape), -step, axis=d).ravel() for step in (1, -1))
        near, far = target[:, 2 * place], target[:, 2 * place + 1]
        if (near != np.minimum(up, down)).any() or (far != np.maximum(up, down)).any():
            return None
        for of_links in (fabric.bandwidth, fabric.latency, fabric.cables):
            here = of_links.reshape(count, width)[:, pair]
            if (here != here[0, 0]).any():
                return None
        of_link[:, 2 * place] = 2 * place + (near != up)
        of_link[:, 2 * place + 1] = 2 * place + (far != up)
    # Every orbit has one link of the first node.
    return Orbits(of_link.ravel(), np.argsort(of_link[0]), np.full(width, count, dtype=np.int64))


def block_orbits(fabric: Fabric, block: int) -> tuple[Orbits, IntArray] | None:
    """Orbits of the links under the turn of all ranks by ``block`` places, and that turn as a map of links.

    None when the turn is no symmetry of the fabric.  A cluster of equal domains is often symmetric in this way where
    its domains by themselves have no translations: then a domain, or the domains of a scalable unit, are a block.
    """
    key = ("block orbits", block)
    if key not in fabric.cache:
        image = link_image(fabric, (np.arange(fabric.ranks) + block) % fabric.ranks)
        fabric.cache[key] = (
            None if image is None else (cycles(fabric.links, [(image, fabric.ranks // block)]), image)
        )
    found: tuple[Orbits, IntArray] | None = fabric.cache[key]
    return found


def cycles(links: int, images: Sequence[tuple[IntArray, int]]) -> Orbits:
    """Orbits under the group that some maps generate, each given with its order."""
    label = np.arange(links)
    while True:
        before = label
        for image, order in images:
            if (label == label[image]).all():
                continue
            # The smallest label on each cycle, by repeated doubling of the step.
            for _ in range(int(np.ceil(np.log2(order))) + 1):
                label = np.minimum(label, label[image])
                image = image[image]
        # Once over maps that commute is enough; those of switches that are twins need not.
        if (label == before).all():
            break
    fresh = label == np.arange(links)
    first = np.flatnonzero(fresh)
    of_link = (np.cumsum(fresh) - 1)[label]
    return Orbits(of_link, first, np.bincount(of_link, minlength=len(first)))


def link_image(fabric: Fabric, rank_image: IntArray) -> IntArray | None:
    """Where a map of ranks takes every link; None unless it is a symmetry of the fabric.

    Parameters
    ----------
    rank_image : int array [ranks]
        Where each rank goes; a permutation.

    Notes
    -----
    Checked link by link: bandwidth, latency and cables, what switches can do, and which ranks share a domain.
    """
    moved = _extended(fabric, rank_image)
    if moved is None or not _keeps_domains(fabric, rank_image):
        return None
    image = fabric.links_between(moved[fabric.source], moved[fabric.target])
    if (image < 0).any() or (np.bincount(image, minlength=fabric.links) != 1).any():
        return None
    for of_links in (fabric.bandwidth, fabric.latency, fabric.cables, fabric.scale_out):
        if (of_links != of_links[image]).any():
            return None
    for of_nodes in (fabric.kind, fabric.multicast, fabric.reduce, fabric.adds_and_copies):
        if (of_nodes != of_nodes[moved]).any():
            return None
    return image


def _keeps_domains(fabric: Fabric, rank_image: IntArray) -> bool:
    image = np.zeros(fabric.domains, dtype=np.int64)
    image[fabric.domain] = fabric.domain[rank_image]
    one_to_one = len(np.unique(image)) == len(image)
    return one_to_one and bool((image[fabric.domain] == fabric.domain[rank_image]).all())


def _extended(fabric: Fabric, rank_image: IntArray) -> IntArray | None:
    """A map of all nodes that agrees with a map of ranks; None when switches do not follow."""
    image = np.full(len(fabric.nodes), -1, dtype=np.int64)
    image[fabric.accelerators] = fabric.accelerators[rank_image]
    if not _some_links_follow(fabric, image):
        return None
    while (image < 0).any():
        known = image >= 0
        between = np.flatnonzero(known[fabric.source] & ~known[fabric.target])
        if not len(between):
            return None
        node, behind = fabric.target[between], fabric.source[between]
        here = _signatures(fabric, between, node, behind)
        there = _signatures(fabric, between, node, image[behind])
        frontier = np.unique(node)
        order_here = frontier[np.argsort(here[frontier], kind="stable")]
        order_there = frontier[np.argsort(there[frontier], kind="stable")]
        if (here[order_here] != there[order_there]).any():
            return None
        image[order_there] = order_here
    return image


def _some_links_follow(fabric: Fabric, image: IntArray) -> bool:
    """Whether a sample of the links between mapped nodes has images: a quick way to say no."""
    some = np.linspace(0, fabric.links - 1, min(fabric.links, 512)).astype(np.int64)
    source, target = image[fabric.source[some]], image[fabric.target[some]]
    known = (source >= 0) & (target >= 0)
    return bool((fabric.links_between(source[known], target[known]) >= 0).all())


def _signatures(fabric: Fabric, links: IntArray, node: IntArray, neighbour: IntArray) -> Colours:
    """A hash, by node, of neighbours and the links from them; equal sets have equal hashes."""
    with np.errstate(over="ignore"):
        value = mix(neighbour.astype(np.uint64))
        value = mix(value + fabric.bandwidth[links].view(np.uint64))
        value = mix(value + fabric.latency[links].view(np.uint64))
        # Sums in two halves: bincount adds in floating point, which is exact below 2^53.
        low, high = (
            np.bincount(node, half.astype(float), len(fabric.nodes)).astype(np.uint64)
            for half in (value & np.uint64(0xFFFFFFFF), value >> np.uint64(32))
        )
        return mix(low + mix(high))


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
    of_first = np.flatnonzero(fabric.source == nodes[0])
    for d in grid.dimensions:
        length = grid.shape[d]
        ahead = shifts[:, d]
        if ahead.min(initial=0) < 0 or ahead.max(initial=0) >= length:
            ahead = ahead % length
        ways = []
        for direction in (1, -1):
            onward = grid.neighbours(np.zeros(1, dtype=np.int64), d, direction)
            ways.append(int(of_first[fabric.target[of_first] == nodes[onward]][0]))
        # Everything there is to know of a displacement, by its length ahead.
        far = np.arange(length)
        back = length - far
        up = np.where(2 * far < length, far, np.where(2 * far == length, far / 2, 0.0))
        down = np.where(2 * far > length, back, np.where(2 * far == length, far / 2, 0.0))
        for link, hops in zip(ways, (up, down), strict=True):
            used = np.flatnonzero((hops > 0)[ahead])
            orbit = orbits.of_link[link]
            rows.append(used)
            links.append(np.full(len(used), orbit))
            loads.append((hops * grid.size / orbits.size[orbit])[ahead[used]])
        slower = np.maximum(
            np.where(up > 0, fabric.latency[ways[0]], 0.0), np.where(down > 0, fabric.latency[ways[1]], 0.0)
        )
        latency += (slower * np.minimum(far, back))[ahead]
    return routes_from_entries(
        count, np.concatenate(rows), np.concatenate(links), np.concatenate(loads), latency, len(orbits.size)
    )
