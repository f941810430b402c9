"""Fat trees, dragonflies, rail clusters, and copies of any domain joined by a scale-out network."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.topologies.graphs import cables_at, cut, distances, links_by_ends
from topo.errors import TopoError
from topo.fabric import SWITCH, Fabric
from topologies import load
from topologies.build_rules import BUILD_RULES
from topologies.fat_tree import uplinks
from topologies.graph import accelerator
from topologies.scale_out import ALIASES, KINDS, Network, join
from topologies.switched_planes import switched_planes


def labelled(fabric: Fabric, start: str) -> np.ndarray:
    """Nodes whose label starts so."""
    return np.flatnonzero([str(node).startswith(start) for node in fabric.nodes])


def up(fabric: Fabric, lower: str, upper: str) -> float:
    """Bytes/s from all nodes with one start of label to all with another."""
    sent = np.isin(fabric.source, labelled(fabric, lower)) & np.isin(fabric.target, labelled(fabric, upper))
    return float(fabric.bandwidth[sent].sum())


@given(
    st.integers(1, 6),
    st.integers(1, 70),
    st.sampled_from([1, 1.5, 2, 3, 7]),
    st.sampled_from([None, 1, 3, 16]),
)
def test_leaf_spine_uplinks(leaves: int, hosts: int, oversubscription: float, spines: int | None) -> None:
    keys = f"oversubscription={oversubscription}" + (f",spines={spines}" if spines else "")
    fabric = load(f"fat-tree:{leaves}x{hosts},bandwidth=10GB/s,{keys}").fabric
    assert fabric.ranks == leaves * hosts
    assert fabric.domains == leaves
    if leaves == 1:
        assert not len(labelled(fabric, "spine"))
        return
    assert up(fabric, "leaf", "spine") == pytest.approx(leaves * hosts * 10e9 / oversubscription)
    assert len(labelled(fabric, "spine")) == (spines or len(labelled(fabric, "spine")))
    assert distances(fabric).max() == 4


@pytest.mark.parametrize(
    ("downlinks", "oversubscription", "spines", "expected"),
    [
        (4, 2, None, (2, 1, 1.0)),
        (32, 1, None, (16, 2, 1.0)),
        (32, 1, 16, (16, 2, 1.0)),
        (64, 2, None, (16, 2, 1.0)),
        (17, 1, None, (1, 17, 1.0)),
        (4, 8, None, (1, 1, 0.5)),
        (4, 1, 3, (3, 1, 4 / 3)),
    ],
)
def test_uplinks(
    downlinks: int, oversubscription: float, spines: int | None, expected: tuple[int, int, float]
) -> None:
    found = uplinks(downlinks, oversubscription, spines)
    assert (found.spines, found.cables, found.share) == pytest.approx(expected)


@pytest.mark.parametrize("k", [2, 4, 6])
def test_k_ary_fat_tree(k: int) -> None:
    fabric = load(f"fat-tree:{k}").fabric
    assert fabric.ranks == k**3 // 4
    assert (fabric.kind == SWITCH).sum() == 5 * k * k // 4
    assert (cables_at(fabric)[fabric.kind == SWITCH] == k).all()
    assert distances(fabric).max() == 6
    assert fabric.domains == k
    # Non-blocking: as much goes up from the pods as down to the hosts.
    assert up(fabric, "pod", "core") == fabric.egress.sum()


@given(st.integers(1, 7), st.integers(1, 5), st.integers(1, 3))
def test_dragonfly_joins_every_two_groups_alike(groups: int, routers: int, hosts: int) -> None:
    fabric = load(f"dragonfly:{groups}x{routers}x{hosts},bandwidth=10GB/s/20GB/s/30GB/s").fabric
    assert fabric.ranks == groups * routers * hosts
    assert distances(fabric).max() <= 5
    members = [[str(node).startswith(f"g{g}.") for node in fabric.nodes] for g in range(groups)]
    inside = np.asarray(members)
    between = [
        fabric.bandwidth[inside[a][fabric.source] & inside[b][fabric.target]].sum()
        for a in range(groups)
        for b in range(groups)
        if a != b
    ]
    assert len({float(b) for b in between}) <= 1
    assert all(b >= 30e9 for b in between)
    ports = -(-(groups - 1) // routers)
    assert (cables_at(fabric)[fabric.kind == SWITCH] <= hosts + routers - 1 + ports).all()


def test_dragonfly_of_full_size_has_one_cable_per_pair_of_groups() -> None:
    fabric = load("dragonfly:9x4x2,global_links=2").fabric
    # p=2 hosts, a=4 routers, h=2: g = a h + 1 groups, radix p + a - 1 + h.
    assert (cables_at(fabric)[fabric.kind == SWITCH] == 2 + 3 + 2).all()
    assert fabric.cables[fabric.scale_out].sum() == 9 * 8


def test_rail_cluster() -> None:
    fabric = load("rail:3x4,bandwidth=400GB/s/50GB/s,latency=1us/3us").fabric
    links = links_by_ends(fabric)
    assert fabric.ranks == 12
    assert fabric.domain.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert links["n0.gpu1", "n0.nvswitch0"] == (400e9, 1e-6, 1)
    assert links["n2.gpu1", "leaf1"] == (50e9, 3e-6, 1)
    assert ("n2.gpu1", "leaf0") not in links
    assert not len(labelled(fabric, "spine"))
    assert fabric.scale_out.sum() == 2 * 12


@pytest.mark.parametrize(
    ("keys", "inner", "rail"),
    [
        ("", (50e9, 1e-6), (50e9, 1e-6)),
        (",bandwidth=100GB/s,latency=2us", (100e9, 2e-6), (100e9, 2e-6)),
        (",bandwidth=100GB/s,nic=25GB/s", (100e9, 1e-6), (25e9, 1e-6)),
        (",nic_latency=4us", (50e9, 1e-6), (50e9, 4e-6)),
    ],
)
def test_rail_bandwidths(keys: str, inner: tuple[float, float], rail: tuple[float, float]) -> None:
    links = links_by_ends(load(f"rail:2x2{keys}").fabric)
    assert links["n0.gpu0", "n0.nvswitch0"][:2] == inner
    assert links["n0.gpu0", "leaf0"][:2] == rail


def test_superpod() -> None:
    """DGX H100 SuperPOD: 4 units of 32 nodes, 8 rails, 16 spines, 2 cables from leaf to spine."""
    domain = switched_planes(8, [5, 4, 4, 5], 25e9, 1e-6)
    fabric = BUILD_RULES["rail_fat_tree"](
        sus=4,
        nodes_per_su=32,
        rails=8,
        spines=16,
        links_leaf_spine=2,
        bandwidth=50e9,
        latency=1e-6,
        domain=domain,
    )
    leaves, spines = labelled(fabric, "leaf"), labelled(fabric, "spine")
    assert (len(leaves), len(spines)) == (32, 16)
    assert (cables_at(fabric)[leaves] == 64).all()
    assert (cables_at(fabric)[spines] == 64).all()
    assert up(fabric, "leaf", "spine") == up(fabric, "n", "leaf") == 1024 * 50e9
    # The same cluster by name.
    named = load("dgx-h100*128").fabric
    assert len(labelled(named, "leaf")) == 32
    assert (cables_at(named)[labelled(named, "spine")] == 64).all()


@given(
    st.integers(2, 9), st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.sampled_from([1, 2, 3.5])
)
def test_rail_fat_tree_join(count: int, gpus: int, rails: int, unit: int, oversubscription: float) -> None:
    rails = min(rails, gpus)
    network = Network(bandwidth=10e9, rails=rails, unit=unit, oversubscription=oversubscription)
    domain = load(f"switch:{gpus}").fabric
    fabric = join(domain, count, network)
    units = -(-count // min(unit, count))
    leaves = labelled(fabric, "leaf")
    assert len(leaves) == units * rails
    assert fabric.ranks == count * gpus
    assert fabric.domains == count
    assert up(fabric, "n", "leaf") == pytest.approx(count * gpus * 10e9)
    if units > 1:
        per_leaf = min(unit, count) * -(-gpus // rails) * 10e9 / oversubscription
        assert up(fabric, "leaf", "spine") == pytest.approx(len(leaves) * per_leaf)
        fabric.require_connected()


@pytest.mark.parametrize("kind", [*KINDS, *ALIASES])
def test_every_network_joins_any_domain(kind: str) -> None:
    domain = load("torus:2x3").fabric
    fabric = join(domain, 5, Network(bandwidth=10e9, latency=2e-6, switch_latency=3e-6, kind=kind))
    fabric.require_connected()
    assert fabric.ranks == 30
    inner = ~fabric.scale_out
    assert inner.sum() == 5 * domain.links
    from_ranks = fabric.scale_out & (fabric.kind[fabric.source] != SWITCH)
    assert (fabric.bandwidth[from_ranks] == 10e9).all()
    assert (fabric.latency[from_ranks] == 2e-6).all()
    between = (
        fabric.scale_out & (fabric.kind[fabric.source] == SWITCH) & (fabric.kind[fabric.target] == SWITCH)
    )
    assert (fabric.latency[between] == 3e-6).all()
    hops = distances(fabric)
    # Domains in a row may share a router of a dragonfly.
    assert hops[0, 6] == (4 if between.any() and kind != "dragonfly" else 2)


def test_swarmx_tree_carries_a_whole_domain_and_reduces() -> None:
    fabric = load("full-mesh:3*5,nic=10GB/s,scale_out=swarmx-tree").fabric
    links = links_by_ends(fabric)
    assert links["leaf4", "swarmx1"][0] == links["swarmx0", "swarmx2"][0] == 30e9
    assert fabric.multicast[fabric.kind == SWITCH].all()
    assert fabric.reduce[fabric.kind == SWITCH].all()


def test_one_copy_needs_no_network() -> None:
    assert load("ring:4*1,nic=25GB/s").fabric.nodes == load("ring:4").fabric.nodes


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("switch", {"spines": 2}),
        ("switch", {"oversubscription": 2.0}),
        ("leaf-spine", {"rails": 2}),
        ("swarmx-tree", {"unit": 2}),
    ],
)
def test_field_that_a_network_lacks_is_refused(kind: str, field: dict[str, float]) -> None:
    with pytest.raises(TopoError, match=f"has no {next(iter(field))}"):
        join(load("ring:4").fabric, 2, Network(kind=kind, **field))


def test_four_hundred_thousand_accelerators_join_compactly() -> None:
    fabric = load("torus:4x4x4*6250,bandwidth=128GB/s/128GB/s/64GB/s").fabric
    assert fabric.ranks == 400_000
    assert fabric.domains == 6250
    assert (fabric.egress == 640e9 + 50e9).all()


def test_nvl36x2() -> None:
    graph = BUILD_RULES["nvl36x2"](
        racks=2,
        gpus_per_rack=36,
        planes=18,
        bandwidth=50e9,
        latency=1e-6,
        cross_links_per_plane=36,
        reduce=True,
    )
    fabric = Fabric.from_networkx(graph)
    assert (fabric.egress == 900e9).all()
    first = np.asarray([str(node).startswith("r0.") for node in fabric.nodes])
    assert cut(fabric, first) == 36 * 900e9
    assert distances(fabric)[0, 71] == 3
    assert distances(fabric)[0, 35] == 2


def test_cloudmatrix() -> None:
    fabric = Fabric.from_networkx(BUILD_RULES["ub_clos"](48, 8, 7, 16, 56e9, 28e9, (1e-7, 2e-7)))
    assert fabric.ranks == 384
    assert (fabric.egress == 392e9).all()
    assert len(fabric.nodes) - 384 == 336 + 112
    assert (cables_at(fabric)[-112:] == 48).all()
    assert (distances(fabric)[0, :8] <= 2).all()
    assert distances(fabric).max() == 4


def test_trainium3() -> None:
    fabric = Fabric.from_networkx(BUILD_RULES["trn3"](36, 4, 2, 4, 5, 2, 64e9, 1e-6))
    assert fabric.ranks == 144
    assert (fabric.egress == 11 * 64e9).all()
    # The racks meet only over the direct links.
    first = {
        "rack0",
        *(f"s{s}.{part}" for s in range(18) for part in ("chip0", "chip1", "chip2", "chip3", "switch")),
    }
    assert cut(fabric, np.asarray([node in first for node in fabric.nodes])) == 72 * 2 * 64e9
    with pytest.raises(TopoError, match="do not divide"):
        BUILD_RULES["trn3"](15, 4, 2, 4, 5, 2, 64e9, 1e-6)


def test_dojo_tray() -> None:
    fabric = Fabric.from_networkx(BUILD_RULES["dojo"](2, 3, 5, 2e12, 4.5e12, 5, 0.9e12, 1e-7))
    assert fabric.ranks == 150
    assert fabric.grid.shape == (10, 15)
    rows = fabric.position[:, 0]
    # Within a tile five links of 2 TB/s, across a tile edge 4.5 TB/s; three tiles side by side.
    dies = np.arange(len(fabric.nodes)) < 150
    assert cut(fabric, rows < 2.5) == pytest.approx(3 * 5 * 2e12)
    assert cut(fabric, rows < 4.9) == pytest.approx(3 * 4.5e12)
    assert (~dies).sum() == 2 * (15 + 10)
    shortcut = Fabric.from_networkx(
        BUILD_RULES["dojo"](2, 3, 5, 2e12, 4.5e12, 5, 0.9e12, 1e-7, z_plane_bandwidth=50e9)
    )
    assert shortcut.routing == "shortest"
    assert distances(shortcut)[0, 149] == 4


@pytest.mark.parametrize(
    ("rule", "ranks", "farthest"), [("dragonfly_groq_small", 264, 3), ("dragonfly_groq_large", 10_440, 7)]
)
def test_groq(rule: str, ranks: int, farthest: int) -> None:
    fabric = Fabric.from_networkx(BUILD_RULES[rule](bandwidth=12.5e9, latency=1e-6))
    assert fabric.ranks == ranks
    # 7 local links and 4 global ones, none of them left over.
    assert (cables_at(fabric) == 11).all()
    # Chip by chip; a rack of 72 chips with 9 links each cannot be crossed in fewer than 3 hops.
    assert distances(fabric, [0])[0].max() == farthest


def test_ladder() -> None:
    fabric = Fabric.from_networkx(BUILD_RULES["ladder"](32, 4, 3, 16e9, 1e-6, True))
    assert (cables_at(fabric) == 10).all()
    assert (fabric.egress == 160e9).all()
    assert distances(fabric).max() == 17


def test_swarmx_tree() -> None:
    fabric = Fabric.from_networkx(BUILD_RULES["swarmx_tree"](systems=17, bandwidth=150e9, latency=1e-6))
    assert fabric.ranks == 17
    switches = fabric.kind == SWITCH
    assert fabric.multicast[switches].all()
    assert (cables_at(fabric)[switches] <= 5).all()
    assert cut(fabric, np.asarray([node != "memoryx" for node in fabric.nodes])) == 150e9


def test_unpublished_wiring_is_refused() -> None:
    with pytest.raises(TopoError, match="unpublished"):
        BUILD_RULES["hierarchical_mesh_unpublished"]()


def test_rules_are_those_of_the_catalogue() -> None:
    from topologies.catalogue import describe, system_names

    used = {describe(name).scale_up.builder.rule for name in system_names()}
    assert used <= set(BUILD_RULES)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 9), st.integers(1, 9))
def test_coarsened_wafer_keeps_every_cut(rows: int, columns: int, down: int, across: int) -> None:
    down, across = min(down, rows), min(across, columns)
    blocks = Fabric.from_networkx(BUILD_RULES["wafer"]((rows, columns), 4e9, 1e-9, (down, across)))
    place = blocks.grid.coordinates(np.arange(blocks.ranks))
    for d, (length, other, parts) in enumerate(((rows, columns, down), (columns, rows, across))):
        for border in range(1, parts):
            assert cut(blocks, place[:, d] < border) == pytest.approx(other * 4e9)
        along = blocks.latency[(place[blocks.source][:, d] + 1) == place[blocks.target][:, d]]
        lines = blocks.ranks // parts
        # From the middle of the first block to the middle of the last: the length less half of each.
        ends = length // parts, length - (parts - 1) * length // parts
        assert along.sum() / lines == pytest.approx((length - sum(ends) / 2) * 1e-9 if parts > 1 else 0.0)


def test_wafer_of_cores_is_a_mesh() -> None:
    fabric = Fabric.from_networkx(BUILD_RULES["wafer"]((6, 4), 4e9, 1e-9))
    assert fabric.links == 2 * (5 * 4 + 6 * 3)
    assert not any(fabric.grid.wrap)


@pytest.mark.parametrize(
    ("dims", "blocks", "said"),
    [
        ((4, 4, 4), None, "two dimensions"),
        ((4, 4), (5, 1), "cannot be cut"),
        ((4, 4), (2,), "two dimensions"),
        ((4, 0), None, "too small"),
    ],
)
def test_wrong_wafer_is_refused(dims: tuple[int, ...], blocks: tuple[int, ...] | None, said: str) -> None:
    with pytest.raises(TopoError, match=said):
        BUILD_RULES["wafer"](dims, 4e9, 1e-9, blocks)


def test_domain_without_positions_joins() -> None:
    import networkx as nx

    graph = nx.DiGraph()
    accelerator(graph, "a", (0.0, 0.0))
    graph.add_node("b")
    graph.add_edge("a", "b", bandwidth=1e9)
    graph.add_edge("b", "a", bandwidth=1e9)
    fabric = join(Fabric.from_networkx(graph), 3, Network())
    assert fabric.ranks == 6
    assert np.isnan(fabric.position).any()
