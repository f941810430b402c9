"""Hierarchical broadcast and reduce: every rail carries its part.

Broadcast of S from one rank among n domains of G ranks: the root scatters S/G to each rank of its domain, every rank
of that domain sends its part along its rail from domain to domain (a chain, or a double binary tree), and every
domain gathers the parts inside.  In chunks all three overlap, and the slowest counts: S/(G B2) over the rails
(twice that for trees of more than two domains) or (G-1)/G S/B1 inside.  Reduce is the time reversal.  Source: the
hierarchical form of van de Geijn's broadcast, as in NCCL's multi-channel rings and MPI libraries' multi-rail trees.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from topo.algorithms.double_tree import rooted_pair
from topo.algorithms.groups import Groups
from topo.algorithms.trees import Tree
from topo.collective import Collective, segments
from topo.errors import AlgorithmError
from topo.fabric import IntArray
from topo.schedule import Schedule, ScheduleBuilder, one_each, rows_of

ACROSS = ("ring", "tree")


def hierarchical_rooted(collective: Collective, members: IntArray, inside: str, across: str) -> Schedule:
    """Broadcast or reduce.

    Parameters
    ----------
    collective : Collective
    members : int array [domains, places]
        Ranks.
    inside, across : str
        How domains gather, and whether rails carry chains (``ring``) or double binary trees (``tree``).

    Raises
    ------
    AlgorithmError
        A way across that is neither.
    """
    if across not in ACROSS:
        raise AlgorithmError(
            f"hierarchical:across={across} does not do {collective.operation}", "take across=ring or tree"
        )
    reduce = collective.operation == "reduce"
    domains, width = members.shape
    at = np.argwhere(members == collective.root)[0]
    home = np.roll(members, -int(at[0]), axis=0)
    trees = _chain(domains) if across == "ring" else rooted_pair(domains)
    parts = len(trees)
    detail = f"{domains} x {width}" + (
        "" if (inside, across) == ("ring", "ring") else f", {inside} and {across}"
    )
    cutting = partial(segments, collective, width * parts)
    builder = ScheduleBuilder(collective, "hierarchical", cutting, detail)
    share = collective.bytes / width
    groups = Groups(members, 1, partial(_parts, parts))
    if reduce:
        before = groups.scatter(inside, builder, share)
        before = (*before, *_across(builder, home, trees, share, before, up=True))
        _inside_home(builder, home[0], collective.root, share, parts, before, up=True)
    else:
        first = _inside_home(builder, home[0], collective.root, share, parts, (), up=False)
        before = (*first, *_across(builder, home, trees, share, first, up=False))
        groups.gather(inside, builder, share, before)
    return builder.build()


def _parts(parts: int, group: IntArray, share: IntArray) -> IntArray:
    return share[:, None] * parts + np.arange(parts)


def _chain(domains: int) -> tuple[Tree, ...]:
    return (Tree(np.arange(domains) - 1, 0),)


def _inside_home(
    builder: ScheduleBuilder,
    members: IntArray,
    root: int,
    share: float,
    parts: int,
    after: tuple[int, ...],
    *,
    up: bool,
) -> tuple[int, ...]:
    """Every place's part between the root and the rest of its domain."""
    place = np.flatnonzero(members != root)
    near, far = np.full(len(place), root), members[place]
    source, target = (far, near) if up else (near, far)
    chunks = rows_of(place[:, None] * parts + np.arange(parts))
    return (builder.add(source, target, share, chunks, after=after),)


def _across(
    builder: ScheduleBuilder,
    home: IntArray,
    trees: tuple[Tree, ...],
    share: float,
    after: tuple[int, ...],
    *,
    up: bool,
) -> tuple[int, ...]:
    """Every place's part along its rail, level by level of each tree over the domains."""
    width = home.shape[1]
    added: list[int] = []
    for part, tree in enumerate(trees):
        before: tuple[int, ...] = ()
        levels = tree.levels()
        for level in reversed(levels) if up else levels:
            child, parent = home[level].ravel(), home[tree.parent[level]].ravel()
            chunks = one_each(np.tile(np.arange(width), len(level)) * len(trees) + part)
            source, target = (child, parent) if up else (parent, child)
            number = builder.add(
                source, target, share / len(trees), chunks, reduce=up, after=(*before, *after)
            )
            before = (number,)
            added.append(number)
    return tuple(added)
