"""Commands for sweeps under test; importable, so that other processes find them."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from topo.errors import CollectiveError, InternalError


def add(command: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Adds; refuses and breaks where it is told to."""
    a, b = inputs["a"], inputs.get("b", 0)
    if a == "no":
        raise CollectiveError("no is no number", "give one")
    if a == "bug":
        raise InternalError("contradiction")
    if a == "type":
        raise TypeError("wrong type")
    if a == "memory":
        raise MemoryError
    return {"sum": a + b, "nested": {"list": [a, b]}, "wall_s": time.perf_counter()}


def slowly(command: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Takes a few milliseconds."""
    time.sleep(inputs.get("seconds", 0.004))
    return {"square": inputs["a"] ** 2}


def deadly(command: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Kills its own process: always for ``always``, for ``once`` only while a file is not there."""
    mark = Path(inputs["mark"])
    if inputs["a"] == "always" or (inputs["a"] == "once" and not mark.exists()):
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"lived": True}


if __name__ == "__main__":  # a sweep to be killed: python calls.py FOLDER POINTS JOBS
    from calls import slowly as call  # by its name in a module, as workers find it

    from topo.sweep import Point, Store, read_records, sweep
    from topo.sweep.local import Here, Processes
    from topo.sweep.tables import in_order, write_tables

    folder, points, jobs = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    with Store(folder) as store:
        asked = (Point.of("slowly", {"a": number}) for number in range(points))
        summary = sweep(asked, store, Processes(jobs) if jobs > 1 else Here(), call)
    write_tables(folder, in_order(read_records(folder), summary.keys))
