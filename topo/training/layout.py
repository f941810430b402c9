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
from topo.training.group_program import Sized, compiled_groups, turned
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
        self.members = placement.members(axis)
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
        self._batches: dict[tuple[int, Move], IntArray | None] = {}

    @cached_property
    def recipe(self) -> Recipe:
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
                    or all(self.batches(kind, move, image[1]) is not None for kind in range(len(self.chosen)))
                )
            )
        return self._follows[move]

    def batches(self, kind: int, move: Move, turn: IntArray) -> IntArray | None:
        """Where a move takes the batches of a schedule."""
        if (kind, move) not in self._batches:
            self._batches[kind, move] = turned(self.chosen[kind].schedule, turn)
        return self._batches[kind, move]

    def _images(self, kind: int, moves: Sequence[Move], turns: Sequence[IntArray]) -> IntArray | None:
        """How many batches each batch of a group stands for, the first of each orbit for all of it."""
        maps = [self.batches(kind, move, turn) for move, turn in zip(moves, turns, strict=True)]
        label = np.arange(len(self.chosen[kind].schedule.batches))
        before = None
        while before is None or (before != label).any():
            before = label
            for goal in maps:
                if goal is not None:
                    label = smallest(label, goal, len(label))
        if (label == np.arange(len(label))).all():
            return None
        return np.bincount(label, minlength=len(label))

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
        own = [
            (move, image[1])
            for move, image in zip(moves, images, strict=True)
            if image is not None and (image[0] == np.arange(len(image[0]))).all()
        ]
        turns = [turn for _, turn in own]
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
                of_batches = None if self.shift else self._images(kind, [move for move, _ in own], turns)
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
                        of_batches,
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
    class_of_orbit : int array [orbits]
        -1 for links that none of them uses.
    orbits : Orbits
        Of the links of the fabric.
    moves : tuple of Move
        The symmetry that was used.
    """

    capacity: FloatArray
    class_of_orbit: IntArray
    orbits: Orbits
    moves: tuple[Move, ...]

    def on_links(self, of_class: FloatArray) -> FloatArray:
        """What each link of the fabric has, from what a link of each class has [links]; 0 where none has."""
        of_orbit = np.where(self.class_of_orbit >= 0, of_class[self.class_of_orbit], 0.0)
        return np.asarray(of_orbit[self.orbits.of_link], dtype=np.float64)


Key = tuple[Operation, int]
Recipe = tuple[object, ...]
"""What was chosen for an operation, its bytes left out."""


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


class Compiler:
    """Compiles operations on one placement, and remembers what it compiled.

    Parameters
    ----------
    placement : Placement
    choose : callable
        ``choose(fabric, ranks, operation)`` gives a group its schedule.
    """

    def __init__(self, placement: Placement, choose: Choose) -> None:
        self.placement, self.choose = placement, choose
        self.symmetry = Symmetry(placement)
        self.seconds: dict[Key, float] = {}
        self._groups: dict[str, Groups] = {}
        self._layouts: dict[Operation, Layout] = {}
        self._raw: dict[Recipe, tuple[tuple[Move, ...], dict[int, Sized]]] = {}
        self._folded: dict[tuple[Recipe, ...], _Folded] = {}

    def groups(self, axis: str) -> Groups:
        """The groups of an axis."""
        if axis not in self._groups:
            self._groups[axis] = Groups(self.placement, axis)
        return self._groups[axis]

    def layout(self, operation: Operation) -> Layout:
        """The layout of an operation."""
        if operation not in self._layouts:
            self._layouts[operation] = Layout(self.groups(operation.axis), operation, self.choose)
        return self._layouts[operation]

    def lay_out(self, operations: Sequence[Operation]) -> Compilation:
        """Compile operations that may run at the same time.

        Of operations that differ in their bytes alone, one is compiled.
        """
        layouts = {op: self.layout(op) for op in dict.fromkeys(operations)}
        leaders: dict[Recipe, Layout] = {}
        for layout in layouts.values():
            leaders.setdefault(layout.recipe, layout)
        sets = [[recipe] for recipe in leaders]
        if len(sets) > 1:
            used = {}
            for recipe, layout in leaders.items():
                moves, sized = self._alone(layout)
                used[recipe] = _used(sized.values(), self.symmetry.orbits(moves))
            sets = _meeting(list(leaders), used)
        islands: list[Island] = []
        island: dict[Operation, int] = {}
        programs: dict[Key, Program] = {}
        for number, members in enumerate(sets):
            folded = self._fold([leaders[recipe] for recipe in members])
            islands.append(folded.island)
            for op, layout in layouts.items():
                if layout.recipe in members:
                    island[op] = number
                    for stage in layout.stages():
                        programs[op, stage] = _resized(*folded.parts[layout.recipe, stage], op)
        return Compilation(tuple(islands), island, programs, layouts)

    def _alone(self, layout: Layout) -> tuple[tuple[Move, ...], dict[int, Sized]]:
        """The moves that one operation follows, and its programs on their orbits."""
        if layout.recipe not in self._raw:
            moves = self.symmetry.moves(partial(_follow, self.symmetry, (layout,)))
            self._raw[layout.recipe] = moves, layout.programs(self.symmetry, moves)
        return self._raw[layout.recipe]

    def _fold(self, layouts: Sequence[Layout]) -> _Folded:
        """Fold operations together that may meet on links."""
        key = tuple(layout.recipe for layout in layouts)
        if key not in self._folded:
            moves, _ = self._alone(layouts[0])
            if len(layouts) > 1:
                moves = self.symmetry.moves(partial(_follow, self.symmetry, tuple(layouts)))
            sized: dict[tuple[Recipe, int], Sized] = {}
            for layout in layouts:
                own, mine = self._alone(layout)
                mine = mine if own == moves else layout.programs(self.symmetry, moves)
                sized |= {(layout.recipe, stage): part for stage, part in mine.items()}
            folding = common_folding([part.program for part in sized.values()])
            parts = zip(folding.programs, folding.row_class, sized.values(), strict=True)
            island = Island(folding.capacity, folding.class_of_link, self.symmetry.orbits(moves), moves)
            self._folded[key] = _Folded(island, dict(zip(sized, parts, strict=True)))
        return self._folded[key]


@dataclass(frozen=True, eq=False)
class _Folded:
    """An island and, by recipe and stage, the folded program, the class of every row, and the rows' bytes."""

    island: Island
    parts: dict[tuple[Recipe, int], tuple[Program, IntArray, Sized]]


MOST_COMPILERS = 24
"""Placements of a fabric that are remembered."""
MOST_LONE = 64
"""The same of the groups of single axes."""


def compiler_of(placement: Placement, choose: Choose, library: str) -> Compiler:
    """The compiler of a placement; remembered with the fabric."""
    known: dict[tuple[object, ...], Compiler] = placement.fabric.cache.setdefault("compilers", {})
    key = (library, placement.rank.shape, placement.rank.tobytes(), placement.ep, placement.shard)
    found = known.pop(key, None) or Compiler(placement, choose)
    while len(known) >= MOST_COMPILERS:
        known.pop(next(iter(known)))
    known[key] = found
    return found


def lone_compiler(compiler: Compiler, axis: str, library: str) -> Compiler:
    """Of what the groups of one axis do with nothing else running: that of the first placement where they lie so."""
    groups = compiler.groups(axis)
    known: dict[tuple[object, ...], Compiler] = groups.fabric.cache.setdefault("lone compilers", {})
    key = (library, axis, groups.members.shape, groups.members.tobytes(), groups.stage.tobytes())
    found = known.pop(key, None) or compiler
    while len(known) >= MOST_LONE:
        known.pop(next(iter(known)))
    known[key] = found
    return found


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


def _meeting(recipes: list[Recipe], used: dict[Recipe, BoolArray]) -> list[list[Recipe]]:
    """Sets of operations joined by shared links."""
    sets: list[tuple[list[Recipe], BoolArray]] = []
    for recipe in recipes:
        mine, links = [recipe], used[recipe]
        apart = []
        for others, theirs in sets:
            if (theirs & links).any():
                mine, links = others + mine, theirs | links
            else:
                apart.append((others, theirs))
        sets = [*apart, (mine, links)]
    return [members for members, _ in sets]
