"""The calendar of the packet engine: a wheel of short ticks, each sorted when its time comes, and a heap behind it.

Plain loops over records, for numba.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba as nb
import numpy as np

Compiled = TypeVar("Compiled", bound=Callable[..., Any])
NEVER = np.int64(1) << 62
GOLDEN = 0.6180339887498949
WAKE, DEPART, ARRIVE = -1, -2, -3
FINISHED, STUCK, POOL_FULL = 0, 1, 2
# Places in the array of whole numbers that the kernel keeps.
TICK, AT, LENGTH, IN_WHEEL, FREE, HEAP, EVENTS, HOPS, DIRTY, UNFINISHED, SHIFT, FULL, NOW = range(13)
NUMBERS = 13

# Counting references to the arrays at every call would take most of the time; nothing here keeps or makes one.
_WITHOUT_COUNTING: dict[str, Any] = {"_nrt": False}


def jit(function: Compiled) -> Compiled:
    """Compile with numba."""
    compiled: Compiled = nb.njit(cache=True, error_model="numpy", nogil=True, **_WITHOUT_COUNTING)(function)
    return compiled


@jit
def new_item(free: Any, numbers: Any) -> int:
    """Take an item from the pool; item 0 is a dummy for when there is none."""
    if numbers[FREE] == 0:
        numbers[FULL] = 1
        return 0
    numbers[FREE] -= 1
    return int(free[numbers[FREE]])


@jit
def give_back(p: int, free: Any, numbers: Any) -> None:
    """Put an item back into the pool."""
    free[numbers[FREE]] = p
    numbers[FREE] += 1


@jit
def push(p: int, time: int, pool: Any, wheel: Any, current: Any, heap: Any, numbers: Any) -> None:
    """Set an item down for a moment: in this tick's sorted list, on the wheel, or in the heap of far events."""
    pool[p].time = time
    tick = time >> numbers[SHIFT]
    if tick <= numbers[TICK]:
        i = numbers[LENGTH]
        while i > numbers[AT] and pool[current[i - 1]].time > time:
            current[i] = current[i - 1]
            i -= 1
        current[i] = p
        numbers[LENGTH] += 1
    elif tick - numbers[TICK] < len(wheel):
        b = tick & (len(wheel) - 1)
        pool[p].next = -1
        if wheel[b].head < 0:
            wheel[b].head = p
        else:
            pool[wheel[b].tail].next = p
        wheel[b].tail = p
        numbers[IN_WHEEL] += 1
    else:
        i = numbers[HEAP]
        numbers[HEAP] += 1
        while i > 0 and pool[heap[(i - 1) // 2]].time > time:
            heap[i] = heap[(i - 1) // 2]
            i = (i - 1) // 2
        heap[i] = p


@jit
def pop_far(pool: Any, heap: Any, numbers: Any) -> int:
    """Remove the first of the far events."""
    first = heap[0]
    numbers[HEAP] -= 1
    n = numbers[HEAP]
    moved = heap[n]
    i = 0
    while 2 * i + 1 < n:
        child = 2 * i + 1
        if child + 1 < n and pool[heap[child + 1]].time < pool[heap[child]].time:
            child += 1
        if pool[heap[child]].time >= pool[moved].time:
            break
        heap[i] = heap[child]
        i = child
    heap[i] = moved
    return int(first)


@jit
def sort_by_time(n: int, pool: Any, current: Any) -> None:
    """Sort the items of a tick (Shell sort); those of one moment keep their order."""
    for i in range(n):
        pool[current[i]].next = i
    gap = 1
    while 3 * gap + 1 < n:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(gap, n):
            p = current[i]
            j = i
            while j >= gap:
                q = current[j - gap]
                if pool[q].time < pool[p].time or (
                    pool[q].time == pool[p].time and pool[q].next < pool[p].next
                ):
                    break
                current[j] = q
                j -= gap
            current[j] = p
        gap //= 3


@jit
def next_tick(pool: Any, wheel: Any, current: Any, heap: Any, numbers: Any) -> bool:
    """Move on to the next tick with events and sort them by time; whether there was one."""
    numbers[AT] = 0
    numbers[LENGTH] = 0
    if numbers[IN_WHEEL] == 0 and numbers[HEAP] == 0:
        return False
    far = pool[heap[0]].time >> numbers[SHIFT] if numbers[HEAP] > 0 else NEVER
    tick = numbers[TICK] + 1
    if numbers[IN_WHEEL] == 0:
        tick = far
    else:
        while tick < far and wheel[tick & (len(wheel) - 1)].head < 0:
            tick += 1
    numbers[TICK] = tick
    n = 0
    b = tick & (len(wheel) - 1)
    p = wheel[b].head
    wheel[b].head = -1
    ordered = True
    while p >= 0:
        current[n] = p
        if n > 0 and pool[p].time < pool[current[n - 1]].time:
            ordered = False
        n += 1
        p = pool[p].next
    numbers[IN_WHEEL] -= n
    while numbers[HEAP] > 0 and pool[heap[0]].time >> numbers[SHIFT] == tick:
        current[n] = pop_far(pool, heap, numbers)
        if n > 0 and pool[current[n]].time < pool[current[n - 1]].time:
            ordered = False
        n += 1
    if not ordered:
        sort_by_time(n, pool, current)
    numbers[LENGTH] = n
    return True
