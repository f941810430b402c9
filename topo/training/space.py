"""All plans that a search considers for a model on so many accelerators."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from topo.errors import TopoError
from topo.training.model import Model
from topo.training.placement import divisors
from topo.training.plan import Plan

LEAST_TOKENS = 1024
"""Tokens of a sequence that a context parallel rank keeps at least."""


@dataclass(frozen=True)
class Space:
    """What a search may vary.

    Parameters
    ----------
    batch : int
        Sequences of a step that are wanted.
    tolerance : float
        Share by which a plan's batch may differ from that, where degrees do not divide it; plans are compared by
        their time per token.
    micro_batches : tuple of int
        Sequences of a micro-batch.
    schedules : tuple of str
    virtual_stages : tuple of int
        For ``interleaved``.
    recompute : tuple of str
        From the least to the most.
    zero : tuple of int
        ZeRO stages, ascending.
    """

    batch: int
    tolerance: float = 0.02
    micro_batches: tuple[int, ...] = (1, 2, 4, 8)
    schedules: tuple[str, ...] = ("1f1b", "interleaved", "zb-h1")
    virtual_stages: tuple[int, ...] = (2, 3, 4, 5, 6, 8, 10)
    recompute: tuple[str, ...] = ("none", "selective", "elementwise", "full")
    zero: tuple[int, ...] = (1, 2, 3)

    def nearest_batch(self, multiple: int) -> int:
        """The batch nearest to what is wanted that a number divides; 0 where none is near enough."""
        found = max(round(self.batch / multiple), 1) * multiple
        return found if abs(found - self.batch) <= self.tolerance * self.batch else 0


@dataclass(frozen=True)
class Family:
    """Plans that differ only in what trades memory for time: ZeRO stage and recomputation.

    Parameters
    ----------
    plans : tuple of tuple of Plan
        By ZeRO stage, ascending: by recomputation, from the least to the most.
    """

    plans: tuple[tuple[Plan, ...], ...]

    @property
    def size(self) -> int:
        """Number of plans."""
        return sum(len(row) for row in self.plans)


def families(model: Model, accelerators: int, base: Plan, space: Space) -> Iterator[Family]:
    """Every legal plan, in families.

    Parameters
    ----------
    model : Model
    accelerators : int
    base : Plan
        Gives what the search does not vary: tokens of a sequence, precision, what is overlapped.
    space : Space
    """
    for tp in divisors(accelerators):
        if model.heads % tp:
            continue
        for cp in divisors(accelerators // tp):
            if base.seq % cp or base.seq // cp < LEAST_TOKENS:
                continue
            for pp in divisors(accelerators // tp // cp):
                if pp > model.layers:
                    break
                keys = {"tp": tp, "cp": cp, "pp": pp, "dp": accelerators // (tp * cp * pp)}
                for ep in _expert_degrees(model, accelerators // pp):
                    for micro in space.micro_batches:
                        batch = space.nearest_batch(keys["dp"] * micro)
                        if batch:
                            yield from _schedules(
                                model,
                                base,
                                space,
                                {**keys, "ep": ep, "micro_batch": micro, "global_batch": batch},
                            )


def _expert_degrees(model: Model, stage_ranks: int) -> list[int]:
    if model.experts is None:
        return [1]
    return [ep for ep in divisors(model.experts.count) if stage_ranks % ep == 0]


def _schedules(model: Model, base: Plan, space: Space, keys: dict[str, int]) -> Iterator[Family]:
    kinds: list[tuple[str, int]] = [("1f1b", 1)]
    if keys["pp"] > 1:
        kinds = [(name, 1) for name in space.schedules if name != "interleaved"]
        if "interleaved" in space.schedules:
            most = model.layers // keys["pp"]
            kinds += [("interleaved", v) for v in space.virtual_stages if v <= most]
    for schedule, chunks in kinds:
        first: Plan | None = None
        rows: list[tuple[Plan, ...]] = []
        for zero in space.zero if keys["dp"] * keys["cp"] > 1 else space.zero[:1]:
            row: list[Plan] = []
            for policy in space.recompute:
                if policy == "selective" and base.flash:
                    continue  # nothing to recompute that fused attention keeps
                try:
                    plan = replace(
                        base,
                        schedule=schedule,
                        virtual_stages=chunks,
                        zero=zero,
                        recompute=policy,
                        shard=None,
                        layer_split=None,
                        dp=keys["dp"],
                        tp=keys["tp"],
                        cp=keys["cp"],
                        pp=keys["pp"],
                        ep=keys["ep"],
                        micro_batch=keys["micro_batch"],
                        global_batch=keys["global_batch"],
                    )
                    if first is None:
                        plan.check(model)
                        first = plan
                except TopoError:
                    break
                row.append(plan)
            if not row:
                break
            rows.append(tuple(row))
        if rows:
            yield Family(tuple(rows))
