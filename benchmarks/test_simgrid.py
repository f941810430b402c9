"""`make bench`, beside SimGrid: the same schedules at zero latency, the same answers, and what each engine takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.simgrid_model import replay, undivided, why_not, without_latency
from benchmarks.test_speed import cpu
from benchmarks.traffic import (
    exchange_program,
    first_found,
    irregular,
    loaded,
    permutation,
    random_regular,
    ring_program,
)
from topo.fabric import Fabric
from topo.network import Program
from topo.network.fold import fold
from topo.network.solver import run_alone


def on(make: Callable[[str], Program], system: str) -> Callable[[], tuple[Program, Fabric]]:
    """A program and the system it is for."""
    return lambda: (make(system), loaded(system).fabric)


CASES: dict[str, Callable[[], tuple[Program, Fabric]]] = {
    "ring, ring of 64": on(ring_program, "ring:64"),
    "all-to-all, torus 4x4x4, dimension by dimension": on(exchange_program, "torus:4x4x4"),
    "all-to-all, torus 5x5x5, first-found ways": on(first_found, "torus:5x5x5"),
    "irregular, 4 flows a sender": lambda: (irregular(4, 10_000), random_regular()),
    "random permutation, torus 16x16x16": on(permutation, "torus:16x16x16"),
}


@pytest.mark.benchmark(timer=cpu)
@pytest.mark.skipif(bool(why_not()), reason=why_not() or "SimGrid is there")
@pytest.mark.parametrize("name", CASES)
def test_simgrid(benchmark: Any, name: str) -> None:
    program, fabric = CASES[name]()
    program = without_latency(undivided(program, fabric))

    def run() -> float:
        folded = fold(program)
        return run_alone(folded.program if folded else program)[0].finish

    finish = benchmark.pedantic(run, rounds=3, warmup_rounds=1)
    other = replay(program, fabric)
    assert finish == pytest.approx(other.finish, rel=1e-9)
    benchmark.extra_info.update(
        transfers=program.transfers,
        simgrid_s=other.cpu,
        simgrid_version=other.version,
        difference=abs(finish / other.finish - 1),
    )
