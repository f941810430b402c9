"""One training step in a SimPy environment.

Replicas that do the same are folded: every pipeline stage is one process, which stands for all its ranks, with one
stream of computation and one stream of communication per axis.  Collectives go through the traffic of
:mod:`topo.training.traffic`, where all groups of all stages share the fabric.

Everything a stage's computation stream does is booked under one heading, so that the parts add up to the step.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Sequence
from typing import Any, Protocol

import simpy

from topo.training.operation import Operation
from topo.training.outcome import Outcome, Span, heading
from topo.training.pipeline import Task, order
from topo.training.plan import Plan
from topo.training.script import Item, Script, Talk, Work
from topo.training.sharding import buckets, gathers, reductions
from topo.training.stages import Stage, Unit


class Carrier(Protocol):
    """What the engine asks of the traffic."""

    def declare(self, operations: Sequence[Operation]) -> None:
        """Name operations that will be started."""

    def seconds(self, operation: Operation, stage: int | None = None) -> float:
        """Seconds with nothing else running."""

    def alone(self, operation: Operation, stage: int | None = None) -> bool:
        """Whether no other operation can share its links."""

    def start(self, operation: Operation, stage: int | None = None) -> simpy.Event:
        """Start it now."""

    def book(self, operation: Operation, stage: int | None = None, times: int = 1) -> None:
        """Count it as carried out."""


class Engine:
    """Runs one step.

    Parameters
    ----------
    plan : Plan
    stages : sequence of Stage
    env : simpy.Environment
    traffic : Carrier
    communication_share : float
        Share of a chip's units that a collective takes from computation beside it.
    optimizer : sequence of float
        Seconds of each stage's optimizer.
    activation_bytes : float
        Bytes that a rank sends to the next stage per micro-batch.
    input_s : float
        Seconds that a step waits for its data.
    record : bool
        Keep a timeline.
    """

    def __init__(
        self,
        plan: Plan,
        stages: Sequence[Stage],
        env: simpy.Environment,
        traffic: Carrier,
        *,
        communication_share: float = 0.0,
        optimizer: Sequence[float] = (),
        activation_bytes: float = 0.0,
        input_s: float = 0.0,
        record: bool = False,
    ) -> None:
        self.plan, self.stages, self.env, self.traffic = plan, stages, env, traffic
        self.share = communication_share
        self.optimizer = tuple(optimizer) or (0.0,) * len(stages)
        self.input_s, self.record = input_s, record
        self.spans: list[Span] = []
        self.busy: defaultdict[str, float] = defaultdict(float)
        self.shifts: dict[int, Operation | None] = {1: None, -1: None}
        if plan.pp > 1 and activation_bytes > 0:
            self.shifts = {d: Operation("pp", "send-recv", activation_bytes, direction=d) for d in (1, -1)}
        self.buckets = [buckets(plan, stage) for stage in stages]
        traffic.declare(self.operations())
        self.arrived: dict[tuple[str, int, int], tuple[simpy.Event, list[float]]] = {}
        self.finished = [env.event() for _ in stages]
        self._alone: dict[tuple[Operation, int], bool] = {}
        self.floor = {
            id(script): seconds
            for stage in stages
            for chunk in stage.chunks
            for unit in chunk
            for script, seconds in zip(
                (unit.layer.forward, unit.layer.backward), unit.layer.host, strict=True
            )
            if seconds > 0
        }
        self.unstarted: defaultdict[tuple[Operation, int], int] = defaultdict(int)

    def operations(self) -> list[Operation]:
        """All collectives of the step."""
        found: dict[Operation, None] = {}
        for stage in self.stages:
            for chunk in stage.chunks:
                for unit in chunk:
                    layer = unit.layer
                    for script in (layer.forward, layer.backward, layer.inputs, layer.weights):
                        found.update((item.operation, None) for item in script if isinstance(item, Talk))
            together = self.buckets[stage.number]
            if self.plan.zero == 3 and self.plan.shards > 1:
                together = [(unit,) for chunk in stage.chunks for unit in chunk]
            for bucket in together:
                for operation in (*reductions(self.plan, bucket), *gathers(self.plan, bucket)):
                    found[operation] = None
        found.update((shift, None) for shift in self.shifts.values() if shift is not None)
        return list(found)

    def run(self) -> Outcome:
        """Run the step to its end."""
        runners = [_Runner(self, stage) for stage in self.stages]
        ends = [self.env.process(runner.run()) for runner in runners]
        self.env.run(until=self.env.all_of(ends))
        seconds = self.env.now
        for (operation, stage), times in self.unstarted.items():
            self.traffic.book(operation, stage, times)
        for runner in runners:
            runner.spent["bubble"] += seconds - runner.end
        return Outcome(seconds, [dict(runner.spent) for runner in runners], self.spans, dict(self.busy))

    def alone(self, operation: Operation, stage: int) -> bool:
        """Whether an operation of a stage takes the same time whatever else runs."""
        key = operation, stage
        if key not in self._alone:
            self._alone[key] = self.traffic.alone(operation, stage)
        return self._alone[key]

    def arrival(self, kind: str, place: int, batch: int) -> tuple[simpy.Event, list[float]]:
        """The event that a chunk's input is there, and the moment it was sent."""
        key = kind, place, batch
        if key not in self.arrived:
            self.arrived[key] = (self.env.event(), [])
        return self.arrived[key]

    def span(self, stage: int, stream: str, name: str, start: float) -> None:
        """Note something that ends now."""
        if self.record and self.env.now > start:
            self.spans.append(Span(stage, stream, name, start, self.env.now))


class _Stream:
    """Collectives of one stage one after the other, beside its computation."""

    def __init__(self, engine: Engine, stage: int, name: str) -> None:
        self.engine, self.stage, self.name = engine, stage, name
        self.tail: simpy.Event | None = None
        self.waiting = 0
        self.free = 0.0  # when it will have nothing left to do, if nothing slows it down

    def put(self, operations: Sequence[Operation], sent: list[float] | None = None) -> simpy.Event:
        """Queue operations; the event that all of them are done."""
        env = self.engine.env
        done = env.event()
        previous, self.tail = self.tail, done
        self.waiting += 1
        seconds = sum(self.engine.traffic.seconds(operation, self.stage) for operation in operations)
        self.free = max(self.free, env.now) + seconds
        env.process(self._carry(operations, previous, done, sent))
        return done

    def _carry(
        self,
        operations: Sequence[Operation],
        previous: simpy.Event | None,
        done: simpy.Event,
        sent: list[float] | None,
    ) -> Generator[simpy.Event, Any, None]:
        engine = self.engine
        if previous is not None and not previous.processed:
            yield previous
        if sent is not None:
            sent.append(engine.env.now)
        for operation in operations:
            start = engine.env.now
            if engine.alone(operation, self.stage):
                engine.unstarted[operation, self.stage] += 1
                yield engine.env.timeout(engine.traffic.seconds(operation, self.stage))
            else:
                yield engine.traffic.start(operation, self.stage)
            engine.busy[heading(operation.axis)] += engine.env.now - start
            engine.span(self.stage, self.name, f"{operation.operation} {operation.axis}", start)
        self.waiting -= 1
        done.succeed()


class _Runner:
    """The computation stream of one stage."""

    def __init__(self, engine: Engine, stage: Stage) -> None:
        self.engine, self.stage, self.env, self.plan = engine, stage, engine.env, engine.plan
        self.spent: defaultdict[str, float] = defaultdict(float)
        self.data = _Stream(engine, stage.number, "dp")
        self.links = {
            1: _Stream(engine, stage.number, "pp forward"),
            -1: _Stream(engine, stage.number, "pp back"),
        }
        self.tasks = order(
            self.plan.schedule, self.plan.pp, stage.number, self.plan.micro_batches, self.plan.virtual_stages
        )
        self.end = 0.0
        self.buckets = engine.buckets[stage.number]
        self.sharded = self.plan.zero == 3 and self.plan.shards > 1
        self.split = any(task.kind == "W" for task in self.tasks)
        self.ready: dict[int, simpy.Event] = {}
        self.uses: list[tuple[str, Unit]] = []
        self.used = self.asked = 0
        self.use_ready: list[simpy.Event | None] = []
        self._totals: dict[int, tuple[Script, dict[str, float] | None]] = {}
        self.last = {
            chunk: max(
                i for i, task in enumerate(self.tasks) if task.chunk == chunk and task.kind == self._final
            )
            for chunk in range(len(stage.chunks))
        }

    @property
    def _final(self) -> str:
        return "W" if self.split else "B"

    # The step -----------------------------------------------------------------------------------------

    def run(self) -> Generator[simpy.Event, Any, None]:
        """Everything that this stage does in a step."""
        if self.engine.input_s > 0 and self.stage.number == 0:
            yield from self._sleep(self.engine.input_s, "input")
        if self.sharded:
            self._list_uses()
        elif self.plan.overlap_parameters:
            self._gather_ahead()
        for number, task in enumerate(self.tasks):
            yield from self._task(number, task)
        yield from self._wait(self.data.tail, "dp")
        # The norm of all gradients is needed before the first weight changes.
        self.engine.finished[self.stage.number].succeed()
        for other in self.engine.finished:
            yield from self._wait(other, "bubble")
        yield from self._sleep(self.engine.optimizer[self.stage.number], "optimizer")
        if not self.sharded and not self.plan.overlap_parameters:
            for bucket in self.buckets:
                self._queue(gathers(self.plan, bucket))
            yield from self._wait(self.data.tail, "dp")
        self.end = self.env.now

    def _task(self, number: int, task: Task) -> Generator[simpy.Event, Any, None]:
        place = task.chunk * self.plan.pp + self.stage.number
        if task.kind == "F" and place > 0:
            yield from self._receive("F", place, task.micro_batch)
        elif task.kind == "B" and place < self.plan.chunks - 1:
            yield from self._receive("B", place, task.micro_batch)
        start = self.env.now
        units = self.stage.chunks[task.chunk]
        if task.kind != "F":
            units = units[::-1]
        final = number == self.last[task.chunk]
        if self._needs_units(task, final):
            for unit in units:
                yield from self._unit(task, unit, final)
        else:
            for unit in units:
                self._book(self._script(task, unit))
            seconds = sum(sum((self._total(self._script(task, unit)) or {}).values()) for unit in units)
            yield self.env.timeout(seconds)
        self.engine.span(self.stage.number, "compute", f"{task.kind}{task.micro_batch}", start)
        if task.kind == "F" and place < self.plan.chunks - 1:
            yield from self._send(1, "F", place + 1, task.micro_batch)
        elif task.kind == "B" and place > 0:
            yield from self._send(-1, "B", place - 1, task.micro_batch)

    def _needs_units(self, task: Task, final: bool) -> bool:
        """Whether something may happen between the layers of a task."""
        if self.sharded or final or self.data.waiting:
            return True
        return any(self._total(self._script(task, unit)) is None for unit in self.stage.chunks[task.chunk])

    def _unit(self, task: Task, unit: Unit, final: bool) -> Generator[simpy.Event, Any, None]:
        if self.sharded:
            yield from self._shard(task)
        elif task.kind == "F" and id(unit) in self.ready:
            yield from self._wait(self.ready.pop(id(unit)), "dp")
        yield from self._play(self._script(task, unit))
        if self.sharded and task.kind == self._final:
            yield from self._reduce(reductions(self.plan, (unit,)))
        elif final:
            for bucket in self.buckets:
                if bucket[-1] is unit:
                    yield from self._reduce(reductions(self.plan, bucket))

    def _reduce(self, operations: Sequence[Operation]) -> Generator[simpy.Event, Any, None]:
        done = self._queue(operations)
        if done is not None and not self.plan.overlap_gradients:
            yield from self._wait(done, "dp")

    def _queue(self, operations: Sequence[Operation]) -> simpy.Event | None:
        return self.data.put(operations) if operations else None

    def _script(self, task: Task, unit: Unit) -> Script:
        layer = unit.layer
        if task.kind == "F":
            return layer.forward
        if task.kind == "W":
            return layer.weights
        return layer.inputs if self.split else layer.backward

    # Weights ------------------------------------------------------------------------------------------

    def _gather_ahead(self) -> None:
        """Gather the weights that the last step's optimizer left in shards, in the order of their use."""
        for bucket in reversed(self.buckets):
            event = self._queue(gathers(self.plan, bucket))
            if event is not None:
                self.ready.update((id(unit), event) for unit in bucket)

    def _list_uses(self) -> None:
        """Uses of weights in order, each with whether it needs a gather."""
        seen: set[int] = set()
        for task in self.tasks:
            if task.kind == "W":
                continue
            units = self.stage.chunks[task.chunk]
            for unit in units if task.kind == "F" else units[::-1]:
                fresh = self.plan.reshard or id(unit) not in seen
                seen.add(id(unit))
                self.uses.append(("gather" if fresh else "", unit))
        self._ask(max(self.plan.prefetch, 1))

    def _ask(self, until: int) -> None:
        while self.asked < min(until, len(self.uses)):
            how, unit = self.uses[self.asked]
            self.use_ready.append(self._queue(gathers(self.plan, (unit,)) if how else []))
            self.asked += 1

    def _shard(self, task: Task) -> Generator[simpy.Event, Any, None]:
        if task.kind == "W":
            return
        self._ask(self.used + 1)
        yield from self._wait(self.use_ready[self.used], "dp")
        self.used += 1
        self._ask(self.used + self.plan.prefetch)

    # Scripts ------------------------------------------------------------------------------------------

    def _total(self, script: Script) -> dict[str, float] | None:
        """Seconds of a script by heading, if nothing else can change them."""
        if id(script) not in self._totals:
            total: defaultdict[str, float] | None = defaultdict(float)
            for item in script:
                if isinstance(item, Talk) and not self.engine.alone(item.operation, self.stage.number):
                    total = None
                    break
                assert total is not None
                for key, seconds in self._item(item):
                    total[key] += seconds
            if total is not None:
                total["compute"] += max(self.engine.floor.get(id(script), 0.0) - sum(total.values()), 0.0)
            self._totals[id(script)] = script, total
        return self._totals[id(script)][1]

    def _item(self, item: Item) -> list[tuple[str, float]]:
        """An item's seconds by heading, with nothing else running."""
        if isinstance(item, Work):
            return [("compute", item.seconds)]
        alone = self.engine.traffic.seconds(item.operation, self.stage.number)
        work = item.beside.seconds if item.beside else 0.0
        together = beside(work, alone, self.engine.share, item.parts)
        return [("compute", work), (heading(item.operation.axis), together - work)]

    def _book(self, script: Script) -> None:
        for key, seconds in (self._total(script) or {}).items():
            self.spent[key] += seconds
        for item in script:
            if isinstance(item, Talk):
                self._alone_once(item)

    def _alone_once(self, item: Talk) -> None:
        stage = self.stage.number
        self.engine.unstarted[item.operation, stage] += 1
        self.engine.busy[heading(item.operation.axis)] += self.engine.traffic.seconds(item.operation, stage)

    def _play(self, script: Script) -> Generator[simpy.Event, Any, None]:
        """Run a script, with the collectives that others may slow down on the network."""
        total = self._total(script)
        if total is not None:
            self._book(script)
            lost = self._slowed(total.get("compute", 0.0))
            self.spent["dp"] += lost
            yield self.env.timeout(sum(total.values()) + lost)
            return
        start = self.env.now
        for item in script:
            if isinstance(item, Work):
                lost = self._slowed(item.seconds)
                yield from self._sleep(item.seconds, "compute")
                yield from self._sleep(lost, "dp")
            elif self.engine.alone(item.operation, self.stage.number):
                self._alone_once(item)
                for key, seconds in self._item(item):
                    yield from self._sleep(seconds, key)
            else:
                yield from self._talk(item)
        yield from self._sleep(self.engine.floor.get(id(script), 0.0) - (self.env.now - start), "compute")

    def _talk(self, item: Talk) -> Generator[simpy.Event, Any, None]:
        key, start = heading(item.operation.axis), self.env.now
        done = self.engine.traffic.start(item.operation, self.stage.number)
        work = item.beside.seconds if item.beside else 0.0
        if work:
            alone = self.engine.traffic.seconds(item.operation, self.stage.number)
            yield from self._sleep(work, "compute")
            yield from self._sleep(beside(work, min(alone, work), self.engine.share) - work, key)
        yield from self._wait(done, key)
        if work and item.parts > 1:
            yield from self._sleep(min(work, alone) / item.parts, key)
        self.engine.busy[key] += self.env.now - start

    def _slowed(self, work: float) -> float:
        """Seconds that collectives of the data ranks, which run beside it, add to ``work`` seconds of computation."""
        share = self.engine.share
        ahead = max(self.data.free - self.env.now, 0.0) if self.data.waiting else 0.0
        return min(ahead * share, work * share / (1.0 - share))

    # Waiting ------------------------------------------------------------------------------------------

    def _sleep(self, seconds: float, key: str) -> Generator[simpy.Event, Any, None]:
        if seconds > 0:
            self.spent[key] += seconds
            yield self.env.timeout(seconds)

    def _wait(self, event: simpy.Event | None, key: str) -> Generator[simpy.Event, Any, None]:
        if event is not None and not event.processed:
            start = self.env.now
            yield event
            self.spent[key] += self.env.now - start

    def _receive(self, kind: str, place: int, batch: int) -> Generator[simpy.Event, Any, None]:
        event, sent = self.engine.arrival(kind, place, batch)
        if event.processed:
            return
        start = self.env.now
        yield event
        waited = self.env.now - start
        under_way = min(self.env.now - sent[0], waited) if sent else 0.0
        self.spent["pp"] += under_way
        self.spent["bubble"] += waited - under_way

    def _send(self, direction: int, kind: str, place: int, batch: int) -> Generator[simpy.Event, Any, None]:
        event, sent = self.engine.arrival(kind, place, batch)
        shift = self.engine.shifts[direction]
        if shift is None:
            sent.append(self.env.now)
            event.succeed()
            return
        done = self.links[direction].put([shift], sent)
        self.env.process(_forward(done, event))
        if not self.plan.overlap_pp:
            yield from self._wait(done, "pp")


def _forward(done: simpy.Event, event: simpy.Event) -> Generator[simpy.Event, Any, None]:
    yield done
    event.succeed()


def beside(work: float, talk: float, share: float, parts: int = 1) -> float:
    """Seconds of computation and a collective side by side.

    Parameters
    ----------
    work, talk : float
        Seconds of each alone.
    share : float
        Share of the chip that the collective takes while it runs.
    parts : int
        Pieces, of which the first of one must be done before the other starts; 1 if they are independent.
    """
    if not work or not talk:
        return work + talk
    together = max(work + talk * share, talk) if talk * (1.0 - share) < work else talk
    return together + (min(work, talk) / parts if parts > 1 else 0.0)
