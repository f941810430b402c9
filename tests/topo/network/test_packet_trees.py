"""The packet engine on trees that switches add and copy on."""

from __future__ import annotations

from dataclasses import replace

import networkx as nx
import numpy as np
import pytest

import topo
from topo.errors import NetworkError
from topo.fabric import Fabric
from topo.network.packet import PacketOutcome, run_packets
from topo.network.packet_trees import PATH
from topo.network.packet_ways import find_ways
from topo.network.program import Program, compile_program
from topo.network.solver import run_alone

STAR = "switch:4,in_network=true,bandwidth=10GB/s,latency=1us"


def compiled(fabric: Fabric, operation: str, size: float, algorithm: str, **options: int) -> Program:
    return compile_program(topo.schedule(fabric, operation, size, algorithm=algorithm, **options), fabric)


def sound(program: Program, fabric: Fabric, **options: int) -> PacketOutcome:
    """Run it; all bytes arrive, and no link carries more than it can."""
    outcome = run_packets(program, fabric, **options)
    np.testing.assert_allclose(outcome.row_bytes, program.bytes * program.repeat, rtol=1e-9)
    assert (outcome.link_bytes <= program.capacity * outcome.finish * (1 + 1e-9)).all()
    return outcome


@pytest.mark.parametrize(
    ("operation", "algorithm"), [("broadcast", "nvls"), ("reduce", "nvls"), ("all-reduce", "sharp")]
)
def test_one_stream_takes_latency_and_drain(operation: str, algorithm: str) -> None:
    fabric = topo.load(STAR).fabric
    program = compiled(fabric, operation, 1e6, algorithm)
    outcome = sound(program, fabric)
    assert outcome.finish == pytest.approx(2e-6 + 1e6 / 10e9, rel=1e-6)
    np.testing.assert_allclose(outcome.link_bytes, program.link_bytes(), rtol=1e-9)


def test_a_sum_waits_for_the_slowest_and_copies_for_all() -> None:
    graph = topo.load(STAR).fabric.to_networkx()
    slow = next(edge for edge in graph.edges if edge[0] == "gpu2" or edge[0] == 2)
    graph.edges[slow]["bandwidth"] = 1e9
    fabric = Fabric.from_networkx(graph)
    outcome = sound(compiled(fabric, "reduce", 1e6, "nvls"), fabric)
    # The last packet goes on as it comes in from the slow link, and is cut to what is left of the message.
    drain = 1e6 / 1e9
    assert 2e-6 + drain <= outcome.finish * (1 + 1e-9) <= 2e-6 + drain + 4096 / 10e9


# Packets come one after another where fair shares come all at once, so that the second half of an all-reduce may
# begin earlier; few packets do not divide evenly over 18 switches.
@pytest.mark.parametrize(
    ("system", "operation", "size", "low", "high"),
    [
        ("dgx-h100", "broadcast", 2.0**16, 1.0, 1.03),
        ("dgx-h100", "reduce", 2.0**20, 1.0, 1.01),
        ("dgx-h100", "all-gather", 2.0**20, 1.0, 1.02),
        ("dgx-h100", "all-reduce", 2.0**16, 0.95, 1.0),
        ("dgx-h100", "all-reduce", 2.0**24, 0.99, 1.0),
        ("gb200-nvl72", "broadcast", 2.0**20, 1.0, 1.04),
        ("gb200-nvl72", "reduce-scatter", 2.0**20, 1.0, 1.17),
        ("gb200-nvl72", "all-reduce", 2.0**20, 0.95, 1.0),
        ("gb200-nvl72", "all-reduce", 2.0**24, 0.98, 1.0),
    ],
)
def test_band_of_packets_over_fluid(
    system: str, operation: str, size: float, low: float, high: float
) -> None:
    fabric = topo.load(system).fabric
    program = compiled(fabric, operation, size, "nvls")
    ratio = sound(program, fabric).finish / run_alone(program)[0].finish
    assert low * (1 - 1e-9) <= ratio <= high * (1 + 1e-9)


def clos(spines: int, widths: list[float]) -> Fabric:
    """Two leaves with three accelerators each under some spines, all able to add and copy."""
    graph = nx.DiGraph()
    cables = [(f"gpu{3 * leaf + i}", f"leaf{leaf}", 10e9) for leaf in range(2) for i in range(3)]
    cables += [(f"leaf{leaf}", f"spine{i}", widths[i]) for leaf in range(2) for i in range(spines)]
    for i in range(6):
        graph.add_node(f"gpu{i}")
    for a, b, bandwidth in cables:
        graph.add_edge(a, b, bandwidth=bandwidth, latency=1e-6)
        graph.add_edge(b, a, bandwidth=bandwidth, latency=1e-6)
    for node in graph:
        if not node.startswith("gpu"):
            graph.nodes[node].update(kind="switch", multicast=True, reduce=True)
    return Fabric.from_networkx(graph)


@pytest.mark.parametrize("widths", [[10e9], [10e9, 10e9], [5e9, 20e9, 10e9]])
@pytest.mark.parametrize("operation", ["all-reduce", "all-gather", "reduce-scatter", "broadcast", "reduce"])
def test_trees_through_several_levels(operation: str, widths: list[float]) -> None:
    fabric = clos(len(widths), widths)
    program = compiled(fabric, operation, 6e6, "nvls", chunks=3)
    fluid = run_alone(program)[0].finish
    for buffer in (1, 2, 256):
        outcome = sound(program, fabric, buffer=buffer)
        assert outcome.finish >= fluid * 0.98
    assert outcome.finish <= fluid * 1.05
    np.testing.assert_allclose(outcome.link_bytes, program.link_bytes(), rtol=0.05)


def test_each_switch_that_joins_all_is_a_tree_of_its_own() -> None:
    fabric = clos(3, [5e9, 20e9, 10e9])
    ways = find_ways(compiled(fabric, "broadcast", 1e6, "nvls"), fabric)
    assert (ways.phase != PATH).all()
    np.testing.assert_allclose(sorted(ways.share), [0.2, 0.4, 0.4])
    assert ways.share.sum() == pytest.approx(1)
    assert len(np.unique(ways.link * 1000 + ways.virtual)) == len(ways.link)


def test_labels_and_order_of_edges_change_nothing() -> None:
    fabric = clos(3, [5e9, 20e9, 10e9])
    graph, random = fabric.to_networkx(), np.random.default_rng(1)
    other = nx.DiGraph(**graph.graph)
    names = {node: f"x{k}" for node, k in zip(graph, random.permutation(len(graph)).tolist(), strict=True)}
    for node, data in graph.nodes(data=True):
        other.add_node(names[node], **data)
    edges = list(graph.edges(data=True))
    for i in random.permutation(len(edges)).tolist():
        a, b, data = edges[i]
        other.add_edge(names[a], names[b], **data)
    one, two = (
        sound(compiled(given, "all-reduce", 6e6, "nvls"), given, buffer=4)
        for given in (fabric, Fabric.from_networkx(other))
    )
    np.testing.assert_array_equal(one.row_finish, two.row_finish)


@pytest.mark.parametrize("buffer", [1, 2])
def test_no_deadlock_in_the_smallest_buffers(buffer: int) -> None:
    for system in ("dgx-h100", "switch:7,in_network=true"):
        fabric = topo.load(system).fabric
        sound(compiled(fabric, "all-reduce", 2**20, "nvls", chunks=4), fabric, buffer=buffer)


def test_trees_and_plain_transfers_share_links() -> None:
    fabric = topo.load(STAR).fabric
    tree, plain = (compiled(fabric, "broadcast", 1e6, name) for name in ("nvls", "direct"))
    both = Program(
        **{
            name: np.concatenate([getattr(tree, name), getattr(plain, name)])
            for name in ("bytes", "repeat", "latency", "step", "count", "route_link", "route_weight")
        },
        route_pointer=np.concatenate([tree.route_pointer, tree.route_pointer[-1] + plain.route_pointer[1:]]),
        capacity=tree.capacity,
        member_pointer=np.zeros(1, dtype=np.int64),
        member_row=np.zeros(0, dtype=np.int64),
        gate_on_arrival=np.zeros(0, dtype=bool),
        gate_repeat=np.zeros(0, dtype=np.int64),
        wait_pointer=np.zeros(tree.rows + plain.rows + 1, dtype=np.int64),
        wait_gate=np.zeros(0, dtype=np.int64),
        wait_lag=np.zeros(0, dtype=np.int64),
    )
    for buffer in (1, 256):
        outcome = sound(both, fabric, buffer=buffer)
        assert outcome.finish >= 4 * 1e6 / 10e9
    assert outcome.finish <= run_alone(both)[0].finish * 1.05


def test_what_is_neither_path_nor_tree_is_refused() -> None:
    fabric = topo.load(STAR).fabric
    program = compiled(fabric, "broadcast", 1e6, "nvls")
    with pytest.raises(NetworkError, match="neither paths"):
        run_packets(replace(program, route_weight=program.route_weight / 2), fabric)
