"""Every machine of the catalogue carries the standard collectives: verified, and never faster than the bound."""

from __future__ import annotations

import numpy as np
import pytest

import topo
from tests.topo.algorithms.sites import seconds
from topo.bounds import bisection, lower_bound
from topo.collective import Collective
from topo.fabric import Fabric, Grid
from topo.translation import link_orbits
from topologies import load
from topologies.catalogue import system_names

# Small cuts of the machines that have a shape; a machine without one is taken whole.
SLICES = {
    "tpu-v2": "tpu-v2:4x4",
    "tpu-v3": "tpu-v3:4x4",
    "tpu-v4": "tpu-v4:2x2x2",
    "tpu-v5e": "tpu-v5e:4x4",
    "tpu-v5p": "tpu-v5p:2x2x2",
    "tpu-v6e": "tpu-v6e:4x4",
    "tpu-v7": "tpu-v7:2x2x2",
    "tpu-8t": "tpu-8t:2x2x2",
    "wse2": "wse2,blocks=3x4",
    "wse3": "wse3,blocks=3x4",
    "dojo": "dojo:1x1",
    "atlas950": "atlas950,assume=ideal-switch,accelerators=16",
    "helios-mi455x": "helios-mi455x,accelerators=8",
    "rubin-ultra-nvl576": "rubin-ultra-nvl576,accelerators=8",
    "vera-rubin-nvl72": "vera-rubin-nvl72,accelerators=8",
    "gb200-nvl36": "gb200-nvl36,accelerators=8",
    "gb200-nvl72": "gb200-nvl72,accelerators=8",
    "gb300-nvl72": "gb300-nvl72,accelerators=8",
}
FEW = 8
SIZE = 1 << 20


def _small(name: str) -> str:
    return SLICES.get(name, name)


@pytest.mark.parametrize("name", system_names())
def test_standard_collectives_are_verified_and_above_the_bound(name: str) -> None:
    system = load(_small(name))
    ranks = min(FEW, system.accelerators)
    for operation, algorithm in (
        ("all-reduce", "ring"),
        ("all-gather", "ring"),
        ("reduce-scatter", "ring"),
        ("all-to-all", "direct"),
        ("broadcast", "binomial-tree"),
    ):
        schedule = topo.schedule(system, operation, SIZE, algorithm=algorithm, ranks=ranks)
        schedule.verify()
        collective = Collective(operation, ranks, SIZE)
        bound = lower_bound(collective, system.fabric, np.arange(ranks))
        taken = seconds(schedule, system.fabric, certify=True)
        assert bound.seconds > 0
        assert taken >= bound.seconds * (1 - 1e-9), (operation, bound.kind)


@pytest.mark.parametrize("name", system_names())
def test_a_machine_is_connected_and_full_duplex(name: str) -> None:
    fabric = load("atlas950,assume=ideal-switch" if name == "atlas950" else name).fabric
    fabric.require_connected()
    back = fabric.links_between(fabric.target, fabric.source)
    assert (back >= 0).all()
    assert (fabric.bandwidth[back] == fabric.bandwidth).all()


def _line(fabric: Fabric) -> Grid:
    return Grid((fabric.ranks,), (True,))


@pytest.mark.parametrize(
    "name",
    [
        "tpu-v4:4x4x8",
        "tpu-v4:4x4x8,twisted=true",
        "tpu-v5e:16x16",
        "tpu-v7",
        "tpu-8t",
        "trn1",
        "trn2",
        "trn2-ultra",
    ],
)
def test_closed_slices_look_alike_from_every_chip(name: str) -> None:
    fabric = load(name).fabric
    assert fabric.grid is not None
    assert link_orbits(fabric, fabric.grid) is not None


@pytest.mark.parametrize(
    "name", ["dgx-h100", "hgx-b200", "gb200-nvl72", "vera-rubin-nvl72", "mi300x", "gaudi3", "maia100"]
)
def test_switched_domains_and_full_meshes_look_alike_from_every_accelerator(name: str) -> None:
    fabric = load(name).fabric
    assert link_orbits(fabric, _line(fabric)) is not None


@pytest.mark.parametrize("name", ["tpu-v5e:8x8", "tpu-v4:2x2x4", "wse3", "dgx1-v100"])
def test_open_grids_and_the_hybrid_cube_mesh_do_not(name: str) -> None:
    fabric = load(name).fabric
    assert link_orbits(fabric, fabric.grid or _line(fabric)) is None


# Closed forms: torus 2 N/L B, mesh N/L B over the longest dimension L; a switch N/2 of an accelerator's egress;
# a full mesh (N/2)^2 cables.
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tpu-v4:8x8x16", 2 * 64 * 50e9),
        ("tpu-v5p:16x20x28", 2 * 320 * 100e9),
        ("tpu-v5e:16x16", 2 * 16 * 50e9),
        ("tpu-v5e:8x8", 8 * 50e9),
        ("trn2-ultra", 2 * 16 * 64e9),
        ("dgx-a100", 4 * 300e9),
        ("dgx-h100", 4 * 450e9),
        ("gb200-nvl72", 36 * 900e9),
        ("gb200-nvl36x2", 36 * 900e9),
        ("vera-rubin-nvl72", 36 * 1800e9),
        ("mi300x", 16 * 64e9),
        ("gaudi3", 16 * 3 * 25e9),
        ("cloudmatrix384", 192 * 392e9),
        ("tpu-v2", 2 * 16 * 62e9),
        ("tpu-v3", 2 * 32 * 82e9),
        ("tpu-v6e", 3.2e12),  # as Google prints it
        ("tpu-v7:4x4x8", 2 * 16 * 100e9),
        ("tpu-8t:4x4x8", 2 * 16 * 200e9),
        ("trn1", 2 * 4 * 48e9),
        ("trn2", 2 * 4 * 128e9),
        ("trn3-gen1", 32 * 2 * 64e9),
        ("trn3-gen2", 72 * 2 * 64e9),
        ("dgx1-v100", 6 * 25e9),
        ("hgx-h200", 4 * 450e9),
        ("hgx-h800", 4 * 200e9),
        ("hgx-b200", 4 * 900e9),
        ("gb200-nvl36", 18 * 900e9),
        ("gb300-nvl72", 36 * 900e9),
        ("rubin-ultra-nvl576", 72 * 5200e9),
        ("helios-mi455x", 36 * 1800e9),
        ("mi325x", 16 * 64e9),
        ("mi355x", 16 * 76.8e9),
        ("gaudi2", 16 * 3 * 12.5e9),
        ("ascend-910b", 16 * 28e9),
        ("maia100", 4 * 3 * 50e9),
        ("mtia-v2", 12 * 32e9),
        ("pcie-heap", 4 * 32e9),
        ("ipu-pod64", 2 * 2 * 3 * 16e9),
        ("atlas950,assume=ideal-switch", 4096 * 840e9),
        ("dojo", 3 * 4.5e12),
        ("wse2", 757 * 4.0e9),
        ("wse3", 762 * 3.72e9),
        ("dgx-h100*64", 256 * 50e9),
        ("dgx-h100*64,oversubscription=4", 256 * 50e9 / 4),
    ],
)
def test_bisection_is_the_closed_form(name: str, expected: float) -> None:
    assert bisection(load(name).fabric)[0] == pytest.approx(expected, rel=0.01)


# Dragonflies: full meshes of eight, and cables between groups, cut where the ranks are halved.
def test_bisection_of_the_dragonfly_of_nodes() -> None:
    """33 nodes, 16 on one side and half of the 17th: 17 local cables (4 x 4), and those between the nodes."""
    fabric = load("groq-264").fabric
    node = np.arange(264) // 8
    first = np.arange(264) < 132
    crossing = first[fabric.rank_of_node[fabric.source]] & ~first[fabric.rank_of_node[fabric.target]]
    halves, found = bisection(fabric)[0], fabric.bandwidth[crossing].sum()
    assert halves == pytest.approx(found)
    whole = (node[fabric.source] < 16) & (node[fabric.target] > 16)
    assert whole.sum() == 16 * 16
