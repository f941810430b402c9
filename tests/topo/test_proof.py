"""The proof of schedules: right ones pass, and each kind of wrong one is refused with its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import strategies as some
from topo.algorithms import Site, build
from topo.collective import Chunks, Collective, cut, segments
from topo.errors import ScheduleError
from topo.proof import prove
from topo.schedule import Batch, Schedule, ScheduleBuilder, Wait, one_each

FABRIC = some.star(6, in_network=True)
SITE = Site(FABRIC, np.arange(6))


def made(algorithm: str, operation: str = "all-reduce", size: float = 6e6) -> Schedule:
    """A schedule with its batches spelled out."""
    return build(algorithm, Collective(operation, 6, size), SITE).whole()


def with_batch(schedule: Schedule, number: int, **changes: object) -> Schedule:
    batches = list(schedule.batches)
    batches[number] = replace(batches[number], **changes)
    return replace(schedule, batches=tuple(batches))


def refused(schedule: Schedule, *words: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        schedule.verify()
    for word in words:
        assert word in str(caught.value)


def broadcast(*batches: tuple[Sequence[int], Sequence[int], Sequence[int]], ranks: int = 4) -> Schedule:
    """A broadcast from rank 0 by batches of (sources, targets, batches waited for)."""
    collective = Collective("broadcast", ranks, 1e3)
    builder = ScheduleBuilder(collective, "test", lambda: segments(collective))
    for source, target, after in batches:
        builder.add(source, target, 1e3, one_each(np.zeros(len(source), dtype=np.int64)), after=after)
    return builder.build()


RIGHT = [
    ("ring", "all-reduce"),
    ("ring", "all-gather"),
    ("bidirectional-ring", "reduce-scatter"),
    ("direct", "all-to-all"),
    ("pairwise", "all-to-all"),
    ("halving-doubling", "all-reduce"),
    ("recursive-doubling", "all-reduce"),
    ("one-shot", "all-reduce"),
    ("nvls", "all-reduce"),
    ("nvls", "broadcast"),
    ("sharp", "all-reduce"),
    ("chain", "reduce"),
    ("direct", "send-recv"),
    ("binomial-tree", "broadcast"),
]


@pytest.mark.parametrize(("algorithm", "operation"), RIGHT)
def test_right_ones_pass(algorithm: str, operation: str) -> None:
    made(algorithm, operation).verify()


# ----------------------------------------------------------------------------------------------- wrong contributions


def test_one_step_too_few() -> None:
    schedule = made("ring", "all-gather")
    refused(
        with_batch(schedule, 0, repeat=4), "ring: at the end chunk", "is incomplete at rank", "6 such places"
    )


def test_one_reduction_too_many() -> None:
    schedule = made("one-shot")
    doubled = replace(schedule, batches=(schedule.batches[0], replace(schedule.batches[0], step=1)))
    refused(doubled, "batch 1, repeat 0, transfer", "is reduced twice")


def test_reducing_what_should_be_copied_and_the_other_way() -> None:
    schedule = made("ring")
    refused(with_batch(schedule, 1, reduce=True), "is reduced twice")
    refused(with_batch(schedule, 0, reduce=False), "incomplete")


def test_sending_what_one_does_not_have() -> None:
    refused(broadcast(([1], [2], ()), ([0, 0, 0], [1, 2, 3], ())), "the sender does not hold chunk 0")


@pytest.mark.parametrize("many", [2, 128, 256, 300])
def test_contributions_are_counted_beyond_a_byte(many: int) -> None:
    """The same sum sent again so often that a small counter would pass through zero."""
    collective = Collective("reduce", 2, 1e3)
    builder = ScheduleBuilder(collective, "test", lambda: segments(collective))
    builder.add([1] * many, [0] * many, 1e3, one_each(np.zeros(many, dtype=np.int64)), reduce=True)
    refused(builder.build(), "reduced twice")


def test_a_target_that_gets_nothing() -> None:
    refused(broadcast(([0, 0], [1, 2], ())), "chunk 0 is incomplete at rank 3 (0 of 1 contributions")


# ---------------------------------------------------------------------------------------------------- wrong tables


def test_bytes_must_be_those_of_the_chunks() -> None:
    schedule = made("ring")
    refused(
        with_batch(schedule, 0, bytes=schedule.batches[0].bytes / 2),
        "moves 500000 bytes but its chunks hold 1e+06",
    )


def table(pointer: Sequence[int], chunks: Sequence[int]) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    return lambda repeat: (np.asarray(pointer), np.asarray(chunks))


def test_tables_that_do_not_fit() -> None:
    schedule = made("one-shot")
    refused(with_batch(schedule, 0, pieces=table([0, 1], [0])), "does not fit the transfers")
    count = len(schedule.batches[0])
    chunks = np.zeros(count, dtype=np.int64)
    chunks[3] = 77
    refused(
        with_batch(schedule, 0, pieces=table(range(count + 1), chunks.tolist())),
        "transfer 3",
        "chunk 77 is out of range; there are 6",
    )


@pytest.mark.parametrize(
    ("operation", "change"),
    [
        ("all-reduce", lambda c: replace(c, bytes=c.bytes / 2)),
        ("all-gather", lambda c: replace(c, bytes=c.bytes * 2)),
        ("all-gather", lambda c: replace(c, origin=np.roll(c.origin, 1))),
        ("all-gather", lambda c: replace(c, target=np.zeros_like(c.target))),
        ("all-reduce", lambda c: replace(c, origin=np.arange(6))),
        ("reduce-scatter", lambda c: replace(c, target=np.zeros_like(c.target))),
        ("broadcast", lambda c: replace(c, origin=c.origin + 1)),
        ("reduce", lambda c: replace(c, target=c.target + 1)),
        ("send-recv", lambda c: replace(c, target=c.target - 1)),
        ("all-to-all", lambda c: replace(c, bytes=c.bytes * 2)),
        ("all-to-all", lambda c: replace(c, origin=c.target, target=c.origin, bytes=c.bytes * np.arange(36))),
    ],
)
def test_chunks_must_be_the_data_of_the_collective(
    operation: str, change: Callable[[Chunks], Chunks]
) -> None:
    """Otherwise an algorithm could move less than it should and look fast."""
    right = made("direct", operation) if operation != "all-reduce" else made("ring")
    if operation == "all-gather" and change(right.cutting()).origin[0] != right.cutting().origin[0]:
        # Rolled origins are the same data under other numbers; the masks then tell.
        refused(replace(right, cutting=lambda: change(right.cutting())), "does not hold chunk")
        return
    refused(replace(right, cutting=lambda: change(right.cutting())), f"not the data of {operation}")


# ----------------------------------------------------------------------------------------------------- wrong order


def test_a_read_that_does_not_wait_for_its_write() -> None:
    schedule = made("ring")
    refused(with_batch(schedule, 1, waits=()), "ring: batch 1", "may read chunk", "has written it")
    late = broadcast(([0], [1], ()), ([1, 0], [2, 3], (0,)))
    late.verify()
    refused(with_batch(late, 1, waits=(Wait(0, on="drain"),)), "may read chunk 0 before test: batch 0")


def test_waits_of_every_kind_keep_order() -> None:
    first = broadcast(([0], [1], ()), ([1], [2], (0,)), ([2], [3], (1,)))
    first.verify()
    pairs = (np.array([0]), np.array([0]))
    with_batch(first, 2, waits=(Wait(1, 0, "arrival", pairs),)).verify()
    refused(with_batch(first, 2, waits=()), "may read")


def test_waiting_for_what_is_not_earlier() -> None:
    """Two batches of a step may not wait for each other, nor a batch for itself."""
    schedule = broadcast(([0], [1], ()), ([0], [2], ()), ([0], [3], ()))
    schedule.verify()
    refused(
        with_batch(schedule, 1, waits=(Wait(2, on="drain"),)),
        "waits for batch 2, repeat 0, which is not earlier",
    )
    refused(
        with_batch(schedule, 1, waits=(Wait(1, 0, "drain"),)),
        "waits for batch 1, repeat 0, which is not earlier",
    )


def test_two_writes_of_one_step_that_differ() -> None:
    """A copy and a reduction that arrive at a place in the same step: whichever is last would win."""
    collective = Collective("all-reduce", 2, 1e3)
    builder = ScheduleBuilder(collective, "test", lambda: segments(collective))
    chunk = one_each(np.zeros(1, dtype=np.int64))
    builder.add([1], [0], 1e3, chunk, reduce=True)
    builder.add([0], [1], 1e3, chunk, after=(0,))
    builder.build().verify()
    builder.add([1], [0], 1e3, chunk, step=0)
    refused(builder.build(), "is overwritten at rank 0 in the same step")


def test_the_same_copy_twice_is_no_danger() -> None:
    twice = broadcast(([0, 0], [1, 2], ()), ([1, 2], [3, 3], (0,)))
    twice.verify()


def test_a_proof_that_would_not_fit() -> None:
    collective = Collective("all-reduce", 2000, 1e6)
    builder = ScheduleBuilder(collective, "test", lambda: cut(collective))
    with pytest.raises(ScheduleError, match="the proof of test among 2000 ranks needs"):
        builder.build().verify()


def test_order_can_be_left_out() -> None:
    schedule = with_batch(made("ring"), 1, waits=())
    prove(schedule, order=False)


# --------------------------------------------------------------------------------------------- mutants must not pass


@settings(max_examples=60)
@given(st.sampled_from(RIGHT), st.data())
def test_a_transfer_less_is_noticed(which: tuple[str, str], data: st.DataObject) -> None:
    """Every transfer of these schedules is needed; without one of them the proof must fail."""
    schedule = made(*which)
    number = data.draw(st.integers(0, len(schedule.batches) - 1))
    batch = schedule.batches[number]
    lost = data.draw(st.integers(0, len(batch) - 1))
    with pytest.raises(ScheduleError):
        replace(
            schedule,
            batches=(*schedule.batches[:number], _without(batch, lost), *schedule.batches[number + 1 :]),
        ).verify()


def _without(batch: Batch, lost: int) -> Batch:
    keep = np.delete(np.arange(len(batch)), lost)

    def rows(pointer: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        parts = [values[pointer[i] : pointer[i + 1]] for i in keep]
        return np.cumsum([0, *map(len, parts)]), np.concatenate([np.zeros(0, dtype=np.int64), *parts])

    return replace(
        batch,
        source=batch.source[keep],
        target=batch.target[keep],
        bytes=batch.bytes[keep],
        pieces=lambda repeat: rows(*batch.pieces(repeat)),
        fan=None if batch.fan is None else rows(*batch.fan),
    )


NO_DETOURS = [
    ("ring", "all-reduce"),
    ("ring", "all-gather"),
    ("direct", "all-to-all"),
    ("one-shot", "all-reduce"),
]
"""Schedules in which nobody else could do what a rank does."""


@settings(max_examples=60)
@given(st.sampled_from(NO_DETOURS), st.data())
def test_a_transfer_gone_astray_is_noticed(which: tuple[str, str], data: st.DataObject) -> None:
    schedule = made(*which)
    number = data.draw(st.integers(0, len(schedule.batches) - 1))
    batch = schedule.batches[number]
    target = batch.target.copy()
    row = data.draw(st.integers(0, len(batch) - 1))
    target[row] = (target[row] + data.draw(st.integers(1, 5))) % 6
    with pytest.raises(ScheduleError):
        with_batch(schedule, number, target=target).verify()
