"""Phases among many groups of equal size at once: the building blocks of hierarchical algorithms.

In each group a reduce-scatter leaves member p with share p of the group's data, an all-gather starts from there.
Kinds: rings; ``direct`` (each to each); ``halving`` (groups of two, four, eight ...); ``bruck``, distances 1, 2, 4 ...
in groups of any size: ceil(log2 n) a + (n-1)/n S/B either way; ``nvls`` in a switch.  Sources: see
:mod:`topo.algorithms.bruck` and :mod:`topo.algorithms.doubling`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from topo.algorithms.butterfly import Butterfly
from topo.algorithms.double_tree import first_tree, second_tree
from topo.algorithms.exchange import Round, add_rounds, time_reversed
from topo.algorithms.ring import Rings
from topo.errors import AlgorithmError
from topo.fabric import Grid, IntArray
from topo.schedule import ScheduleBuilder, Table, rows_of

ChunksOf = Callable[[IntArray, IntArray], IntArray]
"""From (group, share) pairs to their chunks, one row per pair."""


FEW_HALVED = 64
"""Members up to which groups of two, four, eight ... halve with fixed partners."""


def doubling_kind(size: int) -> str:
    """The kind that takes a logarithmic number of rounds in groups of some size.

    Both send as much; Bruck's looks the same from every rank, and so costs next to nothing to simulate.
    """
    return "bruck" if size & (size - 1) or size > FEW_HALVED else "halving"


@dataclass(frozen=True, eq=False)
class Groups:
    """Disjoint groups of ranks: the rows or the columns of a matrix.

    Parameters
    ----------
    members : int array [rows, columns]
        Ranks.
    axis : int
        1: every row is a group; 0: every column is.
    chunks : callable
        The chunks of a share of a group's data.
    shifts : (Grid, int array [dimensions]), optional
        Coordinates by which all ranks look alike, and the shift from a member of a group to the next; by default
        those of the matrix, when it is in rank order.
    """

    members: IntArray
    axis: int
    chunks: ChunksOf
    shifts: tuple[Grid, IntArray] | None = None

    @property
    def size(self) -> int:
        """Ranks of a group."""
        return int(self.members.shape[self.axis])

    @property
    def count(self) -> int:
        """Number of groups."""
        return int(self.members.shape[1 - self.axis])

    @property
    def rank(self) -> IntArray:
        """All ranks, row after row."""
        return self.members.ravel()

    def of_members(self) -> tuple[IntArray, IntArray]:
        """Group and place in it of each of :attr:`rank`."""
        row, column = np.divmod(np.arange(self.members.size), self.members.shape[1])
        return (row, column) if self.axis == 1 else (column, row)

    def at(self, group: IntArray, place: IntArray) -> IntArray:
        """Ranks at places of groups."""
        found: IntArray = self.members[group, place] if self.axis == 1 else self.members[place, group]
        return found

    def scatter(
        self, kind: str, builder: ScheduleBuilder, share: float, after: Sequence[int] = ()
    ) -> tuple[int, ...]:
        """Reduce-scatter in every group; ``share`` is the bytes of one share."""
        if kind == "ring":
            return (self._rings().reduce_scatter(builder, share, self._shares(), after),)
        if kind == "direct":
            return self._direct(builder, share, after, adding=True)
        if kind == "nvls":
            return self._in_switch(builder, share, after, "reduce")
        if kind == "bruck":
            return self._doubling(builder, share, after, adding=True)
        return add_rounds(builder, self._halving(), share, reduce=True, after=after)

    def gather(
        self, kind: str, builder: ScheduleBuilder, share: float, after: Sequence[int] = ()
    ) -> tuple[int, ...]:
        """All-gather in every group."""
        if kind == "ring":
            return (self._rings().all_gather(builder, share, self._shares(), after),)
        if kind == "direct":
            return self._direct(builder, share, after, adding=False)
        if kind == "nvls":
            return self._in_switch(builder, share, after, "multicast")
        if kind == "bruck":
            return self._doubling(builder, share, after, adding=False)
        return add_rounds(builder, time_reversed(self._halving()), share, after=after)

    def reduce_all(
        self, kind: str, builder: ScheduleBuilder, share: float, after: Sequence[int] = ()
    ) -> tuple[int, ...]:
        """All-reduce in every group, ``share`` the bytes of one of ``size`` shares."""
        if kind == "tree":
            return self._trees(builder, share * self.size, after)
        if kind == "sharp":
            return self._streams(builder, share * self.size, after)
        return self.gather(kind, builder, share, self.scatter(kind, builder, share, after))

    def _shifts(self) -> tuple[Grid | None, IntArray | None]:
        """Coordinates by which all ranks look alike and the shift to the next of a group, where there are any."""
        if self.shifts is not None:
            return self.shifts
        if (self.rank != np.arange(self.members.size)).any():
            return None, None
        step = np.asarray([self.axis == 0, self.axis == 1], dtype=np.int64)
        return Grid(self.members.shape, (True, True)), step

    def _shares(self) -> Callable[[IntArray], Table]:
        group, _ = self.of_members()
        return lambda shares: rows_of(self.chunks(group, shares))

    def _rings(self) -> Rings:
        group, place = self.of_members()
        onward = self.at(group, (place + 1) % self.size)
        return Rings(self.rank, onward, place, self.size, *self._shifts())

    def _direct(
        self, builder: ScheduleBuilder, share: float, after: Sequence[int], *, adding: bool
    ) -> tuple[int, ...]:
        """Every member sends to every other of its group, shift by shift."""

        def ends() -> tuple[IntArray, IntArray, IntArray]:
            group, place = self.of_members()
            shift = np.repeat(np.arange(1, self.size), len(group))
            group, place = np.tile(group, self.size - 1), np.tile(place, self.size - 1)
            return group, place, (place + shift) % self.size

        def pieces(repeat: int) -> Table:
            group, place, other = ends()
            return rows_of(self.chunks(group, other if adding else place))

        grid, step = self._shifts()
        if grid is None or step is None:
            group, place, other = ends()
            pairs = self.at(group, place), self.at(group, other)
            return (builder.add(*pairs, share, pieces, reduce=adding, after=after),)
        shifts = np.arange(1, self.size)[:, None] * step
        return (builder.add_shifts(grid, shifts, share, pieces, reduce=adding, after=after),)

    def _doubling(
        self, builder: ScheduleBuilder, share: float, after: Sequence[int], *, adding: bool
    ) -> tuple[int, ...]:
        """Bruck's all-gather, or its time reversal.

        At distance d = 1, 2, 4 .. member p sends its own and the next min(d, n - d) - 1 shares to member p - d;
        adding, at .. 4, 2, 1, what belongs to member p + d and those next to it to that one.
        """
        grid, step = self._shifts()
        before = tuple(after)
        distances = [1 << bit for bit in range((self.size - 1).bit_length())]
        group, place = self.of_members()
        for distance in reversed(distances) if adding else distances:
            ahead = distance if adding else -distance
            count = min(distance, self.size - distance)
            first = place + distance if adding else place
            pieces = partial(self._run_of_shares, group, first, count)
            size = count * share
            if grid is None or step is None:
                target = self.at(group, (place + ahead) % self.size)
                number = builder.add(self.rank, target, size, pieces, reduce=adding, after=before)
            else:
                number = builder.add_shifts(
                    grid, ahead * step[None], size, pieces, reduce=adding, after=before
                )
            before = (number,)
        return before

    def _run_of_shares(self, group: IntArray, first: IntArray, count: int, repeat: int) -> Table:
        """Chunks of so many shares from one on, per row."""
        return self._sets(group, (first[:, None] + np.arange(count)) % self.size)

    def _halving(self) -> list[Round]:
        """Rounds of a reduce-scatter by recursive halving."""
        if self.size & (self.size - 1):
            raise AlgorithmError(
                f"halving needs groups of two, four, eight ... ranks, not {self.size}", "take ring"
            )
        bits = reversed(range(self.size.bit_length() - 1))
        wings = Butterfly(tuple(np.arange(self.size) ^ (1 << bit) for bit in bits), np.arange(self.size))
        group, place = self.of_members()
        rounds: list[Round] = []
        for s, peer in enumerate(wings.peers):
            goal = wings.reach(s + 1)[peer]
            chunks = partial(self._sets, group, goal[place])
            rounds.append(Round(self.rank, self.at(group, peer[place]), float(goal.shape[1]), chunks))
        return rounds

    def _sets(self, group: IntArray, shares: IntArray) -> Table:
        """Chunks of several shares per row."""
        rows, width = shares.shape
        return rows_of(self.chunks(np.repeat(group, width), shares.ravel()).reshape(rows, -1))

    def _in_switch(
        self, builder: ScheduleBuilder, share: float, after: Sequence[int], form: str
    ) -> tuple[int, ...]:
        """Every member pulls or spreads its share through the switch of its group."""
        group, place = self.of_members()
        everyone = self.at(np.repeat(group, self.size), np.tile(np.arange(self.size), len(group)))
        fan = np.arange(len(group) + 1) * self.size, everyone

        def pieces(repeat: int) -> Table:
            return rows_of(self.chunks(group, place))

        number = builder.add(
            self.rank, self.rank, share, pieces, reduce=form == "reduce", form=form, fan=fan, after=after
        )
        return (number,)

    def _whole(self, group: IntArray) -> IntArray:
        """All chunks of each group's data [groups, chunks], share after share."""
        every = np.tile(np.arange(self.size), len(group))
        return self.chunks(np.repeat(group, self.size), every).reshape(len(group), -1)

    def _streams(self, builder: ScheduleBuilder, whole: float, after: Sequence[int]) -> tuple[int, ...]:
        """One stream per group up a tree of switches and down again."""
        group = np.arange(self.count)
        everyone = self.at(np.repeat(group, self.size), np.tile(np.arange(self.size), self.count))
        fan = np.arange(self.count + 1) * self.size, everyone
        head = self.at(group, np.zeros_like(group))
        return (
            builder.add(
                head,
                head,
                whole,
                lambda repeat: rows_of(self._whole(group)),
                reduce=True,
                form="all-reduce",
                fan=fan,
                after=after,
            ),
        )

    def _trees(self, builder: ScheduleBuilder, whole: float, after: Sequence[int]) -> tuple[int, ...]:
        """A double binary tree in each group; every second chunk of a share belongs to the second tree."""
        last: list[int] = []
        for half, tree in enumerate((first_tree(self.size), second_tree(self.size))):
            levels = tree.levels()
            before = tuple(after)
            for up, level in [*((True, x) for x in reversed(levels)), *((False, x) for x in levels)]:
                group = np.repeat(np.arange(self.count), len(level))
                child = self.at(group, np.tile(level, self.count))
                parent = self.at(group, np.tile(tree.parent[level], self.count))
                source, target = (child, parent) if up else (parent, child)
                number = builder.add(
                    source, target, whole / 2, self._half(group, half), reduce=up, after=(*before, *after)
                )
                before = (number,)
                last.append(number)
        return tuple(last)

    def _half(self, group: IntArray, half: int) -> Callable[[int], Table]:
        return lambda repeat: rows_of(self._whole(group)[:, half::2])
