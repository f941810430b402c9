"""Max-min rates, and the certificate that nothing wrong may pass."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import naive
from tests import strategies as some
from topo.errors import InternalError
from topo.network.sharing import certify_rates, max_min_rates

Flows = tuple[list[float], list[dict[int, float]]]


def arrays(capacity: list[float], flows: list[dict[int, float]]) -> tuple[np.ndarray, ...]:
    pointer = np.cumsum([0, *map(len, flows)])
    links = np.array([link for route in flows for link in route], dtype=np.int64)
    weights = np.array([weight for route in flows for weight in route.values()])
    return np.asarray(capacity), pointer, links, weights


@st.composite
def sharing(draw: st.DrawFn) -> Flows:
    capacity = draw(st.lists(some.bandwidths(), min_size=1, max_size=6))
    weight = st.one_of(
        st.just(1.0), st.sampled_from((0.5, 0.25, 2.0)), st.floats(0.01, 3, allow_subnormal=False)
    )
    link = st.integers(0, len(capacity) - 1)
    flows = st.lists(st.dictionaries(link, weight, min_size=1), min_size=1, max_size=20)
    return capacity, draw(flows)


@given(sharing())
def test_rates_are_those_of_textbook_filling(problem: Flows) -> None:
    capacity, flows = problem
    rates = max_min_rates(*arrays(capacity, flows))
    np.testing.assert_allclose(rates, naive.max_min(dict(enumerate(capacity)), flows), rtol=1e-8)
    certify_rates(*arrays(capacity, flows), rates)


@given(sharing(), st.floats(1e-3, 1e3))
def test_rates_scale_with_capacity(problem: Flows, factor: float) -> None:
    capacity, flows = problem
    rates = max_min_rates(*arrays(capacity, flows))
    scaled = max_min_rates(*arrays([c * factor for c in capacity], flows))
    np.testing.assert_allclose(scaled, rates * factor, rtol=1e-8)


@given(sharing(), st.randoms())
def test_the_order_of_flows_and_links_does_not_matter(problem: Flows, random: object) -> None:
    capacity, flows = problem
    order = np.random.default_rng(len(flows)).permutation(len(flows))
    place = np.random.default_rng(len(capacity)).permutation(len(capacity))
    moved = np.empty(len(capacity))
    moved[place] = capacity
    again = [{int(place[link]): weight for link, weight in flows[i].items()} for i in order]
    rates = max_min_rates(*arrays(capacity, flows))
    np.testing.assert_allclose(max_min_rates(*arrays(moved.tolist(), again)), rates[order], rtol=1e-8)


def test_a_dead_link_stops_its_flows_only() -> None:
    rates = max_min_rates(*arrays([0.0, 8.0], [{0: 1.0, 1: 1.0}, {1: 1.0}, {1: 1.0}]))
    assert rates.tolist() == [0.0, 4.0, 4.0]


def test_weights_are_what_a_flow_puts_on_a_link() -> None:
    """A flow split half and half over two links runs at twice the rate of each half."""
    rates = max_min_rates(*arrays([4.0, 4.0], [{0: 0.5, 1: 0.5}]))
    assert rates.tolist() == [8.0]


@given(sharing(), st.floats(0.01, 0.5), st.data())
def test_the_certificate_refuses_what_is_not_max_min(
    problem: Flows, change: float, data: st.DataObject
) -> None:
    capacity, flows = problem
    table = arrays(capacity, flows)
    rates = max_min_rates(*table)
    flow = data.draw(st.integers(0, len(flows) - 1))
    more, less = rates.copy(), rates.copy()
    more[flow] *= 1 + change
    less[flow] *= 1 - change
    with pytest.raises(InternalError, match="carries"):
        certify_rates(*table, more)
    with pytest.raises(InternalError, match="no bottleneck"):
        certify_rates(*table, less)


def test_the_certificate_refuses_unfair_rates() -> None:
    """Nothing is above capacity and the link is full, but one flow takes what is another's."""
    table = arrays([4.0], [{0: 1.0}, {0: 1.0}])
    with pytest.raises(InternalError, match="no bottleneck"):
        certify_rates(*table, np.array([1.0, 3.0]))
