"""The Fabric: a directed graph of accelerators, switches and NICs joined by links.

A fabric is drawn up as a :class:`networkx.DiGraph` and compiled once to numpy arrays.  Two edges, one each
way, stand for a full-duplex cable.  Parallel cables between the same two nodes are one edge with ``cables``.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import networkx as nx
import numpy as np
import numpy.typing as npt

from topo.errors import FabricError, nearest
from topo.graph_attributes import edge_numbers, position_of

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

KINDS = ("accelerator", "switch", "nic")
ACCELERATOR, SWITCH, NIC = range(3)
ROUTINGS = ("shortest", "dimension-order")
TIERS = ("scale-up", "scale-out")


@dataclass(frozen=True)
class Grid:
    """The coordinates behind a mesh, torus or twisted torus.

    Accelerators stand in row-major order of their coordinates.

    Parameters
    ----------
    shape : tuple of int
        Nodes along each dimension.
    wrap : tuple of bool
        Whether the last node of a dimension is joined to the first.
    twist : tuple of tuple of int
        ``twist[d][e]`` is added to coordinate ``e`` (modulo its length) by going upwards across the wrap of
        dimension ``d``.  Empty for an untwisted grid.
    """

    shape: tuple[int, ...]
    wrap: tuple[bool, ...]
    twist: tuple[tuple[int, ...], ...] = ()

    @property
    def size(self) -> int:
        """Number of nodes."""
        return math.prod(self.shape)

    @property
    def twisted(self) -> bool:
        """Whether any wrap link also shifts another coordinate."""
        return any(any(row) for row in self.twist)

    @property
    def dimensions(self) -> tuple[int, ...]:
        """The dimensions longer than one node."""
        return tuple(d for d, k in enumerate(self.shape) if k > 1)

    def coordinates(self, nodes: IntArray) -> IntArray:
        """Coordinates of nodes given by row-major number: array [len(nodes), dimensions]."""
        return np.stack(np.unravel_index(np.asarray(nodes), self.shape), axis=-1).astype(np.int64)

    def numbers(self, coordinates: IntArray) -> IntArray:
        """Row-major numbers of the given coordinates [..., dimensions]."""
        return np.asarray(
            np.ravel_multi_index(tuple(np.moveaxis(coordinates, -1, 0)), self.shape), dtype=np.int64
        )

    def neighbours(self, nodes: IntArray, dimension: int, direction: int) -> IntArray:
        """The next nodes along ``dimension`` in ``direction`` (+1 or -1); -1 where a mesh ends."""
        place = self.coordinates(nodes)
        length = self.shape[dimension]
        moved = place[:, dimension] + direction
        crossing = (moved < 0) | (moved >= length)
        place[:, dimension] = moved % length
        if self.twist and any(self.twist[dimension]):
            shift = np.asarray(self.twist[dimension]) * direction
            place[crossing] = (place[crossing] + shift) % np.asarray(self.shape)
        result = self.numbers(place)
        if not self.wrap[dimension] or length == 1:
            result = np.where(crossing, -1, result)
        return result


@dataclass(frozen=True, eq=False)
class Fabric:
    """A compiled fabric.

    Parameters
    ----------
    name : str
        What people call it.
    nodes : sequence of hashable
        Node labels; every other field speaks of their positions.
    kind : int array [nodes]
        0 accelerator, 1 switch, 2 NIC.
    accelerators : int array [ranks]
        Node of each rank, in rank order.
    source, target : int arrays [links]
        Ends of each directed link.
    bandwidth : float array [links]
        Bytes/s of the link, all its cables together.
    latency : float array [links]
        Seconds.
    cables : int array [links]
        Parallel cables that the link stands for.
    domain : int array [ranks]
        Scale-up domain of each accelerator.
    multicast, reduce : bool arrays [nodes]
        What a switch can do to data that passes it.
    scale_out : bool array [links]
        Links of the network between scale-up domains.
    position : float array [nodes, 2]
        Where a drawing puts the node; NaN where the builder did not say.
    grid : Grid or None
        Coordinates, when all accelerators form a grid.
    one_pass : bool array [nodes], optional
        Switches that add a stream and copy the sum in the same pass, as SHARP trees do; NVLink switches hand the
        sum to one accelerator, which sends it out again.  By default all that can both multicast and reduce.
    routing : str
        ``shortest`` (ties split by bandwidth hop by hop) or ``dimension-order``.
    """

    name: str
    nodes: Sequence[Hashable]
    kind: IntArray
    accelerators: IntArray
    source: IntArray
    target: IntArray
    bandwidth: FloatArray
    latency: FloatArray
    cables: IntArray
    domain: IntArray
    multicast: BoolArray
    reduce: BoolArray
    scale_out: BoolArray
    position: FloatArray
    grid: Grid | None = None
    routing: str = "shortest"
    one_pass: BoolArray | None = None
    cache: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    # ------------------------------------------------------------------ making

    @classmethod
    def from_networkx(cls, graph: nx.Graph, name: str = "") -> Fabric:
        """Compile a networkx graph.

        Parameters
        ----------
        graph : networkx.DiGraph or networkx.Graph
            An undirected graph means a link each way.  Node attributes: ``kind`` (``accelerator``, the
            default, ``switch`` or ``nic``), ``domain``, ``multicast``, ``reduce``, ``position``.  Edge
            attributes: ``bandwidth`` (bytes/s of one cable, one direction, or text such as ``50GB/s``),
            ``latency`` (s, or text such as ``1us``; default 0), ``cables`` (default 1), ``tier``
            (``scale-up`` or ``scale-out``).  Graph attributes: ``name``, ``grid``, ``routing``.
        name : str
            Overrides the graph's own name.

        Raises
        ------
        FabricError
            The graph has no accelerators or is not connected, or a node or edge attribute is wrong; the
            message names the node or edge.
        """
        if not isinstance(graph, nx.Graph):
            raise FabricError(
                f"a {type(graph).__name__} is no graph", "give a networkx.DiGraph or networkx.Graph"
            )
        if graph.is_multigraph():
            raise FabricError(
                "a multigraph was given", "join parallel edges into one edge with the attribute cables=n"
            )
        directed = graph if graph.is_directed() else graph.to_directed(as_view=True)
        nodes = tuple(directed.nodes)
        index = {node: i for i, node in enumerate(nodes)}
        kind = np.empty(len(nodes), dtype=np.int64)
        multicast = np.zeros(len(nodes), dtype=bool)
        reduces = np.zeros(len(nodes), dtype=bool)
        one_pass = np.zeros(len(nodes), dtype=bool)
        position = np.full((len(nodes), 2), np.nan)
        domains: list[Any] = []
        for i, (node, data) in enumerate(directed.nodes(data=True)):
            what = data.get("kind", "accelerator")
            if what not in KINDS:
                raise FabricError(
                    f"node {node!r}: kind {what!r} is unknown",
                    nearest(str(what), KINDS) or f"use {', '.join(KINDS)}",
                )
            kind[i] = KINDS.index(what)
            if kind[i] == ACCELERATOR:
                domains.append(data.get("domain", 0))
            else:
                multicast[i] = bool(data.get("multicast", False))
                one_pass[i] = bool(data.get("one_pass", True))
                reduces[i] = bool(data.get("reduce", False))
            if "position" in data:
                position[i] = position_of(node, data["position"])
        accelerators = np.flatnonzero(kind == ACCELERATOR)
        if not len(accelerators):
            raise FabricError("the graph has no accelerators", 'give at least one node kind="accelerator"')
        count = directed.number_of_edges()
        source = np.empty(count, dtype=np.int64)
        target = np.empty(count, dtype=np.int64)
        bandwidth = np.empty(count)
        latency = np.empty(count)
        cables = np.empty(count, dtype=np.int64)
        scale_out = np.zeros(count, dtype=bool)
        for i, (a, b, data) in enumerate(directed.edges(data=True)):
            source[i], target[i] = index[a], index[b]
            if a == b:
                raise FabricError(f"edge {a!r} -> {b!r} joins a node to itself", "remove it")
            bandwidth[i], latency[i], cables[i] = edge_numbers(a, b, data)
            tier = data.get("tier", TIERS[0])
            if tier not in TIERS:
                raise FabricError(
                    f"edge {a!r} -> {b!r}: tier {tier!r} is unknown", f"use {' or '.join(TIERS)}"
                )
            scale_out[i] = tier == TIERS[1]
        _, domain = np.unique(np.asarray([str(d) for d in domains]), return_inverse=True)
        grid = directed.graph.get("grid")
        if grid is not None:
            _check_grid(grid, len(accelerators))
        routing = directed.graph.get("routing", "shortest")
        if routing not in ROUTINGS:
            raise FabricError(f"routing {routing!r} is unknown", f"use {' or '.join(ROUTINGS)}")
        if routing == "dimension-order" and (grid is None or grid.twisted):
            raise FabricError(
                "routing by dimension needs the graph attribute grid, untwisted", "use shortest"
            )
        fabric = cls(
            name=name or str(directed.graph.get("name", "")) or "fabric",
            nodes=nodes,
            kind=kind,
            accelerators=accelerators,
            source=source,
            target=target,
            bandwidth=bandwidth * cables,
            latency=latency,
            cables=cables,
            domain=_first_seen_order(domain),
            multicast=multicast,
            reduce=reduces,
            scale_out=scale_out,
            position=position,
            grid=grid,
            routing=routing,
            one_pass=one_pass & multicast & reduces,
        )
        fabric.require_connected()
        return fabric

    def to_networkx(self) -> nx.DiGraph:
        """The same fabric as a networkx graph with the attributes of :meth:`from_networkx`."""
        graph = nx.DiGraph(name=self.name, routing=self.routing)
        if self.grid is not None:
            graph.graph["grid"] = self.grid
        rank_of = self.rank_of_node
        for i, node in enumerate(self.nodes):
            data: dict[str, Any] = {"kind": KINDS[self.kind[i]]}
            if self.kind[i] == ACCELERATOR:
                data["domain"] = int(self.domain[rank_of[i]])
            else:
                data["multicast"], data["reduce"] = bool(self.multicast[i]), bool(self.reduce[i])
                data["one_pass"] = bool(self.adds_and_copies[i])
            if not np.isnan(self.position[i]).any():
                data["position"] = tuple(map(float, self.position[i]))
            graph.add_node(node, **data)
        for i in range(self.links):
            graph.add_edge(
                self.nodes[self.source[i]],
                self.nodes[self.target[i]],
                bandwidth=float(self.bandwidth[i] / self.cables[i]),
                latency=float(self.latency[i]),
                cables=int(self.cables[i]),
                tier="scale-out" if self.scale_out[i] else "scale-up",
            )
        return graph

    def without(self, cables: Iterable[tuple[Hashable, Hashable]]) -> Fabric:
        """The fabric after the loss of cables, each given by the labels of its two ends.

        One mention removes one cable, in both directions.

        Raises
        ------
        FabricError
            No such cable, or the fabric falls apart.
        """
        left = self.cables.copy()
        index = {node: i for i, node in enumerate(self.nodes)}
        for a, b in cables:
            for node in (a, b):
                if node not in index:
                    known = [str(n) for n in self.nodes]
                    raise FabricError(f"node {node!r} is not in {self.name}", nearest(str(node), known))
            ends = np.asarray([index[a], index[b]])
            pair = self.links_between(ends, ends[::-1])
            if (pair < 0).any() or (left[pair] < 1).any():
                raise FabricError(
                    f"no cable {a}-{b} is left in {self.name}", "name two nodes that a cable joins"
                )
            left[pair] -= 1
        keep = left > 0
        damaged = replace(
            self,
            source=self.source[keep],
            target=self.target[keep],
            bandwidth=(self.bandwidth / self.cables * left)[keep],
            latency=self.latency[keep],
            cables=left[keep],
            scale_out=self.scale_out[keep],
            cache={},
        )
        damaged.require_connected()
        return damaged

    def scaled(self, bandwidth: float = 1.0, latency: float = 1.0) -> Fabric:
        """The fabric with every bandwidth and every latency multiplied."""
        if not (0 < bandwidth < math.inf and 0 <= latency < math.inf):
            raise FabricError(
                f"bandwidth times {bandwidth} and latency times {latency}",
                "scale the bandwidth by more than 0",
            )
        return replace(self, bandwidth=self.bandwidth * bandwidth, latency=self.latency * latency, cache={})

    # ------------------------------------------------------------------ asking

    @property
    def links(self) -> int:
        """Number of directed links."""
        return len(self.source)

    @property
    def ranks(self) -> int:
        """Number of accelerators."""
        return len(self.accelerators)

    @cached_property
    def rank_of_node(self) -> IntArray:
        """Rank of each node, -1 for switches and NICs."""
        rank = np.full(len(self.nodes), -1, dtype=np.int64)
        rank[self.accelerators] = np.arange(len(self.accelerators))
        return rank

    @cached_property
    def _link_keys(self) -> tuple[IntArray, IntArray]:
        keys = self.source * len(self.nodes) + self.target
        order = np.argsort(keys, kind="stable")
        return keys[order], order

    def links_between(self, source: IntArray, target: IntArray) -> IntArray:
        """Links from each of ``source`` to the same place of ``target`` (node positions); -1 where none."""
        keys, order = self._link_keys
        wanted = np.asarray(source) * len(self.nodes) + np.asarray(target)
        if not len(keys):
            return np.full(wanted.shape, -1, dtype=np.int64)
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where((keys[at] == wanted) & (np.asarray(target) >= 0), order[at], -1)

    @cached_property
    def incoming(self) -> tuple[IntArray, IntArray]:
        """Links by target node, as (pointer [nodes + 1], links)."""
        order = np.argsort(self.target, kind="stable")
        return _pointer(self.target, len(self.nodes)), order

    @cached_property
    def outgoing(self) -> tuple[IntArray, IntArray]:
        """Links by source node, as (pointer [nodes + 1], links)."""
        order = np.argsort(self.source, kind="stable")
        return _pointer(self.source, len(self.nodes)), order

    @cached_property
    def egress(self) -> FloatArray:
        """Bytes/s that leave each accelerator [ranks]."""
        return sums(self.source, self.bandwidth, len(self.nodes))[self.accelerators]

    @cached_property
    def ingress(self) -> FloatArray:
        """Bytes/s that reach each accelerator [ranks]."""
        return sums(self.target, self.bandwidth, len(self.nodes))[self.accelerators]

    @property
    def adds_and_copies(self) -> BoolArray:
        """Switches that add and copy in one pass [nodes]."""
        return self.multicast & self.reduce if self.one_pass is None else self.one_pass

    @property
    def domains(self) -> int:
        """Number of scale-up domains."""
        return int(self.domain.max()) + 1

    @property
    def in_network(self) -> bool:
        """Whether some switch multicasts or reduces."""
        return bool(self.multicast.any() or self.reduce.any())

    def link_label(self, link: int) -> str:
        """A link as a person writes it."""
        return f"{self.nodes[self.source[link]]} -> {self.nodes[self.target[link]]}"

    def require_connected(self) -> None:
        """Raise unless every accelerator reaches every other.

        Raises
        ------
        FabricError
            With one pair that cannot meet.
        """
        first = int(self.accelerators[0])
        for (pointer, order), ends, towards in (
            (self.outgoing, self.target, True),
            (self.incoming, self.source, False),
        ):
            seen = np.zeros(len(self.nodes), dtype=bool)
            seen[first] = True
            frontier = np.asarray([first])
            while len(frontier):
                links = order[spread(pointer, frontier)]
                frontier = np.unique(ends[links])
                frontier = frontier[~seen[frontier]]
                seen[frontier] = True
            lost = self.accelerators[~seen[self.accelerators]]
            if len(lost):
                a, b = self.nodes[first], self.nodes[lost[0]]
                a, b = (a, b) if towards else (b, a)
                raise FabricError(
                    f"{self.name} is disconnected: no way from {a} to {b} ({len(lost)} accelerators out of reach)",
                    "add the missing links or fail fewer cables",
                )


def spread(pointer: IntArray, rows: IntArray) -> IntArray:
    """Positions of all entries of the given rows of a compressed table, row after row."""
    counts = pointer[rows + 1] - pointer[rows]
    total = int(counts.sum())
    starts = np.cumsum(counts) - counts
    return np.repeat(pointer[rows] - starts, counts) + np.arange(total)


def sums(keys: IntArray, values: FloatArray, length: int) -> FloatArray:
    """Sums of values by key [length]."""
    return np.asarray(np.bincount(keys, values, length), dtype=np.float64)


def _pointer(keys: IntArray, rows: int) -> IntArray:
    pointer = np.zeros(rows + 1, dtype=np.int64)
    np.cumsum(np.bincount(keys, minlength=rows), out=pointer[1:])
    return pointer


def _first_seen_order(labels: IntArray) -> IntArray:
    """Renumber labels 0, 1, ... in order of first appearance."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    order = np.empty(len(first), dtype=np.int64)
    order[np.argsort(first)] = np.arange(len(first))
    return order[inverse]


def _check_grid(grid: Any, accelerators: int) -> None:
    if not isinstance(grid, Grid):
        raise FabricError(
            f"the graph attribute grid {grid!r} is no Grid", "give topo.fabric.Grid(shape, wrap)"
        )
    if len(grid.wrap) != len(grid.shape) or len(grid.twist) not in (0, len(grid.shape)):
        raise FabricError(f"the grid {grid.shape} has {len(grid.wrap)} wraps", "give one for each dimension")
    if grid.size != accelerators:
        raise FabricError(
            f"the grid {grid.shape} has {grid.size} places but the graph has {accelerators} accelerators"
        )


def labels_of(fabric: Fabric, ranks: Sequence[int] | IntArray) -> list[str]:
    """Labels of the accelerators of some ranks."""
    return [str(fabric.nodes[fabric.accelerators[r]]) for r in ranks]
