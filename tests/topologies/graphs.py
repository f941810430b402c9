"""What tests ask of a fabric, computed the plain way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import shortest_path

from topo.fabric import Fabric, Grid

FloatArray = npt.NDArray[np.float64]


def distances(fabric: Fabric, sources: Sequence[int] | None = None) -> FloatArray:
    """Hops from some accelerators, by default all, to all accelerators [sources, ranks]."""
    size = len(fabric.nodes)
    hops = coo_array((np.ones(fabric.links), (fabric.source, fabric.target)), shape=(size, size)).tocsr()
    start = fabric.accelerators if sources is None else fabric.accelerators[list(sources)]
    return shortest_path(hops, unweighted=True, indices=start)[:, fabric.accelerators]


def cut(fabric: Fabric, inside: npt.NDArray[np.bool_]) -> float:
    """Bytes/s of the links that leave a set of nodes [nodes]."""
    return float(fabric.bandwidth[inside[fabric.source] & ~inside[fabric.target]].sum())


def cables_at(fabric: Fabric) -> npt.NDArray[np.int64]:
    """Cables at each node [nodes]."""
    return np.bincount(fabric.source, fabric.cables, len(fabric.nodes)).astype(np.int64)


def links_by_ends(fabric: Fabric) -> dict[tuple[object, object], tuple[float, float, int]]:
    """Bandwidth, latency and cables of each link."""
    return {
        (fabric.nodes[s], fabric.nodes[t]): (b, a, c)
        for s, t, b, a, c in zip(
            fabric.source.tolist(),
            fabric.target.tolist(),
            fabric.bandwidth.tolist(),
            fabric.latency.tolist(),
            fabric.cables.tolist(),
            strict=True,
        )
    }


def shifted(grid: Grid, by: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Where each node of a closed grid goes when everything moves ``by`` steps along each dimension."""
    nodes = np.arange(grid.size)
    for d, steps in enumerate(by):
        for _ in range(steps):
            nodes = grid.neighbours(nodes, d, 1) if grid.shape[d] > 1 else nodes
    return nodes


def spread_load(fabric: Fabric) -> FloatArray:
    """Load of each link when every accelerator sends 1 to every other, ties split at each node [links].

    Only for fabrics without switches.
    """
    far = distances(fabric).astype(int)
    load = np.zeros(fabric.links)
    for goal in range(fabric.ranks):
        towards = far[:, goal]
        carried = np.ones(fabric.ranks)
        carried[goal] = 0.0
        downhill = towards[fabric.target] == towards[fabric.source] - 1
        choices = np.bincount(fabric.source, fabric.cables * downhill, fabric.ranks)
        for distance in range(towards.max(), 0, -1):
            now = np.flatnonzero(downhill & (towards[fabric.source] == distance))
            share = carried[fabric.source[now]] * fabric.cables[now] / choices[fabric.source[now]]
            load[now] += share
            np.add.at(carried, fabric.target[now], share)
    return load
