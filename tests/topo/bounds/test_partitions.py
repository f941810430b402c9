"""Partition bounds: what goes between the parts is a gossip among the parts."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from topo.bounds import all_bounds, lower_bound
from topo.bounds.bound import Bound
from topo.collective import Collective
from topo.fabric import Fabric
from topologies.grid import mesh, torus
from topologies.rail import rail

S = 1e9


def partition(operation: str, fabric: Fabric) -> list[Bound]:
    return [
        one for one in all_bounds(Collective(operation, fabric.ranks, S), fabric) if one.kind == "partition"
    ]


@pytest.mark.parametrize(
    ("operation", "messages"), [("all-reduce", 6), ("all-gather", 3), ("reduce-scatter", 3)]
)
def test_a_cluster_of_four_domains(operation: str, messages: int) -> None:
    fabric = rail(4, 8, bandwidth=450e9, nic=50e9, latency=1e-6, nic_latency=2e-6)
    best = partition(operation, fabric)[0]
    assert best.seconds == pytest.approx(messages * S / (32 * 50e9) + 4e-6)
    assert best.data["parts"] == 4 and best.data["cables"] == 32
    assert "4 scale-up domains" in best.certificate


def test_in_network_operations_inside_the_domains_change_nothing_between_them() -> None:
    plain = rail(4, 8, bandwidth=450e9, nic=50e9)
    able = rail(4, 8, bandwidth=450e9, nic=50e9, multicast=True, reduce=True)
    assert able.in_network and partition("all-reduce", able)[0] == partition("all-reduce", plain)[0]
    # Without help inside, the ports of the accelerators count, too.
    assert lower_bound(Collective("all-reduce", 32, S), able).kind == "partition"


def test_switches_between_the_domains_that_copy_or_add() -> None:
    graph = rail(4, 8, bandwidth=450e9, nic=50e9).to_networkx()
    for copies, adds, expected in (
        (True, False, {"take in": 6, "send": 4}),
        (True, True, {"take in": 4, "send": 4}),
    ):
        for node, data in graph.nodes(data=True):
            if str(node).startswith("leaf"):
                data["multicast"], data["reduce"] = copies, adds
        fabric = Fabric.from_networkx(graph)
        found = {b.data["direction"]: b.data["messages_per_byte"] for b in _by_domain("all-reduce", fabric)}
        assert found == expected
        # An all-gather may be copied outside: then only what enters each domain counts.
        assert {b.data["direction"] for b in _by_domain("all-gather", fabric)} == {"take in"}


def _by_domain(operation: str, fabric: Fabric) -> list[Bound]:
    return [one for one in partition(operation, fabric) if one.data["family"] == "scale-up domain"]


@pytest.mark.parametrize(("ratio", "kind"), [(4.0, "ports"), (4.1, "partition")])
def test_unequal_dimensions_of_a_torus(ratio: float, kind: str) -> None:
    # A split over dimension orders reaches the port bound just while the bandwidths differ by at most 4.
    fabric = Fabric.from_networkx(torus((4, 4), (ratio * 10e9, 10e9), 0.0))
    bound = lower_bound(Collective("all-reduce", 16, S), fabric)
    assert bound.kind == kind
    ports = 2 * 15 * S / (32 * (ratio + 1) * 10e9)
    assert (bound.seconds > ports * (1 + 1e-9)) == (kind == "partition")
    exact = lower_bound(Collective("all-reduce", 16, S), fabric, exact=True)
    assert bound.seconds == pytest.approx(exact.seconds, rel=1e-9)


def test_single_slow_dimension_of_a_mesh() -> None:
    fabric = Fabric.from_networkx(mesh((4, 8), (1e9, 100e9), 0.0))
    bounds = all_bounds(Collective("broadcast", 32, S), fabric)
    assert {b.data["parts"] for b in bounds if b.kind == "partition"} == {4, 8}


def test_parts_without_members_do_not_count() -> None:
    fabric = rail(4, 4, bandwidth=100e9, nic=10e9, latency=0.0, nic_latency=0.0)
    two = np.asarray([0, 1, 2, 3, 8, 9, 10, 11])
    found = all_bounds(Collective("all-reduce", 8, S), fabric, two)
    best = next(b for b in found if b.kind == "partition" and b.data["family"] == "scale-up domain")
    assert best.data["parts"] == 2 and best.seconds == pytest.approx(2 * S / 80e9)


def test_no_partition_of_what_falls_apart_into_single_ranks() -> None:
    graph = nx.DiGraph()
    for i in range(4):
        graph.add_node(i, kind="accelerator", domain=i)
    for i in range(4):
        graph.add_edge(i, (i + 1) % 4, bandwidth=1.0)
        graph.add_edge((i + 1) % 4, i, bandwidth=1.0)
    fabric = Fabric.from_networkx(graph)
    assert all(one.data["parts"] == 2 for one in partition("all-reduce", fabric))
