"""The few calls by which every builder draws up its networkx graph, so that all use the same attributes.

Positions are plain (x, y) pairs; each layout here is one that a person recognises in a drawing.
"""

from __future__ import annotations

import math
from collections.abc import Hashable

import networkx as nx

Position = tuple[float, float]


def accelerator(graph: nx.DiGraph, label: Hashable, position: Position, domain: int = 0) -> None:
    """Add an accelerator of a scale-up domain; ranks follow the order of these calls."""
    graph.add_node(label, kind="accelerator", domain=domain, position=position)


def switch(
    graph: nx.DiGraph,
    label: Hashable,
    position: Position,
    multicast: bool = False,
    reduce: bool = False,
    one_pass: bool = True,
) -> None:
    """Add a switch; ``multicast``, ``reduce`` and ``one_pass`` (both at once) say what it can do to data."""
    graph.add_node(
        label, kind="switch", multicast=multicast, reduce=reduce, one_pass=one_pass, position=position
    )


def nic(graph: nx.DiGraph, label: Hashable, position: Position) -> None:
    """Add a node that is neither accelerator nor switch, as an interface processor."""
    graph.add_node(label, kind="nic", position=position)


def cable(
    graph: nx.DiGraph,
    a: Hashable,
    b: Hashable,
    bandwidth: float,
    latency: float,
    cables: int = 1,
    tier: str = "scale-up",
) -> None:
    """Join two nodes by ``cables`` parallel full-duplex cables: an edge each way.

    Parameters
    ----------
    bandwidth : float
        Bytes/s of one cable in one direction.
    latency : float
        Seconds.
    tier : str
        ``scale-up`` or ``scale-out``.
    """
    graph.add_edge(a, b, bandwidth=bandwidth, latency=latency, cables=cables, tier=tier)
    graph.add_edge(b, a, bandwidth=bandwidth, latency=latency, cables=cables, tier=tier)


def circle(count: int, centre: Position = (0.0, 0.0), radius: float = 1.0) -> list[Position]:
    """Positions clockwise around a circle from the top."""
    angles = [math.pi / 2 - 2 * math.pi * i / count for i in range(count)]
    return [(centre[0] + radius * math.cos(a), centre[1] + radius * math.sin(a)) for a in angles]


def row(count: int, y: float, left: float = 0.0, right: float | None = None) -> list[Position]:
    """Positions from left to right, evenly spread over a width, each in the middle of its share.

    Without ``right``, the nodes stand one unit apart.
    """
    width = float(count) if right is None else right - left
    return [(left + width * (i + 0.5) / count, y) for i in range(count)]
