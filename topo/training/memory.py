"""Bytes that each accelerator holds, by component, and whether they fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from topo.fabric import IntArray
from topo.system import Chip
from topo.training.model import BYTES, RECOMPUTE, Model
from topo.training.pipeline import in_flight, order
from topo.training.plan import Plan, PlanError
from topo.training.stages import Stage

COMPONENTS = ("weights", "gradients", "optimizer", "activations", "logits", "buffers")
RESERVED = 0.04
"""Share of the memory that the driver, the communication library and fragments keep."""


@dataclass(frozen=True)
class Memory:
    """Bytes of the fullest accelerator.

    Parameters
    ----------
    stage : int
        Which pipeline stage that is on.
    components : mapping of str to float
        Bytes by :data:`COMPONENTS`.
    """

    stage: int
    components: dict[str, float]

    @property
    def total(self) -> float:
        """All of them."""
        return sum(self.components.values())

    @property
    def largest(self) -> str:
        """The component with most bytes."""
        return max(self.components, key=self.components.__getitem__)


def memory_of(model: Model, plan: Plan, stages: Sequence[Stage]) -> Memory:
    """Memory of the fullest stage of a plan."""
    return max(memory_by_stage(model, plan, stages), key=lambda memory: memory.total)


def memory_by_stage(model: Model, plan: Plan, stages: Sequence[Stage]) -> list[Memory]:
    """Memory of one accelerator of each stage."""
    return [Memory(stage.number, _components(model, plan, stage)) for stage in stages]


def domain_bytes(memories: Sequence[Memory], rank: IntArray, domain: IntArray) -> float:
    """Bytes that the fullest scale-up domain holds, its memory taken as one pool.

    Parameters
    ----------
    memories : sequence of Memory
        By stage.
    rank : int array [pp, dp, cp, tp]
        Ranks of the fabric, as a placement has them.
    domain : int array [ranks]
        Of every rank.
    """
    held = np.empty(rank.size)
    held[rank.reshape(len(memories), -1)] = np.asarray([memory.total for memory in memories])[:, None]
    return float(np.bincount(domain, weights=held).max())


def _components(model: Model, plan: Plan, stage: Stage) -> dict[str, float]:
    """States by ZeRO stage (arXiv:1910.02054); activations by the schedule's micro-batches in flight."""
    copies = plan.stage_ranks // plan.ep if plan.ep > 1 else plan.data
    shards = {"weights": plan.zero >= 3, "gradients": plan.zero >= 2, "optimizer": plan.zero >= 1}
    held = {
        what: stage.dense / (plan.shards if split else 1) + stage.experts / (copies if split else 1)
        for what, split in shards.items()
    }
    whole = max(unit.parameters for chunk in stage.chunks for unit in chunk)
    buffers = 0.0
    if plan.zero >= 3:  # weights of the layers gathered now and next, and the gradients of one
        buffers += whole * (plan.parameter_bytes * (1 + plan.prefetch) + plan.gradient_bytes)
    elif plan.zero == 2:
        buffers += min(plan.bucket_bytes, stage.dense * plan.gradient_bytes)
    if plan.cp > 1 and plan.context == "ring":  # keys and values that come and go
        buffers += 2 * 2.0 * plan.micro_tokens * model.kv_width / plan.tp
    if plan.precision in ("fp8", "fp4") and plan.zero < 3:  # copies of the weights in both layouts
        buffers += 2 * BYTES[plan.precision] * (stage.dense + stage.experts)
    if plan.ep > 1 and model.experts:
        mine = plan.micro_tokens / (plan.tp if plan.sequence_parallel else 1)
        buffers += 2 * 2.0 * mine * model.experts.per_token * model.hidden * plan.expert_skew
    activations, logits = _activations(model, plan, stage)
    return {
        "weights": held["weights"] * plan.parameter_bytes,
        "gradients": held["gradients"] * plan.gradient_bytes,
        "optimizer": 0.0 if plan.offload_bandwidth else held["optimizer"] * plan.optimizer_bytes,
        "activations": activations,
        "logits": logits,
        "buffers": buffers,
    }


@lru_cache(maxsize=100_000)
def _flying(schedule: str, pp: int, stage: int, micro_batches: int, virtual_stages: int) -> float:
    """Micro-batches in flight on a stage at most; a search asks the same for many plans."""
    return in_flight(order(schedule, pp, stage, micro_batches, virtual_stages), schedule == "zb-h1")


def flying(plan: Plan, stage: int) -> float:
    """Micro-batches in flight on a stage of a plan at most."""
    return _flying(plan.schedule, plan.pp, stage, plan.micro_batches, plan.virtual_stages)


def _activations(model: Model, plan: Plan, stage: Stage) -> tuple[float, float]:
    tokens, logits = float(plan.micro_tokens), 0.0
    each: list[float] = []
    one_layer = 0.0
    kept: dict[bool, float] = {}
    for chunk in stage.chunks:
        size = 0.0
        for unit in chunk:
            if unit.name == "head":
                # Logits of one micro-batch in 32 bits, and their gradient in 16.
                logits = 6.0 * tokens * model.vocabulary / plan.tp
            if not unit.name.startswith("layer"):
                continue
            number = int(unit.name.split()[1])
            moe = model.is_moe(number)
            if moe not in kept:
                kept[moe] = _kept(model, plan, tokens, plan.recompute, moe)
                if plan.recompute != "none":
                    one_layer = max(one_layer, _kept(model, plan, tokens, "none", moe))
            size += kept[moe]
        each.append(size)
    return flying(plan, stage.number) * sum(each) / len(each) + one_layer, logits


def _kept(model: Model, plan: Plan, tokens: float, recompute: str, moe: bool) -> float:
    return model.activation_bytes(
        tokens,
        recompute,
        seq=plan.seq,
        tp=plan.tp,
        sequence_parallel=plan.sequence_parallel,
        flash=plan.flash,
        moe=moe,
    )


def room(chip: Chip) -> float:
    """Bytes of a chip's memory that a step may use."""
    return chip.memory_bytes * (1.0 - RESERVED)


def require_room(model: Model, plan: Plan, memory: Memory, chip: Chip, where: str) -> None:
    """Refuse a plan that does not fit.

    Raises
    ------
    PlanError
        What is too large, by how much, and what would fit.
    """
    have = room(chip)
    if memory.total <= have:
        return
    worst = memory.largest
    share = memory.components[worst] / 1e9
    raise PlanError(
        f"{model.name} under this plan needs {memory.total / 1e9:.1f} GB on each accelerator of stage {memory.stage}, "
        f"of which {worst} are {share:.1f} GB; {chip.name} of {where} has {have / 1e9:.1f} GB for it",
        nearest_plan(model, plan, have),
    )


def nearest_plan(model: Model, plan: Plan, have: float) -> str:
    """The first of the plan's neighbours that fits, in words; tried from the mildest change to the strongest."""
    from topo.training.rates import Rates
    from topo.training.stages import build_stages

    rates = Rates("any", dict.fromkeys(BYTES, 1.0), 1.0)
    least = float("inf")
    fullest = memory_by_stage(model, plan, build_stages(model, plan, rates)) if plan.pp > 1 else []
    for words, changed in (
        *_milder(model, plan),
        *_other_splits(model, plan, fullest),
        *_offloaded(model, plan),
    ):
        try:
            needed = memory_of(model, changed, build_stages(model, changed, rates)).total
        except PlanError:
            continue
        if needed <= have:
            return f"{words} would fit ({needed / 1e9:.1f} GB)"
        least = min(least, needed)
    return f"no plan near it fits: the smallest needs {least / 1e9:.1f} GB, {(least - have) / 1e9:.1f} GB too much"


def _other_splits(model: Model, plan: Plan, memories: Sequence[Memory]) -> list[tuple[str, Plan]]:
    """Plans that move layers from the fullest stage to the emptiest, on which there is room in the domain's pool."""
    if not memories:
        return []
    order = sorted(range(plan.pp), key=lambda stage: memories[stage].total)
    found = []
    split = list(plan.layers_of_chunks(model))
    chunk = plan.chunks - plan.pp  # the last chunk of each stage
    for _ in range(4):
        if split[chunk + order[-1]] < 2:
            break
        split[chunk + order[-1]] -= 1
        split[chunk + order[0]] += 1
        words = f"the layer split {'-'.join(map(str, split))}"
        found.append((words, replace(plan, layer_split=tuple(split))))
    return found


def _offloaded(model: Model, plan: Plan) -> list[tuple[str, Plan]]:
    """The plan, and milder ones, with the optimizer states out of the way."""
    if plan.offload_bandwidth:
        return []
    found = []
    for words, changed in (("", plan), *_milder(model, plan)):
        words = f"{words} and" if words else ""
        found.append(
            (
                f"{words} optimizer states with the host (offload)".strip(),
                replace(changed, offload_bandwidth=1.0),
            )
        )
    return found


def _milder(model: Model, plan: Plan) -> list[tuple[str, Plan]]:
    """Plans on as many accelerators that hold less, with what changes."""
    found: list[tuple[str, Plan]] = []

    def add(words: str, **keys: Any) -> None:
        try:
            changed = replace(plan, **keys)
            changed.check(model)
        except PlanError:
            return
        found.append((words, changed))

    policies = RECOMPUTE
    for policy in policies[policies.index(plan.recompute) + 1 :]:
        add(f"recompute {policy}", recompute=policy)
    if plan.micro_batch > 1:
        add("a micro-batch of 1", micro_batch=1)
    for zero in range(plan.zero + 1, 4):
        add(f"ZeRO {zero}", zero=zero)
        add(f"ZeRO {zero} with full recomputation", zero=zero, recompute="full")
    for axis in ("tp", "pp", "cp"):
        for factor in (2, 4, 8, 16):
            if plan.dp % factor == 0:
                keys = {
                    axis: getattr(plan, axis) * factor,
                    "dp": plan.dp // factor,
                    "global_batch": plan.batch,
                }
                text = f"{axis}={keys[axis]} and dp={keys['dp']}"
                add(text, **keys)
                add(f"{text} with full recomputation", recompute="full", micro_batch=1, **keys)
    add("ZeRO 3 with full recomputation and a micro-batch of 1", zero=3, recompute="full", micro_batch=1)
    return found
