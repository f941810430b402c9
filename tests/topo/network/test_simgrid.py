"""SimGrid, where it is installed, and the engine tell the same times of the same schedules without latency."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.simgrid_model import replay, undivided, why_not, without_latency
from benchmarks.traffic import exchange_program, first_found, loaded, program_of
from topo.network.solver import run_alone


@pytest.mark.skipif(bool(why_not()), reason=why_not() or "SimGrid is there")
@pytest.mark.parametrize(
    ("system", "operation", "algorithm"),
    [
        ("ring:5", "all-reduce", "ring"),
        ("torus:3x4", "all-reduce", "bucket"),
        ("torus:3x4", "all-to-all", "direct"),
        ("switch:6", "all-reduce", "halving-doubling"),
    ],
)
def test_simgrid_tells_the_same_time(system: str, operation: str, algorithm: str) -> None:
    fabric = loaded(system).fabric
    program = without_latency(undivided(program_of(system, operation, algorithm), fabric))
    assert replay(program, fabric).finish == pytest.approx(run_alone(program)[0].finish, rel=1e-9)


def test_transfers_between_two_ranks_take_one_way() -> None:
    fabric = loaded("torus:4x4").fabric
    program = exchange_program("torus:4x4")
    assert (program.route_weight < 1).any()
    single = undivided(program, fabric)
    assert (single.route_weight == 1).all()
    crossed = np.diff(single.route_pointer)
    assert (crossed <= np.diff(program.route_pointer)).all()
    assert crossed.sum() == 16 * 32  # distances on a ring of four: 0, 1, 2, 1
    whole = first_found("torus:3x3")
    np.testing.assert_array_equal(
        undivided(whole, loaded("torus:3x3").fabric).route_pointer, whole.route_pointer
    )


def test_what_simgrid_lacks_is_refused() -> None:
    fabric = loaded("torus:4x4").fabric
    program = exchange_program("torus:4x4")
    with pytest.raises(ValueError, match="one way each"):
        replay(program, fabric)
    bare = without_latency(undivided(program, fabric))
    with pytest.raises(ValueError, match="one way each"):
        replay(replace(bare, latency=np.ones(bare.rows)), fabric)
