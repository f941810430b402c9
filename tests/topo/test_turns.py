"""Ways found once for all pairs that a turn joins, and trees over many domains."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import topo
from topo import turns
from topo.fabric import Fabric
from topo.network.program import compile_program
from topo.network.refine import refine
from topo.routing import find_routes
from topo.schedule import Schedule
from topo.turns import cycles, symmetric_block, turned_routes

CLUSTERS = (
    "trn2-ultra*5",
    "dgx-h100*64",
    "mi300x*6",
    "gb200-nvl72*3,scale_out=leaf-spine",
    "trn2*4",
    "rail:6x3",
)


def _assert_same(fabric: Fabric, source: np.ndarray, target: np.ndarray) -> None:
    plain, turned = find_routes(fabric, source, target), turned_routes(fabric, source, target)
    assert (plain.pointer == turned.pointer).all()
    np.testing.assert_allclose(plain.latency, turned.latency, rtol=1e-12)
    rows = plain.rows()
    order, turned_order = (np.lexsort((routes.link, rows)) for routes in (plain, turned))
    assert (plain.link[order] == turned.link[turned_order]).all()
    np.testing.assert_allclose(plain.fraction[order], turned.fraction[turned_order], rtol=1e-12)


@given(data=st.data())
@pytest.mark.parametrize("name", CLUSTERS)
def test_turned_ways_are_those_of_the_pairs_themselves(name: str, data: st.DataObject) -> None:
    fabric = topo.load(name).fabric
    block = symmetric_block(fabric)
    assert block is not None
    pairs = st.tuples(st.integers(0, block - 1), st.integers(1, fabric.ranks - 1))
    near = np.asarray(data.draw(st.lists(pairs, min_size=1, max_size=4)))
    # The same pairs in every block, so that there is something to find again.
    begin = np.arange(0, fabric.ranks, block)[:, None]
    source = (near[:, 0] + begin).ravel()
    target = (near.sum(axis=1) + begin).ravel() % fabric.ranks
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(turns, "MANY_PAIRS", 0)
        patch.setattr(turns, "FEWER", 1)
        _assert_same(fabric, source, target)


@pytest.mark.parametrize("name", CLUSTERS)
def test_a_turn_takes_each_link_to_the_next_of_its_cycle(name: str) -> None:
    fabric = topo.load(name).fabric
    block = symmetric_block(fabric)
    assert block is not None
    found = cycles(fabric, block)
    links = np.arange(fabric.links)
    assert sorted(found.link.tolist()) == links.tolist()
    once = found.turned(links, np.ones_like(links))
    between = fabric.rank_of_node[fabric.source], fabric.rank_of_node[fabric.target]
    direct = (between[0] >= 0) & (between[1] >= 0)
    for ends in between:
        assert ((ends[direct] + block) % fabric.ranks == ends[once[direct]]).all()
    assert (found.turned(once, -np.ones_like(links)) == links).all()


def _broadcast(name: str) -> tuple[Schedule, Fabric]:
    system = topo.load(name)
    return topo.schedule(system, "broadcast", "16MiB", algorithm="hierarchical:across=binary"), system.fabric


def test_domains_of_a_level_do_the_same() -> None:
    """Classes of transfers grow with the levels of the tree over the domains, not with the domains."""
    classes = []
    for domains in (63, 255):
        found = refine(compile_program(*_broadcast(f"trn2*{domains}")))
        assert found is not None
        classes.append(len(found.row_first))
    assert classes[1] < 2 * classes[0]
