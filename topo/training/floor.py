"""A time that no simulation of a plan on a placement goes below; cheap enough for thousands of plans.

Every term is a cause of the simulation (:mod:`topo.training.engine`):

- a stage works through all its micro-batches, one piece after the other; a collective that nothing hides takes its
  bytes at the port of an accelerator, or at the ports of a group's part in one domain, and no latency;
- the first micro-batch passes all earlier stages first, the last one passes them last, with the sends in between
  (with interleaving, their first chunks only);
- the optimizer runs after that, as gradients are scaled by the norm of all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from topo.fabric import Fabric, sums
from topo.training.operation import Operation
from topo.training.placement import Placement
from topo.training.plan import Plan
from topo.training.script import Item, Work
from topo.training.stages import Stage


@dataclass(frozen=True, eq=False)
class Ports:
    """What leaves the accelerators of a fabric at most, and arrives at most.

    Parameters
    ----------
    fabric : Fabric
    """

    fabric: Fabric

    @cached_property
    def port(self) -> float:
        """Bytes/s of the widest accelerator, all links together."""
        return float(max(self.fabric.egress.max(), self.fabric.ingress.max()))

    @cached_property
    def way_out(self) -> float:
        """Bytes/s of the widest accelerator out of its domain; infinite where domains are not told apart."""
        fabric = self.fabric
        if fabric.domains == 1:
            return np.inf
        here = np.repeat(-1, len(fabric.nodes))
        here[fabric.accelerators] = fabric.domain
        leaves = fabric.scale_out
        out = sums(fabric.source[leaves], fabric.bandwidth[leaves], len(fabric.nodes))[fabric.accelerators]
        into = sums(fabric.target[leaves], fabric.bandwidth[leaves], len(fabric.nodes))[fabric.accelerators]
        widest = float(max(out.max(), into.max()))
        return widest if widest > 0 else np.inf


class Floor:
    """Floors of operations and steps on one placement.

    Parameters
    ----------
    placement : Placement
    ports : Ports
    """

    def __init__(self, placement: Placement, ports: Ports) -> None:
        self.placement, self.ports = placement, ports
        self._shape: dict[str, tuple[int, int]] = {}

    def shape(self, axis: str) -> tuple[int, int]:
        """Ranks of a group, and the most of them that share a domain (in the group where that is fewest)."""
        if axis not in self._shape:
            groups = self.placement.groups(axis)
            domain = np.sort(self.placement.fabric.domain[groups], axis=1)
            fresh = np.diff(domain, axis=1, prepend=-1) > 0
            start = np.where(fresh, np.arange(groups.shape[1]), 0)
            run = np.arange(groups.shape[1]) - np.maximum.accumulate(start, axis=1) + 1
            self._shape[axis] = int(groups.shape[1]), int(run.max(axis=1).min())
        return self._shape[axis]

    def operation(self, operation: Operation) -> float:
        """Seconds below which no transfers between the members of a group carry out its collective.

        All-gather: what a part of the group lacks must arrive at its ports.  Reduce-scatter: the same, turned round.
        All-reduce: at least its bytes must enter and leave any part.  All-to-all: what a part owes the others must
        leave it.  A part is one rank, or the ranks that share a domain.
        """
        size, together = self.shape(operation.axis)
        if size < 2:
            return 0.0
        seconds = 0.0
        for part, rate in ((1, self.ports.port), (together, together * self.ports.way_out)):
            if part >= size:
                continue
            if operation.operation in ("all-gather", "reduce-scatter"):
                crossing = operation.bytes * (size - part) / size
            elif operation.operation == "all-to-all":
                crossing = operation.bytes / size * part * (size - part)
                # A skewed load leaves one rank with most of it, and its own share at home.
                crossing /= operation.skew if operation.skew > 1 else 1.0
            elif operation.operation == "send-recv":
                crossing = operation.bytes if part == 1 else 0.0
            else:
                crossing = operation.bytes
            seconds = max(seconds, crossing / rate)
        return seconds

    def script(self, script: Sequence[Item]) -> float:
        """Seconds that a script takes at least."""
        total = 0.0
        for item in script:
            if isinstance(item, Work):
                total += item.seconds
            else:
                beside = item.beside.seconds if item.beside else 0.0
                total += max(self.operation(item.operation), beside)
        return total

    def step(self, plan: Plan, stages: Sequence[Stage], optimizer: Sequence[float], sent: float) -> float:
        """Seconds that a step takes at least.

        Parameters
        ----------
        plan : Plan
        stages : sequence of Stage
        optimizer : sequence of float
            Seconds of each stage's optimizer.
        sent : float
            Bytes that a rank sends to the next stage per micro-batch.
        """
        late = plan.schedule == "zb-h1"
        hop = 0.0
        if plan.pp > 1 and sent > 0:
            hop = self.operation(Operation("pp", "send-recv", sent))
        known: dict[int, tuple[float, float, float]] = {}

        def times(stage: Stage, chunk: int) -> tuple[float, float, float]:
            total = [0.0, 0.0, 0.0]
            for unit in stage.chunks[chunk]:
                if id(unit.layer) not in known:
                    layer = unit.layer
                    known[id(layer)] = (
                        self.script(layer.forward),
                        self.script(layer.inputs if late else layer.backward),
                        self.script(layer.weights) if late else 0.0,
                    )
                for i, seconds in enumerate(known[id(unit.layer)]):
                    total[i] += seconds
            return total[0], total[1], total[2]

        fill = drain = longest = 0.0
        for stage in stages:
            forward, backward, put_off = map(
                sum, zip(*(times(stage, chunk) for chunk in range(len(stage.chunks))), strict=True)
            )
            here = plan.micro_batches * (forward + backward)
            longest = max(longest, fill + here + drain, fill + here + plan.micro_batches * put_off)
            first = times(stage, 0)
            fill += first[0] + hop
            drain += first[1] + hop
        return longest + max(optimizer, default=0.0)
