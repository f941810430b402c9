"""The solvers: skipped repeats, handing over to the compiled one, corner cases of time and size."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from tests import strategies as some
from topo.algorithms import Site, build
from topo.collective import Collective, cut
from topo.errors import NetworkError
from topo.fabric import Fabric
from topo.network.program import Program, compile_program
from topo.network.solver import FluidSolver, run_alone
from topo.schedule import LAST, ScheduleBuilder, Wait, one_each


def streams(fabric: Fabric, *batches: tuple[list[int], list[int], float, int, tuple[Wait, ...]]) -> Program:
    """Batches of (sources, targets, bytes, repeat, waits)."""
    collective = Collective("all-reduce", fabric.ranks, 1.0)
    builder = ScheduleBuilder(collective, "test", lambda: cut(collective))
    for source, target, size, repeat, waits in batches:
        chunks = one_each(np.zeros(len(source), dtype=np.int64))
        builder.add(source, target, size, chunks, repeat=repeat, loop=False, waits=waits)
    return compile_program(builder.build(), fabric)


def ring_all_reduce(fabric: Fabric, size: float = 1e6) -> Program:
    collective = Collective("all-reduce", fabric.ranks, size)
    return compile_program(build("ring", collective, Site(fabric, np.arange(fabric.ranks))), fabric)


LINE = [0, 1, 2, 3]


def test_repeats_cost_no_events() -> None:
    """A ring all-reduce of 500 steps is known after a few."""
    fabric = some.ring(251)
    job, solver = run_alone(ring_all_reduce(fabric), certify=True)
    assert job.finish == pytest.approx(500 * (1e-6 + 1e6 / 251 / 1e10), rel=1e-12)
    assert solver.events < 40
    assert solver.skipped > 450


@pytest.mark.parametrize("lag", [-60, -4, -1, 0, 1, 3, 60, LAST])
@pytest.mark.parametrize("on", ["arrival", "drain"])
def test_skipping_stops_where_a_wait_ends(lag: int, on: str) -> None:
    """Rows that stand still until a stream has come to a certain repeat must not be passed by."""
    fabric = some.ring(4)
    program = streams(
        fabric,
        ([0], [1], 1e4, 200, ()),
        ([1], [2], 3e5, 3, (Wait(0, lag, on),)),
        ([3], [0], 1e4, 50, (Wait(0, lag, on),)),
        ([0], [3], 2e4, 70, (Wait(0, lag, on), Wait(2, 0, "arrival"))),
    )
    skipping, _ = run_alone(program, certify=True)
    plain, _ = run_alone(program, certify=True, skip_repeats=False)
    np.testing.assert_allclose(skipping.row_finish, plain.row_finish, rtol=1e-12)


def test_skipping_goes_on_up_to_where_a_wait_ends() -> None:
    """The other stream begins after 120 of 200 repeats; few events are needed before and after."""
    program = streams(
        some.ring(4), ([0], [1], 1e4, 200, ()), ([1], [2], 1e4, 100, (Wait(0, -120, "arrival"),))
    )
    job, solver = run_alone(program, certify=True)
    np.testing.assert_allclose(job.row_finish, [201e-6, 223e-6], rtol=1e-12)
    assert solver.events < 100


def test_streams_that_never_fall_into_step() -> None:
    fabric = some.ring(4)
    program = streams(
        fabric,
        ([0], [1], 1e3, 500, ()),
        ([1], [2], math.pi * 1e3, 370, ()),
        ([0], [2], math.e * 1e3, 200, ()),
    )
    runs = [
        run_alone(program, skip_repeats=skip, patience=patience)[0].row_finish
        for skip, patience in itertools.product((True, False), (0, 5_000, 10**9))
    ]
    for other in runs[1:]:
        np.testing.assert_allclose(other, runs[0], rtol=1e-9)


@pytest.mark.parametrize("patience", [0, 300, 600, 2_000, 10_000])
def test_the_compiled_solver_takes_over_anywhere(patience: int) -> None:
    fabric = some.star_of([(5e10 + i * 3e9, 1e-6 * (1 + i / 7)) for i in range(7)])
    program = ring_all_reduce(fabric)
    expected = run_alone(program, skip_repeats=False, patience=10**9)[0].row_finish
    found = run_alone(program, certify=True, patience=patience)[0].row_finish
    np.testing.assert_allclose(found, expected, rtol=1e-11)


def test_jobs_join_while_the_compiled_solver_runs() -> None:
    fabric = some.star_of([(5e10 + i * 3e9, 1e-6 * (1 + i / 7)) for i in range(5)])
    program = ring_all_reduce(fabric, 1e7)
    ends = []
    for patience in (0, 10**9):
        solver = FluidSolver(fabric.bandwidth, certify=True, patience=patience)
        jobs = [solver.add(program)]
        for moment in (1e-4, 1.5e-4, 7e-4):
            while solver.advance(moment):
                pass
            jobs.append(solver.add(program))
        solver.set_capacity(3, 1e9)
        while any(job.finish == math.inf for job in jobs):
            solver.advance()
        ends.append([job.finish for job in jobs])
        assert [job.start for job in jobs] == [0.0, 1e-4, 1.5e-4, 7e-4]
    assert ends[0] == pytest.approx(ends[1], rel=1e-9)


@pytest.mark.parametrize("patience", [0, 10**9])
def test_sizes_from_next_to_nothing_to_very_much(patience: int) -> None:
    for size in (1e-300, 1e-20, 1e-3, 1.0, 1e18):
        fabric = some.ring(4, 1e10, 0.0)
        job, _ = run_alone(streams(fabric, (LINE, [1, 2, 3, 0], size, 5, ())), patience=patience)
        assert job.finish == pytest.approx(5 * size / 1e10, rel=1e-9)


@pytest.mark.parametrize("patience", [0, 10**9])
def test_a_mouse_beside_an_elephant(patience: int) -> None:
    """Sizes fourteen orders apart on one link: the mouse has half the link while it lives."""
    program = streams(some.ring(4, 1e10, 0.0), ([0], [1], 1e12, 1, ()), ([0], [1], 0.01, 1, ()))
    job, _ = run_alone(program, certify=True, patience=patience)
    assert job.row_finish[0] == pytest.approx(100.0, rel=1e-12)
    assert job.row_finish[1] == pytest.approx(2e-12, rel=1e-3)


@pytest.mark.parametrize("patience", [0, 10**9])
def test_empty_messages_without_latency(patience: int) -> None:
    """A thousand repeats that take no time at all end, and let go what waits for them."""
    fabric = some.ring(4, 1e10, 0.0)
    program = streams(fabric, ([0], [1], 0.0, 1000, ()), ([1], [2], 1e10, 1, (Wait(0),)))
    assert run_alone(program, certify=True, patience=patience)[0].finish == pytest.approx(1.0)


@pytest.mark.parametrize("patience", [0, 10**9])
def test_zero_latency_with_repeats(patience: int) -> None:
    fabric = some.ring(8, 1e10, 0.0)
    job, _ = run_alone(ring_all_reduce(fabric, 8e6), patience=patience)
    assert job.finish == pytest.approx(14 * 1e-4, rel=1e-9)


def test_all_that_ends_together_is_one_event() -> None:
    fabric = some.star(64)
    everyone = [i for i in range(64) for _ in range(63)]
    others = [(i + k) % 64 for i in range(64) for k in range(1, 64)]
    job, solver = run_alone(streams(fabric, (everyone, others, 1e6, 1, ())), certify=True)
    assert job.finish == pytest.approx(63 * 1e6 / 5e10 + 1e-6)
    assert solver.events == 2


def test_alone_is_never_slower_than_shared() -> None:
    fabric = some.star(8)
    program = streams(fabric, ([0, 1, 2], [3, 3, 3], 1e6, 4, ()), ([0], [4], 1e5, 9, ()))
    alone, _ = run_alone(program, sharing=False)
    assert alone.row_finish[:3].tolist() == pytest.approx([4 * 1e6 / 5e10 + 1e-6] * 3)
    assert (alone.row_finish <= run_alone(program)[0].row_finish * (1 + 1e-12)).all()


@pytest.mark.parametrize("patience", [0, 10**9])
def test_words_for_a_stall_and_for_a_cycle(patience: int) -> None:
    fabric = some.ring(4)
    with pytest.raises(NetworkError, match="2 transfers wait for each other in a cycle"):
        run_alone(
            streams(fabric, ([0], [1], 1.0, 1, (Wait(1),)), ([1], [0], 1.0, 1, (Wait(0),))), patience=patience
        )
    solver = FluidSolver(fabric.bandwidth, patience=patience)
    solver.set_capacity(0, 0.0)
    solver.add(streams(fabric, ([0], [1], 1.0, 1, ())))
    with pytest.raises(NetworkError, match="stalled on links without capacity"):
        solver.advance()


def test_a_program_for_other_links_is_refused() -> None:
    with pytest.raises(NetworkError, match="other links"):
        FluidSolver(some.ring(5).bandwidth).add(ring_all_reduce(some.ring(4)))
