"""The example graphs of synthesis, with what is known of each, and small helpers to time schedules on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

import networkx as nx
import numpy as np

from topo.algorithms import Site, build
from topo.collective import Collective
from topo.fabric import Fabric
from topo.schedule import Schedule
from topo.simulate import run_schedule
from topologies.grid import torus

UNIT = 5e10
"""Bytes/s of capacity one."""
Cable = tuple[Any, Any, float]


def cabled(name: str, ranks: Sequence[Any], cables: Iterable[Cable], latency: float = 1e-6) -> Fabric:
    """Ranks and, wherever a cable ends elsewhere, switches; capacities in units."""
    graph = nx.DiGraph()
    graph.add_nodes_from(ranks)
    for a, b, capacity in cables:
        for end in (a, b):
            if end not in graph:
                graph.add_node(end, kind="switch")
        for one, two in ((a, b), (b, a)):
            graph.add_edge(one, two, bandwidth=capacity * UNIT, latency=latency)
    return Fabric.from_networkx(graph, name)


def boxes(count: int, size: int, inside: float = 10, between: float = 1) -> Fabric:
    """Boxes of ranks on a switch each, and every rank also on one common switch."""
    ranks = [f"n{box}.g{i}" for box in range(count) for i in range(size)]
    cables: list[Cable] = [(rank, f"nv{rank[1 : rank.index('.')]}", inside) for rank in ranks]
    cables += [(rank, "ib", between) for rank in ranks]
    return cabled(f"boxes{count}x{size}", ranks, cables)


def grid(*shape: int) -> Fabric:
    """A torus with cables of one unit."""
    return Fabric.from_networkx(torus(shape, UNIT, 1e-6), "x".join(map(str, shape)))


def without_node(fabric: Fabric, rank: int) -> Fabric:
    """The fabric after the loss of an accelerator."""
    graph = fabric.to_networkx()
    graph.remove_node(fabric.nodes[int(fabric.accelerators[rank])])
    graph.graph.pop("grid", None)
    graph.graph["routing"] = "shortest"
    return Fabric.from_networkx(graph, f"{fabric.name} without {rank}")


def line(ranks: int) -> Fabric:
    """A path."""
    return cabled(f"path{ranks}", range(ranks), [(i, i + 1, 1) for i in range(ranks - 1)])


def triangles() -> Fabric:
    """Two triangles joined by a bridge."""
    cables = [(0, 1, 1), (1, 2, 1), (0, 2, 1), (3, 4, 1), (4, 5, 1), (3, 5, 1), (2, 3, 1)]
    return cabled("two triangles", range(6), cables)


def star(ranks: int) -> Fabric:
    """One switch."""
    return cabled(f"star{ranks}", range(ranks), [(i, "switch", 1) for i in range(ranks)])


def cut_torus(*shape: int) -> Fabric:
    """A torus without the cable between its first two ranks."""
    fabric = grid(*shape)
    return fabric.without([(fabric.nodes[0], fabric.nodes[1])])


def known() -> dict[str, tuple[Fabric, Fraction, Fraction]]:
    """Graph, all-gather time in S/(N unit) (its largest ratio of ranks to capacity over all cuts), all-reduce time
    in S/unit.

    All-gather: reference values, each equal to the enumeration of all cuts.  All-reduce: 2(N-1)/sum of capacities
    where links bind, else the cut or partition that binds.
    """
    return {
        "two boxes": (boxes(2, 4), Fraction(1), Fraction(1, 4)),
        "torus": (grid(3, 4), Fraction(11, 4), Fraction(22, 48)),
        "cut cable": (cut_torus(3, 4), Fraction(11, 3), Fraction(22, 46)),
        "lost node": (without_node(grid(3, 3), 4), Fraction(7, 3), Fraction(14, 28)),
        "path": (line(8), Fraction(7), Fraction(1)),
        "two triangles": (triangles(), Fraction(3), Fraction(1)),
        "star": (star(8), Fraction(7), Fraction(14, 8)),
    }


def schedule(
    name: str, fabric: Fabric, operation: str, bytes: float, chunks: int = 1, root: int = 0
) -> Schedule:
    """The schedule of an algorithm on all ranks."""
    collective = Collective(operation, fabric.ranks, bytes, root=root)
    return build(name, collective, Site(fabric, np.arange(fabric.ranks)), chunks)


def seconds(name: str, fabric: Fabric, operation: str, bytes: float, chunks: int = 1, root: int = 0) -> float:
    """Its simulated time."""
    return run_schedule(schedule(name, fabric, operation, bytes, chunks, root), fabric)
