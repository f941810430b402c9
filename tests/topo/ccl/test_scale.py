"""Libraries on large groups: what is hopeless is never simulated, and what scales is found."""

from __future__ import annotations

import numpy as np
import pytest

import topologies
from topo.algorithms import Site
from topo.ccl import offered, place_of, sized
from topo.collective import Collective
from topo.library import library_of, library_program, system_links
from topo.simulate import simulate

SIZE = 2.0**30


def test_slices_of_tori_reduce_dimension_by_dimension() -> None:
    system = topologies.load("trn2-ultra*2")
    result = simulate(system, Collective("all-reduce", 128, SIZE))
    assert result.algorithm == "hierarchical-bucket"
    assert result.bound_ratio < 2


@pytest.mark.parametrize(("name", "operation"), [("trn2-ultra*2", "all-gather"), ("gaudi3*16", "all-reduce")])
def test_no_call_beats_what_was_said_to_be_its_least(name: str, operation: str) -> None:
    system = topologies.load(name)
    ranks = system.fabric.ranks
    library, collective = library_of(system), Collective(operation, ranks, SIZE)
    place = place_of(Site(system.fabric, np.arange(ranks)), system_links(system, library))
    best = simulate(system, collective).time_s
    for one in sized(offered(library, collective, place), collective, place):
        program = library_program(one.call, collective, place).acted.folded.program
        busy = float((program.link_bytes() / program.capacity).max())
        assert one.least <= best or busy >= best * 0.9


def test_the_longest_schedules_come_last() -> None:
    # A missing cable leaves nothing to fold, so that every transfer is spelled out.
    system = topologies.load("cloudmatrix384,failed=1@seed7")
    library, collective = library_of(system), Collective("all-reduce", 384, SIZE)
    place = place_of(Site(system.fabric, np.arange(384)), system_links(system, library))
    order = sized(offered(library, collective, place), collective, place)
    assert [one.call.algorithm for one in order if one.last_resort] == ["direct"]
    assert order[-1].last_resort
