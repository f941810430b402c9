"""Algorithms that users bring: a registered Python function, and an MSCCL file."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.topo.algorithms.examples import UNIT, schedule, seconds, star
from topo.algorithms import ALGORITHMS, Site, algorithm, build, refusal
from topo.algorithms.from_file import from_file, is_file
from topo.collective import Collective, segments
from topo.errors import AlgorithmError, ScheduleError
from topo.formats import msccl
from topo.schedule import Schedule, ScheduleBuilder, one_each
from topo.simulate import run_schedule

FOLDER = Path(__file__).parents[2] / "data" / "msccl"


def _even(collective: Collective, site: Site) -> str:
    return "" if collective.ranks % 2 == 0 else "it needs an even number of ranks"


@pytest.fixture
def two_waves() -> Iterator[str]:
    """A broadcast in two waves, written as the documentation shows."""

    @algorithm("two-waves", ("broadcast",), fits=_even)
    def two_waves(collective: Collective, site: Site, chunks: int) -> Schedule:
        """The root feeds the first half of the ranks, each of which feeds one of the rest."""
        half = collective.ranks // 2
        ranks = (collective.root + np.arange(collective.ranks)) % collective.ranks
        builder = ScheduleBuilder(collective, "two-waves", partial(segments, collective))
        chunk = np.zeros(collective.ranks, dtype=np.int64)
        first = builder.add(
            np.repeat(ranks[:1], half - 1), ranks[1:half], collective.bytes, one_each(chunk[: half - 1])
        )
        builder.add(ranks[:half], ranks[half:], collective.bytes, one_each(chunk[:half]), after=(first,))
        return builder.build()

    yield "two-waves"
    del ALGORITHMS["two-waves"]


def test_a_registered_function_is_an_algorithm_like_ours(two_waves: str) -> None:
    fabric = star(8)
    made = schedule(two_waves, fabric, "broadcast", 8e6, root=3)
    made.verify()
    assert ALGORITHMS[two_waves].summary.startswith("The root feeds the first half")
    # Three streams share the root's cable, then all four go at once.
    assert run_schedule(made, fabric) == pytest.approx(3 * 8e6 / UNIT + 2e-6 + 8e6 / UNIT + 2e-6, rel=1e-9)


def test_it_is_refused_where_it_does_not_fit_and_written_like_any(two_waves: str) -> None:
    with pytest.raises(
        AlgorithmError, match="two-waves cannot run broadcast on star7: it needs an even number"
    ):
        schedule(two_waves, star(7), "broadcast", 8e6)
    with pytest.raises(AlgorithmError, match="two-waves does not do all-reduce"):
        schedule(two_waves, star(8), "all-reduce", 8e6)
    program = msccl.read_text(msccl.written(schedule(two_waves, star(8), "broadcast", 8e6)))
    assert program.name == "two-waves"


def test_a_registered_function_that_is_wrong_does_not_pass_the_proof() -> None:
    @algorithm("half-done", ("broadcast",))
    def half_done(collective: Collective, site: Site, chunks: int) -> Schedule:
        """Forgets the last rank."""
        builder = ScheduleBuilder(collective, "half-done", partial(segments, collective))
        others = np.arange(1, collective.ranks - 1)
        builder.add(np.zeros_like(others), others, collective.bytes, one_each(np.zeros_like(others)))
        return builder.build()

    try:
        with pytest.raises(ScheduleError, match="half-done: at the end chunk 0 is incomplete at rank 3"):
            schedule("half-done", star(4), "broadcast", 8e6).verify()
    finally:
        del ALGORITHMS["half-done"]


def test_a_file_is_an_algorithm_like_ours() -> None:
    path = str(FOLDER / "ring-allreduce-4.xml")
    assert is_file(path)
    assert not is_file("ring")
    entry = from_file(path)
    site = Site(star(4), np.arange(4))
    assert not refusal(entry, Collective("all-reduce", 4, 8e6), site)
    assert "does not do all-gather" in refusal(entry, Collective("all-gather", 4, 8e6), site)
    assert "4 ranks, not 5" in refusal(entry, Collective("all-reduce", 5, 8e6), Site(star(5), np.arange(5)))
    made = entry.build(Collective("all-reduce", 4, 8e6), site, 1)
    made.verify()
    assert run_schedule(made, star(4)) == pytest.approx(
        seconds("ring", star(4), "all-reduce", 8e6), rel=1e-12
    )


def test_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    import os

    path = tmp_path / "mine.xml"
    msccl.write(schedule("ring", star(3), "all-reduce", 1e6), path)
    assert from_file(str(path)).operations == ("all-reduce",)
    msccl.write(schedule("ring", star(3), "all-gather", 1e6), path)
    os.utime(path, ns=(1, 1))
    assert from_file(str(path)).operations == ("all-gather",)


def test_a_file_with_a_root_or_without_a_place() -> None:
    program = msccl.read_text(msccl.written(schedule("chain", star(4), "broadcast", 1e6, root=2)))
    assert program.schedule(Collective("broadcast", 4, 1e6, root=2)).collective.root == 2
    with pytest.raises(AlgorithmError, match="cannot be read: No such file"):
        from_file(str(FOLDER / "none.xml"))


def test_names_that_are_paths_are_found_like_names() -> None:
    path = str(FOLDER / "allpairs-allreduce-4.xml")
    made = build(path, Collective("all-reduce", 4, 8e6), Site(star(4), np.arange(4)))
    assert made.algorithm == "allreduce_allpairs"
