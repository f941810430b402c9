"""Link lengths, as a dual solution gives them, in words and as JSON."""

from __future__ import annotations

from typing import Any

import numpy as np

from topo.fabric import Fabric, FloatArray

_VALUES = 4
_LINKS = 3
_KEPT = 256


def say_lengths(fabric: Fabric, lengths: FloatArray) -> str:
    """Lengths of links as a person writes them: ``1 on all 96 links``, ``1 on 32 links (a -> b, ...)``."""
    rounded = np.round(lengths, 6)
    values = sorted(np.unique(rounded[rounded > 0]).tolist(), reverse=True)
    parts = []
    for value in values[:_VALUES]:
        links = np.flatnonzero(rounded == value)
        if len(links) == fabric.links:
            return f"{value:g} on all {fabric.links} links"
        shown = ", ".join(fabric.link_label(int(link)) for link in links[:_LINKS])
        more = ", ..." if len(links) > _LINKS else ""
        parts.append(f"{value:g} on {len(links)} links ({shown}{more})")
    if len(values) > _VALUES:
        parts.append(f"and {len(values) - _VALUES} smaller values")
    return "; ".join([*parts, "0 elsewhere"]) if (rounded == 0).any() else "; ".join(parts)


def lengths_data(fabric: Fabric, lengths: FloatArray) -> dict[str, Any]:
    """The links of positive length, longest first, and their lengths, for JSON."""
    order = np.argsort(-lengths, kind="stable")
    order = order[lengths[order] > 0]
    return {
        "lengths": {fabric.link_label(int(link)): float(lengths[link]) for link in order[:_KEPT]},
        "links_with_length": len(order),
    }
