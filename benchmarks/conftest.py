"""What the JSON of the benchmarks says about the machine: what matters for speed, and no names."""

from __future__ import annotations

import os
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

LOAD_BEFORE = os.getloadavg()[0]
"""Processes that were running before the benchmarks."""
KEPT = ("machine", "system", "python_version", "python_implementation")


def pytest_benchmark_update_machine_info(config: Any, machine_info: dict[str, Any]) -> None:
    """Keep processor, memory, system and Python."""
    import numba
    import numpy

    cpu = machine_info.get("cpu", {})
    kept = {key: machine_info[key] for key in KEPT if key in machine_info}
    kept["processor"] = cpu.get("brand_raw", "unknown")
    kept["cores"] = cpu.get("count")
    kept["memory_bytes"] = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    kept["load_before"] = LOAD_BEFORE
    kept["numpy"], kept["numba"] = numpy.__version__, numba.__version__
    machine_info.clear()
    machine_info.update(kept)


def pytest_benchmark_update_json(config: Any, benchmarks: Any, output_json: dict[str, Any]) -> None:
    """Leave out the single rounds and what differs from run to run without meaning."""
    for entry in output_json["benchmarks"]:
        for key in ("param", "fullname", "params", "options"):
            entry.pop(key, None)
        entry["stats"] = {key: entry["stats"][key] for key in ("min", "mean", "stddev", "rounds")}
    commit = output_json.get("commit_info") or {}
    output_json["commit_info"] = {key: commit[key] for key in ("id", "time") if key in commit}
