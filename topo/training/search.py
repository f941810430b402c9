"""The best plan for a model on a system: every legal plan in every placement, as far as none can be proved slower.

1. All plans of the :class:`~topo.training.space.Space` are listed.  Those that do not fit the memory leave, and those
   that another plan is sure to match (:meth:`~topo.training.scout.Scout.candidates`).
2. Each has a floor under its time, wherever it lies, and one in every placement (:mod:`topo.training.floor`).  The plan
   that promises the least time is laid out in all ways, or, where it is laid out already, simulated with its
   collectives in isolation; until the lowest floor left is above the best time.  A plan promises its floor, times what
   plans of the same degrees took more than theirs.
3. The best run once more, and for the record, with full contention, until the best of them beats what the next takes
   in isolation.

Plans are simulated in waves of a fixed size, so the result does not depend on the number of processes.
"""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from topo.errors import InternalError, TopoError
from topo.processes import pool_of
from topo.system import System
from topo.training.model import Model
from topo.training.plan import Plan
from topo.training.scout import Candidate, Scout, rounded
from topo.training.space import Space, families
from topo.training.step import StepResult, require_chip, step

WAVE = 8
"""Plans simulated between two looks at the best time."""
TOGETHER = 2
"""Plans that run again with full contention, at a time."""
FINALISTS = 24
"""The most of them."""
PROVED = 5e-5
"""Gap below which the best plan is proved."""
ROUNDING = 1e-9


class SearchError(TopoError):
    """A search that finds nothing."""


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
        return rounded(self.result.step_s / self.result.tokens), self.result.plan, self.result.placement


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
    considered, fitting, laid_out, simulated : int
        Plans listed; those that fit the memory and that no other is sure to match; placements of these that were
        looked at; simulations.
    refused : dict
        Why plans could not be simulated, and how many.
    complete : bool
        False when the search was interrupted, or stopped at its limit.
    floor_s : float
        Seconds per token that no plan beats: the best found where the search is complete, else the lowest floor left.
    wall_s : float
    """

    model: str
    system: str
    batch: int
    found: tuple[Found, ...]
    finalists: int
    considered: int
    fitting: int
    laid_out: int
    simulated: int
    refused: dict[str, int] = field(default_factory=dict)
    complete: bool = True
    floor_s: float = 0.0
    wall_s: float = 0.0

    @property
    def best(self) -> Found:
        """The fastest plan."""
        return self.found[0]

    @property
    def gap(self) -> float:
        """Share of the best plan's time that another could save at most."""
        best = self.best.result.step_s / self.best.result.tokens
        return max(1.0 - self.floor_s / best, 0.0)

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
    finalists : int
        Plans that run with full contention at most, besides the limit.
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
    chip.flops(base.precision)
    scout = Scout(model, system, chip, ccl)
    domain = system.accelerators // max(system.fabric.domains, 1)
    listed = list(families(model, system.accelerators, base, space, domain))
    considered = sum(family.size for family in listed)
    ready = [candidate for family in listed for candidate in scout.candidates(family)]
    if not ready:
        raise SearchError(*scout.complaint(considered))
    hunt = _Hunt(Job(model, system, ccl), scout, ready, limit, wave)
    with workers(jobs, hunt.job) as run:
        try:
            every = range(limit // wave + finalists + 2)
            for _ in every if progress is None else progress(every, len(every)):
                if not hunt.wave(run) and not hunt.contend(run, finalists):
                    break
        except KeyboardInterrupt:
            hunt.complete = False
    if not hunt.found:
        raise SearchError(
            f"none of the {len(ready)} plans that fit {system.name} could be simulated",
            "; ".join(hunt.refused) or "the search was interrupted before the first one was done",
        )
    found = (*sorted(hunt.finals, key=lambda f: f.order), *hunt.rest())
    return SearchResult(
        model=model.name,
        system=system.name,
        batch=space.batch,
        found=found,
        finalists=len(hunt.finals),
        considered=considered,
        fitting=len(ready),
        laid_out=hunt.laid_out,
        simulated=hunt.simulated,
        refused=hunt.refused,
        complete=hunt.complete,
        floor_s=min(hunt.floor, *(f.order[0] for f in found)),
        wall_s=time.perf_counter() - began,
    )


def default_batch(seq: int, accelerators: int) -> int:
    """Sequences of about four million tokens, in multiples of the accelerators where there are fewer of those."""
    wanted = max(round(4 * 2**20 / seq), 1)
    return max(round(wanted / accelerators), 1) * accelerators if accelerators <= 2 * wanted else wanted


Runner = Callable[[Sequence[tuple[Plan, str, str]]], list["StepResult | str"]]


class _Hunt:
    """The plans that are left, and what came of those that were simulated."""

    def __init__(
        self, job: Job, scout: Scout, ready: Sequence[Candidate], limit: int, wave: int = WAVE
    ) -> None:
        self.job, self.scout, self.limit, self.size = job, scout, limit, wave
        self.left = dict(enumerate(ready))
        self._listed = len(ready)
        self._slower: dict[tuple[object, ...], float] = {}
        self.found: list[Found] = []
        self.finals: list[Found] = []
        self.refused: dict[str, int] = {}
        self.simulated = self.laid_out = 0
        self.complete = True

    @property
    def best(self) -> float:
        """Seconds per token of the best plan so far, with full contention as soon as one ran with it."""
        return min((found.order[0] for found in self.finals or self.found), default=float("inf"))

    @property
    def floor(self) -> float:
        """Seconds per token that no plan left beats."""
        return min((candidate.order[0] for candidate in self.left.values()), default=float("inf"))

    def expected(self, candidate: Candidate) -> float:
        """Seconds per token, if it stands to its floor as plans of the same degrees do that were simulated."""
        slower = self._slower.get(_likes(candidate, candidate.placement))
        if slower is None:
            slower = self._slower.get(_likes(candidate, ""), 1.0)
        return candidate.order[0] * slower

    def _learn(self, candidate: Candidate, seconds: float) -> None:
        for placement in (candidate.placement, ""):
            likes = _likes(candidate, placement)
            ratio = rounded(seconds / candidate.floor_s)
            self._slower[likes] = min(self._slower.get(likes, ratio), ratio)

    def rest(self) -> list[Found]:
        """What did not run with full contention, the best first."""
        named = {(final.result.plan, final.result.placement) for final in self.finals}
        found = [f for f in self.found if (f.result.plan, f.result.placement) not in named]
        return sorted(found, key=lambda entry: entry.order)

    def wave(self, run: Runner) -> bool:
        """Simulate the next few plans; False when none left can win, or no more may be simulated."""
        best = self.best
        room = max(self.limit - self.simulated + len(self.finals), 0)
        queue = [
            (self.expected(candidate), candidate.order, number)
            for number, candidate in self.left.items()
            if candidate.order[0] < best
        ]
        if not queue:
            return False
        if not room:
            self.complete = False
            return False
        heapq.heapify(queue)
        chosen: list[Candidate] = []
        tried: set[tuple[object, ...]] = set()
        while queue and len(chosen) < min(self.size, room):
            number = heapq.heappop(queue)[2]
            candidate = self.left[number]
            if candidate.placement:
                likes = _likes(candidate, candidate.placement)
                if likes in tried:
                    continue
                if likes not in self._slower:
                    tried.add(likes)  # one says enough of the others for now
                chosen.append(self.left.pop(number))
                continue
            del self.left[number]
            for placed in self.scout.placed(candidate):
                self.laid_out += 1
                self._listed += 1
                self.left[self._listed] = placed
                if placed.order[0] < best:
                    heapq.heappush(queue, (self.expected(placed), placed.order, self._listed))
        if not chosen:
            return self.wave(run)
        results = run([(c.plan, c.placement, "isolated") for c in chosen])
        self.simulated += len(chosen)
        for candidate, result in zip(chosen, results, strict=True):
            if isinstance(result, str):
                self.refused[result] = self.refused.get(result, 0) + 1
                continue
            if result.step_s < candidate.floor_s * (1 - ROUNDING):
                raise InternalError(
                    f"{result.plan} took {result.step_s:.6g} s, below its floor of {candidate.floor_s:.6g} s",
                    "this is a bug",
                )
            self._learn(candidate, result.step_s)
            self.found.append(Found(candidate.plan, result))
        return True

    def contend(self, run: Runner, most: int = FINALISTS) -> bool:
        """Let the best run with full contention; False when the best of these beats all others even if isolated."""
        best = self.best if self.finals else float("inf")
        number = min(TOGETHER, most - len(self.finals))
        chosen = [found for found in self.rest()[:number] if found.order[0] < best]
        if not chosen:
            return False
        results = run([(found.plan, found.result.placement, "full") for found in chosen])
        self.simulated += len(chosen)
        for found, result in zip(chosen, results, strict=True):
            if isinstance(result, str):
                self.refused[result] = self.refused.get(result, 0) + 1
                self.found.remove(found)
            else:
                self.finals.append(Found(found.plan, result))
        return True


def _likes(candidate: Candidate, placement: str) -> tuple[object, ...]:
    """What plans have in common that stand alike to their floors: degrees, sharding and placement."""
    plan = candidate.plan
    degrees = (plan.tp, plan.cp, plan.pp, plan.dp, plan.ep, plan.shards)
    return *degrees, plan.zero == 3, placement


_job: Job | None = None


def _begin(job: Job) -> None:
    global _job
    _job = job


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
    with pool_of(number, _begin, (bare,)) as pool:
        yield lambda tasks: list(pool.map(_simulate, tasks))
