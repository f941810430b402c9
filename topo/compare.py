"""Systems compared over operations and sizes, as data: results, who wins where, and where the winner changes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

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
    """What every run of a comparison has in common; as in :func:`topo.simulate.simulate`."""

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
    """The size at which one system overtakes another as the fastest.

    Parameters
    ----------
    operation : str
    below, above : str
        Fastest below and above that size.
    bytes : float
    """

    operation: str
    below: str
    above: str
    bytes: float


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
        Called with 1 after every run.

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
    tasks = [
        (number, operation, size)
        for operation in chosen
        for number in range(len(systems))
        for size in amounts
    ]
    results: list[Result] = []
    failures: list[Failure] = []
    few = len(tasks) <= FEW_RUNS
    with _runner(systems, settings, 1 if few else workers) as runner:
        for found in runner(_run, tasks):
            if isinstance(found, Result):
                results.append(found)
            else:
                failures.append(found)
            progress(1)
        if not results:
            first = failures[0]
            raise (InternalError if first.internal else TopoError)(first.message)
        changes = list(_changes(results, chosen, amounts, names))
        crossings = runner(_bisect, [(a, b, operation, low, high) for operation, a, b, low, high in changes])
        crossovers = tuple(
            Crossover(operation, names[a], names[b], size)
            for (operation, a, b, _, _), size in zip(changes, crossings, strict=True)
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


class _Runner(Protocol):
    def __call__(self, work: Callable[..., Any], tasks: Iterable[Task]) -> Iterator[Any]: ...


_shared: tuple[Sequence[System], Settings] | None = None


def _prepare(systems: Sequence[System], settings: Settings) -> None:
    global _shared
    _shared = systems, settings


def _prepare_worker(systems: Sequence[System], settings: Settings) -> None:
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    _prepare(systems, settings)


@contextmanager
def _runner(systems: Sequence[System], settings: Settings, workers: int) -> Iterator[_Runner]:
    """What runs tasks and yields their outcomes in order, here or in processes."""
    if workers <= 1:
        _prepare(systems, settings)

        def here(work: Callable[..., Any], tasks: Iterable[Task]) -> Iterator[Any]:
            return (work(task) for task in tasks)

        yield here
        return
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    pool = ProcessPoolExecutor(workers, get_context("spawn"), _prepare_worker, (systems, settings))

    def elsewhere(work: Callable[..., Any], tasks: Iterable[Task]) -> Iterator[Any]:
        return pool.map(work, tasks)

    try:
        yield elsewhere
    except BrokenProcessPool:
        raise TopoError("a worker process died, perhaps for want of memory", "run with one job") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _simulated(number: int, operation: str, size: float) -> Result:
    assert _shared is not None
    systems, settings = _shared
    system = systems[number]
    collective = Collective(operation, system.fabric.ranks, size)
    return simulate(
        system, collective, algorithm=settings.algorithm, ccl=settings.ccl, engine=settings.engine
    )


def _run(task: tuple[int, str, float]) -> Result | Failure:
    number, operation, size = task
    try:
        return _simulated(number, operation, size)
    except TopoError as problem:
        assert _shared is not None
        name = _shared[0][number].name
        return Failure(name, operation, size, str(problem), isinstance(problem, InternalError))


def _bisect(task: tuple[int, int, str, float, float]) -> float:
    """The size between ``low`` and ``high`` at which system ``b`` overtakes ``a``."""
    a, b, operation, low, high = task
    for _ in range(BISECTIONS):
        middle = math.sqrt(low * high)
        if _simulated(a, operation, middle).time_s <= _simulated(b, operation, middle).time_s:
            low = middle
        else:
            high = middle
    return math.sqrt(low * high)


# ------------------------------------------------------------------------------------------------- winners


def _ranking(results: Sequence[Result], operation: str, size: float) -> list[Result]:
    found = [r for r in results if r.operation == operation and r.bytes == size]
    return sorted(found, key=lambda r: r.time_s)


def _changes(
    results: Sequence[Result], operations: Sequence[str], sizes: Sequence[float], names: Sequence[str]
) -> Iterator[tuple[str, int, int, float, float]]:
    """Neighbouring sizes between which the winner changes: (operation, winner, next winner, size, next size)."""
    for operation in operations:
        for low, high in pairwise(sizes):
            here, there = _ranking(results, operation, low), _ranking(results, operation, high)
            if not here or not there or here[0].system == there[0].system:
                continue
            both = {r.system for r in here} & {r.system for r in there}
            if here[0].system in both and there[0].system in both:
                yield operation, names.index(here[0].system), names.index(there[0].system), low, high


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
