"""All plans that a search considers for a model on so many accelerators."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

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
    context : tuple of str
        Ways of context parallelism.
    hybrid : bool
        Also shards that fill 1, 2, 4 ... scale-up domains, copied from each to the next (hybrid sharding).
    uneven : bool
        Where layers divide evenly, also a last stage with fewer of them, as it has the head too.
    """

    batch: int
    tolerance: float = 0.02
    micro_batches: tuple[int, ...] = (1, 2, 4, 8)
    schedules: tuple[str, ...] = ("1f1b", "gpipe", "interleaved", "zb-h1")
    virtual_stages: tuple[int, ...] = (2, 3, 4, 5, 6, 8, 10)
    recompute: tuple[str, ...] = ("none", "selective", "elementwise", "full")
    zero: tuple[int, ...] = (1, 2, 3)
    context: tuple[str, ...] = ("ring", "ulysses")
    hybrid: bool = True
    uneven: bool = True

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


def families(
    model: Model, accelerators: int, base: Plan, space: Space, domain: int | None = None
) -> Iterator[Family]:
    """Every legal plan, in families.

    Parameters
    ----------
    model : Model
    accelerators : int
    base : Plan
        Gives what the search does not vary: tokens of a sequence, precision, what is overlapped.
    space : Space
    domain : int, optional
        Accelerators of a scale-up domain; all by default.
    """
    domain = domain or accelerators
    for tp in divisors(accelerators):
        if model.heads % tp:
            continue
        for cp in divisors(accelerators // tp):
            if base.seq % cp or base.seq // cp < LEAST_TOKENS:
                continue
            for pp in divisors(accelerators // tp // cp):
                if pp > model.layers:
                    break
                dp = accelerators // (tp * cp * pp)
                for ep in _expert_degrees(model, accelerators // pp):
                    for micro in space.micro_batches:
                        batch = space.nearest_batch(dp * micro)
                        if not batch:
                            continue
                        for context in space.context if cp > 1 else space.context[:1]:
                            for shard in _shards(space, dp * cp, tp, domain):
                                keys = {
                                    "tp": tp,
                                    "cp": cp,
                                    "pp": pp,
                                    "dp": dp,
                                    "ep": ep,
                                    "micro_batch": micro,
                                    "global_batch": batch,
                                    "context": context,
                                    "shard": shard,
                                }
                                yield from _schedules(model, base, space, keys)


def _expert_degrees(model: Model, stage_ranks: int) -> list[int]:
    if model.experts is None:
        return [1]
    return [ep for ep in divisors(model.experts.count) if stage_ranks % ep == 0]


def _shards(space: Space, data: int, tp: int, domain: int) -> list[int | None]:
    """Data ranks that share one copy of the weights: all of them, or those of some domains."""
    found: list[int | None] = [None]
    if space.hybrid and domain % tp == 0:
        shard = domain // tp
        while shard < data:
            if shard > 1 and data % shard == 0:
                found.append(shard)
            shard *= 2
    return found


def _splits(model: Model, pp: int, chunks: int, uneven: bool) -> list[tuple[int, ...] | None]:
    """Layers of each chunk: as even as can be, and with fewer where the head is."""
    found: list[tuple[int, ...] | None] = [None]
    each, rest = divmod(model.layers, chunks)
    if pp > 1 and uneven and not rest:
        layer = (model.active_parameters - model.vocabulary * model.hidden) / model.layers
        fewer = min(int(model.vocabulary * model.hidden / layer * (pp - 1) / pp), each - 1, pp - 1)
        if fewer > 0:
            even = [each] * chunks
            even[-1] -= fewer
            for number in range(fewer):
                even[-2 - number] += 1
            found.append(tuple(even))
    return found


def _schedules(model: Model, base: Plan, space: Space, keys: dict[str, Any]) -> Iterator[Family]:
    kinds: list[tuple[str, int]] = [("1f1b", 1)]
    if keys["pp"] > 1:
        kinds = [(name, 1) for name in space.schedules if name != "interleaved"]
        if "interleaved" in space.schedules:
            most = model.layers // keys["pp"]
            kinds += [("interleaved", v) for v in space.virtual_stages if v <= most]
    for schedule, virtual in kinds:
        for split in _splits(model, keys["pp"], keys["pp"] * virtual, space.uneven):
            choices = {**keys, "schedule": schedule, "virtual_stages": virtual, "layer_split": split}
            family = _family(model, base, space, choices)
            if family is not None:
                yield family


def _family(model: Model, base: Plan, space: Space, keys: dict[str, Any]) -> Family | None:
    """Plans of the same choices by ZeRO stage and recomputation; None where they are not legal."""
    checked = False
    rows: list[tuple[Plan, ...]] = []
    for zero in space.zero if keys["dp"] * keys["cp"] > 1 else space.zero[:1]:
        row: list[Plan] = []
        for policy in space.recompute:
            if policy == "selective" and base.flash:
                continue  # nothing to recompute that fused attention keeps
            try:
                plan = replace(base, **keys, zero=zero, recompute=policy)
                if not checked:
                    plan.check(model)
                    checked = True
            except TopoError:
                return Family(tuple(rows)) if rows else None
            row.append(plan)
        rows.append(tuple(row))
    return Family(tuple(rows))
