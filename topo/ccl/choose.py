"""The calls that a library may make for a collective."""

from __future__ import annotations

from topo.ccl import generic, nccl
from topo.ccl.call import Call
from topo.ccl.model import CCL, PROTOCOLS
from topo.ccl.nccl import protocol_terms
from topo.ccl.place import Place
from topo.collective import Collective
from topo.errors import AlgorithmError


def offered(ccl: CCL, collective: Collective, place: Place, algorithm: str = "auto") -> list[Call]:
    """The calls among which a library chooses; the fastest is made, a rule of its own leaves one.

    Parameters
    ----------
    algorithm : str
        ``auto``, an algorithm in the library's words, or a registered one.

    Raises
    ------
    AlgorithmError
        Not offered there.
    """
    if ccl.ideal:
        raise AlgorithmError("the ideal library makes no calls", "simulate without one")
    if ccl.family == "nccl":
        if algorithm in ("auto", *nccl.ALGORITHMS):
            return [nccl.call(ccl, collective, place, algorithm)]
        return [_plain(ccl, place, algorithm, protocol) for protocol in PROTOCOLS]
    if algorithm == "auto" or algorithm in {offer.algorithm for offer in generic.offers(ccl, collective)}:
        return generic.calls(ccl, collective, place, algorithm)
    return [_plain(ccl, place, algorithm, protocol) for protocol in generic.protocols(ccl)]


def _plain(ccl: CCL, place: Place, algorithm: str, protocol: str) -> Call:
    """A registered algorithm that the library does not offer, at the library's costs."""
    launch = ccl.get("launch") + place.links.inside.get("launch")
    return Call(
        algorithm,
        algorithm,
        protocol,
        place.links.inside.channels,
        1,
        launch,
        protocol_terms(place, protocol),
    )
