"""Systems compared over operations and sizes, as data: results, who wins where, and where the winner changes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise, permutations
from typing import Any, Protocol

from topo.choose import History
from topo.collective import Collective
from topo.describe import port_bandwidths
from topo.errors import CollectiveError, InternalError, TopoError
from topo.results import Result
from topo.simulate import simulate
from topo.system import System

LEVEL = 1.005
"""Times nearer than this factor are called level."""
BISECTIONS = 7
"""Halvings of the interval between two sizes that pin down a crossover, to 2**(-1/128) of a doubling's ratio."""
FEW_RUNS = 24
"""As many runs are not worth a second process."""


@dataclass(frozen=True)
class Settings:
    """What every run of a comparison has in common; as in :func:`topo.simulate.simulate`.

    Without ``ccl`` every system goes by its own communication library.
    """

    algorithm: str = "auto"
    ccl: str | None = None
    engine: str = "fluid"


@dataclass(frozen=True)
class Contender:
    """What a reader must know of a system to judge a comparison.

    Parameters
    ----------
    name, title : str
    accelerators : int
    send_Bps : float
        Bytes/s that an accelerator with all its links can send, the largest of the system.
    scale_up_Bps, scale_out_Bps : float
        Its parts inside and outside the scale-up domain.
    domains : int
        Scale-up domains.
    blocks_of_a_wafer : bool
        Whether an accelerator is a block of cores of one wafer rather than a package.
    """

    name: str
    title: str
    accelerators: int
    send_Bps: float
    scale_up_Bps: float
    scale_out_Bps: float
    domains: int
    blocks_of_a_wafer: bool


@dataclass(frozen=True)
class Failure:
    """A run that gave no result.

    Parameters
    ----------
    system, operation : str
    bytes : float
    message : str
    internal : bool
        Whether the simulator contradicted itself.
    """

    system: str
    operation: str
    bytes: float
    message: str
    internal: bool = False


@dataclass(frozen=True)
class Span:
    """Neighbouring sizes at which one system is the fastest.

    Parameters
    ----------
    operation, winner : str
    first, last : float
        Sizes in bytes.
    least, most : float
        The second fastest takes this factor of the winner's time: the least and the most over the sizes.
    seconds : tuple of str
        The second fastest, in order of appearance.
    """

    operation: str
    winner: str
    first: float
    last: float
    least: float
    most: float
    seconds: tuple[str, ...]


@dataclass(frozen=True)
class Crossover:
    """The size at which one system overtakes another.

    Parameters
    ----------
    operation : str
    below, above : str
        The faster of the two below and above that size.
    bytes : float
        Searched by further runs where the fastest system changes; elsewhere interpolated between the two sizes
        around it, times and sizes taken as powers of each other.
    fastest : bool
        Whether the two are the fastest of all.
    """

    operation: str
    below: str
    above: str
    bytes: float
    fastest: bool


@dataclass(frozen=True)
class Comparison:
    """Everything that was found out; results run operation by operation, system by system, by size."""

    contenders: tuple[Contender, ...]
    operations: tuple[str, ...]
    sizes: tuple[float, ...]
    settings: Settings
    results: tuple[Result, ...]
    failures: tuple[Failure, ...]
    spans: tuple[Span, ...]
    crossovers: tuple[Crossover, ...]
    wall_s: float

    def of(self, operation: str, system: str) -> list[Result]:
        """Results of one operation on one system, by size."""
        return [r for r in self.results if r.operation == operation and r.system == system]

    def at(self, operation: str, size: float) -> list[Result]:
        """Results of one operation at one size, fastest first."""
        return sorted(
            (r for r in self.results if r.operation == operation and r.bytes == size), key=lambda r: r.time_s
        )


def contender(system: System) -> Contender:
    """The facts about a system that a comparison quotes."""
    fabric = system.fabric
    inside, outside = port_bandwidths(fabric)
    return Contender(
        name=system.name,
        title=system.title,
        accelerators=fabric.ranks,
        send_Bps=float(fabric.egress.max()),
        scale_up_Bps=float(inside.max()),
        scale_out_Bps=float(outside.max()),
        domains=fabric.domains,
        blocks_of_a_wafer=system.wafer is not None and system.wafer.blocks != system.wafer.core_grid,
    )


def compare(
    systems: Sequence[System],
    operations: Sequence[str],
    sizes: Sequence[float],
    *,
    settings: Settings | None = None,
    workers: int = 1,
    progress: Callable[[int], object] = lambda done: None,
) -> Comparison:
    """Run every operation at every size on every system.

    Parameters
    ----------
    systems : sequence of System
        At least one, no name twice.
    operations : sequence of str
    sizes : sequence of float
        nccl-tests' sizes in bytes.
    settings : Settings, optional
    workers : int
        Processes to share the runs; results do not depend on it.  With more than one, a program that calls this
        must be importable without side effects (``if __name__ == "__main__":``).
    progress : callable
        Called with the number of runs that have just ended.

    Raises
    ------
    TopoError
        An unknown operation, a senseless size, a system named twice; or that of the first run when all fail.
    """
    began = time.perf_counter()
    settings = settings or Settings()
    chosen = tuple(dict.fromkeys(operations))
    amounts = tuple(sorted(dict.fromkeys(map(float, sizes))))
    names = [system.name for system in systems]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise CollectiveError(f"system {twice!r} is there twice", "name each system once")
    if not (names and chosen and amounts):
        raise CollectiveError(
            "there is nothing to compare", "give at least one system, one operation and one size"
        )
    for operation in chosen:
        for size in amounts:
            Collective(operation, 2, size)
    # All sizes of one operation on one system run in one process, largest first: what is learned at one size for
    # the next then never depends on the number of processes.
    tasks = [(number, operation, amounts) for operation in chosen for number in range(len(systems))]
    results: list[Result] = []
    failures: list[Failure] = []
    few = len(tasks) * len(amounts) <= FEW_RUNS
    with _runner(systems, settings, 1 if few else min(workers, len(tasks))) as runner:
        for outcomes in runner(_run, tasks):
            for outcome in outcomes:
                if isinstance(outcome, Result):
                    results.append(outcome)
                else:
                    failures.append(outcome)
            progress(len(outcomes))
        if not results:
            first = failures[0]
            raise (InternalError if first.internal else TopoError)(first.message)
        changes = list(_changes(results, chosen, amounts, names))
        searched = [change for change in changes if change.fastest]
        exact = dict(
            zip(
                searched,
                runner(_bisect, [_search(results, change, names, settings) for change in searched]),
                strict=True,
            )
        )
        crossovers = tuple(
            Crossover(
                change.operation,
                change.below,
                change.above,
                exact.get(change, change.between),
                change.fastest,
            )
            for change in changes
        )
    return Comparison(
        contenders=tuple(map(contender, systems)),
        operations=chosen,
        sizes=amounts,
        settings=settings,
        results=tuple(results),
        failures=tuple(failures),
        spans=tuple(_spans(results, chosen, amounts)),
        crossovers=crossovers,
        wall_s=time.perf_counter() - began,
    )


# ------------------------------------------------------------------------------------------------- running

Task = tuple[Any, ...]
Recipe = tuple[str, int | None]
"""An algorithm and its number of chunks; None leaves both to the library."""
Rival = tuple[int, tuple[Recipe, ...]]
"""Number of a system, and what it may run."""


class _Runner(Protocol):
    def __call__(self, work: Callable[..., Any], tasks: Iterable[Task]) -> Iterator[Any]: ...


_shared: tuple[Sequence[System], Settings] | None = None


def _prepare(systems: Sequence[System], settings: Settings) -> None:
    global _shared
    _shared = systems, settings


@contextmanager
def _runner(systems: Sequence[System], settings: Settings, workers: int) -> Iterator[_Runner]:
    """What runs tasks and yields their outcomes in order, here or in processes."""
    if workers <= 1:
        _prepare(systems, settings)

        def here(work: Callable[..., Any], tasks: Iterable[Task]) -> Iterator[Any]:
            return (work(task) for task in tasks)

        yield here
        return
    from topo.processes import pool_of

    with pool_of(workers, _prepare, (systems, settings)) as pool:

        def elsewhere(work: Callable[..., Any], tasks: Iterable[Task]) -> Iterator[Any]:
            return pool.map(work, tasks)

        yield elsewhere


def _simulated(
    number: int, operation: str, size: float, recipe: Recipe | None = None, history: History | None = None
) -> Result:
    assert _shared is not None
    systems, settings = _shared
    system = systems[number]
    algorithm, chunks = recipe or (settings.algorithm, None)
    return simulate(
        system,
        Collective(operation, system.fabric.ranks, size),
        algorithm=algorithm,
        chunks=chunks,
        ccl=settings.ccl,
        engine=settings.engine,
        history=history,
    )


def _run(task: tuple[int, str, tuple[float, ...]]) -> list[Result | Failure]:
    number, operation, sizes = task
    assert _shared is not None
    name = _shared[0][number].name
    outcomes: list[Result | Failure] = []
    history = History()
    for size in reversed(sizes):
        try:
            outcomes.append(_simulated(number, operation, size, history=history))
        except TopoError as problem:
            outcomes.append(Failure(name, operation, size, str(problem), isinstance(problem, InternalError)))
    return outcomes[::-1]


def _bisect(task: tuple[str, float, float, Rival, Rival]) -> float:
    """The size between two sizes at which one rival overtakes the other.

    Each runs, in between, the faster of the algorithms that were its best at the two ends.
    """
    operation, low, high, below, above = task
    for _ in range(BISECTIONS):
        middle = math.sqrt(low * high)
        times = [
            min(_simulated(number, operation, middle, recipe).time_s for recipe in recipes)
            for number, recipes in (below, above)
        ]
        if times[0] <= times[1]:
            low = middle
        else:
            high = middle
    return math.sqrt(low * high)


# ------------------------------------------------------------------------------------------------- winners


def _ranking(results: Sequence[Result], operation: str, size: float) -> list[Result]:
    found = [r for r in results if r.operation == operation and r.bytes == size]
    return sorted(found, key=lambda r: r.time_s)


@dataclass(frozen=True)
class _Change:
    """Neighbouring sizes between which the order of two systems changes, and a size interpolated between them."""

    operation: str
    below: str
    above: str
    low: float
    high: float
    between: float
    fastest: bool


def _changes(
    results: Sequence[Result], operations: Sequence[str], sizes: Sequence[float], names: Sequence[str]
) -> Iterator[_Change]:
    for operation in operations:
        for low, high in pairwise(sizes):
            here, there = _ranking(results, operation, low), _ranking(results, operation, high)
            before, after = ({r.system: r.time_s for r in ranking} for ranking in (here, there))
            for a, b in permutations((name for name in names if name in before and name in after), 2):
                # How far a is ahead at the low end, and b at the high end, as logarithms.
                ahead, behind = math.log(before[b] / before[a]), math.log(after[a] / after[b])
                if ahead <= 0 or behind <= 0 or max(ahead, behind) < math.log(LEVEL):
                    continue
                between = low * (high / low) ** (ahead / (ahead + behind))
                fastest = (here[0].system, there[0].system) == (a, b)
                yield _Change(operation, a, b, low, high, between, fastest)


def _search(results: Sequence[Result], change: _Change, names: Sequence[str], settings: Settings) -> Task:
    """The task of finding a crossover: both rivals with their best algorithms at the two ends.

    A communication library chooses again at every size.
    """

    def rival(name: str) -> Rival:
        recipes = [
            (r.algorithm, r.chunks) if r.ccl == "ideal" else (settings.algorithm, None)
            for r in results
            if (r.system, r.operation) == (name, change.operation) and r.bytes in (change.low, change.high)
        ]
        return names.index(name), tuple(dict.fromkeys(recipes))

    return change.operation, change.low, change.high, rival(change.below), rival(change.above)


def _spans(results: Sequence[Result], operations: Sequence[str], sizes: Sequence[float]) -> Iterator[Span]:
    for operation in operations:
        rankings = [ranking for size in sizes if (ranking := _ranking(results, operation, size))]
        start = 0
        for i in range(1, len(rankings) + 1):
            if i < len(rankings) and rankings[i][0].system == rankings[start][0].system:
                continue
            part = rankings[start:i]
            factors = [ranking[1].time_s / ranking[0].time_s for ranking in part if len(ranking) > 1]
            yield Span(
                operation=operation,
                winner=part[0][0].system,
                first=part[0][0].bytes,
                last=part[-1][0].bytes,
                least=min(factors, default=1.0),
                most=max(factors, default=1.0),
                seconds=tuple(dict.fromkeys(ranking[1].system for ranking in part if len(ranking) > 1)),
            )
            start = i
