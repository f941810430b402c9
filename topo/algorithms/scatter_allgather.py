"""Broadcast as scatter and all-gather, reduce as reduce-scatter and gather.

Source: van de Geijn, "On global combine operations" (1994); Thakur, Rabenseifner and Gropp (2005).  Binomial
scatter, then a ring: (log2 N + N - 1) a + 2(N-1)/N S/B; with doubling for the all-gather 2 log2 N a + the same.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from topo.algorithms.bruck import gather_rounds
from topo.algorithms.exchange import Round, add_rounds, time_reversed
from topo.algorithms.homes import star
from topo.algorithms.parameters import choice
from topo.algorithms.registry import Site, algorithm
from topo.algorithms.ring import one_ring
from topo.algorithms.trees import from_root
from topo.collective import Collective, segments
from topo.fabric import IntArray
from topo.schedule import Schedule, ScheduleBuilder, one_each


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


def _table(pointer: IntArray, chunks: IntArray) -> tuple[IntArray, IntArray]:
    return pointer, chunks


def _time(collective: Collective, site: Site, chunks: int, *, gather: str) -> float | None:
    """On a star, a broadcast among a power of two: (log2 N + N - 1) a + 2(N-1)/N S/B."""
    port, n = star(site), collective.ranks
    if port is None or n & (n - 1) or gather != "ring" or collective.operation != "broadcast":
        return None
    return (n.bit_length() + n - 2) * port.latency + 2 * (n - 1) / n * collective.bytes / port.bandwidth


def _other(collective: Collective, site: Site) -> list[str]:
    return ["scatter-allgather:gather=bruck"]


@algorithm(
    "scatter-allgather",
    ("broadcast", "reduce"),
    scales=False,
    parameters=(choice("gather", ("ring", "bruck")),),
    closed_form=_time,
    variants=_other,
)
def scatter_allgather(collective: Collective, site: Site, chunks: int, *, gather: str) -> Schedule:
    """Scatter from the root and all-gather (van de Geijn), 2(N-1)/N S/B; reduce the other way about."""
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
