"""Swing: butterflies for tori whose peers swing to and fro, so that links carry fewer streams at once.

Source: De Sensi, Bonato, Saam and Hoefler, "Swing: Short-cutting Rings for Higher Bandwidth Allreduce", NSDI 2024
(arXiv 2401.09356).  In round s of a ring of 2^L ranks, rank r pairs with r + rho(s) if r is even and r - rho(s) if
odd, rho(s) = (1 - (-2)^(s+1)) / 3: 1, -1, 3, -5, 11 ...; delta = |rho|.  On D dimensions one instance starts with
each dimension and takes them in turn; mirrored instances swing the other way; each carries S/(2D).  On k^D, in
lock-step: 2 sum_{s < log2 N} delta(floor(s/D)) (a + S/(2D 2^(s+1) B)).  With dimensions of even length that are no
powers of two the ways of a block meet again; then nobody is sent what it has.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from topo.algorithms.butterfly import Butterfly
from topo.algorithms.exchange import add_rounds
from topo.algorithms.parameters import choice
from topo.algorithms.registry import Site, algorithm
from topo.algorithms.ring import GATHERING, REDUCING, RING_OPERATIONS
from topo.collective import Collective, cut, segments
from topo.errors import AlgorithmError
from topo.fabric import Grid, IntArray
from topo.schedule import Schedule, ScheduleBuilder, Table, rows_of

MOST_RANKS = 4096
"""Ranks of a grid, of lengths that are no powers of two, whose rounds are followed rank by rank."""


def swing_distance(round: int) -> int:
    """Signed distance rho of a round: 1, -1, 3, -5, 11 ..."""
    return int((1 - (-2) ** (round + 1)) // 3)


def of_even_dimensions(collective: Collective, site: Site) -> str:
    """Swing pairs ranks along dimensions of even length, and every rank must hear of every other."""
    grid = _grid(site)
    if grid.twisted:
        return "rings along the dimensions of a twisted torus do not close"
    odd = [k for k in grid.shape if k % 2 and k > 1]
    if odd:
        return f"every dimension must be of even length, not {odd[0]}"
    if any(k & (k - 1) for k in grid.shape) and grid.size > MOST_RANKS:
        return f"lengths other than powers of two are worked out for at most {MOST_RANKS:,} ranks"
    if any(k & (k - 1) for k in grid.shape) and not all(_complete(site, grid)):
        return f"its rounds do not reach all of {'x'.join(map(str, grid.shape))} ranks"
    return ""


def _complete(site: Site, grid: Grid) -> list[bool]:
    key = ("swing", grid)
    if key not in site.fabric.cache:
        rank = np.arange(grid.size)
        wings = [Butterfly(swing_peers(grid, *instance), rank) for instance in _instances(grid)]
        site.fabric.cache[key] = [wing.complete for wing in wings]
    found: list[bool] = site.fabric.cache[key]
    return found


def _instances(grid: Grid) -> list[tuple[int, bool]]:
    """Starting dimension and whether mirrored."""
    return [(d, mirrored) for d in range(len(grid.dimensions)) for mirrored in (False, True)]


def _grid(site: Site) -> Grid:
    """The group's grid; a group without one is a ring in rank order."""
    return site.grid or Grid((len(site.ranks),), (True,))


def swing_peers(grid: Grid, start: int, mirrored: bool) -> tuple[IntArray, ...]:
    """Peers of every round of one instance.

    Parameters
    ----------
    grid : Grid
    start : int
        Which of the dimensions comes first.
    mirrored : bool
        Whether the instance swings the other way.
    """
    dimensions = grid.dimensions[start:] + grid.dimensions[:start]
    left = {d: (grid.shape[d] - 1).bit_length() for d in dimensions}
    place = grid.coordinates(np.arange(grid.size))
    found: list[IntArray] = []
    for local in range(max(left.values())):
        for d in dimensions:
            if local >= left[d]:
                continue
            rho = swing_distance(local) * (-1 if mirrored else 1)
            peer = place.copy()
            peer[:, d] = (place[:, d] + np.where(place[:, d] % 2 == 0, rho, -rho)) % grid.shape[d]
            found.append(grid.numbers(peer))
    return tuple(found)


def closed_form(grid: Grid, bytes: float, latency: float, bandwidth: float) -> float:
    """Seconds of an all-reduce in lock-step on a torus of k^D equal links.

    Raises
    ------
    AlgorithmError
        Dimensions of unequal length.
    """
    lengths = {grid.shape[d] for d in grid.dimensions}
    if len(lengths) != 1:
        raise AlgorithmError("the formula is for dimensions of equal length", "simulate")
    d = len(grid.dimensions)
    rounds = int(math.log2(grid.size))
    total = 0.0
    for s in range(rounds):
        total += abs(swing_distance(s // d)) * (latency + bytes / (2 * d) / 2 ** (s + 1) / bandwidth)
    return 2 * total


def _latency_form(collective: Collective, site: Site) -> list[str]:
    plain = not collective.ranks & (collective.ranks - 1)
    return ["swing:form=latency"] if collective.operation == "all-reduce" and plain else []


@algorithm(
    "swing",
    RING_OPERATIONS,
    fits=of_even_dimensions,
    parameters=(choice("form", ("bandwidth", "latency")),),
    variants=_latency_form,
)
def swing(collective: Collective, site: Site, chunks: int, *, form: str) -> Schedule:
    """Butterflies that swing to and fro along the dimensions; form=latency exchanges all at once."""
    grid = _grid(site)
    instances = _instances(grid)
    if form == "latency":
        return _whole(collective, grid, instances)
    count = len(instances)
    builder = ScheduleBuilder(collective, "swing", partial(cut, collective, count))
    share = collective.bytes / (collective.ranks * count)
    for part, (start, mirrored) in enumerate(instances):
        peers = swing_peers(grid, start, mirrored)
        wings = Butterfly(peers, np.arange(grid.size), partial(_chunks, count, part))
        before: tuple[int, ...] = ()
        if collective.operation in REDUCING:
            before = add_rounds(builder, wings.scatter(), share, reduce=True)
        if collective.operation in GATHERING:
            add_rounds(builder, wings.gather(), share, after=before)
    return builder.build()


def _chunks(parts: int, part: int, owner: IntArray) -> Table:
    return rows_of(owner * parts + part)


def _whole(collective: Collective, grid: Grid, instances: list[tuple[int, bool]]) -> Schedule:
    if collective.ranks & (collective.ranks - 1):
        raise AlgorithmError(
            f"swing:form=latency is for a power of two ranks, not {collective.ranks}", "take form=bandwidth"
        )
    if collective.operation != "all-reduce":
        raise AlgorithmError(f"swing:form=latency does not do {collective.operation}", "take form=bandwidth")
    count = len(instances)
    builder = ScheduleBuilder(collective, "swing", partial(segments, collective, count))
    for part, (start, mirrored) in enumerate(instances):
        peers = swing_peers(grid, start, mirrored)
        wings = Butterfly(peers, np.arange(grid.size), partial(_chunks, 1, part))
        add_rounds(builder, wings.exchange(), collective.bytes / count, reduce=True)
    return builder.build()
