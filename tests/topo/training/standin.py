"""Traffic of known durations, for closed forms."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import simpy

from topo.training.engine import Engine
from topo.training.operation import Operation
from topo.training.outcome import Outcome
from topo.training.plan import Plan
from topo.training.script import Layer, Script, Talk, Work
from topo.training.stages import Stage, Unit


class StandIn:
    """Every operation takes what ``seconds`` says, whatever else runs."""

    def __init__(self, env: simpy.Environment, seconds: Callable[[Operation], float], alone: bool) -> None:
        self.env, self.of, self.is_alone = env, seconds, alone
        self.declared: list[Operation] = []
        self.booked = 0

    def declare(self, operations: Sequence[Operation]) -> None:
        self.declared += operations

    def seconds(self, operation: Operation, stage: int | None = None) -> float:
        return self.of(operation)

    def alone(self, operation: Operation, stage: int | None = None) -> bool:
        return self.is_alone

    def start(self, operation: Operation, stage: int | None = None) -> simpy.Event:
        assert operation in self.declared
        self.booked += 1
        return self.env.timeout(self.of(operation))

    def book(self, operation: Operation, stage: int | None = None, times: int = 1) -> None:
        assert operation in self.declared
        self.booked += times


def unit(forward: float, backward: float, parameters: float = 0.0, talks: Sequence[Talk] = ()) -> Unit:
    """A layer of given seconds."""
    script: Script = (*talks, Work("compute", forward))
    half = (Work("compute", backward / 2),)
    return Unit("layer 0", Layer(script, (Work("compute", backward),), half, half), parameters)


def run(
    plan: Plan,
    stages: Sequence[Stage],
    seconds: Callable[[Operation], float] = lambda operation: 0.0,
    *,
    alone: bool = True,
    activation_bytes: float = 0.0,
    share: float = 0.0,
    optimizer: Sequence[float] = (),
    input_s: float = 0.0,
) -> Outcome:
    """The outcome of a step on the stand-in."""
    env = simpy.Environment()
    engine = Engine(
        plan,
        stages,
        env,
        StandIn(env, seconds, alone),
        activation_bytes=activation_bytes,
        communication_share=share,
        optimizer=optimizer,
        input_s=input_s,
        record=True,
    )
    return engine.run()
