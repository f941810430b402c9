"""Exact folding of a program by colour refinement.

Rows, links and gates that behave alike fall into classes (:mod:`topo.network.refine`).  Max-min rates are constant
on the classes of such an equitable partition, whole classes start, drain and arrive together, and so the run of
the quotient is the run of the whole (the argument: induction over the filling rounds; links of a class saturate
together because they carry equally many unfrozen flows of every class).  No automorphism is needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from topo.fabric import IntArray
from topo.network.program import Program, pointer_from
from topo.network.refine import Partition, refine

WORTH_IT = 2.0
"""Rows per class below which the folded program is not worth the trouble."""


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
    found = refine(program, most=program.rows / WORTH_IT)
    if found is None:
        return None
    count = np.bincount(found.link[found.link >= 0])
    return Folded(quotient(program, found), found.link_first, count, found.row, found.link, found.row_first)


def unfolded(program: Program) -> Folded:
    """A program as it is, every row and link standing for itself."""
    links = np.arange(len(program.capacity))
    rows = np.arange(program.rows)
    return Folded(program, links, np.ones_like(links), rows, links, rows)


def quotient(program: Program, by: Partition) -> Program:
    """The program of classes: one row, link and gate for each class of an equitable partition."""
    row_first, link_first, gate_first = by.row_first, by.link_first, by.gate_first
    classes, link_classes = len(row_first), len(link_first)
    # Weight of a class of rows on a link of a class: that of its first member, times members, over links.
    entries, row = _rows_of(program.route_pointer, np.arange(len(program.route_link)), row_first)
    keys, place = np.unique(row * link_classes + by.link[program.route_link[entries]], return_inverse=True)
    links_in = np.bincount(by.link[by.link >= 0], minlength=link_classes)
    rows_in = np.bincount(by.row, minlength=classes)
    weight = np.bincount(place, program.route_weight[entries], len(keys))
    weight = weight * rows_in[keys // max(link_classes, 1)] / links_in[keys % max(link_classes, 1)]
    members, at = _rows_of(program.member_pointer, program.member_row, gate_first)
    pairs = np.unique(at * classes + by.row[members])
    gates, owner = _rows_of(program.wait_pointer, np.arange(len(program.wait_gate)), row_first)
    triples = np.unique(np.stack([owner, by.gate[program.wait_gate[gates]], program.wait_lag[gates]]), axis=1)
    return Program(
        bytes=program.bytes[row_first],
        repeat=program.repeat[row_first],
        latency=program.latency[row_first],
        step=program.step[row_first],
        count=np.bincount(by.row, program.count, classes).astype(np.int64),
        route_pointer=pointer_from(np.bincount(keys // max(link_classes, 1), minlength=classes)),
        route_link=keys % max(link_classes, 1),
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
