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
def few(values: Any, known: Any, label: Any) -> int:
    """Number values by first appearance where there are few; -1 where there are more than ``known`` has room for."""
    count = 0
    last = 0
    for k in range(len(values)):
        if count == 0 or known[last] != values[k]:
            last = 0
            while last < count and known[last] != values[k]:
                last += 1
            if last == len(known):
                return -1
            if last == count:
                known[count] = values[k]
                count += 1
        label[k] = last
    return count


@jit
def spread_to(pointer: Any, other: Any, label: Any, hashed: Any, own: Any, into: Any) -> None:
    """Add to every neighbour what it sees of the rows: sums of hashes of (colour, hashed label)."""
    for i in range(len(pointer) - 1):
        last = -1
        value = np.uint64(0)
        for k in range(pointer[i], pointer[i + 1]):
            if label[k] != last:
                last = label[k]
                value = mix(own[i] + hashed[last])
            into[other[k]] += value


@jit
def gather_from(pointer: Any, other: Any, label: Any, hashed: Any, neighbour: Any, into: Any) -> None:
    """Add to every row what it sees of its neighbours."""
    for i in range(len(pointer) - 1):
        total = np.uint64(0)
        for k in range(pointer[i], pointer[i + 1]):
            total += mix(neighbour[other[k]] + hashed[label[k]])
        into[i] += total


@jit
def gather_mixed(pointer: Any, other: Any, label: Any, labels: int, mixed: Any, into: Any) -> None:
    """The same, with the hashes of all pairs of neighbour and label at hand."""
    for i in range(len(pointer) - 1):
        total = np.uint64(0)
        for k in range(pointer[i], pointer[i + 1]):
            total += mixed[other[k] * labels + label[k]]
        into[i] += total


@jit
def alike_packed(
    pointer: Any, other: Any, label: Any, labels: int, own: Any, first: Any, neighbour: Any, packed: Any
) -> bool:
    """As :func:`alike`, for at most eight (class, label) pairs and rows of at most 255: a byte counts each pair.

    Classes are numbered by their first members, which therefore come before the others.
    """
    for i in range(len(pointer) - 1):
        seen = np.uint64(0)
        for k in range(pointer[i], pointer[i + 1]):
            seen += np.uint64(1) << np.uint64(8 * (neighbour[other[k]] * labels + label[k]))
        head = first[own[i]]
        if head == i:
            packed[own[i]] = seen
        elif packed[own[i]] != seen:
            return False
    return True


@jit
def alike_counted(
    pointer: Any, other: Any, label: Any, labels: int, own: Any, neighbour: Any, first: Any, counts: Any
) -> bool:
    """Whether all neighbours of a class are seen by as many rows of each class, with each label.

    ``own`` are the classes of the rows, ``neighbour`` those of what they see; ``counts`` is zero for each neighbour
    and pair of row class and label.
    """
    for i in range(len(pointer) - 1):
        start = own[i] * labels
        for k in range(pointer[i], pointer[i + 1]):
            counts[other[k], start + label[k]] += 1
    for j in range(len(counts)):
        head = first[neighbour[j]]
        if head != j:
            for pair in range(counts.shape[1]):
                if counts[j, pair] != counts[head, pair]:
                    return False
    return True


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
    mine, mine_label = np.empty(longest, np.int64), np.empty(longest, np.int32)
    known = np.empty(len(other), np.int64)
    known_label = np.empty(len(other), np.int32)
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
