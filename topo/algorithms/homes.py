"""Recognising the plain fabrics on which closed forms hold.

A closed form is exact only where its assumptions are: a star of equal ports, rings of equal links.  Each function
here returns the numbers that the formulas need, or None.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from topo.algorithms.registry import Site
from topo.fabric import SWITCH, Fabric


@dataclass(frozen=True)
class Link:
    """What a formula knows of a path: latency in seconds and bandwidth in bytes/s."""

    latency: float
    bandwidth: float

    def time(self, bytes: float) -> float:
        """Seconds for a message that has the path for itself."""
        return self.latency + bytes / self.bandwidth


def star(site: Site) -> Link | None:
    """Port of a star: one switch, one equal full-duplex link to each rank; the latency is that of a path."""
    fabric = site.fabric
    if "star" not in fabric.cache:
        fabric.cache["star"] = _star(fabric)
    found: Link | None = fabric.cache["star"]
    return found


def _star(fabric: Fabric) -> Link | None:
    if len(fabric.nodes) != fabric.ranks + 1 or not (fabric.kind == SWITCH).any():
        return None
    hub = int(np.flatnonzero(fabric.kind == SWITCH)[0])
    spokes = ((fabric.source == hub) | (fabric.target == hub)).all()
    if not spokes or fabric.links != 2 * fabric.ranks or not _uniform(fabric):
        return None
    return Link(2 * float(fabric.latency[0]), float(fabric.bandwidth[0]))


def _uniform(fabric: Fabric) -> bool:
    return bool(
        (fabric.bandwidth == fabric.bandwidth[0]).all() and (fabric.latency == fabric.latency[0]).all()
    )


def torus(site: Site) -> tuple[Link, ...] | None:
    """Links of the dimensions of a whole, healthy, plain torus, one per dimension longer than one node."""
    fabric, grid = site.fabric, site.grid
    if (
        grid is None
        or grid.twisted
        or not all(w or k == 1 for w, k in zip(grid.wrap, grid.shape, strict=True))
    ):
        return None
    if "torus" not in fabric.cache:
        fabric.cache["torus"] = _torus(fabric)
    found: tuple[Link, ...] | None = fabric.cache["torus"]
    return found


def _torus(fabric: Fabric) -> tuple[Link, ...] | None:
    grid = fabric.grid
    if grid is None or len(fabric.nodes) != fabric.ranks:
        return None
    node = fabric.accelerators
    found: list[Link] = []
    for dimension in grid.dimensions:
        links = []
        for direction in (1, -1):
            onward = grid.neighbours(np.arange(grid.size), dimension, direction)
            links.append(fabric.links_between(node, node[onward]))
        link = np.concatenate(links)
        if (link < 0).any():
            return None
        speed, latency = fabric.bandwidth[link], fabric.latency[link]
        if (speed != speed[0]).any() or (latency != latency[0]).any():
            return None
        found.append(Link(float(latency[0]), float(speed[0])))
    return tuple(found)


def ring(site: Site) -> Link | None:
    """Link of a whole one-dimensional ring of at least three ranks."""
    links = torus(site)
    if links is None or len(links) != 1 or len(site.ranks) < 3:
        return None
    return links[0]


def full_mesh(site: Site) -> Link | None:
    """Link of a full mesh: an equal link between any two accelerators, and nothing else."""
    fabric = site.fabric
    if (
        len(fabric.nodes) != fabric.ranks
        or fabric.links != fabric.ranks * (fabric.ranks - 1)
        or not _uniform(fabric)
    ):
        return None
    return Link(float(fabric.latency[0]), float(fabric.bandwidth[0]))


def line(site: Site) -> Link | None:
    """Link of a whole line of equal links, ranks in order."""
    fabric = site.fabric
    n = len(site.ranks)
    if not site.whole or len(fabric.nodes) != n or fabric.links != 2 * (n - 1) or not _uniform(fabric):
        return None
    node = fabric.accelerators
    return (
        None
        if (fabric.links_between(node[:-1], node[1:]) < 0).any()
        else Link(float(fabric.latency[0]), float(fabric.bandwidth[0]))
    )
