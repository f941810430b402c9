"""Every algorithm proves itself for every group size, root and parameter that it accepts."""

from __future__ import annotations

from functools import cache

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.topo.algorithms.sites import built, collective_on, dimmed, fabric_of, seconds, star
from topo.algorithms import ALGORITHMS, Site, build, find, fitting, refusal
from topo.algorithms.pat import largest_aggregation
from topo.bounds import lower_bound
from topo.collective import ROOTED, Collective
from topo.errors import TopoError
from topo.fabric import Fabric
from topologies.path import path
from topologies.ring import ring

SIZES = range(2, 18)
QUICK = [name for name, entry in ALGORITHMS.items() if not entry.costly]


@cache
def _site(kind: str, ranks: int) -> Fabric:
    if kind == "star":
        return star(ranks, in_network=True)
    return fabric_of(ring(ranks) if kind == "ring" and ranks > 2 else path(ranks))


@pytest.mark.parametrize("ranks", SIZES)
@pytest.mark.parametrize("name", QUICK)
def test_masks_and_order_on_a_star(name: str, ranks: int) -> None:
    entry, fabric = find(name), _site("star", ranks)
    for operation in entry.operations:
        for root in {0, ranks // 2} if operation in ROOTED else {0}:
            collective = collective_on(fabric, operation, root=root)
            if not refusal(entry, collective, Site(fabric, np.arange(ranks))):
                for chunks in (1, 3) if entry.pipelines and ranks < 10 else (1,):
                    built(name, fabric, collective, chunks)


@pytest.mark.parametrize("kind", ["ring", "path"])
@pytest.mark.parametrize("ranks", [3, 4, 7, 9])
def test_masks_and_order_on_rings_and_lines(kind: str, ranks: int) -> None:
    fabric = _site(kind, ranks)
    for name in QUICK:
        entry = find(name)
        for operation in entry.operations:
            collective = collective_on(fabric, operation, **({"root": 1} if operation in ROOTED else {}))
            if not refusal(entry, collective, Site(fabric, np.arange(ranks))):
                built(name, fabric, collective)


@pytest.mark.parametrize("shape", [(2, 3), (3, 3), (2, 2, 3), (1, 6), (5, 2)])
@pytest.mark.parametrize("wrap", [True, False])
def test_masks_and_order_on_grids(shape: tuple[int, ...], wrap: bool) -> None:
    fabric = dimmed(shape, wrap=wrap)
    for name in QUICK:
        entry = find(name)
        for operation in entry.operations:
            collective = collective_on(fabric, operation)
            if not refusal(entry, collective, Site(fabric, np.arange(fabric.ranks))):
                built(name, fabric, collective)


def _accepted(name: str, ranks: int) -> list[str]:
    given: dict[str, list[str]] = {
        "pat": [f"aggregation={1 << b}" for b in range(5) if 1 << b <= largest_aggregation(ranks)],
        "bruck": ["radix=3", "radix=4", "radix=7"],
        "ring": ["channels=2"],
        "scatter-allgather": ["gather=bruck"],
        "halving-doubling": ["order=near"],
        "chain": ["form=two", "form=split"],
    }
    return [f"{name}:{text}" for text in given[name]]


@pytest.mark.parametrize("ranks", SIZES)
@pytest.mark.parametrize("name", ["pat", "bruck", "ring", "scatter-allgather", "halving-doubling", "chain"])
def test_parameters_prove_themselves_too(name: str, ranks: int) -> None:
    fabric = _site("star", ranks)
    for spelled in _accepted(name, ranks):
        for operation in find(name).operations:
            if (name, operation) not in {("bruck", "all-gather"), ("bruck", "reduce-scatter")}:
                built(spelled, fabric, collective_on(fabric, operation))


def test_a_proof_of_a_larger_group_stays_quick() -> None:
    fabric = star(40)
    for name in ("pat", "bruck", "double-binary-tree", "swing", "halving-doubling"):
        entry = find(name)
        for operation in entry.operations:
            collective = collective_on(fabric, operation)
            if not refusal(entry, collective, Site(fabric, np.arange(40))):
                built(name, fabric, collective)


# ------------------------------------------------------------------------------- random fabrics and groups


def _random_fabric(seed: int) -> Fabric:
    """A connected graph of accelerators and switches with unequal links."""
    random = np.random.default_rng(seed)
    accelerators, switches = int(random.integers(2, 8)), int(random.integers(0, 4))
    graph = nx.DiGraph()
    for i in range(accelerators):
        graph.add_node(i, domain=i // 2)
    for i in range(switches):
        graph.add_node(
            f"s{i}", kind="switch", multicast=bool(random.integers(2)), reduce=bool(random.integers(2))
        )
    nodes = list(graph.nodes)
    order = [nodes[i] for i in random.permutation(len(nodes))]
    pairs = [(order[int(random.integers(i))], order[i]) for i in range(1, len(order))]
    for _ in range(int(random.integers(4))):
        a, b = random.choice(len(nodes), 2, replace=False)
        pairs.append((nodes[a], nodes[b]))
    for a, b in pairs:
        for one, other in ((a, b), (b, a)):
            bandwidth = float(random.choice([1e9, 2e9, 3.5e9]))
            graph.add_edge(one, other, bandwidth=bandwidth, latency=float(random.choice([0.0, 1e-6, 3e-6])))
    return Fabric.from_networkx(graph, f"random {seed}")


@settings(max_examples=30)
@given(
    seed=st.integers(0, 10_000),
    operation=st.sampled_from(
        [
            "all-reduce",
            "all-gather",
            "reduce-scatter",
            "all-to-all",
            "broadcast",
            "reduce",
            "send-recv",
            "barrier",
        ]
    ),
)
def test_no_bound_is_beaten_on_random_fabrics_and_groups(seed: int, operation: str) -> None:
    fabric = _random_fabric(seed)
    random = np.random.default_rng(seed)
    size = int(random.integers(2, fabric.ranks + 1))
    ranks = np.asarray(random.permutation(fabric.ranks)[:size])
    bytes = 0.0 if operation == "barrier" else 840_000.0 * size
    root = {"root": size // 2} if operation in ("broadcast", "reduce") else {}
    collective = Collective(operation, size, bytes, **root)
    site = Site(fabric, ranks)
    bound = lower_bound(collective, fabric, ranks, exact=True)
    for entry in fitting(collective, site):
        schedule = build(entry.name, collective, site)
        schedule.verify()
        time = seconds(schedule, fabric, ranks=ranks, certify=True)
        assert time >= bound.seconds * (1 - 1e-9), f"{entry.name}: {bound.certificate}"


def test_a_group_that_no_algorithm_fits_is_said_so() -> None:
    fabric = star(3)
    with pytest.raises(TopoError, match="these can: dissemination, direct"):
        build("ring", collective_on(fabric, "barrier"), Site(fabric, np.arange(3)))
