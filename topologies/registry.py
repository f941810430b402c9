"""The bare topologies: a builder, the grammar of its shape, its keys, and small examples.

A new topology is one function in one file and one line here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from topo.errors import CatalogueError
from topo.fabric import Fabric
from topo.units import parse_count
from topologies import keys
from topologies.binary_tree import binary_tree
from topologies.dragonfly import dragonfly
from topologies.fat_tree import fat_tree
from topologies.full_mesh import full_mesh
from topologies.grid import large_mesh, large_torus, mesh, torus, twisted_torus
from topologies.hypercube import hypercube
from topologies.keys import BANDWIDTH, IN_NETWORK, LATENCY, MULTICAST, REDUCE, Key
from topologies.path import path
from topologies.rail import rail
from topologies.ring import ring
from topologies.switch import switch

_NUMBERS = re.compile(r"\d{1,9}(x\d{1,9})*", re.ASCII)


LARGE = 10_000
"""Nodes from which a family that can is compiled without its graph."""


@dataclass(frozen=True)
class Topology:
    """A family of fabrics.

    Parameters
    ----------
    name : str
        As in a system name.
    builder : callable
        Takes the shape and the keys; returns a networkx.DiGraph, or a Fabric already compiled.
    grammar : str
        The shape, for people: ``N`` or ``AxB[xC...]``.
    least, most : int
        How many numbers the shape has.
    keys : tuple of Key
        What may follow the shape.
    summary : str
        One line.
    examples : tuple of str
        Small fabrics of the family, whole names.
    spread : bool
        Whether the numbers of the shape are separate arguments of the builder, not one sequence.
    large : callable, optional
        Builds the same as a Fabric, without the graph, from :data:`LARGE` nodes on.
    """

    name: str
    builder: Callable[..., Any]
    grammar: str
    least: int
    most: int
    keys: tuple[Key, ...]
    summary: str
    examples: tuple[str, ...]
    spread: bool = True
    large: Callable[..., Fabric] | None = None

    def numbers(self, shape: str) -> tuple[int, ...]:
        """The numbers of a shape.

        Raises
        ------
        CatalogueError
            Missing, malformed, or of another number of dimensions.
        """
        hint = f"write {self.name}:{self.grammar}, for example {self.examples[0].partition(',')[0]}"
        if not shape:
            raise CatalogueError(f"{self.name} needs a shape", hint)
        if not _NUMBERS.fullmatch(shape):
            raise CatalogueError(f"{self.name}:{shape}: {shape!r} is no shape", hint)
        numbers = tuple(map(int, shape.split("x")))
        if not self.least <= len(numbers) <= self.most:
            raise CatalogueError(f"{self.name}:{shape}: wrong number of dimensions ({len(numbers)})", hint)
        return numbers

    def fabric(self, shape: str, options: Mapping[str, str], name: str = "") -> Fabric:
        """Build and compile.

        Parameters
        ----------
        shape : str
            What follows the colon.
        options : mapping
            Values by key.
        name : str
            Of the fabric.

        Raises
        ------
        TopoError
            A wrong shape, an unknown key, or a value out of range.
        """
        numbers = self.numbers(shape)
        arguments = keys.read(self.name, self.keys, options)
        built: Any
        if self.large is not None and math.prod(numbers) >= LARGE:
            built = self.large(numbers, **arguments)
        else:
            built = self.builder(*(numbers if self.spread else (numbers,)), **arguments)
        if isinstance(built, Fabric):
            return replace(built, name=name or built.name, cache={})
        return Fabric.from_networkx(built, name)


_BOTH = (BANDWIDTH, LATENCY)
_IN_NETWORK = (MULTICAST, REDUCE, IN_NETWORK)

TOPOLOGIES: dict[str, Topology] = {
    topology.name: topology
    for topology in (
        Topology(
            "path", path, "N", 1, 1, keys.per("link"), "a line", ("path:5", "path:3,bandwidth=10GB/s/4GB/s")
        ),
        Topology("ring", ring, "N", 1, 1, keys.per("cable"), "a circle", ("ring:5", "ring:2")),
        Topology(
            "switch",
            switch,
            "N",
            1,
            1,
            (*_BOTH, *_IN_NETWORK),
            "accelerators around one non-blocking switch",
            ("switch:6", "switch:4,in_network=true"),
        ),
        Topology("full-mesh", full_mesh, "N", 1, 1, _BOTH, "every pair has its own cable", ("full-mesh:5",)),
        Topology(
            "mesh",
            mesh,
            "AxB[xC...]",
            1,
            6,
            keys.per("dimension"),
            "a grid with open ends",
            ("mesh:3x4", "mesh:2x3x2"),
            spread=False,
            large=large_mesh,
        ),
        Topology(
            "torus",
            torus,
            "AxB[xC...]",
            1,
            6,
            keys.per("dimension"),
            "a grid with closed ends; a dimension of length 2 is two cables",
            ("torus:4x4", "torus:2x3x4", "torus:4x4,bandwidth=100GB/s/25GB/s"),
            spread=False,
            large=large_torus,
        ),
        Topology(
            "twisted-torus",
            twisted_torus,
            "AxBxC",
            3,
            3,
            keys.per("dimension"),
            "a torus KxKx2K or Kx2Kx2K whose short wraps land K further along the long dimensions",
            ("twisted-torus:2x2x4", "twisted-torus:2x4x4"),
            spread=False,
        ),
        Topology(
            "hypercube", hypercube, "D", 1, 1, keys.per("dimension"), "2**D accelerators", ("hypercube:3",)
        ),
        Topology(
            "binary-tree", binary_tree, "DEPTH", 1, 1, _BOTH, "accelerators in a tree", ("binary-tree:2",)
        ),
        Topology(
            "fat-tree",
            fat_tree,
            "LEAVESxHOSTS (leaf-spine) or K (three-tier k-ary, K**3/4 hosts)",
            1,
            2,
            (*_BOTH, keys.SPINES, keys.OVERSUBSCRIPTION),
            "leaf and spine switches",
            ("fat-tree:4x4,oversubscription=2", "fat-tree:4", "fat-tree:2x3"),
            spread=False,
        ),
        Topology(
            "dragonfly",
            dragonfly,
            "GROUPSxROUTERSxHOSTS",
            3,
            3,
            (
                *keys.per("class (host/local/global)"),
                Key(
                    "global_links",
                    parse_count,
                    "2",
                    "the fewest that join all groups",
                    "global ports of a router",
                ),
            ),
            "groups of fully joined routers, every two groups joined",
            ("dragonfly:5x2x2", "dragonfly:3x4x1,global_links=2"),
        ),
        Topology(
            "rail",
            rail,
            "NODESxGPUS",
            2,
            2,
            (
                *keys.per("class (node/rail)"),
                keys.NIC,
                keys.NIC_LATENCY,
                keys.SWITCH_LATENCY,
                *_IN_NETWORK,
                keys.UNIT,
                keys.SPINES,
                keys.OVERSUBSCRIPTION,
            ),
            "nodes of one switch each; accelerator r of every node on rail r",
            ("rail:3x4,bandwidth=400GB/s/50GB/s,latency=1us/3us", "rail:3x2,unit=1"),
        ),
    )
}
"""Bare topologies by name."""
