"""Calls of libraries whose rule of choice nobody published: of what they offer, the least time wins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from topo.algorithms import find, refusal
from topo.ccl.call import Call, wired_rings
from topo.ccl.model import CCL
from topo.ccl.nccl import launch_of, protocol_terms, ring_step
from topo.ccl.place import Place
from topo.collective import Collective
from topo.errors import AlgorithmError
from topo.units import parse_bytes

FEW_CHUNKS = 16
SMALLEST_CHUNK = 65536.0


@dataclass(frozen=True)
class Offer:
    """One algorithm that a library has for an operation.

    Parameters
    ----------
    algorithm : str
        A registered one, or ``rings``.
    protocol : str
        The only one that it comes in; empty for all of the library's.
    least : float
        Bytes from which on it is there.
    ranks : int
        Ranks from which on it is there.
    inside : bool
        Whether it is there inside one domain only.
    """

    algorithm: str
    protocol: str = ""
    least: float = 0.0
    ranks: int = 0
    inside: bool = False


def offers(ccl: CCL, collective: Collective) -> list[Offer]:
    """What the library offers for an operation.

    In its file an offer is a name, or a mapping of ``algorithm``, ``protocol``, ``from`` (a size), ``ranks`` (the
    fewest) and ``inside`` (one domain only).
    """
    tables: Mapping[str, Any] = ccl.tuner
    found = []
    for entry in tables.get("operations", {}).get(collective.operation, ()):
        if isinstance(entry, str):
            found.append(Offer(entry))
        else:
            least = parse_bytes(entry["from"]) if "from" in entry else 0.0
            found.append(
                Offer(
                    entry["algorithm"],
                    entry.get("protocol", ""),
                    least,
                    int(entry.get("ranks", 0)),
                    bool(entry.get("inside", False)),
                )
            )
    return found


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
    found = [
        _call(ccl, collective, place, offer.algorithm, protocol)
        for offer in listed
        if algorithm in ("auto", offer.algorithm)
        and (algorithm != "auto" or (collective.bytes >= offer.least and place.ranks >= offer.ranks))
        and (algorithm != "auto" or place.nodes == 1 or not offer.inside)
        and _fits(offer.algorithm, collective, place)
        for protocol in ((offer.protocol,) if offer.protocol else protocols(ccl))
    ]
    if not found:
        raise AlgorithmError(
            f"{ccl.name} does not offer {algorithm} for {collective.operation} among these {place.ranks} ranks",
            f"it has {', '.join(offer.algorithm for offer in listed)}",
        )
    return found


def _fits(name: str, collective: Collective, place: Place) -> bool:
    if name == "rings":
        return wired_rings(place.site) > 0
    return not refusal(find(name), collective, place.site)


def _call(ccl: CCL, collective: Collective, place: Place, name: str, protocol: str) -> Call:
    pieces = int(collective.bytes / (place.ranks * SMALLEST_CHUNK))
    chunks = max(1, min(FEW_CHUNKS, pieces)) if name != "rings" and find(name).pipelines else 1
    launch = launch_of(ccl, place)
    if place.nodes > 1:
        launch += place.links.between.get("launch")
    terms = protocol_terms(place, protocol)
    if protocol == "LL" and name in ("ring", "rings"):
        terms = replace(terms, step=(ring_step(collective, place, terms.step[0]), terms.step[1]))
    return Call(name, name, protocol, place.links.inside.channels, chunks, launch, terms)
