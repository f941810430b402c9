"""Memory and floors of plans, without simulating any."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from topo.fabric import Fabric
from topo.system import Chip, System
from topo.training.binding import bind
from topo.training.choice import patterns
from topo.training.floor import Terms, floor_of
from topo.training.least import Anywhere, Placed, Reach
from topo.training.memory import flying, memory_of, room
from topo.training.model import Model
from topo.training.placement import Placement, legal_placements, place
from topo.training.plan import Plan
from topo.training.rates import Rates, chip_rates
from topo.training.space import Family
from topo.training.stages import Stage, Unit, build_stages
from topo.training.step import activation_bytes, optimizer_seconds

MOST_WAYS = 24
"""Placements of one plan that are looked at."""
KEPT_STAGES = 64


@dataclass(frozen=True)
class Candidate:
    """A plan that fits the memory, in a placement or wherever it lies.

    Parameters
    ----------
    plan : Plan
    placement : str
        Empty for wherever it lies.
    memory_bytes : float
        Of the fullest accelerator.
    floor_s : float
        No simulation is faster.
    """

    plan: Plan
    placement: str
    memory_bytes: float
    floor_s: float

    @property
    def order(self) -> tuple[float, str, str]:
        """By floor per token; names decide between equals."""
        return rounded(self.floor_s / self.plan.tokens), self.plan.words, self.placement


def rounded(seconds: float) -> float:
    """To ten digits: what was remembered from other plans may move the last ones."""
    return float(f"{seconds:.10g}")


class Scout:
    """Memory and floors of the plans for one model on one system.

    Parameters
    ----------
    model : Model
    system : System
    chip : Chip
    ccl : str or None
        The system's own by default.
    """

    def __init__(self, model: Model, system: System, chip: Chip, ccl: str | None) -> None:
        self.model, self.system, self.chip = model, system, chip
        self.rates: Rates = chip_rates(chip)
        self.fabric: Fabric = bind(system, ccl).fabric
        self.reach = Reach(self.fabric)
        self.room = room(chip)
        self.least = float("inf")
        self.leanest: Plan | None = None
        self._stages: dict[tuple[object, ...], tuple[Stage, ...]] = {}
        self._same: dict[int, list[int]] = {}
        self._anywhere: dict[tuple[object, ...], Anywhere] = {}
        self._ways: dict[tuple[object, ...], list[Placement]] = {}

    def candidates(self, family: Family) -> Iterator[Candidate]:
        """Plans of a family that fit and that none of the others is sure to match.

        With more recomputed, the same happens with more work in between; and ZeRO 2 sends what ZeRO 1 sends.  Neither
        can be faster, so each ZeRO stage keeps the least recomputation that fits, and ZeRO 2 only where that is less
        than with ZeRO 1.
        """
        copied: int | None = None
        for row in family.plans:
            for number, plan in enumerate(row):
                if plan.zero == 2 and copied is not None and number >= copied:
                    break
                memory = memory_of(self.model, plan, self._fullest(plan)).total
                if memory < self.least:
                    self.least, self.leanest = memory, plan
                if memory <= self.room:
                    if plan.zero < 3:
                        copied = number
                    # Tokens for several experts of one domain cross once; two domains cost the least.
                    spread = 2 if plan.ep > 1 and self.fabric.domains > 1 else 1
                    yield Candidate(plan, "", memory, self._floor(plan, self.anywhere(plan), spread))
                    break

    def _fullest(self, plan: Plan) -> list[Stage]:
        """Stages of which one is the fullest: of those that hold the same, the one with most under way."""
        stages = self.stages(plan)
        found: dict[int, tuple[float, Stage]] = {}
        for stage, holds in zip(stages, self._holds(stages), strict=True):
            here = flying(plan, stage.number)
            if holds not in found or here > found[holds][0]:
                found[holds] = here, stage
        return [stage for _, stage in found.values()]

    def _holds(self, stages: tuple[Stage, ...]) -> list[int]:
        """A number for each stage; equal where stages hold the same."""
        if id(stages) not in self._same:
            kinds: dict[object, int] = {}
            held = [
                tuple(frozenset(Counter(map(_trait, chunk)).items()) for chunk in stage.chunks)
                for stage in stages
            ]
            self._same[id(stages)] = [kinds.setdefault(kind, len(kinds)) for kind in held]
        return self._same[id(stages)]

    def placed(self, candidate: Candidate) -> list[Candidate]:
        """The same plan in every placement in which its groups lie otherwise."""
        plan = candidate.plan
        key = (plan.tp, plan.cp, plan.dp, plan.pp, plan.ep, plan.shards)
        if key not in self._ways:
            self._ways[key] = self._placements(plan)
        found = []
        for placement in self._ways[key]:
            spread = placement.spans["ep"][0] if plan.ep > 1 else 1
            floor = self._floor(plan, self._lying(key, plan, placement), spread)
            floor = max(candidate.floor_s, floor)
            found.append(Candidate(plan, placement.name, candidate.memory_bytes, floor))
        return found

    def _placements(self, plan: Plan) -> list[Placement]:
        found: dict[tuple[bytes, ...], Placement] = {}
        for way in legal_placements(plan, self.fabric, MOST_WAYS):
            placement = place(plan, self.fabric, way)
            found.setdefault(_pattern(placement), placement)
        return list(found.values())

    def _floor(self, plan: Plan, least: Anywhere, expert_domains: int) -> float:
        stages = self.stages(plan, expert_domains)
        optimizer = [optimizer_seconds(plan, stage, self.rates) for stage in stages]
        sent = activation_bytes(self.model, plan)
        terms = Terms(optimizer, sent, self.rates.communication_share)
        return floor_of(plan, stages, least, terms, self._holds(stages))

    def anywhere(self, plan: Plan) -> Anywhere:
        """Least seconds of a plan's operations; plans of the same degrees share them."""
        key = (plan.tp, plan.cp, plan.dp, plan.pp, plan.ep, plan.shards)
        if key not in self._anywhere:
            self._anywhere[key] = Anywhere(plan, self.reach)
        return self._anywhere[key]

    def _lying(self, degrees: tuple[object, ...], plan: Plan, placement: Placement) -> Anywhere:
        key = (*degrees, placement.name)
        if key not in self._anywhere:
            self._anywhere[key] = Placed(plan, self.reach, placement)
        return self._anywhere[key]

    def stages(self, plan: Plan, expert_domains: int = 1) -> tuple[Stage, ...]:
        """The stages of a plan; they do not depend on how many replicas there are and what these share."""
        key = (
            plan.tp,
            plan.cp,
            plan.context,
            plan.pp,
            plan.ep,
            plan.micro_batch,
            plan.virtual_stages,
            plan.layer_split,
            plan.recompute,
            expert_domains,
        )
        if key not in self._stages:
            if len(self._stages) >= KEPT_STAGES:
                self._stages.clear()
                self._same.clear()
            self._stages[key] = build_stages(self.model, plan, self.rates, expert_domains)
        return self._stages[key]

    def complaint(self, considered: int) -> tuple[str, str]:
        """What to say when nothing fits."""
        name, where = self.model.name, self.system.name
        if self.leanest is None:
            return (
                f"{name} has no legal plan on {where}",
                "degrees must divide heads, layers, experts and the batch; try another number of accelerators or batch",
            )
        return (
            f"{name} fits on no plan of {where}: the leanest of {considered:,} ({self.leanest.words}) needs "
            f"{self.least / 1e9:.1f} GB on each accelerator, {(self.least - self.room) / 1e9:.1f} GB too much",
            "take more accelerators"
            + (
                ", or stream its weights (topo step --mapping streaming)"
                if self.system.outside_memory
                else ""
            ),
        )


def _trait(unit: Unit) -> tuple[int, float, float]:
    return id(unit.layer), unit.dense, unit.experts


def _pattern(placement: Placement) -> tuple[bytes, ...]:
    """How the groups of every axis lie, whichever group lies where."""
    found = []
    for axis in ("tp", "cp", "data", "pp", "ep", "edp", "shard", "replica"):
        if placement.degree(axis) > 1:
            table, count = np.unique(
                patterns(placement.fabric, placement.members(axis)), axis=0, return_counts=True
            )
            found += [axis.encode(), table.tobytes(), count.tobytes()]
    return tuple(found)
