"""Broadcast and reduce on grids: a scatter along one dimension after another, then buckets over all links.

Each instance of the concurrent bucket gets its share of the data by a scatter of its own: the root deals it out
along the instance's first dimension, the ranks of that line along the second, and so on, so that all links at the
root work.  Scatter and all-gather each take (N-1)/N S over the links of the root: 2(N-1)/N S/(2 D B) on k^D.  Reduce
is the time reversal.  Derived here from Sack and Gropp (2015) and van de Geijn (1994).
"""

from __future__ import annotations

from functools import partial

import numpy as np

from topo.algorithms.bucket import Bucket, dimension_speeds, on_a_grid
from topo.algorithms.bucket_split import split
from topo.algorithms.registry import Site
from topo.collective import EVERY_RANK, Chunks, Collective
from topo.errors import AlgorithmError
from topo.fabric import FloatArray, IntArray
from topo.schedule import Schedule, ScheduleBuilder, Table, rows_of


def scatter_bucket(collective: Collective, site: Site) -> Schedule:
    """Broadcast or reduce on the whole of a plain grid.

    Raises
    ------
    AlgorithmError
        The group is no such grid.
    """
    why = on_a_grid(collective, site)
    grid = site.grid
    if why or grid is None:
        raise AlgorithmError(f"scatter-allgather:gather=bucket: {why}", "take gather=ring")
    instances, detail = split(grid, dimension_speeds(site, grid), optimal=False)
    shares = np.asarray([instance.share for instance in instances])
    cutting = partial(_cut, collective, shares)
    builder = ScheduleBuilder(collective, "scatter-allgather", cutting, detail or "buckets")
    eye = np.eye(len(grid.shape), dtype=np.int64)
    for part, instance in enumerate(instances):
        run = Bucket(grid, np.arange(grid.size), instance, part, len(shares), (grid, eye))
        if collective.operation == "broadcast":
            run.gather(builder, _deal(builder, run, (), up=False))
        else:
            _deal(builder, run, run.scatter(builder), up=True)
    return builder.build()


def _deal(builder: ScheduleBuilder, run: Bucket, after: tuple[int, ...], *, up: bool) -> tuple[int, ...]:
    """The root's scatter of one instance, or (``up``) its reversal, a gather to the root."""
    grid, order = run.grid, run.instance.order
    home = grid.coordinates(np.asarray([builder.collective.root]))[0]
    share = builder.collective.bytes * run.instance.share
    stages = []
    for i, d in enumerate(order):
        share /= grid.shape[d]
        stages.append((i, d, share))
    added: list[int] = []
    for i, d, size in reversed(stages) if up else stages:
        holders = _with(grid.shape, home, order[:i])
        others = np.delete(np.arange(grid.shape[d]), home[d])
        source = np.repeat(holders, len(others), axis=0)
        target = source.copy()
        target[:, d] = np.tile(others, len(holders))
        ends = grid.numbers(source), grid.numbers(target)
        giver, taker = reversed(ends) if up else ends
        pieces = partial(_owners, run, target, order[i + 1 :])
        added.append(builder.add(giver, taker, size, pieces, after=(*added, *after)))
    return tuple(added)


def _with(shape: tuple[int, ...], home: IntArray, free: tuple[int, ...]) -> IntArray:
    """Coordinates that agree with ``home`` but in the free dimensions [places, dimensions]."""
    ways = np.stack(np.meshgrid(*[np.arange(shape[d]) for d in free], indexing="ij"), -1) if free else None
    if ways is None:
        return home[None].copy()
    ways = ways.reshape(-1, len(free))
    places = np.repeat(home[None], len(ways), axis=0)
    places[:, list(free)] = ways
    return places


def _owners(run: Bucket, target: IntArray, free: tuple[int, ...], repeat: int) -> Table:
    """What a target gets: the shares of all ranks that agree with it but in the dimensions still free."""
    rows = np.stack([run.grid.numbers(_with(run.grid.shape, place, free)) for place in target])
    return rows_of(rows * run.parts + run.part)


def _cut(collective: Collective, shares: FloatArray) -> Chunks:
    count = collective.ranks * len(shares)
    root, every = np.full(count, collective.root), np.full(count, EVERY_RANK)
    sizes = np.tile(collective.bytes / collective.ranks * shares, collective.ranks)
    return Chunks(sizes, *((root, every) if collective.operation == "broadcast" else (every, root)))
