"""The wafer's cost model: formulas, the energy recursion against enumeration, and schedules against cycles."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from topo import wafer
from topo.algorithms import Site, build
from topo.algorithms.wafer import row_parents, xy_tree
from topo.collective import Collective
from topo.errors import AlgorithmError
from topo.fabric import Fabric, Grid
from topo.network.program import compile_program
from topo.network.solver import run_alone
from topologies.grid import mesh


@cache
def _trees(cores: int) -> tuple[tuple[int, ...], ...]:
    """Parents of every reduction tree on a row with root 0 whose edges do not cross, by trying them all."""
    found = []
    for parents in itertools.product(*[range(i) for i in range(1, cores)]):
        edges = [(p, i + 1) for i, p in enumerate(parents)]
        if not any(a < c < b < d for (a, b), (c, d) in itertools.permutations(edges, 2)):
            found.append((-1, *parents))
    return tuple(found)


def _shape(parents: tuple[int, ...]) -> tuple[int, int, int]:
    """Energy, depth and fan-in of a tree."""
    depth = [0] * len(parents)
    for i in range(1, len(parents)):
        depth[i] = depth[parents[i]] + 1
    fan_in = max(parents[1:].count(i) for i in range(len(parents)))
    return sum(i - p for i, p in enumerate(parents) if p >= 0), max(depth), fan_in


@pytest.mark.parametrize(("cores", "depth", "energy"), [(8, 1, 28), (8, 3, 11), (8, 7, 7), (16, 4, 27)])
def test_least_energies_of_the_reference(cores: int, depth: int, energy: int) -> None:
    assert wafer.least_energy(cores, depth) == energy


@pytest.mark.parametrize("cores", range(2, 8))
def test_least_energy_is_what_enumeration_finds(cores: int) -> None:
    shapes = [_shape(tree) for tree in _trees(cores)]
    for depth in range(1, cores):
        assert wafer.least_energy(cores, depth) == min(e for e, d, _ in shapes if d <= depth)


@pytest.mark.parametrize("cores", range(2, 8))
@pytest.mark.parametrize("wavelets", [1, 3, 8, 64, 500])
def test_auto_gen_finds_the_best_of_all_trees(cores: int, wavelets: int) -> None:
    best = min(
        max(fan * wavelets, wavelets * energy / (cores - 1) + cores - 1) + 5 * depth
        for energy, depth, fan in map(_shape, _trees(cores))
    )
    cycles, parents = wafer.auto_gen(cores, wavelets)
    assert cycles == pytest.approx(best, rel=1e-12)
    assert wafer.tree_cost(parents, wavelets).cycles() == pytest.approx(best, rel=1e-12)


@pytest.mark.parametrize("wavelets", [1, 16, 256, 4096])
@pytest.mark.parametrize("cores", [4, 30, 64])
def test_no_pattern_beats_auto_gen_and_it_beats_no_bound(cores: int, wavelets: int) -> None:
    best = wafer.reduce_cycles("auto-gen", cores, wavelets)
    bound = wafer.bound_cycles(cores, wavelets)
    assert bound <= best * (1 + 1e-12)
    for pattern in wafer.PATTERNS:
        assert wafer.reduce_cycles(pattern, cores, wavelets) >= best * (1 - 1e-12)


@pytest.mark.parametrize(("cores", "wavelets"), [(4, 8), (64, 256), (512, 16)])
def test_chain_is_the_recurrence_of_wavelets(cores: int, wavelets: int) -> None:
    """A core has wavelet j one link and two ramps after its neighbour, and at most one wavelet a cycle."""
    done = np.arange(1.0, wavelets + 1)
    for _ in range(cores - 1):
        done += 2 * wafer.RAMP + 2
        for j in range(1, wavelets):
            done[j] = max(done[j], done[j - 1] + 1)
    assert wafer.reduce_cycles("chain", cores, wavelets) == done[-1]


def test_regimes() -> None:
    assert wafer.reduce_cycles("chain", 64, 64) == 442
    assert wafer.reduce_cycles("two-phase", 64, 64) == pytest.approx(246.8, abs=0.1)
    assert wafer.reduce_cycles("star", 64, 64) == 4037
    # Chain for long vectors, star for the shortest, two-phase between them.
    for wavelets, winner in ((1, "star"), (64, "two-phase"), (4096, "chain")):
        cycles = {name: wafer.reduce_cycles(name, 64, wavelets) for name in ("star", "chain", "two-phase")}
        assert min(cycles, key=lambda name: cycles[name]) == winner


def test_two_phase_with_groups_that_do_not_divide_the_row() -> None:
    for cores in range(2, 20):
        for group in range(1, cores + 1):
            parents = wafer.two_phase_parents(cores, group)
            own = wafer.two_phase(cores, 10.0, group)
            cost = wafer.tree_cost(parents, 10.0)
            assert (own.energy, own.distance) == (cost.energy, cost.distance)
            assert own.depth >= cost.depth and own.contention >= cost.contention


def test_tree_is_the_formula_for_powers_of_two() -> None:
    for cores in (2, 4, 16, 64):
        levels = cores.bit_length() - 1
        cost = wafer.tree(cores, 8.0)
        assert (cost.contention, cost.depth) == (8.0 * levels, levels)
        assert cost.energy == 8.0 * cores / 2 * levels


def test_grids() -> None:
    assert wafer.xy_reduce_cycles("chain", 16, 16, 64) == 308
    assert wafer.snake_reduce_cycles(16, 16, 64) == 64 + 6 * 255
    assert wafer.grid_broadcast_cycles(16, 16, 64) == 64 + 30 + 5
    assert wafer.broadcast(16, 64).cycles() == 64 + 16 + 4
    assert wafer.grid_bound_cycles(16, 16, 64) <= wafer.xy_reduce_cycles("auto-gen", 16, 16, 64)
    assert wafer.xy_reduce_cycles("chain", 1, 16, 64) == wafer.reduce_cycles("chain", 16, 64)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: wafer.reduce_cycles("chian", 8, 8), "did you mean 'chain'"),
        (lambda: wafer.chain(1, 8), "at least two"),
        (lambda: wafer.chain(8, 0), "give a positive number"),
        (lambda: wafer.two_phase(8, 8, 9), "groups of 9 do not fit"),
        (lambda: wafer.auto_gen(500, 8), "rows of up to 128"),
        (lambda: wafer.tree_cost(np.asarray([-1, 1, 0]), 1.0), "no tree"),
    ],
)
def test_what_makes_no_sense_is_said(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(AlgorithmError) as problem:
        call()
    assert message in str(problem.value)


# --------------------------------------------------------------------------- schedules against the cycles

CLOCK = 1e9


def _wafer(shape: tuple[int, int], hop: float) -> Fabric:
    """One word of 4 bytes a cycle per link; ``hop`` cycles of latency."""
    fabric = Fabric.from_networkx(mesh(shape, 4 * CLOCK, hop / CLOCK))
    return replace(fabric, multicast=np.ones(fabric.ranks, dtype=bool))


def _cycles(fabric: Fabric, name: str, operation: str, wavelets: int, chunks: int = 1) -> float:
    collective = Collective(operation, fabric.ranks, 4.0 * wavelets)
    schedule = build(name, collective, Site(fabric, np.arange(fabric.ranks)), chunks)
    schedule.verify()
    return run_alone(compile_program(schedule, fabric))[0].finish * CLOCK


@pytest.mark.parametrize(("cores", "wavelets"), [(4, 8), (16, 32)])
def test_the_chain_of_segments_is_the_chain_of_wavelets(cores: int, wavelets: int) -> None:
    """With a segment a wavelet and the ramps in the hop, schedule and model differ by one cycle at most."""
    fabric = _wafer((1, cores), 2 * wafer.RAMP + 1)
    cycles = _cycles(fabric, "wafer-chain", "reduce", wavelets, wavelets)
    assert cycles == pytest.approx(wafer.reduce_cycles("chain", cores, wavelets), abs=1.001)


def test_the_star_is_bound_by_the_last_link() -> None:
    assert _cycles(_wafer((1, 16), 1), "wafer-star", "reduce", 64) == pytest.approx(15 * 64 + 15)


def test_a_multicast_streams_through_the_grid() -> None:
    cycles = _cycles(_wafer((6, 9), 1), "wafer-multicast", "broadcast", 100)
    assert cycles == pytest.approx(100 + 5 + 8)
    assert cycles <= wafer.grid_broadcast_cycles(6, 9, 100)


def test_an_all_reduce_is_a_reduce_to_the_middle_and_a_multicast() -> None:
    fabric = _wafer((5, 5), 1)
    with_copies = _cycles(fabric, "wafer-chain", "all-reduce", 64, 16)
    without = replace(fabric, multicast=np.zeros(25, dtype=bool))
    assert with_copies < _cycles(without, "wafer-chain", "all-reduce", 64, 16)


def test_patterns_differ_in_depth_as_the_model_says() -> None:
    grid = Grid((1, 64), (False, False))
    depth = {p: xy_tree(grid, 0, p, 256.0).depth for p in ("star", "chain", "tree", "two-phase", "auto-gen")}
    assert depth == {"star": 1, "chain": 63, "tree": 6, "two-phase": 14, "auto-gen": 10}
    for pattern in depth:
        assert row_parents(pattern, 1, 4.0).tolist() == [-1]


def test_the_root_may_stand_anywhere() -> None:
    grid = Grid((3, 4), (False, False))
    for root in range(12):
        for pattern in ("star", "chain", "tree", "two-phase"):
            tree = xy_tree(grid, root, pattern, 64.0)
            assert sorted([root, *np.concatenate(tree.levels()).tolist()]) == list(range(12))
