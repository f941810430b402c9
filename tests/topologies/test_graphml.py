"""GraphML files: fabrics of other people, and hostile ones."""

from __future__ import annotations

from pathlib import Path

import networkx as nx
import pytest

from tests.topologies.graphs import links_by_ends
from topo.errors import TopoError
from topologies import load

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
EMPTY = '<graphml xmlns="http://graphml.graphdrawing.org/xmlns"><graph edgedefault="undirected"/></graphml>'


def written(path: Path, graph: nx.Graph) -> str:
    nx.write_graphml(graph, path)
    return str(path)


def test_fabric_of_a_file(tmp_path: Path) -> None:
    graph = nx.Graph()
    for i in range(4):
        graph.add_node(f"gpu{i}", kind="accelerator", domain=i // 2, x=float(i), y=0.0)
    graph.add_node("hub", kind="switch", multicast=True, reduce="false", position="1.5,1")
    for i in range(4):
        graph.add_edge(f"gpu{i}", "hub", bandwidth="50GB/s", latency=1e-6, cables=2)
    name = written(tmp_path / "star.graphml", graph)
    fabric = load(name).fabric
    assert fabric.name == name
    assert fabric.nodes == ("gpu0", "gpu1", "gpu2", "gpu3", "hub")
    assert fabric.domain.tolist() == [0, 0, 1, 1]
    assert fabric.position[4].tolist() == [1.5, 1.0]
    assert fabric.multicast.any()
    assert not fabric.reduce.any()
    assert links_by_ends(fabric)["hub", "gpu2"] == (100e9, 1e-6, 2)
    joined = load(f"{name}*3,nic=10GB/s").fabric
    assert joined.ranks == 12
    assert load(f"{name},failed=gpu0-hub").fabric.bandwidth.min() == 50e9


def test_parallel_edges_become_cables(tmp_path: Path) -> None:
    graph = nx.MultiGraph()
    for _ in range(3):
        graph.add_edge("a", "b", bandwidth=10e9, latency=1e-6)
    graph.add_edge("b", "c", bandwidth=10e9)
    fabric = load(written(tmp_path / "multi.graphml", graph)).fabric
    assert links_by_ends(fabric)["a", "b"] == (30e9, 1e-6, 3)
    assert links_by_ends(fabric)["b", "c"] == (10e9, 0.0, 1)


def test_directed_edges_stay_one_way(tmp_path: Path) -> None:
    graph = nx.DiGraph()
    for i in range(3):
        graph.add_edge(i, (i + 1) % 3, bandwidth=10e9)
    assert load(written(tmp_path / "one-way.graphml", graph)).fabric.links == 3


@pytest.mark.parametrize(
    ("edges", "said"),
    [
        ([("a", "b", {})], "edge 'a' -> 'b' has no bandwidth"),
        ([("a", "b", {"bandwidth": -1.0})], "edge 'a' -> 'b': bandwidth"),
        ([("a", "b", {"bandwidth": "50GB"})], "edge 'a' -> 'b': bandwidth '50GB'"),
        ([("a", "b", {"bandwidth": 1e9, "latency": "x"})], "edge 'a' -> 'b': time 'x'"),
        ([("a", "b", {"bandwidth": 1e9, "cables": 0})], "cables 0 is not a whole number"),
        ([("a", "b", {"bandwidth": 1e9, "cables": 1.5})], "cables 1.5 is not a whole number"),
        ([("a", "b", {"bandwidth": 1e9, "cables": "two"})], "edge 'a' -> 'b'"),
        ([("a", "b", {"bandwidth": 1e9}), ("c", "d", {"bandwidth": 1e9})], "disconnected"),
        ([("a", "a", {"bandwidth": 1e9})], "to itself"),
    ],
)
def test_wrong_edge_is_named(
    tmp_path: Path, edges: list[tuple[str, str, dict[str, object]]], said: str
) -> None:
    graph = nx.Graph()
    graph.add_edges_from(edges)
    with pytest.raises(TopoError, match=said):
        load(written(tmp_path / "wrong.graphml", graph))


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"kind": "gpu"}, "kind 'gpu' is unknown"),
        ({"multicast": "perhaps"}, "neither true nor false"),
        ({"position": "1"}, "not two numbers"),
        ({"x": 1.0}, "not two numbers"),
    ],
)
def test_wrong_node_is_named(tmp_path: Path, attributes: dict[str, object], said: str) -> None:
    graph = nx.Graph()
    graph.add_node("a", **attributes)
    graph.add_edge("a", "b", bandwidth=1e9)
    with pytest.raises(TopoError, match=f"node 'a'.*{said}"):
        load(written(tmp_path / "wrong.graphml", graph))


def test_parallel_edges_that_differ_are_refused(tmp_path: Path) -> None:
    graph = nx.MultiGraph()
    graph.add_edge("a", "b", bandwidth=10e9)
    graph.add_edge("a", "b", bandwidth=20e9)
    with pytest.raises(TopoError, match="twice with different attributes"):
        load(written(tmp_path / "wrong.graphml", graph))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no GraphML"),
        (b"hello", "no GraphML"),
        (b"<html></html>", "no GraphML|no accelerators"),
        ((HEAD + EMPTY).encode(), "no accelerators"),
        ((HEAD + '<!DOCTYPE a [<!ENTITY b "c">]>' + EMPTY).encode(), "document type or entity"),
        ((HEAD + "<! doctype a>" + EMPTY).encode(), "document type or entity"),
        ((HEAD.replace("UTF-8", "UTF-16") + EMPTY).encode("utf-16"), "not UTF-8"),
        ((HEAD.replace("UTF-8", "UTF-7") + EMPTY).encode(), "not UTF-8"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"<graphml>" * 50_000, "no GraphML"),
    ],
)
def test_hostile_file_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "bad.graphml"
    path.write_bytes(content)
    with pytest.raises(TopoError, match=said):
        load(str(path))


def test_folder_and_shape_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.graphml").mkdir()
    with pytest.raises(TopoError, match="cannot read"):
        load(str(tmp_path / "folder.graphml"))
    with pytest.raises(TopoError, match="a graph has no shape"):
        load(f"{tmp_path}/folder.graphml:4x4")
    graph = nx.Graph()
    graph.add_edge("a", "b", bandwidth=1e9)
    with pytest.raises(TopoError, match="no key 'bandwidth'"):
        load(written(tmp_path / "pair.graphml", graph) + ",bandwidth=1GB/s")
