"""Store-and-forward switching against its closed form, and against cut-through."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import topo
from tests import strategies as some
from topo.algorithms import Site, build
from topo.collective import Collective
from topo.errors import NetworkError
from topo.fabric import Fabric
from topo.network.program import Program, compile_program
from topo.network.solver import run_alone

HOPS = "store-and-forward"


def program(
    fabric: Fabric, algorithm: str, operation: str, size: float, switching: str, **options: int
) -> Program:
    site = Site(fabric, np.arange(fabric.ranks))
    collective = Collective(operation, fabric.ranks, size, root=options.get("root", 0))
    schedule = build(algorithm, collective, site, options.get("chunks", 1))
    return compile_program(schedule, fabric, switching=switching)


@pytest.mark.parametrize("hops", [1, 2, 5])
def test_a_message_pays_its_bytes_on_every_hop(hops: int) -> None:
    """Sum over the hops of a + S/B."""
    fabric = some.torus((hops + 1,), 1e9, 1e-5, wrap=(False,))
    job, _ = run_alone(program(fabric, "direct", "send-recv", 1e6, HOPS), certify=True)
    assert job.finish == pytest.approx(hops * (1e-5 + 1e-3), rel=1e-12)


@pytest.mark.parametrize("packets", [1, 4, 64])
def test_packets_overlap_on_their_hops(packets: int) -> None:
    """h a + (h + k - 1) S/(k B)."""
    fabric = some.torus((5,), 1e9, 1e-5, wrap=(False,))
    chunked = program(fabric, "chain:form=one", "send-recv", 1e6, HOPS, chunks=packets)
    job, _ = run_alone(chunked, certify=True)
    assert job.finish == pytest.approx(4e-5 + (4 + packets - 1) * 1e-3 / packets, rel=1e-9)


def test_a_split_route_pays_shares() -> None:
    """Half each way round a ring of four: two hops of half the bytes."""
    job, _ = run_alone(
        compile_program(
            build(
                "direct", Collective("send-recv", 4, 1e6, root=0, peer=2), Site(some.ring(4), np.arange(4))
            ),
            some.ring(4),
            switching=HOPS,
        )
    )
    assert job.finish == pytest.approx(2 * (1e-6 + 5e5 / 1e10), rel=1e-12)


@pytest.mark.parametrize("operation", ["all-reduce", "all-gather", "reduce-scatter", "broadcast", "reduce"])
def test_in_network_trees(operation: str) -> None:
    """Up and then down; a rank that sends into the tree and hears from it does not wait for itself."""
    fabric = some.star(4, 1e9, 1e-5, in_network=True)
    job, _ = run_alone(program(fabric, "nvls", operation, 4e6, HOPS), certify=True)
    one = 2 * 1e-5 + (4e6 if operation in ("broadcast", "reduce") else 1e6 + 4e6) / 1e9
    if operation in ("broadcast", "reduce"):
        one += 4e6 / 1e9
    assert job.finish == pytest.approx(one * (2 if operation == "all-reduce" else 1), rel=1e-9)


@settings(max_examples=40)
@given(st.data())
def test_never_faster_than_cut_through(data: st.DataObject) -> None:
    """For one message; among several, waiting at a hop may by luck avoid a worse meeting."""
    fabric = data.draw(some.fabrics())
    source = data.draw(st.integers(0, fabric.ranks - 1))
    target = (source + data.draw(st.integers(1, fabric.ranks - 1))) % fabric.ranks
    collective = Collective("send-recv", fabric.ranks, data.draw(some.sizes()), source, target)
    schedule = build("direct", collective, Site(fabric, np.arange(fabric.ranks)))
    whole, by_hop = (
        run_alone(compile_program(schedule, fabric, switching=switching), certify=True)[0].finish
        for switching in ("cut-through", HOPS)
    )
    assert by_hop >= whole * (1 - 1e-12)


@pytest.mark.parametrize(
    ("name", "algorithm"),
    [
        ("ring:6", "ring"),
        ("switch:6", "ring"),
        ("rail:3x2", "ring"),
        ("torus:3x5", "bidirectional-bucket"),
        ("switch:8", "pairwise"),
        ("switch:8", "recursive-doubling"),
    ],
)
def test_collectives_are_slower_by_the_further_hops(name: str, algorithm: str) -> None:
    """Every step sends one message over each link, so that it pays its bytes once more for each further hop."""
    fabric = topo.load(name).fabric
    operation = "all-to-all" if algorithm == "pairwise" else "all-reduce"
    times = [
        run_alone(program(fabric, algorithm, operation, 1e6, switching))[0].finish
        for switching in ("cut-through", HOPS)
    ]
    if "switch" in name:
        latency = run_alone(program(fabric, algorithm, operation, 1e-6, "cut-through"))[0].finish
        assert times[1] - latency == pytest.approx(2 * (times[0] - latency), rel=1e-6)
    elif name.startswith("rail"):
        assert times[1] > times[0]
    else:
        assert times[1] == pytest.approx(times[0], rel=1e-12)


def test_bytes_on_links_are_the_same() -> None:
    for fabric in (some.torus((3, 4)), some.domains_on_a_switch(2, 3)):
        whole, by_hop = (
            program(fabric, "direct", "all-to-all", 1e6, switching).link_bytes()
            for switching in ("cut-through", HOPS)
        )
        np.testing.assert_allclose(by_hop, whole, rtol=1e-12)


def test_an_unknown_switching() -> None:
    with pytest.raises(NetworkError, match="switching 'wormhole' is unknown"):
        program(some.ring(4), "ring", "all-reduce", 1e6, "wormhole")
