"""Collectives that data parallel ranks need for gradients and weights: which of them, and of what size."""

from __future__ import annotations

from collections.abc import Sequence

from topo.training.operation import Operation
from topo.training.plan import Plan
from topo.training.stages import Stage, Unit


def buckets(plan: Plan, stage: Stage) -> list[tuple[Unit, ...]]:
    """Units whose gradients are reduced together, in the order of the backward pass; never across chunks."""
    found: list[tuple[Unit, ...]] = []
    for chunk in reversed(stage.chunks):
        now: list[Unit] = []
        size = 0.0
        for unit in reversed(chunk):
            now.append(unit)
            size += unit.parameters * plan.gradient_bytes
            if size >= plan.bucket_bytes:
                found.append(tuple(now))
                now, size = [], 0.0
        if now:
            found.append(tuple(now))
    return found


def reductions(plan: Plan, units: Sequence[Unit]) -> list[Operation]:
    """Collectives that reduce the gradients of some units.

    Plain data parallelism: an all-reduce.  ZeRO: a reduce-scatter; with shards over fewer ranks (hybrid), and an
    all-reduce of each shard over its replicas.
    """
    dense = sum(unit.dense for unit in units) * plan.gradient_bytes
    experts = sum(unit.experts for unit in units) * plan.gradient_bytes
    return [*_reduce(plan, dense), *_experts(plan, experts, "reduce-scatter" if plan.zero else "all-reduce")]


def _reduce(plan: Plan, size: float) -> list[Operation]:
    if plan.data == 1 or not size:
        return []
    if plan.zero == 0:
        return [Operation("data", "all-reduce", size)]
    if plan.shards == plan.data:
        return [Operation("data", "reduce-scatter", size)]
    if plan.shards == 1:
        return [Operation("replica", "all-reduce", size)]
    return [
        Operation("shard", "reduce-scatter", size),
        Operation("replica", "all-reduce", size / plan.shards),
    ]


def gathers(plan: Plan, units: Sequence[Unit]) -> list[Operation]:
    """Collectives that gather the weights of some units from their shards."""
    if plan.zero == 0:
        return []
    dense = sum(unit.dense for unit in units) * plan.parameter_bytes
    experts = sum(unit.experts for unit in units) * plan.parameter_bytes
    found = []
    if plan.shards > 1 and dense:
        found.append(Operation("data" if plan.shards == plan.data else "shard", "all-gather", dense))
    return found + _experts(plan, experts, "all-gather")


def _experts(plan: Plan, size: float, operation: str) -> list[Operation]:
    """The same for the experts of a rank, whose copies are fewer."""
    if not size:
        return []
    if plan.ep == 1:
        return [Operation("data", operation, size)] if plan.data > 1 else []
    return [Operation("edp", operation, size)] if plan.stage_ranks > plan.ep else []
