"""Where a call runs: the group's domains, the links of its accelerators, and their technologies."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from topo.algorithms import Site
from topo.algorithms.domain_grids import members_by_domain
from topo.algorithms.nvls import joined_by_switch
from topo.ccl.model import CCL, LinkClass
from topo.fabric import Fabric, IntArray


@dataclass(frozen=True, eq=False)
class Links:
    """The technologies of a system's links.

    Parameters
    ----------
    inside : LinkClass
        Inside a scale-up domain.
    between : LinkClass
        Between domains.
    """

    inside: LinkClass
    between: LinkClass


def links_of(ccl: CCL, fabric: Fabric, scale_up: str, scale_out: str) -> Links:
    """The technologies that a system's descriptions of its links name.

    Parameters
    ----------
    scale_up, scale_out : str
        As in :class:`topo.system.ScaleUp` and :class:`topo.system.ScaleOut`; empty where there is none.
    """
    rate = nic_bandwidth(fabric)
    return Links(
        ccl.technology(scale_up, "scale-up"),
        ccl.technology(scale_out, "scale-out", rate if scale_out else 0.0),
    )


def nic_bandwidth(fabric: Fabric) -> float:
    """Bytes/s that the first accelerator can send out of its domain; 0 where there is no way out."""
    first = (fabric.source == fabric.accelerators[0]) & fabric.scale_out
    return float(fabric.bandwidth[first].sum())


def port_bandwidth(fabric: Fabric) -> float:
    """Bytes/s that the first accelerator can send inside its domain."""
    first = (fabric.source == fabric.accelerators[0]) & ~fabric.scale_out
    return float(fabric.bandwidth[first].sum())


@dataclass(frozen=True, eq=False)
class Place:
    """A group on a fabric, as a library looks at it.

    Parameters
    ----------
    site : Site
    links : Links
    nodes : int
        Scale-up domains that the group lies in.
    even : bool
        Whether every domain holds as many of the group's ranks.
    port, nic : float
        Bytes/s of one accelerator inside and out of its domain, raw; without a switch, over the links to the
        others of the group only.
    switched : bool
        Whether the switch inside a domain can add and copy for the group.
    added_between : bool
        Whether the switches between domains can add and copy on the way.
    """

    site: Site
    links: Links
    nodes: int
    even: bool
    port: float
    nic: float
    switched: bool
    added_between: bool = False

    @property
    def ranks(self) -> int:
        """Ranks of the group."""
        return len(self.site.ranks)

    @property
    def per_node(self) -> float:
        """Ranks in one domain."""
        return self.ranks / self.nodes


def place_of(site: Site, links: Links) -> Place:
    """What a library needs to know of a group; remembered with the fabric."""
    key = ("ccl place", site.ranks.tobytes(), links.inside.name, links.between.name)
    known: tuple[int, bool, float, float, bool, bool] | None = site.fabric.cache.get(key)
    if known is None:
        known = _facts(site)
        site.fabric.cache[key] = known
    return Place(site, links, *known)


def _facts(site: Site) -> tuple[int, bool, float, float, bool, bool]:
    domains, counts = np.unique(site.domain, return_counts=True)
    nodes = len(domains)
    members = members_by_domain(site)
    first = np.arange(len(site.ranks)) if nodes == 1 else np.flatnonzero(site.domain == domains[0])
    switched = len(first) > 1 and not joined_by_switch(site, first, True, True)
    even = nodes == 1 or members is not None or counts.max() == 1
    return (
        nodes,
        even,
        _port(site, first),
        nic_bandwidth(site.fabric),
        switched,
        _added_between(site, members),
    )


def _added_between(site: Site, members: IntArray | None) -> bool:
    fabric = site.fabric
    if not fabric.adds_and_copies[fabric.source[fabric.scale_out]].any():
        return False
    one_each = len(np.unique(site.domain)) == len(site.ranks)
    if members is None and not one_each:
        return False
    rail = np.arange(len(site.ranks)) if members is None else members[:, 0]
    return len(rail) > 1 and not joined_by_switch(site, rail, True, True, one_pass=True)


def adding_between(fabric: Fabric) -> Fabric:
    """The fabric with switches between domains that add and copy in one pass; remembered with it."""
    known: Fabric | None = fabric.cache.get("ccl adding between")
    if known is None:
        above = np.zeros(len(fabric.nodes), dtype=bool)
        above[fabric.source[fabric.scale_out]] = True
        above[fabric.accelerators] = False
        known = replace(
            fabric,
            multicast=fabric.multicast | above,
            reduce=fabric.reduce | above,
            one_pass=fabric.adds_and_copies | above,
            cache={},
        )
        fabric.cache["ccl adding between"] = known
    return known


def _port(site: Site, members: IntArray) -> float:
    """Bytes/s inside the domain that the group can make use of."""
    fabric, nodes = site.fabric, site.fabric.accelerators[site.ranks[members]]
    direct = fabric.links_between(np.full(len(nodes), nodes[0]), nodes)
    wired = direct[1:]
    if len(wired) and (wired >= 0).all():
        return float(fabric.bandwidth[wired].sum())
    return port_bandwidth(fabric)
