"""What a schedule promises before it is compiled: how long its links are busy, and how much work compiling it is.

The loads of small batches are counted exactly and are a floor under the time.  Of large batches some transfers are
drawn; the mean load of the links of each kind (tier and bandwidth) then says how long they are busy about, which is
no more than the busiest of them needs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from topo.algorithms import Site
from topo.fabric import FloatArray, IntArray
from topo.network.structured import compact
from topo.schedule import Batch, Schedule
from topo.translation import shifted
from topo.turns import symmetric_block, turned_routes

COUNTED = 4096
"""Transfers up to which a batch is counted exactly."""
COUNTED_IN_ALL = 16_384
"""The same for all batches of a schedule."""
DRAWN = 512
"""Transfers drawn of any other batch."""
SEED = 0
MANY_LINKS = 500_000
"""Links beyond which finding routes takes longer than it saves; the ports alone then make the promise."""


@dataclass(frozen=True)
class Promise:
    """What is known of a schedule before it is compiled.

    Parameters
    ----------
    floor : float
        Seconds that it takes at least.
    seconds : float
        Seconds that it takes at least, as far as the transfers drawn tell.
    rows : int
        Transfers to be spelled out when it is compiled.
    """

    floor: float
    seconds: float
    rows: int


def promise(schedule: Schedule, site: Site, routing: str = "auto") -> Promise:
    """What a schedule promises at its site.

    Parameters
    ----------
    schedule : Schedule
    site : Site
    routing : str
        As in :class:`topo.prepared.Options`; nothing is known of the links of random routes.
    """
    ports = port_time(schedule, site)
    counted = routing != "ecmp" and site.fabric.links <= MANY_LINKS
    exact, mean = _busy(schedule, site, routing) if counted else (0.0, 0.0)
    floor = max(ports, exact)
    hop = float(site.fabric.latency.min(initial=np.inf))
    return Promise(floor, max(floor, mean) + schedule.steps * hop, rows_of_program(schedule, site))


def rows_of_program(schedule: Schedule, site: Site) -> int:
    """Transfers that are spelled out when a schedule is compiled."""
    spelled_out = sum(len(batch) * batch.copies for batch in schedule.batches)
    # A tree has a way for each of its ends, though they share links.
    spelled_out += sum(len(batch.fan[1]) // 8 for batch in schedule.batches if batch.fan is not None)
    if not site.whole or not compact(schedule, site.fabric):
        return spelled_out
    block = symmetric_block(site.fabric)
    by_blocks = spelled_out if block is None else spelled_out * block // site.fabric.ranks
    by_shifts = sum(len(batch) for batch in schedule.batches)
    grids = {batch.grid for batch in schedule.batches}
    return by_shifts if len(grids) == 1 and None not in grids else by_blocks


def port_time(schedule: Schedule, site: Site) -> float:
    """Seconds that the bytes of a schedule need at the busiest port of its ranks; no run is shorter."""
    sent, received = _port_bytes(schedule)
    egress, ingress = site.fabric.egress[site.ranks], site.fabric.ingress[site.ranks]
    return float(max((sent / egress).max(), (received / ingress).max()))


def _port_bytes(schedule: Schedule) -> tuple[FloatArray, FloatArray]:
    sent = np.zeros(schedule.collective.ranks)
    received = np.zeros(schedule.collective.ranks)
    for batch in schedule.batches:
        if batch.grid is not None:
            total = float(batch.bytes.sum()) * batch.repeat
            sent += total
            received += total
            continue
        for into, (pointer, ranks) in ((sent, batch.senders()), (received, batch.receivers())):
            np.add.at(into, ranks, np.repeat(batch.bytes * batch.repeat, np.diff(pointer)))
    return sent, received


def _busy(schedule: Schedule, site: Site, routing: str) -> tuple[float, float]:
    """Seconds that the busiest link needs for what was counted, and the links of a kind on average for all."""
    fabric = site.fabric
    counted, drawn = np.zeros(fabric.links), np.zeros(fabric.links)
    room = COUNTED_IN_ALL
    random = np.random.default_rng(SEED)
    pairs: list[tuple[IntArray, IntArray, FloatArray]] = []
    sampled: list[tuple[IntArray, IntArray, FloatArray]] = []
    for batch in schedule.batches:
        if batch.form != "direct":
            continue
        number = len(batch) * batch.copies
        if batch.routes is not None:
            moved = batch.bytes * batch.repeat
            np.add.at(counted, batch.routes.link, batch.routes.fraction * moved[batch.routes.rows()])
        elif number <= min(COUNTED, room):
            room -= number
            pairs.append(_transfers(batch, np.arange(number)))
        else:
            source, target, moved = _transfers(batch, random.integers(number, size=DRAWN))
            sampled.append((source, target, moved * (number / DRAWN)))
    for into, some in ((counted, pairs), (drawn, sampled)):
        if some:
            source, target, moved = (np.concatenate(column) for column in zip(*some, strict=True))
            routes = turned_routes(fabric, site.ranks[source], site.ranks[target], routing)
            np.add.at(into, routes.link, routes.fraction * moved[routes.rows()])
    kind = _kinds(fabric.bandwidth, fabric.scale_out)
    load = np.bincount(kind, (counted + drawn) / fabric.bandwidth)
    mean = float((load / np.bincount(kind)).max(initial=0.0))
    return float((counted / fabric.bandwidth).max(initial=0.0)), mean


def _kinds(bandwidth: FloatArray, scale_out: npt.NDArray[np.bool_]) -> IntArray:
    """The kind of each link, counted from 0."""
    table = np.stack([bandwidth, scale_out.astype(float)])
    kind: IntArray = np.unique(table, axis=1, return_inverse=True)[1].ravel()
    return kind


def _transfers(batch: Batch, chosen: IntArray) -> tuple[IntArray, IntArray, FloatArray]:
    """Sources, targets and bytes of some transfers of a batch, its translates counted rank after rank."""
    row, image = chosen % len(batch), chosen // len(batch)
    moved = batch.bytes[row] * batch.repeat
    if batch.grid is None:
        return batch.source[row], batch.target[row], moved
    grid = batch.grid
    return image, shifted(grid, image, grid.coordinates(batch.target[row])), moved
