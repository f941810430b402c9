"""Hierarchical collectives: inside the scale-up domains, then between them.

n domains of G ranks, intra-domain path (a1, B1), rails between domains (a2, B2 per rank): all-reduce as
reduce-scatter inside, all-reduce over each rail on S/G, all-gather inside; with rings for both
2(G-1)(a1 + S/(G B1)) + 2(n-1)(a2 + S/(G n B2)) without chunk pipelining; with many chunks the phases overlap and
the slower one alone counts.

What NCCL calls its algorithms are combinations (src/graph/tuning.cc): Tree is inside=ring,across=tree (its chain
inside a node with one channel per rank is the ring's reduce-scatter), NVLS inside=nvls,across=ring, NVLSTree
inside=nvls,across=tree, CollNetDirect inside=direct,across=sharp, CollNetChain inside=ring,across=sharp.
Sources: Cho et al., "BlueConnect: Decomposing all-reduce for deep learning on heterogeneous network hierarchy"
(2019); NVIDIA NCCL.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from topo.algorithms.domain_grids import members_by_domain
from topo.algorithms.groups import Groups, doubling_kind
from topo.algorithms.hierarchical_all_to_all import rail_all_to_all
from topo.algorithms.hierarchical_rooted import hierarchical_rooted
from topo.algorithms.homes import Link
from topo.algorithms.nvls import joined_by_switch
from topo.algorithms.parameters import choice
from topo.algorithms.registry import Site, algorithm
from topo.algorithms.ring import GATHERING, REDUCING, RING_OPERATIONS
from topo.collective import Collective, cut
from topo.errors import AlgorithmError
from topo.fabric import IntArray
from topo.schedule import Schedule, ScheduleBuilder

INSIDE = ("ring", "direct", "halving", "nvls")
ACROSS = ("ring", "direct", "halving", "bruck", "tree", "binary", "sharp")
ONLY_ALL_REDUCE = ("tree", "sharp")
ONLY_ROOTED = ("binary",)
ROOTED = ("broadcast", "reduce")
MANY_DOMAINS = 256
"""Domains from which on chains and double trees over them are not tried any more."""


def has_levels(collective: Collective, site: Site) -> str:
    """Hierarchy needs at least two scale-up domains of equal size, each with at least two ranks."""
    if members_by_domain(site) is None:
        return "it needs at least two scale-up domains of equal size"
    return ""


def closed_form(bytes: float, gpus: int, nodes: int, inside: Link, across: Link) -> float:
    """Seconds of an all-reduce with rings inside and across, not pipelined; both links are paths between ranks."""
    return 2 * (gpus - 1) * inside.time(bytes / gpus) + 2 * (nodes - 1) * across.time(bytes / (gpus * nodes))


def _forms(collective: Collective, site: Site) -> list[str]:
    members = members_by_domain(site)
    operation = collective.operation
    if members is None or operation == "all-to-all":
        return []
    domains = len(members)
    whole = operation == "all-reduce"
    inside = ["ring", "direct"]
    copying, adding = operation in (*GATHERING, "broadcast"), operation in (*REDUCING, "reduce")
    if not joined_by_switch(site, members[0], adding, copying):
        inside.append("nvls")
    if operation in ROOTED:
        across = ["ring", "tree"] if domains <= MANY_DOMAINS else ["binary"]
    else:
        across = ["ring", doubling_kind(domains)]
        if whole and domains <= MANY_DOMAINS:
            across.append("tree")
    if whole and not joined_by_switch(site, members[:, 0], True, True, one_pass=True):
        across.append("sharp")
    return [
        f"hierarchical:inside={i},across={a}" for i in inside for a in across if (i, a) != ("ring", "ring")
    ]


@algorithm(
    "hierarchical",
    (*RING_OPERATIONS, "all-to-all", *ROOTED),
    fits=has_levels,
    pipelines=True,
    parameters=(choice("inside", INSIDE), choice("across", ACROSS)),
    variants=_forms,
)
def hierarchical(collective: Collective, site: Site, chunks: int, *, inside: str, across: str) -> Schedule:
    """Inside the scale-up domains, over the rails between them, inside again; all-to-all relays over rails."""
    members = members_by_domain(site)
    assert members is not None, "fits() was asked before"
    operation = collective.operation
    if operation == "all-to-all":
        if (inside, across) != ("ring", "ring"):
            raise AlgorithmError("hierarchical all-to-all has one form", "leave inside and across out")
        return rail_all_to_all(collective, members).pipelined(chunks)
    if operation in ROOTED:
        return hierarchical_rooted(collective, members, inside, across).pipelined(chunks)
    if across in ONLY_ROOTED or (across in ONLY_ALL_REDUCE and operation != "all-reduce"):
        raise AlgorithmError(f"hierarchical:across={across} does not do {operation}", "take across=ring")
    domains, width = members.shape
    parts = 2 if across == "tree" else 1
    detail = f"{domains} x {width}" + (
        "" if (inside, across) == ("ring", "ring") else f", {inside} and {across}"
    )
    builder = ScheduleBuilder(collective, "hierarchical", partial(cut, collective, parts), detail)
    inner = Groups(members, 1, partial(_inner, members, parts))
    outer = Groups(members, 0, partial(_outer, members, parts))
    share = collective.bytes / width
    before: tuple[int, ...] = ()
    if operation in REDUCING:
        before = inner.scatter(inside, builder, share)
    if operation == "all-reduce":
        before = outer.reduce_all(across, builder, share / domains, before)
    elif operation == "reduce-scatter":
        outer.scatter(across, builder, share / domains, before)
    else:
        before = outer.gather(across, builder, share / domains)
    if operation in GATHERING:
        inner.gather(inside, builder, share, before)
    return builder.build().pipelined(chunks)


def _inner(members: IntArray, parts: int, group: IntArray, share: IntArray) -> IntArray:
    """Share ``share`` inside a domain is what the ranks of that place in all domains own."""
    return _pieces(members[:, share].T, parts)


def _outer(members: IntArray, parts: int, rail: IntArray, share: IntArray) -> IntArray:
    """Share ``share`` of a rail is what its rank in that domain owns."""
    return _pieces(members[share, rail][:, None], parts)


def _pieces(owner: IntArray, parts: int) -> IntArray:
    return (owner[:, :, None] * parts + np.arange(parts)).reshape(len(owner), -1)
