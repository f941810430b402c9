"""Builders by the names that catalogue files use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from topo.errors import CatalogueError
from topologies.dojo import dojo
from topologies.dragonfly import dragonfly
from topologies.explicit_edges import explicit_edges
from topologies.fat_tree import fat_tree
from topologies.full_mesh import full_mesh
from topologies.grid import mesh, torus, twisted_torus
from topologies.groq import dragonfly_groq_large, dragonfly_groq_small
from topologies.hypercube import hypercube
from topologies.ladder import ladder
from topologies.nvl36x2 import nvl36x2
from topologies.rail import rail_fat_tree
from topologies.ring import ring
from topologies.swarmx import swarmx_tree
from topologies.switched_planes import switched_planes
from topologies.trn3 import trn3
from topologies.ub_clos import ub_clos
from topologies.wafer import wafer


def hierarchical_mesh_unpublished(**_: Any) -> NoReturn:
    """Refuse to build a machine whose wiring nobody has published.

    Raises
    ------
    CatalogueError
        Always.
    """
    raise CatalogueError(
        "the wiring of this machine is unpublished", "state an assumption, such as an ideal switch"
    )


BUILD_RULES: dict[str, Callable[..., Any]] = {
    "dojo": dojo,
    "dragonfly": dragonfly,
    "dragonfly_groq_large": dragonfly_groq_large,
    "dragonfly_groq_small": dragonfly_groq_small,
    "explicit_edges": explicit_edges,
    "fat_tree": fat_tree,
    "full_mesh": full_mesh,
    "hierarchical_mesh_unpublished": hierarchical_mesh_unpublished,
    "hypercube": hypercube,
    "ladder": ladder,
    "mesh": mesh,
    "nvl36x2": nvl36x2,
    "rail_fat_tree": rail_fat_tree,
    "ring": ring,
    "swarmx_tree": swarmx_tree,
    "switched_planes": switched_planes,
    "torus": torus,
    "trn3": trn3,
    "twisted_torus": twisted_torus,
    "ub_clos": ub_clos,
    "wafer": wafer,
}
"""Each takes ``bandwidth`` (bytes/s of a link) and ``latency`` (s) beside its own parameters.

All return a networkx.DiGraph, but ``rail_fat_tree`` a compiled Fabric.
"""
