"""Checks of the arguments of builders: each says what was wrong, where, and what would be right."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import SupportsIndex

from topo.errors import FabricError
from topo.units import parse_bandwidth, parse_time

DEFAULT_BANDWIDTH = 50e9
"""Bytes/s per link and direction of a bare topology."""
DEFAULT_LATENCY = 1e-6
"""Seconds per link of a bare topology."""

Quantity = float | str
"""A number in SI units, or text with a unit."""
Quantities = Quantity | Sequence[Quantity]
"""One value for all, or a sequence of one for each."""

MOST_NODES = 2_000_000
MOST_LINKS = 4_000_000


def whole(value: SupportsIndex, what: str, least: int = 1, most: int | None = None) -> int:
    """A whole number within limits.

    Raises
    ------
    FabricError
        Not a whole number, below ``least`` or above ``most``.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise FabricError(f"{what} {value!r} is not a whole number", f"use {least} or more") from None
    if number < least:
        raise FabricError(f"{what} {number} is too small", f"use {least} or more")
    if most is not None and number > most:
        raise FabricError(f"{what} {number} is too large", f"use at most {most}")
    return number


def wholes(values: Sequence[SupportsIndex], what: str, least: int = 1) -> tuple[int, ...]:
    """A non-empty tuple of whole numbers."""
    if isinstance(values, str) or not isinstance(values, Sequence) or not values:
        raise FabricError(f"{what} {values!r} is not a list of whole numbers", "for example (4, 4)")
    return tuple(whole(value, what, least) for value in values)


def ratio(value: float, what: str) -> float:
    """A positive finite number.

    Raises
    ------
    FabricError
        Zero, negative, NaN or infinite.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 < number < math.inf:
        raise FabricError(f"{what} {value!r} is not a positive number", "for example 2")
    return number


def bandwidth(value: Quantity) -> float:
    """Bytes/s, more than none."""
    return parse_bandwidth(value)


def latency(value: Quantity) -> float:
    """Seconds, none or more."""
    return parse_time(value, allow_zero=True)


def bandwidths(value: Quantities, count: int, each: str) -> tuple[float, ...]:
    """Bytes/s of ``count`` things: one value for all, or one value ``each``."""
    return _several(value, count, each, "bandwidth", bandwidth)


def latencies(value: Quantities, count: int, each: str) -> tuple[float, ...]:
    """Seconds of ``count`` things: one value for all, or one value ``each``."""
    return _several(value, count, each, "latency", latency)


def _several(
    value: Quantities, count: int, each: str, what: str, check: Callable[[Quantity], float]
) -> tuple[float, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        return (check(value),) * count
    if len(value) not in (1, count):
        raise FabricError(
            f"{what} has {len(value)} values for {count} ({each})",
            f"give one value, or {count}: one per {each}",
        )
    checked = tuple(check(one) for one in value)
    return checked if len(checked) == count else checked * count


def affordable(name: str, nodes: int, links: int, hint: str = "") -> None:
    """Refuse a graph that is too large to be drawn up node by node.

    Parameters
    ----------
    name : str
        What is built.
    nodes, links : int
        How many nodes and directed links it would have.
    hint : str
        A smaller way to say the same.

    Raises
    ------
    FabricError
        Too large.
    """
    for number, most, what in ((nodes, MOST_NODES, "nodes"), (links, MOST_LINKS, "directed links")):
        if number > most:
            shown = f"{number:,}" if number < 1e15 else "far too many"
            raise FabricError(f"{name} would have {shown} {what}", hint or f"the limit is {most:,}")
