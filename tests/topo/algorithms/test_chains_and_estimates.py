"""Chains in all forms, rings and channels, barriers, and the quick estimate."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from tests.topo.algorithms.sites import built, collective_on, dimmed, fabric_of, seconds, star, timed, zoo
from topo.algorithms import ALGORITHMS, Site, build, estimate, refusal
from topo.algorithms.estimate import cheapest
from topo.errors import AlgorithmError, TopoError
from topologies.path import path
from topologies.ring import ring

B, A = 5e10, 1e-6


@pytest.mark.parametrize("chunks", [1, 4, 16])
@pytest.mark.parametrize("ranks", [3, 8])
def test_one_chain_round_a_ring(ranks: int, chunks: int) -> None:
    fabric, size, hops = fabric_of(ring(ranks, B, A)), 1.6e7, ranks - 1
    for operation, steps in (("broadcast", hops), ("reduce", hops), ("all-reduce", 2 * hops)):
        formula = steps * A + (steps + chunks - 1) * size / (chunks * B)
        assert timed("chain", fabric, operation, size, chunks) == pytest.approx(formula, rel=1e-9)


def test_two_arms_halve_the_way_and_split_chains_the_data() -> None:
    fabric, size, chunks = fabric_of(ring(9, B, A)), 9e6, 64
    one = timed("chain", fabric, "broadcast", size, chunks)
    two = timed("chain:form=two", fabric, "broadcast", size, chunks)
    split = timed("chain:form=split", fabric, "broadcast", size, chunks)
    assert two == pytest.approx(4 * A + (4 + chunks - 1) * size / (chunks * B), rel=1e-9)
    assert split == pytest.approx(8 * A + (8 + chunks - 1) * size / (2 * chunks * B), rel=1e-9)
    assert split < two < one


def test_an_all_reduce_on_a_line_meets_in_the_middle() -> None:
    """S/B, where a reduce-scatter and an all-gather one after the other take 2 (N-1)/N S/B at least."""
    fabric, size = fabric_of(path(6, B, A)), 1e9
    time = timed("chain", fabric, "all-reduce", size, 256)
    assert time == pytest.approx(size / B, rel=0.03)
    assert time < 0.65 * timed("ring", fabric, "all-reduce", size)


def test_channels_share_the_port() -> None:
    fabric = star(6)
    assert timed("ring:channels=3", fabric, "all-gather") == pytest.approx(
        timed("ring", fabric, "all-gather"), rel=1e-9
    )


@pytest.mark.parametrize("ranks", range(2, 18))
def test_barrier_takes_its_rounds(ranks: int) -> None:
    assert timed("dissemination", star(ranks, latency=1e-6), "barrier") == pytest.approx(
        int(np.ceil(np.log2(ranks))) * 2e-6, rel=1e-9
    )


# --------------------------------------------------------------------------------------------- estimates


@pytest.mark.parametrize(
    ("name", "operation"),
    [
        ("ring", "all-reduce"),
        ("direct", "all-to-all"),
        ("bruck", "all-gather"),
        ("halving-doubling", "all-reduce"),
    ],
)
def test_estimates_are_exact_where_steps_do_not_overlap(name: str, operation: str) -> None:
    fabric = star(8)
    schedule = built(name, fabric, collective_on(fabric, operation))
    assert estimate(schedule, Site(fabric, np.arange(8))) == pytest.approx(
        seconds(schedule, fabric), rel=1e-9
    )


def test_estimates_are_the_lock_step_time_or_less() -> None:
    """A step cannot end before its most loaded link is through, so the estimate never exceeds lock-step."""
    for place in ("star8", "torus3x4", "path5", "rail3x2"):
        fabric = zoo()[place]
        site = Site(fabric, np.arange(fabric.ranks))
        for name, entry in ALGORITHMS.items():
            for operation in entry.operations:
                collective = collective_on(fabric, operation)
                if entry.costly or refusal(entry, collective, site):
                    continue
                schedule = build(name, collective, site)
                exact = seconds(schedule, fabric, barrier=True)
                if all(batch.form == "direct" for batch in schedule.batches):
                    assert estimate(schedule, site) <= 2 * exact * (1 + 1e-9)
                    assert estimate(schedule, site) >= exact * 0.5


def test_the_cheapest_of_several_is_taken_and_failures_left_out() -> None:
    fabric = star(8)
    site = Site(fabric, np.arange(8))
    collective = collective_on(fabric, "all-reduce", 64.0)
    names = ("nvls", "ring", "recursive-doubling", "direct")
    chosen = cheapest([partial(build, name, collective, site) for name in names], site)
    assert chosen.algorithm == "direct"
    with pytest.raises(TopoError, match="nvls cannot run"):
        cheapest([partial(build, "nvls", collective, site)], site)
    with pytest.raises(AlgorithmError, match="nothing to choose from"):
        cheapest([], site)


def test_estimates_of_pipelined_schedules_see_the_overlap() -> None:
    fabric = dimmed((8,))
    site = Site(fabric, np.arange(8))
    collective = collective_on(fabric, "broadcast", 8e7)
    one, many = (estimate(build("chain", collective, site, chunks), site) for chunks in (1, 64))
    assert many < one / 5
