"""The best plan for a model on a system: every legal plan, pruned by memory and by a floor under its time.

1. All plans of the :class:`~topo.training.space.Space` are listed.  Of plans that differ only in what they save
   memory by, those are kept that no milder one replaces: for each ZeRO stage the least recomputation that fits.
2. The others stand in the order of their floor (:mod:`topo.training.floor`), per token.  They are simulated in waves
   of a fixed size, collectives in isolation, until the floor of the next is above the best time; so the result
   does not depend on the number of processes.
3. The best few are laid out in every other way that their axes allow, again pruned by the floor.
4. The best few of all run once more, and for the record, with full contention, until the best of them beats what
   the others take in isolation.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from topo.errors import InternalError, TopoError
from topo.fabric import Fabric
from topo.processes import as_worker
from topo.system import Chip, System
from topo.training.binding import bind
from topo.training.choice import patterns
from topo.training.floor import Floor, Ports
from topo.training.memory import memory_of, room
from topo.training.model import Model
from topo.training.placement import Placement, legal_placements, place
from topo.training.plan import Plan
from topo.training.rates import Rates, chip_rates
from topo.training.space import Family, Space, families
from topo.training.stages import Stage, build_stages
from topo.training.step import StepResult, activation_bytes, optimizer_seconds, require_chip, step

WAVE = 16
"""Plans simulated between two looks at the best time."""
RELAID = 4
"""Plans that are laid out in all other ways."""
FINALISTS = 6
"""Plans that run again with full contention, at a time."""
MOST_FINALISTS = 24
MOST_WAYS = 24
"""Placements of one plan that are looked at."""
KEPT_STAGES = 64


class SearchError(TopoError):
    """A search that finds nothing."""


@dataclass(frozen=True)
class Candidate:
    """A plan in a placement that fits the memory.

    Parameters
    ----------
    plan : Plan
    placement : str
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
        return self.floor_s / self.plan.tokens, self.plan.words, self.placement


@dataclass(frozen=True)
class Found:
    """A plan that was simulated.

    Parameters
    ----------
    plan : Plan
    result : StepResult
    """

    plan: Plan
    result: StepResult

    @property
    def order(self) -> tuple[float, str, str]:
        """By time per token; names decide between equals."""
        return self.result.step_s / self.result.tokens, self.result.plan, self.result.placement


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Parameters
    ----------
    model, system : str
    batch : int
        Sequences of a step that were asked for.
    found : tuple of Found
        The best first: those that ran with full contention, then the others, isolated.
    finalists : int
        How many ran with full contention.
    considered, fitting, simulated : int
        Plans listed; plans and placements that fit the memory and that no milder plan replaces; simulated.
    refused : dict
        Why plans could not be simulated, and how many.
    complete : bool
        False when the search was interrupted, or stopped at its limit.
    wall_s : float
    """

    model: str
    system: str
    batch: int
    found: tuple[Found, ...]
    finalists: int
    considered: int
    fitting: int
    simulated: int
    refused: dict[str, int] = field(default_factory=dict)
    complete: bool = True
    wall_s: float = 0.0

    @property
    def best(self) -> Found:
        """The fastest plan."""
        return self.found[0]

    @property
    def pareto(self) -> tuple[Found, ...]:
        """Plans that none beats in both time per token and memory; the fastest first.

        Money follows time on one system: both are proportional.
        """
        kept: list[Found] = []
        for found in sorted(self.found, key=lambda entry: entry.order):
            if all(found.result.memory_bytes < other.result.memory_bytes for other in kept):
                kept.append(found)
        return tuple(kept)


@dataclass(frozen=True, eq=False)
class Job:
    """What every simulation of a search has in common."""

    model: Model
    system: System
    ccl: str | None


def search(
    model: Model | str,
    system: System,
    *,
    base: Plan | None = None,
    space: Space | None = None,
    ccl: str | None = None,
    jobs: int | None = None,
    limit: int = 1000,
    wave: int = WAVE,
    relaid: int = RELAID,
    finalists: int = FINALISTS,
    progress: Callable[[Iterable[int], int], Iterable[int]] | None = None,
) -> SearchResult:
    """Search the best plan.

    Parameters
    ----------
    model : Model or str
    system : System
    base : Plan, optional
        What is not varied: tokens of a sequence, precision, what is overlapped.
    space : Space, optional
        What is; by default with a batch of about four million tokens.
    ccl : str, optional
        The system's own by default.
    jobs : int, optional
        Processes; as many as processors by default.  The result does not depend on it.
    limit : int
        Simulations after which the search stops, incomplete.
    wave : int
        Plans simulated between two looks at the best time; 1 simulates the fewest, one after the other.
    relaid : int
        Plans that are laid out in all other ways.
    finalists : int
        Plans that run with full contention at a time; 1 runs the fewest, one after the other.
    progress : callable, optional
        Wraps the waves, as tqdm does.

    Raises
    ------
    SearchError
        No plan fits, and by how much the nearest one misses.
    """
    began = time.perf_counter()
    if isinstance(model, str):
        from topo.training.named_models import load_model

        model = load_model(model)
    base = base or Plan(seq=4096)
    space = space or Space(default_batch(base.seq, system.accelerators))
    chip = require_chip(system)
    scout = Scout(model, system, chip, ccl)
    listed = list(families(model, system.accelerators, base, space))
    considered = sum(family.size for family in listed)
    ready = sorted((c for family in listed for c in scout.candidates(family)), key=lambda c: c.order)
    if not ready:
        raise SearchError(*scout.complaint(considered))
    hunt = _Hunt(Job(model, system, ccl), limit, wave)
    with workers(jobs, hunt.job) as run:
        try:
            hunt.all(run, ready, progress)
            for found in hunt.ranked()[:relaid]:
                others = [scout.candidate(found.plan, way) for way in other_ways(found, system.fabric)]
                hunt.fitting += len(others)
                hunt.all(run, sorted(others, key=lambda c: c.order), None)
            finals = hunt.contend(run, finalists)
        except KeyboardInterrupt:
            hunt.complete = False
            finals = []
    if not hunt.found:
        raise SearchError(
            f"none of the {hunt.fitting} plans that fit {system.name} could be simulated",
            "; ".join(hunt.refused) or "the search was interrupted before the first one was done",
        )
    named = {(f.result.plan, f.result.placement) for f in finals}
    rest = [f for f in hunt.ranked() if (f.result.plan, f.result.placement) not in named]
    return SearchResult(
        model=model.name,
        system=system.name,
        batch=space.batch,
        found=(*sorted(finals, key=lambda f: f.order), *rest),
        finalists=len(finals),
        considered=considered,
        fitting=len(ready) + hunt.fitting,
        simulated=hunt.simulated,
        refused=hunt.refused,
        complete=hunt.complete,
        wall_s=time.perf_counter() - began,
    )


def other_ways(found: Found, fabric: Fabric) -> list[str]:
    """Placements of a plan in which the groups of some axis lie otherwise than in the ones before."""
    seen = {_pattern(place(found.plan, fabric, found.result.placement))}
    ways = []
    for way in legal_placements(found.plan, fabric, MOST_WAYS):
        pattern = _pattern(place(found.plan, fabric, way))
        if pattern not in seen:
            seen.add(pattern)
            ways.append(way)
    return ways


def _pattern(placement: Placement) -> tuple[bytes, ...]:
    """How the groups of every axis lie, whichever group lies where."""
    found = []
    for axis in ("tp", "cp", "data", "pp", "ep", "edp"):
        if placement.degree(axis) > 1:
            table, count = np.unique(
                patterns(placement.fabric, placement.members(axis)), axis=0, return_counts=True
            )
            found += [axis.encode(), table.tobytes(), count.tobytes()]
    return tuple(found)


def default_batch(seq: int, accelerators: int) -> int:
    """Sequences of about four million tokens, in multiples of the accelerators where there are fewer of those."""
    wanted = max(round(4 * 2**20 / seq), 1)
    return max(round(wanted / accelerators), 1) * accelerators if accelerators <= 2 * wanted else wanted


class Scout:
    """Memory and floor of plans, without simulating any."""

    def __init__(self, model: Model, system: System, chip: Chip, ccl: str | None) -> None:
        self.model, self.system, self.chip = model, system, chip
        self.rates: Rates = chip_rates(chip)
        self.fabric: Fabric = bind(system, ccl).fabric
        self.ports = Ports(self.fabric)
        self.room = room(chip)
        self.least = float("inf")
        self.leanest: Plan | None = None
        self._stages: dict[tuple[object, ...], tuple[Stage, ...]] = {}
        self._floors: dict[tuple[object, ...], Floor] = {}

    def candidates(self, family: Family) -> Iterator[Candidate]:
        """Plans of a family that fit and that no milder one replaces: a lower ZeRO stage with as little recomputed."""
        best: int | None = None
        for row in family.plans:
            for number, plan in enumerate(row):
                if best is not None and number >= best:
                    break
                stages = self.stages(plan)
                memory = memory_of(self.model, plan, stages).total
                if memory < self.least:
                    self.least, self.leanest = memory, plan
                if memory <= self.room:
                    best = number
                    floor = self.floor(plan, "").step(*self._terms(plan, stages))
                    yield Candidate(plan, "", memory, floor)
                    break

    def candidate(self, plan: Plan, placement: str) -> Candidate:
        """A plan in a placement."""
        stages = self.stages(plan)
        memory = memory_of(self.model, plan, stages).total
        return Candidate(
            plan, placement, memory, self.floor(plan, placement).step(*self._terms(plan, stages))
        )

    def stages(self, plan: Plan) -> tuple[Stage, ...]:
        """The stages of a plan; they do not depend on how many replicas there are and what these share."""
        key = (plan.tp, plan.cp, plan.pp, plan.ep, plan.micro_batch, plan.virtual_stages, plan.recompute)
        if key not in self._stages:
            if len(self._stages) >= KEPT_STAGES:
                self._stages.clear()
            self._stages[key] = build_stages(self.model, plan, self.rates)
        return self._stages[key]

    def floor(self, plan: Plan, placement: str) -> Floor:
        """Floors on a placement; plans of the same degrees share it."""
        key = (plan.tp, plan.cp, plan.dp, plan.pp, plan.ep, placement)
        if key not in self._floors:
            self._floors[key] = Floor(place(plan, self.fabric, placement or None), self.ports)
        return self._floors[key]

    def _terms(
        self, plan: Plan, stages: tuple[Stage, ...]
    ) -> tuple[Plan, tuple[Stage, ...], Sequence[float], float]:
        optimizer = [optimizer_seconds(plan, stage, self.rates) for stage in stages]
        return plan, stages, optimizer, activation_bytes(self.model, plan)

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
            "take more accelerators",
        )


Runner = Callable[[Sequence[tuple[Plan, str, str]]], list["StepResult | str"]]


class _Hunt:
    """Simulations of a search and what came of them."""

    def __init__(self, job: Job, limit: int, wave: int = WAVE) -> None:
        self.job, self.limit, self.wave = job, limit, wave
        self.found: list[Found] = []
        self.refused: dict[str, int] = {}
        self.simulated = self.fitting = 0
        self.complete = True

    def ranked(self) -> list[Found]:
        """What was found, the best first."""
        return sorted(self.found, key=lambda found: found.order)

    def all(
        self,
        run: Runner,
        ready: Sequence[Candidate],
        progress: Callable[[Iterable[int], int], Iterable[int]] | None,
    ) -> None:
        """Simulate candidates in the order of their floors, until none left can win."""
        every = range(0, len(ready), self.wave)
        waves: Iterable[int] = every if progress is None else progress(every, len(every))
        for start in waves:
            best = min((found.order[0] for found in self.found), default=float("inf"))
            wave = [c for c in ready[start : start + self.wave] if c.order[0] < best]
            if not wave:
                break
            if self.simulated + len(wave) > self.limit:
                self.complete = False
                break
            results = run([(c.plan, c.placement, "isolated") for c in wave])
            self.simulated += len(wave)
            for candidate, result in zip(wave, results, strict=True):
                if isinstance(result, str):
                    self.refused[result] = self.refused.get(result, 0) + 1
                    continue
                if result.step_s < candidate.floor_s * (1 - 1e-9):
                    raise InternalError(
                        f"{result.plan} took {result.step_s:.6g} s, below its floor of {candidate.floor_s:.6g} s",
                        "this is a bug",
                    )
                self.found.append(Found(candidate.plan, result))

    def contend(self, run: Runner, together: int = FINALISTS) -> list[Found]:
        """The best again with full contention, until the best of these beats all others even if isolated."""
        finals: list[Found] = []
        ranked = self.ranked()
        for start in range(0, min(len(ranked), MOST_FINALISTS), together):
            best = min((found.order[0] for found in finals), default=float("inf"))
            wave = [found for found in ranked[start : start + together] if found.order[0] < best]
            if not wave:
                break
            results = run([(f.plan, f.result.placement, "full") for f in wave])
            self.simulated += len(wave)
            finals += [
                Found(found.plan, result)
                for found, result in zip(wave, results, strict=True)
                if not isinstance(result, str)
            ]
        return finals


_job: Job | None = None


def _begin(job: Job) -> None:
    global _job
    _job = job
    as_worker()


def _simulate(task: tuple[Plan, str, str]) -> StepResult | str:
    """One step; the reason where it cannot be simulated."""
    assert _job is not None
    return simulate_plan(_job, *task)


def simulate_plan(job: Job, plan: Plan, placement: str, contention: str) -> StepResult | str:
    """One step of a search; the reason where it cannot be simulated."""
    try:
        return step(
            job.model, job.system, plan, ccl=job.ccl, contention=contention, placement=placement or None
        )
    except InternalError:
        raise
    except TopoError as error:
        return error.message


@contextmanager
def workers(jobs: int | None, job: Job) -> Iterator[Runner]:
    """Something that simulates plans, in as many processes as asked for."""
    number = jobs or os.cpu_count() or 1
    bare = replace(job, system=replace(job.system, fabric=replace(job.system.fabric, cache={})))
    if number == 1:
        yield lambda tasks: [simulate_plan(bare, *task) for task in tasks]
        return
    context = multiprocessing.get_context()
    with ProcessPoolExecutor(number, context, initializer=_begin, initargs=(bare,)) as pool:
        try:
            yield lambda tasks: list(pool.map(_simulate, tasks))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
