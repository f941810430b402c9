"""Swing, PAT, Bruck, butterflies and exchanges: their rounds against the formulas."""

from __future__ import annotations

import numpy as np
import pytest

from tests.topo.algorithms.sites import built, collective_on, dimmed, fabric_of, seconds, star, timed
from topo.algorithms import Site, build, pat, swing
from topo.algorithms.bruck import nonzero_digits
from topo.algorithms.butterfly import Butterfly
from topo.algorithms.exchange import Round, add_rounds
from topo.collective import Collective, cut
from topo.errors import AlgorithmError
from topo.fabric import Grid
from topo.schedule import ScheduleBuilder, one_each
from topologies.ring import ring


def test_swing_distances() -> None:
    assert [swing.swing_distance(s) for s in range(6)] == [1, -1, 3, -5, 11, -21]


@pytest.mark.parametrize("shape", [(4,), (8,), (16,), (4, 4), (8, 8), (4, 4, 4)])
def test_swing_in_lock_step_is_its_formula(shape: tuple[int, ...]) -> None:
    fabric, size = dimmed(shape), 6.4e6
    assert fabric.grid is not None
    formula = swing.closed_form(fabric.grid, size, 1e-6, 5e10)
    assert timed("swing", fabric, "all-reduce", size, barrier=True) == pytest.approx(formula, rel=1e-9)


@pytest.mark.parametrize("shape", [(8,), (4, 4), (2, 8), (2, 4, 4)])
def test_swing_peers_are_mutual_and_reach_all(shape: tuple[int, ...]) -> None:
    grid = Grid(shape, (True,) * len(shape))
    for start in range(len(grid.dimensions)):
        for mirrored in (False, True):
            peers = swing.swing_peers(grid, start, mirrored)
            for peer in peers:
                assert (peer[peer] == np.arange(grid.size)).all()
            reach = Butterfly(peers, np.arange(grid.size)).reach(0)
            assert (np.sort(reach, axis=1) == np.arange(grid.size)).all()


def test_swing_congestion_in_two_dimensions_tends_to_six_fifths() -> None:
    grid = Grid((1024, 1024), (True, True))
    bandwidth_term = swing.closed_form(grid, 1.0, 0.0, 1.0)
    # 2 (N-1)/N S over 2 D links is what a rank must send.
    assert bandwidth_term / (2 / 4) == pytest.approx(6 / 5, rel=2e-3)


def test_swing_latency_form_halves_the_rounds() -> None:
    fabric = fabric_of(ring(16))
    assert timed("swing:form=latency", fabric, "all-reduce", 16.0) < 0.55 * timed(
        "swing", fabric, "all-reduce", 16.0
    )


@pytest.mark.parametrize("ranks", [4, 8, 16, 32])
def test_pat_in_lock_step_is_its_formula(ranks: int) -> None:
    fabric, size = star(ranks), 1e6 * ranks
    for bit in range(pat.largest_aggregation(ranks).bit_length()):
        aggregation = 1 << bit
        formula = pat.closed_form(ranks, aggregation, size, 1e-6, 5e10)
        for operation in ("all-gather", "reduce-scatter"):
            time = timed(f"pat:aggregation={aggregation}", fabric, operation, size, barrier=True)
            assert time == pytest.approx(formula, rel=1e-9)


@pytest.mark.parametrize("ranks", range(2, 34))
def test_pat_messages_hold_no_more_than_the_buffer(ranks: int) -> None:
    for bit in range(pat.largest_aggregation(ranks).bit_length()):
        plan = pat.messages(ranks, 1 << bit)
        assert max(len(m.offsets) for m in plan) <= 1 << bit
        # Every block but the own one comes once.
        assert sum(len(m.offsets) for m in plan) == ranks - 1
        assert all(max(m.needs, default=-1) < i for i, m in enumerate(plan))


def test_pat_takes_the_best_buffer_by_itself() -> None:
    fabric = star(16)
    assert built("pat", fabric, collective_on(fabric, "all-gather")).detail == "aggregation 8"


def test_pat_sends_far_little_and_near_much() -> None:
    plan = pat.messages(16, 8)
    assert [(m.distance, len(m.offsets)) for m in plan] == [(8, 1), (4, 2), (2, 4), (1, 8)]


@pytest.mark.parametrize("radix", [2, 3, 4, 8])
@pytest.mark.parametrize("ranks", [5, 8, 16])
def test_bruck_all_to_all_counts_nonzero_digits(ranks: int, radix: int) -> None:
    block = 1e5
    digits = 0
    while radix**digits < ranks:
        digits += 1
    formula = digits * 1e-6 + nonzero_digits(ranks, radix) * block / 5e10
    time = timed(f"bruck:radix={radix}", star(ranks), "all-to-all", block * ranks)
    assert time == pytest.approx(formula, rel=1e-9)


def test_bruck_in_radix_two_moves_half_the_blocks_in_each_round() -> None:
    assert nonzero_digits(16, 2) == 4 * 16 // 2


def test_uneven_blocks_go_through_every_all_to_all() -> None:
    random = np.random.default_rng(3)
    rows = tuple(tuple(float(x) for x in row) for row in random.integers(0, 5, (6, 6)) * 1e5)
    fabric = star(6)
    collective = Collective("all-to-all", 6, 3e6, matrix=rows)
    table = collective.blocks()
    ports = max(table.sum(axis=0).max(), table.sum(axis=1).max()) / 5e10
    for name in ("direct", "pairwise", "bruck", "bruck:radix=3"):
        assert seconds(built(name, fabric, collective), fabric) >= ports


def test_a_rank_that_sat_out_a_round_still_waits_for_what_it_got() -> None:
    """Rank 1 gets in round 0, rests in round 1 and sends in round 2: its message waits for round 0."""
    collective = Collective("broadcast", 3, 300.0)
    builder = ScheduleBuilder(collective, "relay", lambda: cut(collective))

    def chunk() -> tuple[np.ndarray, np.ndarray]:
        return one_each(np.zeros(1, dtype=np.int64))

    ends = [(0, 1), (0, 2), (1, 2)]
    rounds = [Round(np.asarray([a]), np.asarray([b]), 1.0, chunk) for a, b in ends]
    add_rounds(builder, rounds, 300.0)
    builder.build().verify()
    assert {wait.batch for wait in builder.batches[2].waits} >= {0}


def test_rounds_reversed_twice_are_the_same() -> None:
    fabric = star(7)
    collective = collective_on(fabric, "all-gather")
    from topo.algorithms.bruck import gather_rounds

    for each in gather_rounds(np.arange(7)):
        again = each.reversed().reversed()
        assert (again.source == each.source).all() and (again.target == each.target).all()
        assert (again.chunks()[1] == each.chunks()[1]).all()
    assert collective.ranks == 7


@pytest.mark.parametrize("shape", [(6,), (10,), (12,), (28,), (6, 6), (4, 6), (2, 10)])
def test_swing_on_even_dimensions_sends_nobody_what_it_has(shape: tuple[int, ...]) -> None:
    """The extension to sizes that are no powers of two: each rank is sent every block exactly once."""
    fabric = dimmed(shape)
    n, size = fabric.ranks, 840_000.0 * fabric.ranks
    schedule = built("swing", fabric, collective_on(fabric, "all-gather", size))
    assert schedule.bytes_received() == pytest.approx(np.full(n, size * (n - 1) / n), rel=1e-9)
    built("swing", fabric, collective_on(fabric, "all-reduce", size))
    built("swing", fabric, collective_on(fabric, "reduce-scatter", size))


def test_swing_says_what_it_cannot_do() -> None:
    for shape, why in (((5,), "even length, not 5"), ((4, 3), "even length, not 3")):
        fabric = dimmed(shape)
        with pytest.raises(AlgorithmError, match=why):
            build("swing", collective_on(fabric, "all-reduce"), Site(fabric, np.arange(fabric.ranks)))
    fabric = dimmed((6,))
    with pytest.raises(AlgorithmError, match="power of two ranks, not 6"):
        build("swing:form=latency", collective_on(fabric, "all-reduce"), Site(fabric, np.arange(6)))


def test_a_butterfly_that_misses_ranks_knows() -> None:
    two = np.asarray([1, 0, 3, 2])
    assert not Butterfly((two, two, two), np.arange(4)).complete
    peers = (two, np.asarray([2, 3, 0, 1]), two)
    assert Butterfly(peers, np.arange(4)).complete
