"""All elementary bounds: cheap on any fabric, valid for any algorithm, in-network ones included."""

from __future__ import annotations

from topo.bounds.bound import Bound
from topo.bounds.capacity import capacity_bound
from topo.bounds.elementary_cuts import cut_bounds
from topo.bounds.group import Group
from topo.bounds.latency import latency_bound
from topo.bounds.partitions import partition_bounds
from topo.bounds.ports import port_bounds
from topo.collective import Collective


def elementary_bounds(collective: Collective, group: Group) -> list[Bound]:
    """Port, capacity, latency, cut and partition bounds, tightest first.

    Each leaves aside how fast messages can be issued and what libraries cost; a barrier moves no bytes and
    has the latency bound only.
    """
    found = [latency_bound(collective, group)]
    if collective.operation != "barrier":
        found += port_bounds(collective, group)
        found += cut_bounds(collective, group)
        found += partition_bounds(collective, group)
        capacity = capacity_bound(collective, group)
        found += [] if capacity is None else [capacity]
    return tightest_first(found)


def tightest_first(bounds: list[Bound], rounding: float = 1e-12) -> list[Bound]:
    """Bounds from the largest time to the smallest; those that equal the largest, in the order given.

    Parameters
    ----------
    bounds : list of Bound
    rounding : float
        Relative difference up to which times are equal.
    """
    most = max(bound.seconds for bound in bounds)
    top = [bound for bound in bounds if bound.seconds >= most * (1 - rounding)]
    rest = [bound for bound in bounds if bound.seconds < most * (1 - rounding)]
    return [*top, *sorted(rest, key=lambda bound: -bound.seconds)]
