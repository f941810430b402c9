"""Rail-optimised clusters of scale-up domains."""

from __future__ import annotations

from collections.abc import Sequence

import networkx as nx

from topo.errors import FabricError
from topo.fabric import Fabric
from topologies import checks
from topologies.scale_out import Network, join
from topologies.switched_planes import switched_planes


def rail(
    nodes: int,
    gpus: int,
    bandwidth: checks.Quantities = checks.DEFAULT_BANDWIDTH,
    latency: checks.Quantities = checks.DEFAULT_LATENCY,
    nic: checks.Quantity | None = None,
    nic_latency: checks.Quantity | None = None,
    switch_latency: checks.Quantity | None = None,
    multicast: bool = False,
    reduce: bool = False,
    unit: int | None = None,
    spines: int | None = None,
    oversubscription: float = 1.0,
) -> Fabric:
    """Nodes of accelerators on one switch each, accelerator ``r`` of every node on rail ``r``.

    Parameters
    ----------
    nodes, gpus : int
        Nodes, and accelerators in each.
    bandwidth : float, text or sequence [2]
        Bytes/s per direction of every link, or of links within a node and of links of the rails.
    latency : float, text or sequence [2]
        Seconds of every link, or of links within a node and of links of the rails.
    nic, nic_latency : float or text, optional
        The same for the rails alone.
    switch_latency : float or text, optional
        Seconds between leaf and spine; default as the rails.
    multicast, reduce : bool
        What the switch of a node can do to data that passes.
    unit : int, optional
        Nodes of a scalable unit, which has a leaf switch per rail; default 32.
    spines : int, optional
        Spine switches, present with several units only.
    oversubscription : float
        Bandwidth down over bandwidth up of a leaf.

    Returns
    -------
    Fabric
        Accelerators ``n0.gpu0`` .., switches ``n0.nvswitch0``, ``leaf0``, ``spine0``; a domain is a node.

    Raises
    ------
    TopoError
        A number below 1, the bandwidth or latency of the rails given twice, or a value that is none.

    Notes
    -----
    Source: NVIDIA DGX SuperPOD reference architecture (DGX H100).
    """
    nodes, gpus = checks.whole(nodes, "nodes"), checks.whole(gpus, "accelerators per node")
    rates = checks.bandwidths(bandwidth, 2, "within a node, rails")
    delays = checks.latencies(latency, 2, "within a node, rails")
    for value, own, what in ((bandwidth, nic, "nic"), (latency, nic_latency, "nic_latency")):
        if own is not None and isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 1:
            raise FabricError(f"rails are given twice, by {what} and after the slash", f"leave out {what}")
    network = Network(
        bandwidth=rates[1] if nic is None else checks.bandwidth(nic),
        latency=delays[1] if nic_latency is None else checks.latency(nic_latency),
        switch_latency=None if switch_latency is None else checks.latency(switch_latency),
        unit=unit,
        spines=spines,
        oversubscription=oversubscription,
    )
    node = Fabric.from_networkx(switched_planes(gpus, [1], rates[0], delays[0], multicast, reduce))
    return join(node, nodes, network, name=f"rail:{nodes}x{gpus}")


def rail_fat_tree(
    sus: int,
    nodes_per_su: int,
    rails: int,
    spines: int,
    links_leaf_spine: int,
    bandwidth: checks.Quantity,
    latency: checks.Quantity,
    domain: nx.DiGraph,
) -> Fabric:
    """A cluster of scalable units by the numbers of a reference design.

    Parameters
    ----------
    sus, nodes_per_su : int
        Scalable units, and nodes in each.
    rails : int
        Rails of a unit, each a leaf switch.
    spines, links_leaf_spine : int
        Spine switches, and cables from each leaf to each.
    bandwidth : float or text
        Bytes/s per direction of a cable, of accelerators and of leaves alike.
    latency : float or text
        Seconds of each link of this network.
    domain : networkx.DiGraph
        The scale-up domain of a node.

    Raises
    ------
    TopoError
        A number below 1, more rails than accelerators, or a value that is no bandwidth or latency.

    Notes
    -----
    Source: NVIDIA DGX SuperPOD reference architecture (DGX H100): 4 units of 32 nodes, 8 rails, 16 spines,
    2 cables from each leaf to each spine.
    """
    node = Fabric.from_networkx(domain)
    nodes_per_su = checks.whole(nodes_per_su, "nodes_per_su")
    rails = checks.whole(rails, "rails", 1, node.ranks)
    downlinks = nodes_per_su * -(-node.ranks // rails)
    up = checks.whole(spines, "spines") * checks.whole(links_leaf_spine, "links_leaf_spine")
    network = Network(
        bandwidth=checks.bandwidth(bandwidth),
        latency=checks.latency(latency),
        rails=rails,
        unit=nodes_per_su,
        spines=spines,
        oversubscription=downlinks / up,
    )
    return join(node, checks.whole(sus, "sus") * nodes_per_su, network)
