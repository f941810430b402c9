"""NCCL's rule of choice: a table of predicted times by algorithm and protocol, of which the least wins.

The formulas and numbers are NCCL's (src/graph/tuning.cc and enqueue.cc); the numbers stand in the library's YAML.
The prediction ranks only: the time of a call comes from simulating the schedule that was chosen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from topo.ccl.model import PROTOCOLS

THREADS = {"LL": (512, 8), "LL128": (640, 8), "Simple": (512, 64)}
"""Threads of a channel, and bytes that each should find, by protocol (NCCL, src/include/comm.h)."""
COLLNET = ("collnet-direct", "collnet-chain")
MICRO = 1e-6
GIGA = 1e9
COLLNET_DIRECT_RANKS = 8
"""Ranks of a domain up to which CollNetDirect is offered (NCCL_MAX_DIRECT_ARITY + 1)."""
REDUCING_OR_GATHERING = ("all-reduce", "all-gather", "reduce-scatter")


@dataclass(frozen=True)
class Communicator:
    """What the rule looks at.

    Parameters
    ----------
    ranks, nodes : int
        Accelerators, and scale-up domains that they lie in.
    generation : str
        Row of the tables.
    bandwidth : float
        Bytes/s of one accelerator inside its domain, as the library counts it.
    net_bandwidth : float
        Bytes/s of the NICs of one domain that the group uses.
    channels, nvls_channels : int
    nvls : bool
        Whether the switch that joins the group inside a domain adds and copies.
    net_latency : float
        Seconds that NCCL reads from the NIC.
    nvlink : bool
        Whether the links inside a domain are better than PCIe.
    ll128 : bool
        Whether protocol LL128 is safe on all links between the ranks.
    collnet : bool
        Whether the switches between domains add for the library.
    """

    ranks: int
    nodes: int
    generation: str
    bandwidth: float
    net_bandwidth: float
    channels: int
    nvls_channels: int
    nvls: bool
    net_latency: float = 0.0
    nvlink: bool = True
    ll128: bool = True
    collnet: bool = False

    @property
    def per_node(self) -> float:
        """Ranks of one domain."""
        return self.ranks / self.nodes

    @property
    def column(self) -> int:
        """Column of the tables by number of nodes."""
        return min(self.nodes, 3) - 1


@dataclass(frozen=True)
class Choice:
    """One entry of the table.

    Parameters
    ----------
    algorithm, protocol : str
    seconds : float
        What the library predicts.
    """

    algorithm: str
    protocol: str
    seconds: float


def choices(tables: Mapping[str, Any], operation: str, size: float, group: Communicator) -> list[Choice]:
    """All that the library would consider, best first."""
    found = [
        Choice(algorithm, protocol, seconds)
        for algorithm, protocol in _allowed(operation, group)
        if (seconds := _predicted(tables, operation, size, group, algorithm, protocol)) is not None
    ]
    return sorted(found, key=lambda choice: choice.seconds)


def _allowed(operation: str, group: Communicator) -> Iterator[tuple[str, str]]:
    for protocol in PROTOCOLS:
        if protocol == "LL128" and not group.ll128:
            continue
        yield "ring", protocol
        if operation == "all-reduce":
            yield "tree", protocol
    if group.nvls and operation in REDUCING_OR_GATHERING and group.nvls_channels > 1:
        if group.nodes == 1:
            yield "nvls", "Simple"
        elif operation == "all-reduce" and group.per_node > 1:
            yield "nvls-tree", "Simple"
    if group.collnet and operation == "all-reduce":
        yield "collnet-chain", "Simple"
        if 1 < group.per_node <= COLLNET_DIRECT_RANKS:
            yield "collnet-direct", "Simple"
        if group.nvls and group.nvls_channels > 1 and group.per_node > 1:
            yield "nvls", "Simple"
    if operation in ("all-gather", "reduce-scatter") and group.per_node == 1 and group.nodes > 1:
        yield "pat", "Simple"


def _predicted(
    tables: Mapping[str, Any], operation: str, size: float, group: Communicator, algorithm: str, protocol: str
) -> float | None:
    bandwidth = _bandwidth(tables, operation, group, algorithm, protocol)
    if bandwidth <= 0:
        return None
    latency = _latency(tables, operation, group, algorithm, protocol)
    if algorithm == "tree":
        shares = tables["tree_share_by_size"][protocol]
        place = int(math.log2(size / 64)) if size >= 64 else -1
        if 0 <= place < len(shares):
            bandwidth *= shares[place]
    plateau = algorithm == "ring" and protocol == "Simple" and group.nodes > 1 and operation == "all-reduce"
    if plateau and size / (group.channels * group.ranks) >= 64:
        latency *= tables["ring_plateau"][group.generation]
    return latency * MICRO + size / (bandwidth * GIGA)


def _bandwidth(
    tables: Mapping[str, Any], operation: str, group: Communicator, algorithm: str, protocol: str
) -> float:
    """GB/s of algorithm bandwidth."""
    row, column = group.generation, group.column
    # Between nodes the search finds one channel a NIC, and every accelerator has one.
    channels = group.channels if group.nodes == 1 else max(int(group.per_node), 2)
    inside, between = group.bandwidth / GIGA, group.net_bandwidth / GIGA
    # Between two nodes every tree has one edge, so that a NIC carries one way of half the trees only.
    edges = 2 if algorithm in ("tree", "nvls-tree") and group.nodes == 2 else 1
    bus = inside if group.nodes == 1 else min(inside, between * edges)
    if algorithm in ("nvls", "nvls-tree"):
        # Every accelerator heads one channel of the search, at the next lower rate that the search tries.
        heads = group.per_node
        rates = [rate for rate in tables["nvls_rates"][row] if rate * heads <= inside * 1.001]
        inside = heads * max(rates, default=0.0) if rates else inside
        inside *= tables["nvls_share"][row] * (heads - 1) / heads
        inside *= 2 if operation == "all-reduce" else (group.per_node - 1) / group.per_node
        bus = inside
        if algorithm == "nvls" and group.nodes > 1:
            bus = min(inside, 2 * between)
        if algorithm == "nvls-tree":
            most = channels * tables["nvls_tree_per_channel"][row][column]
            bus = min(inside, between * edges, most)
    most_ll = tables["ll_most"][row][0] if group.nodes == 1 else tables["ll_most_between_nodes"][column]
    if algorithm == "ring" and protocol == "LL":
        bus = min(most_ll, bus / 2)
    elif algorithm == "ring" and protocol == "LL128":
        bus = min(bus * 0.92, channels * tables["ring_ll128_per_channel"][row][column])
    elif algorithm == "tree":
        bus = min(bus * 0.92, channels * tables["tree_per_channel"][row][column])
        if protocol == "LL":
            bus = min(bus / 3.8, most_ll)
        elif protocol == "LL128":
            share = 7 / 9 if group.nodes == 1 else 120 / 128
            bus = min(bus * share, channels * tables["tree_ll128_per_channel"][row][column])
    elif algorithm == "pat":
        bus *= 0.75
    elif algorithm in COLLNET:
        # A NIC carries all data once each way, a ring's NIC twice.
        bus = min(inside, 2 * between)
        if algorithm == "collnet-direct" and tables["nvls_share"][row]:
            bus *= 0.85
    if algorithm != "ring" and operation in ("all-gather", "reduce-scatter"):
        return bus
    if algorithm in ("ring", "nvls", "nvls-tree"):
        return bus * group.ranks / _steps(operation, group)
    return bus / 2


def _steps(operation: str, group: Communicator) -> int:
    if operation == "all-reduce":
        return 2 * (group.ranks - 1)
    return group.ranks - 1 if operation in REDUCING_OR_GATHERING else group.ranks


def _latency(
    tables: Mapping[str, Any], operation: str, group: Communicator, algorithm: str, protocol: str
) -> float:
    """Microseconds."""
    p = PROTOCOLS.index(protocol)
    base = tables["base"][algorithm][p]
    inside = tables["steps"]["nvlink" if group.nvlink else "pci"][algorithm][p]
    per_node = group.per_node
    # With one rank a node nothing hides the network, and the tree's entry counts.
    net = tables["steps"]["net"]["tree" if group.per_node == 1 else algorithm][p]
    net += group.net_latency / MICRO * (2 if protocol == "Simple" else 1)
    levels = int(math.log2(group.nodes))
    if algorithm == "ring":
        if operation not in REDUCING_OR_GATHERING:
            return float(base + (inside if group.nodes == 1 else net))
        crossings = 0
        if group.nodes > 1:
            overhead = tables["net_overhead"] * (3 if protocol == "Simple" else 1)
            inside = max(inside, overhead)
            crossings = (group.nodes - 1) * (2 if operation == "all-reduce" else 1)
        return float(base + (_steps(operation, group) - crossings) * inside + crossings * net)
    if algorithm == "tree":
        return float(base + 2 * ((group.per_node - 1) * inside + levels * net))
    if algorithm == "nvls":
        return float(inside + (net if group.nodes > 1 else 0.0))
    if algorithm == "collnet-chain":
        return float(base + 2 * (per_node - 1) * inside + net)
    if algorithm == "collnet-direct":
        return float(base + 2 * (min(1.0, per_node - 1) * inside + 0.4 * (per_node - 1)) + net)
    if algorithm == "nvls-tree":
        return float(base + inside + 2 * levels * net)
    return float(base + levels * net / 3.5 + 2.8 * group.ranks)


def in_switch_chunk(
    sizes: Sequence[float], rounds: Sequence[float], size: float, lanes: int, most: float = math.inf
) -> float:
    """Bytes of an in-switch chunk: the largest of which enough rounds over all lanes remain.

    Parameters
    ----------
    sizes : sequence of float
        Chunks from the largest down.
    rounds : sequence of float
        Below so many rounds of a chunk the next smaller one is taken.
    size : float
        Bytes of the call.
    lanes : int
        Channels times heads, the chunks under way at once.
    most : float
        Largest chunk allowed.
    """
    chunk = min(float(sizes[0]), most)
    for smaller, least in zip(sizes[1:], rounds, strict=True):
        if chunk > smaller and size < least * lanes * chunk:
            chunk = float(smaller)
    return chunk


def channels_used(algorithm: str, protocol: str, size: float, ranks: int, most: int) -> int:
    """Channels of a call: as many as find enough bytes for all their threads.

    Source: NCCL, src/enqueue.cc (threads of a channel, and bytes that a thread should find).
    """
    threads, least = THREADS[protocol]
    share = threads * least * (ranks if algorithm == "ring" else 1)
    return max(1, min(most, int(size // share)))
