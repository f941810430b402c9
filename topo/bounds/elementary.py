"""All elementary bounds: cheap on any fabric, valid for any algorithm, in-network ones included."""

from __future__ import annotations

from topo.bounds.bound import Bound
from topo.bounds.capacity import capacity_bound
from topo.bounds.elementary_cuts import cut_bounds
from topo.bounds.group import Group
from topo.bounds.latency import latency_bound
from topo.bounds.ports import port_bounds
from topo.collective import Collective


def elementary_bounds(collective: Collective, group: Group) -> list[Bound]:
    """Port, capacity, latency and cut bounds, tightest first.

    Each leaves aside how fast messages can be issued and what libraries cost; a barrier moves no bytes and
    has the latency bound only.
    """
    found = [latency_bound(collective, group)]
    if collective.operation != "barrier":
        found += port_bounds(collective, group)
        found += cut_bounds(collective, group)
        capacity = capacity_bound(collective, group)
        found += [] if capacity is None else [capacity]
    return tightest_first(found)


def tightest_first(bounds: list[Bound]) -> list[Bound]:
    """Bounds from the largest time to the smallest; among equals (to 1e-12) the order given."""
    return sorted(bounds, key=lambda bound: -float(f"{bound.seconds:.12e}"))
