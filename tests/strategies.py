"""Random fabrics, groups, sizes, flows and schedules for hypothesis, and small regular fabrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import networkx as nx
import numpy as np
from hypothesis import strategies as st

from topo.collective import Collective, cut
from topo.fabric import Fabric, Grid
from topo.schedule import LAST, Schedule, ScheduleBuilder, Wait, one_each

# ------------------------------------------------------------------------------------------- regular fabrics


def ring(ranks: int, bandwidth: float = 1e10, latency: float = 1e-6) -> Fabric:
    """A ring of accelerators."""
    return torus((ranks,), bandwidth, latency)


def torus(
    shape: Sequence[int],
    bandwidth: float = 5e10,
    latency: float = 1e-6,
    wrap: Sequence[bool] | None = None,
    twist: tuple[tuple[int, ...], ...] = (),
) -> Fabric:
    """A torus, or a mesh along the dimensions that do not wrap."""
    grid = Grid(tuple(shape), tuple(wrap or [True] * len(shape)), twist)
    graph = nx.DiGraph()
    graph.add_nodes_from(range(grid.size))
    for dimension in grid.dimensions:
        cables = 2 if shape[dimension] == 2 and grid.wrap[dimension] else 1
        for direction in (1, -1):
            for a, b in enumerate(grid.neighbours(np.arange(grid.size), dimension, direction).tolist()):
                if b >= 0:
                    graph.add_edge(a, b, bandwidth=bandwidth, latency=latency, cables=cables)
    graph.graph.update(grid=grid, routing="shortest" if grid.twisted else "dimension-order")
    return Fabric.from_networkx(graph, "x".join(map(str, shape)))


def star(ranks: int, bandwidth: float = 5e10, latency: float = 5e-7, in_network: bool = False) -> Fabric:
    """Accelerators around one switch."""
    return star_of([(bandwidth, latency)] * ranks, in_network)


def star_of(cables: Sequence[tuple[float, float]], in_network: bool = False) -> Fabric:
    """One switch, with the (bandwidth, latency) of each accelerator's cable."""
    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(cables)))
    graph.add_node("switch", kind="switch", multicast=in_network, reduce=in_network)
    for i, (bandwidth, latency) in enumerate(cables):
        for a, b in ((i, "switch"), ("switch", i)):
            graph.add_edge(a, b, bandwidth=bandwidth, latency=latency)
    return Fabric.from_networkx(graph, f"star{len(cables)}")


def domains_on_a_switch(domains: int, width: int, inside: float = 4e11, outside: float = 5e10) -> Fabric:
    """Switched scale-up domains, each accelerator with one more cable to a common scale-out switch."""
    graph = nx.DiGraph()
    for d in range(domains):
        for i in range(width):
            graph.add_node((d, i), domain=d)
    graph.add_node("spine", kind="switch")
    for d in range(domains):
        graph.add_node(f"s{d}", kind="switch", multicast=True, reduce=True)
        for i in range(width):
            for switch, bandwidth, latency, tier in (
                (f"s{d}", inside, 1e-6, "scale-up"),
                ("spine", outside, 3e-6, "scale-out"),
            ):
                graph.add_edge((d, i), switch, bandwidth=bandwidth, latency=latency, tier=tier)
                graph.add_edge(switch, (d, i), bandwidth=bandwidth, latency=latency, tier=tier)
    return Fabric.from_networkx(graph, f"{domains}x{width}")


# -------------------------------------------------------------------------------------------- random fabrics

BANDWIDTHS = (1e9, 2e9, 3e9, 1e10, 2.5e10)
LATENCIES = (0.0, 1e-6, 2.5e-6, 1e-4)


def bandwidths() -> st.SearchStrategy[float]:
    """Bytes/s: few round values, so that links tie, and some odd ones."""
    return st.one_of(st.sampled_from(BANDWIDTHS), st.floats(1e9, 1e11, allow_subnormal=False))


def latencies() -> st.SearchStrategy[float]:
    """Seconds, zero included."""
    return st.one_of(st.sampled_from(LATENCIES), st.floats(1e-8, 1e-4, allow_subnormal=False))


@st.composite
def graphs(draw: st.DrawFn, ranks: tuple[int, int] = (2, 6), switches: int = 3) -> nx.DiGraph:
    """Connected graphs with switches, parallel cables, and links unequal in their two directions."""
    accelerators = draw(st.integers(*ranks))
    others = draw(st.integers(0, switches))
    graph = nx.DiGraph()
    for i in range(accelerators):
        graph.add_node(i)
    for i in range(others):
        kind = draw(st.sampled_from(("switch", "switch", "nic")))
        graph.add_node(f"{kind}{i}", kind=kind)
    nodes = draw(st.permutations(list(graph.nodes)))
    pairs = [(nodes[draw(st.integers(0, i - 1))], nodes[i]) for i in range(1, len(nodes))]
    for _ in range(draw(st.integers(0, 4))):
        a, b = draw(st.sampled_from(nodes)), draw(st.sampled_from(nodes))
        if a != b:
            pairs.append((a, b))
    uniform = draw(st.booleans())
    everywhere = (draw(bandwidths()), draw(latencies()))
    for a, b in pairs:
        cables = draw(st.sampled_from((1, 1, 2, 3)))
        for one, other in ((a, b), (b, a)):
            bandwidth, latency = everywhere if uniform else (draw(bandwidths()), draw(latencies()))
            graph.add_edge(one, other, bandwidth=bandwidth, latency=latency, cables=cables)
    return graph


@st.composite
def fabrics(draw: st.DrawFn, ranks: tuple[int, int] = (2, 6), switches: int = 3) -> Fabric:
    """Random connected fabrics."""
    return Fabric.from_networkx(draw(graphs(ranks, switches)), "random")


@st.composite
def stars(draw: st.DrawFn, ranks: tuple[int, int] = (2, 5)) -> Fabric:
    """One switch that multicasts and reduces, with unequal cables."""
    cable = st.tuples(bandwidths(), latencies())
    return star_of(draw(st.lists(cable, min_size=ranks[0], max_size=ranks[1])), in_network=True)


@st.composite
def grids(draw: st.DrawFn, most: int = 16) -> Fabric:
    """Tori and meshes of one to three dimensions, with one cable dead now and then."""
    shape = draw(
        st.lists(st.integers(1, 5), min_size=1, max_size=3).filter(lambda s: 2 <= int(np.prod(s)) <= most)
    )
    wrap = [draw(st.booleans()) for _ in shape]
    fabric = torus(shape, draw(st.sampled_from(BANDWIDTHS)), draw(latencies()), wrap)
    if draw(st.booleans()):
        cable = draw(st.integers(0, fabric.links - 1))
        ends = (fabric.nodes[fabric.source[cable]], fabric.nodes[fabric.target[cable]])
        left = fabric.to_networkx()
        left.remove_edges_from([ends, ends[::-1]])
        if nx.is_strongly_connected(left):
            return fabric.without([ends] * int(fabric.cables[cable]))
    return fabric


def sizes() -> st.SearchStrategy[float]:
    """Bytes, from next to nothing to very much."""
    return st.one_of(st.sampled_from((1.0, 1024.0, 4e6, 1e9)), st.floats(1.0, 1e10, allow_subnormal=False))


# ---------------------------------------------------------------------------------------------------- flows


@st.composite
def traffic(draw: st.DrawFn, most: int = 12) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Links and flows as :func:`topo.simulate_flows` takes them."""
    links = {f"l{i}": draw(bandwidths()) for i in range(draw(st.integers(1, 5)))}
    flows: list[dict[str, Any]] = []
    for i in range(draw(st.integers(1, most))):
        path = draw(st.lists(st.sampled_from(sorted(links)), min_size=1, max_size=4))
        flow = {"id": i, "size": draw(st.one_of(st.just(0.0), sizes())), "path": path}
        if draw(st.booleans()):
            flow["start"] = draw(
                st.one_of(st.sampled_from((0.0, 0.25, 1.0)), st.floats(0, 10, allow_subnormal=False))
            )
        flows.append(flow)
    return links, flows


# ------------------------------------------------------------------------------------------------- schedules


@st.composite
def schedules(
    draw: st.DrawFn, ranks: int, *, trees: bool = False, repeats: int = 8, most: int = 5
) -> Schedule:
    """Schedules that compute nothing but wait for each other in every way there is.

    They have no chunks: they are for the engines, not for the proof.
    """
    collective = Collective("all-reduce", ranks, 1e6)
    builder = ScheduleBuilder(collective, "random", lambda: cut(collective))
    rank = st.integers(0, ranks - 1)
    for number in range(draw(st.integers(1, 4))):
        count = draw(st.integers(1, most))
        repeat = draw(st.integers(1, repeats))
        waits = [draw(_waits(number, builder)) for _ in range(draw(st.integers(0, 2)) if number else 0)]
        if draw(st.booleans()):
            waits.append(Wait(number, draw(st.integers(1, 3)), draw(st.sampled_from(("arrival", "drain")))))
        source = [draw(rank) for _ in range(count)]
        target = [(s + draw(st.integers(1, ranks - 1))) % ranks for s in source]
        same = draw(st.booleans())
        size = st.one_of(st.sampled_from((0.0, 1e3, 1e6)), st.floats(1.0, 1e7, allow_subnormal=False))
        bytes = [draw(size)] * count if same else [draw(size) for _ in range(count)]
        form, fan = "direct", None
        if trees and draw(st.booleans()):
            form = draw(st.sampled_from(("multicast", "reduce", "all-reduce")))
            rows = [draw(st.lists(rank, min_size=2, max_size=ranks, unique=True)) for _ in range(count)]
            pointer = np.cumsum([0, *map(len, rows)])
            fan = (pointer, np.concatenate(rows))
            if form == "all-reduce":
                source = target = [row[0] for row in rows]
        builder.add(
            source,
            target,
            np.asarray(bytes),
            one_each(np.zeros(count, dtype=np.int64)),
            repeat=repeat,
            loop=False,
            waits=waits,
            step=draw(st.integers(0, 6)),
            form=form,
            fan=fan,
        )
    return builder.build()


@st.composite
def _waits(draw: st.DrawFn, number: int, builder: ScheduleBuilder) -> Wait:
    batch = draw(st.integers(0, number - 1))
    lag = draw(st.sampled_from((LAST, 0, 0, 1, 2, -1, -4)))
    on = draw(st.sampled_from(("arrival", "drain")))
    pairs = None
    if draw(st.integers(0, 3)) == 0:
        other = len(builder.batches[batch])
        many = draw(st.integers(1, 4))
        pairs = (
            np.asarray([draw(st.integers(0, 1)) for _ in range(many)]) * 0,
            np.asarray([draw(st.integers(0, other - 1)) for _ in range(many)]),
        )
    return Wait(batch, lag, on, pairs)
