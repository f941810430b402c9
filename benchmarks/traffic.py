"""Schedules and traffic that the engine's speed is measured on."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import networkx as nx
import numpy as np

import topo
from topo.algorithms import Site, build
from topo.collective import Collective
from topo.fabric import Fabric, FloatArray, IntArray
from topo.network import Program, compile_program
from topo.network.program import assembled, pointer_from
from topo.routing import Routes, find_routes, routes_from_entries
from topo.schedule import Schedule
from topo.system import System

MEBI = 2.0**20
A2A = ("all-to-all", "direct")
RING = ("all-reduce", "ring")


@lru_cache(maxsize=1)
def loaded(name: str) -> System:
    """A system by name; the last one is kept."""
    return topo.load(name)


def schedule_of(
    name: str, operation: str, algorithm: str, size: float = 64 * MEBI
) -> tuple[Schedule, Fabric]:
    """A schedule for all ranks of a system."""
    fabric = loaded(name).fabric
    site = Site(fabric, np.arange(fabric.ranks))
    return build(algorithm, Collective(operation, fabric.ranks, size), site), fabric


def program_of(name: str, operation: str, algorithm: str, size: float = 64 * MEBI) -> Program:
    """The same, spelled out and compiled."""
    return compile_program(*schedule_of(name, operation, algorithm, size))


def ring_program(name: str) -> Program:
    """Ring all-reduce of 64 MiB."""
    return program_of(name, *RING)


def exchange_program(name: str) -> Program:
    """All-to-all of 64 MiB."""
    return program_of(name, *A2A)


def first_found(name: str) -> Program:
    """All-to-all over the first shortest way that a breadth-first search finds, as SimGrid and others take it."""
    schedule, fabric = schedule_of(name, "all-to-all", "direct")
    schedule = schedule.whole()
    batch = schedule.batches[0]
    parent, link = (
        np.stack(tables) for tables in zip(*map(tree_finder(fabric), range(fabric.ranks)), strict=True)
    )
    at, rows, links = batch.target.copy(), [], []
    latency = np.zeros(len(at))
    moving = np.arange(len(at))
    while len(moving):
        crossed = link[batch.source[moving], at[moving]]
        rows.append(moving)
        links.append(crossed)
        latency[moving] += fabric.latency[crossed]
        at[moving] = parent[batch.source[moving], at[moving]]
        moving = moving[at[moving] != batch.source[moving]]
    row, of_row = np.concatenate(rows), np.concatenate(links)
    routes = routes_from_entries(len(batch), row, of_row, np.ones(len(row)), latency, fabric.links)
    return assembled(schedule, [routes], fabric.bandwidth, False)


def tree_finder(fabric: Fabric) -> Callable[[int], tuple[IntArray, IntArray]]:
    """Breadth-first trees of a fabric whose nodes are all accelerators: (parent, link to it) by node."""
    pointer, order = fabric.outgoing
    out = [order[pointer[a] : pointer[a + 1]].tolist() for a in range(fabric.ranks)]
    target = fabric.target.tolist()

    def tree(root: int) -> tuple[IntArray, IntArray]:
        parent, link = np.full(fabric.ranks, -1), np.full(fabric.ranks, -1)
        parent[root] = root
        queue = [root]
        for a in queue:
            for way in out[a]:
                b = target[way]
                if parent[b] < 0:
                    parent[b], link[b] = a, way
                    queue.append(b)
        return parent, link

    return tree


def random_regular() -> Fabric:
    """A random 8-regular graph of 256."""
    graph = nx.random_regular_graph(8, 256, seed=1)
    nx.set_edge_attributes(graph, 50e9, "bandwidth")
    nx.set_edge_attributes(graph, 5e-7, "latency")
    return Fabric.from_networkx(graph, "random 8-regular")


def irregular(lanes: int, flows: int) -> Program:
    """Random permutations on a random 8-regular graph of 256; every sender keeps ``lanes`` flows going."""
    fabric = random_regular()
    random = np.random.default_rng(1)
    target = np.concatenate([random.permutation(256) for _ in range(-(-flows // 256))])
    source = np.tile(np.arange(256), len(target) // 256)
    size = random.exponential(65536.0, len(target)) + 1.0
    apart = source != target
    lane = (np.arange(len(target)) // 256)[apart] % lanes * 256 + source[apart]
    source, target, size = source[apart], target[apart], size[apart]
    routes = find_routes(fabric, source, target, "ecmp", seed=1)
    rows = len(source)
    # Each flow waits for the one before on its lane to arrive: a gate behind every row.
    order = np.argsort(lane, kind="stable")
    follows = lane[order][1:] == lane[order][:-1]
    waiting, before = order[1:][follows], order[:-1][follows]
    gate = np.full(rows, -1)
    gate[waiting] = before
    return each_once(routes, size, fabric.bandwidth, gate)


def permutation(name: str) -> Program:
    """Every rank sends to one other, drawn at random; ways dimension by dimension."""
    fabric = loaded(name).fabric
    random = np.random.default_rng(1)
    target = random.permutation(fabric.ranks)
    source = np.flatnonzero(target != np.arange(fabric.ranks))
    return one_each(fabric, source, target[source], 64 * MEBI)


def one_each(fabric: Fabric, source: IntArray, target: IntArray, size: float) -> Program:
    """Independent transfers of one size."""
    routes = find_routes(fabric, source, target)
    return each_once(routes, np.full(len(source), size), fabric.bandwidth)


def each_once(
    routes: Routes, size: FloatArray, capacity: FloatArray, after: IntArray | None = None
) -> Program:
    """Transfers that happen once, each when the one that ``after`` names has arrived; -1 names none."""
    rows = len(size)
    gates = 0 if after is None else rows
    waiting = np.zeros(rows, dtype=bool) if after is None else after >= 0
    return Program(
        bytes=size,
        repeat=np.ones(rows, dtype=np.int64),
        latency=routes.latency,
        step=np.zeros(rows, dtype=np.int64),
        count=np.ones(rows, dtype=np.int64),
        route_pointer=routes.pointer,
        route_link=routes.link,
        route_weight=routes.fraction,
        capacity=capacity,
        member_pointer=np.arange(gates + 1),
        member_row=np.arange(gates),
        gate_on_arrival=np.ones(gates, dtype=bool),
        gate_repeat=np.ones(gates, dtype=np.int64),
        wait_pointer=pointer_from(waiting.astype(np.int64)),
        wait_gate=np.zeros(0, dtype=np.int64) if after is None else after[waiting],
        wait_lag=np.zeros(int(waiting.sum()), dtype=np.int64),
    )
