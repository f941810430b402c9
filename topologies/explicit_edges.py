"""A graph of accelerators by the list of its cables."""

from __future__ import annotations

from collections.abc import Sequence

import networkx as nx

from topo.errors import FabricError
from topologies import checks
from topologies.graph import Position, accelerator, cable, circle


def explicit_edges(
    n: int,
    edges_u_v_multiplicity: Sequence[Sequence[int]],
    bandwidth: checks.Quantity,
    latency: checks.Quantity,
    label: str = "gpu",
    positions: Sequence[Position] | None = None,
) -> nx.DiGraph:
    """Accelerators joined by the cables of a list, as DGX-1's hybrid cube mesh.

    Parameters
    ----------
    n : int
        Accelerators.
    edges_u_v_multiplicity : sequence of (int, int, int)
        For each joined pair: the two accelerators and how many parallel cables join them.
    bandwidth : float or text
        Bytes/s per direction of one cable.
    latency : float or text
        Seconds of each link.
    label : str
        What accelerators are called: ``gpu0`` ..
    positions : sequence [n] of (float, float), optional
        Where a drawing puts them; default around a circle.

    Raises
    ------
    TopoError
        A pair that does not exist, joins an accelerator to itself or is listed twice; a number below 1.

    Notes
    -----
    Source: the list's own.
    """
    n = checks.whole(n, "n")
    rate, delay = checks.bandwidth(bandwidth), checks.latency(latency)
    graph = nx.DiGraph(name=f"explicit-edges:{n}")
    places = circle(n) if positions is None else [(float(x), float(y)) for x, y in positions]
    if len(places) != n:
        raise FabricError(f"{len(places)} positions for {n} accelerators", "give one for each")
    for i, position in enumerate(places):
        accelerator(graph, f"{label}{i}", position)
    for entry in edges_u_v_multiplicity:
        if isinstance(entry, str) or not isinstance(entry, Sequence) or len(entry) != 3:
            raise FabricError(f"edge {entry!r} is not (u, v, multiplicity)", "for example [0, 1, 2]")
        u, v = (checks.whole(end, "end of an edge", 0, n - 1) for end in entry[:2])
        if u == v:
            raise FabricError(f"edge {list(entry)} joins {label}{u} to itself", "remove it")
        if graph.has_edge(f"{label}{u}", f"{label}{v}"):
            raise FabricError(f"the pair {u}, {v} is listed twice", "write it once with its multiplicity")
        cables = checks.whole(entry[2], f"multiplicity of the edge {u}, {v}")
        cable(graph, f"{label}{u}", f"{label}{v}", rate, delay, cables)
    return graph
