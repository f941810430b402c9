"""Training at several sites, on their network."""

from __future__ import annotations

from typing import Any

import pytest

import topo
from topo.errors import TopoError
from topo.training.across import SitesError, across, exchange_seconds, sites_of, streamed_exposure
from topo.training.named_models import load_model

PAIR = "site(dgx-h100*2)*2,distance=1000km,bandwidth=100Gb/s"
SMALL = load_model("layers=8,hidden=1024,heads=16,ffn=4096,vocabulary=32000")


def test_the_accelerators_of_each_site() -> None:
    sites = sites_of(topo.load(PAIR).fabric)
    assert [site.tolist() for site in sites] == [list(range(16)), list(range(16, 32))]
    with pytest.raises(SitesError, match="one site"):
        sites_of(topo.load("dgx-h100*2").fabric)


@pytest.mark.parametrize("count", [2, 3])
def test_an_exchange_fills_the_fibre(count: int) -> None:
    """Every site sends 2 (R - 1) / R of the data, over R - 1 fibres of its own, and the way there and back counts."""
    system = topo.load(f"site(dgx-h100*2)*{count},distance=1000km,bandwidth=100Gb/s")
    size, fibre = 25e9, 12.5e9
    least = 2 * size / count / fibre
    seconds = exchange_seconds(system, sites_of(system.fabric), size, "ideal")
    assert least <= seconds
    if count == 2:
        assert seconds == pytest.approx(least, rel=0.05)


def test_gradients_in_every_step_wait_for_the_fibre() -> None:
    result = across(SMALL, topo.load(PAIR), ccl="ideal", plan={"global_batch": 16, "seq": 1024})
    assert result.exchanged_bytes == 4 * SMALL.parameters
    assert result.step_s == pytest.approx(result.inner_s + result.exposed_s)
    assert 0 < result.exposed_s < result.exchange_s
    assert result.break_even == 1


def test_local_steps_share_one_exchange() -> None:
    plan = {"global_batch": 16, "seq": 1024}
    result = across(SMALL, topo.load(PAIR), method="local", inner_steps=20, plan=plan)
    assert result.exposed_s == pytest.approx(result.exchange_s / 20)
    one = across(SMALL, topo.load(PAIR), method="local", inner_steps=1, plan=plan)
    assert one.exposed_s == pytest.approx(one.exchange_s)
    assert result.break_even > 1


@pytest.mark.parametrize(
    ("inner", "fragment", "steps", "fragments", "overlap", "exposed"),
    [
        (1.0, 0.9, 10, 2, 1, 0.0),  # hidden by the step it crosses beside
        (1.0, 1.5, 10, 2, 1, 2 * 0.5 / 10),  # what is longer than its window
        (1.0, 1.5, 10, 2, 2, 0.0),
        (1.0, 3.0, 4, 1, 1, 2.0 / 4),
        (1.0, 3.0, 4, 4, 1, 2.0),  # one every step: the fibre sets the pace
    ],
)
def test_fragments_cross_beside_steps(
    inner: float, fragment: float, steps: int, fragments: int, overlap: int, exposed: float
) -> None:
    assert streamed_exposure(inner, fragment, steps, fragments, overlap) == pytest.approx(exposed)


def test_a_busy_fibre_sets_the_pace_however_far_fragments_may_lag() -> None:
    """Four fragments of 3 s in 4 steps of 1 s: 12 s a round, 3 s a step."""
    assert streamed_exposure(1.0, 3.0, 4, 4, 3) == pytest.approx(2.0, rel=0.2)


def test_streaming_hides_what_local_steps_expose() -> None:
    plan = {"global_batch": 16, "seq": 1024}
    keys: dict[str, Any] = {"inner_steps": 64, "plan": plan}
    local = across(SMALL, topo.load(PAIR), method="local", **keys)
    streamed = across(SMALL, topo.load(PAIR), method="streaming", fragments=8, overlap_steps=4, **keys)
    assert streamed.exchanged_bytes == pytest.approx(local.exchanged_bytes / 8)
    assert streamed.step_s <= local.step_s


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"method": "locl"}, "local"),
        ({"inner_steps": 0}, "1 or more"),
        ({"method": "streaming", "fragments": 9, "inner_steps": 8}, "one fragment a step"),
        ({"value_bytes": 0.0}, "above 0"),
    ],
)
def test_bad_input_is_explained(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(TopoError, match=said):
        across(SMALL, topo.load(PAIR), **keys)
