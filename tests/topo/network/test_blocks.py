"""Compiled by blocks of domains as spelled out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import topo
from tests import strategies as some
from topo.network.blocks import block_of, by_blocks
from topo.network.program import compile_program
from topo.network.solver import run_alone
from topo.network.structured import compact, structured
from topo.translation import link_image, link_orbits
from topo.turns import symmetric_block


@pytest.mark.parametrize("barrier", [False, True])
@pytest.mark.parametrize(
    ("operation", "algorithm"),
    [
        ("all-reduce", "hierarchical"),
        ("all-reduce", "ring"),
        ("all-gather", "hierarchical:inside=direct"),
        ("reduce-scatter", "pat"),
        ("all-to-all", "hierarchical"),
    ],
)
@pytest.mark.parametrize("name", ["trn2*4", "trn2-ultra*2", "dgx-h100*64", "mi300x*5"])
def test_blocks_as_spelled_out(name: str, operation: str, algorithm: str, barrier: bool) -> None:
    system = topo.load(name)
    schedule = topo.schedule(system, operation, "16MiB", algorithm=algorithm)
    small = structured(schedule, system.fabric, barrier=barrier)
    assert small is not None
    assert compact(schedule, system.fabric)
    whole = compile_program(schedule, system.fabric, barrier=barrier)
    assert small.program.transfers == whole.transfers
    carried = whole.link_bytes()
    used = carried > 0
    np.testing.assert_allclose(
        small.program.link_bytes()[small.class_of_link][used], carried[used], rtol=1e-9
    )
    assert run_alone(small.program)[0].finish == pytest.approx(run_alone(whole)[0].finish, rel=1e-9)


@pytest.mark.parametrize(("name", "blocks"), [("mi300x*6", 2), ("rail:4x6", 2), ("dgx-h100*64", 1)])
def test_rings_that_go_up_and_down_turn_by_two_domains(name: str, blocks: int) -> None:
    system = topo.load(name)
    schedule = topo.schedule(system, "all-gather", "16MiB", algorithm="multi-rail-ring")
    least = symmetric_block(system.fabric)
    assert least is not None
    assert block_of(schedule, system.fabric) == blocks * least
    small = structured(schedule, system.fabric)
    assert small is not None
    whole = compile_program(schedule, system.fabric)
    assert run_alone(small.program)[0].finish == pytest.approx(run_alone(whole)[0].finish, rel=1e-9)


def test_the_unit_of_a_rail_network_is_the_block() -> None:
    assert symmetric_block(topo.load("dgx-h100*64").fabric) == 32 * 8
    assert symmetric_block(topo.load("trn2-ultra*3").fabric) == 64
    # 33 nodes are a full unit and one more.
    assert symmetric_block(topo.load("dgx-h100*33").fabric) is None


def test_a_dead_cable_leaves_no_blocks() -> None:
    system = topo.load("trn2*4,failed=n0.0.0-n0.0.1")
    schedule = topo.schedule(system, "all-reduce", "16MiB", algorithm="hierarchical")
    assert symmetric_block(system.fabric) is None
    assert structured(schedule, system.fabric) is None


def test_a_schedule_with_a_root_has_no_blocks() -> None:
    system = topo.load("trn2*4")
    schedule = topo.schedule(system, "broadcast", "16MiB", algorithm="binomial-tree")
    assert by_blocks(schedule, system.fabric, False, "auto") is None
    assert not compact(schedule, system.fabric)


def test_maps_of_ranks_that_are_no_symmetry() -> None:
    fabric = some.star_of([(1e10, 1e-6)] * 3 + [(2e10, 1e-6)])
    assert link_image(fabric, np.asarray([1, 2, 0, 3])) is not None
    assert link_image(fabric, np.asarray([3, 1, 2, 0])) is None
    two = some.domains_on_a_switch(2, 2)
    # Swapping single ranks of two domains tears the domains apart.
    assert link_image(two, np.asarray([2, 1, 0, 3])) is None


def test_four_hundred_thousand_chips() -> None:
    """A cluster of 6,250 equal domains costs about as much as one domain."""
    system = topo.load("trn2-ultra*6250")
    schedule = topo.schedule(system, "all-reduce", "1GiB", algorithm="hierarchical")
    folded = structured(schedule, system.fabric)
    assert folded is not None
    assert folded.program.rows <= 4 * 64
    assert folded.program.transfers == schedule.transfers


@pytest.mark.parametrize(
    "name", ["torus:4x4x4", "torus:2x3x4", "torus:1x5", "torus:2x2", "torus:3x4,bandwidth=1GB/s/2GB/s"]
)
def test_orbits_of_tori_at_a_glance_and_link_by_link(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fabric = topo.load(name).fabric
    assert fabric.grid is not None
    quick = link_orbits(fabric, fabric.grid)
    fabric.cache.clear()
    monkeypatch.setattr("topo.translation._torus_orbits", lambda fabric, grid: None)
    slow = link_orbits(fabric, fabric.grid)
    assert quick is not None and slow is not None
    assert (quick.first[quick.of_link] == slow.first[slow.of_link]).all()
    assert sorted(quick.size) == sorted(slow.size)


def test_a_torus_with_an_odd_link_is_not_taken_at_a_glance() -> None:
    torus = topo.load("torus:4x4").fabric
    assert torus.grid is not None
    bandwidth = torus.bandwidth.copy()
    bandwidth[5] *= 0.5
    assert link_orbits(replace(torus, bandwidth=bandwidth, cache={}), torus.grid) is None
    assert link_orbits(torus.without([("0.0", "0.1")]), torus.grid) is None


@pytest.mark.parametrize("operation", ["all-to-all", "all-reduce"])
def test_a_rack_of_switched_boards_turns_by_a_board(operation: str) -> None:
    """One scale-up domain of two levels of switches: the boards are its blocks."""
    fabric = topo.load("gb200-nvl36x2").fabric
    assert fabric.domains == 1
    block = symmetric_block(fabric)
    assert block is not None and 1 < block < fabric.ranks
    schedule = topo.schedule("gb200-nvl36x2", operation, "16MiB", algorithm="direct")
    small = structured(schedule, fabric)
    assert small is not None
    whole = compile_program(schedule, fabric)
    assert run_alone(small.program)[0].finish == pytest.approx(run_alone(whole)[0].finish, rel=1e-9)
