"""How weights reach the accelerators of a machine from a memory outside it, and how gradients get back.

A machine is a scale-up domain.  Its accelerators split every matrix over ``tensor`` neighbours; the groups of
neighbours work on sequences of their own.  What comes from outside is spread over the groups by an all-gather, and
gradients are added by a reduce-scatter, both simulated on the fabric: in the forward pass alone, in the backward pass
at the same time.  The slowest part of the way is its speed.

A memory that all machines share sends to all of them and adds what they give back.  Where every machine has its own, it
keeps all weights and its part of the optimizer states; gradients cross the scale-out network to the machine that keeps
the states, once a step where the memory has room for all of them, else in every pass; new weights cross once.
"""

from __future__ import annotations

from functools import cached_property, partial
from types import SimpleNamespace

import simpy

from topo.system import OutsideMemory, System
from topo.training.dataflow import DataflowError
from topo.training.model import Model
from topo.training.operation import Operation
from topo.training.placement import divisors, place
from topo.training.plan import Plan
from topo.training.traffic import Traffic

MOST_TENSOR = 64
"""Accelerators that split one matrix at most."""


class Supply:
    """The way between a memory outside and the accelerators.

    Parameters
    ----------
    system : System
    memory : OutsideMemory
    tensor : int
        Accelerators that split every matrix; divides those of a domain.
    ccl : str, optional
        Communication library, the system's own by default.
    """

    def __init__(
        self, system: System, memory: OutsideMemory, tensor: int = 1, ccl: str | None = None
    ) -> None:
        self.memory, self.tensor = memory, tensor
        self.machines = system.fabric.domains
        self.inside = system.accelerators // self.machines
        self.groups = self.inside // tensor
        degrees = SimpleNamespace(tp=tensor, cp=self.groups, dp=self.machines, pp=1, ep=1)
        self._system, self._ccl = system, ccl
        self._placed = place(degrees, system.fabric)

    @cached_property
    def _traffic(self) -> Traffic:
        return Traffic(simpy.Environment(), self._system, self._placed, self._ccl, "isolated")

    def _seconds(self, axis: str, operation: str, size: float) -> float:
        return self._traffic.seconds(Operation(axis, operation, size))

    def down(self, layer: float) -> float:
        """B/s of weights in the forward pass, by layers of ``layer`` bytes."""
        if self.groups == 1:
            return self.memory.bandwidth
        return min(self.memory.bandwidth, layer / self._seconds("cp", "all-gather", layer / self.tensor))

    def both(self, weights: float, gradients: float) -> tuple[float, float]:
        """B/s of weights and of gradients in the backward pass, by layers of so many bytes."""
        most = self.memory.bandwidth
        if self.groups == 1:
            return most, most
        gather = Operation("cp", "all-gather", weights / self.tensor)
        reduce = Operation("cp", "reduce-scatter", gradients / self.tensor)
        env = simpy.Environment()
        traffic = Traffic(env, self._system, self._placed, self._ccl, "full", (gather, reduce))
        ends = [traffic.start(gather), traffic.start(reduce)]
        seconds = [0.0, 0.0]

        def note(number: int, _: simpy.Event) -> None:
            seconds[number] = env.now

        for number, end in enumerate(ends):
            end.callbacks.append(partial(note, number))
        env.run(until=env.all_of(ends))
        return min(most, weights / seconds[0]), min(most, gradients / seconds[1])

    def between(self, operation: str, size: float) -> float:
        """Seconds of a collective of ``size`` bytes of a machine between the machines; 0 where there is one."""
        return self._seconds("dp", operation, size / self.inside) if self.machines > 1 else 0.0

    def exchange(self, model: Model, tokens: float) -> float:
        """Seconds in which neighbours that split matrices talk in the forward pass of one layer of ``tokens`` tokens.

        Two all-gathers and two reduce-scatters of the activations of a group (arXiv:2205.05198).
        """
        if self.tensor == 1:
            return 0.0
        size = 2.0 * model.hidden * tokens / self.groups
        return 2 * (self._seconds("tp", "all-gather", size) + self._seconds("tp", "reduce-scatter", size))

    def imbalance(self, model: Model) -> float:
        """Work of the fullest neighbour over the mean, where heads do not divide."""
        return -(-model.heads // self.tensor) * self.tensor / model.heads


def tensor_degrees(system: System) -> list[int]:
    """Ways in which the accelerators of a domain may split matrices."""
    inside = system.accelerators // system.fabric.domains
    return [t for t in divisors(inside) if t <= MOST_TENSOR]


def states_outside(
    model: Model, plan: Plan, memory: OutsideMemory, machines: int, check_memory: bool = True
) -> tuple[float, bool]:
    """Bytes that each machine keeps outside, and whether gradients stay there until the end of the step.

    Parameters
    ----------
    model, plan, memory
    machines : int
    check_memory : bool
        Refuse what does not fit.

    Raises
    ------
    DataflowError
        The memory does not hold them; by how much.
    """
    share = 1 if memory.shared else machines
    fixed = model.parameters * (plan.parameter_bytes + plan.optimizer_bytes / share)
    gradients = model.parameters * plan.gradient_bytes
    whole, part = fixed + gradients, fixed + gradients / share
    have = memory.memory_bytes
    if have is None or whole <= have:
        return whole, True
    if part <= have or not check_memory:
        return part, False
    raise DataflowError(
        f"weights, gradients and optimizer states of {model.name} need {part / 1e9:,.0f} GB of the outside memory of "
        f"each machine ({memory.technology}), which has {have / 1e9:,.0f} GB",
        f"{(part - have) / 1e9:,.0f} GB too much; take more machines or a smaller model",
    )
