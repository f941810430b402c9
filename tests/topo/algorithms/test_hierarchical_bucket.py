"""Domains that are grids: found by their links, reduced dimension by dimension, joined over rails."""

from __future__ import annotations

import numpy as np
import pytest

from tests.topo.algorithms.sites import built, collective_on, seconds
from topo.algorithms import Site, build, find, refusal, with_variants
from topo.algorithms.domain_grids import domain_grid
from topo.bounds import lower_bound
from topo.collective import Collective
from topo.errors import AlgorithmError
from topo.fabric import Fabric, Grid
from topologies import load

SIZE = 1 << 26


def _site(fabric: Fabric) -> Site:
    return Site(fabric, np.arange(fabric.ranks))


@pytest.mark.parametrize(
    ("name", "shape", "wrap"),
    [
        ("wse3*3,blocks=3x4", (3, 4), (False, False)),
        ("tpu-v5e:4x16*3", (4, 16), (False, True)),
        ("tpu-v5e:4x8*2", (4, 8), (False, False)),
        ("trn2-ultra*2", (4, 4, 4), (True, True, True)),
        ("tpu-v4:2x2x4*2", (2, 2, 4), (True, True, False)),
    ],
)
def test_grids_are_found_by_their_links(name: str, shape: tuple[int, ...], wrap: tuple[bool, ...]) -> None:
    assert domain_grid(_site(load(name).fabric)) == Grid(shape, wrap)


@pytest.mark.parametrize("name", ["dgx-h100*2", "mi300x*2", "tpu-v4:4x4x8*2,twisted=true", "dgx1-v100*2"])
def test_other_domains_are_none(name: str) -> None:
    fabric = load(name).fabric
    assert domain_grid(_site(fabric)) is None
    why = refusal(find("hierarchical-bucket"), Collective("all-reduce", fabric.ranks, 8.0), _site(fabric))
    assert "grids of two or more dimensions" in why


def test_one_domain_is_refused() -> None:
    fabric = load("torus:4x4").fabric
    why = refusal(find("hierarchical-bucket"), Collective("all-reduce", 16, 8.0), _site(fabric))
    assert "two scale-up domains" in why


@pytest.mark.parametrize("operation", ["all-reduce", "all-gather", "reduce-scatter"])
@pytest.mark.parametrize("name", ["wse3*4,blocks=3x4", "tpu-v5e:4x4*3", "tpu-v5e:2x4*2", "tpu-v4:2x2x4*2"])
def test_every_form_proves_itself_above_the_bound(name: str, operation: str) -> None:
    fabric = load(name).fabric
    collective = Collective(operation, fabric.ranks, SIZE)
    forms = with_variants(find("hierarchical-bucket"), collective, _site(fabric))
    assert len(forms) >= 1
    bound = lower_bound(collective, fabric, np.arange(fabric.ranks)).seconds
    for entry in forms:
        for chunks in (1, 3):
            schedule = built(entry.name, fabric, collective, chunks)
            assert seconds(schedule, fabric, certify=True) >= bound * (1 - 1e-9)


def test_wafers_under_a_tree_that_adds_take_their_share_of_the_interfaces() -> None:
    """S over what a wafer's interfaces carry, and the fill of the pipeline."""
    fabric = load("wse3*4,blocks=3x4").fabric
    collective = collective_on(fabric, "all-reduce", 1 << 30)
    time = seconds(build("hierarchical-bucket:across=sharp", collective, _site(fabric), 16), fabric)
    assert (1 << 30) / 150e9 < time < 1.03 * (1 << 30) / 150e9


def test_slices_of_a_torus_come_near_the_bound() -> None:
    fabric = load("tpu-v5e*2").fabric
    collective = Collective("all-reduce", fabric.ranks, 1 << 28)
    bound = lower_bound(collective, fabric, np.arange(fabric.ranks)).seconds
    time = seconds(build("hierarchical-bucket", collective, _site(fabric), 4), fabric)
    assert bound < time < 1.1 * bound


def test_trees_and_streams_reduce_all_or_nothing() -> None:
    fabric = load("tpu-v5e:2x4*2").fabric
    for across in ("tree", "sharp"):
        with pytest.raises(AlgorithmError, match=f"across={across} does not do all-gather; take across=ring"):
            build(f"hierarchical-bucket:across={across}", collective_on(fabric, "all-gather"), _site(fabric))
