"""Every registered topology keeps the rules that all builders share."""

from __future__ import annotations

import numpy as np
import pytest

import topologies
from topo.fabric import Fabric
from topologies.registry import TOPOLOGIES

EXAMPLES = [example for topology in TOPOLOGIES.values() for example in topology.examples]
CLUSTERS = [f"{example.partition(',')[0]}*3" for example in EXAMPLES]


@pytest.mark.parametrize("name", EXAMPLES + CLUSTERS)
def test_example_is_a_sound_fabric(name: str) -> None:
    fabric = topologies.load(name).fabric
    assert fabric.name == name
    assert len({str(node) for node in fabric.nodes}) == len(fabric.nodes)
    forbidden = set(",=+@:*- ")
    assert not any(forbidden & set(str(node)) for node in fabric.nodes)
    # Cables are full duplex: every link has an equal one back.
    back = fabric.links_between(fabric.target, fabric.source)
    assert (back >= 0).all()
    for values in (fabric.bandwidth, fabric.latency, fabric.cables, fabric.scale_out):
        assert (values[back] == values).all()
    assert (fabric.bandwidth > 0).all()
    assert (fabric.latency >= 0).all()
    assert fabric.domain.min() == 0
    assert set(fabric.domain) == set(range(fabric.domains))


@pytest.mark.parametrize("name", EXAMPLES + CLUSTERS)
def test_example_can_be_drawn(name: str) -> None:
    position = topologies.load(name).fabric.position
    assert np.isfinite(position).all()
    # No node covers another.
    assert len(np.unique(position.round(6), axis=0)) == len(position)


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_survives_networkx(name: str) -> None:
    fabric = topologies.load(name).fabric
    again = Fabric.from_networkx(fabric.to_networkx())
    assert again.nodes == fabric.nodes
    assert again.grid == fabric.grid
    assert again.routing == fabric.routing
    order = fabric.links_between(again.source, again.target)
    assert (fabric.bandwidth[order] == again.bandwidth).all()
    assert (fabric.domain == again.domain).all()


@pytest.mark.parametrize("topology", TOPOLOGIES.values(), ids=list(TOPOLOGIES))
def test_topology_is_described(topology) -> None:
    assert topology.summary
    assert topology.builder.__doc__
    assert "Source:" in topology.builder.__doc__
    assert all(example.partition(":")[0] == topology.name for example in topology.examples)
    assert all(key.what and key.values and key.default for key in topology.keys)


def test_names_hold_bare_topologies_and_the_catalogue() -> None:
    names = topologies.names()
    assert len(set(names)) == len(names)
    assert {"ring", "torus", "rail", "dgx-h100", "tpu-v4", "wse3"} <= set(names)


def test_every_key_of_a_topology_reaches_its_builder() -> None:
    values = {
        "bandwidth": "10GB/s",
        "latency": "2us",
        "multicast": "true",
        "reduce": "true",
        "in_network": "true",
        "oversubscription": "1",
        "spines": "1",
        "unit": "1",
        "nic": "5GB/s",
        "nic_latency": "3us",
        "switch_latency": "4us",
        "global_links": "8",
    }
    for topology in TOPOLOGIES.values():
        shape = topology.examples[0].partition(",")[0]
        for key in topology.keys:
            assert topologies.load(f"{shape},{key.name}={values[key.name]}").fabric.ranks > 0
