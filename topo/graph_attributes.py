"""The attributes of a graph that is to become a Fabric, read one by one."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

from topo.errors import FabricError, UnitError
from topo.units import parse_bandwidth, parse_time


def edge_numbers(a: Hashable, b: Hashable, data: dict[str, Any]) -> tuple[float, float, int]:
    """Bandwidth of one cable (bytes/s), latency (s) and number of cables of an edge.

    Raises
    ------
    FabricError
        Naming the edge.
    """
    where = f"edge {a!r} -> {b!r}"
    if "bandwidth" not in data:
        raise FabricError(
            f"{where} has no bandwidth", "give it bandwidth in bytes/s, or text such as '50GB/s'"
        )
    bandwidth, latency, cables = data["bandwidth"], data.get("latency", 0.0), data.get("cables", 1)
    try:
        if isinstance(bandwidth, str):
            bandwidth = parse_bandwidth(bandwidth)
        if isinstance(latency, str):
            latency = parse_time(latency, allow_zero=True)
        bandwidth, latency, number = float(bandwidth), float(latency), int(cables)
    except UnitError as problem:
        raise FabricError(f"{where}: {problem.message}", problem.hint) from None
    except (TypeError, ValueError, OverflowError) as problem:
        raise FabricError(
            f"{where}: {problem}", "bandwidth and latency are numbers, cables an integer"
        ) from None
    if not 0 < bandwidth < math.inf:
        raise FabricError(f"{where}: bandwidth {bandwidth} is not a positive number of bytes/s")
    if not 0 <= latency < math.inf:
        raise FabricError(f"{where}: latency {latency} is not a number of seconds from 0 up")
    if not 1 <= number < 2**31 or number != float(cables):
        raise FabricError(f"{where}: cables {cables!r} is not a whole number from 1 up")
    return bandwidth, latency, number


def position_of(node: Hashable, value: Any) -> tuple[float, float]:
    """Where a node is drawn.

    Raises
    ------
    FabricError
        Naming the node.
    """
    try:
        x, y = map(float, value)
    except (TypeError, ValueError):
        x = y = math.nan
    if not (math.isfinite(x) and math.isfinite(y)):
        raise FabricError(f"node {node!r}: position {value!r} is not a pair of numbers", "give (x, y)")
    return x, y
