"""The dissemination barrier.

Source: Hensgen, Finkel and Manber, "Two algorithms for barrier synchronization" (1988).  In round k rank r signals
r + 2^k; after ceil(log2 N) rounds every rank has heard of every other: ceil(log2 N) path latencies.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from topo.algorithms.exchange import add_rounds, ahead
from topo.algorithms.homes import star
from topo.algorithms.registry import Site, algorithm
from topo.algorithms.ring import walk_order
from topo.collective import EVERY_RANK, Chunks, Collective
from topo.fabric import IntArray
from topo.schedule import Schedule, ScheduleBuilder, Table, rows_of


def _time(collective: Collective, site: Site, chunks: int) -> float | None:
    """On a star."""
    port = star(site)
    return None if port is None else (collective.ranks - 1).bit_length() * port.time(collective.bytes)


@algorithm("dissemination", ("barrier",), closed_form=_time)
def dissemination(collective: Collective, site: Site, chunks: int) -> Schedule:
    """Signals at distance 1, 2, 4 ...: ceil(log2 N) path latencies."""
    n = collective.ranks
    order = walk_order(site)
    bits = range((n - 1).bit_length())
    rounds = [ahead(order, 1 << bit, 0.0, partial(_heard, order, 1 << bit)) for bit in bits]
    builder = ScheduleBuilder(collective, "dissemination", partial(tokens, collective))
    add_rounds(builder, rounds, 0.0)
    return builder.build()


def tokens(collective: Collective) -> Chunks:
    """One token per rank, without bytes, that every rank must hear of."""
    n = collective.ranks
    return Chunks(np.zeros(n), np.arange(n), np.full(n, EVERY_RANK))


def _heard(order: IntArray, behind: int) -> Table:
    n = len(order)
    return rows_of(order[(np.arange(n)[:, None] - np.arange(min(behind, n))) % n])
