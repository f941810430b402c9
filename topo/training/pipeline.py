"""Pipeline schedules: the order in which each stage works on its micro-batches.

GPipe (arXiv:1811.06965), 1F1B and its interleaved form (arXiv:2104.04473), and ZB-H1, which puts the gradients of the
weights off into the bubble (arXiv:2401.10241).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

Kind = Literal["F", "B", "W"]


class Task(NamedTuple):
    """A piece of work of one stage.

    Parameters
    ----------
    kind : str
        ``F`` forward; ``B`` backward, or in ZB-H1 only the inputs' gradients; ``W`` the weights' gradients.
    chunk : int
        Which of the stage's chunks of layers, counted from 0.
    micro_batch : int
    """

    kind: Kind
    chunk: int
    micro_batch: int


def order(schedule: str, stages: int, stage: int, micro_batches: int, virtual_stages: int = 1) -> list[Task]:
    """What a stage does, in order.

    Parameters
    ----------
    schedule : str
        ``gpipe``, ``1f1b``, ``interleaved`` or ``zb-h1``.
    stages, stage : int
        Number of stages, and this one, counted from 0.
    micro_batches : int
    virtual_stages : int
        Chunks of each stage.

    Returns
    -------
    list of Task
    """
    if schedule == "gpipe":
        return _gpipe(micro_batches)
    if schedule == "interleaved" and virtual_stages > 1:
        return _interleaved(stages, stage, micro_batches, virtual_stages)
    if schedule == "zb-h1":
        return _zero_bubble(stages, stage, micro_batches)
    return _one_forward_one_backward(stages, stage, micro_batches)


def _gpipe(micro_batches: int) -> list[Task]:
    forward = [Task("F", 0, j) for j in range(micro_batches)]
    return forward + [Task("B", 0, j) for j in range(micro_batches)]


def _one_forward_one_backward(stages: int, stage: int, micro_batches: int) -> list[Task]:
    warm = min(micro_batches, stages - 1 - stage)
    tasks = [Task("F", 0, j) for j in range(warm)]
    for j in range(micro_batches - warm):
        tasks += [Task("F", 0, warm + j), Task("B", 0, j)]
    return tasks + [Task("B", 0, j) for j in range(micro_batches - warm, micro_batches)]


def _interleaved(stages: int, stage: int, micro_batches: int, chunks: int) -> list[Task]:
    total = micro_batches * chunks
    warm = min(total, 2 * (stages - 1 - stage) + (chunks - 1) * stages)

    def task(k: int, backward: bool) -> Task:
        chunk = k % (stages * chunks) // stages
        batch = k // (stages * chunks) * stages + k % stages
        return Task("B", chunks - 1 - chunk, batch) if backward else Task("F", chunk, batch)

    tasks = [task(k, False) for k in range(warm)]
    for k in range(total - warm):
        tasks += [task(warm + k, False), task(k, True)]
    return tasks + [task(k, True) for k in range(total - warm, total)]


def _zero_bubble(stages: int, stage: int, micro_batches: int) -> list[Task]:
    """1F1B's order; the weights' gradients of micro-batch j follow the inputs' of j + stage, the rest at the end."""
    tasks: list[Task] = []
    done = 0
    for task in _one_forward_one_backward(stages, stage, micro_batches):
        tasks.append(task)
        if task.kind == "B" and task.micro_batch >= stage:
            tasks.append(Task("W", 0, task.micro_batch - stage))
            done += 1
    return tasks + [Task("W", 0, j) for j in range(done, micro_batches)]


def in_flight(tasks: Sequence[Task], split: bool) -> int:
    """Most chunk activations that a stage holds at once: from the forward pass to the last use.

    Parameters
    ----------
    tasks : sequence of Task
        Of one stage.
    split : bool
        Whether the weights' gradients come apart (``W``), which then are the last use.
    """
    held = most = 0
    for task in tasks:
        if task.kind == "F":
            held += 1
            most = max(most, held)
        elif task.kind == ("W" if split else "B"):
            held -= 1
    return most


def makespan(
    schedule: str,
    stages: int,
    micro_batches: int,
    forward: float,
    backward: float,
    weights: float = 0.0,
    virtual_stages: int = 1,
) -> float:
    """Seconds of a schedule without communication, by running its order.

    Parameters
    ----------
    forward, backward, weights : float
        Seconds of one micro-batch on one whole stage; chunks share them evenly.
    """
    tasks = [order(schedule, stages, i, micro_batches, virtual_stages) for i in range(stages)]
    duration = {"F": forward / virtual_stages, "B": backward / virtual_stages, "W": weights / virtual_stages}
    done: dict[tuple[Kind, int, int], float] = {}
    clock = [0.0] * stages
    position = [0] * stages
    last = stages * virtual_stages - 1
    left = sum(map(len, tasks))
    while left:
        before = left
        for i in range(stages):
            while position[i] < len(tasks[i]):
                kind, chunk, batch = tasks[i][position[i]]
                place = chunk * stages + i
                needs: list[tuple[Kind, int, int]]
                if kind == "F":
                    needs = [("F", place - 1, batch)] if place else []
                elif kind == "B":
                    needs = [("F", place, batch)]
                    if place < last:
                        needs.append(("B", place + 1, batch))
                else:
                    needs = [("B", place, batch)]
                if any(need not in done for need in needs):
                    break
                clock[i] = max(clock[i], *(done[need] for need in needs), 0.0) + duration[kind]
                done[kind, place, batch] = clock[i]
                position[i] += 1
                left -= 1
        if left == before:
            raise AssertionError(
                f"{schedule} with {stages} stages and {micro_batches} micro-batches waits for itself"
            )
    return max(clock)
