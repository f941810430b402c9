"""The order of an MSCCL program's steps: matches of sends and receives, what waits for what, and cycles."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from topo.errors import ScheduleError
from topo.formats.msccl.program import RECEIVING, SENDING, MscclProgram, Step


@dataclass(frozen=True, eq=False)
class Order:
    """Steps by number (their place in ``program.steps``).

    Parameters
    ----------
    steps : tuple of Step
    waits : list of list of int
        Steps of the same GPU that each step waits for.
    sent_by : list of int
        The step whose send each receiving step takes; -1 for the others.
    sequence : list of int
        All steps, each after everything that it waits for.
    """

    steps: tuple[Step, ...]
    waits: list[list[int]]
    sent_by: list[int]
    sequence: list[int]

    def before(self, number: int) -> list[int]:
        """All steps that a step comes right after."""
        sender = self.sent_by[number]
        return self.waits[number] + ([sender] if sender >= 0 else [])


def ordered(program: MscclProgram) -> Order:
    """Match sends with receives and put the steps in order.

    Raises
    ------
    ScheduleError
        A send without its receive or the other way round, a pair of different sizes, a cycle.
    """
    steps = program.steps
    number = {(step.gpu, step.block, step.number): i for i, step in enumerate(steps)}
    waits: list[list[int]] = []
    for step in steps:
        mine = [] if step.number == 0 else [number[step.gpu, step.block, step.number - 1]]
        if step.after is not None and step.after[0] != step.block:
            mine.append(number[step.gpu, *step.after])
        waits.append(mine)
    sent_by = _matched(program, steps, number)
    return Order(steps, waits, sent_by, _sequence(steps, waits, sent_by))


def _matched(
    program: MscclProgram, steps: tuple[Step, ...], number: dict[tuple[int, int, int], int]
) -> list[int]:
    """The i-th send from one GPU to another on a channel goes with the i-th receive there."""
    sends: dict[tuple[int, int, int], list[Step]] = {}
    receives: dict[tuple[int, int, int], list[Step]] = {}
    ends: dict[tuple[str, int, int, int], int] = {}
    for gpu in program.gpus:
        for block in gpu.blocks:
            for what, peer in (("send", block.send), ("recv", block.receive)):
                key = (what, gpu.number, peer, block.channel)
                if peer >= 0 and any(
                    s.type in (SENDING if what == "send" else RECEIVING) for s in block.steps
                ):
                    if key in ends:
                        raise ScheduleError(
                            f"gpu {gpu.number} tb {block.number}: {what}={peer} on channel {block.channel} "
                            f"is already that of tb {ends[key]}",
                            "give each connection one thread block at either end",
                        )
                    ends[key] = block.number
            for step in block.steps:
                if step.type in SENDING:
                    sends.setdefault((gpu.number, block.send, block.channel), []).append(step)
                if step.type in RECEIVING:
                    receives.setdefault((block.receive, gpu.number, block.channel), []).append(step)
    sent_by = [-1] * len(steps)
    for connection in sorted({*sends, *receives}):
        out, into = sends.get(connection, []), receives.get(connection, [])
        source, target, channel = connection
        if len(out) > len(into):
            raise ScheduleError(
                f"{out[len(into)]} sends to gpu {target} on channel {channel}, but nothing there receives it",
                f"{len(out)} sends and {len(into)} receives",
            )
        if len(into) > len(out):
            raise ScheduleError(
                f"{into[len(out)]} receives from gpu {source} on channel {channel}, but nothing there sends it",
                f"{len(out)} sends and {len(into)} receives",
            )
        for one, other in zip(out, into, strict=True):
            if one.count != other.count:
                raise ScheduleError(f"{one} sends {one.count} chunks but {other} receives {other.count}")
            sent_by[number[other.gpu, other.block, other.number]] = number[one.gpu, one.block, one.number]
    return sent_by


def _sequence(steps: tuple[Step, ...], waits: list[list[int]], sent_by: list[int]) -> list[int]:
    missing = [len(mine) + (sender >= 0) for mine, sender in zip(waits, sent_by, strict=True)]
    onward: list[list[int]] = [[] for _ in steps]
    for i, mine in enumerate(waits):
        for other in mine + ([sent_by[i]] if sent_by[i] >= 0 else []):
            onward[other].append(i)
    ready = deque(i for i, count in enumerate(missing) if not count)
    sequence: list[int] = []
    while ready:
        at = ready.popleft()
        sequence.append(at)
        for other in onward[at]:
            missing[other] -= 1
            if not missing[other]:
                ready.append(other)
    if len(sequence) < len(steps):
        raise ScheduleError(
            f"steps wait for each other in a cycle: {_cycle(steps, waits, sent_by, sequence)}"
        )
    return sequence


def _cycle(steps: tuple[Step, ...], waits: list[list[int]], sent_by: list[int], done: list[int]) -> str:
    finished = set(done)
    at = next(i for i in range(len(steps)) if i not in finished)
    seen: dict[int, int] = {}
    while at not in seen:
        seen[at] = len(seen)
        before = waits[at] + ([sent_by[at]] if sent_by[at] >= 0 else [])
        at = next(i for i in before if i not in finished)
    loop = [i for i, place in seen.items() if place >= seen[at]]
    shown = [str(steps[i]) for i in loop[:4]] + (["..."] if len(loop) > 4 else [])
    return " after ".join([*shown, str(steps[at])])
