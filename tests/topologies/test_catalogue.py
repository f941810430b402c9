"""Every machine of the catalogue: loads, and is wired as published."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
import yaml

import topo
from topo.errors import TopoError
from topo.fabric import SWITCH, Fabric
from topo.system import CONFIDENCES, System
from topologies import catalogue
from topologies.catalogue import load_system, system_names
from topologies.catalogue.compact import mesh_fabric
from topologies.wafer import wafer

SYSTEMS = Path(catalogue.__file__).parent.parent / "systems"
REQUIRED = [
    "dgx1-v100",
    "dgx-a100",
    "dgx-h100",
    "hgx-h200",
    "hgx-h800",
    "hgx-b200",
    "gb200-nvl36",
    "gb200-nvl36x2",
    "gb200-nvl72",
    "gb300-nvl72",
    "vera-rubin-nvl72",
    "rubin-ultra-nvl576",
    "tpu-v2",
    "tpu-v3",
    "tpu-v4",
    "tpu-v5e",
    "tpu-v5p",
    "tpu-v6e",
    "tpu-v7",
    "tpu-8t",
    "trn1",
    "trn2",
    "trn2-ultra",
    "trn3-gen1",
    "trn3-gen2",
    "wse2",
    "wse3",
    "dojo",
    "groq-264",
    "groq-10440",
    "ipu-pod64",
    "mi300x",
    "mi325x",
    "mi355x",
    "helios-mi455x",
    "gaudi2",
    "gaudi3",
    "ascend-910b",
    "cloudmatrix384",
    "atlas950",
    "maia100",
    "mtia-v2",
]
# name: accelerators, cables between any two nodes, cables of an accelerator, hops across, GB/s of an accelerator
PUBLISHED = {
    "dgx1-v100": (8, 24, 6, 2, 150),
    "dgx-a100": (8, 96, 12, 2, 300),
    "dgx-h100": (8, 144, 18, 2, 450),
    "hgx-h200": (8, 144, 18, 2, 450),
    "hgx-h800": (8, 64, 8, 2, 200),
    "hgx-b200": (8, 144, 18, 2, 900),
    "gb200-nvl36": (36, 648, 18, 2, 900),
    "gb200-nvl36x2": (72, 1944, 18, 3, 900),
    "gb200-nvl72": (72, 1296, 18, 2, 900),
    "gb300-nvl72": (72, 1296, 18, 2, 900),
    "vera-rubin-nvl72": (72, 2592, 36, 2, 1800),
    "rubin-ultra-nvl576": (144, 10368, 72, 2, 5200),
    "tpu-v2": (256, 512, 4, 16, 248),
    "tpu-v3": (1024, 2048, 4, 32, 328),
    "tpu-v4": (64, 192, 6, 6, 300),
    "tpu-v5e": (256, 512, 4, 16, 200),
    "tpu-v5p": (64, 192, 6, 6, 600),
    "tpu-v6e": (256, 512, 4, 16, 400),
    "tpu-v7": (64, 192, 6, 6, 600),
    "tpu-8t": (64, 192, 6, 6, 1200),
    "trn1": (16, 32, 4, 4, 192),
    "trn2": (16, 32, 4, 4, 512),
    "trn2-ultra": (64, 192, 6, 6, 640),
    "trn3-gen1": (64, 64 * 9 + 64, 11, 3, 704),
    "trn3-gen2": (144, 144 * 9 + 144, 11, 3, 704),
    "groq-264": (264, 1452, 11, 3, 137.5),
    "groq-10440": (
        10440,
        57420,
        11,
        7,
        137.5,
    ),  # the paper's five hops are not chip to chip; the file says why
    "ipu-pod64": (64, 320, 10, 17, 160),
    "mi300x": (8, 28, 7, 1, 448),
    "mi325x": (8, 28, 7, 1, 448),
    "mi355x": (8, 28, 7, 1, 535.5),
    "helios-mi455x": (72, 5184, 72, 2, 1800),
    "gaudi2": (8, 84, 21, 1, 262.5),
    "gaudi3": (8, 84, 21, 1, 525),
    "ascend-910b": (8, 28, 7, 1, 196),
    "maia100": (4, 18, 9, 1, 450),
    "mtia-v2": (24, 24, 1, 2, 32),
}
# Cables on each switch, most first, as the vendors count their ports.
PORTS = {
    "dgx-a100": [16] * 6,
    "dgx-h100": [40, 40, 32, 32],
    "hgx-h800": [16] * 4,
    "hgx-b200": [72] * 2,
    "gb200-nvl36": [36] * 18,
    "gb200-nvl36x2": [72] * 36,
    "gb200-nvl72": [72] * 18,
    "vera-rubin-nvl72": [72] * 36,
    "helios-mi455x": [432] * 12,
    "mtia-v2": [24],
}


def _load(name: str, **options: str) -> System:
    if name == "atlas950":
        options = {"assume": "ideal-switch"} | options
    return load_system(name, options=options)


def _cables(fabric: Fabric) -> float:
    return fabric.cables.sum() / 2


def _of_accelerators(fabric: Fabric, amounts: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Sums over the scale-up links that leave each accelerator."""
    inner = ~fabric.scale_out
    return np.bincount(fabric.source[inner], amounts[inner], len(fabric.nodes))[fabric.accelerators]


def _diameter(fabric: Fabric, sample: int = 8) -> int:
    """Hops between accelerators, from a few of them to all (all fabrics tested so are symmetric enough)."""
    graph = fabric.to_networkx()
    ends = [fabric.nodes[i] for i in fabric.accelerators]
    some = ends if len(ends) <= 300 else ends[:: len(ends) // sample]
    return max(
        hops
        for end in some
        for other, hops in nx.single_source_shortest_path_length(graph, end).items()
        if graph.nodes[other]["kind"] == "accelerator"
    )


def test_the_catalogue_holds_every_name_and_each_file_its_own() -> None:
    assert set(REQUIRED) <= set(system_names())
    for name in system_names():
        assert catalogue.describe(name).name == name


@pytest.mark.parametrize("name", system_names())
def test_a_system_loads_with_a_chip_and_sources(name: str) -> None:
    system = _load(name)
    assert system.fabric.name == system.name
    assert system.accelerators == system.fabric.ranks >= 2
    assert system.chip is not None
    assert system.chip.memory_bytes > 0 and system.chip.memory_bandwidth > 0
    assert all(peak > 0 for peak in system.chip.peak_flops.values()) and system.chip.peak_flops
    assert system.title and system.vendor and system.status
    assert (system.fabric.bandwidth > 0).all() and (system.fabric.latency > 0).all()
    keys = [source.key for source in system.sources]
    assert len(keys) == len(set(keys))
    assert {"scale_up.link_bandwidth", "scale_up.link_latency", "chip.memory"} <= set(keys)
    for source in system.sources:
        assert source.confidence in CONFIDENCES
        assert len(source.source) > 8, source


def test_every_value_of_every_file_is_sourced() -> None:
    values = 0

    def walk(section: Any, path: str) -> None:
        nonlocal values
        if isinstance(section, dict):
            if "value" in section or "rule" in section:
                values += 1
                assert section.get("source"), path
                assert section.get("confidence") in CONFIDENCES, path
            for key, inner in section.items():
                walk(inner, f"{path}.{key}")

    for path in SYSTEMS.glob("*.yaml"):
        walk(yaml.safe_load(path.read_text(encoding="utf-8")), path.name)
    assert values > 700


def test_only_recalled_values_are_of_memory() -> None:
    for name in system_names():
        for source in _load(name).sources:
            if "recalled" in source.source:
                assert source.confidence == "memory", (name, source)


@pytest.mark.parametrize("name", PUBLISHED)
def test_links_degrees_and_distances_are_as_published(name: str) -> None:
    accelerators, cables, degree, hops, egress = PUBLISHED[name]
    system = _load(name)
    fabric = system.fabric
    assert fabric.ranks == accelerators
    assert _cables(fabric) == cables
    assert set(_of_accelerators(fabric, fabric.cables.astype(float))) == {degree}
    assert _of_accelerators(fabric, fabric.bandwidth) == pytest.approx(egress * 1e9, rel=0.01)
    assert system.scale_up is not None
    assert system.scale_up.accelerator_bandwidth == pytest.approx(egress * 1e9, rel=0.01)
    assert _diameter(fabric) == hops


@pytest.mark.parametrize("name", PORTS)
def test_switch_ports_are_as_published(name: str) -> None:
    fabric = _load(name).fabric
    ports = np.bincount(fabric.source, fabric.cables, len(fabric.nodes))[fabric.kind == SWITCH]
    assert sorted(ports, reverse=True) == PORTS[name]


@pytest.mark.parametrize("name", system_names())
def test_marketing_bandwidth_follows_from_the_links(name: str) -> None:
    scale_up = _load(name).scale_up
    assert scale_up is not None
    total = scale_up.accelerator_bandwidth
    if scale_up.convention == "both directions":
        assert scale_up.marketing_bandwidth == pytest.approx(2 * total, rel=0.01)
    elif scale_up.convention == "per direction":
        assert scale_up.marketing_bandwidth == pytest.approx(total, rel=0.01)
    else:
        assert scale_up.convention in ("", "with scale-out", "conflicting")
    assert scale_up.effective_share is None or 0.5 < scale_up.effective_share <= 1


def test_switches_of_hopper_and_later_multicast_and_add() -> None:
    for name in ("dgx-h100", "hgx-b200", "gb200-nvl72", "gb200-nvl36x2"):
        fabric = _load(name).fabric
        switches = fabric.kind == SWITCH
        assert fabric.multicast[switches].all() and fabric.reduce[switches].all()
    ampere = _load("dgx-a100").fabric
    assert not ampere.multicast.any() and not ampere.reduce.any()


def test_a_way_through_a_switch_takes_the_quoted_time() -> None:
    """Catalogue latencies are per link: GPU to GPU through one switch is two of them."""
    for name in ("dgx-h100", "gb200-nvl72"):
        assert (_load(name).fabric.latency * 2).max() == pytest.approx(0.7e-6)


def test_the_racks_of_nvl36x2_are_joined_without_blocking() -> None:
    fabric = _load("gb200-nvl36x2").fabric
    first = np.array([str(node).startswith("r0.") for node in fabric.nodes])
    crossing = first[fabric.source] & ~first[fabric.target]
    assert fabric.bandwidth[crossing].sum() == pytest.approx(32.4e12)


def test_cloudmatrix_is_a_non_blocking_clos() -> None:
    fabric = _load("cloudmatrix384").fabric
    kinds = Counter("l1" if ".l1" in str(n) else "l2" if ".l2" in str(n) else "npu" for n in fabric.nodes)
    assert kinds == {"npu": 384, "l1": 336, "l2": 112}
    assert _of_accelerators(fabric, fabric.bandwidth) == pytest.approx(392e9)
    nodes = np.array([str(node) for node in fabric.nodes])
    for switch in ("n0.l1p0", "n47.l1p6"):
        here = nodes[fabric.source] == switch
        up = np.char.find(nodes[fabric.target], ".l2") >= 0
        assert fabric.bandwidth[here & up].sum() == pytest.approx(448e9)
        assert fabric.bandwidth[here & ~up].sum() == pytest.approx(448e9)
    seconds = np.bincount(fabric.source, minlength=len(nodes))[np.char.find(nodes, ".l2") >= 0]
    assert set(seconds) == {48}


def test_dojo_tiles() -> None:
    tray = _load("dojo").fabric
    assert tray.ranks == 150 and tray.grid is not None and tray.grid.shape == (10, 15)
    assert _of_accelerators(tray, tray.bandwidth).max() == pytest.approx(8e12)
    place = {node: i for i, node in enumerate(tray.nodes)}
    across = sum(
        tray.bandwidth[int(tray.links_between(np.array([place[f"4.{y}"]]), np.array([place[f"5.{y}"]]))[0])]
        for y in range(5)
    )
    assert across == pytest.approx(4.5e12)
    assert load_system("dojo", "10x12").accelerators == 3000


@pytest.mark.parametrize(
    ("name", "shape", "wrap"),
    [
        ("tpu-v4", "4x4x4", (True, True, True)),
        ("tpu-v4", "8x16x16", (True, True, True)),
        ("tpu-v4", "2x2x1", (False, False, False)),
        ("tpu-v5p", "2x4x4", (False, False, False)),
        ("tpu-v5p", "4x4x8", (True, True, True)),
        ("tpu-v7", "2x2x2", (False, False, False)),
        ("tpu-v5e", "8x16", (False, True)),
        ("tpu-v5e", "4x1", (False, False)),
        ("tpu-v6e", "16x16", (True, True)),
        ("tpu-v2", "16x8", (True, False)),
        ("tpu-v3", "16x16", (False, False)),
        ("tpu-v3", "32x8", (True, False)),
    ],
)
def test_slices_close_where_the_pod_does(name: str, shape: str, wrap: tuple[bool, ...]) -> None:
    fabric = load_system(name, shape).fabric
    assert fabric.grid is not None
    assert fabric.grid.shape == tuple(map(int, shape.split("x")))
    assert fabric.grid.wrap == wrap


@pytest.mark.parametrize(
    ("name", "shape", "bisection"),
    [("tpu-v5e", "16x16", 1.6e12), ("tpu-v6e", "16x16", 3.2e12), ("tpu-v4", "16x16x16", 25.6e12)],
)
def test_the_bisection_of_a_pod_is_the_data_sheet_s(name: str, shape: str, bisection: float) -> None:
    system = load_system(name, shape)
    fabric = system.fabric
    assert fabric.grid is not None
    lower = fabric.grid.coordinates(np.arange(fabric.ranks))[:, 0] < fabric.grid.shape[0] // 2
    crossing = lower[fabric.source] & ~lower[fabric.target]
    assert fabric.bandwidth[crossing].sum() == pytest.approx(bisection)
    # TPU v4's page prints 24 TB/s for 512 links of 50 GB/s.
    assert system.extra["pod_bisection"] == pytest.approx(bisection, rel=0.07)


def test_the_full_pods_have_the_published_chips() -> None:
    for name, shape, chips in (
        ("tpu-v4", "16x16x16", 4096),
        ("tpu-v5p", "16x20x28", 8960),
        ("tpu-v3", "32x32", 1024),
    ):
        assert load_system(name, shape).accelerators == chips


@pytest.mark.parametrize(("shape", "plain", "twisted"), [("4x4x8", 8, 6), ("4x8x8", 10, 6)])
def test_a_twist_is_asked_for_and_shortens_ways(shape: str, plain: int, twisted: int) -> None:
    assert _diameter(load_system("tpu-v4", shape).fabric) == plain
    fabric = load_system("tpu-v4", shape, options={"twisted": "true"}).fabric
    assert fabric.grid is not None and fabric.grid.twisted
    assert _diameter(fabric) == twisted


def test_trainium_is_slower_along_z() -> None:
    fabric = _load("trn2-ultra").fabric
    assert fabric.grid is not None
    place = fabric.grid.coordinates(np.arange(64))
    along_z = place[fabric.source][:, 2] != place[fabric.target][:, 2]
    assert set(fabric.bandwidth[along_z]) == {64e9}
    assert set(fabric.bandwidth[~along_z]) == {128e9}


def test_a_wafer_is_blocks_of_cores() -> None:
    system = _load("wse3")
    fabric, chip = system.fabric, system.chip
    assert fabric.grid is not None and fabric.grid.shape == (12, 7)
    assert not any(fabric.grid.wrap)
    assert chip is not None and chip.memory_bytes * 84 == pytest.approx(44e9)
    assert chip.flops("bf16") * 84 == pytest.approx(15.8e15)
    # Every cut along a row of blocks carries what the cores along it carry.
    place = fabric.grid.coordinates(np.arange(84))
    for dimension, cores in ((0, 762), (1, 1172)):
        for at in range(1, fabric.grid.shape[dimension]):
            crossing = (place[fabric.source][:, dimension] < at) & (place[fabric.target][:, dimension] >= at)
            assert fabric.bandwidth[crossing].sum() == pytest.approx(cores * 3.72e9)
    # From the middle of one block to that of the next, a cycle a core.
    down = place[fabric.source][:, 0] != place[fabric.target][:, 0]
    assert fabric.latency[down] == pytest.approx(1172 / 12 * 1.075e-9, rel=0.01)
    assert system.wafer is not None and system.wafer.ramp_cycles == 2
    assert load_system("wse3", options={"blocks": "24x14"}).accelerators == 336


def test_the_core_link_of_a_wafer_carries_four_bytes_a_cycle() -> None:
    for name in ("wse2", "wse3"):
        wafer_record = _load(name).wafer
        assert wafer_record is not None
        assert wafer_record.core_link_bandwidth == pytest.approx(4 * wafer_record.clock_hz, rel=0.005)


def test_a_sub_grid_of_cores_equals_the_builder_s() -> None:
    dims = (5, 7)
    compact = mesh_fabric(dims, 3.72e9, 1e-9, "cores")
    built = Fabric.from_networkx(wafer(dims, 3.72e9, 1e-9), "cores")
    assert compact.nodes == built.nodes and compact.grid == built.grid and compact.routing == built.routing
    assert (compact.position == built.position).all()
    assert nx.utils.graphs_equal(compact.to_networkx(), built.to_networkx())
    assert load_system("wse3", "16x32").accelerators == 512
    chip = load_system("wse2", "2x3").chip
    assert chip is not None and chip.memory_bytes == pytest.approx(40e9 / 757 / 996)


@pytest.mark.parametrize(
    ("name", "count", "nic"),
    [("dgx-h100", 4, 50e9), ("gb200-nvl72", 2, 50e9), ("tpu-v5e", 2, 3.125e9), ("trn2-ultra", 3, 25e9)],
)
def test_domains_are_joined_by_their_network(name: str, count: int, nic: float) -> None:
    one, system = _load(name), load_system(name, count=count)
    fabric = system.fabric
    assert system.name == fabric.name == f"{name}*{count}"
    assert fabric.ranks == count * one.fabric.ranks
    assert fabric.domains == count
    out = np.bincount(fabric.source[fabric.scale_out], fabric.bandwidth[fabric.scale_out], len(fabric.nodes))
    assert out[fabric.accelerators] == pytest.approx(nic)
    assert (
        system.power_w is None or one.power_w is None or system.power_w == pytest.approx(count * one.power_w)
    )


def test_the_network_between_domains_can_be_changed() -> None:
    system = load_system(
        "dgx-h100", count=2, options={"nic": "25GB/s", "scale_out": "switch", "nic_latency": "3us"}
    )
    assert system.scale_out is not None
    assert system.scale_out.nic_bandwidth == 25e9 and system.scale_out.network == "switch"
    out = system.fabric.scale_out
    assert set(system.fabric.latency[out]) == {3e-6}
    assert set(system.fabric.bandwidth[out]) == {25e9}
    asked = {source.key: source for source in system.sources}["nic"]
    assert asked.text == "25GB/s" and "scale_out.nic_bandwidth" not in {s.key for s in system.sources}


def test_wafers_meet_in_a_tree_that_adds() -> None:
    system = load_system("wse3", count=4)
    fabric = system.fabric
    assert fabric.ranks == 4 * 84
    assert fabric.reduce[fabric.kind == SWITCH].all()
    out = fabric.scale_out & np.isin(fabric.source, fabric.accelerators[:84])
    assert fabric.bandwidth[out].sum() == pytest.approx(150e9)
    assert system.price_range_usd == (8e6, 12e6)


@pytest.mark.parametrize("name", ["wse3", "wse3:8x8", "wse2,blocks=3x4"])
def test_routers_of_a_wafer_copy(name: str) -> None:
    system = topo.load(name)
    assert system.fabric.multicast[system.fabric.accelerators].all()
    result = topo.simulate(name, "broadcast", "1KiB", algorithm="wafer-multicast", certify=True)
    assert result.bound_ratio >= 1


def test_price_and_power_scale_with_what_is_bought() -> None:
    assert _load("gb200-nvl72").price_range_usd == (2e6, 3.4e6)
    assert load_system("gb200-nvl72", count=3).power_w == pytest.approx(360e3)
    assert load_system("gb200-nvl72", options={"accelerators": "144"}).power_w == pytest.approx(240e3)
    assert load_system("tpu-v7", "4x4x8").power_w == pytest.approx(200e3)
    assert load_system("tpu-v5e", count=2).rent_usd_per_hour == pytest.approx(1.2 * 512)
    assert load_system("trn2-ultra").price_usd == pytest.approx(64 * 4000)
    assert load_system("trn2-ultra").rent_usd_per_hour == pytest.approx(4 * 38.47)
    rent = load_system("dgx-h100", count=2).rent_range_usd_per_hour
    assert rent == pytest.approx((16 * 2.69, 16 * 6.88))


# Comparisons at equal money need to know what these cost.
@pytest.mark.parametrize("name", ["dgx-h100", "gb200-nvl72", "trn2-ultra", "wse3", "dojo", "pcie-heap"])
def test_a_price_is_known(name: str) -> None:
    system = _load(name)
    assert system.price_range_usd is not None and system.price_usd is not None
    assert 0 < system.price_range_usd[0] <= system.price_usd <= system.price_range_usd[1]


RENTED = ["dgx-a100", "dgx-h100", "hgx-h200", "hgx-b200", "gb200-nvl72", "mi300x", "trn1", "trn2-ultra"]


@pytest.mark.parametrize("name", [*RENTED, "tpu-v2", "tpu-v3", "tpu-v4", "tpu-v5e", "tpu-v5p", "tpu-v6e"])
def test_a_rent_is_known_and_of_an_accelerators_size(name: str) -> None:
    system = _load(name)
    assert system.rent_range_usd_per_hour is not None and system.rent_usd_per_hour is not None
    for rent in (*system.rent_range_usd_per_hour, system.rent_usd_per_hour):
        assert 0.5 < rent / system.accelerators < 15


@pytest.mark.parametrize("name", system_names())
def test_what_is_missing_is_said(name: str) -> None:
    system = _load(name)
    assert system.chip is not None
    for value, words in (
        (system.chip.peak_flops.get("bf16"), "no bf16 peak is known"),
        (system.power_w, "no power is known"),
        (system.price_usd, "no price is known"),
    ):
        assert (value is None) == any(words in note for note in system.notes), words


@pytest.mark.parametrize("technology", catalogue.technology_names())
def test_a_chip_can_have_another_technology(technology: str) -> None:
    size = 8 if technology == "nvlink3" else 72  # NVLink 3 joins 16 at most
    options = {"scale_up": technology, "accelerators": str(size)}
    system = load_system("gb200-nvl72", options=options)
    assert system.scale_up is not None and system.fabric.ranks == size
    sums = _of_accelerators(system.fabric, system.fabric.bandwidth)
    assert sums == pytest.approx(system.scale_up.accelerator_bandwidth)
    if technology in ("ualink", "sue-ethernet"):
        assert system.scale_up.accelerator_bandwidth == pytest.approx(900e9)
    keys = {source.key for source in system.sources}
    assert f"technologies.{technology}.link_bandwidth" in keys and "scale_up.link_bandwidth" not in keys


def test_links_that_do_not_add_up_say_so() -> None:
    notes = load_system("mi300x", options={"scale_up": "ualink"}).notes
    assert any("400GB/s, which whole links bring nearest to the 448GB/s of mi300x" in note for note in notes)


@pytest.mark.parametrize("size", [8, 64, 576])
def test_a_switched_domain_can_have_another_size(size: int) -> None:
    system = load_system("gb200-nvl72", options={"accelerators": str(size)})
    assert system.accelerators == size
    assert any("72" in note for note in system.notes) == (size > 72)


def test_link_rates_can_be_asked_for() -> None:
    options = {"bandwidth": "100GB/s/100GB/s/50GB/s", "latency": "0us"}
    fabric = load_system("trn2-ultra", options=options).fabric
    assert set(fabric.bandwidth) == {100e9, 50e9} and not fabric.latency.any()


def test_unpublished_wiring_is_refused_unless_assumed() -> None:
    with pytest.raises(
        TopoError, match=r"wiring of atlas950 is unpublished; state an assumption: atlas950,assume=ideal"
    ):
        load_system("atlas950")
    system = load_system("atlas950", options={"assume": "ideal-switch", "accelerators": "64"})
    assert system.accelerators == 64
    assert any("assumption ideal-switch" in note for note in system.notes)
    assert _of_accelerators(system.fabric, system.fabric.bandwidth) == pytest.approx(840e9)


def test_placeholders_say_so() -> None:
    system = _load("rubin-ultra-nvl576")
    assert any("Placeholder" in note for note in system.notes)
    confidence = {source.key: source.confidence for source in system.sources}
    assert confidence["scale_up.builder"] == confidence["scale_up.link_bandwidth"] == "estimate"


def test_a_heap_of_cards_fills_hosts() -> None:
    system = load_system("pcie-heap", "64")
    assert system.accelerators == 64 and system.fabric.domains == 8
    assert load_system("pcie-heap", "16", count=2).fabric.domains == 4
    assert load_system("pcie-heap", "3").accelerators == 3


@pytest.mark.parametrize(
    ("name", "shape", "count", "options", "message"),
    [
        ("dgx-h10", None, 1, {}, r"unknown system 'dgx-h10'; did you mean 'dgx-h100'"),
        ("dgx-h100", "8", 1, {}, r"has one shape only; write dgx-h100, or dgx-h100\*4"),
        ("dgx-h100", None, 0, {}, r"not a number of domains; use 1 or more"),
        ("dgx-h100", None, 1, {"bandwith": "1GB/s"}, r"unknown option 'bandwith'; did you mean 'bandwidth'"),
        (
            "dgx-h100",
            None,
            1,
            {"nic": "25GB/s"},
            r"nic belongs to the network .*write dgx-h100\*COUNT,nic=25GB/s",
        ),
        ("dgx-h100", None, 2, {"nic": "25"}, r"bandwidth '25' has no unit"),
        ("dgx-h100", None, 2, {"scale_out": "ral"}, r"scale-out network 'ral' is unknown"),
        ("dgx-h100", None, 2, {"oversubscription": "0"}, r"oversubscription=0 is no ratio; for example"),
        ("dgx-h100", None, 1, {"library": "nccl2"}, r"unknown library 'nccl2'; did you mean 'nccl'"),
        ("dgx-h100", None, 1, {"twisted": "true"}, r"dgx-h100 takes no twisted"),
        ("dgx-h100", None, 1, {"assume": "x"}, r"no assumption 'x'; its wiring is known"),
        (
            "gb200-nvl72",
            None,
            1,
            {"scale_up": "nvlnk5"},
            r"unknown scale-up technology 'nvlnk5'; did you mean 'nvlink5'",
        ),
        (
            "gb200-nvl72",
            None,
            1,
            {"scale_up": "ualink", "accelerators": "4096"},
            r"joins at most 1024 accelerators",
        ),
        (
            "gb200-nvl72",
            None,
            1,
            {"accelerators": "1"},
            r"a single accelerator makes no system; use 2 or more",
        ),
        ("tpu-v4", None, 1, {"accelerators": "8"}, r"not a domain behind switches"),
        (
            "tpu-v4",
            "6x4x4",
            1,
            {},
            r"whole cubes of 4x4x4, or a part of one cube; use multiples of 4 such as tpu-v4:8x4x4",
        ),
        ("tpu-v4", "4x4", 1, {}, r"has 2 lengths where tpu-v4 has 3; write for example tpu-v4:4x4x4"),
        ("tpu-v4", "16x16x32", 1, {}, r"8,192 chips, the pod 4,096"),
        ("tpu-v4", "4x-4x4", 1, {}, r"is no shape; write tpu-v4:4x4x4"),
        ("tpu-v4", "1x1x1", 1, {}, r"is a single chip"),
        ("tpu-v4", "4x4x4", 1, {"twisted": "true"}, r"cannot be twisted; use KxKx2K"),
        ("tpu-v4", "2x2x4", 1, {"twisted": "true"}, r"no wrap links to twist"),
        ("tpu-v4", "4x4x8", 1, {"twisted": "yes"}, r"write twisted=true or twisted=false"),
        ("tpu-v5e", "32x8", 1, {}, r"longer than the pod of 16x16; use at most tpu-v5e:16x16"),
        ("tpu-v5e", "8x16", 1, {"twisted": "true"}, r"tpu-v5e has no twisted slices"),
        ("wse3", "2000x2", 1, {}, r"larger than the wafer of 1172x762 cores"),
        ("wse3", None, 1, {"blocks": "1x1"}, r"does not coarsen"),
        ("wse3", None, 1, {"blocks": "12"}, r"no pair of numbers; write wse3,blocks=12x7"),
        ("wse3", None, 1, {"scale_up": "ualink"}, r"links of a wafer are on the wafer"),
        ("pcie-heap", "12", 1, {}, r"does not fill hosts of 8 cards; use a multiple of 8"),
        ("groq-264", None, 2, {}, r"how groq-264 is joined to others is unpublished; state an assumption"),
        (
            "trn2-ultra",
            None,
            1,
            {"bandwidth": "1GB/s/2GB/s"},
            r"has 2 values; give one, or one per dimension",
        ),
    ],
)
def test_what_cannot_be_had_is_refused(
    name: str, shape: str | None, count: int, options: dict[str, str], message: str
) -> None:
    with pytest.raises(TopoError, match=message) as refused:
        load_system(name, shape, count, options)
    assert "\n" not in str(refused.value)


def test_numbers_of_the_chip_are_in_si() -> None:
    chip = _load("dgx-h100").chip
    assert chip is not None
    assert chip.flops("bf16") == 989e12 and chip.memory_bytes == 80e9
    assert chip.memory_bandwidth == 3.35e12 and chip.power_w == 700
    with pytest.raises(TopoError, match=r"has no peak at fp4; did you mean|has no peak at fp4; it has"):
        chip.flops("fp4")
    trainium = _load("trn2").chip
    assert trainium is not None and trainium.memory_bytes == 96 * 2**30
