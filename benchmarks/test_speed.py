"""`make bench`: every case of :mod:`benchmarks.cases`, the plain SimPy model beside it, and growth with chips.

Times are CPU seconds of one thread (children included), the best of a few rounds.  Where a plain SimPy model of the
case would run for hours, it runs a small sibling, and its cost for each transfer of the sibling stands for the cost
of each transfer of the case; that favours SimPy, whose cost for each transfer grows with the case.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from typing import Any

import pytest

from benchmarks import simpy_model
from benchmarks.cases import CASES, Case

SIDES = (4, 8, 16, 32, 64)
GROWTH = """
import json, sys, time
began = time.process_time()
from benchmarks.cases import structured_run
structured_run(sys.argv[1], "all-reduce", "bucket")()()
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024
print(json.dumps({"seconds": time.process_time() - began, "bytes": peak}))
"""


def cpu() -> float:
    """CPU seconds of this process and its finished children."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


@pytest.mark.benchmark(timer=cpu)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_speed(benchmark: Any, case: Case) -> None:
    run = case.prepare()
    amount = benchmark.pedantic(run, rounds=case.rounds, warmup_rounds=1 if case.rounds > 1 else 0)
    info = {"unit": case.unit, "amount": amount, "target_s": case.seconds, "target_rate": case.rate}
    info["memory_bytes"] = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if case.small is not None:
        small = case.small()
        began = cpu()
        simpy_model.simulate(small)
        info["simpy_s_per_transfer"] = (cpu() - began) / small.transfers
        info["simpy_transfers"] = small.transfers
    benchmark.extra_info.update(info)
    assert amount > 0


@pytest.mark.benchmark(timer=cpu)
@pytest.mark.parametrize("side", SIDES)
def test_growth(benchmark: Any, side: int) -> None:
    """A bucket all-reduce, folded, from an empty process to its answer."""

    def run() -> dict[str, float]:
        name = f"torus:{side}x{side}x{side}"
        done = subprocess.run(
            [sys.executable, "-c", GROWTH, name], check=True, capture_output=True, text=True
        )
        found: dict[str, float] = json.loads(done.stdout)
        runs.append(found)
        return found

    runs: list[dict[str, float]] = []
    benchmark.pedantic(run, rounds=3)
    benchmark.extra_info.update({key: min(one[key] for one in runs) for key in runs[0]}, chips=side**3)
    assert benchmark.extra_info["seconds"] > 0
