"""Meshes, tori and twisted tori of any number of dimensions."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import overload

import networkx as nx
import numpy as np
import numpy.typing as npt

from topo.errors import FabricError
from topo.fabric import Fabric, Grid
from topologies import checks

Twist = Sequence[Sequence[int]]

# The third dimension of a drawing goes obliquely back; these numbers keep nodes from covering each other.
_OBLIQUE = (0.37, 0.23)
_GAP = 1.3


def mesh(
    dims: Sequence[int],
    bandwidth: checks.Quantities = checks.DEFAULT_BANDWIDTH,
    latency: checks.Quantities = checks.DEFAULT_LATENCY,
) -> nx.DiGraph:
    """A mesh: neighbours along each dimension are joined, the ends are not.

    Parameters
    ----------
    dims : sequence of int
        Accelerators along each dimension.
    bandwidth : float, text or sequence [dimensions]
        Bytes/s per direction of every link, or of the links of each dimension.
    latency : float, text or sequence [dimensions]
        Seconds of every link, or of the links of each dimension.

    Returns
    -------
    networkx.DiGraph
        Nodes are called by their coordinates, as ``0.3.1``, in row-major order.

    Raises
    ------
    TopoError
        A length below 1, a wrong number of values, or a value that is no bandwidth or latency.

    Notes
    -----
    Source: W. J. Dally and B. Towles, Principles and Practices of Interconnection Networks, chapter 5.
    """
    lengths = checks.wholes(dims, "length of a mesh dimension")
    return grid_graph(Grid(lengths, (False,) * len(lengths)), bandwidth, latency, name=_name("mesh", lengths))


def torus(
    dims: Sequence[int],
    bandwidth: checks.Quantities = checks.DEFAULT_BANDWIDTH,
    latency: checks.Quantities = checks.DEFAULT_LATENCY,
    wrap: Sequence[bool] | None = None,
    twist: Twist | None = None,
) -> nx.DiGraph:
    """A torus: a mesh whose dimensions are closed to rings.

    Parameters
    ----------
    dims : sequence of int
        Accelerators along each dimension.  A closed dimension of length 2 is two parallel cables, one of
        length 1 none.
    bandwidth : float, text or sequence [dimensions]
        Bytes/s per direction of every cable, or of the cables of each dimension.
    latency : float, text or sequence [dimensions]
        Seconds of every link, or of the links of each dimension.
    wrap : sequence of bool, optional
        Which dimensions are closed; default all.
    twist : sequence of sequences of int, optional
        ``twist[d][e]`` is added to coordinate ``e`` by going upwards across the wrap of dimension ``d``.

    Returns
    -------
    networkx.DiGraph
        Nodes are called by their coordinates, as ``0.3.1``, in row-major order.

    Raises
    ------
    TopoError
        A length below 1, a wrong number of values, or a value that is no bandwidth or latency.

    Notes
    -----
    Source: W. J. Dally and B. Towles, Principles and Practices of Interconnection Networks, chapter 5.
    """
    lengths = checks.wholes(dims, "length of a torus dimension")
    closed = (True,) * len(lengths) if wrap is None else tuple(bool(w) for w in wrap)
    if len(closed) != len(lengths):
        raise FabricError(f"wrap has {len(closed)} values", f"give one for each of {len(lengths)} dimensions")
    shifts = _checked_twist(lengths, twist) if twist else ()
    return grid_graph(Grid(lengths, closed, shifts), bandwidth, latency, name=_name("torus", lengths))


def twisted_torus(
    dims: Sequence[int],
    bandwidth: checks.Quantities = checks.DEFAULT_BANDWIDTH,
    latency: checks.Quantities = checks.DEFAULT_LATENCY,
) -> nx.DiGraph:
    """A twisted torus k x k x 2k or k x 2k x 2k, its dimensions in any order.

    The wrap of each short dimension lands ``k`` further along every long dimension.  All links then carry the
    same load in a uniform all-to-all, and every node sees the same network.

    Parameters
    ----------
    dims : sequence of 3 int
        Accelerators along each dimension: two different lengths, the longer twice the shorter.
    bandwidth, latency
        As for :func:`torus`.

    Raises
    ------
    TopoError
        Another shape, a wrong number of values, or a value that is no bandwidth or latency.

    Notes
    -----
    Source: C. Camarero, C. Martinez and R. Beivide, "Lattice graphs for high-scale interconnection
    topologies", IEEE TPDS 26(9), 2015; N. P. Jouppi et al., "TPU v4", arXiv:2304.01433.  The all-to-all gain
    over the plain torus is 12k^2/(7k^2-2) for k x k x 2k and 48k^2/(35k^2-8) for k x 2k x 2k (even k).
    """
    lengths = checks.wholes(dims, "length of a torus dimension")
    twist = twist_of(lengths)
    grid = Grid(lengths, (True,) * len(lengths), twist)
    return grid_graph(grid, bandwidth, latency, name=_name("twisted-torus", lengths))


def twist_of(dims: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """The twist of a k x k x 2k or k x 2k x 2k torus: short wraps shift long coordinates by k.

    Raises
    ------
    FabricError
        No such shape.
    """
    lengths = tuple(dims)
    short = min(lengths)
    if len(lengths) != 3 or short < 2 or set(lengths) != {short, 2 * short}:
        raise FabricError(
            f"a torus of {'x'.join(map(str, lengths))} cannot be twisted",
            "use KxKx2K or Kx2Kx2K with K of 2 or more, for example 4x4x8 or 4x8x8",
        )
    return tuple(tuple(short if d == short and e > short else 0 for e in lengths) for d in lengths)


def grid_graph(
    grid: Grid,
    bandwidth: checks.Quantities,
    latency: checks.Quantities,
    cables: Sequence[int] | None = None,
    name: str = "grid",
) -> nx.DiGraph:
    """The graph of any grid.

    Parameters
    ----------
    grid : Grid
        Shape, wraps and twist.
    bandwidth, latency
        One value, or one per dimension.
    cables : sequence of int, optional
        Parallel cables per link of each dimension; default 1.
    name : str
        Of the graph.

    Raises
    ------
    TopoError
        Too large, or a value that is no bandwidth or latency.
    """
    dimensions = len(grid.shape)
    rates = checks.bandwidths(bandwidth, dimensions, "dimension")
    delays = checks.latencies(latency, dimensions, "dimension")
    number = (1,) * dimensions if cables is None else checks.wholes(cables, "cables of a dimension")
    checks.affordable(name, grid.size, 2 * dimensions * grid.size, "use a smaller grid, or coarsen it")
    nodes = np.arange(grid.size)
    labels = [".".join(map(str, place)) for place in np.ndindex(*grid.shape)]
    # Dimension order has no meaning across a twist.
    graph = nx.DiGraph(name=name, grid=grid, routing="shortest" if grid.twisted else "dimension-order")
    positions = map(tuple, _positions(grid).tolist())
    graph.add_nodes_from(
        (label, {"kind": "accelerator", "domain": 0, "position": position})
        for label, position in zip(labels, positions, strict=True)
    )
    for d in grid.dimensions:
        ends = np.stack([np.tile(nodes, 2), np.concatenate([grid.neighbours(nodes, d, s) for s in (1, -1)])])
        # A closed dimension of length 2 meets the same neighbour both ways: two cables.
        pairs, times = np.unique(ends[:, ends[1] >= 0], axis=1, return_counts=True)
        for a, b, count in zip(*pairs.tolist(), times.tolist(), strict=True):
            if graph.has_edge(labels[a], labels[b]):
                raise FabricError(
                    f"{name}: two dimensions both join {labels[a]} and {labels[b]}", "change the twist"
                )
            graph.add_edge(
                labels[a],
                labels[b],
                bandwidth=rates[d],
                latency=delays[d],
                cables=count * number[d],
                tier="scale-up",
            )
    return graph


@dataclass(frozen=True, eq=False)
class GridLabels(Sequence[Hashable]):
    """Labels of the nodes of a grid, ``0.3.1``, made when they are asked for: equal to the tuple of them all."""

    shape: tuple[int, ...]

    def __len__(self) -> int:
        return math.prod(self.shape)

    @overload
    def __getitem__(self, place: int) -> Hashable: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[Hashable, ...]: ...

    def __getitem__(self, place: int | slice) -> Hashable | tuple[Hashable, ...]:
        if isinstance(place, slice):
            return tuple(self[i] for i in range(*place.indices(len(self))))
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        return ".".join(map(str, map(int, np.unravel_index(int(place) % len(self), self.shape))))

    def __iter__(self) -> Iterator[Hashable]:
        return (".".join(map(str, place)) for place in product(*map(range, self.shape)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (tuple, GridLabels)) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))


def grid_fabric(grid: Grid, bandwidth: checks.Quantities, latency: checks.Quantities, name: str) -> Fabric:
    """The compiled fabric of an untwisted grid, without the graph: the same as that of :func:`grid_graph`.

    For hundreds of thousands of nodes, where the graph would take most of the time and memory.

    Raises
    ------
    TopoError
        As :func:`grid_graph`.
    """
    dimensions, count = len(grid.shape), grid.size
    rates = checks.bandwidths(bandwidth, dimensions, "dimension")
    delays = checks.latencies(latency, dimensions, "dimension")
    checks.affordable(name, count, 2 * dimensions * count, "use a smaller grid, or coarsen it")
    nodes = np.arange(count)
    targets, numbers, dimension = [], [], []
    for d in grid.dimensions:
        up, down = _neighbours(grid, d, 1), _neighbours(grid, d, -1)
        # A closed dimension of length 2 meets the same neighbour both ways: two cables.
        double = (up == down) & (up >= 0)
        targets += [np.minimum(up, down), np.where(double, -1, np.maximum(up, down))]
        numbers += [np.where(double, 2, 1), np.ones(count, dtype=np.int64)]
        dimension += [d, d]
    # Link by link of each node: dimension by dimension, the nearer of the two neighbours in rank order first.
    width = len(dimension)
    target = np.stack(targets, axis=1).ravel() if width else np.zeros(0, dtype=np.int64)
    cables = np.stack(numbers, axis=1).ravel() if width else np.zeros(0, dtype=np.int64)
    there = target >= 0
    source, along = np.repeat(nodes, width), np.tile(np.asarray(dimension, dtype=np.int64), count)
    if not there.all():
        source, target, cables, along = source[there], target[there], cables[there], along[there]
    off = np.zeros(count, dtype=bool)
    return Fabric(
        name=name,
        nodes=GridLabels(grid.shape),
        kind=np.zeros(count, dtype=np.int64),
        accelerators=nodes,
        source=source,
        target=target,
        bandwidth=np.asarray(rates)[along] * cables,
        latency=np.asarray(delays)[along],
        cables=cables,
        domain=np.zeros(count, dtype=np.int64),
        multicast=off,
        reduce=off,
        scale_out=np.zeros(len(source), dtype=bool),
        position=_positions(grid),
        grid=grid,
        routing="dimension-order",
        one_pass=off,
    )


def _neighbours(grid: Grid, dimension: int, direction: int) -> npt.NDArray[np.int64]:
    """As :meth:`topo.fabric.Grid.neighbours` of all nodes of an untwisted grid, without their coordinates."""
    nodes = np.arange(grid.size).reshape(grid.shape)
    moved = np.roll(nodes, -direction, axis=dimension)
    if not grid.wrap[dimension]:
        np.moveaxis(moved, dimension, 0)[-1 if direction == 1 else 0] = -1
    return moved.ravel()


def large_torus(
    dims: Sequence[int],
    bandwidth: checks.Quantities = checks.DEFAULT_BANDWIDTH,
    latency: checks.Quantities = checks.DEFAULT_LATENCY,
) -> Fabric:
    """As :func:`torus` with every dimension closed, compiled without the graph."""
    lengths = checks.wholes(dims, "length of a torus dimension")
    return grid_fabric(Grid(lengths, (True,) * len(lengths)), bandwidth, latency, _name("torus", lengths))


def large_mesh(
    dims: Sequence[int],
    bandwidth: checks.Quantities = checks.DEFAULT_BANDWIDTH,
    latency: checks.Quantities = checks.DEFAULT_LATENCY,
) -> Fabric:
    """As :func:`mesh`, compiled without the graph."""
    lengths = checks.wholes(dims, "length of a mesh dimension")
    return grid_fabric(Grid(lengths, (False,) * len(lengths)), bandwidth, latency, _name("mesh", lengths))


def _positions(grid: Grid) -> npt.NDArray[np.float64]:
    """First dimension to the right, second upwards, third obliquely back, further ones as copies."""
    coordinates = grid.coordinates(np.arange(grid.size)).astype(float)
    steps = np.zeros((len(grid.shape), 2))
    extent = np.ones(2)
    for d, length in enumerate(grid.shape):
        if d < 2:
            steps[d, d] = 1.0
            extent[d] = length
        elif d == 2:
            steps[d] = _OBLIQUE
            extent += (length - 1) * steps[d]
        else:
            axis = (d - 3) % 2
            steps[d, axis] = extent[axis] * _GAP
            extent[axis] += (length - 1) * steps[d, axis]
    return np.asarray(coordinates @ steps)


def _checked_twist(lengths: tuple[int, ...], twist: Twist) -> tuple[tuple[int, ...], ...]:
    rows = tuple(tuple(checks.whole(value, "twist", 0) for value in row) for row in twist)
    if len(rows) != len(lengths) or any(len(row) != len(lengths) for row in rows):
        raise FabricError(
            f"twist {twist!r} is not a square table", f"give {len(lengths)} rows of {len(lengths)}"
        )
    if any(row[d] for d, row in enumerate(rows)):
        raise FabricError(f"twist {twist!r} shifts a dimension along itself", "put zeros on the diagonal")
    return rows


def _name(family: str, lengths: tuple[int, ...]) -> str:
    shown = "x".join(map(str, lengths))
    if math.prod(lengths) > checks.MOST_NODES:
        raise FabricError(f"{family}:{shown} is too large", f"use at most {checks.MOST_NODES:,} accelerators")
    return f"{family}:{shown}"
