"""Compiling by blocks: clusters whose domains are all alike.

Turning all ranks by one block (a domain, or the domains of a scalable unit) is a symmetry of such a fabric, and of a
schedule whose every batch the turn maps to itself.  Then the rows of the first block stand for all: a row carries
the load of its images over the links of an orbit evenly, and the ranks of the first block keep the gates for their
images, since images start, drain and arrive together.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from topo.fabric import Fabric, Grid, IntArray
from topo.hashing import mix
from topo.network.program import Program, assembled
from topo.routing import Routes, find_routes, routes_from_entries
from topo.schedule import Batch, Schedule
from topo.translation import Orbits, block_orbits, shifted
from topo.turns import symmetric_block

MOST_ROWS = 2_000_000
"""Rows of the first block beyond which blocks are not worth it."""


def by_blocks(
    schedule: Schedule, fabric: Fabric, barrier: bool, routing: str
) -> tuple[Program, Orbits, IntArray] | None:
    """Compile the first block of a schedule for all ranks; None when schedule or fabric is not invariant.

    Returns
    -------
    (Program, Orbits, int array [rows]) or None
        The program on the orbits of the links, and the transfer of the schedule that each row comes from, transfers
        of the batches counted one after the other before spelling out.
    """
    block = block_of(schedule, fabric)
    if block is None:
        return None
    found = block_orbits(fabric, block)
    assert found is not None, "block_of() asked before"
    orbits, ranks = found[0], fabric.ranks
    parts: list[Batch] = []
    origins: list[IntArray] = []
    before = 0
    for batch in schedule.batches:
        part = _first_block(batch, ranks, block)
        if part is None:
            return None
        parts.append(part[0])
        origins.append(part[1] + before)
        before += len(batch)
    together = find_routes(
        fabric,
        np.concatenate([part.source for part in parts]),
        np.concatenate([part.target for part in parts]),
        routing,
    )
    ends = np.cumsum([len(part) for part in parts])
    routes = [
        over_orbits(together.take(np.arange(end - len(part), end)), orbits, ranks // block)
        for part, end in zip(parts, ends.tolist(), strict=True)
    ]
    within = [replace(part, source=part.source % block, target=part.target % block) for part in parts]
    program = assembled(
        replace(schedule, batches=tuple(within)),
        routes,
        fabric.bandwidth[orbits.first],
        barrier,
        ranks // block,
    )
    return program, orbits, np.concatenate(origins)


def has_blocks(schedule: Schedule, fabric: Fabric) -> bool:
    """Whether :func:`by_blocks` applies, as far as a glance tells."""
    return block_of(schedule, fabric) is not None


def block_of(schedule: Schedule, fabric: Fabric) -> int | None:
    """Ranks of the block by which fabric and schedule can be turned, as far as a glance tells; None without.

    Rings that walk even domains upwards and odd ones downwards need a turn by two of the fabric's blocks.
    """
    least = symmetric_block(fabric)
    if least is None or not all(_plain(batch) for batch in schedule.batches):
        return None
    rows = sum(len(batch) * batch.copies for batch in schedule.batches)
    for block in (least, 2 * least):
        if block >= fabric.ranks or fabric.ranks % block or rows > MOST_ROWS * (fabric.ranks // block):
            continue
        if all(_may_turn(batch, fabric.ranks, block) for batch in schedule.batches):
            return block if block_orbits(fabric, block) is not None else None
    return None


def _may_turn(batch: Batch, ranks: int, block: int) -> bool:
    return (batch.grid is not None and _turns(batch.grid, block)) or _seems_invariant(batch, ranks, block)


def _plain(batch: Batch) -> bool:
    return batch.form == "direct" and batch.routes is None and all(wait.pairs is None for wait in batch.waits)


def _seems_invariant(batch: Batch, ranks: int, block: int) -> bool:
    """Whether sums of hashes say that the turn by a block maps a batch to itself; unequal sums are proof."""
    batch = batch.whole()
    with np.errstate(over="ignore"):
        sums = [
            mix(mix((source * ranks + target).astype(np.uint64)) + batch.bytes.view(np.uint64)).sum()
            for source, target in (
                (batch.source, batch.target),
                ((batch.source + block) % ranks, (batch.target + block) % ranks),
            )
        ]
    return bool(sums[0] == sums[1])


def _first_block(batch: Batch, ranks: int, block: int) -> tuple[Batch, IntArray] | None:
    """The transfers that the first block sends, and their places in the batch; None without symmetry."""
    grid = batch.grid
    if grid is not None and _turns(grid, block):
        senders = np.arange(block)
        place = np.repeat(np.arange(len(batch)), block)
        source = np.tile(senders, len(batch))
        target = shifted(grid, source, grid.coordinates(batch.target)[place])
        return replace(batch, source=source, target=target, bytes=batch.bytes[place], grid=None), place
    transfers = np.arange(len(batch))
    if grid is not None:
        transfers = np.repeat(transfers, grid.size)
        batch = batch.whole()
    key = batch.source * ranks + batch.target
    image = (batch.source + block) % ranks * ranks + (batch.target + block) % ranks
    if not _seems_invariant(batch, ranks, block):
        return None
    order, image_order = (np.lexsort((batch.bytes, keys)) for keys in (key, image))
    if (key[order] != image[image_order]).any() or (batch.bytes[order] != batch.bytes[image_order]).any():
        return None
    chosen = np.flatnonzero(batch.source < block)
    part = replace(batch, source=batch.source[chosen], target=batch.target[chosen], bytes=batch.bytes[chosen])
    return part, transfers[chosen]


def _turns(grid: Grid, block: int) -> bool:
    """Whether the turn by a block is one of the shifts of a grid."""
    ranks = np.arange(grid.size)
    shift = grid.coordinates(np.asarray([block]))[0]
    return bool((shifted(grid, ranks, shift) == (ranks + block) % grid.size).all())


def over_orbits(routes: Routes, orbits: Orbits, images: int | IntArray) -> Routes:
    """Routes with orbits in the place of links, and the load of all images of a row on each link of an orbit.

    ``images`` is one number, or one for each entry of the routes.
    """
    orbit = orbits.of_link[routes.link]
    return routes_from_entries(
        len(routes),
        routes.rows(),
        orbit,
        routes.fraction * images / orbits.size[orbit],
        routes.latency,
        len(orbits.size),
    )
