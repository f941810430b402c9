"""Measured and simulated times of training steps, kept when they are recorded, for the page and its figure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from topo.validation.training import ComparedStep

TIMES = Path(__file__).with_name("recorded_step_times.json")


@dataclass(frozen=True)
class StepTime:
    """One training step.

    Parameters
    ----------
    id : str
        Of its row.
    published_by, system, precision : str
        Its family.
    model : str
    measured_s, simulated_s : float
    """

    id: str
    published_by: str
    system: str
    precision: str
    model: str
    measured_s: float
    simulated_s: float

    @property
    def error(self) -> float:
        """Simulated over measured time, less 1."""
        return self.simulated_s / self.measured_s - 1


def write_times(compared: Iterable[ComparedStep], path: Path = TIMES, *, keep: bool = False) -> None:
    """Keep the times of steps; with ``keep`` those of other steps stay."""
    found = {time.id: time for time in read_times(path)} if keep else {}
    found |= {
        c.row.id: StepTime(c.row.id, *c.family, c.model, c.measured_s, float(f"{c.seconds:.5g}"))
        for c in compared
    }
    lines = ",\n".join(f" {json.dumps(list(vars(found[key]).values()))}" for key in sorted(found))
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def read_times(path: Path = TIMES) -> list[StepTime]:
    """The times kept; none where nothing was recorded."""
    if not path.exists():
        return []
    return [StepTime(*line) for line in json.loads(path.read_text(encoding="utf-8"))]
