"""Operations laid out on a placement: one small exact program for each operation and stage.

All groups of an operation go by the schedules chosen for them.  Symmetric groups get symmetric schedules, so one
group of each orbit is compiled, its rows carrying the weight of all its images on the orbits of the links
(:mod:`topo.training.symmetry`).  What operations may meet on a link is then folded together by colour refinement
(:func:`topo.network.common_folding`), so that the programs may run in any company and at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from topo.errors import InternalError, NetworkError
from topo.fabric import BoolArray, FloatArray, IntArray
from topo.network.joining import common_folding, joined
from topo.network.program import Program
from topo.training.choice import Choose, Chosen, kinds_of_groups, shift_schedule
from topo.training.group_program import Sized, compiled_groups, invariant
from topo.training.operation import Operation
from topo.training.placement import Placement
from topo.training.symmetry import Move, Symmetry, smallest
from topo.translation import Orbits

ALL = -1
"""In place of a stage: what is not one stage's alone."""


class Groups:
    """The groups of one axis, as the fabric sees them.

    Parameters
    ----------
    placement : Placement
    axis : str
    """

    def __init__(self, placement: Placement, axis: str) -> None:
        self.members = placement.groups(axis)
        self.size = int(self.members.shape[1])
        self.stage = placement.stage_of_groups(axis)
        self.fabric = placement.fabric
        self._images: dict[Move, tuple[IntArray, IntArray] | None] = {}

    @cached_property
    def kind(self) -> IntArray:
        """A number for each group; equal where groups lie alike."""
        return kinds_of_groups(self.fabric, self.members)

    @cached_property
    def _where(self) -> tuple[IntArray, IntArray]:
        """Group and place of every rank of the fabric."""
        ranks = self.fabric.ranks
        group, place = np.empty(ranks, dtype=np.int64), np.empty(ranks, dtype=np.int64)
        group[self.members] = np.arange(len(self.members))[:, None]
        place[self.members] = np.arange(self.size)
        return group, place

    def image(self, move: Move, ranks: IntArray) -> tuple[IntArray, IntArray] | None:
        """Where a move of ranks takes the groups, and the places within them; None unless groups go to groups."""
        if move not in self._images:
            group, place = self._where
            moved = ranks[self.members]
            onto, at = group[moved], place[moved]
            follows = not ((onto != onto[:, :1]).any() or (at != at[0]).any())
            self._images[move] = (onto[:, 0], at[0]) if follows else None
        return self._images[move]


class Layout:
    """One operation on a placement: its groups and their schedules.

    Parameters
    ----------
    groups : Groups
        Of the operation's axis.
    operation : Operation
    choose : callable
        ``choose(fabric, ranks, operation)`` gives a group its schedule.
    """

    def __init__(self, groups: Groups, operation: Operation, choose: Choose) -> None:
        self.groups, self.operation = groups, operation
        self.members, self.stage, self.size = groups.members, groups.stage, groups.size
        if self.size < 2:
            raise NetworkError(
                f"{operation.operation} along {operation.axis} has groups of one rank", "leave it out"
            )
        self.shift = operation.operation == "send-recv"
        self.by_stage = operation.axis == "pp" and self.shift
        self.kind = np.zeros(len(self.members), dtype=np.int64) if self.shift else groups.kind
        self.chosen: tuple[Chosen, ...] = tuple(
            choose(groups.fabric, self.members[int(np.argmax(self.kind == kind))], operation)
            for kind in range(int(self.kind.max()) + 1)
        )
        self._follows: dict[Move, bool] = {}

    @property
    def recipe(self) -> tuple[object, ...]:
        """What was chosen; programs of the same recipe differ in nothing but their bytes."""
        op = self.operation
        return (op.axis, op.operation, op.direction, op.skew, *(chosen.recipe for chosen in self.chosen))

    def follows(self, move: Move, ranks: IntArray) -> bool:
        """Whether groups and schedules follow a move."""
        if move not in self._follows:
            image = self.groups.image(move, ranks)
            self._follows[move] = image is not None and (
                bool((self.kind[image[0]] == self.kind).all())
                and (
                    bool((image[1] == np.arange(self.size)).all())
                    or all(invariant(chosen.schedule, image[1]) for chosen in self.chosen)
                )
            )
        return self._follows[move]

    def overhead(self, stage: int) -> float:
        """Seconds before the first transfer."""
        here = self.kind if stage == ALL or self.by_stage else self.kind[self.stage == stage]
        return max(self.chosen[int(kind)].overhead_s for kind in np.unique(here))

    def stages(self) -> tuple[int, ...]:
        """The stages that do this by themselves; (:data:`ALL`,) where it crosses stages."""
        if self.operation.axis == "pp" and not self.shift:
            return (ALL,)
        found = int(self.stage.max()) + 1 if self.operation.axis != "pp" else self.size
        return tuple(range(found))

    # -------------------------------------------------------------------------------------- compiling

    def programs(self, symmetry: Symmetry, moves: Sequence[Move]) -> dict[int, Sized]:
        """The program of each stage, on orbits of links, one group of each orbit spelled out."""
        orbits = symmetry.orbits(moves)
        label = np.arange(len(self.members))
        images = [self.groups.image(move, symmetry.ranks(move)) for move in moves]
        maps = [image for image in images if image is not None]
        turns = [turn for goal, turn in maps if (goal == np.arange(len(goal))).all()]
        before = None
        while before is None or (before != label).any():
            before = label
            for goal, _ in maps:
                label = smallest(label, goal, len(label))
        leader, count = np.unique(label, return_counts=True)
        found: dict[int, Sized] = {}
        for stage in self.stages():
            mine = leader >= 0 if stage == ALL or self.by_stage else self.stage[leader] == stage
            parts = []
            for kind in np.unique(self.kind[leader[mine]]).tolist():
                of_kind = mine & (self.kind[leader] == kind)
                chosen = self.chosen[kind]
                if self.by_stage:
                    chosen = replace(chosen, schedule=shift_schedule(self.size, self.operation, stage))
                parts.append(
                    compiled_groups(
                        chosen,
                        self.operation.bytes,
                        self.groups.fabric,
                        self.members[leader[of_kind]],
                        count[of_kind],
                        orbits,
                        [] if self.by_stage else turns,
                    )
                )
            found[stage] = Sized(
                joined([part.program for part in parts]),
                np.concatenate([part.slope for part in parts]),
                np.concatenate([part.extra for part in parts]),
            )
        return found


# --------------------------------------------------------------------------------------------- all of them


@dataclass(frozen=True, eq=False)
class Island:
    """Operations that may meet on links, with one partition of those links.

    Parameters
    ----------
    capacity : float array [classes]
        Bytes/s of a link of each class.
    class_of_link : int array [links of the fabric]
        -1 for links that none of them uses.
    moves : tuple of Move
        The symmetry that was used.
    """

    capacity: FloatArray
    class_of_link: IntArray
    moves: tuple[Move, ...]


Key = tuple[Operation, int]


@dataclass(frozen=True, eq=False)
class Compilation:
    """Programs of all operations and stages.

    Parameters
    ----------
    islands : tuple of Island
    island : dict
        By operation: its island.
    programs : dict
        By operation and stage: the folded program, on the link classes of its island.
    layouts : dict
        By operation.
    """

    islands: tuple[Island, ...]
    island: dict[Operation, int]
    programs: dict[Key, Program]
    layouts: dict[Operation, Layout]


def lay_out(
    symmetry: Symmetry, operations: Sequence[Operation], choose: Choose, *, together: bool = True
) -> Compilation:
    """Compile operations on a placement.

    Parameters
    ----------
    symmetry : Symmetry
        Of the placement.
    operations : sequence of Operation
        All that may ever run at the same time.
    choose : callable
        Gives a group its schedule.
    together : bool
        Whether operations may meet; otherwise each is folded alone.
    """
    axes = {op.axis for op in operations}
    groups = {axis: Groups(symmetry.placement, axis) for axis in axes}
    layouts = {op: Layout(groups[op.axis], op, choose) for op in dict.fromkeys(operations)}
    # Of operations that differ in their bytes alone, one is compiled.
    first: dict[tuple[object, ...], Operation] = {}
    alike = {op: first.setdefault(layout.recipe, op) for op, layout in layouts.items()}
    leaders = list(first.values())
    alone = {op: symmetry.moves(partial(_follow, symmetry, (layouts[op],))) for op in leaders}
    raw = {op: layouts[op].programs(symmetry, alone[op]) for op in leaders}
    sets = [[op] for op in leaders]
    if together:
        used = {op: _used(raw[op].values(), symmetry.orbits(alone[op])) for op in leaders}
        sets = _meeting(leaders, used)
    islands: list[Island] = []
    island: dict[Operation, int] = {}
    programs: dict[Key, Program] = {}
    for number, members in enumerate(sets):
        moves = alone[members[0]]
        if len(members) > 1:
            moves = symmetry.moves(partial(_follow, symmetry, tuple(layouts[op] for op in members)))
        sized: dict[Key, Sized] = {}
        for op in members:
            mine = raw[op] if moves == alone[op] else layouts[op].programs(symmetry, moves)
            sized |= {(op, stage): part for stage, part in mine.items()}
        folding = common_folding([part.program for part in sized.values()])
        folded = dict(zip(sized, zip(folding.programs, folding.row_class, strict=True), strict=True))
        for op in (op for op in layouts if alike[op] in members):
            island[op] = number
            for stage in layouts[op].stages():
                leader = alike[op], stage
                programs[op, stage] = _resized(*folded[leader], sized[leader], op)
        of_link = folding.class_of_link[symmetry.orbits(moves).of_link]
        islands.append(Island(folding.capacity, of_link, moves))
    return Compilation(tuple(islands), island, programs, layouts)


def _resized(program: Program, row_class: IntArray, sized: Sized, operation: Operation) -> Program:
    """The folded program with the bytes of another operation of the same recipe."""
    size = sized.bytes(operation.bytes)
    _, first = np.unique(row_class, return_index=True)
    folded = size[first]
    if not np.allclose(folded[row_class], size, rtol=1e-12, atol=0.0):
        raise InternalError(f"{operation.operation} of {operation.bytes} bytes does not fold like its equals")
    return replace(program, bytes=folded)


def _follow(symmetry: Symmetry, layouts: Sequence[Layout], move: Move) -> bool:
    ranks = symmetry.ranks(move)
    return all(layout.follows(move, ranks) for layout in layouts)


def _used(programs: Iterable[Sized], orbits: Orbits) -> BoolArray:
    orbit = np.zeros(len(orbits.size), dtype=bool)
    for part in programs:
        orbit[part.program.route_link] = True
    return np.asarray(orbit[orbits.of_link], dtype=bool)


def _meeting(operations: list[Operation], used: dict[Operation, BoolArray]) -> list[list[Operation]]:
    """Sets of operations joined by shared links."""
    sets: list[tuple[list[Operation], BoolArray]] = []
    for op in operations:
        mine, links = [op], used[op]
        apart = []
        for others, theirs in sets:
            if (theirs & links).any():
                mine, links = others + mine, theirs | links
            else:
                apart.append((others, theirs))
        sets = [*apart, (mine, links)]
    return [members for members, _ in sets]
