"""Sites and local steps against closed forms."""

from __future__ import annotations

import math

import pytest

from topo.training.sites import SitesError, hierarchical_reduce, local_steps, reduce_seconds


def test_reduction_between_sites() -> None:
    assert reduce_seconds(8e9, 2, 1e9, 0.0) == pytest.approx(8.0)
    assert reduce_seconds(8e9, 4, 1e9, 0.05) == pytest.approx(2 * (6.0 + 0.05))
    assert reduce_seconds(8e9, 1, 1e9, 0.05) == 0.0


def test_bytes_of_local_steps() -> None:
    """8e9 parameters in 16 bits over 4 sites: 24 GB a synchronisation, 48 MB a step at H = 500."""
    found = local_steps(8.03e9, 1.0, sites=4, inner_steps=500, bandwidth=1e9, latency=0.05)
    assert found.sync_bytes == pytest.approx(24.1e9, rel=2e-3)
    assert found.bytes_per_step == pytest.approx(48.2e6, rel=2e-3)
    assert found.exposed_s == pytest.approx((24.09e9 / 1e9 + 0.1) / 500, rel=1e-3)
    assert found.peak_bandwidth == math.inf


def test_plain_data_parallelism_is_one_inner_step() -> None:
    found = local_steps(1e9, 2.0, sites=2, bandwidth=1e9, latency=0.0)
    assert found.step_s == pytest.approx(2.0 + 2.0)
    assert found.slowdown == pytest.approx(2.0)


def test_fragments_hide_behind_steps() -> None:
    """Needed bandwidth: 2 (R-1)/R (P b / F) / (tau t)."""
    keys = {"sites": 2, "inner_steps": 100, "latency": 0.0, "fragments": 4, "overlap_steps": 5}
    found = local_steps(1e9, 1.0, bandwidth=1e12, **keys)
    assert found.exposed_s == 0.0
    assert found.peak_bandwidth == pytest.approx(2e9 / 4 / 5)
    tight = local_steps(1e9, 1.0, bandwidth=1e8 * 0.5, **keys)
    assert tight.exposed_s == pytest.approx(4 * (10.0 - 5.0) / 100)


def test_more_inner_steps_never_cost_more() -> None:
    steps = [
        local_steps(7e10, 5.0, sites=3, inner_steps=h, bandwidth=1e10, latency=0.03).step_s
        for h in (1, 4, 32, 512)
    ]
    assert steps == sorted(steps, reverse=True)


def test_hierarchy() -> None:
    found = hierarchical_reduce(8e9, ranks=8, inside_bandwidth=1e11, sites=2, bandwidth=1e9, latency=0.0)
    assert found == pytest.approx(2 * 7 / 8 * 0.08 + 8.0)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"sites": 0}, "are 1 or more"),
        ({"fragments": 9, "inner_steps": 4}, "9 fragments in 4 steps"),
        ({"bandwidth": 0.0}, "are above 0"),
    ],
)
def test_refusals(keys: dict[str, float], message: str) -> None:
    given = {"sites": 2, "bandwidth": 1e9, "latency": 0.0} | keys
    with pytest.raises(SitesError, match=message):
        local_steps(1e9, 1.0, **given)
