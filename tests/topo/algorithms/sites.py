"""Small fabrics of every kind, and the short way from an algorithm to its time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import networkx as nx
import numpy as np

from topo.algorithms import Site, build
from topo.collective import Collective
from topo.fabric import Fabric
from topo.network.fold import fold
from topo.network.program import compile_program
from topo.network.solver import run_alone
from topo.network.structured import structured
from topo.schedule import Schedule
from topologies.binary_tree import binary_tree
from topologies.full_mesh import full_mesh
from topologies.grid import mesh, torus, twisted_torus
from topologies.hypercube import hypercube
from topologies.path import path
from topologies.rail import rail
from topologies.ring import ring
from topologies.scale_out import Network, join
from topologies.switch import switch

COPYING = {"multicast": True, "reduce": True}


def fabric_of(graph: nx.DiGraph) -> Fabric:
    """A graph, compiled."""
    return Fabric.from_networkx(graph)


def star(ranks: int, bandwidth: float = 5e10, latency: float = 5e-7, in_network: bool = False) -> Fabric:
    """Accelerators around one switch."""
    return fabric_of(switch(ranks, bandwidth, latency, in_network, in_network))


def copying(fabric: Fabric) -> Fabric:
    """The fabric with routers that multicast at its accelerators, as on a wafer."""
    return replace(fabric, multicast=np.ones(len(fabric.nodes), dtype=bool), cache={})


def clusters(nodes: int, gpus: int, **options: object) -> Fabric:
    """A rail cluster whose node switches add and copy."""
    numbers = {"bandwidth": [4e11, 5e10], "latency": [1e-6, 3e-6], **COPYING, **options}
    return rail(nodes, gpus, **numbers)


def dimmed(shape: Sequence[int], *, wrap: bool = True) -> Fabric:
    """A torus, or a mesh."""
    return fabric_of(torus(shape, 5e10, 1e-6) if wrap else mesh(shape, 5e10, 1e-6))


def zoo() -> dict[str, Fabric]:
    """One small fabric of each kind."""
    return {
        "star5": star(5),
        "star8": star(8, in_network=True),
        "ring6": fabric_of(ring(6)),
        "ring8": fabric_of(ring(8)),
        "path5": fabric_of(path(5)),
        "torus4x4": dimmed((4, 4)),
        "torus3x4": dimmed((3, 4)),
        "torus2x2x4": dimmed((2, 2, 4)),
        "mesh3x4": dimmed((3, 4), wrap=False),
        "wafer3x3": copying(dimmed((3, 3), wrap=False)),
        "wafer1x4": copying(dimmed((1, 4), wrap=False)),
        "twisted2x2x4": fabric_of(twisted_torus((2, 2, 4))),
        "hypercube3": fabric_of(hypercube(3)),
        "full-mesh4": fabric_of(full_mesh(4)),
        "tree7": fabric_of(binary_tree(2)),
        "rail3x2": clusters(3, 2),
        "rail2x4": clusters(2, 4),
        "slices2x2x3": join(dimmed((2, 3)), 2, Network(bandwidth=6.25e9)),
    }


def relabelled(fabric: Fabric, seed: int) -> Fabric:
    """The same fabric with other labels and its links in another order; ranks stay."""
    random = np.random.default_rng(seed)
    graph = fabric.to_networkx()
    names = {node: f"x{number}" for node, number in zip(graph, random.permutation(len(graph)), strict=True)}
    other = nx.DiGraph(**graph.graph)
    for node, data in graph.nodes(data=True):
        other.add_node(names[node], **data)
    edges = list(graph.edges(data=True))
    for i in random.permutation(len(edges)):
        a, b, data = edges[i]
        other.add_edge(names[a], names[b], **data)
    return replace(Fabric.from_networkx(other, fabric.name), multicast=fabric.multicast)


def collective_on(fabric: Fabric, operation: str, bytes: float = 0.0, **options: int) -> Collective:
    """A collective among all ranks; by default a size that every cutting divides into whole bytes."""
    size = bytes or 840_000.0 * fabric.ranks
    return Collective(operation, fabric.ranks, 0.0 if operation == "barrier" else size, **options)


def seconds(
    schedule: Schedule,
    fabric: Fabric,
    *,
    ranks: Sequence[int] | None = None,
    barrier: bool = False,
    folded: bool = True,
    certify: bool = False,
) -> float:
    """Time of a schedule alone on a fabric."""
    whole = ranks is None and schedule.collective.ranks == fabric.ranks
    by_shift = structured(schedule, fabric, barrier=barrier) if folded and whole else None
    if by_shift:
        return run_alone(by_shift.program, certify=certify)[0].finish
    group = np.arange(schedule.collective.ranks) if ranks is None else np.asarray(ranks)
    program = compile_program(schedule, fabric, ranks=group, barrier=barrier)
    small = fold(program) if folded else None
    return run_alone(small.program if small else program, certify=certify)[0].finish


def built(name: str, fabric: Fabric, collective: Collective, chunks: int = 1) -> Schedule:
    """The schedule of a named algorithm on all ranks, proved."""
    schedule = build(name, collective, Site(fabric, np.arange(fabric.ranks)), chunks)
    schedule.verify()
    return schedule


def timed(
    name: str, fabric: Fabric, operation: str, bytes: float = 0.0, chunks: int = 1, *, barrier: bool = False
) -> float:
    """Time of a named algorithm on all ranks of a fabric, proved before unless it is large."""
    collective = collective_on(fabric, operation, bytes)
    if fabric.ranks * chunks > 300:
        schedule = build(name, collective, Site(fabric, np.arange(fabric.ranks)), chunks)
    else:
        schedule = built(name, fabric, collective, chunks)
    return seconds(schedule, fabric, barrier=barrier)
