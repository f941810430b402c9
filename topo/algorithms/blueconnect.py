"""BlueConnect: reduce-scatter and all-gather decomposed over any factorisation of the ranks.

Source: Cho, Finkler, Serrano, Kung and Hunter, "BlueConnect: Decomposing all-reduce for deep learning on
heterogeneous network hierarchy", MLSys 2019.  N = p1 p2 ... pD; rings of p1 ranks first, then of p2 ranks on what is
left, and so on, and back for the all-gather.  With a path (a_i, B_i) for itself at each level, P_i = p1 ... p_i:
all-reduce sum_i 2 (p_i - 1)(a_i + S/(P_i B_i)), half of it for reduce-scatter or all-gather.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from topo.algorithms.bucket import Bucket, fast_first, shared_out
from topo.algorithms.bucket_split import Instance
from topo.algorithms.domain_grids import members_by_domain
from topo.algorithms.homes import Link, star
from topo.algorithms.parameters import factors as factors_parameter
from topo.algorithms.registry import Site, algorithm
from topo.algorithms.ring import RING_OPERATIONS
from topo.collective import Collective
from topo.errors import AlgorithmError
from topo.fabric import Grid, IntArray
from topo.schedule import Schedule, ScheduleBuilder


def level_times(collective: Collective, levels: Sequence[tuple[int, Link]]) -> float:
    """Seconds when every level has its paths for itself.

    Parameters
    ----------
    levels : sequence of (int, Link)
        Ranks of a ring and path between its neighbours, first level first.
    """
    total, share = 0.0, collective.bytes
    for size, link in levels:
        share /= size
        total += (size - 1) * link.time(share)
    return 2 * total if collective.operation == "all-reduce" else total


def prime_factors(number: int) -> tuple[int, ...]:
    """Prime factors, rising."""
    found: list[int] = []
    divisor = 2
    while number > 1:
        while number % divisor == 0:
            found.append(divisor)
            number //= divisor
        divisor = divisor + 1 if divisor * divisor <= number else max(number, divisor + 1)
    return tuple(found)


def _levels(site: Site, factors: tuple[int, ...]) -> tuple[Grid, IntArray, tuple[int, ...]]:
    """A grid, the rank at each of its places, and the order of its dimensions.

    Given factors count consecutive ranks, innermost first.  Without: the dimensions of the fabric's grid, fastest
    first; else its scale-up domains; else the prime factors of the number of ranks.
    """
    n = len(site.ranks)
    if not factors and site.grid is not None and not site.grid.twisted:
        return site.grid, np.arange(n), tuple(fast_first(site, site.grid))
    members = members_by_domain(site)
    if not factors and members is not None:
        return Grid(members.shape, (True, True)), members.ravel(), (1, 0)
    factors = factors or prime_factors(n)
    if math.prod(factors) != n:
        spelled = "x".join(map(str, factors))
        raise AlgorithmError(
            f"blueconnect:factors={spelled} makes {math.prod(factors)} ranks, not {n}",
            f"give factors of {n}, for example {'x'.join(map(str, prime_factors(n)))}",
        )
    count = len(factors)
    return Grid(factors[::-1], (True,) * count), np.arange(n), tuple(reversed(range(count)))


def _time(collective: Collective, site: Site, chunks: int, *, factors: tuple[int, ...]) -> float | None:
    """On a star every level has the port for itself."""
    port = star(site)
    if port is None or chunks > 1:
        return None
    factors = factors or prime_factors(collective.ranks)
    return level_times(collective, [(p, port) for p in factors])


@algorithm(
    "blueconnect",
    RING_OPERATIONS,
    pipelines=True,
    parameters=(factors_parameter("factors"),),
    closed_form=_time,
)
def blueconnect(collective: Collective, site: Site, chunks: int, *, factors: tuple[int, ...]) -> Schedule:
    """Rings over the factors of the ranks, one level after another (factors=4x8, innermost first)."""
    grid, rank, order = _levels(site, factors)
    natural = bool((rank == np.arange(len(rank))).all())
    shifts = (grid, np.eye(len(grid.shape), dtype=np.int64)) if natural else None
    cutting = partial(shared_out, collective, np.ones(1))
    detail = "x".join(str(grid.shape[d]) for d in order)
    builder = ScheduleBuilder(collective, "blueconnect", cutting, detail)
    Bucket(grid, rank, Instance(order, 1, 1.0), 0, 1, shifts).add(builder)
    return builder.build().pipelined(chunks)
