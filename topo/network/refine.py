"""Colour refinement of programs: which rows, links and gates behave alike.

Rows, links and gates are coloured by what they are; then, round after round, by the colours around them, until
nothing splits any more.  Colours are 64-bit hashes; the final partition is checked entry by entry, so a collision
cannot pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from topo.fabric import FloatArray, IntArray
from topo.hashing import Colours, mix
from topo.network.program import Program, pointer_from

MAX_ROUNDS = 200
DIGITS = 2.0**40
"""Shares of routes and latencies that agree to one part in so many are the same; they differ by rounding only."""


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
    label: IntArray

    def signature(self, colour: Colours, salt: int) -> Colours:
        with np.errstate(over="ignore"):
            return _sums(
                mix(colour[self.other] + mix(self.label.astype(np.uint64) + np.uint64(salt))), self.pointer
            )

    def same_within(self, own: IntArray, other: IntArray, first: IntArray) -> bool:
        """Whether all members of every class see the same (class, label) pairs as the class's first member."""
        rows = len(self.pointer) - 1
        counts = np.diff(self.pointer)
        if (counts != counts[first[own]]).any():
            return False
        row = np.repeat(np.arange(rows), counts)
        order = np.lexsort((self.label, other[self.other], row))
        seen = np.stack([other[self.other][order], self.label[order]])
        within = np.arange(len(row)) - self.pointer[row]
        reference = self.pointer[first[own]][row] + within
        return bool((seen == seen[:, reference]).all())

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
    route = _Incidence(
        program.route_pointer, number[program.route_link], _labels(_rounded(program.route_weight))
    )
    load = route.turned(len(links))
    wait = _Incidence(program.wait_pointer, program.wait_gate, _labels(program.wait_lag))
    member = _Incidence(
        program.member_pointer, program.member_row, np.zeros(len(program.member_row), dtype=np.int64)
    )
    row_marks = () if rows_apart is None else (rows_apart,)
    row_start = _labels(program.bytes, program.repeat, _rounded(program.latency), program.step, *row_marks)
    link_marks = () if links_apart is None else (links_apart[links],)
    link_start = _labels(program.capacity[links], *link_marks)
    gate_start = _labels(program.gate_on_arrival, program.gate_repeat)
    rows, link_colours, gates = (mix(x.astype(np.uint64)) for x in (row_start, link_start, gate_start))
    row_label, link_label, gate_label = row_start, link_start, gate_start
    classes = (0, 0, 0)
    for _ in range(MAX_ROUNDS):
        with np.errstate(over="ignore"):
            link_new = mix(link_colours + load.signature(rows, 1))
            gate_new = mix(gates + member.signature(rows, 2))
            rows = mix(rows + route.signature(link_new, 3) + mix(wait.signature(gate_new, 4)))
        link_colours, gates = link_new, gate_new
        row_label, link_label, gate_label = (
            np.unique(colour, return_inverse=True)[1] for colour in (rows, link_colours, gates)
        )
        found = tuple(int(x.max(initial=-1)) + 1 for x in (row_label, link_label, gate_label))
        if found[0] > most:
            return None
        if found == classes:
            break
        classes = (found[0], found[1], found[2])
    else:
        return None
    (row_label, row_first), (link_label, link_first), (gate_label, gate_first) = map(
        _by_first_member, (row_label, link_label, gate_label)
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
    if not equitable:
        return None
    link_class = np.full(len(program.capacity), -1, dtype=np.int64)
    link_class[links] = link_label
    return Partition(row_label, link_class, gate_label, row_first, links[link_first], gate_first)


def _rounded(values: FloatArray) -> FloatArray:
    """Values to about twelve digits: shares and latencies that add up in another order are still the same."""
    mantissa, exponent = np.frexp(values)
    return np.asarray(np.ldexp(np.round(mantissa * DIGITS), exponent))


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


def _constant(values: IntArray, label: IntArray, first: IntArray) -> bool:
    return bool((values == values[first[label]]).all())
