"""Training whose data the model writes itself: rollouts, scoring, a training step, and fresh weights for the rollouts.

Prefill and scoring cost ``2 P`` FLOPs a token.  A decoding step reads all active weights and the keys and values of all
sequences once: ``(P b_w + KV) / (memory bandwidth)`` or its FLOPs, whichever is longer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from topo.errors import TopoError
from topo.system import Chip
from topo.training.model import BYTES, Model


class RolloutError(TopoError):
    """Rollouts that cannot be."""


@dataclass(frozen=True)
class Rollouts:
    """What is written in one iteration.

    Parameters
    ----------
    samples : int
        Sequences, all groups together.
    prompt, answer : int
        Tokens of a prompt and of an answer.
    concurrent : int
        Sequences that one replica decodes at once.
    scoring_passes : int
        Forward passes over every sequence besides training: the old policy, a reference, a reward model.
    """

    samples: int
    prompt: int
    answer: int
    concurrent: int = 64
    scoring_passes: int = 2

    def __post_init__(self) -> None:
        if min(self.samples, self.prompt, self.answer, self.concurrent) < 1 or self.scoring_passes < 0:
            raise RolloutError(
                "samples, prompt, answer and concurrent sequences are 1 or more", "and passes not below 0"
            )

    @property
    def tokens(self) -> int:
        """Tokens of all sequences."""
        return self.samples * (self.prompt + self.answer)


@dataclass(frozen=True)
class Iteration:
    """One iteration: rollouts, scoring, training, refresh.

    Parameters
    ----------
    iteration_s : float
        From one set of weights to the next.
    rollout_s, scoring_s, training_s, refresh_s : float
    decode_step_s : float
        Seconds of one token of every concurrent sequence, in the middle of the answers.
    decode_binds : str
        ``memory`` or ``compute``.
    share : float
        Of the machine that writes rollouts.
    tokens_per_s : float
        Trained tokens over the iteration.
    """

    iteration_s: float
    rollout_s: float
    scoring_s: float
    training_s: float
    refresh_s: float
    decode_step_s: float
    decode_binds: str
    share: float
    tokens_per_s: float


def kv_bytes(model: Model, context: float, precision: str = "bf16") -> float:
    """Bytes of keys and values of one sequence of ``context`` tokens; latent attention keeps its latent vector."""
    width = model.latent.value_rank + model.latent.rope if model.latent else model.kv_width
    full, windowed = model.layers - model.window_layers, model.window_layers
    kept = full * context + windowed * (min(context, model.window) if model.window else context)
    return kept * width * BYTES[precision]


def decode_step(
    model: Model, chip: Chip, *, concurrent: int, context: float, ways: int = 1, precision: str = "bf16"
) -> tuple[float, str]:
    """Seconds of one decoding step of a replica, and what binds.

    Parameters
    ----------
    model : Model
    chip : Chip
    concurrent : int
        Sequences decoded at once.
    context : float
        Tokens before the one that is written.
    ways : int
        Accelerators of a replica, over which weights and keys and values are split.
    precision : str

    Notes
    -----
    Of a mixture of experts, a batch reads the experts that any of its tokens goes to:
    ``E (1 - (1 - k / E)^batch)`` on average.
    """
    weights = float(model.active_parameters - model.embedding_parameters)
    if model.experts:
        e = model.experts
        read = e.count * (1 - (1 - e.per_token / e.count) ** concurrent)
        weights += model.moe_layers * (read - e.per_token) * model.expert_parameters()
    memory = (
        weights * BYTES[precision] + concurrent * kv_bytes(model, context, precision)
    ) / chip.memory_bandwidth
    attention = model.layers * 2.0 * context * (model.query_width + model.value_width)
    flops = concurrent * (2.0 * (model.active_parameters - model.embedding_parameters) + attention)
    compute = flops / chip.flops(precision)
    return max(memory, compute) / ways, "memory" if memory >= compute else "compute"


def rollout_seconds(
    model: Model, chip: Chip, work: Rollouts, *, accelerators: int, ways: int, precision: str = "bf16"
) -> float:
    """Seconds in which ``accelerators`` write all answers, in replicas of ``ways``, wave after wave.

    Raises
    ------
    RolloutError
        No replica, or a replica whose memory does not hold the weights and the sequences.
    """
    replicas = accelerators // ways
    if replicas < 1:
        raise RolloutError(
            f"{accelerators} accelerators hold no replica of {ways}", "give the rollouts a larger share"
        )
    need = model.parameters * BYTES[precision] + work.concurrent * kv_bytes(
        model, work.prompt + work.answer, precision
    )
    if need > ways * chip.memory_bytes:
        raise RolloutError(
            f"{model.name} with {work.concurrent} sequences needs {need / 1e9:.0f} GB, a replica has "
            f"{ways * chip.memory_bytes / 1e9:.0f} GB",
            f"take {math.ceil(need / chip.memory_bytes)} accelerators a replica, or fewer sequences at once",
        )
    waves = math.ceil(work.samples / (replicas * work.concurrent))
    at_once = min(work.concurrent, math.ceil(work.samples / replicas))
    prefill = at_once * work.prompt * model.forward_flops(work.prompt) / (ways * chip.flops(precision))
    first, _ = decode_step(
        model, chip, concurrent=at_once, context=work.prompt, ways=ways, precision=precision
    )
    last, _ = decode_step(
        model, chip, concurrent=at_once, context=work.prompt + work.answer, ways=ways, precision=precision
    )
    # The cost of a step grows linearly with the context while one thing binds: the mean of both ends.
    return waves * (prefill + work.answer * (first + last) / 2)


def refresh_seconds(
    model: Model, *, senders: int, receivers: int, replicas: int, bandwidth: float, width: float
) -> float:
    """Seconds in which fresh weights reach all replicas: every port busy, copies made on the way.

    Senders hold the weights once among them and send them once; a pipelined tree passes them on, so each receiver's
    port takes one copy of its part: ``P b_w / (B min(senders, receivers of a replica))``.
    """
    if replicas < 1 or senders < 1 or receivers < 1:
        raise RolloutError("senders, receivers and replicas are 1 or more")
    ports = min(senders, max(receivers // replicas, 1))
    return model.parameters * width / (bandwidth * ports)


def iteration(
    model: Model,
    chip: Chip,
    work: Rollouts,
    *,
    accelerators: int,
    share: float,
    ways: int,
    training_s_alone: float,
    port_bandwidth: float,
    together: bool = False,
    precision: str = "bf16",
    efficiency: float = 0.5,
) -> Iteration:
    """One iteration of rollouts and training.

    Parameters
    ----------
    model : Model
    chip : Chip
    work : Rollouts
    accelerators : int
        Of the whole machine.
    share : float
        Of the machine that writes rollouts (and scores); the rest trains.  1 with ``together``: all do both in turn.
    ways : int
        Accelerators of a rollout replica.
    training_s_alone : float
        Seconds of the training step on the whole machine, as :func:`topo.training.step.step` gives it.
    port_bandwidth : float
        B/s of one accelerator.
    together : bool
        The whole machine writes, then scores, then trains; else both parts work at once, on weights one iteration old.
    precision : str
    efficiency : float
        Share of the peak that scoring passes reach.

    Raises
    ------
    RolloutError
        A share that leaves a part of the machine with nothing.
    """
    if not 0 < share <= 1 or (share == 1 and not together):
        raise RolloutError(f"a share of {share} leaves no machine for one part", "take one between 0 and 1")
    writers = accelerators if together else max(int(accelerators * share), 1)
    trainers = accelerators if together else accelerators - writers
    if trainers < 1:
        raise RolloutError(
            f"{accelerators} accelerators are too few for two parts", "let the parts take turns"
        )
    rollout = rollout_seconds(model, chip, work, accelerators=writers, ways=ways, precision=precision)
    length = work.prompt + work.answer
    scoring = work.scoring_passes * work.tokens * model.forward_flops(length)
    scoring /= writers * chip.flops(precision) * efficiency
    training = training_s_alone * accelerators / trainers
    replicas = max(writers // ways, 1)
    refresh = refresh_seconds(
        model,
        senders=trainers,
        receivers=writers,
        replicas=replicas,
        bandwidth=port_bandwidth,
        width=BYTES[precision],
    )
    writing = rollout + scoring
    seconds = (writing + training if together else max(writing, training)) + refresh
    middle, binds = decode_step(
        model,
        chip,
        concurrent=min(work.concurrent, math.ceil(work.samples / replicas)),
        context=work.prompt + work.answer / 2,
        ways=ways,
        precision=precision,
    )
    return Iteration(
        seconds,
        rollout,
        scoring,
        training,
        refresh,
        middle,
        binds,
        1.0 if together else share,
        work.tokens / seconds,
    )


def best_share(
    model: Model, chip: Chip, work: Rollouts, *, accelerators: int, ways: int, parts: int = 16, **keys: float
) -> Iteration:
    """The iteration with the best of the shares k / ``parts``; see :func:`iteration` for the other parameters."""
    best: Iteration | None = None
    problem: RolloutError | None = None
    for k in range(1, parts):
        try:
            found = iteration(
                model,
                chip,
                work,
                accelerators=accelerators,
                share=k / parts,
                ways=ways,
                training_s_alone=keys["training_s_alone"],
                port_bandwidth=keys["port_bandwidth"],
                efficiency=keys.get("efficiency", 0.5),
            )
        except RolloutError as error:
            problem = error
            continue
        if best is None or found.iteration_s < best.iteration_s:
            best = found
    if best is None:
        raise problem or RolloutError("no share of the machine works")
    return best
