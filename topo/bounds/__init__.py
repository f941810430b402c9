"""Lower bounds: times that no algorithm can beat, each with a certificate.

Elementary bounds (ports, capacity, latency, cuts that are quick to look at) cost milliseconds on any fabric.
Exact ones (all cuts, linear programs) are solved on request.  Programs and maximum flows are imported only then.
"""

from __future__ import annotations

from topo.bounds.bisection import bisection, diameter
from topo.bounds.bound import Bound
from topo.bounds.elementary import elementary_bounds
from topo.bounds.group import group_of
from topo.collective import Collective
from topo.errors import BoundError
from topo.fabric import Fabric, IntArray

__all__ = ["Bound", "all_bounds", "bisection", "diameter", "lower_bound"]


def all_bounds(
    collective: Collective, fabric: Fabric, ranks: IntArray | None = None, exact: bool = False
) -> list[Bound]:
    """Every bound on the time of a collective, tightest first.

    Parameters
    ----------
    collective : Collective
    fabric : Fabric
    ranks : int array [collective.ranks], optional
        Ranks of the fabric that take part; by default the first ``collective.ranks``.
    exact : bool
        Also solve for the exact bound where the fabric is small or regular enough; the first bound's data say
        under ``exact`` whether it was, and under ``why`` what stood in the way.

    Raises
    ------
    BoundError
        The group does not fit the fabric, or the fabric splits it.
    """
    group = group_of(collective, fabric, ranks)
    if exact:
        from topo.bounds.exact import bounds_with_exact

        found = bounds_with_exact(collective, group)
    else:
        found = elementary_bounds(collective, group)
    if not all(bound.seconds < float("inf") for bound in found):
        raise BoundError(f"{fabric.name} splits the group: some ranks cannot reach others", "mend the fabric")
    return found


def lower_bound(
    collective: Collective, fabric: Fabric, ranks: IntArray | None = None, exact: bool = False
) -> Bound:
    """The tightest bound on the time of a collective: see :func:`all_bounds`."""
    return all_bounds(collective, fabric, ranks, exact)[0]
