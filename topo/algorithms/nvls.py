"""In-switch collectives: the switch adds and copies (NVLink SHARP, SHARP/CollNet).

NVLS: the owner of a shard pulls it, added up by the switch, from all ranks including itself; an owner's store is
copied by the switch to all ranks including itself.  Reduce-scatter and all-gather 2a + S/B each; all-reduce in
two phases 2(2a + S/B); in k chunks [(k-1)(1+1/N) + 2] S/(k B), which tends to (N+1)/N S/B.
SHARP: one stream up and down the switch tree: 2 a depth + S/B.
Sources: NVIDIA nccl issues 828, 1506, 2072; Graham et al., "Scalable Hierarchical Aggregation Protocol" (2016).
"""

from __future__ import annotations

from functools import partial

import numpy as np

from topo.algorithms.homes import star
from topo.algorithms.registry import Site, algorithm
from topo.algorithms.ring import GATHERING, REDUCING
from topo.collective import Collective, cut, segments
from topo.errors import RoutingError
from topo.fabric import IntArray
from topo.routing import tree_routes
from topo.schedule import Schedule, ScheduleBuilder, Table, one_each


def joined_by_switch(
    site: Site, members: IntArray, reducing: bool, copying: bool, one_pass: bool = False
) -> str:
    """Why no switch that joins some ranks of the group can add or copy for them; empty when one can.

    With ``one_pass`` it must do both to the same stream at once.
    """
    everyone, one = site.ranks[members], site.ranks[members[:1]]
    passes = [(everyone, everyone)] if one_pass else []
    passes += [(everyone, one)] * reducing + [(one, everyone)] * copying
    try:
        for sources, targets in passes:
            tree_routes(site.fabric, sources, targets)
    except RoutingError as problem:
        return problem.message
    return ""


def by_operation(collective: Collective, site: Site) -> str:
    """Reductions need a switch that reduces, the spreading ones a switch that multicasts."""
    return joined_by_switch(
        site,
        np.arange(len(site.ranks)),
        collective.operation in (*REDUCING, "reduce"),
        collective.operation in (*GATHERING, "broadcast"),
    )


def in_one_pass(collective: Collective, site: Site) -> str:
    """Streaming all-reduce needs a switch that adds and copies at once."""
    return joined_by_switch(site, np.arange(len(site.ranks)), True, True, one_pass=True)


def everyone(ranks: int, transfers: int) -> Table:
    """A fan of all ranks for each of some transfers."""
    return np.arange(transfers + 1) * ranks, np.tile(np.arange(ranks), transfers)


def _nvls_time(collective: Collective, site: Site, chunks: int) -> float | None:
    """On a star, not pipelined: 2a + S/B with 2a the latency of a path, twice that for all-reduce."""
    port = star(site)
    if port is None or chunks > 1:
        return None
    return port.time(collective.bytes) * (2 if collective.operation == "all-reduce" else 1)


def _sharp_time(collective: Collective, site: Site, chunks: int) -> float | None:
    """On a star: one stream."""
    port = star(site)
    return None if port is None else port.time(collective.bytes)


@algorithm(
    "nvls",
    ("all-reduce", "all-gather", "reduce-scatter", "broadcast", "reduce"),
    fits=by_operation,
    pipelines=True,
    closed_form=_nvls_time,
)
def nvls(collective: Collective, site: Site, chunks: int) -> Schedule:
    """The switch adds on the way to each shard's owner and copies the owner's store to all."""
    n, operation = collective.ranks, collective.operation
    if operation in ("broadcast", "reduce"):
        whole = ScheduleBuilder(collective, "nvls", partial(segments, collective))
        form = "multicast" if operation == "broadcast" else "reduce"
        chunk = one_each(np.zeros(1, dtype=np.int64))
        root = [collective.root]
        whole.add(
            root, root, collective.bytes, chunk, reduce=operation == "reduce", form=form, fan=everyone(n, 1)
        )
        return whole.build().pipelined(chunks)
    builder = ScheduleBuilder(collective, "nvls", partial(cut, collective))
    owner = np.arange(n)
    share = collective.bytes / n
    before: tuple[int, ...] = ()
    if operation in REDUCING:
        before = (
            builder.add(owner, owner, share, one_each(owner), reduce=True, form="reduce", fan=everyone(n, n)),
        )
    if operation in GATHERING:
        builder.add(owner, owner, share, one_each(owner), form="multicast", fan=everyone(n, n), after=before)
    return builder.build().pipelined(chunks)


@algorithm("sharp", ("all-reduce",), fits=in_one_pass, pipelines=True, closed_form=_sharp_time)
def sharp(collective: Collective, site: Site, chunks: int) -> Schedule:
    """One stream up the switch tree, added on the way, and down again, copied: 2 a depth + S/B."""
    builder = ScheduleBuilder(collective, "sharp", partial(segments, collective))
    chunk = one_each(np.zeros(1, dtype=np.int64))
    fan = everyone(collective.ranks, 1)
    builder.add([0], [0], collective.bytes, chunk, reduce=True, form="all-reduce", fan=fan)
    return builder.build().pipelined(chunks)
