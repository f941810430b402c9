"""How far the constants of a system's links rest on measurements or documents, in words."""

from __future__ import annotations

from topo.ccl.model import LinkClass
from topo.ccl.place import Links

GUESSED = ("estimate", "memory", "analyst")
"""Confidences of constants on which neither a measurement nor a document bears."""


def guessed(links: Links, *, between: bool) -> list[str]:
    """A sentence for every technology of which constants are guessed or taken over from another.

    Parameters
    ----------
    links : Links
    between : bool
        Whether the system has links between domains.
    """
    return [
        text
        for one in ((links.inside, links.between) if between else (links.inside,))
        if (text := _said(one))
    ]


def _said(links: LinkClass) -> str:
    unsure = [constant for constant in links.constants.values() if constant.confidence in GUESSED]
    if not unsure:
        return ""
    all_of = "all" if len(unsure) == len(links.constants) else f"{len(unsure)} of {len(links.constants)}"
    sources = list(dict.fromkeys(constant.source for constant in unsure))
    return f"{links.title}: {all_of} constants are guessed ({'; '.join(sources[:2])}); no measurement bears on them"
