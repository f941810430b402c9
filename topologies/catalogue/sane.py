"""Whether the numbers of a file can be true together: units, and one direction against both."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from topo.errors import CatalogueError
from topo.units import format_bandwidth
from topologies.catalogue.document import Document, Key, read
from topologies.catalogue.schema import SystemFile
from topologies.catalogue.values import Value

_LIMITS = Path(__file__).parent / "limits.yaml"
# Printed figures are rounded, to three digits as a rule.
_ROUNDING = 0.02
_CLOSE_TO_TWICE = (1.8, 2.2)


def check(document: Document, system: SystemFile) -> None:
    """Refuse values beyond any sane range, and totals that their parts contradict.

    Raises
    ------
    CatalogueError
        With file, line, key and what would be right.
    """
    for path, limit in _limits().items():
        _within(document, system, path, limit)
    _totals(document, system)


@lru_cache(maxsize=1)
def _limits() -> dict[str, Any]:
    return read(_LIMITS).data


def _within(document: Document, system: SystemFile, path: str, limit: dict[str, Any]) -> None:
    section, name = path.split(".")
    found = getattr(getattr(system, section), name, None)
    values = found if isinstance(found, dict) else {"": found}
    for entry, value in values.items():
        if value is None:
            continue
        low, high = value.parse(limit["least"]), value.parse(limit["most"])
        if any(not low <= number <= high for number in value.value):
            key: Key = (section, name, entry) if entry else (section, name)
            raise document.error(
                key,
                f"is {_written(document, key)}: outside {limit['least']} to {limit['most']}",
                f"it means {limit['right']}",
            )


def _written(document: Document, key: Key) -> str:
    """A value as the file writes it."""
    inside: Any = document.data
    for step in (*key, "value"):
        inside = inside[step]
    return str(inside)


def _totals(document: Document, system: SystemFile) -> None:
    up = system.scale_up
    dimensions = len(up.link_bandwidth.value)
    if up.links.number % dimensions:
        raise document.error(
            ("scale_up", "link_bandwidth"),
            f"has {dimensions} values for {up.links.number:.0f} links",
            "give one value, or one per dimension of a torus",
        )
    total = egress(system)
    stated = up.accelerator_bandwidth
    if stated is not None:
        _same(
            document,
            ("scale_up", "accelerator_bandwidth"),
            stated,
            total,
            f"{up.links.number:.0f} links together",
        )
    marketing = up.marketing_bandwidth
    if marketing is not None and marketing.convention in ("both directions", "per direction"):
        factor = 2 if marketing.convention == "both directions" else 1
        key: Key = ("scale_up", "marketing_bandwidth")
        if abs(marketing.number / (factor * total) - 1) > _ROUNDING:
            raise document.error(
                key,
                f"is {_written(document, key)}, but links of {format_bandwidth(total)} a direction make "
                f"{format_bandwidth(factor * total)} counted as {marketing.convention!r}",
                "correct the link rate, the count of links or the convention",
            )
    effective = up.effective_link_bandwidth
    if effective is not None and effective.number > max(up.link_bandwidth.value):
        raise document.error(
            ("scale_up", "effective_link_bandwidth"),
            "is above the rate of the link",
            "give what a library reaches of one link in one direction",
        )


def egress(system: SystemFile) -> float:
    """B/s in one direction of all links of an accelerator with all its neighbours."""
    rates = system.scale_up.link_bandwidth.value
    return system.scale_up.links.number / len(rates) * sum(rates)


def _same(document: Document, key: Key, stated: Value, total: float, what: str) -> None:
    ratio = stated.number / total
    if abs(ratio - 1) <= _ROUNDING / 2:
        return
    hint = f"give {format_bandwidth(total)}, or correct links and link_bandwidth"
    if _CLOSE_TO_TWICE[0] < ratio < _CLOSE_TO_TWICE[1]:
        hint = (
            f"that looks like both directions summed: give {format_bandwidth(total)} here, "
            "and the larger figure as marketing_bandwidth"
        )
    elif _CLOSE_TO_TWICE[0] < 1 / ratio < _CLOSE_TO_TWICE[1]:
        hint = (
            f"link_bandwidth looks like both directions summed: a link carries half of it a direction; {hint}"
        )
    raise document.error(
        key, f"is {_written(document, key)}, but {what} make {format_bandwidth(total)}", hint
    )


def check_graph(document: Document, system: SystemFile, sent: float, whole: bool) -> None:
    """Refuse a graph whose busiest accelerator does not send what its links add up to.

    Parameters
    ----------
    sent : float
        B/s of the scale-up links that leave the best-connected accelerator of the graph.
    whole : bool
        Whether all its links must be there; a slice may leave some out.
    """
    total = egress(system)
    if sent > total * (1 + _ROUNDING / 2) or (whole and sent < total * (1 - _ROUNDING / 2)):
        raise CatalogueError(
            f"{document.place(('scale_up', 'builder'))}: scale_up.builder gives an accelerator "
            f"{format_bandwidth(sent)} a direction, but links and link_bandwidth make {format_bandwidth(total)}",
            "correct the parameters of the builder, or the links",
        )
