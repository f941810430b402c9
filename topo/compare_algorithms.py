"""Algorithms compared with each other on one system: time and share of the bound by size, and who overtakes whom."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from topo.algorithms import ALGORITHMS, Site, build, find, fitting, refusal, with_variants
from topo.choose import History, affordable
from topo.collective import Collective
from topo.errors import AlgorithmError, CollectiveError, InternalError, TopoError
from topo.results import Result
from topo.simulate import simulate
from topo.system import System

LEVEL = 1.005
"""Times nearer than this factor are called level."""
BISECTIONS = 7
MOST_COSTLY = 64
"""Ranks up to which algorithms that are searched for (``costly`` ones) belong to ``all``."""
STRAIGHT = 1e-9
"""Relative distance from a straight line up to which a closed form is called linear in the size."""


@dataclass(frozen=True)
class LeftOut:
    """An algorithm, or one of its runs, that gave no result."""

    algorithm: str
    why: str


@dataclass(frozen=True)
class Overtaking:
    """The size at which one algorithm overtakes another as the fastest.

    Parameters
    ----------
    below, above : str
        The faster of the two below and above that size.
    bytes : float
    how : str
        ``closed form``: both have a formula, and the size solves their equation; ``bisected``: by further runs.
    """

    below: str
    above: str
    bytes: float
    how: str


@dataclass(frozen=True)
class AlgorithmComparison:
    """All runs of one operation on one system, algorithm by algorithm, by size."""

    operation: str
    system: str
    ranks: int
    sizes: tuple[float, ...]
    algorithms: tuple[str, ...]
    results: tuple[Result, ...]
    left_out: tuple[LeftOut, ...]
    crossovers: tuple[Overtaking, ...]
    wall_s: float

    def of(self, algorithm: str) -> list[Result]:
        """Results of one algorithm, by size."""
        return [r for r in self.results if r.algorithm == algorithm]

    def at(self, size: float) -> list[Result]:
        """Results at one size, fastest first."""
        return sorted((r for r in self.results if r.bytes == size), key=lambda r: r.time_s)


def chosen_algorithms(names: str, collective: Collective, site: Site) -> tuple[list[str], list[LeftOut]]:
    """The algorithms that a list names, and those left out with the reason.

    Parameters
    ----------
    names : str
        ``all``: whatever fits, its variants included, those that are searched for up to 64 ranks; or names with
        commas between them.

    Raises
    ------
    AlgorithmError
        An unknown name; one that cannot run there; a name that is there twice; none that fits.
    """
    if names.strip() == "all":
        found, left = [], []
        for entry in fitting(collective, site):
            why = _too_large(entry.name, entry.costly, collective, site)
            if why:
                left.append(LeftOut(entry.name, why))
            else:
                found += [variant.name for variant in with_variants(entry, collective, site)]
        if not found:
            raise AlgorithmError(f"no algorithm carries out {collective.operation} on {site.fabric.name}")
        return found, left
    asked = _names(names)
    if not asked:
        raise AlgorithmError(f"algorithms {names!r} name none", "write all, or ring,direct")
    for number, name in enumerate(asked):
        if name == "auto":
            raise AlgorithmError("auto is no algorithm of its own", "write all, or ring,direct")
        if name in asked[:number]:
            raise AlgorithmError(f"algorithm {name!r} is there twice", "name each once")
        why = refusal(find(name), collective, site)
        if why:
            able = ", ".join(entry.name for entry in fitting(collective, site)) or "none"
            raise AlgorithmError(
                f"{name} cannot run {collective.operation} on {site.fabric.name}: {why}", f"these can: {able}"
            )
    return asked, []


def _names(text: str) -> list[str]:
    """Names between commas; a part such as ``across=ring`` belongs to the parameters of the name before it."""
    names: list[str] = []
    for part in filter(None, map(str.strip, text.split(","))):
        if names and "=" in part and part.partition("=")[0] not in ALGORITHMS and ":" not in part:
            names[-1] += f",{part}"
        else:
            names.append(part)
    return names


def _too_large(name: str, costly: bool, collective: Collective, site: Site) -> str:
    if costly and collective.ranks > MOST_COSTLY:
        return f"searching takes long among more than {MOST_COSTLY} ranks; ask for it by name"
    if not costly and not affordable(build(name, collective, site), site):
        return "its transfers are too many here; ask for it by name"
    return ""


def compare_algorithms(
    system: System,
    operation: str,
    sizes: Sequence[float],
    algorithms: str = "all",
    *,
    exact: bool = False,
    progress: Callable[[str, int], object] = lambda name, total: None,
) -> AlgorithmComparison:
    """Run algorithms side by side, each with its best number of chunks.

    Parameters
    ----------
    system : System
    operation : str
    sizes : sequence of float
        nccl-tests' sizes in bytes.
    algorithms : str
        ``all``, or names with commas between them.
    exact : bool
        Compare with the exact bound where there is one.
    progress : callable
        Called before every run with the algorithm and the number of runs in all.

    Raises
    ------
    TopoError
        Nothing to compare, an algorithm that cannot run there, or the problem of the first run when all fail.
    """
    began = time.perf_counter()
    amounts = tuple(sorted(dict.fromkeys(map(float, sizes))))
    if not amounts:
        raise CollectiveError("there is nothing to compare", "give at least one size")
    ranks = system.fabric.ranks
    site = Site(system.fabric, np.arange(ranks))
    names, left_out = chosen_algorithms(algorithms, Collective(operation, ranks, amounts[-1]), site)
    results: list[Result] = []
    for name in names:
        history = History()
        mine: list[Result] = []
        # From large to small: no more chunks are tried than were best at the size before.
        for size in reversed(amounts):
            progress(name, len(names) * len(amounts))
            try:
                mine.append(
                    _run(system, Collective(operation, ranks, size), name, history=history, exact=exact)
                )
            except InternalError:
                raise
            except TopoError as problem:
                left_out.append(LeftOut(name, str(problem)))
        results += mine[::-1]
    if not results:
        raise AlgorithmError(left_out[0].why if left_out else "nothing ran")
    return AlgorithmComparison(
        operation,
        system.name,
        ranks,
        amounts,
        tuple(names),
        tuple(results),
        tuple(dict.fromkeys(left_out)),
        tuple(_overtakings(system, operation, results, amounts)),
        time.perf_counter() - began,
    )


def _run(
    system: System,
    collective: Collective,
    name: str,
    chunks: int | None = None,
    history: History | None = None,
    exact: bool = False,
) -> Result:
    # Without a library's costs: they would hide how near the algorithms come to the bound.
    return simulate(
        system,
        collective,
        algorithm=name,
        ccl="ideal",
        chunks=chunks or "best",
        history=history,
        exact=exact,
    )


def _overtakings(
    system: System, operation: str, results: Sequence[Result], sizes: Sequence[float]
) -> Iterator[Overtaking]:
    """Where the fastest algorithm changes between neighbouring sizes."""
    for low, high in pairwise(sizes):
        here = {r.algorithm: r for r in results if r.bytes == low}
        there = {r.algorithm: r for r in results if r.bytes == high}
        if not here or not there:
            continue
        first = min(here.values(), key=lambda r: r.time_s)
        last = min(there.values(), key=lambda r: r.time_s)
        a, b = first.algorithm, last.algorithm
        if a == b or b not in here or a not in there:
            continue
        ahead, behind = here[b].time_s / first.time_s, there[a].time_s / last.time_s
        if max(ahead, behind) < LEVEL:
            continue
        yield _between(system, operation, (first, there[a]), (here[b], last))


def _between(
    system: System, operation: str, below: tuple[Result, Result], above: tuple[Result, Result]
) -> Overtaking:
    """The crossover of two algorithms, each with the numbers of chunks that were its best at the two ends."""
    names = below[0].algorithm, above[0].algorithm
    low, high = below[0].bytes, below[1].bytes
    recipes = [tuple(dict.fromkeys(r.chunks for r in pair)) for pair in (below, above)]
    if all(len(recipe) == 1 for recipe in recipes):
        size = solved(system, operation, names, (recipes[0][0], recipes[1][0]), low, high)
        if size is not None:
            return Overtaking(*names, size, "closed form")
    ranks = system.fabric.ranks
    for _ in range(BISECTIONS):
        middle = math.sqrt(low * high)
        times = [
            min(_run(system, Collective(operation, ranks, middle), name, k).time_s for k in recipe)
            for name, recipe in zip(names, recipes, strict=True)
        ]
        if times[0] <= times[1]:
            low = middle
        else:
            high = middle
    return Overtaking(*names, math.sqrt(low * high), "bisected")


def solved(
    system: System, operation: str, names: tuple[str, str], chunks: tuple[int, int], low: float, high: float
) -> float | None:
    """The size at which two closed forms give the same time, both being straight lines between two sizes.

    With times a + b n and c + d n they meet at n = (c - a) / (b - d).  None where either has no closed form there,
    one is not straight, or they do not meet between the sizes.
    """
    ranks = system.fabric.ranks
    site = Site(system.fabric, np.arange(ranks))
    lines = []
    for name, k in zip(names, chunks, strict=True):
        form = find(name).closed_form
        if form is None:
            return None
        times = [form(Collective(operation, ranks, size), site, k) for size in (low, (low + high) / 2, high)]
        if any(seconds is None for seconds in times):
            return None
        start, middle, end = (float(seconds) for seconds in times if seconds is not None)
        if abs(2 * middle - start - end) > STRAIGHT * (start + end):
            return None
        slope = (end - start) / (high - low)
        lines.append((start - slope * low, slope))
    (a, b), (c, d) = lines
    if b == d:
        return None
    size = (c - a) / (b - d)
    return size if low <= size <= high else None
