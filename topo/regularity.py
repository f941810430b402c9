"""Whether a fabric is of one piece: every accelerator sees the same network, or it is a plain grid."""

from __future__ import annotations

import numpy as np

from topo.bounds.symmetry import uniform_grid
from topo.fabric import Fabric


def irregular(fabric: Fabric) -> bool:
    """Whether some accelerator sees another network than the rest, as beside a cut cable.

    Colours are refined (the Weisfeiler-Leman method in one dimension): nodes stay alike as long as the same links
    lead to alike nodes.  A mesh whose links are alike within each dimension is regular, its edges notwithstanding.
    """
    if "irregular" not in fabric.cache:
        fabric.cache["irregular"] = uniform_grid(fabric) is None and len(set(_colours(fabric))) > 1
    found: bool = fabric.cache["irregular"]
    return found


def _colours(fabric: Fabric) -> list[int]:
    """Colours of the accelerators after refinement."""
    accelerators = np.asarray(fabric.accelerators)
    colour = np.ones(len(fabric.nodes), dtype=np.int64)
    colour[accelerators] = 0
    kinds = list(zip(fabric.bandwidth.tolist(), fabric.latency.tolist(), strict=True))
    source, target = fabric.source.tolist(), fabric.target.tolist()
    count = len(np.unique(colour))
    while True:
        seen: list[list[tuple[int, int, tuple[float, float]]]] = [[] for _ in range(len(colour))]
        for a, b, kind in zip(source, target, kinds, strict=True):
            seen[a].append((0, int(colour[b]), kind))
            seen[b].append((1, int(colour[a]), kind))
        names: dict[tuple[int, tuple[tuple[int, int, tuple[float, float]], ...]], int] = {}
        for node, links in enumerate(seen):
            key = (int(colour[node]), tuple(sorted(links)))
            colour[node] = names.setdefault(key, len(names))
        if len(names) == count:
            found: list[int] = colour[accelerators].tolist()
            return found
        count = len(names)


def whole_grid(fabric: Fabric) -> bool:
    """Whether the fabric is a mesh or torus with all its links, which has algorithms of its own."""
    grid = fabric.grid
    if grid is None or len(fabric.nodes) != grid.size:
        return False
    everyone = np.arange(grid.size)
    for dimension in grid.dimensions:
        for direction in (1, -1):
            onward = grid.neighbours(everyone, dimension, direction)
            here = everyone[onward >= 0]
            ends = fabric.accelerators[here], fabric.accelerators[onward[here]]
            if (fabric.links_between(*ends) < 0).any():
                return False
    return True
