"""Colour refinement in compiled code, for large programs; same rule and same classes as the array code."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

jit = nb.njit(cache=True, nogil=True)

_A = np.uint64(0x9E3779B97F4A7C15)
_B = np.uint64(0xBF58476D1CE4E5B9)
_C = np.uint64(0x94D049BB133111EB)
_30, _27, _31 = np.uint64(30), np.uint64(27), np.uint64(31)


@jit
def mix(value: Any) -> Any:
    """As :func:`topo.hashing.mix`."""
    z = value + _A
    z = (z ^ (z >> _30)) * _B
    z = (z ^ (z >> _27)) * _C
    return z ^ (z >> _31)


@jit
def number(colours: Any, table: Any, label: Any, first: Any) -> int:
    """Number colours by first appearance; the answer is how many there are, their first places in ``first``.

    ``table`` has a power of two of places, more than twice as many as there are colours.
    """
    size = len(table)
    for i in range(size):
        table[i] = -1
    classes = 0
    wrap = np.uint64(size - 1)
    for i in range(len(colours)):
        at = np.int64(colours[i] & wrap)
        while table[at] >= 0 and colours[first[table[at]]] != colours[i]:
            at = (at + 1) % size
        if table[at] < 0:
            table[at] = classes
            first[classes] = i
            classes += 1
        label[i] = table[at]
    return classes


@jit
def spread_to(pointer: Any, other: Any, label: Any, own: Any, into: Any) -> None:
    """Add to every neighbour what it sees of the rows: sums of hashes of (colour, hashed label)."""
    for i in range(len(pointer) - 1):
        for k in range(pointer[i], pointer[i + 1]):
            into[other[k]] += mix(own[i] + label[k])


@jit
def gather_from(pointer: Any, other: Any, label: Any, neighbour: Any, into: Any) -> None:
    """Add to every row what it sees of its neighbours."""
    for i in range(len(pointer) - 1):
        total = np.uint64(0)
        for k in range(pointer[i], pointer[i + 1]):
            total += mix(neighbour[other[k]] + label[k])
        into[i] += total


@jit
def settle(colours: Any, sums: Any) -> None:
    """New colours from old ones and sums; the sums are set back to zero."""
    for i in range(len(colours)):
        colours[i] = mix(colours[i] + sums[i])
        sums[i] = 0


@jit
def turned(pointer: Any, other: Any, label: Any, out_pointer: Any, out_other: Any, out_label: Any) -> None:
    """The same relation seen from the other side."""
    for k in range(len(other)):
        out_pointer[other[k] + 1] += 1
    for i in range(len(out_pointer) - 1):
        out_pointer[i + 1] += out_pointer[i]
    fill = out_pointer[:-1].copy()
    for i in range(len(pointer) - 1):
        for k in range(pointer[i], pointer[i + 1]):
            at = fill[other[k]]
            out_other[at] = i
            out_label[at] = label[k]
            fill[other[k]] += 1


@jit
def alike(pointer: Any, other: Any, label: Any, own: Any, first: Any, neighbour: Any) -> bool:
    """Whether all members of every class see the same (class, label) pairs as the class's first member."""
    longest = 0
    for i in range(len(pointer) - 1):
        longest = max(longest, pointer[i + 1] - pointer[i])
    mine, mine_label = np.empty(longest, np.int64), np.empty(longest, np.uint64)
    known = np.empty(len(other), np.int64)
    known_label = np.empty(len(other), np.uint64)
    done = np.zeros(len(first), np.bool_)
    for i in range(len(pointer) - 1):
        head = first[own[i]]
        count = pointer[i + 1] - pointer[i]
        if count != pointer[head + 1] - pointer[head]:
            return False
        for k in range(count):
            mine[k] = neighbour[other[pointer[i] + k]]
            mine_label[k] = label[pointer[i] + k]
        if count <= 48:
            for k in range(1, count):
                a, b = mine[k], mine_label[k]
                j = k - 1
                while j >= 0 and (mine[j] > a or (mine[j] == a and mine_label[j] > b)):
                    mine[j + 1], mine_label[j + 1] = mine[j], mine_label[j]
                    j -= 1
                mine[j + 1], mine_label[j + 1] = a, b
        else:
            by_label = np.argsort(mine_label[:count], kind="mergesort")
            order = by_label[np.argsort(mine[:count][by_label], kind="mergesort")]
            a_sorted, b_sorted = mine[:count][order], mine_label[:count][order]
            mine[:count], mine_label[:count] = a_sorted, b_sorted
        start = pointer[head]
        if not done[own[i]]:
            done[own[i]] = True
            for k in range(count):
                known[start + k], known_label[start + k] = mine[k], mine_label[k]
        else:
            for k in range(count):
                if known[start + k] != mine[k] or known_label[start + k] != mine_label[k]:
                    return False
    return True
