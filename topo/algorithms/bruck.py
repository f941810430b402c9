"""Bruck's algorithms: all-gather and all-to-all in a logarithmic number of rounds, for any number of ranks.

Source: Bruck, Ho, Kipnis, Upfal and Weathersby, "Efficient algorithms for all-to-all communications in multiport
message-passing systems" (1997).  All-gather ceil(log2 N) a + (N-1)/N S/B.  All-to-all in radix p: in every digit
position the blocks whose displacement has digit v there move by v p^position, for all v at once;
ceil(log_p N) a + (number of nonzero digits of 1 .. N-1) m/B; in radix 2, N a power of two, log2 N (a + N/2 m/B).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from topo.algorithms.direct import cut_blocks
from topo.algorithms.exchange import Round, add_rounds, ahead, time_reversed
from topo.algorithms.homes import star
from topo.algorithms.parameters import whole
from topo.algorithms.registry import Site, algorithm
from topo.algorithms.ring import walk_order
from topo.collective import Collective, cut
from topo.errors import AlgorithmError
from topo.fabric import IntArray
from topo.schedule import Schedule, ScheduleBuilder, Table, rows_of


def gather_rounds(order: IntArray, chunk_of: Callable[[IntArray], IntArray] | None = None) -> list[Round]:
    """Rounds of the all-gather among ranks in some order.

    In the round at distance k = 1, 2, 4 ... position p sends its own and the next min(k, N - k) - 1 blocks to
    p - k.

    Parameters
    ----------
    order : int array [ranks]
        The rank at each position.
    chunk_of : callable, optional
        From positions of owners to chunk numbers; by default they are the same.
    """
    n = len(order)
    rounds: list[Round] = []
    for bit in range((n - 1).bit_length()):
        distance = 1 << bit
        count = min(distance, n - distance)
        rounds.append(ahead(order, -distance, float(count), partial(_following, n, count, chunk_of)))
    return rounds


def _following(n: int, count: int, chunk_of: Callable[[IntArray], IntArray] | None) -> Table:
    owner = (np.arange(n)[:, None] + np.arange(count)) % n
    return rows_of(owner if chunk_of is None else chunk_of(owner))


def _all_to_all(collective: Collective, site: Site, radix: int) -> Schedule:
    n = collective.ranks
    order = walk_order(site)
    builder = ScheduleBuilder(collective, "bruck", partial(cut_blocks, collective), f"radix {radix}")
    blocks = collective.blocks()[np.ix_(order, order)]
    place = np.arange(n)
    before: tuple[int, ...] = ()
    weight = 1
    while weight < n:
        # Blocks of displacement j sit, so far, where the digits of j below this one have brought them.
        moves = [
            (v, np.asarray([j for j in range(1, n) if j // weight % radix == v])) for v in range(1, radix)
        ]
        moves = [(v, moved) for v, moved in moves if len(moved)]
        source = np.concatenate([order for _ in moves])
        target = np.concatenate([order[(place + v * weight) % n] for v, _ in moves])
        origin = [(place[:, None] - moved % weight) % n for _, moved in moves]
        goal = [(at + moved) % n for at, (_, moved) in zip(origin, moves, strict=True)]
        size = np.concatenate([blocks[a, b].sum(axis=1) for a, b in zip(origin, goal, strict=True)])
        table = partial(_blocks, order, origin, goal)
        number = builder.add(source, target, size, _fixed(table), after=before)
        before = (number,)
        weight *= radix
    return builder.build()


def _fixed(table: Callable[[], Table]) -> Callable[[int], Table]:
    return lambda repeat: table()


def _blocks(order: IntArray, origin: list[IntArray], goal: list[IntArray]) -> Table:
    n = len(order)
    tables = [order[a] * n + order[b] for a, b in zip(origin, goal, strict=True)]
    lengths = np.concatenate([np.full(len(t), t.shape[1]) for t in tables])
    return np.concatenate([[0], np.cumsum(lengths)]), np.concatenate([t.ravel() for t in tables])


def nonzero_digits(numbers: int, radix: int) -> int:
    """Nonzero digits of 1 .. numbers - 1 together."""
    total, weight = 0, 1
    while weight < numbers:
        total += int((np.arange(numbers) // weight % radix > 0).sum())
        weight *= radix
    return total


def _time(collective: Collective, site: Site, chunks: int, *, radix: int) -> float | None:
    """On a star."""
    port, n = star(site), collective.ranks
    if port is None or collective.matrix is not None:
        return None
    if collective.operation != "all-to-all":
        return (n - 1).bit_length() * port.latency + (n - 1) / n * collective.bytes / port.bandwidth
    digits = 0
    while radix**digits < n:
        digits += 1
    return digits * port.latency + nonzero_digits(n, radix) * collective.bytes / n / port.bandwidth


def _radices(collective: Collective, site: Site) -> list[str]:
    if collective.operation != "all-to-all":
        return []
    return [f"bruck:radix={radix}" for radix in (4, 8) if radix < collective.ranks]


@algorithm(
    "bruck",
    ("all-gather", "reduce-scatter", "all-to-all"),
    scales=False,
    parameters=(whole("radix", 2, lowest=2),),
    closed_form=_time,
    variants=_radices,
)
def bruck(collective: Collective, site: Site, chunks: int, *, radix: int) -> Schedule:
    """Blocks move by doubling distances: ceil(log2 N) a + (N-1)/N S/B for all-gather, any N."""
    if collective.operation == "all-to-all":
        return _all_to_all(collective, site, radix)
    if radix != 2:
        raise AlgorithmError(
            f"bruck:radix={radix} does not do {collective.operation}", "only all-to-all has a radix"
        )
    order = walk_order(site)
    builder = ScheduleBuilder(collective, "bruck", partial(cut, collective))
    rounds = gather_rounds(order, partial(np.take, order))
    share = collective.bytes / collective.ranks
    if collective.operation == "all-gather":
        add_rounds(builder, rounds, share)
    else:
        add_rounds(builder, time_reversed(rounds), share, reduce=True)
    return builder.build()
