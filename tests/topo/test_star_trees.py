"""Trees of one switch, found for many streams at once, are those found one by one."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

import topo
from topo.fabric import Fabric
from topo.routing import tree_routes
from topo.star_trees import star_routes


def fans(members: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.cumsum([0] + [len(one) for one in members]), np.concatenate([np.asarray(m) for m in members])


@pytest.mark.parametrize("name", ["dgx-h100*3", "gb200-nvl72*2", "switch:8,in_network=true"])
def test_stars_are_the_trees_found_one_by_one(name: str) -> None:
    fabric = topo.load(name).fabric
    random = np.random.default_rng(1)
    sets = [np.flatnonzero(fabric.domain == d).tolist() for d in range(fabric.domains)]
    everyone = [sorted(random.choice(group, 5, replace=False).tolist()) for group in sets for _ in range(4)]
    one = [[int(random.choice(group))] for group in sets for _ in range(4)]
    for senders, receivers in ((everyone, one), (one, everyone)):
        found = star_routes(fabric, fans(senders), fans(receivers))
        assert found is not None
        for place, (a, b) in enumerate(zip(senders, receivers, strict=True)):
            alone, star = tree_routes(fabric, np.asarray(a), np.asarray(b)), found.take(np.asarray([place]))
            assert star.link.tolist() == alone.link.tolist()
            assert star.fraction == pytest.approx(alone.fraction, rel=1e-12)
            assert star.latency == pytest.approx(alone.latency, rel=1e-12)


def unequal() -> Fabric:
    """Two switches of unequal width, one of which only copies."""
    graph = nx.Graph()
    for switch, (width, adds) in enumerate([(3e9, True), (1e9, True), (2e9, False)]):
        graph.add_node(f"s{switch}", kind="switch", multicast=True, reduce=adds)
        for rank in range(4):
            graph.add_edge(
                rank, f"s{switch}", bandwidth=width * (0.5 if rank == 3 else 1.0), latency=(rank + 1) * 1e-6
            )
    return Fabric.from_networkx(graph)


@pytest.mark.parametrize(
    ("senders", "receivers"), [([0, 1, 2], [3]), ([1], [0, 1, 2, 3]), ([0, 1], [0, 1]), ([0, 3], [0, 3])]
)
def test_streams_split_by_width_over_the_switches_that_can(senders: list[int], receivers: list[int]) -> None:
    fabric = unequal()
    found = star_routes(fabric, fans([senders, [0]]), fans([receivers, [1, 2]]))
    alone = tree_routes(fabric, np.asarray(senders), np.asarray(receivers))
    assert found is not None
    star = found.take(np.asarray([0]))
    assert star.link.tolist() == alone.link.tolist()
    assert star.fraction == pytest.approx(alone.fraction, rel=1e-12)
    assert star.latency == pytest.approx(alone.latency, rel=1e-12)


def test_no_star_where_trees_are_deeper_or_cannot_be() -> None:
    clusters = topo.load("dgx-h100*2").fabric
    assert star_routes(clusters, fans([[0, 9]]), fans([[0]])) is None
    plain = topo.load("switch:4").fabric
    assert star_routes(plain, fans([[0, 1]]), fans([[0]])) is None
