"""What the errors come to: by system, operation, size band and ranks, and over all."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from topo.validation.compare import Compared
from topo.validation.row import BANDS

LARGE = "1 MiB and above"
SMALL = "below 1 MiB"


@dataclass(frozen=True)
class Statistics:
    """Errors of a group of rows; an error is simulated over measured time, less 1.

    Parameters
    ----------
    count : int
    median, p90, worst : float
        Of the absolute errors; the 90th percentile interpolated between rows.
    bias : float
        Mean of the errors with their signs: below zero where the simulation is too fast.
    """

    count: int
    median: float
    p90: float
    worst: float
    bias: float

    def record(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "count": self.count,
            "median": self.median,
            "p90": self.p90,
            "worst": self.worst,
            "bias": self.bias,
        }


@dataclass(frozen=True)
class Group:
    """Statistics of the rows of one system, operation, size band and number of ranks."""

    system: str
    operation: str
    band: str
    ranks: int
    statistics: Statistics

    @property
    def key(self) -> str:
        """A name for it, the same in every run."""
        return f"{self.system} | {self.operation} | {self.band} | {self.ranks} ranks"

    def record(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "system": self.system,
            "operation": self.operation,
            "band": self.band,
            "ranks": self.ranks,
            **self.statistics.record(),
        }


def statistics(errors: Iterable[float]) -> Statistics:
    """Statistics of at least one error."""
    signed = np.asarray(list(errors), dtype=float)
    size = np.abs(signed)
    return Statistics(
        len(signed),
        float(np.median(size)),
        float(np.percentile(size, 90)),
        float(size.max()),
        float(signed.mean()),
    )


def groups(compared: Sequence[Compared]) -> list[Group]:
    """Statistics by system, operation, ranks and size band."""
    found = _by(compared, lambda c: c.kind)
    order = sorted(found, key=lambda kind: (kind[0], kind[1], kind[3], BANDS.index(kind[2])))
    return [
        Group(
            system, operation, band, ranks, statistics(c.error for c in found[system, operation, band, ranks])
        )
        for system, operation, band, ranks in order
    ]


def by_key(compared: Sequence[Compared]) -> dict[str, Statistics]:
    """Statistics of the groups by their names."""
    return {group.key: group.statistics for group in groups(compared)}


def families(compared: Sequence[Compared]) -> dict[tuple[str, str], Statistics]:
    """Statistics by system and operation, the worst median first."""
    found = {
        family: statistics(c.error for c in rows)
        for family, rows in _by(compared, lambda c: (c.row.target, c.row.operation)).items()
    }
    return dict(sorted(found.items(), key=lambda item: (-item[1].median, item[0])))


def over_all(compared: Sequence[Compared]) -> dict[str, Statistics]:
    """Statistics by size band, below and from 1 MiB, and of all rows; those without rows are not there."""
    parts: dict[str, list[float]] = {name: [] for name in (*BANDS, SMALL, LARGE, "all")}
    for c in compared:
        for name in (c.row.band, LARGE if c.row.bytes >= 2**20 else SMALL, "all"):
            parts[name].append(c.error)
    return {name: statistics(errors) for name, errors in parts.items() if errors}


def by_system(compared: Sequence[Compared]) -> dict[str, Statistics]:
    """Statistics by system."""
    found = _by(compared, lambda c: c.row.target)
    return {system: statistics(c.error for c in found[system]) for system in sorted(found)}


def summary(compared: Sequence[Compared]) -> dict[str, Any]:
    """All statistics as JSON data."""
    return {
        "overall": [{"rows": name, **s.record()} for name, s in over_all(compared).items()],
        "systems": [{"system": name, **s.record()} for name, s in by_system(compared).items()],
        "families": [
            {"system": system, "operation": operation, **s.record()}
            for (system, operation), s in families(compared).items()
        ],
        "groups": [group.record() for group in groups(compared)],
    }


def _by(compared: Sequence[Compared], key: Callable[[Compared], Hashable]) -> dict[Any, list[Compared]]:
    found: dict[Any, list[Compared]] = {}
    for c in compared:
        found.setdefault(key(c), []).append(c)
    return found
