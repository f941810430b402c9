"""A quick estimate of a schedule's time, to choose among ways of building it without simulating each.

Lock-step: every step takes the largest latency of its transfers and the time of its most loaded link.  Exact where
all transfers of a step start together and keep the bottleneck busy to the end of the step, pessimistic where steps
overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from topo.algorithms.registry import Site
from topo.errors import AlgorithmError, TopoError
from topo.fabric import FloatArray
from topo.routing import Routes, find_routes, tree_routes
from topo.schedule import Batch, Schedule


def estimate(schedule: Schedule, site: Site) -> float:
    """Seconds that a schedule takes in lock-step, links shared without loss.

    Parameters
    ----------
    schedule : Schedule
    site : Site
        Where it runs.
    """
    known: dict[tuple[int, ...], tuple[FloatArray, float]] = {}
    starts: dict[int, list[tuple[FloatArray, float]]] = {}
    ends: dict[int, list[tuple[FloatArray, float]]] = {}
    for batch in schedule.whole().batches:
        key = (
            id(batch.source),
            id(batch.target),
            id(batch.fan),
            id(batch.routes),
            hash(batch.form),
            id(batch.bytes),
        )
        if key not in known:
            known[key] = _load(batch, site)
        starts.setdefault(batch.step, []).append(known[key])
        ends.setdefault(batch.step + batch.repeat, []).append(known[key])
    total, last = 0.0, 0
    load = np.zeros(site.fabric.links)
    latencies: list[float] = []
    for step in sorted({*starts, *ends}):
        if latencies:
            total += (step - last) * (max(latencies) + float(load.max()))
        for seconds, latency in ends.get(step, ()):
            load -= seconds
            latencies.remove(latency)
        if not latencies:
            load[:] = 0.0
        for seconds, latency in starts.get(step, ()):
            load += seconds
            latencies.append(latency)
        last = step
    return total


def _load(batch: Batch, site: Site) -> tuple[FloatArray, float]:
    """Seconds of traffic that one repeat puts on each link [links], and its largest latency."""
    fabric = site.fabric
    load = np.zeros(fabric.links)
    latency = 0.0
    for rows, routes in _routes(batch, site):
        np.add.at(load, routes.link, routes.fraction * batch.bytes[rows][routes.rows()])
        latency = max(latency, float(routes.latency.max(initial=0.0)))
    return load / fabric.bandwidth, latency


def _routes(batch: Batch, site: Site) -> list[tuple[slice, Routes]]:
    if batch.routes is not None:
        return [(slice(None), batch.routes)]
    if batch.form == "direct":
        return [(slice(None), find_routes(site.fabric, site.ranks[batch.source], site.ranks[batch.target]))]
    senders, receivers = batch.senders(), batch.receivers()
    return [
        (
            slice(i, i + 1),
            tree_routes(
                site.fabric,
                site.ranks[senders[1][senders[0][i] : senders[0][i + 1]]],
                site.ranks[receivers[1][receivers[0][i] : receivers[0][i + 1]]],
            ),
        )
        for i in range(len(batch))
    ]


def cheapest(builders: Sequence[Callable[[], Schedule]], site: Site) -> Schedule:
    """The schedule with the smallest estimate; the first of equals.

    Parameters
    ----------
    builders : sequence of callable
        Each returns a schedule, or raises what keeps it from running there; those are left out.
    site : Site

    Raises
    ------
    AlgorithmError
        None of them runs there.
    """
    best: Schedule | None = None
    least = np.inf
    problem: TopoError | None = None
    for make in builders:
        try:
            schedule = make()
            seconds = estimate(schedule, site)
        except TopoError as why:
            problem = why
            continue
        if best is None or seconds < least * (1 - 1e-9):
            best, least = schedule, seconds
    if best is None:
        raise problem or AlgorithmError("there is nothing to choose from")
    return best
