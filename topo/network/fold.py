"""Exact folding of a program by colour refinement.

Rows, links and gates are coloured by what they are; then, round after round, by the colours around them, until
nothing splits any more.  Max-min rates are constant on the classes of such an equitable partition, whole classes
start, drain and arrive together, and so the run of the quotient is the run of the whole (the argument: induction
over the filling rounds; links of a class saturate together because they carry equally many unfrozen flows of
every class).  No automorphism is needed.

Colours are 64-bit hashes; the final partition is checked entry by entry, so a collision cannot pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from topo.fabric import IntArray
from topo.network.program import Program, pointer_from

Colours = npt.NDArray[np.uint64]
WORTH_IT = 2.0
"""Rows per class below which the folded program is not worth the trouble."""
MAX_ROUNDS = 200


@dataclass(frozen=True, eq=False)
class Folded:
    """A folded program and what its links and rows stand for.

    Parameters
    ----------
    program : Program
    link : int array [links of the program]
        A link of the original for each.
    link_count : int array [links of the program]
        How many links of the original each stands for.
    row_class : int array [original rows]
        Row of the program for each original row; empty when the original was never spelled out.
    class_of_link : int array [original links]
        Link of the program for each original link, -1 for links that carry nothing.
    representative : int array [rows of the program]
        An original row of each; before spelling out, rows are the transfers of the batches one after the other.
    """

    program: Program
    link: IntArray
    link_count: IntArray
    row_class: IntArray
    class_of_link: IntArray
    representative: IntArray


def _mix(values: Colours) -> Colours:
    """The finaliser of splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators")."""
    with np.errstate(over="ignore"):
        z = values + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(z ^ (z >> np.uint64(31)), dtype=np.uint64)


def _labels(*columns: npt.NDArray[np.generic]) -> IntArray:
    """Number rows of several columns by equality."""
    label = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        _, code = np.unique(column, return_inverse=True)
        _, label = np.unique(label * (int(code.max(initial=0)) + 1) + code, return_inverse=True)
    return label


def _sums(values: Colours, pointer: IntArray) -> Colours:
    """Sums over the rows of a compressed table, modulo 2^64."""
    total = np.zeros(len(values) + 1, dtype=np.uint64)
    with np.errstate(over="ignore"):
        np.cumsum(values, out=total[1:])
        return np.asarray(total[pointer[1:]] - total[pointer[:-1]], dtype=np.uint64)


@dataclass(frozen=True, eq=False)
class _Incidence:
    """One relation seen from one side: a compressed table of (neighbour, label)."""

    pointer: IntArray
    other: IntArray
    label: IntArray

    def signature(self, colour: Colours, salt: int) -> Colours:
        with np.errstate(over="ignore"):
            return _sums(
                _mix(colour[self.other] + _mix(self.label.astype(np.uint64) + np.uint64(salt))), self.pointer
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


def fold(program: Program) -> Folded | None:
    """Fold a program, or return None when that would not pay.

    Parameters
    ----------
    program : Program
        Folded or not.

    Returns
    -------
    Folded or None
        None when fewer than :data:`WORTH_IT` rows would share a class on average.
    """
    used = np.zeros(len(program.capacity), dtype=bool)
    used[program.route_link] = True
    links = np.flatnonzero(used)
    number = np.cumsum(used) - 1
    route = _Incidence(program.route_pointer, number[program.route_link], _labels(program.route_weight))
    load = route.turned(len(links))
    wait = _Incidence(program.wait_pointer, program.wait_gate, _labels(program.wait_lag))
    member = _Incidence(
        program.member_pointer, program.member_row, np.zeros(len(program.member_row), dtype=np.int64)
    )
    row_start = _labels(program.bytes, program.repeat, program.latency, program.step)
    link_start = _labels(program.capacity[links])
    gate_start = _labels(program.gate_on_arrival, program.gate_repeat)
    rows, link_colours, gates = (_mix(x.astype(np.uint64)) for x in (row_start, link_start, gate_start))
    row_label, link_label, gate_label = row_start, link_start, gate_start
    classes = (0, 0, 0)
    for _ in range(MAX_ROUNDS):
        with np.errstate(over="ignore"):
            link_new = _mix(link_colours + load.signature(rows, 1))
            gate_new = _mix(gates + member.signature(rows, 2))
            rows = _mix(rows + route.signature(link_new, 3) + _mix(wait.signature(gate_new, 4)))
        link_colours, gates = link_new, gate_new
        row_label, link_label, gate_label = (
            np.unique(colour, return_inverse=True)[1] for colour in (rows, link_colours, gates)
        )
        found = tuple(int(x.max(initial=-1)) + 1 for x in (row_label, link_label, gate_label))
        if found[0] * WORTH_IT > program.rows:
            return None
        if found == classes:
            break
        classes = (found[0], found[1], found[2])
    else:
        return None
    firsts = [np.unique(x, return_index=True)[1] for x in (row_label, link_label, gate_label)]
    row_first, link_first, gate_first = firsts
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
    quotient = _quotient(program, row_label, link_class, gate_label, row_first, links[link_first], gate_first)
    return Folded(quotient, links[link_first], np.bincount(link_label), row_label, link_class, row_first)


def unfolded(program: Program) -> Folded:
    """A program as it is, every row and link standing for itself."""
    links = np.arange(len(program.capacity))
    rows = np.arange(program.rows)
    return Folded(program, links, np.ones_like(links), rows, links, rows)


def _constant(values: IntArray, label: IntArray, first: IntArray) -> bool:
    return bool((values == values[first[label]]).all())


def _quotient(
    program: Program,
    row_label: IntArray,
    link_class: IntArray,
    gate_label: IntArray,
    row_first: IntArray,
    link_first: IntArray,
    gate_first: IntArray,
) -> Program:
    classes, link_classes = len(row_first), len(link_first)
    row = np.repeat(np.arange(program.rows), np.diff(program.route_pointer))
    key = row_label[row] * link_classes + link_class[program.route_link]
    keys, place = np.unique(key, return_inverse=True)
    # Weight of a class of rows on one link of a class: all their weight there over the number of links.
    size = np.bincount(link_class[link_class >= 0], minlength=link_classes)
    weight = np.bincount(place, program.route_weight) / size[keys % link_classes]
    members, at = _rows_of(program.member_pointer, program.member_row, gate_first)
    pairs = np.unique(at * classes + row_label[members])
    gates, owner = _rows_of(program.wait_pointer, np.arange(len(program.wait_gate)), row_first)
    triples = np.unique(
        np.stack([owner, gate_label[program.wait_gate[gates]], program.wait_lag[gates]]), axis=1
    )
    return Program(
        bytes=program.bytes[row_first],
        repeat=program.repeat[row_first],
        latency=program.latency[row_first],
        step=program.step[row_first],
        count=np.bincount(row_label, program.count, classes).astype(np.int64),
        route_pointer=pointer_from(np.bincount(keys // link_classes, minlength=classes)),
        route_link=keys % link_classes,
        route_weight=weight,
        capacity=program.capacity[link_first],
        member_pointer=pointer_from(np.bincount(pairs // classes, minlength=len(gate_first))),
        member_row=pairs % classes,
        gate_on_arrival=program.gate_on_arrival[gate_first],
        gate_repeat=program.gate_repeat[gate_first],
        wait_pointer=pointer_from(np.bincount(triples[0], minlength=classes)),
        wait_gate=triples[1],
        wait_lag=triples[2],
    )


def _rows_of(pointer: IntArray, values: IntArray, rows: IntArray) -> tuple[IntArray, IntArray]:
    """Entries of some rows of a compressed table, with the place of the row in ``rows``."""
    counts = pointer[rows + 1] - pointer[rows]
    starts = np.cumsum(counts) - counts
    entries = np.repeat(pointer[rows] - starts, counts) + np.arange(int(counts.sum()))
    return values[entries], np.repeat(np.arange(len(rows)), counts)
