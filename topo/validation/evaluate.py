"""Rows simulated again and again with other constants; only what the changed ones act on is computed anew."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from topo.algorithms import Site
from topo.ccl import CCL, load
from topo.errors import AlgorithmError, CatalogueError
from topo.fabric import Fabric, FloatArray
from topo.library import library_run, system_links
from topo.prepared import Options
from topo.system import System
from topo.validation.constants import Free, Settings
from topo.validation.cores import load_target
from topo.validation.place import collective_of, group_of
from topo.validation.row import Row
from topo.validation.timing import as_timed

KEPT = 3
"""Variants of a fabric, its links at other shares of their bandwidth, for which compiled programs are kept."""


@dataclass
class Evaluator:
    """Times of rows as a function of constants.

    Parameters
    ----------
    rows : sequence of Row
    free : sequence of Free
    base : mapping of str to CCL
        Libraries that take the place of those that come with the simulator, by name.
    """

    rows: Sequence[Row]
    free: Sequence[Free]
    base: Mapping[str, CCL] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._systems: dict[str, System] = {}
        self._known: dict[tuple[object, ...], float] = {}
        self._acting: dict[str, list[int]] = {}

    def residuals(self, values: FloatArray) -> FloatArray:
        """Logarithm of simulated over measured time of every row."""
        return np.array([math.log(self.seconds(row, values) / row.seconds) for row in self.rows])

    def errors(self, values: FloatArray) -> FloatArray:
        """Simulated over measured time, less 1, of every row."""
        return np.exp(self.residuals(values)) - 1

    def seconds(self, row: Row, values: FloatArray) -> float:
        """Simulated time of a row."""
        acting = tuple(float(values[i]) for i in self.acting(row))
        key = (row.target, row.operation, row.ranks, row.nodes, row.bytes, row.algorithm, row.timing, acting)
        if key not in self._known:
            self._known[key] = self._simulated(row, values)
        return self._known[key]

    def acting(self, row: Row) -> list[int]:
        """Numbers of the constants that may act on a row: those of its library and of its system's links."""
        if row.target not in self._acting:
            system = self._system(row.target)
            links = system_links(system, self._library(system.library))
            names = {
                links.inside.name,
                links.between.name if system.fabric.domains > 1 else links.inside.name,
            }
            self._acting[row.target] = [
                i
                for i, constant in enumerate(self.free)
                if constant.technology in names or constant.library == system.library
            ]
        return self._acting[row.target]

    def _library(self, name: str) -> CCL:
        return self.base.get(name) or load(name)

    def _system(self, name: str) -> System:
        if name not in self._systems:
            self._systems[name] = load_target(name)
        return self._systems[name]

    def _simulated(self, row: Row, values: FloatArray) -> float:
        system = self._system(row.target)
        _forget(system.fabric)
        settings = Settings(tuple(self.free), tuple(map(float, values)), self.base)
        ccl = settings.libraries([system.library])[system.library]
        group = group_of(system.fabric, row.ranks, row.nodes)
        collective = collective_of(row, system.fabric, group)
        site = Site(system.fabric, group)
        try:
            run = library_run(ccl, system, collective, site, Options(), row.algorithm or "auto")
        except (AlgorithmError, CatalogueError):
            if not row.algorithm:
                raise
            run = library_run(ccl, system, collective, site, Options())
        return as_timed(run.seconds, row.timing, ccl, row.ranks, row.nodes)


def _forget(fabric: Fabric) -> None:
    """Drop what was compiled for shares of the links' bandwidth that a fit has left behind."""
    variants = [key for key in fabric.cache if isinstance(key, tuple) and key and key[0] == "ccl reach"]
    for key in variants[:-KEPT]:
        del fabric.cache[key]
