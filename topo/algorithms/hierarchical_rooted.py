"""Hierarchical broadcast and reduce: every rail carries its part.

Broadcast of S from one rank among n domains of G ranks: the root deals S/G to each other rank of its domain, every
rank of that domain sends its part along its rail from domain to domain (a chain, a double binary tree, or one binary
tree), and every other domain gathers the parts inside.  In the root's own domain the others exchange their parts, and
the root's part, cut once more, is relayed by them, so that the root sends everything once.  In chunks all of it
overlaps, and the slowest counts: S/(G B2) over the rails (twice that for trees of more than two domains) or S/B1 at
the root's port inside.  With multicasting switches inside, the root's domain gathers like the others.  Reduce is the
time reversal.  In one tree all domains of a level do the same, so that thousands of domains cost no more to simulate
than a few.
Source: the hierarchical form of van de Geijn's broadcast, as in NCCL's multi-channel rings and MPI libraries'
multi-rail trees; relaying the root's part is derived here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from topo.algorithms.double_tree import rooted_pair
from topo.algorithms.groups import Groups
from topo.algorithms.trees import Tree, layered_tree
from topo.collective import Collective, segments
from topo.errors import AlgorithmError
from topo.fabric import IntArray
from topo.schedule import Schedule, ScheduleBuilder, rows_of

ACROSS = ("ring", "tree", "binary")


@dataclass(frozen=True, eq=False)
class _Plan:
    """Who takes part, and how the buffer is cut.

    The buffer is cut by place of a domain, each place's share by tree over the rails, that by relay of the root's
    domain: chunk ``(place * trees + tree) * relays + relay``.
    """

    builder: ScheduleBuilder
    home: IntArray
    trees: tuple[Tree, ...]
    root: int
    share: float

    @property
    def width(self) -> int:
        return int(self.home.shape[1])

    @property
    def relays(self) -> int:
        """Parts into which a place's share is cut for the ranks that relay the root's."""
        return self.width - 1

    def chunks(self, place: IntArray, tree: int | None = None) -> IntArray:
        """Chunks of places' shares [places, chunks], of one tree or of all."""
        trees = np.arange(len(self.trees)) if tree is None else np.asarray([tree])
        first = (place[:, None] * len(self.trees) + trees) * self.relays
        return (first[:, :, None] + np.arange(self.relays)).reshape(len(place), -1)

    def relayed(self, relay: IntArray) -> IntArray:
        """Chunks of the root's share that each relay has [relays, trees]."""
        at = int(np.flatnonzero(self.home[0] == self.root)[0])
        return (at * len(self.trees) + np.arange(len(self.trees))) * self.relays + relay[:, None]

    def add(
        self,
        ends: tuple[IntArray, IntArray],
        bytes: float,
        chunks: IntArray,
        after: tuple[int, ...],
        up: bool,
    ) -> tuple[int, ...]:
        """One batch from the root's side outwards; ``up`` turns it round and adds."""
        source, target = (ends[1], ends[0]) if up else ends
        return (self.builder.add(source, target, bytes, rows_of(chunks), reduce=up, after=after),)


def hierarchical_rooted(collective: Collective, members: IntArray, inside: str, across: str) -> Schedule:
    """Broadcast or reduce.

    Parameters
    ----------
    collective : Collective
    members : int array [domains, places]
        Ranks.
    inside, across : str
        How domains gather, and whether rails carry chains (``ring``), double binary trees (``tree``) or binary ones
        (``binary``).

    Raises
    ------
    AlgorithmError
        A way across that is neither.
    """
    if across not in ACROSS:
        raise AlgorithmError(
            f"hierarchical:across={across} does not do {collective.operation}",
            f"take across={', '.join(ACROSS[:-1])} or {ACROSS[-1]}",
        )
    up = collective.operation == "reduce"
    domains, width = members.shape
    home = np.roll(members, -int(np.argwhere(members == collective.root)[0, 0]), axis=0)
    trees: tuple[Tree, ...]
    if across == "tree":
        trees = rooted_pair(domains)
    else:
        trees = (layered_tree(domains) if across == "binary" else Tree(np.arange(domains) - 1, 0),)
    detail = f"{domains} x {width}" + (
        "" if (inside, across) == ("ring", "ring") else f", {inside} and {across}"
    )
    cutting = partial(segments, collective, width * len(trees) * (width - 1))
    builder = ScheduleBuilder(collective, "hierarchical", cutting, detail)
    plan = _Plan(builder, home, trees, collective.root, collective.bytes / width)
    # Switches that copy serve the root's domain like any other; without them the root must not send twice.
    gathering = home if inside == "nvls" else home[1:]
    groups = Groups(gathering, 1, lambda group, place: plan.chunks(place))
    if up:
        before = groups.scatter(inside, builder, plan.share)
        around = () if inside == "nvls" else _around(plan, (), up=True)
        before = (*before, *around)
        before = (*before, *_across(plan, before, up=True))
        _deal(plan, before, up=True, whole=inside == "nvls")
    else:
        dealt = _deal(plan, (), up=False, whole=inside == "nvls")
        before = (*dealt, *_across(plan, dealt, up=False))
        groups.gather(inside, builder, plan.share, before)
        if inside != "nvls":
            _around(plan, dealt, up=False)
    return builder.build()


def _deal(plan: _Plan, after: tuple[int, ...], *, up: bool, whole: bool) -> tuple[int, ...]:
    """Every place's share between the root and the rest of its domain, and the relays' parts of the root's.

    With ``whole`` a reduce brings home complete shares, which overwrite the root's; otherwise the root adds them to
    its own contribution.
    """
    place = np.flatnonzero(plan.home[0] != plan.root)
    peers, root = plan.home[0, place], np.full(len(place), plan.root)
    if whole and up:
        return (plan.builder.add(peers, root, plan.share, rows_of(plan.chunks(place)), after=after),)
    added = plan.add((root, peers), plan.share, plan.chunks(place), after, up)
    if whole:
        return added
    relay = np.arange(plan.relays)
    return (*added, *plan.add((root, peers), plan.share / plan.relays, plan.relayed(relay), after, up))


def _around(plan: _Plan, after: tuple[int, ...], *, up: bool) -> tuple[int, ...]:
    """In the root's domain the others exchange their shares and their parts of the root's."""
    if plan.relays == 1:
        return ()
    place = np.flatnonzero(plan.home[0] != plan.root)
    giver, taker = np.divmod(np.arange(plan.relays**2), plan.relays)
    giver, taker = giver[giver != taker], taker[giver != taker]
    chunks = np.concatenate([plan.chunks(place[giver]), plan.relayed(giver)], axis=1)
    ends = plan.home[0, place[giver]], plan.home[0, place[taker]]
    return plan.add(ends, plan.share * (1 + 1 / plan.relays), chunks, after, up)


def _across(plan: _Plan, after: tuple[int, ...], *, up: bool) -> tuple[int, ...]:
    """Every place's share along its rail, level by level of each tree over the domains."""
    added: list[int] = []
    for number, tree in enumerate(plan.trees):
        before: tuple[int, ...] = ()
        levels = tree.levels()
        for level in reversed(levels) if up else levels:
            ends = plan.home[tree.parent[level]].ravel(), plan.home[level].ravel()
            chunks = plan.chunks(np.tile(np.arange(plan.width), len(level)), number)
            before = plan.add(ends, plan.share / len(plan.trees), chunks, (*before, *after), up)
            added += before
    return tuple(added)
