"""Programs that share one folding run in company exactly as they do whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import strategies as some
from topo.algorithms import Site, build
from topo.collective import Collective
from topo.errors import NetworkError
from topo.fabric import Fabric, FloatArray
from topo.network import Network, Outcome, Program, common_folding, compile_program, joined
from topo.network.solver import run_alone


def program(fabric: Fabric, operation: str, algorithm: str, ranks: list[int], size: float = 1e6) -> Program:
    group = np.asarray(ranks)
    schedule = build(algorithm, Collective(operation, len(group), size), Site(fabric, group))
    return compile_program(schedule, fabric, ranks=group)


def finishes(
    programs: list[Program],
    capacity: FloatArray,
    starts: list[float],
    changes: Sequence[tuple[float, int, float]] = (),
) -> list[Outcome]:
    """Outcomes of programs started at given times on links whose capacity changes at given times."""
    env = simpy.Environment()
    network = Network.of_links(env, capacity, certify=True)
    outcomes: list[Outcome] = []

    def starter(which: Program, at: float) -> simpy.events.ProcessGenerator:
        yield env.timeout(at)
        done = yield network.start_program(which)
        outcomes.append(done)

    def changer(at: float, link: int, value: float) -> simpy.events.ProcessGenerator:
        yield env.timeout(at)
        network.set_capacity(link, value)

    for which, at in zip(programs, starts, strict=True):
        env.process(starter(which, at))
    for change in changes:
        env.process(changer(*change))
    env.run()
    by_program = {id(outcome.program): outcome for outcome in outcomes}
    return [by_program[id(which)] for which in programs]


def compare(programs: list[Program], starts: list[float]) -> tuple[int, int]:
    """Run programs whole and under their common folding; rows whole and folded."""
    folding = common_folding(programs)
    whole = finishes(programs, programs[0].capacity, starts)
    small = finishes(list(folding.programs), folding.capacity, starts)
    for one, other, of_row in zip(whole, small, folding.row_class, strict=True):
        assert other.finish == pytest.approx(one.finish, rel=1e-9)
        np.testing.assert_allclose(other.row_finish[of_row], one.row_finish, rtol=1e-9)
    return sum(p.rows for p in programs), sum(p.rows for p in folding.programs)


def test_tensor_and_data_parallel_groups_of_a_cluster() -> None:
    """Rings inside four domains while rings across them run, started at different moments."""
    fabric = some.domains_on_a_switch(4, 4)
    inside = joined([program(fabric, "all-reduce", "ring", [4 * d + i for i in range(4)]) for d in range(4)])
    across = joined(
        [program(fabric, "all-reduce", "ring", [4 * d + i for d in range(4)], 3e6) for i in range(4)]
    )
    everyone = program(fabric, "all-to-all", "direct", list(range(16)), 2e6)
    whole, folded = compare([inside, across, everyone], [0.0, 1e-5, 3.3e-5])
    assert folded * 8 <= whole


def test_a_lonely_group_splits_what_the_others_share() -> None:
    fabric = some.star(8)
    everyone = program(fabric, "all-to-all", "direct", list(range(8)))
    pair = program(fabric, "send-recv", "direct", [2, 5], 5e6)
    _, folded = compare([everyone, pair], [0.0, 2e-5])
    assert folded < everyone.rows // 2
    alone = common_folding([everyone])
    assert alone.programs[0].rows == 1
    assert alone.link_count.tolist() == [16]


@settings(max_examples=60)
@given(st.data())
def test_random_schedules_in_company(data: st.DataObject) -> None:
    fabric = data.draw(st.sampled_from((some.star(4), some.ring(4), some.torus((2, 2)))))
    number = data.draw(st.integers(1, 3))
    programs = [compile_program(data.draw(some.schedules(fabric.ranks)), fabric) for _ in range(number)]
    starts = [data.draw(st.sampled_from((0.0, 1e-6, 2.3e-5, 1e-3))) for _ in range(number)]
    compare(programs, starts)


def test_a_cable_set_apart_may_fail_and_be_mended() -> None:
    fabric = some.star(6)
    shared = program(fabric, "all-to-all", "direct", list(range(6)), 6e6)
    other_way = program(fabric, "all-gather", "direct", list(range(6)), 6e6)
    link = 3
    folding = common_folding([shared, other_way], apart=[link])
    place = int(folding.class_of_link[link])
    assert folding.link_count[place] == 1

    def changes(number: int) -> list[tuple[float, int, float]]:
        return [(2e-5, number, 0.0), (9e-5, number, 2e10)]

    starts = [0.0, 1e-5]
    whole = finishes([shared, other_way], fabric.bandwidth, starts, changes(link))
    small = finishes(list(folding.programs), folding.capacity, starts, changes(place))
    for one, other, of_row in zip(whole, small, folding.row_class, strict=True):
        np.testing.assert_allclose(other.row_finish[of_row], one.row_finish, rtol=1e-9)
    assert sum(p.rows for p in folding.programs) * 4 <= shared.rows + other_way.rows


def test_programs_started_again_and_again() -> None:
    fabric = some.ring(8)
    step = program(fabric, "all-reduce", "ring", list(range(8)))
    folded = common_folding([step]).programs[0]
    once = run_alone(step)[0].finish
    env = simpy.Environment()
    network = Network.of_links(env, folded.capacity)

    def repeat() -> simpy.events.ProcessGenerator:
        for _ in range(5):
            yield network.start_program(folded)

    env.run(env.process(repeat()))
    assert env.now == pytest.approx(5 * once, rel=1e-9)


def test_nothing_in_common_is_carried_as_it_is() -> None:
    graph_like = some.star_of([(1e10 * (i + 1), 1e-6) for i in range(5)])
    whole = program(graph_like, "all-reduce", "ring", list(range(5)))
    folding = common_folding([whole])
    assert folding.programs[0].rows == whole.rows
    assert run_alone(folding.programs[0])[0].finish == pytest.approx(run_alone(whole)[0].finish, rel=1e-9)


def test_an_empty_program_in_company() -> None:
    fabric = some.star(4)
    nothing = Collective("all-to-all", 4, 1.0, matrix=((0.0,) * 4,) * 4)
    empty = compile_program(build("direct", nothing, Site(fabric, np.arange(4))), fabric)
    full = program(fabric, "all-to-all", "direct", [0, 1, 2, 3])
    folding = common_folding([empty, full, empty])
    assert [p.rows for p in folding.programs] == [0, 1, 0]


def test_what_cannot_be_folded_together() -> None:
    with pytest.raises(NetworkError, match="no programs"):
        common_folding([])
    star, ring = some.star(4), some.ring(4)
    with pytest.raises(NetworkError, match="different links"):
        common_folding(
            [
                program(star, "all-to-all", "direct", [0, 1, 2, 3]),
                program(ring, "all-to-all", "direct", [0, 1, 2, 3]),
            ]
        )


def test_a_link_that_is_not_there() -> None:
    network = Network(simpy.Environment(), some.ring(4))
    with pytest.raises(NetworkError, match="no link 99"):
        network.set_capacity(99, 1.0)
