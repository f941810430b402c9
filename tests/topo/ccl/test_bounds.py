"""No library is faster than physics: whatever it chooses, no link carries more than it can."""

from __future__ import annotations

import pytest

import topo
from topo.algorithms import Site
from topo.ccl import load, names
from topo.ccl.choose import offered
from topo.ccl.place import place_of
from topo.collective import OPERATIONS, Collective
from topo.library import system_links
from topo.simulate import group_of
from topologies import load as load_system

SYSTEMS = (
    "dgx-h100",
    "dgx-h100*2",
    "mi300x",
    "trn2",
    "tpu-v4:2x2x2",
    "gaudi3",
    "dgx-a100*2",
    "gb200-nvl36",
)
LIBRARIES = [name for name in names() if name != "ideal"]
MOVING = [name for name in OPERATIONS if name != "barrier"]
SIZES = ("256MiB", "3GiB", "16GiB")


@pytest.mark.parametrize("operation", MOVING)
@pytest.mark.parametrize("system", SYSTEMS)
def test_no_time_of_a_large_collective_lies_below_its_bound(system, operation):
    for size in SIZES:
        found = topo.simulate(system, operation, size)
        assert found.ccl != "ideal"
        assert found.time_s >= found.bound_s * (1 - 1e-9), (size, found.algorithm)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("operation", MOVING)
def test_no_library_is_faster_than_the_bound_anywhere(library, operation):
    for system in ("dgx-h100*2", "mi300x"):
        found = topo.simulate(system, operation, "4GiB", ccl=library)
        assert found.time_s >= found.bound_s * (1 - 1e-9), (system, found.algorithm)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", SYSTEMS)
def test_no_term_makes_a_link_faster_than_it_is(library, name):
    ccl, system = load(library), load_system(name)
    place = place_of(Site(system.fabric, group_of(system.fabric, None)), system_links(system, ccl))
    for operation in MOVING:
        for size in (8, 2**20, 2**28, 2**34):
            for call in offered(ccl, Collective(operation, place.ranks, size), place):
                assert min(*call.terms.factor, call.terms.switch_factor) >= 1, (operation, size, call)
                assert min(*call.terms.extra, call.terms.switch_extra) >= 0, (operation, size, call)


@pytest.mark.parametrize("operation", ["broadcast", "reduce"])
@pytest.mark.parametrize("size", ["2GiB", "4GiB"])
def test_a_line_through_many_domains_keeps_its_busiest_links_busy(operation, size):
    found = topo.simulate("dgx-h100*8", operation, size)
    # Above the bound are the filling of the line, the reach of links, and the protocol at the root's port.
    assert 1 <= found.bound_ratio < 1.4
    assert found.bottleneck_utilisation > 0.85


def test_a_line_has_no_gain_from_hops_that_are_left_out():
    small, large = (topo.simulate("dgx-h100*8", "broadcast", size).time_s for size in ("8", "64KiB"))
    assert small < large
    fewer = topo.simulate("dgx-h100*8", "broadcast", "8", ranks=[rank for rank in range(64) if rank % 8 < 4])
    # Every domain holds four of the ranks instead of eight: fewer hops, each a step of the protocol and two links.
    assert fewer.time_s < small - 4e-7
