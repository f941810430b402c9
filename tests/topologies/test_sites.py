"""Networks for very many domains, and several sites over fibre."""

from __future__ import annotations

import numpy as np
import pytest

from topo.bounds import bisection
from topo.errors import TopoError
from topo.fabric import Fabric
from topologies import load
from topologies.tall_switches import dragonfly_groups


def _out_of(fabric: Fabric, prefix: str, to: str) -> float:
    """B/s of all links from nodes that begin so to nodes that begin otherwise."""
    names = np.asarray([str(node) for node in fabric.nodes])
    chosen = np.char.startswith(names, prefix)[fabric.source] & np.char.startswith(names, to)[fabric.target]
    return float(fabric.bandwidth[chosen].sum())


def test_three_tiers_carry_as_much_at_every_tier() -> None:
    fabric = load("switch:8*128,scale_out=three-tier,nic=10GB/s").fabric
    whole = 1024 * 10e9
    for lower, upper in (("leaf", "spine"), ("spine", "core")):
        assert _out_of(fabric, lower, upper) == pytest.approx(whole)
        assert _out_of(fabric, upper, lower) == pytest.approx(whole)
    assert bisection(fabric)[0] == pytest.approx(whole / 2)


def test_cores_can_be_oversubscribed() -> None:
    fabric = load("switch:8*128,scale_out=three-tier,nic=10GB/s,core_oversubscription=7:1").fabric
    assert _out_of(fabric, "leaf", "spine") == pytest.approx(1024 * 10e9)
    assert _out_of(fabric, "spine", "core") == pytest.approx(1024 * 10e9 / 7)
    assert bisection(fabric)[0] == pytest.approx(512 * 10e9 / 7)


def test_one_pod_is_leaves_and_spines() -> None:
    tall = load("switch:4*16,scale_out=three-tier,unit=4,pod=16").fabric
    flat = load("switch:4*16,scale_out=rail-fat-tree,unit=4").fabric
    assert tall.nodes == flat.nodes and (tall.bandwidth == flat.bandwidth).all()


@pytest.mark.parametrize("domains", [64, 128, 192, 320])
def test_dragonfly_groups_are_joined_each_to_each(domains: int) -> None:
    fabric = load(f"switch:8*{domains},scale_out=dragonfly,nic=10GB/s").fabric
    groups = domains // 64
    for a in range(groups):
        for b in range(groups):
            if a != b:
                assert _out_of(fabric, f"g{a}.", f"g{b}.") == 512 // (groups - 1) * 10e9
    routers = [i for i, node in enumerate(fabric.nodes) if str(node).startswith("g")]
    ports = np.bincount(fabric.source, fabric.cables, len(fabric.nodes))[routers]
    # 16 accelerators, 31 routers of the group, and up to 16 global cables.
    assert ports.max() <= 63 and (groups == 1 or ports.min() >= 47)


def test_a_dragonfly_of_very_many_takes_larger_groups() -> None:
    switches = dragonfly_groups(6250, 64, 1e9)
    assert len(switches.leaf_of) == 400_000
    with pytest.raises(TopoError, match="use more domains of a group"):
        dragonfly_groups(6250, 64, 1e9, unit=1)


def test_sites_are_joined_by_what_is_provisioned() -> None:
    system = load("site(dgx-h100*64)*3,distance=1000km,bandwidth=10Tb/s")
    fabric = system.fabric
    assert fabric.ranks == 3 * 512 and fabric.domains == 3 * 64
    assert system.power_w == pytest.approx(3 * (load("dgx-h100*64").power_w or 0))
    wide = fabric.latency > 1e-3
    # Every two of three sites, both ways: 5 us/km over 1.3 times 1000 km.
    assert wide.sum() == 6
    assert fabric.latency[wide] == pytest.approx(6.5e-3)
    assert fabric.bandwidth[wide] == pytest.approx(1.25e12)
    # The spines of a site together fill its fibres, and no more.
    assert _out_of(fabric, "s0.spine", "s0.wan") == pytest.approx(2.5e12)
    keys = {source.key for source in system.sources}
    assert {"wan.latency_per_km", "wan.route_factor", "wan.distance", "wan.bandwidth"} <= keys


def test_sites_without_a_network_get_interfaces() -> None:
    fabric = load("site(torus:2x2)*2,latency=1ms,nic=3GB/s,nic_latency=2us,bandwidth=1Tb/s").fabric
    assert fabric.ranks == 8
    assert _out_of(fabric, "s1.0", "s1.wan") + _out_of(fabric, "s1.1", "s1.wan") == pytest.approx(12e9)
    assert bisection(fabric)[0] == pytest.approx(12e9)
    assert sorted(set(fabric.latency)) == [1e-6, 2e-6, 1e-3]


def test_a_cut_fibre_parts_two_sites_but_not_three() -> None:
    assert load("site(ring:4)*3,latency=1ms,failed=s0.wan-s1.wan").fabric.links == 3 * 16 + 4
    with pytest.raises(TopoError):
        load("site(ring:4)*2,latency=1ms,failed=s0.wan-s1.wan")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("site(ring:4", "several sites"),
        ("site()*2,distance=1km", "several sites"),
        ("site(ring:4),distance=1km", "several sites"),
        ("site(ring:4)*0,distance=1km", "no number of domains"),
        ("site(ring:4)*1,distance=1km", "needs no fibre"),
        ("site(ring:4)*100,distance=1km", "too many"),
        ("site(ring:4)*2", "distance or the latency"),
        ("site(ring:4)*2,distance=1km,latency=1ms", "distance or the latency"),
        ("site(ring:4)*2,latency=1ms,route_factor=2", "no route_factor"),
        ("site(ring:4)*2,distance=10", "no unit"),
        ("site(ring:4)*2,distance=-10km", "distance"),
        ("site(ring:4)*2,distance=10km,bandwith=1Tb/s", "bandwidth"),
        ("site(rong:4)*2,distance=10km", "ring"),
        ("switch:8*128,scale_out=three-tier,unit=32,pod=33", "no multiple"),
        ("switch:8*4,pod=2", "has no pod"),
        ("switch:8*4,scale_out=dragonfly,rails=2", "has no rails"),
    ],
)
def test_bad_names_are_explained(name: str, said: str) -> None:
    with pytest.raises(TopoError, match=said):
        load(name)
