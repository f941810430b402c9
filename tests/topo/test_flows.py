"""Raw traffic: finish times of flows on named links."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import topo
from tests import naive
from tests import strategies as some
from topo.errors import NetworkError
from topo.flows import simulate_flows

Traffic = tuple[dict[str, float], list[dict[str, Any]]]


@settings(max_examples=150)
@given(some.traffic())
def test_random_flows_as_the_naive_engine_has_them(traffic: Traffic) -> None:
    links, flows = traffic
    number = {name: i for i, name in enumerate(links)}
    jobs = []
    for flow in flows:
        route = dict.fromkeys((number[name] for name in flow["path"]), 0.0)
        for name in flow["path"]:
            route[number[name]] += 1.0
        transfer = naive.Transfer(flow["size"], route, 0.0)
        message = naive.Message({0: transfer}, [transfer], [transfer])
        jobs.append(naive.NaiveJob(flow.get("start", 0.0), {(0, 0, 0): message}))
    naive.run(list(links.values()), jobs)
    ends = simulate_flows(links, flows, certify=True)
    assert ends == {
        flow["id"]: pytest.approx(job.finish, rel=1e-9) for flow, job in zip(flows, jobs, strict=True)
    }


@given(some.traffic())
def test_no_link_carries_more_than_it_can(traffic: Traffic) -> None:
    """All bytes of a link take at least bytes over bandwidth, counted from its first flow's start."""
    links, flows = traffic
    ends = simulate_flows(links, flows)
    for name, bandwidth in links.items():
        using = [flow for flow in flows if name in flow["path"] and flow["size"] > 0]
        if using:
            load = sum(flow["size"] * flow["path"].count(name) for flow in using)
            begin = min(flow.get("start", 0.0) for flow in using)
            assert max(ends[flow["id"]] for flow in using) >= (begin + load / bandwidth) * (1 - 1e-9)
    for flow in flows:
        alone = max(flow["path"].count(name) / links[name] for name in flow["path"]) * flow["size"]
        assert ends[flow["id"]] >= (flow.get("start", 0.0) + alone) * (1 - 1e-9)


@given(some.traffic(), st.sampled_from((0.5, 3.0, 1e3)))
def test_twice_the_bandwidth_half_the_time(traffic: Traffic, factor: float) -> None:
    links, flows = traffic
    ends = simulate_flows(links, flows)
    faster = simulate_flows(
        {name: bandwidth * factor for name, bandwidth in links.items()},
        [flow | {"start": flow.get("start", 0.0) / factor} for flow in flows],
    )
    assert faster == {name: pytest.approx(end / factor, rel=1e-9) for name, end in ends.items()}


def test_the_textbook_case() -> None:
    flows = [
        {"id": "A", "size": 1e9, "path": ["l", "r"]},
        {"id": "B", "size": 1e9, "path": ["l"]},
        {"id": "C", "size": 1e9, "path": ["r"]},
    ]
    ends = topo.simulate_flows({"l": 10e9, "r": 4e9}, flows, certify=True)
    assert ends == {"A": pytest.approx(0.5), "B": pytest.approx(0.125), "C": pytest.approx(0.5)}


def test_a_link_named_twice_carries_a_flow_twice() -> None:
    assert simulate_flows({"a": 1e9}, [{"id": 0, "size": 1e9, "path": ["a", "a"]}]) == {0: pytest.approx(2.0)}


def test_starts_in_time_and_flows_of_nothing() -> None:
    flows = [{"id": i, "size": 0, "path": ["a"], "start": i / 4} for i in range(4)]
    flows.append({"id": "late", "size": 1e9, "path": ["a"], "start": 7.0})
    assert simulate_flows({"a": 1e9}, flows) == {0: 0.0, 1: 0.25, 2: 0.5, 3: 0.75, "late": 8.0}
    assert simulate_flows({"a": 1e9}, []) == {}
    assert simulate_flows({}, []) == {}


def test_a_later_flow_takes_its_share() -> None:
    flows = [
        {"id": "first", "size": 2e9, "path": ["a"]},
        {"id": "second", "size": 0.5e9, "path": ["a"], "start": 1.0},
    ]
    assert simulate_flows({"a": 1e9}, flows) == {"first": pytest.approx(2.5), "second": pytest.approx(2.0)}


def test_thousands_of_equal_flows_are_one_event() -> None:
    flows = [{"id": i, "size": 1e6, "path": [f"l{i % 10}", "core"]} for i in range(5000)]
    links = dict.fromkeys([f"l{i}" for i in range(10)], 1e9) | {"core": 1e9}
    assert list(simulate_flows(links, flows).values()) == pytest.approx([5.0] * 5000)


@pytest.mark.parametrize(
    ("links", "flows", "words"),
    [
        ({"a": 0}, [], "link 'a': bandwidth 0 is not a positive number"),
        ({"a": -1}, [], "bandwidth -1"),
        ({"a": math.nan}, [], "bandwidth nan"),
        ({"a": "fast"}, [], "bandwidth 'fast' is not a number"),
        ({"a": 1}, [5], "flow number 0 is 5; give a mapping"),
        ({"a": 1}, [{"size": 1, "path": ["a"]}], "flow number 0 has no id"),
        ({"a": 1}, [{"id": 1, "path": ["a"]}], "flow 1 lacks a size"),
        ({"a": 1}, [{"id": 1, "size": 1}], "flow 1 lacks a path"),
        ({"a": 1}, [{"id": 1, "size": 1, "path": []}], "flow 1 lacks a path"),
        ({"ab": 1}, [{"id": 1, "size": 1, "path": "ab"}], "path 'ab' is no list"),
        ({"a": 1}, [{"id": 1, "size": 1, "path": 5}], "path 5 is no list"),
        (
            {"uplink": 1},
            [{"id": 1, "size": 1, "path": ["uplnk"]}],
            "'uplnk' is unknown; did you mean 'uplink'",
        ),
        ({"a": 1}, [{"id": 1, "size": -1, "path": ["a"]}], "size -1 is not a number"),
        ({"a": 1}, [{"id": 1, "size": "big", "path": ["a"]}], "size 'big' is not a number"),
        ({"a": 1}, [{"id": 1, "size": math.inf, "path": ["a"]}], "size inf"),
        ({"a": 1}, [{"id": 1, "size": 1, "path": ["a"], "start": -1}], "start -1"),
        ({"a": 1}, [{"id": 1, "size": 1, "path": ["a"], "start": None}], "start None"),
        ({"a": 1}, [{"id": 1, "size": 1, "path": ["a"], "begin": 0}], "key 'begin' is unknown"),
        ({"a": 1}, [{"id": 1, "size": 1, "path": ["a"]}] * 2, "flow 1 is there twice"),
    ],
)
def test_bad_input(links: dict[str, Any], flows: list[Any], words: str) -> None:
    with pytest.raises(NetworkError) as caught:
        simulate_flows(links, flows)
    assert words in str(caught.value)
