"""System names: what they mean, and what is said when they are wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.topologies.graphs import links_by_ends
from topo.errors import CatalogueError, TopoError
from topologies import load
from topologies.names import parse


@pytest.mark.parametrize(
    ("text", "name", "shape", "count", "options"),
    [
        ("ring:8", "ring", "8", None, {}),
        (" torus:4x4 , bandwidth = 1GB/s ", "torus", "4x4", None, {"bandwidth": "1GB/s"}),
        ("dgx-h100*128", "dgx-h100", "", 128, {}),
        ("tpu-v4:4x4x8*2,nic=25GB/s,failed=a-b", "tpu-v4", "4x4x8", 2, {"nic": "25GB/s", "failed": "a-b"}),
        ("some/where:odd/rack.yaml", "some/where:odd/rack.yaml", "", None, {}),
        ("rack.yaml:4x4*3,nic=1GB/s", "rack.yaml", "4x4", 3, {"nic": "1GB/s"}),
        ("My Graph.GraphML*2", "My Graph.GraphML", "", 2, {}),
        ("fat-tree:4x4,oversubscription=7:1", "fat-tree", "4x4", None, {"oversubscription": "7:1"}),
    ],
)
def test_parse(text: str, name: str, shape: str, count: int | None, options: dict[str, str]) -> None:
    found = parse(text)
    assert (found.name, found.shape, found.count, found.options) == (name, shape, count, options)


@given(st.text(max_size=40) | st.text("ringtorus:*x,=@+-/.0123456789GBus", max_size=40))
def test_any_text_is_taken_apart_or_refused(text: str) -> None:
    try:
        found = parse(text)
    except TopoError as error:
        assert "\n" not in str(error)
    else:
        assert found.name


small = st.text("x0123", max_size=4)


@given(
    st.sampled_from(
        ["ring", "torus", "mesh", "switch", "rail", "fat-tree", "dragonfly", "hypercube", "nonsense"]
    ),
    small,
    st.sampled_from(["", "*2", "*0", "*x", "*"]),
    st.lists(
        st.tuples(
            st.sampled_from(
                ["bandwidth", "latency", "nic", "unit", "failed", "spines", "bandwith", "reduce"]
            ),
            st.sampled_from(
                ["1GB/s", "1us", "0", "-1", "nan", "2", "true", "0-1", "1@seed1", "1GB/s/2GB/s", ""]
            ),
        ),
        max_size=3,
    ),
)
def test_any_name_loads_or_is_refused_in_one_line(
    name: str, shape: str, count: str, options: list[tuple[str, str]]
) -> None:
    text = ",".join([f"{name}:{shape}{count}", *(f"{key}={value}" for key, value in options)])
    if shape.count("x") == 0 and len(shape) > 3:
        return
    try:
        system = load(text)
    except TopoError as error:
        assert str(error)
        assert "\n" not in str(error)
    else:
        assert system.fabric.name == system.name == text
        system.fabric.require_connected()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no system name; a name is NAME"),
        ("torsu:4x4", "unknown system 'torsu'; did you mean 'torus'"),
        ("dgx-h10", "did you mean 'dgx-h100'"),
        ("ring", "ring needs a shape; write ring:N, for example ring:5"),
        ("ring:", "nothing after the colon"),
        ("ring:eight", "'eight' is no shape; write ring:N"),
        ("ring:1", "ring length 1 is too small; use 2 or more"),
        ("ring:4x4", r"wrong number of dimensions \(2\); write ring:N"),
        ("ring:999999999", "999,999,999 nodes; the limit is 2,000,000"),
        ("full-mesh:99999", "directed links; the limit"),
        ("torus:9999x9999", "too large"),
        ("ring:8,", "'' is not key=value"),
        ("ring:8,bandwidth", "'bandwidth' is not key=value"),
        ("ring:8,bandwith=1GB/s", "ring has no key 'bandwith'; did you mean 'bandwidth'"),
        ("ring:8,bandwidth=50GB", "bandwidth '50GB': 'GB' is no unit of bandwidth"),
        ("ring:8,bandwidth=0GB/s", "not above zero"),
        ("ring:8,bandwidth=-5GB/s", "not above zero"),
        ("ring:8,bandwidth=nan", "cannot be read"),
        ("ring:8,latency=-1us", "below zero"),
        ("ring:8,latency=soon", "latency=soon: time 'soon' cannot be read; for example 1us"),
        ("ring:8,latency=1us,latency=2us", "latency is given twice"),
        ("torus:4x4,bandwidth=1GB/s/2GB/s/3GB/s", r"3 values for 2 \(dimension\); give one value, or 2"),
        ("torus:0x4", "length of a torus dimension 0 is too small"),
        ("fat-tree:3", "even number of ports"),
        ("fat-tree:4,oversubscription=2", "non-blocking k-ary form"),
        ("fat-tree:4x4,oversubscription=0", "oversubscription=0: '0' is no ratio above zero"),
        ("dragonfly:50x2x2,global_links=3", "use global_links=25"),
        ("rail:4x8,bandwidth=1GB/s/2GB/s,nic=3GB/s", "given twice"),
        (
            "switch:8,nic=25GB/s",
            r"nic belongs to the network that joins several domains; write switch:8\*COUNT",
        ),
        ("switch:8*2,scale_out=rials", "network 'rials' is unknown; did you mean 'rail"),
        ("switch:8*0", "'0' is no number of domains"),
        ("switch:8*1000000", "the limit is 16,000,000"),
        ("switch:8,multicast=maybe", "neither true nor false"),
        ("switch:8,in_network=true,reduce=true", "both given"),
        ("ring:8,failed=0-9", "node '9' is not in ring:8; its nodes are 0, 1, 2"),
        ("ring:8,failed=0-2", "no cable 0-2"),
        ("ring:8,failed=0-1-2", r"'0-1-2' is no cable and no accelerator; write failed=a-b"),
        ("ring:8,failed=3@7", "is no cable and no accelerator; write failed=a-b, failed=a-b.c-d"),
        ("ring:8,failed=9", "node '9' is not in ring:8"),
        ("switch:4,failed=switch0", "'switch0' is no accelerator; name its cables"),
        ("ring:8,failed=0+4", "disconnected"),
        ("ring:8,failed=8chips@seed7", "ring:8 has 8 accelerators; use a number from 1 to 7"),
        ("ring:8,failed=0chips@seed7", "has 8 accelerators"),
        ("ring:8,failed=4chips@seed3", "failed=4chips@seed3 removes .*disconnected.*fewer accelerators"),
        ("ring:8,failed=9@seed7", "has 8 cables; use a number from 1 to 8"),
        ("ring:8,failed=0@seed7", "has 8 cables"),
        ("ring:8,failed=0-1+4-5", "disconnected"),
        ("ring:8,failed=4@seed3", "failed=4@seed3 removes .*disconnected.*another seed"),
        ("switch:4,failed=gpu0-switch0", "disconnected"),
        ("nowhere.yaml", "no file nowhere.yaml"),
        ("nowhere.graphml", "cannot read nowhere.graphml"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    with pytest.raises(TopoError, match=said):
        load(text)


def test_options_may_be_numbers() -> None:
    system = load("torus:4x4", bandwidth=(100e9, 25e9), latency=2e-6)
    assert system.name == "torus:4x4,bandwidth=100000000000B/s/25000000000B/s,latency=2e-06s"
    again = load(system.name)
    assert links_by_ends(again.fabric) == links_by_ends(system.fabric)
    assert load("switch:4", reduce=True).fabric.reduce.any()
    with pytest.raises(TopoError, match="given twice"):
        load("ring:8,latency=1us", latency=1e-6)
    with pytest.raises(TopoError, match="no system name"):
        load(8)


def test_bare_topologies_are_ideal() -> None:
    system = load("torus:4x4")
    assert (system.name, system.library, system.chip) == ("torus:4x4", "ideal", None)


def test_failed_removes_one_cable_in_both_directions() -> None:
    whole, damaged = load("torus:2x4").fabric, load("torus:2x4,failed=0.0-1.0+0.1-0.2").fabric
    assert damaged.name == "torus:2x4,failed=0.0-1.0+0.1-0.2"
    before, after = links_by_ends(whole), links_by_ends(damaged)
    assert before["0.0", "1.0"] == (100e9, 1e-6, 2)
    assert after["0.0", "1.0"] == after["1.0", "0.0"] == (50e9, 1e-6, 1)
    assert ("0.1", "0.2") not in after
    assert ("0.2", "0.1") not in after
    assert len(after) == len(before) - 2


def test_failed_at_random_is_repeatable() -> None:
    whole = load("torus:4x4").fabric
    one, same, other = (load(f"torus:4x4,failed=3@seed{seed}").fabric for seed in (7, 7, 8))
    assert links_by_ends(one) == links_by_ends(same)
    assert links_by_ends(one) != links_by_ends(other)
    assert whole.cables.sum() - one.cables.sum() == 6


def test_a_failed_accelerator_leaves_with_its_cables() -> None:
    whole, damaged = load("torus:4x4").fabric, load("torus:4x4,failed=1.2").fabric
    assert damaged.ranks == 15
    assert damaged.grid is None
    before, after = links_by_ends(whole), links_by_ends(damaged)
    assert after == {ends: link for ends, link in before.items() if "1.2" not in ends}
    both = load("dgx-h100*2,failed=n0.gpu1+n1.gpu0-leaf0").fabric
    assert [int((both.domain == domain).sum()) for domain in (0, 1)] == [7, 8]
    assert ("n1.gpu0", "leaf0") not in links_by_ends(both)


def test_failed_accelerators_at_random() -> None:
    """A switch with its survivors is the switch of that many."""
    import topo

    one, same, other = (load(f"torus:4x4,failed=2chips@seed{seed}").fabric for seed in (7, 7, 8))
    assert one.nodes == same.nodes != other.nodes
    assert one.ranks == 14
    rest, smaller = topo.simulate("switch:8,failed=2chips@seed1", "all-reduce", "6MiB"), "switch:6"
    assert rest.time_s == pytest.approx(topo.simulate(smaller, "all-reduce", "6MiB").time_s, rel=1e-9)
    gone = load("switch:2*3,failed=n1.gpu0+n1.gpu1").fabric
    assert list(gone.domain) == [0, 0, 1, 1]


def test_failed_at_random_picks_cables_not_edges() -> None:
    """On one edge of 9 cables and one of 1, the single cable is hit about once in ten draws."""
    import networkx as nx

    from topo.fabric import Fabric
    from topologies.failures import remove

    graph = nx.Graph()
    graph.add_edge("a", "b", bandwidth=1e9, cables=18)
    graph.add_edge("b", "c", bandwidth=1e9, cables=2)
    fabric = Fabric.from_networkx(graph)
    hits = [remove(fabric, f"1@seed{seed}").cables.min() == 1 for seed in range(400)]
    assert np.mean(hits) == pytest.approx(0.1, abs=0.05)


def test_catalogue_names_take_the_same_suffixes() -> None:
    system = load("dgx-h100*4,nic=25GB/s,failed=n0.gpu0-leaf0")
    assert system.name == system.fabric.name == "dgx-h100*4,nic=25GB/s,failed=n0.gpu0-leaf0"
    assert system.chip is not None
    assert system.fabric.ranks == 32
    links = links_by_ends(system.fabric)
    assert ("n0.gpu0", "leaf0") not in links
    assert links["n0.gpu1", "leaf1"][0] == 25e9


def test_catalogue_file_loads(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nbase: trn2-ultra\n")
    assert load(str(path)).fabric.ranks == 64


def test_bare_names_need_neither_pydantic_nor_scipy() -> None:
    code = (
        "import sys, topologies; topologies.load('torus:4x4*2'); "
        "print([m for m in ('pydantic', 'scipy', 'matplotlib', 'yaml', 'numba') if m in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"


def test_a_count_behind_the_keys_is_sent_to_its_place() -> None:
    with pytest.raises(CatalogueError, match=r"\*2 stands behind a key; .* NAME\*2,blocks=3x4"):
        parse("wse3,blocks=3x4*2")
