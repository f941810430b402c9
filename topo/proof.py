"""The proof of a Schedule: contribution masks and the order of reads and writes.

Masks: for every rank and chunk the set of ranks whose contribution it holds.  A reduction must join disjoint
sets; at the end every required set must be full.

Order: a transfer reads chunks at its sender when it starts and writes them at its receiver when it arrives.  A
write that an earlier lock-step step makes to a place must have arrived before the read starts, by the
dependencies alone.  (A write that arrives early is no danger: receivers buffer it until they come to its step.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from topo.collective import EVERY_RANK, Chunks
from topo.errors import ScheduleError
from topo.fabric import IntArray, spread
from topo.schedule import Batch, Schedule

Write = tuple[IntArray, IntArray, npt.NDArray[np.int8]]
"""Ranks and chunks that are written, and the contributions written there."""
A_ROUND = 50
MASK_LIMIT = 400_000_000
ORDER_LIMIT = 40_000


def prove(schedule: Schedule, order: bool = True) -> None:
    """Verify a schedule.

    Parameters
    ----------
    schedule : Schedule
    order : bool
        Whether to check the order of reads and writes too.

    Raises
    ------
    ScheduleError
        Naming the batch, repeat and transfer that is wrong, or saying that the proof would not fit in memory.
    """
    schedule = schedule.whole()
    chunks = schedule.cutting()
    _prove_cutting(schedule, chunks)
    _prove_masks(schedule, chunks)
    if order and schedule.transfers <= ORDER_LIMIT:
        _prove_order(schedule, chunks)


def _prove_cutting(schedule: Schedule, chunks: Chunks) -> None:
    """The chunks must be the collective's data: as many bytes, from and to the ranks that it names.

    Between two ranks of an all-to-all fewer bytes may pass than their block has, where some of it travels with
    what another rank wants.
    """
    collective = schedule.collective
    n, operation, total = collective.ranks, collective.operation, collective.bytes
    every, rooted = np.full(1, EVERY_RANK), np.full(1, collective.root)
    origin = {"all-gather": np.arange(n), "broadcast": rooted, "send-recv": rooted}.get(operation, every)
    target = {"reduce-scatter": np.arange(n), "reduce": rooted, "send-recv": np.full(1, collective.peer)}.get(
        operation, every
    )
    if operation == "all-to-all":
        origin, target = (ends.ravel() for ends in np.indices((n, n)))
        wanted = collective.blocks().ravel()
    elif operation == "barrier":
        return
    else:
        wanted = np.full(max(len(origin), len(target)), total / max(len(origin), len(target)))
        origin, target = np.broadcast_arrays(origin, target)
    places = (origin + 1) * (n + 1) + target + 1
    found = np.bincount(
        (chunks.origin + 1) * (n + 1) + chunks.target + 1, chunks.bytes, minlength=(n + 1) * (n + 1)
    )
    held = found[places]
    wrong = np.flatnonzero(
        (held > wanted * (1 + 1e-9)) | ((operation != "all-to-all") & (held < wanted * (1 - 1e-9)))
    )
    spare = found.sum() - held.sum()
    if len(wrong) or spare > 1e-9 * total:
        what = (
            f"{held[wrong[0]]:g} bytes instead of {wanted[wrong[0]]:g}"
            if len(wrong)
            else f"{spare:g} bytes too many"
        )
        raise ScheduleError(
            f"{schedule.algorithm}: the chunks are not the data of {operation} of {total:g} bytes: {what}"
        )


def _where(schedule: Schedule, number: int, repeat: int, transfer: int) -> str:
    batch = schedule.batches[number]
    ends = f"{batch.source[transfer]} -> {batch.target[transfer]}"
    return f"{schedule.algorithm}: batch {number}, repeat {repeat}, transfer {transfer} ({ends})"


def _steps(schedule: Schedule) -> list[list[tuple[int, int]]]:
    steps: list[list[tuple[int, int]]] = [[] for _ in range(schedule.steps)]
    for number, batch in enumerate(schedule.batches):
        for repeat in range(batch.repeat):
            steps[batch.step + repeat].append((number, repeat))
    return steps


@dataclass(frozen=True, eq=False)
class _Entries:
    """Transfers of one batch and repeat, one entry per transfer and chunk."""

    transfer: IntArray
    chunk: IntArray


def _entries(schedule: Schedule, chunks: Chunks, number: int, repeat: int) -> _Entries:
    batch = schedule.batches[number]
    pointer, ids = batch.pieces(repeat)
    counts = np.diff(pointer)
    if len(counts) != len(batch) or len(ids) != pointer[-1]:
        raise ScheduleError(
            f"{schedule.algorithm}: batch {number}: the table of chunks does not fit the transfers"
        )
    if len(ids) and (ids.min() < 0 or ids.max() >= len(chunks)):
        bad = int(np.flatnonzero((ids < 0) | (ids >= len(chunks)))[0])
        row = int(np.searchsorted(pointer, bad, side="right") - 1)
        raise ScheduleError(
            f"{_where(schedule, number, repeat, row)}: chunk {ids[bad]} is out of range",
            f"there are {len(chunks)}",
        )
    transfer = np.repeat(np.arange(len(batch)), counts)
    carried = np.bincount(transfer, chunks.bytes[ids], len(batch))
    wrong = np.flatnonzero(np.abs(carried - batch.bytes) > 1e-9 * np.maximum(carried, batch.bytes))
    if len(wrong):
        i = int(wrong[0])
        raise ScheduleError(
            f"{_where(schedule, number, repeat, i)}: moves {batch.bytes[i]:g} bytes but its chunks hold {carried[i]:g}"
        )
    return _Entries(transfer, np.asarray(ids))


def _prove_masks(schedule: Schedule, chunks: Chunks) -> None:
    ranks, count = schedule.collective.ranks, len(chunks)
    width = ranks if (chunks.origin < 0).any() else 1
    if ranks * count * width > MASK_LIMIT:
        raise ScheduleError(
            f"the proof of {schedule.algorithm} among {ranks} ranks needs {ranks * count * width / 1e9:.1f} GB",
            "prove the same algorithm on a smaller fabric",
        )
    held = np.zeros((ranks, count, width), dtype=np.int8)
    alone = np.flatnonzero(chunks.origin >= 0)
    held[chunks.origin[alone], alone, 0 if width == 1 else chunks.origin[alone]] = 1
    shared = np.flatnonzero(chunks.origin < 0)
    for rank in range(ranks):
        held[rank, shared, rank if width > 1 else 0] = 1
    for step in _steps(schedule):
        before = held.copy()
        copied: list[Write] = []
        added: list[Write] = []
        for number, repeat in step:
            batch = schedule.batches[number]
            entries = _entries(schedule, chunks, number, repeat)
            write = _apply(schedule, number, repeat, batch, entries, before, held)
            (added if batch.reduce and batch.form == "direct" else copied).append(write)
        _prove_no_race(schedule, held, copied, added)
    needed = np.zeros((ranks, count), dtype=bool)
    needed[:, chunks.target < 0] = True
    aimed = np.flatnonzero(chunks.target >= 0)
    needed[chunks.target[aimed], aimed] = True
    full = (held == 1).all(axis=2) if width > 1 else held[:, :, 0] == 1
    if width > 1 and len(alone):
        full[:, alone] = held[:, alone, chunks.origin[alone]] == 1
    missing = np.argwhere(needed & ~full)
    if len(missing):
        rank, chunk = missing[0]
        raise ScheduleError(
            f"{schedule.algorithm}: at the end chunk {chunk} is incomplete at rank {rank} "
            f"({int(held[rank, chunk].sum())} of {width} contributions; {len(missing)} such places)"
        )


def _apply(
    schedule: Schedule,
    number: int,
    repeat: int,
    batch: Batch,
    entries: _Entries,
    before: np.ndarray,
    held: np.ndarray,
) -> Write:
    """Carry out one repeat of a batch; the answer is what it wrote."""
    senders, receivers = batch.senders(), batch.receivers()
    if batch.form in ("reduce", "all-reduce"):
        pointer, ranks = senders
        value = np.zeros((len(entries.chunk), before.shape[2]), dtype=np.int8)
        fan = np.diff(pointer)[entries.transfer]
        sent = np.repeat(np.arange(len(entries.chunk)), fan)
        at = ranks[spread(pointer, entries.transfer)]
        _add(value, sent, before[at, entries.chunk[sent]])
    else:
        value = before[batch.source[entries.transfer], entries.chunk]
    empty = np.flatnonzero(~value.any(axis=1))
    if len(empty):
        row = int(entries.transfer[empty[0]])
        raise ScheduleError(
            f"{_where(schedule, number, repeat, row)}: the sender does not hold chunk {entries.chunk[empty[0]]}"
        )
    pointer, ranks = receivers
    fan = np.diff(pointer)[entries.transfer]
    got = np.repeat(np.arange(len(entries.chunk)), fan)
    at = ranks[spread(pointer, entries.transfer)]
    if batch.reduce and batch.form == "direct":
        _add(held.reshape(-1, held.shape[2]), at * held.shape[1] + entries.chunk[got], value[got])
    else:
        held[at, entries.chunk[got]] = value[got]
    now = held[at, entries.chunk[got]]
    twice = np.flatnonzero((now > 1).any(axis=1))
    if len(twice):
        row = int(entries.transfer[got[twice[0]]])
        raise ScheduleError(
            f"{_where(schedule, number, repeat, row)}: chunk {entries.chunk[got[twice[0]]]} is reduced twice"
        )
    return at, entries.chunk[got], value[got]


def _add(total: np.ndarray, place: IntArray, value: np.ndarray) -> None:
    """Add contributions at places, in rounds that a byte can count; more than one is kept as two."""
    order = np.argsort(place, kind="stable")
    starts = np.flatnonzero(np.diff(place[order], prepend=-1))
    turn = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    for first in range(0, int(turn.max(initial=-1)) + 1, A_ROUND):
        part = order[(turn >= first) & (turn < first + A_ROUND)]
        np.add.at(total, place[part], value[part])
        if turn.max() >= A_ROUND:
            total[place[part]] = np.minimum(total[place[part]], 2)


def _prove_no_race(schedule: Schedule, held: np.ndarray, copied: list[Write], added: list[Write]) -> None:
    """What different writes of one step leave at a place must not depend on which arrives first."""
    chunks = held.shape[1]
    summed = np.concatenate([at * chunks + chunk for at, chunk, _ in added] or [np.zeros(0, dtype=np.int64)])
    for at, chunk, value in copied:
        other = (held[at, chunk] != value).any(axis=1)
        if len(summed):
            other |= np.isin(at * chunks + chunk, summed)
        if other.any():
            first = int(np.flatnonzero(other)[0])
            raise ScheduleError(
                f"{schedule.algorithm}: chunk {chunk[first]} is overwritten at rank {at[first]} in the same step in "
                "which something else is written there",
                "let each step write a chunk once",
            )


def _prove_order(schedule: Schedule, chunks: Chunks) -> None:
    first: list[int] = []
    total = 0
    for batch in schedule.batches:
        first.append(total)
        total += len(batch) * batch.repeat
    # Sets of transfers as bits of an integer: what has arrived before a transfer starts, what has arrived once
    # it has arrived itself (a stream arrives in order).
    arrived: list[int] = [0] * total
    delivered: list[int] = [0] * total
    arrivals: dict[int, dict[int, list[int]]] = {}
    departures: dict[int, dict[int, list[int]]] = {}
    for number, batch in enumerate(schedule.batches):
        arrivals[number], departures[number] = _by_rank(batch.receivers()), _by_rank(batch.senders())
    reads: dict[tuple[int, int], list[tuple[int, int]]] = {}
    writes: dict[tuple[int, int], list[tuple[int, int]]] = {}

    def instance(number: int, repeat: int, transfer: int) -> int:
        return first[number] + repeat * len(schedule.batches[number]) + transfer

    names: dict[int, tuple[int, int, int]] = {}
    for at_step, step in enumerate(_steps(schedule)):
        for number, repeat in step:
            batch = schedule.batches[number]
            pointer, senders = batch.senders()
            explicit = {w: _by_waiter(w.pairs) for w in batch.waits if w.pairs is not None}
            for i in range(len(batch)):
                me = instance(number, repeat, i)
                names[me] = (number, repeat, i)
                before = 0
                if repeat:
                    own = instance(number, repeat - 1, i)
                    before |= arrived[own]
                    delivered[me] = delivered[own]
                for wait in batch.waits:
                    other = schedule.batches[wait.batch]
                    until = min(max(repeat - wait.lag + 1, 0), other.repeat)
                    if not until:
                        continue
                    if wait.pairs is not None:
                        awaited = explicit[wait].get(i, [])
                    else:
                        table = arrivals if wait.on == "arrival" else departures
                        ranks = senders[pointer[i] : pointer[i + 1]]
                        awaited = [j for rank in ranks for j in table[wait.batch].get(int(rank), [])]
                    if awaited and other.step + until - 1 >= at_step:
                        raise ScheduleError(
                            f"{_where(schedule, number, repeat, i)} waits for batch {wait.batch}, repeat {until - 1}, "
                            "which is not earlier"
                        )
                    for j in awaited:
                        it = instance(wait.batch, until - 1, j)
                        before |= delivered[it] if wait.on == "arrival" else arrived[it]
                arrived[me] = before
                delivered[me] |= before | 1 << me
        for number, repeat in step:
            batch = schedule.batches[number]
            entries = _entries(schedule, chunks, number, repeat)
            tables = ((reads, batch.senders()), (writes, batch.receivers()))
            for store, (pointer, ranks) in tables:
                for i, chunk in zip(entries.transfer.tolist(), entries.chunk.tolist(), strict=True):
                    for rank in ranks[pointer[i] : pointer[i + 1]].tolist():
                        store.setdefault((rank, chunk), []).append((at_step, instance(number, repeat, i)))
    for place, readers in reads.items():
        for read_step, reader in readers:
            for write_step, writer in writes.get(place, ()):
                if write_step < read_step and not arrived[reader] >> writer & 1:
                    raise ScheduleError(
                        f"{_where(schedule, *names[reader])} may read chunk {place[1]} before "
                        f"{_where(schedule, *names[writer])} has written it"
                    )


def _by_rank(table: tuple[IntArray, IntArray]) -> dict[int, list[int]]:
    pointer, ranks = table
    found: dict[int, list[int]] = {}
    for i, rank in zip(
        np.repeat(np.arange(len(pointer) - 1), np.diff(pointer)).tolist(), ranks.tolist(), strict=True
    ):
        found.setdefault(rank, []).append(i)
    return found


def _by_waiter(pairs: tuple[IntArray, IntArray]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for i, j in zip(pairs[0].tolist(), pairs[1].tolist(), strict=True):
        found.setdefault(i, []).append(j)
    return found
