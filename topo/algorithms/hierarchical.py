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

from topo.algorithms.direct import all_pairs
from topo.algorithms.registry import Site, algorithm
from topo.algorithms.ring import GATHERING, REDUCING, Rings
from topo.collective import Collective, cut
from topo.fabric import IntArray
from topo.schedule import Schedule, ScheduleBuilder, Table, one_each, rows_of


def members_by_domain(site: Site) -> IntArray | None:
    """Ranks as a matrix [domains, members], or None when the domains are of unequal size or fewer than two."""
    domains, counts = np.unique(site.domain, return_counts=True)
    if len(domains) < 2 or len(set(counts.tolist())) != 1 or counts[0] < 2:
        return None
    return np.argsort(site.domain, kind="stable").reshape(len(domains), -1)


def has_levels(collective: Collective, site: Site) -> str:
    """Hierarchy needs at least two scale-up domains of equal size, each with at least two ranks."""
    if members_by_domain(site) is None:
        return "it needs at least two scale-up domains of equal size"
    return ""


@algorithm("hierarchical", ("all-reduce", "all-gather", "reduce-scatter", "all-to-all"), fits=has_levels, pipelines=True)
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
    domain, local = np.divmod(np.arange(rank.size), width)
    inner = Rings(rank, members[domain, (local + 1) % width], local, width)
    outer = Rings(rank, members[(domain + 1) % domains, local], domain, domains)

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
    blocks = collective.blocks()
    builder = ScheduleBuilder(collective, "hierarchical", partial(cut, collective), f"{domains} x {width}")
    place = np.empty((n, 2), dtype=np.int64)
    for domain in range(domains):
        place[members[domain], 0] = domain
        place[members[domain], 1] = np.arange(width)
    # Inside: from every rank to each other local rank, the blocks for that place in every domain.
    source, other = all_pairs(width)
    domain = np.repeat(np.arange(domains), len(source))
    sender = members[domain, np.tile(source, domains)]
    relay = members[domain, np.tile(other, domains)]
    through = sender[:, None] * n + members[:, place[relay, 1]].T
    first = builder.add(sender, relay, blocks.ravel()[through].sum(axis=1), rows_of(through))
    # Over the rails: everything gathered for a rank of another domain.
    source, other = all_pairs(domains)
    local = np.tile(np.arange(width), len(source))
    sender = members[np.repeat(source, width), local]
    target = members[np.repeat(other, width), local]
    gathered = members[place[sender, 0]] * n + target[:, None]
    builder.add(sender, target, blocks.ravel()[gathered].sum(axis=1), rows_of(gathered), after=(first,))
    return builder.build()
