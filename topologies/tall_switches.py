"""The switches of the largest scale-out networks: three tiers of a fat tree, and dragonfly groups."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np

from topo.errors import FabricError
from topologies import checks
from topologies.dragonfly import global_cables
from topologies.fat_tree import uplinks
from topologies.switches import LEAF_DOWNLINKS, Switches, leaves_and_spines

SPINE_DOWNLINKS = 32
"""Downlinks of a spine below cores by default: half of a 64-port switch."""
ROUTER_HOSTS = 16
"""Accelerators on a dragonfly router by default; a balanced router of them has 4 * 16 - 1 ports."""


def pods_and_cores(
    count: int,
    ranks: int,
    rate: float,
    rails: int | None = None,
    unit: int | None = None,
    spines: int | None = None,
    oversubscription: float = 1.0,
    pod: int | None = None,
    core_oversubscription: float = 1.0,
) -> Switches:
    """Pods of leaves and spines; spine ``j`` of every pod is joined to the core switches of group ``j``.

    Parameters
    ----------
    count, ranks, rate, rails, unit, spines, oversubscription
        As for :func:`topologies.switches.leaves_and_spines`; ``spines`` are those of a pod.
    pod : int, optional
        Domains of a pod, a multiple of ``unit``; default as many units as give a spine up to 32 downlinks.
    core_oversubscription : float
        Bandwidth down over bandwidth up of a spine.  With one pod there are no cores.

    Raises
    ------
    FabricError
        A number out of range.

    Notes
    -----
    Source: M. Al-Fares, A. Loukissas and A. Vahdat, "A scalable, commodity data center network architecture",
    SIGCOMM 2008, section 3: pods of two tiers, each aggregation switch with core switches of its own.
    """
    rails = ranks if rails is None else checks.whole(rails, "rails", 1, ranks)
    per_rail = -(-ranks // rails)
    unit = max(1, LEAF_DOWNLINKS // per_rail) if unit is None else checks.whole(unit, "unit")
    unit = min(unit, count)
    up = uplinks(unit * per_rail, oversubscription, spines)
    units = max(1, SPINE_DOWNLINKS // (rails * up.cables)) if pod is None else _units(pod, unit)
    size = units * unit
    if size >= count:
        return leaves_and_spines(count, ranks, rate, rails, unit, spines, oversubscription)
    pods = -(-count // size)
    all_units = -(-count // unit)
    leaves, tops = all_units * rails, pods * up.spines
    core = uplinks(units * rails * up.cables, core_oversubscription)
    cores = up.spines * core.spines
    flat = leaves_and_spines(count, ranks, rate, rails, unit, up.spines, oversubscription)
    pod_of_leaf = np.arange(leaves) // (units * rails)
    spine = np.arange(tops)
    low = [np.repeat(np.arange(leaves), up.spines), leaves + np.repeat(spine, core.spines)]
    high = [
        leaves + (pod_of_leaf[:, None] * up.spines + np.arange(up.spines)).ravel(),
        leaves + tops + (spine[:, None] % up.spines * core.spines + np.arange(core.spines)).ravel(),
    ]
    first = np.arange(pods) * size
    served = np.minimum(first + size, count) - first
    middle = (first[:, None] + served[:, None] * (np.arange(up.spines) + 0.5) / up.spines) / count
    cable = rate * up.share
    return replace(
        flat,
        labels=(
            *(f"leaf{i}" for i in range(leaves)),
            *(f"spine{i}" for i in range(tops)),
            *(f"core{i}" for i in range(cores)),
        ),
        lower=np.concatenate(low),
        upper=np.concatenate(high),
        bandwidth=np.repeat(
            [cable * up.cables, cable * core.share * core.cables], [len(part) for part in low]
        ),
        cables=np.repeat([up.cables, core.cables], [len(part) for part in low]),
        across=np.concatenate([flat.across[:leaves], middle.ravel(), (np.arange(cores) + 0.5) / cores]),
        level=np.repeat([1.0, 2.0, 3.0], [leaves, tops, cores]),
    )


def _units(pod: int, unit: int) -> int:
    pod = checks.whole(pod, "pod", unit)
    if pod % unit:
        raise FabricError(
            f"pod {pod} is no multiple of the unit of {unit} domains", f"use {pod // unit * unit}"
        )
    return pod // unit


def dragonfly_groups(count: int, ranks: int, rate: float, unit: int | None = None) -> Switches:
    """Groups of routers with 16 accelerators each; routers of a group are joined each to each.

    Every router has as many global ports as accelerators, and about twice as many local ones, which is the
    balance for minimal routing.  In a group of fewer than 32 routers the local cables of a pair are doubled.

    Parameters
    ----------
    count, ranks : int
        Domains, and accelerators in each; they fill the routers of a group in rank order.
    rate : float
        Bytes/s of every cable.
    unit : int, optional
        Domains of a group; default as many as have up to 512 accelerators, doubled until a group reaches all.

    Raises
    ------
    FabricError
        More groups than the ports of a group reach.

    Notes
    -----
    Source: J. Kim, W. J. Dally, S. Scott and D. Abts, "Technology-driven, highly-scalable dragonfly topology",
    ISCA 2008: a = 2p = 2h.
    """
    hosts = ROUTER_HOSTS
    if unit is None:
        unit = max(1, 2 * hosts * hosts // ranks)
        while -(-count // unit) - 1 > unit * ranks:
            unit *= 2
    unit = min(checks.whole(unit, "unit"), count)
    groups = -(-count // unit)
    routers = -(-unit * ranks // hosts)
    if groups - 1 > routers * hosts:
        raise FabricError(
            f"a dragonfly group of {routers} routers reaches {routers * hosts} groups, not {groups - 1}",
            f"use more domains of a group, such as unit={2 * unit}",
        )
    copy_of = np.repeat(np.arange(count), ranks)
    place = np.arange(count * ranks) - copy_of // unit * unit * ranks
    parallel = max(1, -(-(2 * hosts - 1) // max(1, routers - 1)))
    pairs = np.asarray(list(combinations(range(routers), 2)), dtype=np.int64).reshape(-1, 2)
    local = (np.arange(groups)[:, None, None] * routers + pairs).reshape(-1, 2)
    wide = global_cables(groups, routers, hosts)
    ends = np.asarray([[a * routers + r, b * routers + s] for (a, r), (b, s) in wide], dtype=np.int64)
    joined = np.concatenate([local, ends.reshape(-1, 2)])
    cables = np.concatenate([np.full(len(local), parallel), np.asarray(list(wide.values()), dtype=np.int64)])
    total = groups * routers
    return Switches(
        labels=tuple(f"g{g}.r{r}" for g in range(groups) for r in range(routers)),
        leaf_of=copy_of // unit * routers + place // hosts,
        lower=joined[:, 0],
        upper=joined[:, 1],
        bandwidth=rate * cables,
        cables=cables,
        across=(np.arange(total) + 0.5) / total,
        level=np.ones(total),
    )
