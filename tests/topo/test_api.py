"""The public face of the package."""

from __future__ import annotations

import configparser
import subprocess
import sys
from pathlib import Path

import networkx as nx
import pytest

import topo
from topo.errors import CatalogueError, CollectiveError, UnitError

ROOT = Path(__file__).parents[2]


def test_everything_public_is_there() -> None:
    for name in topo.__all__:
        assert getattr(topo, name) is not None
        assert name in dir(topo)
    with pytest.raises(AttributeError, match="no attribute 'simulat'"):
        topo.simulat  # noqa: B018


def test_version_is_that_of_the_distribution() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    assert setup["metadata"]["version"] in (topo.__version__, "attr: topo.__version__")


def test_import_costs_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys, topo; print({'numpy', 'networkx', 'click'} & set(sys.modules))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "set()\n"


def test_functions_stay_when_modules_of_the_same_name_are_imported() -> None:
    from topo.schedule import Schedule
    from topo.simulate import simulate

    assert callable(topo.schedule) and callable(topo.simulate)
    assert topo.simulate is not simulate
    assert isinstance(topo.schedule("ring:4", "all-reduce", "1MB", algorithm="ring"), Schedule)


def test_a_system_a_fabric_and_a_name_are_the_same() -> None:
    system = topo.load("torus:4x4")
    times = {
        topo.simulate(it, "all-reduce", "1MB", algorithm="bucket").time_s
        for it in (system, system.fabric, "torus:4x4")
    }
    assert len(times) == 1


def test_a_graph_of_ones_own() -> None:
    graph = nx.petersen_graph()
    nx.set_edge_attributes(graph, "50GB/s", "bandwidth")
    nx.set_edge_attributes(graph, 1e-6, "latency")
    result = topo.simulate(topo.Fabric.from_networkx(graph, name="petersen"), "all-gather", 1 << 20)
    assert (result.system, result.ranks) == ("petersen", 10)
    assert result.time_s >= result.bound_s
    with pytest.raises(CatalogueError, match=r"Fabric\.from_networkx"):
        topo.simulate(graph, "all-gather", "1MB")  # type: ignore[arg-type]


def test_schedules_prove_themselves() -> None:
    schedule = topo.schedule("dgx-h100*2", "all-reduce", "1MB", algorithm="hierarchical", chunks=2)
    schedule.verify()
    assert schedule.collective.ranks == 16
    part = topo.schedule("ring:8", "broadcast", "1MB", algorithm="chain", ranks=[1, 2, 3], root=2)
    assert (part.collective.ranks, part.collective.root) == (3, 2)


def test_sizes_are_checked() -> None:
    for size in (0, "0", -1, float("nan"), "64M"):
        with pytest.raises((CollectiveError, UnitError)):
            topo.simulate("ring:4", "all-reduce", size)
    assert topo.simulate("ring:4", "barrier").time_s > 0
