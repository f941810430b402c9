"""The packet engine: exact where it must be, near the fluid engine where both hold, and never in a deadlock."""

from __future__ import annotations

import math
from dataclasses import replace

import networkx as nx
import numpy as np
import pytest

import topo
from topo.errors import NetworkError
from topo.fabric import Fabric
from topo.network.packet import PacketOutcome, packet_hops, require_few_packets, run_packets
from topo.network.packet_ways import find_ways
from topo.network.program import Program, compile_program
from topo.network.solver import run_alone


def compiled(
    system: str | Fabric, operation: str, size: float, algorithm: str, **how: bool
) -> tuple[Program, Fabric]:
    fabric = topo.load(system).fabric if isinstance(system, str) else system
    schedule = topo.schedule(fabric, operation, size, algorithm=algorithm)
    return compile_program(schedule, fabric, **how), fabric


def both(
    system: str, operation: str, size: float, algorithm: str, **how: bool
) -> tuple[float, PacketOutcome]:
    program, fabric = compiled(system, operation, size, algorithm, **how)
    outcome = run_packets(program, fabric)
    np.testing.assert_allclose(outcome.row_bytes, program.bytes * program.repeat, rtol=1e-9)
    return run_alone(program)[0].finish, outcome


@pytest.mark.parametrize("size", [1, 4096, 4097, 1e6])
def test_one_flow_takes_latency_and_drain(size: float) -> None:
    fabric = topo.load("mesh:5,bandwidth=10GB/s,latency=1us").fabric
    schedule = topo.schedule(fabric, "send-recv", size, algorithm="direct")
    outcome = run_packets(compile_program(schedule, fabric), fabric)
    assert outcome.finish == pytest.approx(4e-6 + size / 10e9, rel=1e-6)
    assert outcome.packet_hops == 4 * math.ceil(size / 4096)


def test_a_faster_link_does_not_overtake_and_a_slower_one_is_not_waited_for_twice() -> None:
    graph = nx.DiGraph()
    for a, b, speed in (("a", "s", 10e9), ("s", "b", 40e9)):
        graph.add_edge(a, b, bandwidth=speed, latency=1e-6)
        graph.add_edge(b, a, bandwidth=speed, latency=1e-6)
    graph.nodes["s"]["kind"] = "switch"
    fabric = Fabric.from_networkx(graph)
    for root in (0, 1):
        schedule = topo.schedule(fabric, "send-recv", 1e6, algorithm="direct", root=root, peer=1 - root)
        outcome = run_packets(compile_program(schedule, fabric), fabric)
        drain = 1e6 / 10e9
        assert 2e-6 + drain <= outcome.finish * (1 + 1e-9) <= 2e-6 + drain + 4096 / 10e9


@pytest.mark.parametrize(
    ("system", "operation", "size", "algorithm", "low", "high"),
    [
        ("torus:4x4x4", "all-reduce", 4e6, "ring", 1.0, 1.001),
        ("torus:4x4x4", "all-reduce", 4e6, "bucket", 1.0, 1.001),
        ("torus:4x4x4", "all-to-all", 16 * 2**20, "direct", 0.97, 1.05),
        ("switch:16", "all-to-all", 2**20, "direct", 0.99, 1.05),
        ("switch:16", "barrier", 0, "dissemination", 1.0, 1.001),
    ],
)
def test_band_of_packets_over_fluid(
    system: str, operation: str, size: float, algorithm: str, low: float, high: float
) -> None:
    fluid, outcome = both(system, operation, size, algorithm)
    assert low * (1 - 1e-9) <= outcome.finish / fluid <= high


def test_incast_into_one_link_of_a_star() -> None:
    fabric = topo.load("switch:9,bandwidth=10GB/s,latency=1us").fabric
    schedule = topo.schedule(fabric, "all-to-all", 9 * 9e4, algorithm="direct")
    program = compile_program(schedule, fabric)
    row = np.repeat(np.arange(program.rows), np.diff(program.route_pointer))
    kept = np.isin(np.arange(program.rows), row[fabric.target[program.route_link] == fabric.accelerators[0]])
    assert kept.sum() == 8
    program = replace(program, bytes=np.where(kept, program.bytes, 0.0))
    outcome = run_packets(program, fabric)
    drain = program.bytes.sum() / 10e9
    assert drain + 2e-6 <= outcome.finish * (1 + 1e-9) <= (drain + 2e-6) * 1.02


@pytest.mark.parametrize("buffer", [1, 2, 3])
@pytest.mark.parametrize(
    "system", ["ring:7", "torus:4x4", "torus:5x3", "torus:4x4x4", "torus:6x2", "mesh:4x4"]
)
def test_no_deadlock_in_the_smallest_buffers(system: str, buffer: int) -> None:
    program, fabric = compiled(system, "all-to-all", 2**19, "direct")
    outcome = run_packets(program, fabric, buffer=buffer)
    np.testing.assert_allclose(outcome.row_bytes, program.bytes)
    assert outcome.finish >= run_alone(program)[0].finish * 0.97


@pytest.mark.parametrize("routing", ["shortest", "ecmp"])
def test_no_deadlock_on_ways_that_turn_at_will_or_around_dead_cables(routing: str) -> None:
    fabric = topo.load("torus:4x4").fabric
    a, b = (fabric.nodes[fabric.accelerators[i]] for i in (0, 1))
    fabric = fabric.without([(a, b)])
    schedule = topo.schedule(fabric, "all-to-all", 2**18, algorithm="direct")
    program = compile_program(schedule, fabric, routing=routing, seed=3)
    for buffer in (1, 2):
        outcome = run_packets(program, fabric, buffer=buffer)
        np.testing.assert_allclose(outcome.row_bytes, program.bytes)


@pytest.mark.parametrize("system", ["torus:4x4x4", "ring:6", "twisted-torus:2x2x4", "fat-tree:4"])
def test_channels_never_wait_in_a_circle(system: str) -> None:
    """The graph of (link, virtual channel) pairs that wait for one another has no cycle."""
    fabric = topo.load(system).fabric
    schedule = topo.schedule(fabric, "all-to-all", 64 * fabric.ranks, algorithm="direct")
    ways = find_ways(compile_program(schedule, fabric), fabric)
    graph = nx.DiGraph()
    channel = list(zip(ways.link.tolist(), ways.virtual.tolist(), strict=True))
    for a, b in zip(ways.pointer[:-1].tolist(), ways.pointer[1:].tolist(), strict=True):
        nx.add_path(graph, channel[a:b])
    assert nx.is_directed_acyclic_graph(graph)
    assert len(graph) >= fabric.ranks


def test_a_star_needs_one_virtual_channel_and_a_ring_two() -> None:
    for system, expected in (("switch:8", 1), ("ring:8", 2)):
        program, fabric = compiled(system, "all-to-all", 8192, "direct")
        assert run_packets(program, fabric).virtual_channels == expected


def test_packets_of_ways_follow_the_fluid_bytes_on_links() -> None:
    program, fabric = compiled("torus:4x4", "all-to-all", 16 * 2**20, "direct")
    np.testing.assert_allclose(run_packets(program, fabric).link_bytes, program.link_bytes(), rtol=0.02)


@pytest.mark.parametrize("system", ["torus:3x4", "fat-tree:4"])
def test_labels_and_order_of_edges_change_nothing(system: str) -> None:
    fabric = topo.load(system).fabric
    graph = fabric.to_networkx()
    random = np.random.default_rng(1)
    other = nx.DiGraph(**graph.graph)
    names = {node: f"x{k}" for node, k in zip(graph, random.permutation(len(graph)).tolist(), strict=True)}
    for node, data in graph.nodes(data=True):
        other.add_node(names[node], **data)
    edges = list(graph.edges(data=True))
    for i in random.permutation(len(edges)).tolist():
        a, b, data = edges[i]
        other.add_edge(names[a], names[b], **data)
    one, two = (
        run_packets(compiled(f, "all-to-all", 2**18, "direct")[0], f, buffer=4)
        for f in (fabric, Fabric.from_networkx(other))
    )
    np.testing.assert_array_equal(one.row_finish, two.row_finish)


def test_empty_transfers_are_bare_headers() -> None:
    program, fabric = compiled("mesh:4,bandwidth=10GB/s,latency=1us", "all-to-all", 4096, "direct")
    program = replace(program, bytes=np.zeros(program.rows))
    outcome = run_packets(program, fabric)
    np.testing.assert_allclose(outcome.row_finish, program.latency, rtol=1e-9)


def test_lock_step_and_streams_of_repeats() -> None:
    for barrier in (False, True):
        fluid, outcome = both("torus:4x4", "all-reduce", 1e6, "ring", barrier=barrier)
        assert 1 <= outcome.finish / fluid * (1 + 1e-9) <= 1.001


def test_what_it_refuses() -> None:
    program, fabric = compiled("ring:4", "all-reduce", 1e6, "ring")
    with pytest.raises(NetworkError, match="a packet of 0 bytes"):
        run_packets(program, fabric, packet=0)
    with pytest.raises(NetworkError, match="buffers of 0 packets"):
        run_packets(program, fabric, buffer=0)
    large = replace(program, bytes=program.bytes * 1e7)
    assert packet_hops(large) > 2e8
    with pytest.raises(NetworkError, match=r"packet-hops.*fits"):
        require_few_packets(large, size=1e13)
    with pytest.raises(NetworkError, match=r"packets of .* fit"):
        run_packets(large, fabric)
    with pytest.raises(NetworkError, match="neither packets nor buffers"):
        topo.simulate("ring:4", "all-reduce", "1MiB", buffers=4)


def test_large_systems_are_sent_to_the_fluid_engine() -> None:
    with pytest.raises(NetworkError, match=r"16,773,120 streams.*the fluid engine"):
        topo.simulate("torus:16x16x16", "all-to-all", "1GiB", algorithm="direct", engine="packet")
    with pytest.raises(NetworkError, match=r"a size of 4GiB fits"):
        topo.simulate("ring:64", "all-reduce", "64GiB", algorithm="ring", engine="packet")


def test_end_to_end() -> None:
    fluid = topo.simulate("torus:4x4", "all-to-all", "1MiB")
    packets = topo.simulate("torus:4x4", "all-to-all", "1MiB", engine="packet", packet="1KiB", buffers=1000)
    assert packets.engine == "packet"
    assert packets.algorithm == fluid.algorithm
    # Fair shares are not the quickest way to finish all: packets may come in before the fluid.
    assert max(packets.bound_s, 0.8 * fluid.time_s) <= packets.time_s <= 1.05 * fluid.time_s
