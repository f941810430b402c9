"""A copy of a solver in the middle of a run goes on by itself, and the original as if nobody had copied it."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from tests import strategies as some
from tests.topo.network.test_solver import ring_all_reduce
from topo.network.solver import FluidSolver, run_alone


@pytest.mark.parametrize("patience", [0, 10**9], ids=["compiled", "batches"])
def test_a_copy_goes_on_by_itself(patience: int) -> None:
    fabric = some.ring(4, 1e10, 1e-6)
    program = ring_all_reduce(fabric, 4e6)
    whole = run_alone(program, patience=patience)[0].row_finish
    solver = FluidSolver(fabric.bandwidth, patience=patience)
    job = solver.add(program)
    for _ in range(3):
        solver.advance()
    twin, its_job = copy.deepcopy((solver, job), {id(program): program})
    for one, its in ((twin, its_job), (solver, job)):
        while its.finish == np.inf:
            one.advance()
    np.testing.assert_allclose(its_job.row_finish, whole, rtol=1e-12)
    np.testing.assert_allclose(job.row_finish, whole, rtol=1e-12)
