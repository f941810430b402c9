"""Broadcast as scatter and all-gather, reduce as reduce-scatter and gather.

Sources: van de Geijn, "On global combine operations" (1994); Thakur, Rabenseifner and Gropp (2005).  Binomial
scatter, then a ring: (log2 N + N - 1) a + 2(N-1)/N S/B on a star; or Bruck's rounds for the all-gather.  On a grid
the buckets gather over all links at once.

Relays (gather=relay): the root sends every other rank an equal part, which that rank hands to the other N - 2.  The
root's port carries S once and no other port carries more: in k chunks on a star 2a + S/B + (N-2)/(N-1) S/(k B), a
the latency of a path.  Derived here; the same two hops make an all-gather out of a broadcast in many libraries.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from topo.algorithms.bruck import gather_rounds
from topo.algorithms.bucket import on_a_grid
from topo.algorithms.exchange import Round, add_rounds, time_reversed
from topo.algorithms.homes import full_mesh, star
from topo.algorithms.parameters import choice
from topo.algorithms.registry import Site, algorithm
from topo.algorithms.ring import one_ring
from topo.algorithms.scatter_bucket import scatter_bucket
from topo.algorithms.trees import from_root
from topo.collective import Collective, segments
from topo.fabric import IntArray
from topo.schedule import Schedule, ScheduleBuilder, Table, one_each

GATHERS = ("ring", "bruck", "relay", "bucket")


def scatter_rounds(order: IntArray) -> list[Round]:
    """Rounds of a binomial scatter: position 0 ends with chunk 0, position i with chunk i.

    The holder of positions lo .. lo + 2^b - 1 (cut at the end) sends the upper half to its first member.
    """
    n = len(order)
    rounds: list[Round] = []
    for bit in reversed(range((n - 1).bit_length())):
        holder = np.arange(0, n, 2 << bit)
        holder = holder[holder + (1 << bit) < n]
        upper = holder + (1 << bit)
        count = np.minimum(1 << bit, n - upper)
        pointer = np.concatenate([[0], np.cumsum(count)])
        chunks = np.concatenate([np.arange(u, u + c) for u, c in zip(upper, count, strict=True)])
        rounds.append(
            Round(order[holder], order[upper], count.astype(float), partial(_table, pointer, chunks))
        )
    return rounds


def _table(pointer: IntArray, chunks: IntArray) -> Table:
    return pointer, chunks


def _binomial(collective: Collective, site: Site, gather: str) -> Schedule:
    order = from_root(collective, site)
    builder = ScheduleBuilder(collective, "scatter-allgather", partial(segments, collective, len(order)))
    share = collective.bytes / collective.ranks
    if collective.operation == "broadcast":
        before = add_rounds(builder, scatter_rounds(order), share)
        if gather == "ring":
            one_ring(order).all_gather(builder, share, one_each, before)
        else:
            add_rounds(builder, gather_rounds(order), share, after=before)
        return builder.build()
    if gather == "ring":
        before = (one_ring(order).reduce_scatter(builder, share, one_each),)
    else:
        before = add_rounds(builder, time_reversed(gather_rounds(order)), share, reduce=True)
    add_rounds(builder, time_reversed(scatter_rounds(order)), share, after=before)
    return builder.build()


def _relay(collective: Collective) -> Schedule:
    """Every rank but the root relays one part."""
    n, root = collective.ranks, collective.root
    reduce = collective.operation == "reduce"
    peers = np.delete(np.arange(n), root)
    part = np.arange(n - 1)
    builder = ScheduleBuilder(collective, "scatter-allgather", partial(segments, collective, n - 1), "relays")
    share = collective.bytes / (n - 1)
    owner, other = np.divmod(np.arange((n - 1) ** 2), n - 1)
    owner, other = owner[owner != other], other[owner != other]
    spread = (peers[owner], peers[other], one_each(owner))
    home = (np.full(n - 1, root), peers, one_each(part))
    before: tuple[int, ...] = ()
    for source, target, chunks in (spread, home) if reduce else (home, spread):
        giver, taker = (target, source) if reduce else (source, target)
        if len(source):
            before = (builder.add(giver, taker, share, chunks, reduce=reduce, after=before),)
    return builder.build()


def _time(collective: Collective, site: Site, chunks: int, *, gather: str) -> float | None:
    """On a star: a broadcast by ring among a power of two, unpipelined; relays also on a full mesh."""
    port, link, n = star(site), full_mesh(site), collective.ranks
    path = port or link
    if path is None or n < 3:
        return None
    if gather == "relay":
        root = collective.bytes if port else collective.bytes / (n - 1)
        onward = root * ((n - 2) / (n - 1) if port else 1)
        return 2 * path.latency + (root + onward / chunks) / path.bandwidth
    if port is None or n & (n - 1) or gather != "ring" or collective.operation != "broadcast" or chunks > 1:
        return None
    return (n.bit_length() + n - 2) * port.latency + 2 * (n - 1) / n * collective.bytes / port.bandwidth


def _others(collective: Collective, site: Site) -> list[str]:
    buckets = [] if on_a_grid(collective, site) else ["bucket"]
    return [f"scatter-allgather:gather={gather}" for gather in ("bruck", "relay", *buckets)]


@algorithm(
    "scatter-allgather",
    ("broadcast", "reduce"),
    pipelines=True,
    scales=False,
    parameters=(choice("gather", GATHERS),),
    closed_form=_time,
    variants=_others,
)
def scatter_allgather(collective: Collective, site: Site, chunks: int, *, gather: str) -> Schedule:
    """Scatter from the root and all-gather (van de Geijn), 2(N-1)/N S/B; reduce the other way about."""
    if gather == "relay":
        return _relay(collective).pipelined(chunks)
    if gather == "bucket":
        return scatter_bucket(collective, site).pipelined(chunks)
    return _binomial(collective, site, gather).pipelined(chunks)
