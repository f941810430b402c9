"""The ranks of a collective as nodes of a fabric."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from topo.collective import Collective
from topo.errors import BoundError
from topo.fabric import BoolArray, Fabric, IntArray


@dataclass(frozen=True, eq=False)
class Group:
    """The accelerators that take part, in the order of the collective's ranks.

    Every other accelerator only passes bytes on: it neither adds nor copies.

    Parameters
    ----------
    fabric : Fabric
    ranks : int array [group]
        Rank in the fabric of each rank of the collective.
    """

    fabric: Fabric
    ranks: IntArray

    @cached_property
    def nodes(self) -> IntArray:
        """Node of each rank of the collective [group]."""
        return self.fabric.accelerators[self.ranks]

    @cached_property
    def member(self) -> BoolArray:
        """Whether a node takes part [nodes]."""
        member = np.zeros(len(self.fabric.nodes), dtype=bool)
        member[self.nodes] = True
        return member

    @cached_property
    def place(self) -> IntArray:
        """Rank of the collective at each node, -1 elsewhere [nodes]."""
        place = np.full(len(self.fabric.nodes), -1, dtype=np.int64)
        place[self.nodes] = np.arange(len(self.nodes))
        return place

    @property
    def size(self) -> int:
        """Ranks of the collective."""
        return len(self.ranks)

    @property
    def whole(self) -> bool:
        """Whether every accelerator takes part."""
        return self.size == self.fabric.ranks

    @cached_property
    def in_order(self) -> bool:
        """Whether the ranks are those of the whole fabric, in its order."""
        return self.whole and bool((self.ranks == np.arange(self.size)).all())

    @cached_property
    def key(self) -> tuple[str, bytes]:
        """What names this group in the fabric's cache."""
        return ("group", b"" if self.in_order else self.ranks.tobytes())

    def label(self, rank: int) -> str:
        """Label of the accelerator of a rank of the collective."""
        return str(self.fabric.nodes[int(self.nodes[rank])])


def group_of(collective: Collective, fabric: Fabric, ranks: IntArray | None = None) -> Group:
    """The group of a collective.

    Parameters
    ----------
    collective : Collective
    fabric : Fabric
    ranks : int array [collective.ranks], optional
        Ranks of the fabric; by default the first ``collective.ranks`` of them.

    Raises
    ------
    BoundError
        More ranks than accelerators, a rank that the fabric does not have, or one that is named twice.
    """
    if ranks is None:
        if collective.ranks > fabric.ranks:
            raise BoundError(
                f"{collective.operation} among {collective.ranks} ranks does not fit {fabric.name}",
                f"it has {fabric.ranks} accelerators",
            )
        return Group(fabric, np.arange(collective.ranks))
    chosen = np.asarray(ranks, dtype=np.int64)
    if chosen.shape != (collective.ranks,):
        raise BoundError(
            f"{chosen.size} ranks were given for a collective among {collective.ranks}", "name each rank once"
        )
    wrong = chosen[(chosen < 0) | (chosen >= fabric.ranks)]
    if len(wrong):
        known = f"ranks run from 0 to {fabric.ranks - 1}"
        raise BoundError(f"rank {int(wrong[0])} is not in {fabric.name}", known)
    if len(np.unique(chosen)) < len(chosen):
        raise BoundError("a rank is named twice in the group", "name each rank once")
    return Group(fabric, chosen)
