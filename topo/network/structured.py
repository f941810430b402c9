"""Compiling schedules that look the same from many ranks without spelling them out.

Three kinds of symmetry.  By *shifts*: schedule and fabric look the same from every rank; then there is one row per
shift, one link per orbit, and, as all ranks do the same at the same time, one gate per batch.  By *blocks*
(:mod:`topo.network.blocks`): they look the same from every block of consecutive ranks, such as the domains of a
cluster; then there is one row per transfer of the first block.  By *places* (:mod:`topo.network.places`): they look
the same from every place of their domains; then there is one row per transfer of the first place of each domain.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from topo.fabric import Fabric, IntArray
from topo.network.blocks import by_blocks, has_blocks
from topo.network.fold import Folded, fold
from topo.network.places import by_places
from topo.network.program import Program, pointer_from
from topo.schedule import Schedule
from topo.translation import Orbits, link_orbits, orbit_routes


def structured(
    schedule: Schedule, fabric: Fabric, *, barrier: bool = False, routing: str = "auto"
) -> Folded | None:
    """Compile by shifts or blocks, and orbits, or return None when schedule or fabric is not invariant.

    Parameters
    ----------
    schedule : Schedule
        For all accelerators of the fabric in rank order.
    fabric : Fabric
    barrier, routing
        As in :func:`topo.network.program.compile_program`; random routes (``ecmp``) are never invariant.
    """
    if routing == "ecmp" or not schedule.batches:
        return None
    found = (
        _by_shifts(schedule, fabric, barrier, routing)
        or by_blocks(schedule, fabric, barrier, routing)
        or by_places(schedule, fabric, barrier, routing)
    )
    return None if found is None else _folded_again(*found)


def compact(schedule: Schedule, fabric: Fabric) -> bool:
    """Whether :func:`structured` may be expected to compile a schedule for all ranks of a fabric."""
    grid = schedule.batches[0].grid if schedule.batches else None
    by_shift = grid is not None and all(batch.grid == grid for batch in schedule.batches)
    if by_shift and grid is not None and link_orbits(fabric, grid) is not None:
        return True
    return has_blocks(schedule, fabric)


def _by_shifts(
    schedule: Schedule, fabric: Fabric, barrier: bool, routing: str
) -> tuple[Program, Orbits, IntArray] | None:
    grid = schedule.batches[0].grid
    if grid is None or any(batch.grid != grid for batch in schedule.batches):
        return None
    orbits = link_orbits(fabric, grid)
    if orbits is None:
        return None
    batches = schedule.batches
    routes = [
        orbit_routes(fabric, grid, orbits, grid.coordinates(batch.target), routing) for batch in batches
    ]
    first = np.concatenate([[0], np.cumsum([len(batch) for batch in batches])])
    gates: dict[tuple[int, bool], int] = {}
    rows: list[IntArray] = []
    of_gate: list[IntArray] = []
    lags: list[IntArray] = []
    for number, batch in enumerate(batches):
        row = np.arange(first[number], first[number + 1])
        if barrier:
            waits = [(other, True, 1 + batches[other].step - batch.step) for other in range(len(batches))]
        else:
            waits = [(wait.batch, wait.on == "arrival", wait.lag) for wait in batch.waits]
            if any(wait.pairs is not None for wait in batch.waits):
                return None
        for other, arrival, lag in waits:
            gate = gates.setdefault((other, arrival), len(gates))
            rows.append(row)
            of_gate.append(np.full(len(row), gate))
            lags.append(np.full(len(row), lag))
    wait_row = np.concatenate(rows) if rows else np.zeros(0, dtype=np.int64)
    order = np.argsort(wait_row, kind="stable")
    member = [np.arange(first[batch], first[batch + 1]) for batch, _ in gates]
    empty = np.zeros(0, dtype=np.int64)
    program = Program(
        bytes=np.concatenate([batch.bytes for batch in batches]),
        repeat=np.repeat([batch.repeat for batch in batches], np.diff(first)),
        latency=np.concatenate([route.latency for route in routes]),
        step=np.repeat([batch.step for batch in batches], np.diff(first)),
        count=np.full(first[-1], grid.size),
        route_pointer=pointer_from(np.concatenate([np.diff(route.pointer) for route in routes])),
        route_link=np.concatenate([route.link for route in routes]),
        route_weight=np.concatenate([route.fraction for route in routes]),
        capacity=fabric.bandwidth[orbits.first],
        member_pointer=pointer_from(np.asarray([len(rows) for rows in member], dtype=np.int64)),
        member_row=np.concatenate(member) if member else empty,
        gate_on_arrival=np.asarray([arrival for _, arrival in gates], dtype=bool),
        gate_repeat=np.asarray([batches[batch].repeat for batch, _ in gates], dtype=np.int64),
        wait_pointer=pointer_from(np.bincount(wait_row, minlength=int(first[-1]))),
        wait_gate=np.concatenate(of_gate)[order] if rows else empty,
        wait_lag=np.concatenate(lags)[order] if rows else empty,
    )
    return program, orbits, np.arange(program.rows)


def _folded_again(program: Program, orbits: Orbits, representative: IntArray) -> Folded:
    """Fold what shifts or blocks left, and say for which links of the fabric each link stands."""
    empty = np.zeros(0, dtype=np.int64)
    again = fold(program)
    if again is None:
        return Folded(program, orbits.first, orbits.size, empty, orbits.of_link, representative)
    size = np.zeros(len(again.link), dtype=np.int64)
    used = np.unique(program.route_link)
    # Orbits that folded together stand for the links of all of them.
    np.add.at(size, again.class_of_link[used], orbits.size[used])
    return replace(
        again,
        link=orbits.first[again.link],
        link_count=size,
        row_class=empty,
        class_of_link=again.class_of_link[orbits.of_link],
        representative=representative[again.representative],
    )
