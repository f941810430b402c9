"""The engine against the naive one: the same times on random fabrics, schedules, jobs and changes."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import naive
from tests import strategies as some
from topo.fabric import Fabric
from topo.network import Network, Outcome, Program, compile_program
from topo.network.fold import fold
from topo.network.solver import run_alone
from topo.schedule import Schedule

CLOSE = 1e-9
HANDOVERS = (0, 900, 3000)
"""Work after which the compiled solver takes over: at once, and after a few events."""


def judged(fabric: Fabric, schedule: Schedule, *, barrier: bool, store_and_forward: bool) -> Program:
    """Run a schedule in every way there is; the naive engine is right.  The answer is the compiled program."""
    judge = naive.job(fabric, schedule, barrier=barrier, store_and_forward=store_and_forward)
    naive.run(fabric.bandwidth, [judge])
    switching = "store-and-forward" if store_and_forward else "cut-through"
    program = compile_program(schedule, fabric, barrier=barrier, switching=switching)
    ways: list[dict[str, Any]] = [{}, {"skip_repeats": False}, *({"patience": work} for work in HANDOVERS)]
    rows = np.zeros(0)
    for way in ways:
        found, _ = run_alone(program, certify=True, **way)
        rows = found.row_finish
        assert found.finish == pytest.approx(judge.finish, rel=CLOSE), way
        if not store_and_forward:
            np.testing.assert_allclose(rows, judge.row_finish(), rtol=CLOSE, err_msg=str(way))
    folded = fold(program)
    if folded is not None:
        of_class = run_alone(folded.program, certify=True)[0].row_finish
        np.testing.assert_allclose(of_class[folded.row_class], rows, rtol=CLOSE)
    return program


@settings(max_examples=50)
@given(st.data())
def test_random_fabrics(data: st.DataObject) -> None:
    fabric = data.draw(some.fabrics())
    schedule = data.draw(some.schedules(fabric.ranks))
    judged(fabric, schedule, barrier=data.draw(st.booleans()), store_and_forward=data.draw(st.booleans()))


@settings(max_examples=50)
@given(st.data())
def test_grids_with_dead_cables(data: st.DataObject) -> None:
    fabric = data.draw(some.grids())
    schedule = data.draw(some.schedules(fabric.ranks, repeats=20))
    judged(fabric, schedule, barrier=data.draw(st.booleans()), store_and_forward=data.draw(st.booleans()))


@settings(max_examples=40)
@given(st.data())
def test_trees_through_a_switch(data: st.DataObject) -> None:
    fabric = data.draw(some.stars())
    schedule = data.draw(some.schedules(fabric.ranks, trees=True))
    judged(fabric, schedule, barrier=data.draw(st.booleans()), store_and_forward=data.draw(st.booleans()))


@settings(max_examples=25)
@given(st.data())
def test_many_repeats_skipped_and_not(data: st.DataObject) -> None:
    """Waits of all kinds on streams of up to two hundred repeats; too long for the naive engine."""
    fabric = data.draw(some.fabrics())
    schedule = data.draw(some.schedules(fabric.ranks, repeats=200, most=3))
    program = compile_program(schedule, fabric, barrier=data.draw(st.booleans()))
    patience = data.draw(st.sampled_from((0, 2_000, 1_000_000_000)))
    one, other = (
        run_alone(program, certify=True, skip_repeats=skip, patience=patience)[0] for skip in (True, False)
    )
    np.testing.assert_allclose(one.row_finish, other.row_finish, rtol=CLOSE)


def moments() -> st.SearchStrategy[float]:
    """Seconds at which jobs start and links change, often together."""
    return st.one_of(st.sampled_from((0.0, 1e-4, 1e-3, 5e-3)), st.floats(0, 0.02, allow_subnormal=False))


@settings(max_examples=80)
@given(st.data())
def test_jobs_that_share_links_which_change(data: st.DataObject) -> None:
    """Jobs join in mid-run from SimPy processes, and links change their bandwidth under them."""
    fabric = data.draw(st.one_of(some.fabrics(), some.grids(8)))
    store_and_forward = data.draw(st.booleans())
    jobs = [
        (data.draw(moments()), data.draw(some.schedules(fabric.ranks, repeats=10)), data.draw(st.booleans()))
        for _ in range(data.draw(st.integers(1, 3)))
    ]
    changes = sorted(
        (data.draw(moments()), data.draw(st.integers(0, fabric.links - 1)), data.draw(some.bandwidths()))
        for _ in range(data.draw(st.integers(0, 3)))
    )
    judges = [
        naive.job(fabric, schedule, start=when, barrier=barrier, store_and_forward=store_and_forward)
        for when, schedule, barrier in jobs
    ]
    naive.run(fabric.bandwidth, judges, changes)

    env = simpy.Environment()
    switching = "store-and-forward" if store_and_forward else "cut-through"
    network = Network(env, fabric, switching=switching, certify=True)
    network.solver.patience = data.draw(st.sampled_from((*HANDOVERS, 400_000)))
    outcomes: dict[int, Outcome] = {}

    def start(
        number: int, when: float, schedule: Schedule, barrier: bool
    ) -> Generator[simpy.Event, Any, None]:
        yield env.timeout(when)
        outcomes[number] = yield network.start(schedule, barrier=barrier)
        assert env.now == outcomes[number].finish

    def change(when: float, link: int, bandwidth: float) -> Generator[simpy.Event, Any, None]:
        yield env.timeout(when)
        network.set_bandwidth(fabric.nodes[fabric.source[link]], fabric.nodes[fabric.target[link]], bandwidth)

    for number, job in enumerate(jobs):
        env.process(start(number, *job))
    for what in changes:
        env.process(change(*what))
    env.run()
    for number, judge in enumerate(judges):
        assert outcomes[number].start == judge.start
        assert outcomes[number].finish == pytest.approx(judge.finish, rel=CLOSE)
        if not store_and_forward:
            np.testing.assert_allclose(outcomes[number].row_finish, judge.row_finish(), rtol=CLOSE)
    last = max([judge.finish for judge in judges] + [when for when, _, _ in changes])
    assert env.now == pytest.approx(last, rel=CLOSE)
