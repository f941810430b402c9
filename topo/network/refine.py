"""Colour refinement of programs: which rows, links and gates behave alike.

Rows, links and gates are coloured by what they are; then, round after round, by the colours around them, until
nothing splits any more.  Colours are 64-bit hashes; the final partition is checked entry by entry, so a collision
cannot pass.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from topo.fabric import FloatArray, IntArray
from topo.hashing import Colours, mix
from topo.network.program import Program, pointer_from

MAX_ROUNDS = 200
COMPILED, COMPILED_ANYWAY = 1_000, 1_000_000
"""Entries of the routes beyond which compiled code refines: where numba is loaded already, and where not."""


FEW_LABELS = 64
"""Different labels of a relation up to which they are numbered by looking them up one by one."""
FEW_PAIRS = 100_000
"""Pairs of link and label up to which their hashes are made beforehand."""
MOST_COUNTED = 4_000_000
"""Counts of rows by link, class and label up to which links are compared by counting."""


@dataclass(frozen=True, eq=False)
class Partition:
    """Classes of the rows, links and gates of a program; numbered by their first members.

    Parameters
    ----------
    row, gate : int arrays [rows], [gates]
        Class of each.
    link : int array [links]
        Class of each link; -1 for links that carry nothing.
    row_first, link_first, gate_first : int arrays [classes]
        The first member of each class.
    """

    row: IntArray
    link: IntArray
    gate: IntArray
    row_first: IntArray
    link_first: IntArray
    gate_first: IntArray


@dataclass(frozen=True, eq=False)
class _Incidence:
    """One relation seen from one side: a compressed table of (neighbour, label)."""

    pointer: IntArray
    other: IntArray
    label: Colours

    def signature(self, colour: Colours) -> Colours:
        with np.errstate(over="ignore"):
            return _sums(mix(colour[self.other] + mix(self.label)), self.pointer)

    def same_within(self, own: IntArray, other: IntArray, first: IntArray) -> bool:
        """Whether all members of every class see the same (class, label) pairs as the class's first member."""
        rows = len(self.pointer) - 1
        counts = np.diff(self.pointer)
        if (counts != counts[first[own]]).any():
            return False
        row = np.repeat(np.arange(rows), counts)
        order = np.lexsort((self.label, other[self.other], row))
        classes, labels = other[self.other][order], self.label[order]
        within = np.arange(len(row)) - self.pointer[row]
        reference = self.pointer[first[own]][row] + within
        return bool((classes == classes[reference]).all() and (labels == labels[reference]).all())

    def turned(self, rows: int) -> _Incidence:
        row = np.repeat(np.arange(len(self.pointer) - 1), np.diff(self.pointer))
        order = np.argsort(self.other, kind="stable")
        return _Incidence(
            pointer_from(np.bincount(self.other, minlength=rows)), row[order], self.label[order]
        )


def refine(
    program: Program,
    *,
    rows_apart: IntArray | None = None,
    links_apart: IntArray | None = None,
    most: float = np.inf,
) -> Partition | None:
    """The coarsest equitable partition of a program that refinement finds, or None.

    Parameters
    ----------
    program : Program
    rows_apart : int array [rows], optional
        Rows with different numbers never share a class (rows that do not start together, for one).
    links_apart : int array [links], optional
        The same for links (those that may change later, for one).
    most : float
        Give up beyond so many classes of rows.

    Returns
    -------
    Partition or None
        None when there would be more than ``most`` classes, or when the partition did not settle.
    """
    used = np.zeros(len(program.capacity), dtype=bool)
    used[program.route_link] = True
    links = np.flatnonzero(used)
    number = np.cumsum(used) - 1
    crossed = program.route_link if len(links) == len(used) else number[program.route_link]
    relations = _Relations(
        (program.route_pointer, crossed, program.route_weight),
        (program.wait_pointer, program.wait_gate, program.wait_lag),
        (program.member_pointer, program.member_row, np.zeros(len(program.member_row), dtype=np.int64)),
    )
    marks: tuple[tuple[IntArray, ...], ...] = (
        () if rows_apart is None else (rows_apart,),
        () if links_apart is None else (links_apart[links],),
    )
    starts: Starts = (
        (program.bytes, program.repeat, _rounded(program.latency), program.step, *marks[0]),
        (program.capacity[links], *marks[1]),
        (program.gate_on_arrival, program.gate_repeat),
    )
    compiled = len(program.route_link) > (COMPILED if "numba" in sys.modules else COMPILED_ANYWAY)
    found = (_by_kernel if compiled else _by_arrays)(relations, starts, len(links), most)
    if found is None:
        return None
    (row_label, row_first), (link_label, link_first), (gate_label, gate_first) = found
    link_class = np.full(len(program.capacity), -1, dtype=np.int64)
    link_class[links] = link_label
    return Partition(row_label, link_class, gate_label, row_first, links[link_first], gate_first)


Table = tuple[IntArray, IntArray, npt.NDArray[np.generic]]
"""A relation seen from one side: pointer, neighbour, label; labels that are floats count as equal when nearly so."""
Columns = tuple[npt.NDArray[np.generic], ...]
Starts = tuple[Columns, Columns, Columns]
"""What rows, links and gates are by themselves."""
Classes = tuple[IntArray, IntArray]
"""The class of each, and the first of each class."""


@dataclass(frozen=True, eq=False)
class _Relations:
    """Links and gates of rows, and rows of gates."""

    route: Table
    wait: Table
    member: Table


def _by_arrays(
    relations: _Relations, starts: Starts, links: int, most: float
) -> tuple[Classes, Classes, Classes] | None:
    """Refinement in array code."""
    route, wait, member = (
        _Incidence(pointer, other, _bits(label))
        for pointer, other, label in (relations.route, relations.wait, relations.member)
    )
    load = route.turned(links)
    row_start, link_start, gate_start = (_labels(*columns) for columns in starts)
    rows, link_colours, gates = (mix(x.astype(np.uint64)) for x in (row_start, link_start, gate_start))
    labels = (row_start, link_start, gate_start)
    classes = (0, 0, 0)
    for _ in range(MAX_ROUNDS):
        with np.errstate(over="ignore"):
            link_new = mix(link_colours + load.signature(rows))
            gate_new = mix(gates + member.signature(rows))
            rows = mix(rows + route.signature(link_new) + mix(wait.signature(gate_new)))
        link_colours, gates = link_new, gate_new
        row_label, link_label, gate_label = labels = (
            np.unique(rows, return_inverse=True)[1],
            np.unique(link_colours, return_inverse=True)[1],
            np.unique(gates, return_inverse=True)[1],
        )
        found = tuple(int(x.max(initial=-1)) + 1 for x in labels)
        if found[0] > most:
            return None
        if found == classes:
            break
        classes = (found[0], found[1], found[2])
    else:
        return None
    row_classes, link_classes, gate_classes = map(_by_first_member, (row_label, link_label, gate_label))
    (row_label, row_first), (link_label, link_first), (gate_label, gate_first) = (
        row_classes,
        link_classes,
        gate_classes,
    )
    equitable = (
        _constant(row_start, row_label, row_first)
        and _constant(link_start, link_label, link_first)
        and _constant(gate_start, gate_label, gate_first)
        and route.same_within(row_label, link_label, row_first)
        and load.same_within(link_label, row_label, link_first)
        and wait.same_within(row_label, gate_label, row_first)
        and member.same_within(gate_label, row_label, gate_first)
    )
    return (row_classes, link_classes, gate_classes) if equitable else None


def _by_kernel(
    relations: _Relations, starts: Starts, links: int, most: float
) -> tuple[Classes, Classes, Classes] | None:
    """The same in compiled code."""
    from topo.network import refine_kernel as kernel

    starts = (_varying(starts[0]), _varying(starts[1]), _varying(starts[2]))
    route, wait, member = (_labelled(table) for table in (relations.route, relations.wait, relations.member))
    sizes = (len(route.pointer) - 1, links, len(member.pointer) - 1)
    rows, of_links, gates = colours = [
        _hashed(columns, size) for columns, size in zip(starts, sizes, strict=True)
    ]
    sums = [np.zeros(size, dtype=np.uint64) for size in sizes]
    waiting = np.zeros(sizes[0], dtype=np.uint64)
    labels = [np.zeros(size, dtype=np.int64) for size in sizes]
    firsts = [np.zeros(size, dtype=np.int64) for size in sizes]
    tables = [np.zeros(2 << size.bit_length(), dtype=np.int64) for size in sizes]
    classes: list[int] = []
    for _ in range(MAX_ROUNDS):
        kernel.spread_to(*route.seen, rows, sums[1])
        kernel.settle(of_links, sums[1])
        if sizes[2]:
            kernel.gather_from(*member.seen, rows, sums[2])
            kernel.settle(gates, sums[2])
            waiting[:] = 0
            kernel.gather_from(*wait.seen, gates, waiting)
            with np.errstate(over="ignore"):
                sums[0] += mix(waiting)
        if len(of_links) * len(route.hashed) <= FEW_PAIRS:
            with np.errstate(over="ignore"):
                mixed = mix(of_links[:, None] + route.hashed).ravel()
            kernel.gather_mixed(route.pointer, route.other, route.label, len(route.hashed), mixed, sums[0])
        else:
            kernel.gather_from(*route.seen, of_links, sums[0])
        kernel.settle(rows, sums[0])
        before = classes
        classes = [kernel.number(*each) for each in zip(colours, tables, labels, firsts, strict=True)]
        if classes[0] > most:
            return None
        found = [(label, first[:count]) for label, first, count in zip(labels, firsts, classes, strict=True)]
        # What passes the proof needs no round more, and what stays as it was passes or never will.
        if _equitable((route, wait, member), starts, found):
            return found[0], found[1], found[2]
        if classes == before:
            return None
    return None


@dataclass(frozen=True, eq=False)
class _Labelled:
    """A relation with its labels numbered, and a hash of each label."""

    pointer: IntArray
    other: IntArray
    label: npt.NDArray[np.int32]
    hashed: Colours

    @property
    def seen(self) -> tuple[IntArray, IntArray, npt.NDArray[np.int32], Colours]:
        """What the compiled code needs."""
        return self.pointer, self.other, self.label, self.hashed


def _labelled(table: Table) -> _Labelled:
    from topo.network import refine_kernel as kernel

    pointer, other, values = table
    bits = values.view(np.uint64)
    label, known = np.empty(len(bits), dtype=np.int32), np.empty(FEW_LABELS, dtype=np.uint64)
    count = kernel.few(bits, known, label)
    if count < 0:
        all_labels, first = np.empty(len(bits), dtype=np.int64), np.empty(len(bits), dtype=np.int64)
        # Places of the table are drawn from the lowest bits, which floats have in common.
        colours = mix(_bits(values))
        slots = np.empty(2 << len(bits).bit_length(), dtype=np.int64)
        count = kernel.number(colours, slots, all_labels, first)
        return _Labelled(pointer, other, all_labels.astype(np.int32), colours[first[:count]])
    if values.dtype == np.float64:
        rounded, back = np.unique(_bits(known[:count].view(np.float64)), return_inverse=True)
        if len(rounded) < count:
            label, count = back.astype(np.int32)[label], len(rounded)
            return _Labelled(pointer, other, label, mix(rounded))
    return _Labelled(pointer, other, label, mix(known[:count]))


def _equitable(relations: Sequence[_Labelled], starts: Starts, found: Sequence[Classes]) -> bool:
    """Whether the members of each class are alike by themselves and see the same of all other classes."""
    from topo.network import refine_kernel as kernel

    route, wait, member = relations
    (row, row_first), (link, link_first), (gate, gate_first) = found
    if not all(
        _constant(column, label, first)
        for columns, (label, first) in zip(starts, found, strict=True)
        for column in columns
    ):
        return False
    labels = len(route.hashed)
    table = (route.pointer, route.other, route.label)
    longest = int(np.diff(route.pointer).max(initial=0))
    if len(link_first) * labels <= 8 and longest <= 255:
        packed = np.zeros(len(row_first), dtype=np.uint64)
        rows_alike = kernel.alike_packed(*table, labels, row, row_first, link, packed)
    else:
        rows_alike = kernel.alike(*table, row, row_first, link)
    if not rows_alike:
        return False
    pairs = len(row_first) * labels
    if len(link) * pairs <= MOST_COUNTED:
        counts = np.zeros((len(link), pairs), dtype=np.int32)
        links_alike = kernel.alike_counted(*table, labels, row, link, link_first, counts)
    else:
        turned = (
            np.zeros(len(link) + 1, dtype=np.int64),
            np.empty_like(route.other),
            np.empty_like(route.label),
        )
        kernel.turned(*table, *turned)
        links_alike = kernel.alike(*turned, link, link_first, row)
    return bool(
        links_alike
        and (not len(wait.other) or kernel.alike(wait.pointer, wait.other, wait.label, row, row_first, gate))
        and kernel.alike(member.pointer, member.other, member.label, gate, gate_first, row)
    )


def _varying(columns: Columns) -> Columns:
    """The columns that are not the same throughout."""
    return tuple(column for column in columns if len(column) and (column != column[0]).any())


def _hashed(columns: Columns, size: int) -> Colours:
    """One colour for equal entries of all columns."""
    colour = np.zeros(size, dtype=np.uint64)
    for column in columns:
        bits = column.view(np.uint64) if column.dtype == np.float64 else column.astype(np.uint64)
        with np.errstate(over="ignore"):
            colour = mix(colour + bits)
    return colour


def _bits(values: npt.NDArray[np.generic]) -> Colours:
    """Labels as colours; floats to about twelve digits."""
    return _rounded(values.view(np.float64)) if values.dtype == np.float64 else values.astype(np.uint64)


def _rounded(values: FloatArray) -> Colours:
    """Bits of values to about twelve digits: what adds up in another order is still the same."""
    return np.asarray((values.view(np.uint64) + np.uint64(1 << 11)) >> np.uint64(12), dtype=np.uint64)


def _labels(*columns: npt.NDArray[np.generic]) -> IntArray:
    """Number rows of several columns by equality."""
    label = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        if not len(column) or (column == column[0]).all():
            continue
        _, code = np.unique(column, return_inverse=True)
        _, label = np.unique(label * (int(code.max(initial=0)) + 1) + code, return_inverse=True)
    return label


def _sums(values: Colours, pointer: IntArray) -> Colours:
    """Sums over the rows of a compressed table, modulo 2^64."""
    total = np.zeros(len(values) + 1, dtype=np.uint64)
    with np.errstate(over="ignore"):
        np.cumsum(values, out=total[1:])
        return np.asarray(total[pointer[1:]] - total[pointer[:-1]], dtype=np.uint64)


def _by_first_member(label: IntArray) -> tuple[IntArray, IntArray]:
    """The same classes numbered in the order of their first members, and those members."""
    _, first, inverse = np.unique(label, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return place[inverse], first[order]


def _constant(values: npt.NDArray[np.generic], label: IntArray, first: IntArray) -> bool:
    return bool((values == values[first[label]]).all())
