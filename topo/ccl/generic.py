"""Calls of libraries whose rule of choice nobody published: of what they offer, the least time wins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from topo.algorithms import find, refusal
from topo.ccl.call import Call, wired_rings
from topo.ccl.model import CCL
from topo.ccl.nccl import protocol_terms
from topo.ccl.place import Place
from topo.collective import Collective
from topo.errors import AlgorithmError

FEW_CHUNKS = 16
SMALLEST_CHUNK = 65536.0


def offers(ccl: CCL, collective: Collective) -> tuple[str, ...]:
    """Algorithms that the library offers for an operation."""
    tables: Mapping[str, Any] = ccl.tuner
    return tuple(tables.get("operations", {}).get(collective.operation, ()))


def protocols(ccl: CCL) -> tuple[str, ...]:
    """Protocols that the library has."""
    tables: Mapping[str, Any] = ccl.tuner
    return tuple(tables.get("protocols", ("Simple",)))


def calls(ccl: CCL, collective: Collective, place: Place, algorithm: str = "auto") -> list[Call]:
    """All calls that the library offers for a collective; the fastest is the one it makes.

    Raises
    ------
    AlgorithmError
        It offers none, or not the one asked for.
    """
    listed = offers(ccl, collective)
    wanted = [name for name in listed if algorithm in ("auto", name)]
    found = [
        _call(ccl, collective, place, name, protocol)
        for name in wanted
        if _fits(name, collective, place)
        for protocol in protocols(ccl)
    ]
    if not found:
        raise AlgorithmError(
            f"{ccl.name} does not offer {algorithm} for {collective.operation} among these {place.ranks} ranks",
            f"it has {', '.join(listed)}",
        )
    return found


def _fits(name: str, collective: Collective, place: Place) -> bool:
    if name == "rings":
        return wired_rings(place.site) > 0
    return not refusal(find(name), collective, place.site)


def _call(ccl: CCL, collective: Collective, place: Place, name: str, protocol: str) -> Call:
    pieces = int(collective.bytes / (place.ranks * SMALLEST_CHUNK))
    chunks = max(1, min(FEW_CHUNKS, pieces)) if name != "rings" and find(name).pipelines else 1
    launch = ccl.get("launch") + place.links.inside.get("launch")
    if place.nodes > 1:
        launch += place.links.between.get("launch")
    return Call(
        name, name, protocol, place.links.inside.channels, chunks, launch, protocol_terms(place, protocol)
    )
