"""The plain SimPy model of the benchmarks and the engine tell the same times."""

from __future__ import annotations

import pytest

from benchmarks.simpy_model import simulate
from benchmarks.traffic import exchange_program, first_found, irregular, permutation, program_of
from topo.network import Program
from topo.network.fold import fold
from topo.network.solver import run_alone

PROGRAMS = {
    "ring on a switch": lambda: program_of("switch:8", "all-reduce", "ring"),
    "ring": lambda: program_of("ring:6", "all-reduce", "ring"),
    "bucket": lambda: program_of("torus:3x4", "all-reduce", "bucket"),
    "exchange": lambda: exchange_program("torus:3x4"),
    "exchange beside a dead cable": lambda: exchange_program("torus:3x3x3,failed=0.0.0-0.0.1"),
    "exchange over first-found ways": lambda: first_found("torus:3x3x2"),
    "permutation": lambda: permutation("torus:4x4"),
    "irregular": lambda: irregular(2, 512),
    "hierarchy": lambda: program_of("trn2*2", "all-reduce", "hierarchical"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_engine_tells_the_time_of_the_plain_model(name: str) -> None:
    program: Program = PROGRAMS[name]()
    expected = pytest.approx(simulate(program), rel=1e-9)
    assert run_alone(program)[0].finish == expected
    assert run_alone(program, patience=0)[0].finish == expected
    folded = fold(program)
    if folded is not None:
        assert run_alone(folded.program)[0].finish == expected
