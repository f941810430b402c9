"""Chains: data passed along a line of ranks in segments.

Pipelined broadcast or reduce over h hops with a path each, in k segments: h a + (h + k - 1) S/(k B); reduce and
broadcast overlapped, with links both ways, 2 h a + (2 h + k - 1) S/(k B).  Textbook; see Pjesivac-Grbovic et al.,
"Performance analysis of MPI collective operations" (2007).

Two arms leave the root both ways, so that h is half as long; they carry everything each, which only ranks with a link
of their own each way can afford.  Split: two chains the opposite ways round a ring with half the data each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from topo.algorithms.homes import ring, star
from topo.algorithms.parameters import choice
from topo.algorithms.registry import Site, algorithm
from topo.algorithms.ring import ring_order, walk_order
from topo.collective import Collective, segments
from topo.schedule import MOST_BATCHES, Schedule, ScheduleBuilder, Table, one_each


def in_chunks(chunks: int) -> str:
    """What a schedule says of its segments."""
    return f"{chunks} chunks" if chunks > 1 else ""


@dataclass(frozen=True)
class _Arm:
    """A line of ranks from the root, and the segments that it carries: first, first + stride ..."""

    line: tuple[int, ...]
    first: int = 0
    stride: int = 1


def _open(site: Site) -> bool:
    """Whether the group is a mesh without wraps, whose walk has two ends."""
    grid = site.grid
    return grid is not None and not grid.twisted and not any(grid.wrap)


def _arms(collective: Collective, site: Site, form: str) -> list[_Arm]:
    root = collective.root
    if collective.operation == "send-recv":
        return [_Arm((root, collective.peer))]
    if _open(site) and form in ("best", "two"):
        walk = [int(rank) for rank in walk_order(site)]
        # An all-reduce may meet anywhere: in the middle.
        at = len(walk) // 2 if collective.operation == "all-reduce" else walk.index(root)
        arms = [_Arm(tuple(walk[at::-1])), _Arm(tuple(walk[at:]))]
        return [arm for arm in arms if len(arm.line) > 1]
    order = ring_order(site)
    line = [int(rank) for rank in np.roll(order, -int(np.flatnonzero(order == root)[0]))]
    back = [line[0], *line[:0:-1]]
    if form == "two":
        half = len(line) // 2
        arms = [_Arm(tuple(line[: half + 1])), _Arm(tuple(back[: len(line) - half]))]
        return [arm for arm in arms if len(arm.line) > 1]
    if form == "split":
        return [_Arm(tuple(line), 0, 2), _Arm(tuple(back), 1, 2)]
    return [_Arm(tuple(line))]


def _time(collective: Collective, site: Site, chunks: int, *, form: str) -> float | None:
    """One chain, broadcast or reduce on a star, or on a ring all-reduce too."""
    port, link, operation = star(site), ring(site), collective.operation
    if operation == "send-recv":
        return port.time(collective.bytes) if port else None
    if form != "best" or (link is None and (port is None or operation == "all-reduce")):
        return None
    path = link or port
    assert path is not None
    hops = (collective.ranks - 1) * (2 if operation == "all-reduce" else 1)
    return hops * path.latency + (hops + chunks - 1) * collective.bytes / chunks / path.bandwidth


def _forms(collective: Collective, site: Site) -> list[str]:
    if site.grid is None or collective.operation == "send-recv":
        return []
    return ["chain:form=split"] if _open(site) else ["chain:form=two", "chain:form=split"]


def short_enough(collective: Collective, site: Site) -> str:
    """Every hop of a chain is a step of its own."""
    if 2 * len(site.ranks) > MOST_BATCHES and collective.operation != "send-recv":
        return f"a chain is worked out for at most {MOST_BATCHES // 2:,} ranks"
    return ""


@algorithm(
    "chain",
    ("broadcast", "reduce", "all-reduce", "send-recv"),
    fits=short_enough,
    pipelines=True,
    parameters=(choice("form", ("best", "one", "two", "split")),),
    closed_form=_time,
    variants=_forms,
)
def chain(collective: Collective, site: Site, chunks: int, *, form: str) -> Schedule:
    """A line of ranks passes segments on; all-reduce goes up the line and back down."""
    operation = collective.operation
    arms = _arms(collective, site, form)
    parts = arms[0].stride
    builder = ScheduleBuilder(
        collective, "chain", partial(segments, collective, parts * chunks), in_chunks(chunks)
    )
    size = collective.bytes / (parts * chunks)
    home: dict[int, list[int]] = {}
    if operation in ("reduce", "all-reduce"):
        for arm in arms:
            last = _pass_along(builder, arm, arm.line[::-1], size, chunks, (), reduce=True)
            home.setdefault(arm.first, []).append(last)
    if operation != "reduce":
        for arm in arms:
            _pass_along(builder, arm, arm.line, size, chunks, home.get(arm.first, ()))
    return builder.build()


def _pass_along(
    builder: ScheduleBuilder,
    arm: _Arm,
    line: Sequence[int],
    size: float,
    chunks: int,
    after: Sequence[int],
    *,
    reduce: bool = False,
) -> int:
    """One batch per hop, so that segment t waits at each rank only for segment t; the last batch."""
    pieces = partial(_segment, arm.first, arm.stride)
    hop = -1
    for source, target in pairwise(line):
        hop = builder.add(
            [source], [target], size, pieces, repeat=chunks, reduce=reduce, pipeline=after, loop=False
        )
        after = (hop,)
    return hop


def _segment(first: int, stride: int, repeat: int) -> Table:
    return one_each(np.asarray([first + repeat * stride]))
