"""Collectives as communication libraries carry them out."""

from __future__ import annotations

import pytest

import topo
from topo import ccl
from topo.errors import AlgorithmError, NetworkError


def test_catalogue_systems_go_by_their_own_library_and_bare_topologies_by_none() -> None:
    assert topo.simulate("dgx-h100", "all-reduce", "1GiB").ccl == "nccl"
    assert topo.simulate("mi300x", "all-reduce", "1GiB").ccl == "rccl"
    assert topo.simulate("switch:8", "all-reduce", "1GiB").ccl == "ideal"


@pytest.mark.parametrize("size", ["8", "64KiB", "1MiB", "64MiB", "1GiB"])
@pytest.mark.parametrize("system", ["dgx-a100", "dgx-h100*2", "mi300x", "trn1", "tpu-v5e:4x4", "gaudi3"])
def test_no_library_beats_the_bound(system: str, size: str) -> None:
    real = topo.simulate(system, "all-reduce", size)
    assert real.time_s > real.bound_s
    assert real.latency_s + real.serialisation_s + real.contention_s == pytest.approx(real.time_s)


def test_in_switch_reduction_sets_in_between_four_and_eight_gpus() -> None:
    found = {n: topo.simulate("dgx-h100", "all-reduce", "1GiB", ranks=n).algorithm for n in range(2, 9)}
    assert found[4] == "ring"
    assert found[8] == "nvls"


def test_low_latency_lines_give_way_to_the_switch_at_two_mebibytes() -> None:
    one, two = (topo.simulate("dgx-h100", "all-reduce", size) for size in ("1MiB", "2MiB"))
    assert (one.algorithm, two.algorithm) == ("ring", "nvls")
    assert "LL" in one.detail
    assert "Simple" in two.detail


def test_a_pair_has_one_link() -> None:
    pair, all_eight = (topo.simulate("mi300x", "all-reduce", "4GiB", ranks=n) for n in (2, 8))
    assert pair.busbw_Bps == pytest.approx(48e9, rel=0.05)
    assert all_eight.busbw_Bps == pytest.approx(313e9, rel=0.1)


def test_wired_gpus_ring_over_every_cable() -> None:
    v100 = topo.simulate("dgx1-v100", "all-reduce", "4GiB")
    assert v100.algorithm == "ring"
    # Six cables of 20 GB/s a GPU; NVIDIA expects 122 GB/s of this machine, an operator measured 135.
    assert v100.busbw_Bps == pytest.approx(122e9, rel=0.05)


def test_rings_between_machines_leave_over_every_nic() -> None:
    two = topo.simulate("mi300x*2", "all-reduce", "4GiB")
    assert 250e9 < two.busbw_Bps < 400e9
    small = topo.simulate("mi300x*8", "all-reduce", "8")
    assert small.time_s < 150e-6


def test_algorithms_in_the_librarys_words_and_registered_ones() -> None:
    ring, nvls = (topo.simulate("dgx-h100", "all-reduce", "1GiB", algorithm=a) for a in ("ring", "nvls"))
    assert ring.algorithm == "ring"
    assert nvls.time_s < ring.time_s
    tree = topo.simulate("dgx-h100", "all-reduce", "1GiB", algorithm="double-binary-tree")
    assert tree.algorithm == "double-binary-tree"
    with pytest.raises(AlgorithmError, match="does not offer nvls"):
        topo.simulate("dgx-a100", "all-reduce", "1GiB", algorithm="nvls")


def test_the_packet_engine_goes_without_a_library() -> None:
    assert topo.simulate("dgx-h100", "all-reduce", "64KiB", algorithm="ring", engine="packet").ccl == "ideal"
    with pytest.raises(NetworkError, match="knows nothing of nccl"):
        topo.simulate("dgx-h100", "all-reduce", "64KiB", engine="packet", ccl="nccl")


@pytest.mark.parametrize("name", ccl.names())
def test_every_library_can_be_read(name: str) -> None:
    found = ccl.load(name)
    assert found.name == name
    for technology in found.technologies.values():
        for constant in technology.constants.values():
            assert constant.source
