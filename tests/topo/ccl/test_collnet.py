"""NCCL where it lets the switches between domains add."""

from __future__ import annotations

import pytest

import topo
from topo import ccl
from topo.errors import AlgorithmError, NetworkError

ON = "nccl,collnet=on"


def test_switches_that_add_halve_what_a_nic_carries() -> None:
    with_, without = (topo.simulate("dgx-a100*4", "all-reduce", "4GiB", ccl=c) for c in (ON, "nccl"))
    assert with_.algorithm.startswith("collnet") and without.algorithm == "ring"
    assert 1.5 < without.time_s / with_.time_s < 2.1
    assert with_.bound_s < without.bound_s


def test_the_switch_inside_takes_part_where_it_can() -> None:
    assert topo.simulate("dgx-h100*4", "all-reduce", "1GiB", ccl=ON).algorithm == "nvls"


def test_one_rank_in_each_domain_streams_through_the_switches() -> None:
    ranks = range(0, 32, 8)
    found = topo.simulate("dgx-h100*4", "all-reduce", "1GiB", ccl=ON, ranks=list(ranks))
    assert found.algorithm == "collnet-chain"


def test_every_collnet_algorithm_runs_and_only_where_asked_for() -> None:
    for name in ("collnet-direct", "collnet-chain"):
        assert topo.simulate("dgx-h100*2", "all-reduce", "1GiB", ccl=ON, algorithm=name).algorithm == name
        with pytest.raises(AlgorithmError, match="does not offer"):
            topo.simulate("dgx-h100*2", "all-reduce", "1GiB", algorithm=name)


def test_time_does_not_grow_with_domains() -> None:
    few, many = (
        topo.simulate(f"dgx-a100*{n}", "all-reduce", "1MiB", ccl=ON, algorithm="collnet-direct").time_s
        for n in (2, 16)
    )
    assert many == pytest.approx(few, rel=0.1)


@pytest.mark.parametrize(
    ("system", "library", "words"),
    [
        ("gaudi3*2", ON, "do not add"),
        ("dgx-h100*2", "nccl,colnet=on", "use collnet=on"),
        ("dgx-h100*2", "rccl,collnet=on", "has no CollNet"),
    ],
)
def test_where_it_cannot_be(system: str, library: str, words: str) -> None:
    with pytest.raises(NetworkError, match=words):
        topo.simulate(system, "all-reduce", "1GiB", ccl=library)


def test_off_is_the_library_itself() -> None:
    assert ccl.load("nccl,collnet=off") == ccl.load("nccl")
    assert not ccl.load("nccl").collnet and ccl.load(ON).collnet
