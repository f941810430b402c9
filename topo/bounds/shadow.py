"""Shadow prices: which cable, doubled or cut, changes a bound most."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, replace

import numpy as np

from topo.bounds.bound import Bound
from topo.bounds.elementary import elementary_bounds
from topo.bounds.exact import bounds_with_exact
from topo.bounds.group import Group, group_of
from topo.bounds.orbits import symmetry_of
from topo.collective import Collective
from topo.errors import BoundError, FabricError
from topo.fabric import Fabric, IntArray

LOOKED_AT = 64


@dataclass(frozen=True)
class ShadowPrice:
    """What one cable is worth to a bound.

    Parameters
    ----------
    ends : (hashable, hashable)
        Labels of the nodes that the cable joins.
    alike : int
        Cables that a symmetry exchanges with it, itself included.
    binds : bool
        Whether it enters the certificate of the bound; only then can doubling it help.
    bound_s, doubled_s, cut_s : float
        Seconds as things are, with one more such cable, and with this one cut; infinity where the fabric falls
        apart.
    """

    ends: tuple[Hashable, Hashable]
    alike: int
    binds: bool
    bound_s: float
    doubled_s: float
    cut_s: float

    @property
    def change(self) -> float:
        """The larger of the two relative changes of the bound."""
        return max(self.cut_s / self.bound_s - 1, 1 - self.doubled_s / self.bound_s)


def shadow_prices(
    collective: Collective,
    fabric: Fabric,
    ranks: IntArray | None = None,
    exact: bool = False,
    most: int = LOOKED_AT,
) -> list[ShadowPrice]:
    """The cables that matter most to the tightest bound, the most important first.

    Parameters
    ----------
    collective : Collective
    fabric : Fabric
    ranks : int array [collective.ranks], optional
        Ranks of the fabric; by default the first ones.
    exact : bool
        Take the exact bounds; slower.
    most : int
        Look at no more cables than this, those of the certificate first.  One of each set of cables that
        a symmetry exchanges is looked at.

    Raises
    ------
    BoundError
        The group does not fit the fabric, or ``most`` is below 1.

    Notes
    -----
    Each bound is computed anew on the changed fabric.  A cable outside the certificate can be doubled without
    effect: the certificate still holds.
    """
    if most < 1:
        raise BoundError(f"{most} cables were to be looked at", "look at one or more")
    group = group_of(collective, fabric, ranks)
    bound = _tightest(collective, group, exact)
    lengths = np.zeros(fabric.links) if bound.lengths is None else bound.lengths
    cables, alike, label = _distinct_cables(collective, group)
    back = fabric.links_between(fabric.target, fabric.source)
    weight = np.zeros(len(cables))
    np.maximum.at(weight, label, lengths)
    order = np.argsort(-weight, kind="stable")[:most]
    found = []
    for i in order:
        link = int(cables[i])
        pair = np.asarray([link] if back[link] < 0 else [link, back[link]])
        doubled = _with_cables(collective, group, pair, 1, exact) if weight[i] > 0 else bound.seconds
        found.append(
            ShadowPrice(
                (fabric.nodes[fabric.source[link]], fabric.nodes[fabric.target[link]]),
                int(alike[i]),
                bool(weight[i] > 0),
                bound.seconds,
                min(doubled, bound.seconds),
                _with_cables(collective, group, pair, -1, exact),
            )
        )
    return sorted(found, key=lambda price: -price.change)


def _tightest(collective: Collective, group: Group, exact: bool) -> Bound:
    return (bounds_with_exact if exact else elementary_bounds)(collective, group)[0]


def _distinct_cables(collective: Collective, group: Group) -> tuple[IntArray, IntArray, IntArray]:
    """One link of each class of cables that are alike, how many cables the class has, and each link's class."""
    fabric = group.fabric
    back = fabric.links_between(fabric.target, fabric.source)
    uniform = collective.matrix is None and collective.operation not in ("broadcast", "reduce", "send-recv")
    label = symmetry_of(group).orbits.link if uniform else np.arange(fabric.links)
    # A cable is both its directions.
    label = np.where(back >= 0, np.minimum(label, label[back]), label)
    classes, first, inverse = np.unique(label, return_index=True, return_inverse=True)
    one_way = np.where(back >= 0, 0.5, 1.0) * fabric.cables
    return first, np.round(np.bincount(inverse, one_way, len(classes))).astype(np.int64), inverse


def _with_cables(collective: Collective, group: Group, links: IntArray, more: int, exact: bool) -> float:
    """The bound with one cable more or less on some links; infinity where the fabric falls apart."""
    fabric = group.fabric
    cables = fabric.cables.copy()
    cables[links] += more
    keep = cables > 0
    changed = replace(
        fabric,
        source=fabric.source[keep],
        target=fabric.target[keep],
        bandwidth=(fabric.bandwidth / fabric.cables * cables)[keep],
        latency=fabric.latency[keep],
        cables=cables[keep],
        scale_out=fabric.scale_out[keep],
        cache={},
    )
    try:
        changed.require_connected()
    except FabricError:
        return math.inf
    return _tightest(collective, Group(changed, group.ranks), exact).seconds
