"""What holds for everything registered: every algorithm, every operation, on every small fabric where it fits."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from tests.topo.algorithms.sites import built, collective_on, relabelled, seconds, zoo
from topo.algorithms import ALGORITHMS, Algorithm, Site, build, refusal, with_variants
from topo.bounds import lower_bound
from topo.collective import Collective
from topo.fabric import Fabric
from topo.schedule import Schedule

ZOO = zoo()
# Fabrics per algorithm and operation: as many kinds as the time of a test run allows.
KINDS = 3


def _places(entry: Algorithm, operation: str) -> list[str]:
    able = [
        name
        for name, fabric in ZOO.items()
        if not refusal(entry, collective_on(fabric, operation), Site(fabric, np.arange(fabric.ranks)))
    ]
    # Spread over the zoo, not always its first animals.
    start = sum(map(ord, entry.name + operation)) % max(len(able), 1)
    return (able[start:] + able[:start])[:KINDS]


CASES = [
    pytest.param(name, operation, place, id=f"{name} {operation} {place}")
    for name, entry in ALGORITHMS.items()
    if not entry.costly
    for operation in entry.operations
    for place in _places(entry, operation)
]


def _built(name: str, fabric: Fabric, collective: Collective) -> Schedule:
    site = Site(fabric, np.arange(fabric.ranks))
    return build(name, collective, site, 3 if ALGORITHMS[name].pipelines else 1)


@cache
def _schedule(name: str, operation: str, place: str) -> Schedule:
    fabric = ZOO[place]
    schedule = _built(name, fabric, collective_on(fabric, operation))
    schedule.verify()
    return schedule


@cache
def _time(name: str, operation: str, place: str) -> float:
    return seconds(_schedule(name, operation, place), ZOO[place], certify=True)


def test_every_operation_of_every_algorithm_has_a_place() -> None:
    for name, entry in ALGORITHMS.items():
        for operation in entry.operations:
            assert _places(entry, operation), f"no small fabric fits {name} {operation}"


@pytest.mark.parametrize(("name", "operation", "place"), CASES)
def test_nothing_is_lost_and_no_bound_is_beaten(name: str, operation: str, place: str) -> None:
    fabric, schedule = ZOO[place], _schedule(name, operation, place)
    if all(batch.form == "direct" for batch in schedule.batches):
        assert schedule.bytes_sent().sum() == pytest.approx(schedule.bytes_received().sum(), rel=1e-12)
    time = _time(name, operation, place)
    assert time > 0
    bound = lower_bound(schedule.collective, fabric)
    assert time >= bound.seconds * (1 - 1e-9), f"{bound.kind}: {bound.certificate}"


@pytest.mark.parametrize(("name", "operation", "place"), CASES)
def test_time_is_the_same_unfolded_and_with_other_labels(name: str, operation: str, place: str) -> None:
    fabric, schedule = ZOO[place], _schedule(name, operation, place)
    time = _time(name, operation, place)
    assert seconds(schedule, fabric, folded=False) == pytest.approx(time, rel=1e-9)
    other = relabelled(fabric, seed=7)
    again = _built(name, other, schedule.collective)
    assert seconds(again, other) == pytest.approx(time, rel=1e-9)


@pytest.mark.parametrize(("name", "operation", "place"), CASES)
def test_time_scales_with_links(name: str, operation: str, place: str) -> None:
    slower: Fabric = ZOO[place].scaled(bandwidth=1 / 3, latency=3.0)
    schedule = _built(name, slower, _schedule(name, operation, place).collective)
    assert seconds(schedule, slower) == pytest.approx(3 * _time(name, operation, place), rel=1e-9)


@pytest.mark.parametrize("name", [name for name, entry in ALGORITHMS.items() if entry.closed_form])
def test_closed_forms_agree_with_the_simulation(name: str) -> None:
    """On every fabric of the zoo on which a formula claims to hold, and on one at least it must."""
    entry = ALGORITHMS[name]
    assert entry.closed_form is not None
    held = 0
    for fabric in ZOO.values():
        site = Site(fabric, np.arange(fabric.ranks))
        for operation in entry.operations:
            collective = collective_on(fabric, operation)
            if refusal(entry, collective, site):
                continue
            for chunks in (1, 3) if entry.pipelines else (1,):
                form = entry.closed_form(collective, site, chunks)
                if form is not None:
                    held += 1
                    time = seconds(build(name, collective, site, chunks), fabric)
                    assert time == pytest.approx(form, rel=1e-9), (
                        f"{operation} on {fabric.name}, {chunks} chunks"
                    )
    assert held


@pytest.mark.parametrize(("name", "operation", "place"), CASES)
def test_variants_hold_too(name: str, operation: str, place: str) -> None:
    fabric, entry = ZOO[place], ALGORITHMS[name]
    collective = collective_on(fabric, operation)
    bound = lower_bound(collective, fabric)
    for variant in with_variants(entry, collective, Site(fabric, np.arange(fabric.ranks)))[1:]:
        schedule = built(variant.name, fabric, collective)
        assert seconds(schedule, fabric) >= bound.seconds * (1 - 1e-9)
