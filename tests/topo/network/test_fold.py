"""Folding: the quotient runs as the whole does, row by row, and gives up where there is no symmetry."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import topo
from tests import strategies as some
from topo.algorithms import ALGORITHMS, Site, build, fitting
from topo.collective import Collective
from topo.errors import TopoError
from topo.fabric import Fabric
from topo.network.fold import fold, unfolded
from topo.network.program import Program, compile_program
from topo.network.refine import refine
from topo.network.solver import run_alone
from topo.network.structured import structured

OPERATIONS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "broadcast")
SYSTEMS = {
    "ring": some.ring(6),
    "star": some.star(8, in_network=True),
    "mesh": some.torus((3, 4), wrap=(False, False)),
    "torus": some.torus((2, 3, 4)),
    "domains": some.domains_on_a_switch(3, 4),
    "damaged": some.torus((4, 4)).without([(0, 1)]),
}


def same(program: Program) -> float:
    """Run a program folded and whole; rows per class."""
    folded = fold(program)
    if folded is None:
        return 1.0
    whole, _ = run_alone(program, certify=True)
    small, _ = run_alone(folded.program, certify=True)
    np.testing.assert_allclose(small.row_finish[folded.row_class], whole.row_finish, rtol=1e-9)
    assert small.finish == pytest.approx(whole.finish, rel=1e-9)
    assert folded.program.count.sum() == program.rows
    assert folded.program.transfers == program.transfers
    # Bytes of every link are those of its class, and links of a class are counted.
    carried, of_class = program.link_bytes(), folded.program.link_bytes()
    used = folded.class_of_link >= 0
    np.testing.assert_allclose(of_class[folded.class_of_link[used]], carried[used], rtol=1e-12)
    assert not carried[~used].any()
    assert folded.link_count.sum() == used.sum()
    return program.rows / folded.program.rows


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("name", SYSTEMS)
def test_folded_as_unfolded(name: str, operation: str) -> None:
    fabric = SYSTEMS[name]
    site = Site(fabric, np.arange(fabric.ranks))
    collective = Collective(operation, fabric.ranks, 1e6)
    for algorithm in fitting(collective, site):
        if algorithm.costly:
            continue
        for barrier in (False, True):
            same(compile_program(build(algorithm.name, collective, site), fabric, barrier=barrier))


@settings(max_examples=50)
@given(st.data())
def test_random_schedules_fold_exactly(data: st.DataObject) -> None:
    fabric = data.draw(st.sampled_from((some.star(4), some.ring(4), some.torus((2, 2)))))
    same(compile_program(data.draw(some.schedules(fabric.ranks)), fabric, barrier=data.draw(st.booleans())))


def all_reduce(fabric: Fabric, algorithm: str = "ring") -> Program:
    site = Site(fabric, np.arange(fabric.ranks))
    return compile_program(build(algorithm, Collective("all-reduce", fabric.ranks, 1e6), site), fabric)


@pytest.mark.parametrize("name", SYSTEMS)
def test_compiled_refinement_finds_the_same_classes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fabric = SYSTEMS[name]
    site = Site(fabric, np.arange(fabric.ranks))
    for operation, algorithm in (
        ("all-reduce", "ring"),
        ("all-to-all", "direct"),
        ("broadcast", "binomial-tree"),
    ):
        program = compile_program(build(algorithm, Collective(operation, fabric.ranks, 1e6), site), fabric)
        found = []
        for entries in (-1, 1 << 60):
            monkeypatch.setattr("topo.network.refine.COMPILED", entries)
            monkeypatch.setattr("topo.network.refine.COMPILED_ANYWAY", entries)
            found.append(refine(program))
        one, other = found
        assert one is not None and other is not None
        for field in ("row", "link", "gate", "row_first", "link_first", "gate_first"):
            assert (getattr(one, field) == getattr(other, field)).all()


def test_symmetry_is_found() -> None:
    """One class a phase, however many ranks."""
    folded = fold(all_reduce(some.ring(64)))
    assert folded is not None
    assert folded.program.rows == 2
    assert folded.program.count.tolist() == [64, 64]


def test_one_slow_cable_breaks_symmetry() -> None:
    cables = [(5e10, 1e-6)] * 7 + [(2e10, 1e-6)]
    program = all_reduce(some.star_of(cables))
    assert fold(program) is None
    even = all_reduce(some.star_of(cables[:7] + cables[:1]))
    assert run_alone(program)[0].finish > run_alone(even)[0].finish


@pytest.mark.parametrize("shape", ["4x4x4", "6x6"])
def test_all_to_all_beside_a_dead_cable_folds_by_the_symmetry_left(shape: str) -> None:
    """Mirrors through the dead cable are left; shares of split detours differ in their last digits only."""
    corner = ".".join("0" for _ in shape.split("x"))
    system = topo.load(f"torus:{shape},failed={corner}-{corner[:-1]}1")
    schedule = topo.schedule(system, "all-to-all", "4MiB", algorithm="direct")
    assert same(compile_program(schedule, system.fabric)) > 2


def test_a_repair_brings_symmetry_back() -> None:
    healthy = some.torus((4, 4))
    graph = healthy.without([(0, 1)]).to_networkx()
    for ends in ((0, 1), (1, 0)):
        graph.add_edge(*ends, bandwidth=5e10, latency=1e-6)
    damaged = fold(all_reduce(healthy.without([(0, 1)]), "concurrent-bucket"))
    mended = fold(all_reduce(Fabric.from_networkx(graph), "concurrent-bucket"))
    as_new = fold(all_reduce(healthy, "concurrent-bucket"))
    assert mended is not None and as_new is not None
    assert mended.program.rows == as_new.program.rows
    assert damaged is None or damaged.program.rows > as_new.program.rows


def test_unfolded_stands_for_itself() -> None:
    program = all_reduce(some.ring(5))
    whole = unfolded(program)
    assert whole.program is program
    assert whole.row_class.tolist() == list(range(program.rows))
    assert whole.class_of_link.tolist() == list(range(10))


def test_an_empty_program_does_not_fold() -> None:
    blocks = ((0.0,) * 4,) * 4
    nothing = Collective("all-to-all", 4, 1.0, matrix=blocks)
    fabric = some.star(4)
    program = compile_program(build("direct", nothing, Site(fabric, np.arange(4))), fabric)
    assert program.rows == 0
    folded = fold(program)
    assert folded is None or folded.program.rows == 0


# ----------------------------------------------------------------------------- schedules that are never spelled out

INVARIANT = (
    "ring:6",
    "torus:4x4",
    "torus:2x3x4",
    "twisted-torus:2x2x4",
    "switch:8",
    "full-mesh:6",
    "rail:2x4",
)


@pytest.mark.parametrize("barrier", [False, True])
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("name", INVARIANT)
def test_compiled_by_shifts_as_spelled_out(name: str, operation: str, barrier: bool) -> None:
    fabric = topo.load(name).fabric
    site = Site(fabric, np.arange(fabric.ranks))
    collective = Collective(operation, fabric.ranks, 1e6)
    by_shift = 0
    for algorithm in ALGORITHMS.values():
        if algorithm.costly:
            continue
        try:
            schedule = build(algorithm.name, collective, site)
        except TopoError:
            continue
        small = structured(schedule, fabric, barrier=barrier)
        if small is None:
            continue
        by_shift += 1
        program = compile_program(schedule, fabric, barrier=barrier)
        whole, _ = run_alone(program, certify=True)
        quick, _ = run_alone(small.program, certify=True)
        assert quick.finish == pytest.approx(whole.finish, rel=1e-9), algorithm.name
        assert small.program.transfers == program.transfers
        carried = program.link_bytes()
        used = small.class_of_link >= 0
        np.testing.assert_allclose(
            small.program.link_bytes()[small.class_of_link[used]], carried[used], rtol=1e-9, atol=1e-6
        )
        assert not carried[~used].any()
        assert small.link_count.sum() == len(np.flatnonzero(used))
        np.testing.assert_array_equal(
            small.program.bytes,
            np.concatenate([batch.bytes for batch in schedule.batches])[small.representative],
        )
    assert by_shift or operation == "broadcast"


def test_a_damaged_torus_is_not_compiled_by_shifts() -> None:
    fabric = topo.load("torus:4x4,failed=0.0-0.1").fabric
    site = Site(fabric, np.arange(16))
    schedule = build("direct", Collective("all-to-all", 16, 1e6), site)
    assert structured(schedule, fabric) is None
    assert structured(schedule, topo.load("torus:4x4").fabric, routing="ecmp") is None
