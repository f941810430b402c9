"""The least time that a byte of a collective takes, for groups that lie somewhere, or that lie anywhere.

Collectives are transfers between members of a group, so three things hold of any of them:

- *Any algorithm.*  The bounds of :mod:`topo.bounds` (ports, cuts, domains), in-network ones included.
- *Ways.*  Transfers take shortest ways, inside a scale-up domain those of its own links.  Links on no shortest way
  between two members carry nothing for the group, so the same bounds hold on the links that are left.  Not where
  switches copy or add, as their trees may take other ways.
- *Room.*  All groups of an axis talk at once: bytes times hops of all of them fit the bandwidth of all links, and what
  all of them lack in a scale-up domain fits the links into it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from topo.bounds import lower_bound
from topo.collective import Collective
from topo.errors import BoundError
from topo.fabric import BoolArray, Fabric, FloatArray, IntArray, sums
from topo.training.operation import Operation
from topo.training.placement import Placement
from topo.training.plan import Plan

SAMPLE = 1e12
"""Bytes at which latency is nothing, so that a bound is proportional to the bytes."""
MOST_NODES = 4096
"""Nodes of a fabric up to which all distances are looked at."""
MOST_MEMBERS = 256
"""Ranks of a group up to which its ways are looked at; larger ones may use all links."""


@dataclass(frozen=True, eq=False)
class Reach:
    """What a fabric lets groups do at most; remembers what it found.

    Parameters
    ----------
    fabric : Fabric
    """

    fabric: Fabric

    @cached_property
    def known(self) -> dict[tuple[object, ...], float]:
        """Seconds of a byte, by how the groups lie and what they do."""
        return {}

    @cached_property
    def port(self) -> float:
        """Bytes/s of the widest accelerator, all links together."""
        return float(max(self.fabric.egress.max(), self.fabric.ingress.max()))

    @cached_property
    def way_out(self) -> float:
        """Bytes/s of the widest accelerator out of its domain; infinite where domains are not told apart."""
        fabric = self.fabric
        if fabric.domains == 1:
            return np.inf
        widest = float(self.out_of_domain.max())
        return widest if widest > 0 else np.inf

    @cached_property
    def out_of_domain(self) -> FloatArray:
        """Bytes/s of each accelerator out of its domain, or into it where that is more [ranks]."""
        fabric, leaves = self.fabric, self.fabric.scale_out
        out = sums(fabric.source[leaves], fabric.bandwidth[leaves], len(fabric.nodes))[fabric.accelerators]
        into = sums(fabric.target[leaves], fabric.bandwidth[leaves], len(fabric.nodes))[fabric.accelerators]
        return np.asarray(np.maximum(out, into), dtype=np.float64)

    @cached_property
    def largest_domain(self) -> int:
        """Ranks of the largest scale-up domain."""
        return int(np.bincount(self.fabric.domain).max())

    @cached_property
    def plain(self) -> bool:
        """Whether everything goes from rank to rank by shortest ways, and the fabric is small enough to look."""
        copies = bool(self.fabric.multicast.any() or self.fabric.reduce.any())
        return not copies and len(self.fabric.nodes) <= MOST_NODES

    @cached_property
    def hops(self) -> FloatArray:
        """Links between all nodes by the shortest way [nodes, nodes]."""
        return self._distances(np.ones(self.fabric.links, dtype=bool))

    @cached_property
    def hops_at_home(self) -> FloatArray:
        """The same by scale-up links alone; infinite where they do not join."""
        return self._distances(~self.fabric.scale_out)

    def _distances(self, keep: BoolArray) -> FloatArray:
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import shortest_path

        size = len(self.fabric.nodes)
        source, target = self.fabric.source[keep], self.fabric.target[keep]
        joined = csr_array((np.ones(len(source)), (source, target)), shape=(size, size))
        return np.asarray(shortest_path(joined, unweighted=True), dtype=np.float64)

    def anywhere(self, kind: str, size: int, skew: float = 1.0) -> float:
        """Seconds of a byte in a group of so many ranks, wherever it lies.

        All-gather: what a part of the group lacks must arrive at its ports.  Reduce-scatter: the same, turned
        round.  All-reduce: at least its bytes must enter and leave any part.  All-to-all: what a part owes the
        others must leave it.  A part is one rank, or the ranks that share a domain.
        """
        seconds = 0.0
        together = min(size, self.largest_domain)
        for part, rate in ((1, self.port), (together, together * self.way_out)):
            if part >= size:
                continue
            if kind in ("all-gather", "reduce-scatter"):
                crossing = (size - part) / size
            elif kind == "all-to-all":
                # A skewed load leaves one rank with most of it, and its own share at home.
                crossing = part * (size - part) / size / skew
            elif kind == "send-recv":
                crossing = 1.0 if part == 1 else 0.0
            else:
                crossing = 1.0
            seconds = max(seconds, crossing / rate)
        return seconds

    def lying(self, groups: IntArray, kind: str) -> float:
        """Seconds of a byte when all groups do it at once [groups, size]."""
        first = groups[0]  # all have to end, so what holds of one of them is enough
        key = (kind, groups.shape, groups.tobytes())
        if key not in self.known:
            everywhere = max(self._bound(kind, self.fabric, first), self._into_domains(kind, groups))
            if self.plain and kind != "send-recv":
                everywhere = max(
                    everywhere, self._bound(kind, self._ways(first), first), self._room(kind, groups)
                )
            self.known[key] = everywhere
        return self.known[key]

    def _bound(self, kind: str, fabric: Fabric, ranks: IntArray) -> float:
        if kind == "send-recv":
            return 0.0
        try:
            found = lower_bound(Collective(kind, len(ranks), SAMPLE), fabric, ranks).seconds / SAMPLE
        except BoundError:
            return 0.0
        return found if np.isfinite(found) else 0.0

    def _ways(self, ranks: IntArray) -> Fabric:
        """The fabric with the links alone that lie on shortest ways between members."""
        fabric = self.fabric
        if len(ranks) > min(MOST_MEMBERS, fabric.ranks - 1):
            return fabric
        nodes, domain = fabric.accelerators[ranks], fabric.domain[ranks]
        used = np.zeros(fabric.links, dtype=bool)
        for place, node in enumerate(nodes):
            home = (domain == domain[place]) & np.isfinite(self.hops_at_home[node, nodes])
            home[place] = False
            away = ~home
            away[place] = False
            for hops, others, links in (
                (self.hops_at_home, nodes[home], ~fabric.scale_out),
                (self.hops, nodes[away], np.ones(fabric.links, dtype=bool)),
            ):
                if len(others):
                    from_here = hops[node]
                    on_way = (from_here[:, None] + hops[:, others] == from_here[others]).any(axis=1)
                    onward = from_here[fabric.source] + 1 == from_here[fabric.target]
                    used |= links & onward & on_way[fabric.source] & on_way[fabric.target]
        return replace(
            fabric,
            source=fabric.source[used],
            target=fabric.target[used],
            bandwidth=fabric.bandwidth[used],
            latency=fabric.latency[used],
            cables=fabric.cables[used],
            scale_out=fabric.scale_out[used],
            grid=None,
            routing="shortest",
            cache={},
        )

    def _into_domains(self, kind: str, groups: IntArray) -> float:
        """What all groups together must bring into a domain, over the bandwidth into it."""
        fabric, size = self.fabric, groups.shape[1]
        width = sums(fabric.domain, self.out_of_domain, fabric.domains)
        if kind == "send-recv" or fabric.domains == 1 or not (width > 0).all():
            return 0.0
        here = np.zeros((len(groups), fabric.domains))
        np.add.at(here, (np.arange(len(groups))[:, None], fabric.domain[groups]), 1.0)
        apart = (here > 0) & (here < size)
        if kind in ("all-gather", "reduce-scatter"):
            lacking = (size - here) / size
        elif kind == "all-to-all":
            lacking = here * (size - here) / size
        else:
            lacking = np.ones_like(here)
        return float(((lacking * apart).sum(axis=0) / width).max())

    def _room(self, kind: str, groups: IntArray) -> float:
        """Bytes times hops of all groups over the bandwidth of all links that they may use."""
        fabric, size = self.fabric, groups.shape[1]
        if kind not in ("all-gather", "reduce-scatter", "all-reduce", "all-to-all") or size > MOST_MEMBERS:
            return 0.0
        carried, inside = 0.0, True
        for ranks in groups:
            nodes = fabric.accelerators[ranks]
            same = fabric.domain[ranks][:, None] == fabric.domain[ranks]
            apart = np.where(same, self.hops_at_home[np.ix_(nodes, nodes)], np.inf)
            inside &= bool(np.isfinite(apart).all())
            apart = np.where(np.isfinite(apart), apart, self.hops[np.ix_(nodes, nodes)])
            if kind == "all-to-all":
                carried += float(apart.sum()) / size
            else:
                np.fill_diagonal(apart, np.inf)
                times = 2.0 if kind == "all-reduce" else 1.0
                carried += times * float(apart.min(axis=1).sum()) * (size - 1) / size
        width = fabric.bandwidth[~fabric.scale_out].sum() if inside else fabric.bandwidth.sum()
        return carried / float(width)


class Anywhere:
    """Least seconds of a plan's operations, however it is placed.

    Parameters
    ----------
    plan : Plan
    reach : Reach
    """

    def __init__(self, plan: Plan, reach: Reach) -> None:
        self.reach = reach
        self.size = {
            "tp": plan.tp,
            "cp": plan.cp,
            "dp": plan.dp,
            "pp": plan.pp,
            "data": plan.data,
            "ep": plan.ep,
            "edp": plan.stage_ranks // plan.ep,
            "shard": plan.shards,
            "replica": plan.data // plan.shards,
        }
        self._known: dict[tuple[str, str, float], float] = {}

    def seconds(self, operation: Operation) -> float:
        """Least seconds of one operation."""
        key = operation.axis, operation.operation, operation.skew
        if key not in self._known:
            self._known[key] = self._of_a_byte(*key)
        return self._known[key] * operation.bytes

    def _of_a_byte(self, axis: str, kind: str, skew: float) -> float:
        size = self.size[axis]
        return self.reach.anywhere(kind, size, skew) if size > 1 else 0.0


class Placed(Anywhere):
    """The same in one placement.

    Parameters
    ----------
    plan : Plan
    reach : Reach
    placement : Placement
        On the reach's fabric.
    """

    def __init__(self, plan: Plan, reach: Reach, placement: Placement) -> None:
        super().__init__(plan, reach)
        self.placement = placement

    def _of_a_byte(self, axis: str, kind: str, skew: float) -> float:
        least = super()._of_a_byte(axis, kind, skew)
        if self.size[axis] < 2 or skew > 1:
            return least
        groups = self.placement.members(axis)
        stages = self.placement.stages if axis != "pp" else 1
        # Stages may lie differently: the quickest of them is what all take at least.
        of_stage = np.split(groups, stages)
        return max(least, min(self.reach.lying(part, kind) for part in of_stage))
