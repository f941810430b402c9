"""The compiled event solver against the batch solver: places kept for rows that come back, room for arrivals."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest

from tests import strategies as some
from tests.topo.network.test_solver import LINE, ring_all_reduce, streams
from topo.errors import NetworkError
from topo.network.event_records import MOST, require_positions
from topo.network.program import Program
from topo.network.solver import FluidSolver, run_alone
from topo.schedule import Wait

NEXT = [1, 2, 3, 0]
NEVER = 10**9


def judged(program: Program) -> None:
    """Both solvers, every repeat run, agree on every row."""
    compiled = run_alone(program, patience=0, skip_repeats=False, certify=True)[0]
    plain = run_alone(program, patience=NEVER, skip_repeats=False)[0]
    np.testing.assert_allclose(compiled.row_finish, plain.row_finish, rtol=1e-12)


@pytest.mark.parametrize("latency", [0.0, 1e-6])
@pytest.mark.parametrize("lag", [-2, 0, 1])
def test_rows_that_leave_together_and_do_not_all_come_back(latency: float, lag: int) -> None:
    """Four streams drain together; two have fewer repeats, and others come instead of them."""
    judged(
        streams(
            some.ring(4, 1e10, latency),
            (LINE, NEXT, 1e6, 3, ()),
            ([0, 1], [2, 3], 1e6, 5, ()),
            ([2, 3], [3, 1], 2e6, 4, (Wait(0, lag, "arrival"),)),
        )
    )


def test_rows_that_come_back_in_another_company() -> None:
    """Steps of alternating sets of rows, some of them the same."""
    fabric = some.star(6)
    judged(
        streams(
            fabric,
            ([0, 1, 2], [3, 4, 5], 1e6, 6, (Wait(1, 1, "arrival"),)),
            ([3, 4, 5], [0, 1, 2], 1e6, 6, (Wait(0, 0, "arrival"),)),
            ([0, 1], [3, 3], 1e6, 2, (Wait(1, -2, "arrival"),)),
        )
    )


def test_a_link_changes_while_places_are_kept() -> None:
    """Between the last byte and its arrival nobody drains; the rates found before hold no longer."""
    fabric = some.ring(4, 1e10, 1e-3)
    ends = []
    for patience in (0, NEVER):
        solver = FluidSolver(fabric.bandwidth, patience=patience, skip_repeats=False, certify=True)
        job = solver.add(ring_all_reduce(fabric, 4e6))
        while solver.advance(6e-4):
            pass
        assert not any(solver.advance(6e-4))
        solver.set_capacity(0, 1e9)
        while job.finish == np.inf:
            solver.advance()
        ends.append(job.row_finish)
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-12)
    assert ends[0].max() > run_alone(ring_all_reduce(fabric, 4e6))[0].finish * 1.1


def test_arrivals_that_need_more_room() -> None:
    """A thousand empty repeats leave in one moment and are all under way together."""
    fabric = some.ring(4, 1e10, 1e-6)
    judged(
        streams(
            fabric,
            ([0], [1], 0.0, 1000, ()),
            ([2], [3], 0.0, 700, (Wait(0, 0, "drain"),)),
            ([1], [2], 1e6, 3, (Wait(0),)),
        )
    )


def test_a_run_in_small_pieces_is_the_same_run() -> None:
    fabric = some.star_of([(5e10 + i * 3e9, 1e-6 * (1 + i / 7)) for i in range(7)])
    program = ring_all_reduce(fabric)
    whole = run_alone(program, patience=0, skip_repeats=False)[0]
    solver = FluidSolver(program.capacity, patience=0, skip_repeats=False)
    job = solver.add(program)
    for moment in np.linspace(0, whole.finish * 1.01, 333):
        while solver.advance(float(moment)):
            pass
    assert job.finish == whole.finish


def test_more_than_positions_can_name_is_refused() -> None:
    class Huge:
        rows = MOST // 2 + 1
        route_link = member_row = wait_gate = range(4)

    with pytest.raises(NetworkError, match="the event solver takes"):
        require_positions(cast(Program, Huge()))
