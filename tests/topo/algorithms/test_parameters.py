"""Names with parameters: how they are read, and what is said of wrong ones."""

from __future__ import annotations

import numpy as np
import pytest

from tests.topo.algorithms.sites import collective_on, fabric_of, star, timed
from topo.algorithms import Site, build, find, with_variants
from topo.algorithms.parameters import spelled, split_name
from topo.errors import AlgorithmError
from topologies.ring import ring


def test_a_name_takes_parameters_and_keeps_them() -> None:
    entry = find("pat:aggregation=4")
    assert entry.name == "pat:aggregation=4"
    fabric = star(16)
    schedule = entry.build(collective_on(fabric, "all-gather"), Site(fabric, np.arange(16)), 1)
    assert schedule.detail == "aggregation 4"


def test_commas_and_colons_both_separate() -> None:
    assert split_name("hierarchical:inside=direct,across=tree") == split_name(
        "hierarchical:inside=direct:across=tree"
    )
    assert (
        spelled(*split_name("hierarchical:inside=direct,across=tree"))
        == "hierarchical:inside=direct,across=tree"
    )


def test_defaults_spelled_out_change_nothing() -> None:
    fabric = star(8)
    for plain, full in (
        ("bruck", "bruck:radix=2"),
        ("ring", "ring:channels=1"),
        ("swing", "swing:form=bandwidth"),
    ):
        assert timed(plain, fabric, "reduce-scatter") == timed(full, fabric, "reduce-scatter")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rong", "algorithm 'rong' is unknown; did you mean"),
        ("pat:4", "'4' is not key=value; write for example pat:aggregation=4"),
        ("pat:aggregation=", "is not key=value"),
        ("pat:agregation=4", "no parameter 'agregation'; did you mean 'aggregation'"),
        ("pat:zzz=4", "no parameter 'zzz'; it takes aggregation=best"),
        ("direct:speed=2", "no parameter 'speed'; it takes none"),
        ("pat:aggregation=four", "aggregation=four makes no sense; give best, or a power of two"),
        ("pat:aggregation=0", "makes no sense"),
        ("bruck:radix=1", "radix=1 makes no sense; give a whole number from 2 up"),
        ("swing:form=fast", "give bandwidth or latency"),
        ("blueconnect:factors=4x1", "give own, or factors such as 4x8"),
        ("pat:aggregation=2,aggregation=4", "gives aggregation twice"),
    ],
)
def test_wrong_spellings_say_what_would_be_right(name: str, message: str) -> None:
    with pytest.raises(AlgorithmError) as problem:
        find(name)
    assert message in str(problem.value)


@pytest.mark.parametrize(
    ("name", "operation", "message"),
    [
        ("pat:aggregation=3", "all-gather", "a power of two up to 4"),
        ("pat:aggregation=8", "all-gather", "does not fit 8 ranks"),
        ("bruck:radix=4", "all-gather", "only all-to-all has a radix"),
        (
            "blueconnect:factors=3x2",
            "all-reduce",
            "makes 6 ranks, not 8; give factors of 8, for example 2x2x2",
        ),
        ("swing:form=latency", "all-gather", "does not do all-gather; take form=bandwidth"),
        ("ring", "broadcast", "does not do broadcast"),
        ("hierarchical", "all-reduce", "it needs at least two scale-up domains"),
        ("nvls", "all-reduce", "cannot"),
        ("wafer-chain", "reduce", "a mesh without wrap links"),
        ("twisted-bucket", "all-reduce", "a twisted torus"),
    ],
)
def test_values_that_do_not_fit_the_site_are_refused(name: str, operation: str, message: str) -> None:
    fabric = star(8)
    with pytest.raises(AlgorithmError) as problem:
        build(name, collective_on(fabric, operation), Site(fabric, np.arange(8)))
    assert message in str(problem.value)


def test_chunks_are_checked() -> None:
    fabric = star(4)
    site = Site(fabric, np.arange(4))
    with pytest.raises(AlgorithmError, match="0 chunks make no sense"):
        build("chain", collective_on(fabric, "broadcast"), site, 0)
    with pytest.raises(AlgorithmError, match=r"does not pipeline its data in chunks; these do: .*chain"):
        build("direct", collective_on(fabric, "broadcast"), site, 2)


def test_variants_are_spelled_so_that_they_can_be_found() -> None:
    fabric = fabric_of(ring(8))
    collective = collective_on(fabric, "all-reduce")
    names = [entry.name for entry in with_variants(find("swing"), collective, Site(fabric, np.arange(8)))]
    assert names == ["swing", "swing:form=latency"]
    assert [find(name).name for name in names] == names


def test_every_algorithm_says_what_it_does_in_one_line() -> None:
    from topo.algorithms import ALGORITHMS

    for entry in ALGORITHMS.values():
        assert entry.summary.endswith(".") and "\n" not in entry.summary, entry.name
        assert 20 < len(entry.summary) < 110, entry.name
