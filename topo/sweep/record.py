"""The flat record of a point: what was asked, by what, what came out."""

from __future__ import annotations

from typing import Any

from topo import __version__
from topo.sweep.evaluate import Outcome
from topo.sweep.point import Point

POINT, COMMAND, OUTCOME, FAULT, VERSION, SEED = "point", "command", "outcome", "error", "version", "seed"
INPUT = "input_"
"""What the columns of inputs begin with; the command's own results carry their own names."""
WALL, POINT_WALL = "wall_s", "point_wall_s"
TIMINGS = (WALL, POINT_WALL)
"""The columns that differ from run to run."""


def record_of(point: Point, outcome: Outcome) -> dict[str, Any]:
    """The record to be stored for a point."""
    record: dict[str, Any] = {
        POINT: point.key,
        COMMAND: point.command,
        OUTCOME: outcome.outcome,
        FAULT: outcome.error,
        VERSION: __version__,
        SEED: point.inputs.get("seed"),
    }
    record |= {INPUT + name: value for name, value in point.inputs.items()}
    record |= {f"{INPUT}file.{name}": digest for name, digest in point.files.items()}
    record |= {name: value for name, value in outcome.values.items() if name not in record}
    record.setdefault(WALL, outcome.wall_s)
    record[POINT_WALL] = outcome.wall_s
    return record
