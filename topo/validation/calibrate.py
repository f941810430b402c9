"""A user's own measurements give that cluster's constants, with their uncertainty."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import topo
from topo.ccl import CCL, load
from topo.errors import CatalogueError, CollectiveError, TopoError
from topo.formats.nccl_tests import Run
from topo.library import system_links
from topo.validation.constants import free_constants
from topo.validation.evaluate import Evaluator
from topo.validation.fit import Fit, Fitted, fit
from topo.validation.place import group_of
from topo.validation.row import Row

HELD = 0.3
"""How stiffly constants are held at the library's own values: a tenth of error against a third of a constant."""
FEWEST = 4
"""Measured times that a calibration needs."""


@dataclass(frozen=True)
class Calibration:
    """The outcome.

    Parameters
    ----------
    target : str
        The system simulated.
    library : CCL
        The library as it was.
    rows : tuple of Row
    outcome : Fit
    logs : tuple of str
    """

    target: str
    library: CCL
    rows: tuple[Row, ...]
    outcome: Fit
    logs: tuple[str, ...]

    @property
    def determined(self) -> list[Fitted]:
        """The constants on which the measurements bear."""
        return [c for c in self.outcome.constants if c.determined]

    @property
    def before(self) -> list[float]:
        """Errors by row, simulated over measured time less 1, with the library as it was."""
        return [float(e) for e in np.expm1(self.outcome.before)]

    @property
    def after(self) -> list[float]:
        """The same with the constants found."""
        return [float(e) for e in np.expm1(self.outcome.after)]


def rows_of(runs: Iterable[Run], target: str, operation: str = "") -> list[Row]:
    """Every measured time of some runs as a Row.

    Parameters
    ----------
    runs : iterable of Run
    target : str
    operation : str
        For runs whose log does not say it.
    """
    rows = []
    for number, run in enumerate(runs, start=1):
        op = run.operation or operation
        if not op:
            continue
        for line in run.lines:
            for in_place, timing in ((False, line.out_of_place), (True, line.in_place)):
                if timing is None:
                    continue
                rows.append(
                    Row(
                        id=f"run{number}-{line.bytes}-{'in' if in_place else 'out-of'}-place",
                        file=run.file,
                        number=line.number,
                        system=run.device,
                        target=target,
                        op=run.program,
                        operation=op,
                        ranks=run.ranks,
                        nodes=run.nodes,
                        bytes=float(line.bytes),
                        seconds=timing.time_us * 1e-6,
                        in_place=in_place,
                        timing=_timing(run),
                    )
                )
    return rows


def _timing(run: Run) -> str:
    """Whether one thread started the calls of all accelerators of a machine, one after the other."""
    return "one-process" if run.per_thread > 1 and run.per_thread * (run.nodes or 1) == run.ranks else ""


def guess_target(runs: Sequence[Run], names: Sequence[str]) -> str:
    """The catalogue system whose accelerators the logs name, with as many domains as the runs need.

    Raises
    ------
    CatalogueError
        None or several fit.
    """
    hint = "name the system with --on, such as --on 'dgx-h100*2'"
    devices = sorted({run.device for run in runs if run.device})
    if not devices:
        raise CatalogueError("the logs do not say which accelerators ran", hint)
    words = {word.lower() for device in devices for word in re.split(r"[^A-Za-z0-9]+", device)}
    found = [name for name in names if words & {part for part in name.split("-") if re.search(r"\d", part)}]
    if len(found) != 1:
        have = ", ".join(devices)
        if len(devices) > 1:
            raise CatalogueError(
                f"the logs name several accelerators: {have}", f"calibrate one cluster; {hint}"
            )
        what = f"{', '.join(found)} all have" if found else "no system of the catalogue is known to have"
        raise CatalogueError(f"{what} {have}", hint)
    ranks = max(run.ranks for run in runs)
    nodes = max(run.nodes or 1 for run in runs)
    domain = topo.load(found[0]).fabric.ranks
    count = max(nodes if nodes * domain >= ranks else 1, -(-ranks // domain))
    return found[0] if count == 1 else f"{found[0]}*{count}"


def calibrate(
    rows: Sequence[Row],
    target: str,
    ccl: str | None = None,
    *,
    progress: Callable[[int], object] = lambda done: None,
) -> Calibration:
    """Fit the constants of a system's library and links to measurements.

    Parameters
    ----------
    rows : sequence of Row
    target : str
        The system that they were taken on.
    ccl : str, optional
        The library to start from; the system's own by default.
    progress : callable
        Called with 1 after every round of simulations.

    Raises
    ------
    TopoError
        Too few rows, more ranks than the system has, or a library without constants.
    """
    system = topo.load(target)
    library = load(ccl or system.library)
    if library.ideal:
        raise CatalogueError(
            f"{target} goes by the library ideal, which has no constants", "name one with --ccl, such as nccl"
        )
    if len(rows) < FEWEST:
        raise TopoError(
            f"{len(rows)} measured times are too few to calibrate", f"give logs with at least {FEWEST}"
        )
    for row in rows:
        try:
            group_of(system.fabric, row.ranks, row.nodes)
        except CollectiveError as problem:
            raise CollectiveError(f"{row.file}:{row.number}: {problem.message}", problem.hint) from None
    links = system_links(system, library)
    inside = [links.inside.name] if any(row.ranks > 1 for row in rows) else []
    between = [links.between.name] if system.fabric.domains > 1 else []
    name = system.library
    free = [
        replace(constant, library=name) if constant.library else constant
        for constant in free_constants({name: library}, [*inside, *between], fitted_only=False)
    ]
    evaluator = Evaluator(list(rows), free, {name: library})
    outcome = fit(free, evaluator.residuals, loose=HELD, progress=progress)
    return Calibration(target, library, tuple(rows), outcome, tuple(dict.fromkeys(row.file for row in rows)))


def to_yaml(calibration: Calibration, name: str) -> str:
    """The constants as a library file that ``--ccl`` takes."""
    import yaml

    source = (
        f"topo calibrate: {len(calibration.rows)} measured times of {', '.join(calibration.logs)} "
        f"on {calibration.target}"
    )
    own: dict[str, Any] = {}
    technologies: dict[str, dict[str, Any]] = {}
    for fitted in calibration.determined:
        constant = fitted.constant
        entry: dict[str, Any] = {
            "value": float(f"{fitted.value:.6g}"),
            "source": source,
            "confidence": "fit",
            "standard_error": float(f"{fitted.standard_error:.2g}"),
            "note": f"{calibration.library.name} has {constant.value:.4g} {constant.unit}".strip(),
        }
        place = technologies.setdefault(constant.technology, {}) if constant.technology else own
        place[constant.key] = entry
    data: dict[str, Any] = {
        "name": name,
        "title": f"{calibration.library.title or calibration.library.name} as measured on {calibration.target}",
        "base": calibration.library.name,
    }
    if own:
        data["constants"] = own
    if technologies:
        data["technologies"] = technologies
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=110)
