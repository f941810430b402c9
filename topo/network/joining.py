"""Programs side by side: as one that starts together, or as several that share links under one folding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from topo.errors import NetworkError
from topo.fabric import FloatArray, IntArray
from topo.network.fold import quotient
from topo.network.program import Program
from topo.network.refine import Partition, refine


def joined(parts: Sequence[Program], capacity: FloatArray | None = None) -> Program:
    """Programs side by side as one; they start together when it is started.

    Parameters
    ----------
    parts : sequence of Program
        All of the same links.
    capacity : float array [links], optional
        Bytes/s of the links; that of the first program by default.
    """
    if len(parts) == 1:
        return parts[0]
    rows = np.cumsum([0] + [p.rows for p in parts])
    gates = np.cumsum([0] + [p.gates for p in parts])

    def pointers(name: str) -> IntArray:
        lengths = np.concatenate([np.diff(getattr(p, name)) for p in parts])
        return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)

    def values(name: str) -> np.ndarray:
        return np.concatenate([getattr(p, name) for p in parts])

    return Program(
        bytes=values("bytes"),
        repeat=values("repeat"),
        latency=values("latency"),
        step=values("step"),
        count=values("count"),
        route_pointer=pointers("route_pointer"),
        route_link=values("route_link"),
        route_weight=values("route_weight"),
        capacity=parts[0].capacity if capacity is None else capacity,
        member_pointer=pointers("member_pointer"),
        member_row=np.concatenate([p.member_row + r for p, r in zip(parts, rows, strict=False)]),
        gate_on_arrival=values("gate_on_arrival"),
        gate_repeat=values("gate_repeat"),
        wait_pointer=pointers("wait_pointer"),
        wait_gate=np.concatenate([p.wait_gate + g for p, g in zip(parts, gates, strict=False)]),
        wait_lag=values("wait_lag"),
    )


@dataclass(frozen=True, eq=False)
class CommonFolding:
    """Programs folded so that they may run on one Network in any company and at any time.

    Parameters
    ----------
    programs : tuple of Program
        One for each program given, all of the same link classes.
    capacity : float array [classes]
        Bytes/s of a link of each class, for :meth:`topo.network.Network.of_links`.
    class_of_link : int array [original links]
        Class of each link; -1 for links that no program uses.
    link : int array [classes]
        The first link of each class.
    link_count : int array [classes]
        Links in each class.
    row_class : tuple of int arrays
        Row of the folded program for each row of each program given.
    """

    programs: tuple[Program, ...]
    capacity: FloatArray
    class_of_link: IntArray
    link: IntArray
    link_count: IntArray
    row_class: tuple[IntArray, ...]


def common_folding(programs: Sequence[Program], *, apart: Sequence[int] | IntArray = ()) -> CommonFolding:
    """Fold several programs of the same links with one partition of the links.

    The partition is equitable for every program by itself, and so for any of them together, whenever each starts:
    on a Network of the link classes (``Network.of_links(env, folding.capacity)``) they share links and finish
    exactly as the whole programs would on the Network of the fabric.  A program may be started many times.  What
    always starts together (a collective of many groups) is best given as one program (:func:`joined`): then its
    parts can share classes too.

    Parameters
    ----------
    programs : sequence of Program
        Unfolded, on the same links (:func:`topo.network.compile_program` of one fabric).
    apart : sequence of int, optional
        Links whose capacity may change later (a cable that fails during the run): each is a class of its own, and
        ``network.set_capacity(folding.class_of_link[link], ...)`` is exact.

    Returns
    -------
    CommonFolding
        Never larger than the programs given; without any symmetry each row and link stands for itself.

    Raises
    ------
    NetworkError
        There are no programs, or they speak of different links.
    """
    if not programs:
        raise NetworkError("no programs to fold", "give one at least")
    capacity = programs[0].capacity
    if any(not np.array_equal(p.capacity, capacity) for p in programs):
        raise NetworkError("the programs speak of different links", "compile them all for one fabric")
    marks = np.zeros(len(capacity), dtype=np.int64)
    marks[np.asarray(apart, dtype=np.int64)] = 1 + np.arange(len(apart))
    rows = np.cumsum([0] + [p.rows for p in programs])
    gates = np.cumsum([0] + [p.gates for p in programs])
    whole = joined(programs)
    number = np.repeat(np.arange(len(programs)), np.diff(rows))
    found = refine(whole, rows_apart=number, links_apart=marks) or _trivial(whole)
    small = quotient(whole, found)
    # Classes are numbered by their first members, so those of each program stand together.
    row_ends = np.searchsorted(found.row_first, rows)
    gate_ends = np.searchsorted(found.gate_first, gates)
    parts = tuple(
        _part(small, (int(row_ends[i]), int(row_ends[i + 1])), (int(gate_ends[i]), int(gate_ends[i + 1])))
        for i in range(len(programs))
    )
    return CommonFolding(
        parts,
        small.capacity,
        found.link,
        found.link_first,
        np.bincount(found.link[found.link >= 0], minlength=len(found.link_first)),
        tuple(found.row[rows[i] : rows[i + 1]] - row_ends[i] for i in range(len(programs))),
    )


def _trivial(program: Program) -> Partition:
    """Every row, used link and gate for itself."""
    links = np.unique(program.route_link)
    of_link = np.full(len(program.capacity), -1, dtype=np.int64)
    of_link[links] = np.arange(len(links))
    rows, gates = np.arange(program.rows), np.arange(program.gates)
    return Partition(rows, of_link, gates, rows, links, gates)


def _part(program: Program, rows: tuple[int, int], gates: tuple[int, int]) -> Program:
    """The rows and gates of one part of joined programs."""

    def cut(pointer: IntArray, bounds: tuple[int, int]) -> tuple[IntArray, slice]:
        low, high = bounds
        return pointer[low : high + 1] - pointer[low], slice(int(pointer[low]), int(pointer[high]))

    of_row, of_gate = slice(*rows), slice(*gates)
    route_pointer, route = cut(program.route_pointer, rows)
    member_pointer, member = cut(program.member_pointer, gates)
    wait_pointer, wait = cut(program.wait_pointer, rows)
    return Program(
        bytes=program.bytes[of_row],
        repeat=program.repeat[of_row],
        latency=program.latency[of_row],
        step=program.step[of_row],
        count=program.count[of_row],
        route_pointer=route_pointer,
        route_link=program.route_link[route],
        route_weight=program.route_weight[route],
        capacity=program.capacity,
        member_pointer=member_pointer,
        member_row=program.member_row[member] - rows[0],
        gate_on_arrival=program.gate_on_arrival[of_gate],
        gate_repeat=program.gate_repeat[of_gate],
        wait_pointer=wait_pointer,
        wait_gate=program.wait_gate[wait] - gates[0],
        wait_lag=program.wait_lag[wait],
    )
