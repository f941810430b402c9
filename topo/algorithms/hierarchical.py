"""Hierarchical collectives: inside the scale-up domains, then between them.

n domains of G ranks, intra-domain (a1, B1), rails between domains (a2, B2 per rank): all-reduce as
reduce-scatter inside, all-reduce over each rail on S/G, all-gather inside:
2(G-1)(a1 + S/(G B1)) + 2(n-1)(a2 + S/(G n B2)) without chunk pipelining; with many chunks the phases overlap and
the slower one alone counts.
Source: Cho et al., "BlueConnect: Decomposing all-reduce for deep learning on heterogeneous network hierarchy"
(2019); the rail form is how NCCL and Megatron users build it.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from topo.algorithms.invariance import add_by_shift, members_by_domain
from topo.algorithms.registry import Site, algorithm
from topo.algorithms.ring import GATHERING, REDUCING, Rings
from topo.collective import Collective, cut
from topo.fabric import Grid, IntArray
from topo.schedule import Schedule, ScheduleBuilder, Table, one_each, rows_of


def has_levels(collective: Collective, site: Site) -> str:
    """Hierarchy needs at least two scale-up domains of equal size, each with at least two ranks."""
    members = members_by_domain(site)
    if members is None:
        return "it needs at least two scale-up domains of equal size"
    if (members.ravel() != np.arange(members.size)).any():
        return "it needs the ranks of each scale-up domain side by side"
    return ""


@algorithm(
    "hierarchical",
    ("all-reduce", "all-gather", "reduce-scatter", "all-to-all"),
    fits=has_levels,
    pipelines=True,
)
def hierarchical(collective: Collective, site: Site, chunks: int) -> Schedule:
    """Reduce-scatter inside each scale-up domain, rings over the rails between them, all-gather inside."""
    members = members_by_domain(site)
    assert members is not None, "fits() was asked before"
    if collective.operation == "all-to-all":
        return _all_to_all(collective, members).pipelined(chunks)
    return _rings(collective, members).pipelined(chunks)


def _rings(collective: Collective, members: IntArray) -> Schedule:
    domains, width = members.shape
    builder = ScheduleBuilder(collective, "hierarchical", partial(cut, collective), f"{domains} x {width}")
    rank = members.ravel()
    domain, local = np.divmod(rank, width)
    grid = Grid((domains, width), (True, True))
    inner = Rings(rank, members[domain, (local + 1) % width], local, width, grid, np.asarray([0, 1]))
    outer = Rings(rank, members[(domain + 1) % domains, local], domain, domains, grid, np.asarray([1, 0]))

    def inner_chunks(shares: IntArray) -> Table:
        return rows_of(members[:, shares].T)

    def outer_chunks(shares: IntArray) -> Table:
        return one_each(members[shares, local])

    before: tuple[int, ...] = ()
    share = collective.bytes / width
    if collective.operation in REDUCING:
        before = (inner.reduce_scatter(builder, share, inner_chunks),)
        before = (outer.reduce_scatter(builder, share / domains, outer_chunks, before),)
    if collective.operation in GATHERING:
        before = (outer.all_gather(builder, share / domains, outer_chunks, before),)
        inner.all_gather(builder, share, inner_chunks, before)
    return builder.build()


def _all_to_all(collective: Collective, members: IntArray) -> Schedule:
    """Blocks for rank j of any domain go first to the local rank j, then over its rail (PXN)."""
    domains, width = members.shape
    n = collective.ranks
    builder = ScheduleBuilder(collective, "hierarchical", partial(cut, collective), f"{domains} x {width}")
    grid = Grid((domains, width), (True, True))
    share = collective.bytes / n
    domain, local = np.divmod(np.arange(n), width)

    def through(source: IntArray, relay: IntArray) -> Table:
        return rows_of(source[:, None] * n + members[:, local[relay]].T)

    def gathered(source: IntArray, target: IntArray) -> Table:
        return rows_of(members[domain[source]] * n + target[:, None])

    inside = np.stack([np.zeros(width - 1, dtype=np.int64), np.arange(1, width)], axis=1)
    between = np.stack([np.arange(1, domains), np.zeros(domains - 1, dtype=np.int64)], axis=1)
    first = add_by_shift(builder, grid, inside, share * domains, through)
    add_by_shift(builder, grid, between, share * width, gathered, (first,))
    return builder.build()
