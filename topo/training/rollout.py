"""Forward-heavy training: synthetic data and reinforcement learning, where more tokens are generated than trained on.

One update: generate sequences, score them by forward passes, train on some, give the new weights to the generators.
*Together*, all machines do one after the other.  *Apart*, some machines generate and score while the others train on
what came before (one update behind), and the weights cross the fabric between them; the share is chosen for speed.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from topo.errors import nearest
from topo.fabric import IntArray
from topo.system import System
from topo.training.default_plan import default_plan
from topo.training.generation import Decode, Replica
from topo.training.model import BYTES, Model
from topo.training.operation import Operation
from topo.training.part import part_of
from topo.training.placement import Placement
from topo.training.plan import PlanError
from topo.training.step import StepResult, step
from topo.training.traffic import Traffic

ARRANGEMENTS = ("best", "together", "apart")
SHARES = 16
"""Parts at most in which machines are divided between generators and trainers."""


@dataclass(frozen=True)
class Workload:
    """What one update asks for.

    Parameters
    ----------
    prompt, output : int
        Tokens of a prompt and of what is generated for it, on average.
    sequences : int
        Sequences that the update trains on.
    ratio : float
        Sequences generated for each that is trained on.
    samples : int
        Sequences generated for one prompt, which is read once for all.
    passes : float
        Forward passes that score each generated sequence (reference, reward, value).
    longest : float
        The longest output over the mean: who waits for all waits for it.
    precision, kv_precision : str
        Of the generators' weights and of their cache.
    """

    prompt: int = 1024
    output: int = 4096
    sequences: int = 512
    ratio: float = 8.0
    samples: int = 8
    passes: float = 1.0
    longest: float = 1.0
    precision: str = "bf16"
    kv_precision: str = "bf16"

    def __post_init__(self) -> None:
        for key in ("prompt", "output", "sequences", "samples"):
            if getattr(self, key) < 1:
                raise PlanError(f"{key} is {getattr(self, key)}", "it should be a whole number above 0")
        for key, least in (("ratio", 1e-9), ("passes", 0.0), ("longest", 1.0)):
            value = getattr(self, key)
            if not (math.isfinite(value) and value >= least):
                raise PlanError(
                    f"{key} is {value}", f"it should be {'above 0' if key == 'ratio' else least} or more"
                )
        for key in ("precision", "kv_precision"):
            if getattr(self, key) not in BYTES:
                raise PlanError(f"{key} {getattr(self, key)!r} is unknown", f"one of {', '.join(BYTES)}")

    @property
    def generated(self) -> float:
        """Sequences generated for one update."""
        return self.sequences * self.ratio

    @property
    def length(self) -> int:
        """Tokens of a sequence, rounded up so that common degrees divide it."""
        return math.ceil((self.prompt + self.output) / 64) * 64


@dataclass(frozen=True)
class Generation:
    """Generating and scoring for one update.

    Parameters
    ----------
    seconds : float
        Both.
    scoring_s, prefill_s : float
        The scoring passes; reading the prompts.
    tp, replicas : int
    decode : Decode
        A decoding step in the middle of the outputs.
    """

    seconds: float
    scoring_s: float
    prefill_s: float
    tp: int
    replicas: int
    decode: Decode


@dataclass(frozen=True)
class RolloutResult:
    """What an update takes.

    Parameters
    ----------
    model, system, arrangement, train_plan : str
    accelerators, generators, trainers : int
        All; those that generate and those that train (all of them, where they work together).
    ratio : float
    update_s : float
    generate_s, prefill_s, scoring_s, train_s, refresh_s : float
        Decoding, reading prompts, scoring, the training step, and handing over the weights.  Together they add up to
        the update; apart the slower side and the refresh do.
    idle_share : float
        Share of the accelerators' time that they wait for the other side.
    decode_batch, decode_step_s, decode_products_s, decode_attention_s, decode_communication_s : float
        One decoding step of a replica.
    generator_tp : int
    generated_tokens_per_s, trained_tokens_per_s : float
    forward_share : float
        Share of the accelerators' time spent on generating and scoring.
    cost_per_million_trained_usd : float or None
    wall_s : float
    """

    model: str
    system: str
    arrangement: str
    train_plan: str
    accelerators: int
    generators: int
    trainers: int
    ratio: float
    update_s: float
    generate_s: float
    prefill_s: float
    scoring_s: float
    train_s: float
    refresh_s: float
    idle_share: float
    decode_batch: float
    decode_step_s: float
    decode_products_s: float
    decode_attention_s: float
    decode_communication_s: float
    generator_tp: int
    generated_tokens_per_s: float
    trained_tokens_per_s: float
    forward_share: float
    cost_per_million_trained_usd: float | None
    wall_s: float

    def record(self) -> dict[str, Any]:
        """A flat record: one value a key."""
        return asdict(self)

    def to_json(self) -> str:
        """The record as JSON."""
        return json.dumps(self.record(), indent=2)


def rollout(
    model: Model | str,
    system: System,
    work: Workload,
    *,
    arrangement: str = "best",
    ccl: str | None = None,
    train: dict[str, Any] | None = None,
) -> RolloutResult:
    """Simulate one update.

    Parameters
    ----------
    model : Model or str
    system : System
    work : Workload
    arrangement : str
        ``together``, ``apart``, or ``best``: the faster of both.
    ccl : str, optional
        Communication library; the system's own by default.
    train : dict, optional
        Fields of the trainer's :class:`~topo.training.plan.Plan` that are decided; the rest is chosen so that it fits.

    Raises
    ------
    TopoError
        An unknown arrangement, or a model that fits under neither.
    """
    began = time.perf_counter()
    if arrangement not in ARRANGEMENTS:
        raise PlanError(
            f"arrangement {arrangement!r} is unknown",
            nearest(arrangement, ARRANGEMENTS) or f"one of {', '.join(ARRANGEMENTS)}",
        )
    if isinstance(model, str):
        from topo.training.named_models import load_model

        model = load_model(model)
    ways: dict[str, Callable[..., RolloutResult]] = {"together": _together, "apart": _apart}
    found: list[RolloutResult] = []
    refused: list[PlanError] = []
    for name, way in ways.items():
        if arrangement not in ("best", name):
            continue
        try:
            found.append(way(model, system, work, ccl, train or {}))
        except PlanError as error:
            refused.append(error)
    if not found:
        raise refused[0]
    best = min(found, key=lambda result: result.update_s)
    return replace(best, wall_s=time.perf_counter() - began)


def generation(
    model: Model, system: System, work: Workload, ccl: str | None = None, held_bytes: float = 0.0
) -> Generation:
    """Generating and scoring on all of a system, with the fastest degree and batch that fit.

    Sequences join a replica's batch as others leave it.  With S sequences of a replica and b at once, the outputs
    take ``max(S/b, longest) * output`` decoding steps.

    Raises
    ------
    PlanError
        The weights fit under no degree.
    """
    best: Generation | None = None
    refused: PlanError | None = None
    for tp in _degrees(system):
        try:
            replica = Replica(
                model,
                system,
                tp,
                precision=work.precision,
                kv_precision=work.kv_precision,
                ccl=ccl,
                held_bytes=held_bytes,
            )
        except PlanError as error:
            refused = error
            continue
        middle = work.prompt + work.output / 2
        each = work.generated / replica.replicas
        most = min(replica.most_sequences(middle), each)
        if replica.most_sequences(work.prompt + work.output) < 1:
            refused = PlanError(
                f"{model.name} over tp {tp} leaves no room for the cache of a sequence of "
                f"{work.prompt + work.output} tokens",
                "take more ranks for a replica, or shorter outputs",
            )
            continue
        prefill = each / work.samples * replica.forward(work.prompt)
        scoring = each * work.passes * replica.forward(work.length) if work.passes else 0.0
        for batch in _batches(most):
            decode = replica.decode(batch, middle)
            steps = max(each / batch, work.longest) * work.output
            seconds = steps * decode.seconds + prefill + scoring
            if best is None or seconds < best.seconds:
                best = Generation(seconds, scoring, prefill, tp, replica.replicas, decode)
    if best is None:
        raise refused or PlanError(
            f"{model.name} fits {system.name} under no degree", "take more accelerators"
        )
    return best


def _batches(most: float) -> Iterator[float]:
    """Batches to try: the largest, and halves of it."""
    while most >= 1:
        yield most
        most /= 2
    if 0 < most < 1:
        yield 1.0


def _degrees(system: System) -> list[int]:
    inside = max(system.accelerators // max(system.fabric.domains, 1), 1)
    return [2**i for i in range(7) if 2**i <= inside and system.accelerators % 2**i == 0]


def _train(
    model: Model, system: System, work: Workload, ccl: str | None, choices: dict[str, Any]
) -> StepResult:
    """The training step over an update's sequences, the batch rounded up to what the replicas share evenly."""
    given = {"seq": work.length, **choices}
    plan = default_plan(model, system, given)
    if "global_batch" not in choices:
        unit = plan.dp * plan.micro_batch * (plan.pp if plan.schedule == "interleaved" else 1)
        plan = replace(plan, global_batch=unit * math.ceil(work.sequences / unit))
        plan.check(model, system.accelerators)
    return step(model, system, plan, ccl=ccl)


def _together(
    model: Model, system: System, work: Workload, ccl: str | None, choices: dict[str, Any]
) -> RolloutResult:
    trained = _train(model, system, work, ccl, choices)
    held = trained.memory["weights"] + trained.memory["optimizer"]
    made = generation(model, system, work, ccl, held)
    refresh = gather_seconds(model, system, work, made.tp, ccl)
    seconds = made.seconds + trained.step_s + refresh
    return _result(model, system, work, "together", made, trained, refresh, seconds, system.accelerators, 0)


def _apart(
    model: Model, system: System, work: Workload, ccl: str | None, choices: dict[str, Any]
) -> RolloutResult:
    """The share of the trainers by bisection: more of them train faster and leave fewer to generate."""
    parts = _parts(system)
    ranks = np.arange(system.accelerators)
    known: dict[int, RolloutResult | PlanError] = {}

    def at(count: int) -> RolloutResult | PlanError:
        if count not in known:
            ends = np.concatenate(parts[:count]), np.concatenate(parts[count:])
            try:
                known[count] = _split(model, system, work, ccl, choices, ends)
            except PlanError as error:
                known[count] = error
        return known[count]

    if len(parts) < 2:
        raise PlanError(
            f"{system.name} has {len(ranks)} accelerator", "two kinds of work apart need two or more"
        )
    low, high = 1, len(parts) - 1
    while low < high:
        middle = (low + high) // 2
        found = at(middle)
        if isinstance(found, PlanError):  # too few of one kind
            slow = not _generators_refuse(model, system, work, ccl, parts[middle:])
        else:
            slow = found.train_s >= found.generate_s + found.prefill_s + found.scoring_s
        low, high = (middle + 1, high) if slow else (low, middle)
    tried = [at(count) for count in {max(low - 1, 1), low}]
    good = [found for found in tried if not isinstance(found, PlanError)]
    if not good:
        raise next(found for found in tried if isinstance(found, PlanError))
    return min(good, key=lambda found: found.update_s)


def _generators_refuse(
    model: Model, system: System, work: Workload, ccl: str | None, parts: list[IntArray]
) -> bool:
    """Whether it is the generators that do not fit."""
    try:
        generation(model, part_of(system, np.concatenate(parts)), work, ccl)
    except PlanError:
        return True
    return False


def _parts(system: System) -> list[IntArray]:
    """Accelerators in parts that stay whole: scale-up domains, or equal slices of a single one."""
    fabric = system.fabric
    if fabric.domains > 1:
        count = min(fabric.domains, SHARES)
        groups = np.array_split(np.arange(fabric.domains), count)
        return [np.flatnonzero(np.isin(fabric.domain, group)) for group in groups]
    count = next(n for n in range(min(SHARES, fabric.ranks), 0, -1) if fabric.ranks % n == 0)
    return list(np.arange(fabric.ranks).reshape(count, -1))


def _split(
    model: Model,
    system: System,
    work: Workload,
    ccl: str | None,
    choices: dict[str, Any],
    ends: tuple[IntArray, IntArray],
) -> RolloutResult:
    trainers, generators = ends
    made = generation(model, part_of(system, generators), work, ccl)
    trained = _train(model, part_of(system, trainers), work, ccl, choices)
    refresh = broadcast_seconds(model, system, work, made.tp, ccl)
    seconds = max(made.seconds, trained.step_s) + refresh
    return _result(
        model, system, work, "apart", made, trained, refresh, seconds, len(generators), len(trainers)
    )


def gather_seconds(model: Model, system: System, work: Workload, tp: int, ccl: str | None = None) -> float:
    """Weights from shards over all accelerators to replicas of ``tp`` each: an all-gather of every replica rank."""
    import simpy

    replicas = system.accelerators // tp
    if replicas < 2:
        return 0.0
    rank = np.arange(system.accelerators).reshape(1, replicas, 1, tp)
    placed = Placement(system.fabric, rank, name="tp,dp")
    size = model.parameters * BYTES[work.precision] / tp
    return Traffic(simpy.Environment(), system, placed, ccl).seconds(Operation("dp", "all-gather", size))


def broadcast_seconds(model: Model, system: System, work: Workload, tp: int, ccl: str | None = None) -> float:
    """Weights from the first trainers to all others: each of ``tp`` broadcasts its part to its like in every replica.

    All groups at once on the whole fabric.  The other trainers get the weights too, which a pipelined broadcast does
    not notice.
    """
    import simpy

    if system.accelerators % tp:
        tp = 1
    rank = np.arange(system.accelerators).reshape(1, -1, 1, tp)
    placed = Placement(system.fabric, rank, name="tp,dp")
    size = model.parameters * BYTES[work.precision] / tp
    return Traffic(simpy.Environment(), system, placed, ccl).seconds(Operation("dp", "broadcast", size))


def _result(
    model: Model,
    system: System,
    work: Workload,
    arrangement: str,
    made: Generation,
    trained: StepResult,
    refresh: float,
    seconds: float,
    generators: int,
    trainers: int,
) -> RolloutResult:
    apart = trainers > 0
    busy = (
        made.seconds * generators + trained.step_s * (trainers or generators) + refresh * system.accelerators
    )
    tokens = work.sequences * (work.prompt + work.output)
    rent = system.rent_usd_per_hour
    return RolloutResult(
        model=model.name,
        system=system.name,
        arrangement=arrangement,
        train_plan=trained.plan,
        accelerators=system.accelerators,
        generators=generators,
        trainers=trainers if apart else generators,
        ratio=work.ratio,
        update_s=seconds,
        generate_s=made.seconds - made.prefill_s - made.scoring_s,
        prefill_s=made.prefill_s,
        scoring_s=made.scoring_s,
        train_s=trained.step_s,
        refresh_s=refresh,
        idle_share=max(1.0 - busy / (seconds * system.accelerators), 0.0),
        decode_batch=made.decode.batch,
        decode_step_s=made.decode.seconds,
        decode_products_s=made.decode.products_s,
        decode_attention_s=made.decode.attention_s,
        decode_communication_s=made.decode.communication_s,
        generator_tp=made.tp,
        generated_tokens_per_s=work.generated * work.output / seconds,
        trained_tokens_per_s=tokens / seconds,
        forward_share=made.seconds * generators / (seconds * system.accelerators),
        cost_per_million_trained_usd=rent * seconds / 3600.0 / tokens * 1e6 if rent else None,
        wall_s=0.0,
    )
