"""An MSCCL program as a Schedule: its messages, and what each waits for.

A send starts when the step before it in its thread block, and the step that it names, have finished; a fused
receive-and-send when its own message has arrived besides.  A send has finished when it has left, a receive when it
has arrived and what it waits for has finished, a local step at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np

from topo.collective import Collective, cut
from topo.errors import ScheduleError
from topo.formats.msccl.order import Order, ordered
from topo.formats.msccl.program import RECEIVING, REDUCING, SENDING, MscclProgram
from topo.formats.msccl.proof import proved
from topo.schedule import Schedule, ScheduleBuilder, Table, Wait

Event = tuple[int, bool]
"""A message, by the number of its sending step, and whether it must have arrived or only left."""


@dataclass(frozen=True, eq=False)
class MscclSchedule(Schedule):
    """A Schedule that is proved by executing the program it comes from, buffers and all."""

    program: MscclProgram = field(kw_only=True)

    def verify(self) -> None:
        """Prove the program; see :mod:`topo.formats.msccl.proof`."""
        proved(self.program)


def scheduled(program: MscclProgram, collective: Collective) -> Schedule:
    """The Schedule of a proved program."""
    order = ordered(program)
    needs = _needs(order)
    if not needs:
        raise ScheduleError(f"{program.name} sends nothing")
    level: dict[int, int] = {}
    for number in order.sequence:
        if number in needs:
            level[number] = 1 + max((level[message] for message, _ in needs[number]), default=-1)
    taker = {sender: number for number, sender in enumerate(order.sent_by) if sender >= 0}
    reduces = {sender: order.steps[taker[sender]].type in REDUCING for sender in needs}
    builder = ScheduleBuilder(collective, program.name, partial(cut, collective), program.protocol)
    where: dict[int, tuple[int, int]] = {}
    chunk = collective.bytes / program.chunks
    for kind in sorted({(level[sender], reduces[sender]) for sender in needs}):
        senders = [sender for sender in sorted(needs) if (level[sender], reduces[sender]) == kind]
        batch = len(builder.batches)
        where.update({sender: (batch, place) for place, sender in enumerate(senders)})
        builder.add(
            [order.steps[sender].gpu for sender in senders],
            [order.steps[taker[sender]].gpu for sender in senders],
            np.asarray([order.steps[sender].count * chunk for sender in senders]),
            _untold(len(senders)),
            reduce=kind[1],
            waits=_waits([needs[sender] for sender in senders], where),
            step=kind[0],
        )
    return MscclSchedule(
        collective,
        builder.algorithm,
        tuple(builder.batches),
        builder.cutting,
        builder.detail,
        program=program,
    )


def _untold(transfers: int) -> Table:
    """No chunks: places, not chunks, are what the program speaks of."""
    return np.zeros(transfers + 1, dtype=np.int64), np.zeros(0, dtype=np.int64)


def _needs(order: Order) -> dict[int, set[Event]]:
    """For every sending step the events that its message waits for."""
    needs: dict[int, set[Event]] = {}
    finished: list[set[Event]] = [set() for _ in order.steps]
    for number in order.sequence:
        step = order.steps[number]
        events: set[Event] = set()
        for other in order.waits[number]:
            events |= finished[other]
        if step.type in RECEIVING:
            events.add((order.sent_by[number], True))
        if step.type in SENDING:
            needs[number] = _latest(order, events)
            events = {(number, False)}
        finished[number] = _latest(order, events)
    return needs


def _latest(order: Order, events: set[Event]) -> set[Event]:
    """Of the messages of one thread block, which leave and arrive in order, the last."""
    last: dict[tuple[int, int, bool], int] = {}
    for message, arrived in events:
        step = order.steps[message]
        key = (step.gpu, step.block, arrived)
        if key not in last or order.steps[last[key]].number < step.number:
            last[key] = message
    return {(message, arrived) for (_, _, arrived), message in last.items()}


def _waits(needs: list[set[Event]], where: dict[int, tuple[int, int]]) -> list[Wait]:
    pairs: dict[tuple[int, bool], tuple[list[int], list[int]]] = {}
    for place, events in enumerate(needs):
        for message, arrived in sorted(events):
            batch, other = where[message]
            waiting, awaited = pairs.setdefault((batch, arrived), ([], []))
            waiting.append(place)
            awaited.append(other)
    return [
        Wait(batch, on="arrival" if arrived else "drain", pairs=(np.asarray(waiting), np.asarray(awaited)))
        for (batch, arrived), (waiting, awaited) in sorted(pairs.items())
    ]
