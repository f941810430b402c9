"""Every measurement simulated, in one or several processes; what comes out does not depend on how many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from topo.errors import AlgorithmError, CatalogueError, CollectiveError, InternalError, TopoError
from topo.library import library_of
from topo.processes import mapped
from topo.simulate import simulate
from topo.system import System
from topo.validation.cores import load_target
from topo.validation.place import collective_of, group_of
from topo.validation.row import LeftOut, Problem, Row
from topo.validation.timing import as_timed

FEW = 12
"""As many different simulations are not worth a second process."""


@dataclass(frozen=True)
class Compared:
    """A measurement beside its simulation.

    Parameters
    ----------
    row : Row
    seconds : float
        Simulated time.
    algorithm : str
        What ran in the simulation.
    detail : str
    ccl : str
    bottleneck : str
    note : str
        What was not as the row asks, such as an algorithm that the library does not offer.
    """

    row: Row
    seconds: float
    algorithm: str
    detail: str
    ccl: str
    bottleneck: str = ""
    note: str = ""

    @property
    def error(self) -> float:
        """Simulated over measured time, less 1."""
        return self.seconds / self.row.seconds - 1

    @property
    def kind(self) -> tuple[str, str, str, int]:
        """System, operation, size band and ranks."""
        return self.row.target, self.row.operation, self.row.band, self.row.ranks


@dataclass(frozen=True)
class Outcome:
    """All measurements compared, and those that could not be."""

    compared: tuple[Compared, ...]
    left_out: tuple[LeftOut, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class _Case:
    """One simulation; several rows may ask for it."""

    target: str
    operation: str
    ranks: int
    nodes: int | None
    bytes: float
    algorithm: str
    timing: str


@dataclass(frozen=True)
class _Simulated:
    seconds: float
    algorithm: str
    detail: str
    ccl: str
    bottleneck: str
    note: str


@dataclass(frozen=True)
class _Failed:
    message: str
    internal: bool


def compare_rows(
    rows: Sequence[Row],
    *,
    ccl: Any = None,
    workers: int = 1,
    progress: Callable[[int], object] = lambda done: None,
) -> Outcome:
    """Simulate every row.

    Parameters
    ----------
    rows : sequence of Row
    ccl : optional
        Communication library for all, as :func:`topo.simulate.simulate` takes it; or a mapping from the name of a
        system's own library to what takes its place; each system's own by default.
    workers : int
        Processes; with more than one, ``ccl`` must be something that can be pickled.
    progress : callable
        Called with the number of rows that have just been dealt with.

    Raises
    ------
    InternalError
        The simulator contradicts itself.
    """
    problems, sound = _checked(rows)
    progress(len(rows) - len(sound))
    wanted: dict[_Case, int] = {}
    for row in sound:
        wanted[_case(row)] = wanted.get(_case(row), 0) + 1
    found: dict[_Case, _Simulated | _Failed] = {}
    tasks = _tasks(wanted)
    few = len(wanted) <= FEW
    for task, outcomes in zip(
        tasks, mapped(_run, tasks, 1 if few else workers, _prepare, (ccl,)), strict=True
    ):
        found.update(zip(task, outcomes, strict=True))
        progress(sum(wanted[case] for case in task))
    compared, left_out = [], []
    for row in sound:
        outcome = found[_case(row)]
        if isinstance(outcome, _Failed):
            if outcome.internal:
                raise InternalError(f"{row.file} row {row.number} ({row.id}): {outcome.message}")
            left_out.append(LeftOut(row.id, row.file, row.number, outcome.message))
            continue
        compared.append(
            Compared(
                row,
                outcome.seconds,
                outcome.algorithm,
                outcome.detail,
                outcome.ccl,
                outcome.bottleneck,
                outcome.note,
            )
        )
    return Outcome(tuple(compared), tuple(left_out), tuple(problems))


def _case(row: Row) -> _Case:
    return _Case(row.target, row.operation, row.ranks, row.nodes, row.bytes, row.algorithm, row.timing)


def _checked(rows: Iterable[Row]) -> tuple[list[Problem], list[Row]]:
    """Rows whose target exists and has their ranks."""
    systems: dict[str, System | str] = {}
    problems, sound = [], []
    for row in rows:
        if row.target not in systems:
            try:
                systems[row.target] = load_target(row.target)
            except TopoError as problem:
                systems[row.target] = str(problem)
        system = systems[row.target]
        if isinstance(system, str):
            problems.append(Problem(row.file, row.number, "target", system, row.id))
            continue
        try:
            group_of(system.fabric, row.ranks, row.nodes)
        except CollectiveError as problem:
            problems.append(Problem(row.file, row.number, "devices", str(problem), row.id))
            continue
        sound.append(row)
    return problems, sound


def _tasks(cases: Iterable[_Case]) -> list[tuple[_Case, ...]]:
    """Cases by target and operation, so that a process builds a fabric and its schedules once, the largest first."""
    groups: dict[tuple[str, str], list[_Case]] = {}
    for case in cases:
        groups.setdefault((case.target, case.operation), []).append(case)
    ordered = sorted(groups.values(), key=lambda group: -max(c.ranks for c in group) * len(group))
    return [
        tuple(sorted(group, key=lambda c: (c.ranks, -c.bytes, c.algorithm, c.timing))) for group in ordered
    ]


# ------------------------------------------------------------------------------------------------- running

_ccl: Any = None
_systems: dict[str, System] = {}


def _prepare(ccl: Any) -> None:
    global _ccl
    _ccl = ccl


def _run(task: tuple[_Case, ...]) -> list[_Simulated | _Failed]:
    outcomes: list[_Simulated | _Failed] = []
    for case in task:
        try:
            outcomes.append(_simulated(case))
        except TopoError as problem:
            outcomes.append(_Failed(str(problem), isinstance(problem, InternalError)))
    return outcomes


def _simulated(case: _Case) -> _Simulated:
    if case.target not in _systems:
        _systems.clear()  # one system at a time: fabrics cache what was compiled for them
        _systems[case.target] = load_target(case.target)
    system = _systems[case.target]
    group = group_of(system.fabric, case.ranks, case.nodes)
    collective = collective_of(case, system.fabric, group)
    note = ""
    ccl = _ccl.get(system.library) if isinstance(_ccl, Mapping) else _ccl
    try:
        result = simulate(system, collective, algorithm=case.algorithm or "auto", ccl=ccl, ranks=group)
    except (AlgorithmError, CatalogueError) as problem:
        if not case.algorithm:
            raise
        note = f"asked for {case.algorithm}: {problem}; the library chose"
        result = simulate(system, collective, ccl=ccl, ranks=group)
    seconds = as_timed(result.time_s, case.timing, library_of(system, ccl), case.ranks, case.nodes)
    return _Simulated(seconds, result.algorithm, result.detail, result.ccl, result.bottleneck, note)
