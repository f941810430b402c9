"""Join copies of any scale-up domain by a scale-out network of switches.

Works on compiled fabrics, so that hundreds of thousands of accelerators join in well under a second per
million links.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from topo.errors import FabricError, nearest
from topo.fabric import SWITCH, Fabric
from topologies import checks
from topologies.switches import Switches, broadcast_tree, leaves_and_spines
from topologies.tall_switches import dragonfly_groups, pods_and_cores

KINDS = {
    "rail-fat-tree": "accelerator r of every domain of a unit on the leaf of rail r; spines join the units",
    "leaf-spine": "all accelerators of a domain on the same leaf; spines join the leaves",
    "three-tier": "pods of leaves (a rail each) and spines; core switches join the pods",
    "dragonfly": "accelerators in rank order on routers of 16; groups of routers joined each to each",
    "switch": "one ideal switch for all accelerators",
    "swarmx-tree": "a leaf for each domain, below a tree of switches that multicast and add",
}
"""Scale-out networks by name."""
ALIASES = {
    "rail": "rail-fat-tree",
    "fat-tree": "leaf-spine",
    "clos": "leaf-spine",
    "efa": "leaf-spine",
    "ethernet": "leaf-spine",
    "dcn": "leaf-spine",
}
"""Other names of the same graphs."""
MOST_LINKS = 16_000_000
_OPTIONAL = ("rails", "unit", "spines", "oversubscription", "pod", "core_oversubscription")
_FIELDS: dict[str, tuple[str, ...]] = {
    "rail-fat-tree": _OPTIONAL[:4],
    "leaf-spine": _OPTIONAL[1:4],
    "three-tier": _OPTIONAL,
    "dragonfly": ("unit",),
    "switch": (),
    "swarmx-tree": (),
}


@dataclass(frozen=True)
class Network:
    """A scale-out network.

    Parameters
    ----------
    bandwidth : float
        Bytes/s per direction of the network interface of each accelerator.
    latency : float
        Seconds of the link from an accelerator to its leaf switch.
    switch_latency : float, optional
        Seconds of a link between two switches; default ``latency``.
    kind : str
        A name of :data:`KINDS` or :data:`ALIASES`.
    rails : int, optional
        Rails of a ``rail-fat-tree``, accelerator ``a`` being on rail ``a mod rails``; default one per
        accelerator of a domain.
    unit : int, optional
        Domains of a scalable unit, whose leaves no other unit shares; default as many as give a leaf up to 32
        downlinks.  Of a ``dragonfly``: domains of a group, default as many as have up to 512 accelerators.
    spines : int, optional
        Spine switches (of each pod), present with several units only; default one per uplink of a leaf, at
        most 16.
    oversubscription : float
        Bandwidth down over bandwidth up of a leaf.
    pod : int, optional
        Domains of a pod of a ``three-tier`` network; default as many as give a spine up to 32 downlinks.
    core_oversubscription : float
        Bandwidth down over bandwidth up of a spine of a ``three-tier`` network.
    """

    bandwidth: float = checks.DEFAULT_BANDWIDTH
    latency: float = checks.DEFAULT_LATENCY
    switch_latency: float | None = None
    kind: str = "rail-fat-tree"
    rails: int | None = None
    unit: int | None = None
    spines: int | None = None
    oversubscription: float = 1.0
    pod: int | None = None
    core_oversubscription: float = 1.0


def join(domain: Fabric, count: int, network: Network, name: str = "") -> Fabric:
    """Join ``count`` copies of a scale-up domain.

    The network interface of an accelerator and its cable are one link from the accelerator to its leaf.

    Parameters
    ----------
    domain : Fabric
        What is copied; it may itself hold several domains.
    count : int
        Copies.  One copy needs no network and is the domain itself.
    network : Network
        What joins them.
    name : str
        Of the joined fabric.

    Returns
    -------
    Fabric
        Node ``x`` of copy ``i`` is called ``ni.x``; then come ``leaf0`` .. unit by unit and ``spine0`` ..
        Ranks run copy by copy.

    Raises
    ------
    TopoError
        An unknown network, a number out of range, or too large a fabric.

    Notes
    -----
    Source: NVIDIA DGX SuperPOD reference architecture (DGX H100): 32 nodes a scalable unit, rail ``r`` of
    each node on leaf ``r`` of the unit, every leaf joined to every spine, as much bandwidth up as down.
    Sources of the other networks stand at their functions.
    """
    count = checks.whole(count, "number of domains")
    kind = kind_of(network.kind)
    rate, delay = checks.bandwidth(network.bandwidth), checks.latency(network.latency)
    between = delay if network.switch_latency is None else checks.latency(network.switch_latency)
    if count == 1:
        return domain
    ranks, size = domain.ranks, len(domain.nodes)
    above = _above(network, kind, count, ranks, rate)
    total = count * (domain.links + 2 * ranks) + 2 * len(above.lower)
    if total > MOST_LINKS:
        raise FabricError(
            f"{count:,} copies of {domain.name} would have {total:,} links", f"the limit is {MOST_LINKS:,}"
        )
    # Links of the copies, then of accelerators to leaves and of switches to switches, up and down.
    shift = np.repeat(np.arange(count) * size, domain.links)
    copy_of = np.repeat(np.arange(count), ranks)
    ports = copy_of * size + np.tile(domain.accelerators, count)
    lower = np.concatenate([ports, count * size + above.lower])
    upper = np.concatenate([count * size + above.leaf_of, count * size + above.upper])
    rates = np.concatenate([np.full(len(ports), rate), above.bandwidth])
    delays = np.concatenate([np.full(len(ports), delay), np.full(len(above.lower), between)])
    cables = np.concatenate([np.ones(len(ports), dtype=np.int64), above.cables])
    switches = len(above.labels)
    inner = [str(node) for node in domain.nodes]
    return Fabric(
        name=name or f"{domain.name}*{count}",
        nodes=(*(f"n{i}.{node}" for i in range(count) for node in inner), *above.labels),
        kind=np.concatenate([np.tile(domain.kind, count), np.full(switches, SWITCH)]),
        accelerators=ports,
        source=np.concatenate([np.tile(domain.source, count) + shift, lower, upper]),
        target=np.concatenate([np.tile(domain.target, count) + shift, upper, lower]),
        bandwidth=np.concatenate([np.tile(domain.bandwidth, count), rates, rates]),
        latency=np.concatenate([np.tile(domain.latency, count), delays, delays]),
        cables=np.concatenate([np.tile(domain.cables, count), cables, cables]),
        domain=np.tile(domain.domain, count) + copy_of * domain.domains,
        multicast=np.concatenate([np.tile(domain.multicast, count), np.full(switches, above.in_network)]),
        reduce=np.concatenate([np.tile(domain.reduce, count), np.full(switches, above.in_network)]),
        one_pass=np.concatenate(
            [np.tile(domain.adds_and_copies, count), np.full(switches, above.in_network)]
        ),
        scale_out=np.concatenate([np.tile(domain.scale_out, count), np.ones(2 * len(lower), dtype=bool)]),
        position=_positions(domain, count, above),
    )


def _above(network: Network, kind: str, count: int, ranks: int, rate: float) -> Switches:
    """The switches that join ``count`` domains."""
    known = _FIELDS[kind]
    for field in _OPTIONAL:
        if field not in known and getattr(network, field) != getattr(Network(), field):
            raise FabricError(f"the scale-out network {kind} has no {field}", f"leave {field} out")
    if kind == "swarmx-tree":
        return broadcast_tree(count, ranks, rate)
    if kind == "switch":
        return leaves_and_spines(count, ranks, rate, 1, count, None, 1.0)
    if kind == "dragonfly":
        return dragonfly_groups(count, ranks, rate, network.unit)
    rails = 1 if kind == "leaf-spine" else network.rails
    leaves = (count, ranks, rate, rails, network.unit, network.spines, network.oversubscription)
    if kind == "three-tier":
        return pods_and_cores(*leaves, network.pod, network.core_oversubscription)
    return leaves_and_spines(*leaves)


def kind_of(name: str) -> str:
    """The network of :data:`KINDS` that a name means.

    Raises
    ------
    FabricError
        Unknown, with the nearest names.
    """
    known = ALIASES.get(name, name)
    if known not in KINDS:
        raise FabricError(
            f"scale-out network {name!r} is unknown",
            nearest(name, [*KINDS, *ALIASES]) or f"use {', '.join(KINDS)}",
        )
    return known


def _positions(domain: Fabric, count: int, above: Switches) -> npt.NDArray[np.float64]:
    """Copies side by side, their switches above them, level by level."""
    low, high = domain.position.min(axis=0), domain.position.max(axis=0)
    width, height = high - low
    pitch = 1.2 * width + 1.0
    copies = np.tile(domain.position - low, (count, 1))
    copies[:, 0] += np.repeat(np.arange(count) * pitch, len(domain.nodes))
    step = max(1.0, 0.5 * height, 0.1 * count * pitch)
    # A switch stands above the middle of the copies it serves, of which it gives the share.
    across = above.across * count * pitch - (pitch - width) / 2
    return np.concatenate([copies, np.stack([across, height + step * above.level], axis=1)])
