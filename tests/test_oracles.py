"""Every independently computed oracle of ``data/collectives.json``, through the public interface.

Each oracle was asserted equal to an event-driven brute force, an enumeration or a linear program by those who wrote
the file; none of its numbers comes from this project.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest

import topo
from topo import wafer
from topo.bounds import lower_bound
from topo.collective import Collective
from topo.simulate import simulate as simulate_collective

Case = dict[str, Any]
CASES: dict[str, Case] = {
    case["id"]: case
    for case in json.loads((Path(__file__).parent / "data" / "collectives.json").read_text())["cases"]
}
GROUPS = (
    "p2p",
    "ring",
    "switch",
    "mesh",
    "tree",
    "torus",
    "a2a_torus",
    "a2a_bound",
    "swing",
    "hier",
    "nvls",
    "failure",
    "maxmin",
    "bounds",
    "wafer",
)
"""Groups ``pipeline`` and ``workload`` speak of training steps, not of collectives."""
OPERATIONS = {
    "all_reduce": "all-reduce",
    "all_gather": "all-gather",
    "reduce_scatter": "reduce-scatter",
    "all_to_all": "all-to-all",
    "broadcast": "broadcast",
    "p2p": "send-recv",
}
ANSWERS: dict[str, Callable[[Case], float]] = {}


def named(case: Case, shape: str, **keys: str) -> str:
    """The name of a bare topology with the links of a case."""
    links = {"bandwidth": f"{case['link_bandwidth_Bps']}B/s", "latency": f"{case['link_latency_s']}s", **keys}
    return ",".join([shape, *(f"{key}={value}" for key, value in links.items())])


def collective(shape: str, keys: dict[str, str] | None = None, **options: Any) -> Callable[[Case], float]:
    """Seconds of the case's collective on a topology given by name."""

    def answer(case: Case) -> float:
        operation = OPERATIONS[case["collective"]]
        name = named(case, shape, **(keys or {}))
        return topo.simulate(name, operation, case["message_bytes"], **({"certify": True} | options)).time_s

    return answer


def add(ids: str, answer: Callable[[Case], float]) -> None:
    """Register the answer of some cases."""
    for name in ids.split():
        assert name not in ANSWERS
        ANSWERS[name] = answer


# ---------------------------------------------------------------------------------------------- point to point


def uneven_path(case: Case) -> topo.Fabric:
    """A path whose cables differ."""
    shape = case["topology"]
    speeds = shape["bw"]
    delays = shape.get("lat", [0.0] * len(speeds))
    graph = nx.Graph()
    for i, (bandwidth, latency) in enumerate(zip(speeds, delays, strict=True)):
        graph.add_edge(i, i + 1, bandwidth=bandwidth, latency=latency)
    return topo.Fabric.from_networkx(graph)


def along_a_path(case: Case) -> float:
    return topo.simulate(uneven_path(case), "send-recv", case["message_bytes"], algorithm="direct").time_s


add("p2p_cutthrough_4hop", collective("path:5", algorithm="direct"))
add(
    "p2p_packets_4hop_k10",
    collective("path:5", algorithm="chain:form=one", chunks=10, switching="store-and-forward"),
)
add("p2p_bottleneck_path", along_a_path)

# ------------------------------------------------------------------------------------------------------- rings

add("ring4_rs_uni ring4_ar_uni ring4_ag_uni", collective("ring:4", algorithm="ring"))
for _ranks in (2, 5, 16):
    add(f"ring{_ranks}_ar_uni", collective(f"ring:{_ranks}", algorithm="ring"))
add("ring8_rs_uni", collective("ring:8", algorithm="ring"))
for _ranks in (3, 4, 5):
    add(f"ring{_ranks}_ar_bidir", collective(f"ring:{_ranks}", algorithm="bidirectional-ring"))
add(
    "ring8_broken_cable_ar_uni_sync",
    collective("ring:8", {"failed": "7-0"}, algorithm="ring", barrier=True),
)
add("ring4_ar_swing", collective("ring:4", algorithm="swing", barrier=True))
add("ring16_ar_swing", collective("ring:16", algorithm="swing", barrier=True))
add("torus4x4_ar_swing", collective("torus:4x4", algorithm="swing", barrier=True))
add("torus8x8_ar_swing", collective("torus:8x8", algorithm="swing", barrier=True))
# "Path without wrap": partners differ in one bit, so no shortest way passes the wrap of a ring half as long.
add(
    "ring16_ar_recdbl_congested",
    collective("path:16", algorithm="halving-doubling:order=near", barrier=True),
)

# ------------------------------------------------------------------------------------- one switch, a full mesh

add("star8_ar_oneshot", collective("switch:8", algorithm="one-shot"))
add("star8_ar_twoshot", collective("switch:8", algorithm="direct"))
add("star8_ar_ring", collective("switch:8", algorithm="ring"))
add("star8_ar_ring_4ch", collective("switch:8", algorithm="ring:channels=4"))
add("star8_ar_recdouble", collective("switch:8", algorithm="recursive-doubling"))
add("star8_ar_rhd", collective("switch:8", algorithm="halving-doubling"))
add("star6_ar_rhd_fold", collective("switch:6", algorithm="halving-doubling", barrier=True))
add("star8_a2a_direct", collective("switch:8", algorithm="direct"))
add("star8_a2a_pairwise", collective("switch:8", algorithm="pairwise", barrier=True))
add("star8_bcast_binomial", collective("switch:8", algorithm="binomial-tree"))
add("star8_ag_bruck", collective("switch:8", algorithm="bruck"))
add("star13_ag_bruck", collective("switch:13", algorithm="bruck"))
for _blocks in (1, 2, 4, 8):
    add(
        f"star16_ag_pat_A{_blocks}",
        collective("switch:16", algorithm=f"pat:aggregation={_blocks}", barrier=True),
    )
add("leafspine_2to1_a2a", collective("fat-tree:4x4", {"oversubscription": "2"}, algorithm="direct"))
add("mesh8_ar_twoshot", collective("full-mesh:8", algorithm="direct"))


def hot_receiver(case: Case) -> float:
    sizes = np.full((8, 8), 1e6)
    sizes[:, 0] = 4e6
    system = topo.load(named(case, "switch:8"))
    blocks = tuple(map(tuple, sizes.tolist()))
    what = Collective("all-to-all", 8, float(sizes.sum(axis=1)[0]), matrix=blocks)
    return simulate_collective(system, what, algorithm="direct").time_s


def incast(case: Case) -> float:
    """Sixteen senders to one receiver at once: what a direct reduction does."""
    name = named(case, "switch:17")
    return topo.simulate(name, "reduce", case["message_bytes"], algorithm="direct").time_s


add("star8_a2av_hot_receiver", hot_receiver)
add("star_incast16", incast)


def most_bytes_sent(case: Case) -> float:
    plan = topo.schedule(
        named(case, "switch:8"), "all-reduce", case["message_bytes"], algorithm="double-binary-tree"
    )
    return float(plan.bytes_sent().max())


add("star8_dbtree_max_tx_bytes", most_bytes_sent)
add("bintree15_ar_k10 bintree15_bcast_k10", collective("binary-tree:3", algorithm="binary-tree", chunks=10))

# -------------------------------------------------------------------------------------------- tori, all-to-all

add("torus3x5_ar_bucket_1dir", collective("torus:3x5", algorithm="bucket"))
add("torus3x5_ar_bucket_bidir", collective("torus:3x5", algorithm="bidirectional-bucket"))
add("torus4x4_ar_bucket_bidir", collective("torus:4x4", algorithm="bidirectional-bucket"))
for _shape in ("3x3x3", "4x4x4", "4x4"):
    add(f"torus{_shape}_ar_multidim", collective(f"torus:{_shape}", algorithm="concurrent-bucket"))
add(
    "torus4x4_ar_blueconnect_het",
    collective("torus:4x4", {"bandwidth": "100GB/s/25GB/s"}, algorithm="bucket"),
)
for _shape in ("4x4", "4x8", "4", "8", "5x5"):
    add(f"torus{_shape}_a2a_dor", collective(f"torus:{_shape}", algorithm="direct"))
add("line4_a2a", collective("path:4", algorithm="direct"))
for _shape in ("4x8x8", "4x4x8"):
    add(f"twisted{_shape}_a2a_ecmp", collective(f"twisted-torus:{_shape}", algorithm="direct"))
# Too many blocks for a proof chunk by chunk.
add("twisted8x16x16_a2a_ecmp", collective("twisted-torus:8x16x16", algorithm="direct", certify=False))

# -------------------------------------------------------------------------------- hierarchies, in-network, raw


def rails(case: Case) -> float:
    shape = case["topology"]
    keys = {
        "bandwidth": f"{shape['nv_bw']}B/s",
        "latency": f"{shape['nv_lat']}s",
        "nic": f"{shape['rail_bw']}B/s",
        "nic_latency": f"{shape['rail_lat']}s",
    }
    name = ",".join(["rail:3x4", *(f"{key}={value}" for key, value in keys.items())])
    return topo.simulate(
        name, "all-reduce", case["message_bytes"], algorithm="hierarchical", certify=True
    ).time_s


ABLE = {"multicast": "true", "reduce": "true"}
add("rail3x4_ar_hier_ring", rails)
add("sharp8_ar", collective("switch:8", ABLE, algorithm="sharp"))
add("nvls8_ar_pipelined_k50", collective("switch:8", ABLE, algorithm="nvls", chunks=50, barrier=True))
add("nvls8_ar_2phase nvls8_rs", collective("switch:8", ABLE, algorithm="nvls"))
add("nvls4_rs nvls4_ag", collective("switch:4", ABLE, algorithm="nvls"))


def two_bottlenecks(case: Case) -> float:
    links = dict(zip(("01", "12"), case["topology"]["bw"], strict=True))
    paths = {"A": ["01", "12"], "B": ["01"], "C": ["12"]}
    flows = [{"id": name, "size": case["message_bytes"], "path": path} for name, path in paths.items()]
    ends = topo.simulate_flows(links, flows, certify=True)
    assert ends["B"] == pytest.approx(0.125, rel=1e-9)
    return max(ends.values())


def parking_lot(case: Case) -> float:
    links = dict.fromkeys(("01", "12", "23"), case["link_bandwidth_Bps"])
    flows = [{"id": "long", "size": case["message_bytes"], "path": list(links)}]
    flows += [{"id": link, "size": case["message_bytes"], "path": [link]} for link in links]
    return max(topo.simulate_flows(links, flows, certify=True).values())


add("maxmin_two_bottlenecks", two_bottlenecks)
add("maxmin_parkinglot_L3_x1", parking_lot)

# ------------------------------------------------------------------------------------------------------ bounds


def exact_bound(fabric: Callable[[Case], topo.Fabric]) -> Callable[[Case], float]:
    """Seconds that no algorithm can beat, solved exactly."""

    def answer(case: Case) -> float:
        built = fabric(case)
        what = Collective(OPERATIONS[case["collective"]], built.ranks, case["message_bytes"])
        return lower_bound(what, built, exact=True).seconds

    return answer


def by_name(shape: str, **keys: str) -> Callable[[Case], topo.Fabric]:
    return lambda case: topo.load(named(case, shape, **keys)).fabric


def of_cables(*cables: tuple[str, str, int]) -> Callable[[Case], topo.Fabric]:
    """A fabric of cables that carry so many units each; nodes that begin with ``s`` are switches."""

    def built(case: Case) -> topo.Fabric:
        graph = nx.Graph()
        for a, b, units in cables:
            graph.add_edge(a, b, bandwidth=units * case["topology"]["unit_capacity_Bps"])
        for node in graph:
            graph.nodes[node]["kind"] = "switch" if node.startswith("s") else "accelerator"
        return topo.Fabric.from_networkx(graph)

    return built


def torus_without_a_node(case: Case) -> topo.Fabric:
    graph = topo.load(named(case, "torus:3x3")).fabric.to_networkx()
    graph.remove_node(next(iter(graph)))
    graph.graph.clear()
    return topo.Fabric.from_networkx(graph)


BOXES = [(f"g{i}", f"s{i // 4}", 10) for i in range(8)] + [(f"g{i}", "snet", 1) for i in range(8)]
SMALL_BOXES = [(f"g{i}", f"s{i // 3}", 10) for i in range(6)] + [(f"g{i}", "snet", 1) for i in range(6)]
TRIANGLES = [
    ("a0", "a1", 1),
    ("a1", "a2", 1),
    ("a2", "a0", 1),
    ("b0", "b1", 1),
    ("b1", "b2", 1),
    ("b2", "b0", 1),
]
add("agbound_star8", exact_bound(by_name("switch:8")))
add("agbound_path8", exact_bound(by_name("path:8")))
add("agbound_torus3x3_1node_down", exact_bound(torus_without_a_node))
add("agbound_dumbbell_2x3", exact_bound(of_cables(*TRIANGLES, ("a0", "b0", 1))))
add("agbound_twobox_2x4", exact_bound(of_cables(*BOXES)))
add("ar_lp_twobox_2x3", exact_bound(of_cables(*SMALL_BOXES)))
add("ar_lp_ring6", exact_bound(by_name("ring:6")))
add("ar_lp_star6_plain", exact_bound(by_name("switch:6")))
add("ar_lp_star6_multicast_only", exact_bound(by_name("switch:6", multicast="true")))
add("ar_lp_star6_mc_reduce", exact_bound(by_name("switch:6", **ABLE)))
add("ar_lp_torus3x3_cable_down", exact_bound(by_name("torus:3x3", failed="0.0-0.1")))
for _shape in ("torus4x4", "torus4x4x8", "twisted4x4x8", "twisted4x8x8", "twisted2x4x4"):
    _kind, _lengths = _shape.rstrip("0123456789x"), _shape.lstrip("abcdefghijklmnopqrstuvwyz")
    _program = "orbit_lp" if _lengths.endswith("8") else "mcf_lp"
    _name = f"{'twisted-torus' if _kind == 'twisted' else _kind}:{_lengths}"
    add(f"{_shape}_a2a_{_program}", exact_bound(by_name(_name)))

# ------------------------------------------------------------------------------------------------------- wafer


def cycles(pattern: str, **options: Any) -> Callable[[Case], float]:
    """Cycles of a reduce on a row of cores; a wavelet is a word of four bytes."""

    def answer(case: Case) -> float:
        shape = case["topology"]
        if options:
            return wafer.PATTERNS[pattern](shape["P"], case["message_bytes"] / 4, **options).cycles(
                shape["T_R"]
            )
        return wafer.reduce_cycles(pattern, shape["P"], case["message_bytes"] / 4, shape["T_R"])

    return answer


def on_a_wafer_grid(case: Case) -> float:
    shape = case["topology"]
    return wafer.xy_reduce_cycles(
        "chain", shape["rows"], shape["cols"], case["message_bytes"] / 4, shape["T_R"]
    )


for _row in ("P4_B8", "P512_B16", "P64_B256"):
    add(f"wse_chain_reduce_{_row}", cycles("chain"))
add("wse_star_reduce_P64_B4", cycles("star"))
add("wse_twophase_reduce_P256_S16_B32", cycles("two-phase", group=16))
add("wse_twophase_reduce_P64_S8_B64", cycles("two-phase", group=8))
add("wse_xy_chain_reduce_16x16_B64", on_a_wafer_grid)
add("wse_energy_dp_P8_D3", lambda case: wafer.least_energy(8, 3))


def test_every_case_has_an_answer() -> None:
    wanted = {name for name, case in CASES.items() if case["group"] in GROUPS}
    assert wanted == set(ANSWERS)
    assert len(wanted) == 91


@pytest.mark.parametrize("name", sorted(ANSWERS, key=lambda name: (GROUPS.index(CASES[name]["group"]), name)))
def test_oracle(name: str) -> None:
    case = CASES[name]
    assert ANSWERS[name](case) == pytest.approx(case["expected"], rel=case["tolerance_rel"])
