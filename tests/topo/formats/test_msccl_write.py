"""Writing MSCCL: what is written reads back as a proved program that takes the same time."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.topo.algorithms.examples import cut_torus, grid, line, schedule, star
from topo.algorithms import Site, build
from topo.collective import Collective, segments
from topo.errors import AlgorithmError
from topo.fabric import Fabric
from topo.formats import msccl
from topo.schedule import ScheduleBuilder, rows_of
from topo.simulate import run_schedule
from topologies.switch import switch

SIZE = 840_000.0


@pytest.mark.parametrize(
    ("algorithm", "operation", "fabric", "chunks"),
    [
        ("ring", "all-reduce", star(5), 1),
        ("ring", "all-gather", grid(6), 1),
        ("ring", "reduce-scatter", grid(6), 1),
        ("direct", "all-reduce", star(6), 1),
        ("one-shot", "all-reduce", star(4), 1),
        ("recursive-doubling", "all-gather", star(8), 1),
        ("halving-doubling", "all-reduce", star(6), 1),
        ("bucket", "all-reduce", grid(3, 4), 1),
        ("double-binary-tree", "all-reduce", star(7), 4),
        ("direct", "all-to-all", star(5), 1),
        ("pairwise", "all-to-all", star(5), 1),
        ("bruck", "all-to-all", star(6), 1),
        ("chain", "broadcast", line(5), 8),
        ("chain", "reduce", line(5), 8),
        ("scatter-allgather", "broadcast", star(6), 1),
        ("forest", "all-gather", cut_torus(3, 3), 8),
        ("forest", "all-reduce", cut_torus(3, 3), 2),
        ("synthesised", "all-reduce", grid(3, 3), 1),
    ],
)
def test_written_programs_read_back_and_take_the_same_time(
    algorithm: str, operation: str, fabric: Fabric, chunks: int, tmp_path: Path
) -> None:
    made = schedule(algorithm, fabric, operation, SIZE * fabric.ranks, chunks)
    msccl.write(made, tmp_path / "program.xml")
    program = msccl.read(tmp_path / "program.xml")
    again = program.schedule(SIZE * fabric.ranks)
    assert again.collective == made.collective
    assert again.bytes_sent() == pytest.approx(made.bytes_sent())
    assert run_schedule(again, fabric) == pytest.approx(run_schedule(made, fabric), rel=1e-9)


def test_roots_are_kept() -> None:
    for operation in ("broadcast", "reduce"):
        made = schedule("chain", star(4), operation, 1e6, root=2)
        program = msccl.read_text(msccl.written(made, "mine"))
        assert (program.root, program.name) == (2, "mine")


def test_unequal_blocks_and_chunks_are_refused() -> None:
    matrix = ((0.0, 1.0, 2.0), (3.0, 0.0, 1.0), (1.0, 1.0, 0.0))
    collective = Collective("all-to-all", 3, 3.0, matrix=matrix)
    uneven = build("direct", collective, Site(star(3), np.arange(3)))
    with pytest.raises(AlgorithmError, match="cuts its data unevenly; MSCCL has chunks of one size"):
        msccl.written(uneven)


def test_in_network_operations_are_refused() -> None:
    fabric = Fabric.from_networkx(switch(4, 5e10, 5e-7, True, True))
    with pytest.raises(AlgorithmError, match="nvls needs switches that add or copy"):
        msccl.written(schedule("nvls", fabric, "all-reduce", 1e6))


def test_other_collectives_are_refused() -> None:
    with pytest.raises(AlgorithmError, match="MSCCL has no send-recv"):
        msccl.written(schedule("direct", star(3), "send-recv", 1e6))


def test_limits_of_the_runtime_are_said() -> None:
    with pytest.raises(
        AlgorithmError, match="rank 0 needs 300 steps in one thread block, MSCCL has at most 256"
    ):
        msccl.written(schedule("chain", line(3), "broadcast", 1e6, 300))
    with pytest.raises(AlgorithmError, match="needs 220 thread blocks"):
        msccl.written(schedule("direct", star(111), "all-gather", 1e6))


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(AlgorithmError, match="cannot be written: No such file"):
        msccl.write(schedule("ring", star(3), "all-reduce", 1e6), tmp_path / "none" / "ring.xml")


def test_long_runs_of_chunks_are_cut_as_the_runtime_wants_them() -> None:
    collective = Collective("broadcast", 2, 100.0)
    builder = ScheduleBuilder(collective, "whole", partial(segments, collective, 100))
    builder.add([0], [1], 100.0, rows_of(np.arange(100)[None, :]))
    program = msccl.read_text(msccl.written(builder.build()))
    assert [step.count for step in program.steps] == [71, 29, 71, 29]
