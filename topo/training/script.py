"""What a layer does, as a script: pieces of computation and collectives, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from topo.training.operation import Operation


@dataclass(frozen=True)
class Work:
    """Computation.

    Parameters
    ----------
    what : str
        For timelines: ``attention``, ``mlp``, ...
    seconds : float
    flops : float
        What it computes, recomputation included.
    """

    what: str
    seconds: float
    flops: float = 0.0


@dataclass(frozen=True)
class Talk:
    """A collective of the groups of one axis.

    Parameters
    ----------
    operation : Operation
    beside : Work or None
        Computation that runs at the same time; both must end before the next item.
    parts : int
        Pieces of that computation, of which the first waits for the first piece of the data; 1 if they are
        independent.
    """

    operation: Operation
    beside: Work | None = None
    parts: int = 1


Item = Work | Talk
Script = tuple[Item, ...]


@dataclass(frozen=True)
class Layer:
    """Scripts of one layer for one micro-batch.

    Parameters
    ----------
    forward, backward : Script
        The backward pass with the gradients of inputs and weights, and with what is computed again.
    inputs, weights : Script
        The same backward pass in two parts, for schedules that put the weights' gradients off.
    host : (float, float)
        Seconds that the host needs for the forward and the backward pass where it cannot run ahead.
    """

    forward: Script
    backward: Script
    inputs: Script
    weights: Script
    host: tuple[float, float] = (0.0, 0.0)


def merged(script: Sequence[Item]) -> Script:
    """The same script with neighbouring computation put together."""
    found: list[Item] = []
    for item in script:
        last = found[-1] if found else None
        if isinstance(item, Work) and isinstance(last, Work):
            found[-1] = Work(last.what, last.seconds + item.seconds, last.flops + item.flops)
        elif not isinstance(item, Work) or item.seconds > 0:
            found.append(item)
    return tuple(found)


def seconds_of(script: Sequence[Item]) -> float:
    """Seconds of the computation in a script."""
    total = 0.0
    for item in script:
        work = item if isinstance(item, Work) else item.beside
        total += work.seconds if work else 0.0
    return total


def flops_of(script: Sequence[Item]) -> float:
    """FLOPs of a script."""
    total = 0.0
    for item in script:
        work = item if isinstance(item, Work) else item.beside
        total += work.flops if work else 0.0
    return total
