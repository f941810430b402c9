"""Reductions on a wafer: star, chain, tree, two-phase and Auto-Gen along rows and columns, and multicast.

Source: Luczynski et al., "Near-Optimal Wafer-Scale Reduce", HPDC 2024 (arXiv 2404.15888); costs in cycles are in
:mod:`topo.wafer`.  On a grid the X-Y form reduces along the last dimension to the root's column and then along the
one before it.  A broadcast is one multicast where the routers of the accelerators copy what passes
(``multicast`` on accelerators): S/B + hops a.  An all-reduce is a reduce to the middle and that broadcast, or the
same tree downwards where routers cannot copy.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from topo import wafer
from topo.algorithms.chain import in_chunks
from topo.algorithms.homes import line
from topo.algorithms.parameters import whole_or_best
from topo.algorithms.registry import Site, algorithm
from topo.algorithms.trees import Stream, Tree, send_down, send_up
from topo.collective import Collective, segments
from topo.fabric import Grid, IntArray
from topo.routing import Routes
from topo.schedule import Schedule, ScheduleBuilder, one_each

REDUCTIONS = ("reduce", "all-reduce")


def on_a_mesh(collective: Collective, site: Site) -> str:
    """Wafer patterns need the whole of a mesh without wraps and without damage."""
    grid = site.grid
    if grid is None or grid.twisted or any(w for w, k in zip(grid.wrap, grid.shape, strict=True) if k > 1):
        return "it needs all ranks of a mesh without wrap links"
    return "" if _whole(site, grid) else "a link of the mesh is missing"


def _whole(site: Site, grid: Grid) -> bool:
    node = site.fabric.accelerators
    for d in grid.dimensions:
        onward = grid.neighbours(np.arange(grid.size), d, 1)
        inner = onward >= 0
        for source, target in ((node[inner], node[onward[inner]]), (node[onward[inner]], node[inner])):
            if (site.fabric.links_between(source, target) < 0).any():
                return False
    return True


def copying(collective: Collective, site: Site) -> str:
    """Multicast needs, besides, routers that copy."""
    why = on_a_mesh(collective, site)
    if why:
        return why
    return "" if _routers_copy(site) else "the routers of its accelerators do not multicast"


def _routers_copy(site: Site) -> bool:
    return bool(site.fabric.multicast[site.fabric.accelerators].all())


def row_parents(pattern: str, cores: int, size: float, group: int = 0) -> IntArray:
    """Parent of each place of a row with the root at place 0 [cores].

    Parameters
    ----------
    pattern : str
        star, chain, tree, two-phase or auto-gen.
    cores : int
    size : float
        Bytes of the vector; Auto-Gen counts it in words of 4 bytes.
    group : int
        Group size of the two-phase pattern; 0 takes the square root.
    """
    place = np.arange(cores)
    if pattern == "star":
        return np.minimum(place, 1) - 1
    if pattern == "chain":
        return place - 1
    if pattern == "tree":
        return wafer.tree_parents(cores)
    if pattern == "two-phase":
        return wafer.two_phase_parents(cores, min(group, cores))
    return wafer.auto_gen(cores, max(size / 4, 1.0))[1] if cores > 1 else place - 1


def xy_tree(grid: Grid, root: int, pattern: str, size: float, group: int = 0) -> Tree:
    """The tree of an X-Y reduce: along the last dimension first; each side of the root is a row of its own.

    Parameters
    ----------
    grid : Grid
    root : int
        Rank.
    pattern, size, group
        As in :func:`row_parents`.
    """
    at = grid.coordinates(np.arange(grid.size))
    home = grid.coordinates(np.asarray([root]))[0]
    parent = np.full(grid.size, -1, dtype=np.int64)
    for d in grid.dimensions:
        # Ranks that have still to move along d: they stand where the root does in all later dimensions.
        later = (at[:, d + 1 :] == home[d + 1 :]).all(axis=1)
        away = at[:, d] - home[d]
        for side in (1, -1):
            moving = np.flatnonzero(later & (away * side > 0))
            if not len(moving):
                continue
            parents = row_parents(pattern, int((away * side).max()) + 1, size, group)
            onward = at[moving].copy()
            onward[:, d] = home[d] + side * parents[away[moving] * side]
            parent[moving] = grid.numbers(onward)
    return Tree(parent, root)


def multicast_routes(site: Site, grid: Grid, root: int) -> Routes:
    """The tree of links from a rank to all others, along dimension 0 first."""
    fabric = site.fabric
    node = fabric.accelerators
    tree = xy_tree(grid, root, "chain", 1.0)
    source, target = tree.parent, np.arange(grid.size)
    moved = source >= 0
    link = fabric.links_between(node[source[moved]], node[target[moved]])
    delay = np.zeros(grid.size)
    to = dict(zip(target[moved].tolist(), link.tolist(), strict=True))
    for level in tree.levels():
        links = np.asarray([to[int(rank)] for rank in level])
        delay[level] = delay[tree.parent[level]] + fabric.latency[links]
    return Routes(np.asarray([0, len(link)]), link, np.ones(len(link)), np.asarray([delay.max()]))


def _multicast(builder: ScheduleBuilder, site: Site, root: int, chunks: int, after: list[int]) -> None:
    grid = site.grid
    assert grid is not None, "fits() was asked before"
    others = np.delete(np.arange(grid.size), root)
    builder.add(
        [root],
        [root],
        builder.collective.bytes / chunks,
        lambda repeat: one_each(np.asarray([repeat])),
        repeat=chunks,
        pipeline=after,
        loop=False,
        form="multicast",
        fan=(np.asarray([0, len(others)]), others),
        routes=multicast_routes(site, grid, root),
    )


def _reduce(collective: Collective, site: Site, chunks: int, pattern: str, group: int = 0) -> Schedule:
    grid = site.grid
    assert grid is not None, "fits() was asked before"
    whole = collective.operation == "all-reduce"
    root = int(grid.numbers(np.asarray(grid.shape) // 2)) if whole else collective.root
    tree = xy_tree(grid, root, pattern, collective.bytes, group)
    builder = ScheduleBuilder(
        collective, f"wafer-{pattern}", partial(segments, collective, chunks), in_chunks(chunks)
    )
    stream = Stream(collective.bytes / chunks, chunks)
    last = send_up(builder, tree, stream)[-1:]
    if whole and _routers_copy(site):
        _multicast(builder, site, root, chunks, last)
    elif whole:
        send_down(builder, tree, stream, last)
    return builder.build()


def _chain_time(collective: Collective, site: Site, chunks: int) -> float | None:
    """On a line, reduce to one end: (P-1) a + (P + k - 2) S/(k B)."""
    link = line(site)
    ends = (0, collective.ranks - 1)
    if link is None or site.grid is None or collective.operation != "reduce" or collective.root not in ends:
        return None
    hops = collective.ranks - 1
    return hops * link.latency + (hops + chunks - 1) * collective.bytes / chunks / link.bandwidth


def _star_time(collective: Collective, site: Site, chunks: int) -> float | None:
    """On a line, reduce to one end: (P-1) S/B + (P-1) a, the last link carries all."""
    link = line(site)
    ends = (0, collective.ranks - 1)
    if link is None or site.grid is None or collective.operation != "reduce" or collective.root not in ends:
        return None
    hops = collective.ranks - 1
    return hops * (link.latency + collective.bytes / link.bandwidth)


@algorithm("wafer-star", REDUCTIONS, fits=on_a_mesh, scales=False, closed_form=_star_time)
def wafer_star(collective: Collective, site: Site, chunks: int) -> Schedule:
    """On a mesh, all of a row send to its root at once, then all roots of rows."""
    return _reduce(collective, site, chunks, "star")


@algorithm("wafer-chain", REDUCTIONS, fits=on_a_mesh, pipelines=True, closed_form=_chain_time)
def wafer_chain(collective: Collective, site: Site, chunks: int) -> Schedule:
    """On a mesh, chains along the rows and then a column, segment by segment."""
    return _reduce(collective, site, chunks, "chain")


@algorithm("wafer-tree", REDUCTIONS, fits=on_a_mesh, pipelines=True)
def wafer_tree(collective: Collective, site: Site, chunks: int) -> Schedule:
    """On a mesh, distance doubling along the rows and then a column."""
    return _reduce(collective, site, chunks, "tree")


@algorithm(
    "wafer-two-phase",
    REDUCTIONS,
    fits=on_a_mesh,
    pipelines=True,
    parameters=(whole_or_best("group", "the places of one group"),),
)
def wafer_two_phase(collective: Collective, site: Site, chunks: int, *, group: int) -> Schedule:
    """On a mesh, chains in groups and a chain over the groups, along the rows and then a column."""
    return _reduce(collective, site, chunks, "two-phase", group)


def _short_rows(collective: Collective, site: Site) -> str:
    why = on_a_mesh(collective, site)
    if not why and site.grid is not None and max(site.grid.shape) > wafer.MOST_GENERATED:
        return f"its search is for rows of up to {wafer.MOST_GENERATED} ranks"
    return why


@algorithm("wafer-auto-gen", REDUCTIONS, fits=_short_rows, pipelines=True)
def wafer_auto_gen(collective: Collective, site: Site, chunks: int) -> Schedule:
    """On a mesh, the reduction tree that the wafer's cost model finds best for each row length."""
    return _reduce(collective, site, chunks, "auto-gen")


def _multicast_time(collective: Collective, site: Site, chunks: int) -> float | None:
    """On a line from one end: S/B + (P-1) a."""
    link = line(site)
    if link is None or collective.root not in (0, collective.ranks - 1):
        return None
    return collective.bytes / link.bandwidth + (collective.ranks - 1) * link.latency


@algorithm("wafer-multicast", ("broadcast",), fits=copying, closed_form=_multicast_time)
def wafer_multicast(collective: Collective, site: Site, chunks: int) -> Schedule:
    """On a mesh whose routers copy, one stream along a column and then all rows: S/B + hops a."""
    builder = ScheduleBuilder(collective, "wafer-multicast", partial(segments, collective))
    _multicast(builder, site, collective.root, 1, [])
    return builder.build()
