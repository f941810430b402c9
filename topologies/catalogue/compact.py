"""Large meshes compiled straight to arrays, without a networkx graph in between."""

from __future__ import annotations

import numpy as np

from topo.fabric import Fabric, Grid
from topologies import checks


def mesh_fabric(dims: tuple[int, int], bandwidth: float, latency: float, name: str) -> Fabric:
    """A two-dimensional mesh of accelerators.

    Equal to compiling ``topologies.wafer.wafer(dims, bandwidth, latency)``, but for the order of links.

    Parameters
    ----------
    dims : (int, int)
        Accelerators along each dimension.
    bandwidth : float
        B/s of each link, one direction.
    latency : float
        Seconds of each link.
    name : str
        Of the fabric.

    Raises
    ------
    FabricError
        Too large.
    """
    grid = Grid(dims, (False, False))
    number = np.arange(grid.size, dtype=np.int64).reshape(dims)
    pairs = [(number[:-1].ravel(), number[1:].ravel()), (number[:, :-1].ravel(), number[:, 1:].ravel())]
    lower, upper = (np.concatenate(ends) for ends in zip(*pairs, strict=True))
    links = 2 * len(lower)
    checks.affordable(name, grid.size, links, "coarsen it to blocks")
    return Fabric(
        name=name,
        nodes=tuple(f"{x}.{y}" for x in range(dims[0]) for y in range(dims[1])),
        kind=np.zeros(grid.size, dtype=np.int64),
        accelerators=number.ravel(),
        source=np.concatenate([lower, upper]),
        target=np.concatenate([upper, lower]),
        bandwidth=np.full(links, bandwidth),
        latency=np.full(links, latency),
        cables=np.ones(links, dtype=np.int64),
        domain=np.zeros(grid.size, dtype=np.int64),
        multicast=np.zeros(grid.size, dtype=bool),
        reduce=np.zeros(grid.size, dtype=bool),
        scale_out=np.zeros(links, dtype=bool),
        position=grid.coordinates(number.ravel()).astype(float),
        grid=grid,
        routing="dimension-order",
    )
