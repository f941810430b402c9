"""GraphML files as fabrics: read as data, from anywhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

import networkx as nx

from topo.errors import CatalogueError, TopoError
from topo.units import parse_bandwidth, parse_time
from topologies import checks

_LARGEST = 512 * 2**20
_DECLARATION = re.compile(rb"<!\s*(DOCTYPE|ENTITY)", re.IGNORECASE)
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


def read_graphml(path: Path) -> nx.DiGraph:
    """The graph of a GraphML file, with the attributes that a Fabric takes.

    Node attributes: ``kind``, ``domain``, ``multicast``, ``reduce``, and ``x`` and ``y`` (or ``position`` as
    ``x,y``).  Edge attributes: ``bandwidth`` and ``latency`` (numbers in SI units, or text as ``50GB/s``),
    ``cables``, ``tier``.  Undirected edges are full-duplex cables; parallel edges that are alike become one with
    their number of cables.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    networkx.DiGraph
        Node labels are the file's ids.

    Raises
    ------
    CatalogueError
        Unreadable, no GraphML, a document type declaration (entities can expand without end), or parallel edges
        that differ.

    Notes
    -----
    Source: http://graphml.graphdrawing.org/specification.html
    """
    _refuse_unsafe(path)
    try:
        graph = nx.read_graphml(path)
    except (ParseError, nx.NetworkXError, KeyError, ValueError, TypeError, AttributeError) as error:
        hint = "networkx.write_graphml writes files of the right form"
        raise CatalogueError(f"{path.name} is no GraphML: {error}", hint) from None
    checks.affordable(path.name, graph.number_of_nodes(), 2 * graph.number_of_edges())
    try:
        return _cleaned(graph)
    except TopoError as error:
        raise CatalogueError(f"{path.name}: {error.message}", error.hint) from None


def _refuse_unsafe(path: Path) -> None:
    try:
        if path.stat().st_size > _LARGEST:
            raise CatalogueError(f"{path.name} is larger than {_LARGEST >> 20} MiB", "use a smaller graph")
        content = path.read_bytes()
    except OSError as error:
        raise CatalogueError(
            f"cannot read {path}: {error.strerror}", "give the path of a GraphML file"
        ) from None
    # Other encodings could hide a declaration from the search below.
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        raise CatalogueError(f"{path.name} is not UTF-8 text", "save it as UTF-8") from None
    if b"\0" in content or re.search(
        rb"encoding\s*=\s*[\"'](?!utf-8|us-ascii|ascii)", content[:200], re.IGNORECASE
    ):
        raise CatalogueError(f"{path.name} is not UTF-8 text", "save it as UTF-8")
    if _DECLARATION.search(content):
        raise CatalogueError(f"{path.name} has a document type or entity declaration", "remove it")


def _cleaned(graph: nx.Graph) -> nx.DiGraph:
    """A plain DiGraph with typed attributes."""
    result = nx.DiGraph(name=str(graph.graph.get("name", "")))
    for node, data in graph.nodes(data=True):
        result.add_node(node, **_node(node, data))
    for a, b, data in graph.edges(data=True):
        where = f"edge {a!r} -> {b!r}"
        wanted = _edge(where, data)
        for one, other in ((a, b),) if graph.is_directed() else ((a, b), (b, a)):
            if not result.has_edge(one, other):
                result.add_edge(one, other, **wanted)
                continue
            there = result.edges[one, other]
            if {**there, "cables": 1} != {**wanted, "cables": 1}:
                raise CatalogueError(
                    f"{where} stands twice with different attributes", "make parallel edges alike"
                )
            there["cables"] += wanted["cables"]
    return result


def _node(node: Any, data: dict[str, Any]) -> dict[str, Any]:
    wanted: dict[str, Any] = {"kind": str(data.get("kind", "accelerator"))}
    if "domain" in data:
        wanted["domain"] = data["domain"]
    for ability in ("multicast", "reduce"):
        if ability in data:
            text = str(data[ability]).lower()
            if text not in _FLAGS:
                raise CatalogueError(f"node {node!r}: {ability} {data[ability]!r} is neither true nor false")
            wanted[ability] = _FLAGS[text]
    place = str(data["position"]).split(",") if "position" in data else [data.get("x"), data.get("y")]
    if any(value is not None for value in place):
        try:
            x, y = (float(str(value)) for value in place)
        except ValueError:
            raise CatalogueError(f"node {node!r}: position {place} is not two numbers") from None
        wanted["position"] = (x, y)
    return wanted


def _edge(where: str, data: dict[str, Any]) -> dict[str, Any]:
    if "bandwidth" not in data:
        raise CatalogueError(f"{where} has no bandwidth", "give it one in bytes/s, or as text such as 50GB/s")
    try:
        number = int(data.get("cables", 1))
        wanted = {
            "bandwidth": parse_bandwidth(data["bandwidth"]),
            "latency": parse_time(data.get("latency", 0.0), allow_zero=True),
            "cables": number,
            "tier": str(data.get("tier", "scale-up")),
        }
    except (TopoError, ValueError) as error:
        raise CatalogueError(f"{where}: {error}") from None
    if number < 1 or number != float(data.get("cables", 1)):
        raise CatalogueError(f"{where}: cables {data['cables']!r} is not a whole number from 1 up")
    return wanted
