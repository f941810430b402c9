"""PAT: parallel aggregated trees, an all-gather and reduce-scatter with limited buffers.

Source: Jeaugey, "PAT: a new algorithm for all-gather and reduce-scatter operations at scale", arXiv 2506.20252, and
NCCL's src/include/collectives.h.  Bruck with the dimensions reversed: the block of each owner travels a binomial
tree, far hops first, so that the largest messages go to near ranks.  A message holds at most A blocks (A a power
of two, 2^L the power of two from N up, M = 2^L/A): first log2 A far rounds of 1, 2, .. A/2 blocks, then the M - 1
edges of the near binomial tree, A blocks each.  Lock-step on a star, N a power of two:
(log2 A + M - 1) a + (N-1)/N S/B.  The reduce-scatter is the time reversal.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from topo.algorithms.estimate import cheapest
from topo.algorithms.exchange import add_round, ahead
from topo.algorithms.parameters import whole_or_best
from topo.algorithms.registry import Site, algorithm
from topo.algorithms.ring import walk_order
from topo.collective import Collective, cut
from topo.errors import AlgorithmError
from topo.fabric import IntArray
from topo.schedule import Schedule, ScheduleBuilder, Table, Wait, rows_of


@dataclass(frozen=True, eq=False)
class Message:
    """What every rank sends in one step of the all-gather.

    Parameters
    ----------
    distance : int
        To the rank that many positions ahead.
    offsets : int array
        Blocks of the owners that many positions behind the sender.
    needs : tuple of int
        The messages that brought them.
    """

    distance: int
    offsets: IntArray
    needs: tuple[int, ...]


def messages(ranks: int, aggregation: int) -> list[Message]:
    """Messages of the all-gather in order, each of at most ``aggregation`` blocks."""
    power = 1 << (ranks - 1).bit_length()
    stride = power // aggregation
    found: list[Message] = []

    def add(distance: int, offsets: IntArray, needs: tuple[int, ...]) -> None:
        offsets = offsets[offsets + distance < ranks]
        if len(offsets):
            found.append(Message(distance, offsets, needs))

    distance = power // 2
    while distance >= stride:
        add(distance, np.arange(0, power, 2 * distance), tuple(range(len(found))))
        distance //= 2
    # The near binomial tree over offsets 0 .. stride - 1, parents before children.
    brought = {0: tuple(range(len(found)))}
    while distance:
        for offset in range(0, min(stride, ranks - distance), 2 * distance):
            add(distance, np.arange(offset, power, stride), brought[offset])
            brought[offset + distance] = (len(found) - 1,)
        distance //= 2
    return found


def largest_aggregation(ranks: int) -> int:
    """Blocks that the largest message can hold."""
    return 1 << max((ranks - 1).bit_length() - 1, 0)


def closed_form(ranks: int, aggregation: int, bytes: float, latency: float, bandwidth: float) -> float:
    """Seconds in lock-step on a star, ``ranks`` a power of two; ``latency`` is that of a path."""
    steps = aggregation.bit_length() - 1 + (1 << (ranks - 1).bit_length()) // aggregation - 1
    return steps * latency + (ranks - 1) / ranks * bytes / bandwidth


@algorithm(
    "pat",
    ("all-gather", "reduce-scatter"),
    parameters=(whole_or_best("aggregation", "a power of two, the blocks of one message"),),
)
def pat(collective: Collective, site: Site, chunks: int, *, aggregation: int) -> Schedule:
    """Bruck with far hops first and messages of at most A blocks (aggregation=A); any N."""
    n = collective.ranks
    largest = largest_aggregation(n)
    if aggregation:
        if aggregation & (aggregation - 1) or aggregation > largest:
            raise AlgorithmError(
                f"pat:aggregation={aggregation} does not fit {n} ranks", f"a power of two up to {largest}"
            )
        return _build(collective, site, aggregation)
    if n > LARGE_GROUP:
        return _build(collective, site, largest)
    sizes = [1 << bit for bit in reversed(range(largest.bit_length()))]
    return cheapest([partial(_build, collective, site, size) for size in sizes[:MOST_TRIED]], site)


LARGE_GROUP = 128
"""Ranks from which on the largest buffer is taken without a search."""
MOST_TRIED = 6
"""Buffer sizes, from the largest down, that the search for the best one looks at."""


def _build(collective: Collective, site: Site, aggregation: int) -> Schedule:
    n = collective.ranks
    order = walk_order(site)
    builder = ScheduleBuilder(collective, "pat", partial(cut, collective), f"aggregation {aggregation}")
    plan = messages(n, aggregation)
    reduce = collective.operation == "reduce-scatter"
    batch: dict[int, int] = {}
    for number in reversed(range(len(plan))) if reduce else range(len(plan)):
        message = plan[number]
        each = ahead(
            order, message.distance, float(len(message.offsets)), partial(_owners, order, message.offsets)
        )
        needs = [i for i in batch if number in plan[i].needs] if reduce else message.needs
        waits = [Wait(batch[i], on="arrival") for i in needs]
        if batch:
            waits.append(Wait(len(batch) - 1, on="drain"))
        batch[number] = add_round(
            builder,
            each.reversed() if reduce else each,
            collective.bytes / n,
            reduce=reduce,
            waits=waits,
            step=len(batch),
        )
    return builder.build()


def _owners(order: IntArray, offsets: IntArray) -> Table:
    place = np.arange(len(order))
    return rows_of(order[(place[:, None] - offsets) % len(order)])
