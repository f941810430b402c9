"""A time that no simulation of a plan goes below; cheap enough for thousands of plans.

Every term is a cause of the simulation (:mod:`topo.training.engine`), with the least seconds of every collective
(:mod:`topo.training.least`) in place of those that the network would take:

- a stage works through all its micro-batches, one piece after the other, with the collectives that nothing hides;
- the first micro-batch passes all earlier stages first, the last one passes them last, with the sends in between
  (with interleaving, their first chunks only);
- collectives of the data ranks run one after the other.  With sharded weights a stage gathers and reduces in every
  micro-batch, the first gather before anything and the last reduction after everything.  Otherwise the last layers of
  the first micro-batch wait for all gathers, and all reductions wait for the last micro-batch;
- computation beside them is slowed by the share of the chip that they take;
- the optimizer runs after that, as gradients are scaled by the norm of all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from topo.training.engine import beside
from topo.training.least import Anywhere
from topo.training.operation import Operation
from topo.training.plan import Plan
from topo.training.script import Item, Work
from topo.training.sharding import gathers, reductions
from topo.training.stages import Stage, Unit


@dataclass(frozen=True)
class Terms:
    """What a floor needs besides the stages.

    Parameters
    ----------
    optimizer : sequence of float
        Seconds of each stage's optimizer.
    sent : float
        Bytes that a rank sends to the next stage per micro-batch.
    share : float
        Share of a chip's units that a collective takes from computation beside it.
    """

    optimizer: Sequence[float]
    sent: float
    share: float = 0.0


@dataclass
class _Pass:
    """Seconds of one micro-batch in some layers: forward, backward, and what is put off; of it, talk that shows."""

    forward: float = 0.0
    backward: float = 0.0
    put_off: float = 0.0
    talk: float = 0.0

    def add(self, other: _Pass) -> None:
        """Count layers in."""
        self.forward += other.forward
        self.backward += other.backward
        self.put_off += other.put_off
        self.talk += other.talk

    @property
    def all(self) -> float:
        """All of it."""
        return self.forward + self.backward + self.put_off


def floor_of(
    plan: Plan, stages: Sequence[Stage], least: Anywhere, terms: Terms, same: Sequence[int] | None = None
) -> float:
    """Seconds that a step takes at least.

    Parameters
    ----------
    plan : Plan
    stages : sequence of Stage
    least : Anywhere
        Least seconds of the plan's operations.
    terms : Terms
    same : sequence of int, optional
        A number for each stage, equal where stages hold the same.
    """
    floor = _Floor(plan, least, terms)
    fill = drain = longest = 0.0
    known: dict[int, list[_Pass]] = {}
    same = same or range(len(stages))
    last = {kind: number for number, kind in enumerate(same)}
    for number, (stage, kind) in enumerate(zip(stages, same, strict=True)):
        if kind not in known:
            known[kind] = [floor.units(chunk) for chunk in stage.chunks]
        chunks = known[kind]
        if last[kind] == number:  # of stages that hold the same, it waits longest for the first micro-batch
            longest = max(longest, floor.stage(stage, chunks, fill, drain))
        fill += chunks[0].forward + floor.hop
        drain += chunks[0].backward + floor.hop
    return longest + max(terms.optimizer, default=0.0)


class _Floor:
    """Floors of the stages of one plan."""

    def __init__(self, plan: Plan, least: Anywhere, terms: Terms) -> None:
        self.plan, self.least, self.share = plan, least, terms.share
        self.late = plan.schedule == "zb-h1"
        self.hop = 0.0
        if plan.pp > 1 and terms.sent > 0:
            self.hop = least.seconds(Operation("pp", "send-recv", terms.sent))
        self._layers: dict[int, _Pass] = {}

    def units(self, units: Sequence[Unit]) -> _Pass:
        """One micro-batch in some layers."""
        total = _Pass()
        for unit in units:
            total.add(self.unit(unit))
        return total

    def unit(self, unit: Unit) -> _Pass:
        """One micro-batch in one layer."""
        layer = unit.layer
        if id(layer) not in self._layers:
            scripts = (layer.forward, layer.inputs if self.late else layer.backward)
            found = [self._script(script) for script in (*scripts, *((layer.weights,) if self.late else ()))]
            put_off = found[2][0] if self.late else 0.0
            talk = sum(entry[1] for entry in found)
            self._layers[id(layer)] = _Pass(found[0][0], found[1][0], put_off, talk)
        return self._layers[id(layer)]

    def _script(self, script: Sequence[Item]) -> tuple[float, float]:
        """Seconds that a script takes at least, and how many of them are talk that shows."""
        total = talk = 0.0
        for item in script:
            if isinstance(item, Work):
                total += item.seconds
                continue
            work = item.beside.seconds if item.beside else 0.0
            together = beside(work, self.least.seconds(item.operation), self.share, item.parts)
            total += together
            talk += together - work
        return total, talk

    def _data(self, operations: Sequence[Operation]) -> float:
        return sum(self.least.seconds(operation) for operation in operations)

    def stage(self, stage: Stage, chunks: Sequence[_Pass], fill: float, drain: float) -> float:
        """Seconds until a stage has done its work and reduced its gradients."""
        times = self.plan.micro_batches
        once = _Pass()
        for chunk in chunks:
            once.add(chunk)
        work = times * once.all
        busy = times * (once.forward + once.backward)
        longest = max(fill + busy + drain, fill + work)
        units = [unit for chunk in stage.chunks for unit in chunk]
        gather, reduce = self._data(gathers(self.plan, units)), self._data(reductions(self.plan, units))
        if not gather + reduce:
            return longest
        if self.plan.zero == 3 and self.plan.shards > 1:
            first = self._data(gathers(self.plan, units[:1]))
            last = self._data(reductions(self.plan, units[:1]))
            total = times * reduce + (2 * times if self.plan.reshard else 1) * gather
            longest = max(longest, fill + work + last, first + work + last, total)
            around = first + last
        else:
            total, around = gather + reduce, 0.0
            longest = max(longest, self._unsharded(stage, chunks, fill, drain, gather, reduce))
        if self.plan.pp == 1:
            hidden = max(total - around - times * once.talk, 0.0)
            longest = max(longest, around + work + self.share * hidden)
        return longest

    def _unsharded(
        self,
        stage: Stage,
        chunks: Sequence[_Pass],
        fill: float,
        drain: float,
        gather: float,
        reduce: float,
    ) -> float:
        """With all weights in place: the last layers wait for all gathers, all reductions for the last micro-batch."""
        plan, last = self.plan, chunks[-1]
        times = plan.micro_batches
        end = self.unit(stage.chunks[-1][-1])
        after = 0.0 if plan.overlap_parameters else gather
        if len(chunks) > 1:
            # Chunks take turns; this is what the last one does.
            began = gather if plan.overlap_parameters else 0.0
            reduced = fill + times * last.all - last.backward - last.put_off + reduce
            return max(began + times * (last.backward + last.put_off) + drain, reduced) + after
        work = times * last.all
        final = last.put_off if self.late else last.backward
        final_end = end.put_off if self.late else end.backward
        reduced = work - final + final_end + reduce  # from the first forward pass on
        found = fill + reduced
        if plan.overlap_parameters:
            waited = gather - last.forward + end.forward
            found = max(found, waited + work + (0.0 if self.late else drain), waited + reduced)
        return found + after
