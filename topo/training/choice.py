"""Which schedule a group's collective runs by.

Groups that lie alike (the same pattern of scale-up domains, and of coordinates on a grid) share one choice.  It is
made on the group's own part of the fabric: its accelerators and the switches between them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from topo.algorithms import Algorithm, Site, build, find, refusal
from topo.algorithms.registry import ALGORITHMS
from topo.bounds import lower_bound
from topo.ccl import Terms
from topo.choose import may_cut, port_time
from topo.collective import Collective, cut
from topo.errors import AlgorithmError
from topo.fabric import ACCELERATOR, Fabric, Grid, IntArray, spread, sums
from topo.prepared import Options, Run, prepared, simulated
from topo.schedule import Schedule, ScheduleBuilder, one_each
from topo.training.operation import Operation
from topo.training.placement import domain_grid

CROWDED = 16
"""Ranks above which everybody sending to everybody is left out, where there are other ways."""
LARGE = 512
"""Ranks above which nothing is simulated to choose: the best promise of a few algorithms is taken."""
LARGE_GROUPS = ("hierarchical", "blueconnect", "ring", "bucket", "direct")
MOST_ROWS = 400_000
TRIED = 5
"""Algorithms that are simulated, the most promising first."""
CHUNKS = (16,)
"""Pieces that pipelines are tried in, besides one."""
NEAR_THE_BOUND = 1.03
"""Ratio to the lower bound that ends the search."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """How the groups of one kind carry out their collective.

    Parameters
    ----------
    schedule : Schedule
        On places in the group, with every transfer spelled out.
    overhead_s : float
        Seconds before the first transfer.
    size : float
        Bytes of the operation for one byte of the schedule.
    terms : Terms, optional
        What the library's protocol does to every transfer.
    name : str
        The algorithm in the library's words.
    recipe : tuple
        What was chosen; the same recipe for the same group gives schedules that differ in nothing but their bytes.
    """

    schedule: Schedule
    overhead_s: float = 0.0
    size: float = 1.0
    terms: Terms | None = None
    name: str = ""
    recipe: tuple[str | int, ...] = ()

    @property
    def algorithm(self) -> str:
        """The algorithm, for people."""
        return self.name or self.schedule.algorithm


Choose = Callable[[Fabric, IntArray, Operation], Chosen]
"""``choose(fabric, ranks, operation)`` gives a group its schedule."""


def kinds_of_groups(fabric: Fabric, groups: IntArray) -> IntArray:
    """A number for each group; groups of the same number lie alike [groups].

    Two groups lie alike when the same of their places share a scale-up domain and, on a grid, when each place has
    the same distance from the first, dimension by dimension.
    """
    table = patterns(fabric, groups)
    if (table == table[0]).all():
        return np.zeros(len(groups), dtype=np.int64)
    return np.unique(table, axis=0, return_inverse=True)[1].ravel().astype(np.int64)


def patterns(fabric: Fabric, groups: IntArray) -> IntArray:
    """How each group lies, in numbers that are equal where groups lie alike [groups, anything]."""
    count, size = groups.shape
    domain = fabric.domain[groups]
    key = np.arange(count)[:, None] * (int(fabric.domain.max()) + 1) + domain
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    columns = [(first[inverse.ravel()] % size).reshape(count, size)]
    grid = domain_grid(fabric)
    if grid is not None:
        place = grid.coordinates(groups.ravel() % grid.size).reshape(count, size, -1)
        wraps = np.where(np.asarray(grid.wrap), grid.shape, 1 << 30)
        columns += list(np.moveaxis((place - place[:, :1]) % wraps, -1, 0))
    return np.concatenate(columns, axis=1)


def choose(fabric: Fabric, ranks: IntArray, operation: Operation) -> Chosen:
    """The schedule of a group on the fabric's own terms: the fastest of those that are simulated.

    Parameters
    ----------
    fabric : Fabric
    ranks : int array [size]
        The group.
    operation : Operation

    Raises
    ------
    AlgorithmError
        Nothing carries out the operation there.

    Notes
    -----
    The algorithms that fit stand in the order of what they promise: the time of their bytes at the busiest port,
    and a hop of latency for every step.  The first few are simulated in one chunk and in some; a time near the
    lower bound ends the search.  In larger groups, schedules in which everybody sends to everybody are left
    out where the data can go in fewer transfers; in very large ones the best promise is taken unsimulated.
    """
    if operation.operation == "send-recv":
        return Chosen(shift_schedule(len(ranks), operation))
    collective = operation.collective(len(ranks))
    site = shared_part(fabric, ranks)
    if collective.ranks > LARGE:
        schedule = _promising(collective, site)
        return Chosen(schedule.whole(), recipe=(schedule.algorithm, schedule.detail))
    bound = lower_bound(collective, site.fabric, site.ranks).seconds
    hop = float(site.fabric.latency.min(initial=np.inf))
    promises: list[tuple[float, float, Algorithm]] = []
    for entry in ALGORITHMS.values():
        if entry.costly or refusal(entry, collective, site):
            continue
        schedule = build(entry.name, collective, site)
        rows = rows_of(schedule)
        if any(batch.routes is not None for batch in schedule.batches):
            continue
        crowded = collective.ranks > CROWDED and operation.operation != "all-to-all"
        if rows > (collective.ranks**1.5 * 4 if crowded else MOST_ROWS):
            continue
        floor = port_time(schedule, site)
        promises.append((floor + schedule.steps * hop, floor, entry))
    promises.sort(key=lambda promise: promise[0])
    best: Run | None = None
    for _, floor, entry in promises[:TRIED]:
        for chunks in (1, *(CHUNKS if entry.pipelines else ())):
            cutoff = best.seconds if best is not None else np.inf
            if floor >= cutoff or (chunks > 1 and not may_cut(collective, chunks)):
                continue
            run = simulated(prepared(entry, collective, site, chunks, Options()), Options(), cutoff)
            if run.seconds < cutoff:
                best = run
        if best is not None and best.seconds <= NEAR_THE_BOUND * bound:
            break
    if best is None:
        raise AlgorithmError(
            f"no algorithm carries out {operation.operation} in groups of {len(ranks)} on {fabric.name}",
            "take another degree for this axis",
        )
    recipe = (best.prepared.algorithm.name, best.prepared.schedule.detail, best.prepared.chunks)
    return Chosen(best.prepared.schedule.whole(), recipe=recipe)


def _promising(collective: Collective, site: Site) -> Schedule:
    """The schedule of a very large group that promises the shortest time, unsimulated."""
    best: tuple[float, Schedule] | None = None
    for name in LARGE_GROUPS:
        if refusal(find(name), collective, site) or (
            name == "direct" and collective.operation != "all-to-all"
        ):
            continue
        schedule = build(name, collective, site)
        if any(batch.routes is not None for batch in schedule.batches) or rows_of(schedule) > MOST_ROWS:
            continue
        seconds = promise(schedule, site)
        if best is None or seconds < best[0]:
            best = seconds, schedule
    if best is None:
        raise AlgorithmError(
            f"no algorithm for {collective.operation} in a group of {collective.ranks} on {site.fabric.name}",
            f"groups above {LARGE} ranks go by {', '.join(LARGE_GROUPS)}",
        )
    return best[1]


def rows_of(schedule: Schedule) -> int:
    """Transfers of a schedule, repeats not counted."""
    return sum(len(batch) * batch.copies for batch in schedule.batches)


def promise(schedule: Schedule, site: Site) -> float:
    """Seconds of a schedule's bytes at the busiest port, and a hop of latency for every step."""
    hop = float(site.fabric.latency.min(initial=np.inf))
    return max(port_time(schedule, site), _time_between_domains(schedule, site)) + schedule.steps * hop


def _time_between_domains(schedule: Schedule, site: Site) -> float:
    """Seconds that the bytes between scale-up domains need at the busiest scale-out port."""
    fabric = site.fabric
    rate = sums(fabric.source[fabric.scale_out], fabric.bandwidth[fabric.scale_out], len(fabric.nodes))
    port = rate[fabric.accelerators[site.ranks]]
    sent = np.zeros(len(site.ranks))
    for batch in schedule.batches:
        whole = batch.whole()
        out = np.flatnonzero(site.domain[whole.source] != site.domain[whole.target])
        np.add.at(sent, whole.source[out], (whole.bytes * whole.repeat)[out])
    used = (sent > 0) & (port > 0)
    return float((sent[used] / port[used]).max(initial=0.0))


def shift_schedule(size: int, operation: Operation, only: int | None = None) -> Schedule:
    """Every place, or only one, sends to the next one."""
    collective = Collective("all-to-all", size, operation.bytes * size)
    place = np.arange(size) if only is None else np.asarray([only])
    target = (place + operation.direction) % size
    builder = ScheduleBuilder(collective, "shift", lambda: cut(collective))
    builder.add(place, target, operation.bytes, one_each(place * size + target))
    return Schedule(collective, "shift", tuple(builder.batches), builder.cutting)


def own_part(fabric: Fabric, ranks: IntArray) -> Site:
    """The group's own part of the fabric, as a fabric by itself; the whole where the group needs other ranks.

    It holds the group's accelerators, in the group's order, and the switches that join them.
    """
    members = fabric.accelerators[ranks]
    pointer, outgoing = fabric.outgoing
    keep = np.zeros(len(fabric.nodes), dtype=bool)
    keep[members] = True
    inside, frontier = members, members
    while True:
        link = outgoing[spread(pointer, inside)]
        link = link[keep[fabric.target[link]]]
        if _joined(inside, fabric.source[link], fabric.target[link], members):
            break
        onward = np.unique(fabric.target[outgoing[spread(pointer, frontier)]])
        frontier = onward[(fabric.kind[onward] != ACCELERATOR) & ~keep[onward]]
        if not len(frontier):
            return Site(fabric, ranks)
        keep[frontier] = True
        inside = np.concatenate([inside, frontier])
    order = inside
    number = np.full(len(fabric.nodes), -1, dtype=np.int64)
    number[order] = np.arange(len(order))
    part = replace(
        fabric,
        name=f"{len(ranks)} ranks of {fabric.name}",
        nodes=tuple(fabric.nodes[i] for i in order.tolist()),
        kind=fabric.kind[order],
        accelerators=np.arange(len(ranks)),
        source=number[fabric.source[link]],
        target=number[fabric.target[link]],
        bandwidth=fabric.bandwidth[link],
        latency=fabric.latency[link],
        cables=fabric.cables[link],
        domain=_renumbered(fabric.domain[ranks]),
        multicast=fabric.multicast[order],
        reduce=fabric.reduce[order],
        one_pass=None if fabric.one_pass is None else fabric.one_pass[order],
        scale_out=fabric.scale_out[link],
        position=fabric.position[order],
        grid=_part_of_grid(fabric, ranks),
        routing="shortest",
        cache={},
    )
    return Site(part, np.arange(len(ranks)))


def shared_part(fabric: Fabric, ranks: IntArray) -> Site:
    """:func:`own_part`, or one made before that differs in labels alone, with all that is remembered with it."""
    known: dict[bytes, Site] = fabric.cache.setdefault("sites", {})
    key = ranks.tobytes()
    if key not in known:
        site = own_part(fabric, ranks)
        known[key] = site if site.fabric is fabric else replace(site, fabric=_alike(fabric, site.fabric))
    return known[key]


def _alike(fabric: Fabric, part: Fabric) -> Fabric:
    """The part of the fabric that was the first to have these nodes and links."""
    digest = hashlib.blake2b(repr(part.grid).encode())
    for values in (
        part.kind,
        part.source,
        part.target,
        part.bandwidth,
        part.latency,
        part.cables,
        part.domain,
    ):
        digest.update(np.ascontiguousarray(values).tobytes())
    for flags in (part.multicast, part.reduce, part.one_pass, part.scale_out):
        digest.update(b"none" if flags is None else np.ascontiguousarray(flags).tobytes())
    parts: dict[bytes, Fabric] = fabric.cache.setdefault("parts", {})
    return parts.setdefault(digest.digest(), part)


def _joined(nodes: IntArray, source: IntArray, target: IntArray, members: IntArray) -> bool:
    """Whether all members reach each other over links, given that every link has one back."""
    number = {node: i for i, node in enumerate(nodes.tolist())}
    label = np.arange(len(nodes))
    a = np.asarray([number[node] for node in source.tolist()], dtype=np.int64)
    b = np.asarray([number[node] for node in target.tolist()], dtype=np.int64)
    while True:
        low = label.copy()
        np.minimum.at(low, b, label[a])
        low = low[low]
        if (low == label).all():
            return bool((label[: len(members)] == label[0]).all())
        label = low


def _renumbered(domain: IntArray) -> IntArray:
    _, first, inverse = np.unique(domain, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int64)


def _part_of_grid(fabric: Fabric, ranks: IntArray) -> Grid | None:
    """The grid that a group forms by itself, when it is a box of the fabric's grid in row-major order."""
    grid = domain_grid(fabric)
    if grid is None or grid.twisted or len(np.unique(fabric.domain[ranks])) > 1:
        return None
    place = grid.coordinates(ranks % grid.size)
    low, high = place.min(axis=0), place.max(axis=0)
    shape = tuple((high - low + 1).tolist())
    if int(np.prod(shape)) != len(ranks):
        return None
    box = Grid(shape, tuple(w and k == n for w, k, n in zip(grid.wrap, shape, grid.shape, strict=True)))
    return box if (box.numbers(place - low) == np.arange(len(ranks))).all() else None
