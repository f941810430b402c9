"""Fat trees: leaf-spine with oversubscription, and the three-tier k-ary form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import networkx as nx

from topo.errors import FabricError
from topologies import checks
from topologies.graph import accelerator, cable, row, switch

MOST_SPINES = 16
"""Spines drawn by default; more uplinks than this become parallel cables."""


@dataclass(frozen=True)
class Uplinks:
    """How a leaf is joined to the spines.

    Parameters
    ----------
    spines : int
        Spine switches.
    cables : int
        Parallel cables from a leaf to each spine.
    share : float
        Bandwidth of one such cable as a multiple of a downlink's.
    """

    spines: int
    cables: int
    share: float


def uplinks(downlinks: int, oversubscription: float, spines: int | None = None) -> Uplinks:
    """Uplinks of a leaf, together ``downlinks / oversubscription`` times the bandwidth of a downlink.

    Parameters
    ----------
    downlinks : int
        Cables from the leaf downwards.
    oversubscription : float
        Bandwidth down over bandwidth up.
    spines : int, optional
        Spine switches.  By default one per uplink where these are few, else the largest number up to
        16 that divides the uplinks.

    Returns
    -------
    Uplinks
        With cables of a downlink's bandwidth wherever whole cables can give the sum.
    """
    total = downlinks / checks.ratio(oversubscription, "oversubscription")
    if spines is None:
        most = max(1, min(MOST_SPINES, int(total)))
        whole = total == int(total) and total >= 1
        number = next(s for s in range(most, 0, -1) if int(total) % s == 0) if whole else most
    else:
        number = checks.whole(spines, "spines", 1, 4096)
    cables = max(1, round(total / number))
    return Uplinks(number, cables, total / (number * cables))


def fat_tree(
    shape: Sequence[int],
    bandwidth: checks.Quantity = checks.DEFAULT_BANDWIDTH,
    latency: checks.Quantity = checks.DEFAULT_LATENCY,
    spines: int | None = None,
    oversubscription: float = 1.0,
) -> nx.DiGraph:
    """A fat tree by its shape: ``(leaves, hosts)`` is leaf-spine, ``(k,)`` the three-tier k-ary form.

    Parameters
    ----------
    shape : sequence of 1 or 2 int
        ``(leaves, hosts per leaf)`` or ``(k,)``.
    bandwidth, latency, spines, oversubscription
        As for :func:`leaf_spine`; the k-ary form is non-blocking, its switches are given by k.

    Raises
    ------
    TopoError
        Another shape, or an argument out of range.

    Notes
    -----
    Source: see :func:`leaf_spine` and :func:`k_ary_fat_tree`.
    """
    sizes = checks.wholes(shape, "size of a fat tree")
    if len(sizes) == 2:
        return leaf_spine(*sizes, bandwidth, latency, spines, oversubscription)
    if len(sizes) != 1:
        raise FabricError(f"a fat tree has one or two sizes, not {len(sizes)}", "use LEAVESxHOSTS, or K")
    if spines is not None or oversubscription != 1:
        raise FabricError(
            f"fat-tree:{sizes[0]} is the non-blocking k-ary form",
            "spines and oversubscription belong to LEAVESxHOSTS",
        )
    return k_ary_fat_tree(sizes[0], bandwidth, latency)


def leaf_spine(
    leaves: int,
    hosts: int,
    bandwidth: checks.Quantity = checks.DEFAULT_BANDWIDTH,
    latency: checks.Quantity = checks.DEFAULT_LATENCY,
    spines: int | None = None,
    oversubscription: float = 1.0,
) -> nx.DiGraph:
    """Leaf switches with accelerators, every leaf joined to every spine.

    Parameters
    ----------
    leaves, hosts : int
        Leaf switches, and accelerators on each.
    bandwidth : float or text
        Bytes/s per direction of an accelerator's cable.
    latency : float or text
        Seconds of each link.
    spines : int, optional
        Spine switches (none with a single leaf).  By default one per uplink, at most 16.
    oversubscription : float
        A leaf's uplinks together carry ``hosts * bandwidth / oversubscription``.

    Returns
    -------
    networkx.DiGraph
        Accelerators ``gpu0`` .. leaf by leaf, switches ``leaf0`` .., ``spine0`` ..; the domain is the leaf.

    Raises
    ------
    TopoError
        A number below 1, or a value that is no bandwidth or latency.

    Notes
    -----
    Source: C. Clos, "A study of non-blocking switching networks", Bell System Technical Journal 32, 1953,
    folded.
    """
    leaves, hosts = checks.whole(leaves, "leaves"), checks.whole(hosts, "hosts per leaf")
    up = uplinks(hosts, oversubscription, spines)
    tops = up.spines if leaves > 1 else 0
    name = f"fat-tree:{leaves}x{hosts}"
    checks.affordable(name, leaves * (hosts + 1) + tops, 2 * leaves * (hosts + tops))
    rate, delay = checks.bandwidth(bandwidth), checks.latency(latency)
    graph = nx.DiGraph(name=name)
    width = float(leaves * hosts)
    for i, position in enumerate(row(leaves * hosts, 0.0)):
        accelerator(graph, f"gpu{i}", position, i // hosts)
    for i, position in enumerate(row(leaves, 1.0, 0.0, width)):
        switch(graph, f"leaf{i}", position)
    for i, position in enumerate(row(tops, 2.0, 0.0, width)):
        switch(graph, f"spine{i}", position)
    for i in range(leaves * hosts):
        cable(graph, f"gpu{i}", f"leaf{i // hosts}", rate, delay)
    for leaf in range(leaves):
        for spine in range(tops):
            cable(graph, f"leaf{leaf}", f"spine{spine}", rate * up.share, delay, up.cables, "scale-out")
    return graph


def k_ary_fat_tree(
    k: int,
    bandwidth: checks.Quantity = checks.DEFAULT_BANDWIDTH,
    latency: checks.Quantity = checks.DEFAULT_LATENCY,
) -> nx.DiGraph:
    """The three-tier fat tree of k-port switches: k pods of k/2 edge and k/2 aggregation switches.

    Parameters
    ----------
    k : int
        Ports of a switch, even; k**3/4 accelerators.
    bandwidth : float or text
        Bytes/s per direction of every cable.
    latency : float or text
        Seconds of each link.

    Returns
    -------
    networkx.DiGraph
        Accelerators ``gpu0`` .., switches ``pod0.edge0``, ``pod0.aggregation0``, ``core0``; the domain is the
        pod.

    Raises
    ------
    TopoError
        ``k`` odd or out of range, or a value that is no bandwidth or latency.

    Notes
    -----
    Source: M. Al-Fares, A. Loukissas and A. Vahdat, "A scalable, commodity data center network architecture",
    SIGCOMM 2008.
    """
    k = checks.whole(k, "ports k of a k-ary fat tree", 2, 128)
    if k % 2:
        raise FabricError(f"a k-ary fat tree needs an even number of ports, not {k}", f"use {k + 1}")
    half = k // 2
    hosts = k * half * half
    checks.affordable(f"fat-tree:{k}", hosts + k * k + half * half, 6 * hosts)
    rate, delay = checks.bandwidth(bandwidth), checks.latency(latency)
    graph = nx.DiGraph(name=f"fat-tree:{k}")
    for i, position in enumerate(row(hosts, 0.0)):
        accelerator(graph, f"gpu{i}", position, i // (half * half))
    for tier, y in (("edge", 1.0), ("aggregation", 2.0)):
        for i, position in enumerate(row(k * half, y, 0.0, float(hosts))):
            switch(graph, f"pod{i // half}.{tier}{i % half}", position)
    for i, position in enumerate(row(half * half, 3.0, 0.0, float(hosts))):
        switch(graph, f"core{i}", position)
    for i in range(hosts):
        cable(graph, f"gpu{i}", f"pod{i // (half * half)}.edge{i // half % half}", rate, delay)
    for pod in range(k):
        for a in range(half):
            for b in range(half):
                cable(graph, f"pod{pod}.edge{a}", f"pod{pod}.aggregation{b}", rate, delay)
                upper = f"core{a * half + b}"
                cable(graph, f"pod{pod}.aggregation{a}", upper, rate, delay, tier="scale-out")
    return graph
