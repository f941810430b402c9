"""Algorithms from files: an MSCCL program is an algorithm like ours, for its collective and number of ranks."""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from topo.algorithms.registry import Algorithm, Site
from topo.collective import Collective
from topo.schedule import Schedule

if TYPE_CHECKING:
    from topo.formats.msccl import MscclProgram

SUFFIX = ".xml"


def is_file(name: str) -> bool:
    """Whether an algorithm's name is a path."""
    return name.lower().endswith(SUFFIX)


def from_file(path: str) -> Algorithm:
    """The algorithm in an MSCCL XML file, read and proved.

    Parameters
    ----------
    path : str

    Raises
    ------
    AlgorithmError
        No such file, or it is not MSCCL XML.
    ScheduleError
        The program is wrong; the message names the gpu, thread block and step.
    """
    try:
        stamp = Path(path).stat().st_mtime_ns
    except OSError:
        stamp = 0  # reading it says why
    return _from_file(path, stamp)


@lru_cache(maxsize=16)
def _from_file(path: str, stamp: int) -> Algorithm:
    from topo.formats import msccl

    program = msccl.read(path)
    return Algorithm(
        name=path,
        operations=(program.operation,),
        build=partial(_build, program),
        fits=partial(_fits, program),
        pipelines=False,
        scales=True,
        summary=f"MSCCL program {program.name}: {program.operation} among {program.ranks} ranks",
    )


def _build(program: MscclProgram, collective: Collective, site: Site, chunks: int) -> Schedule:
    return program.schedule(collective)


def _fits(program: MscclProgram, collective: Collective, site: Site) -> str:
    if collective.ranks != program.ranks:
        return f"it is for {program.ranks} ranks, not {collective.ranks}"
    if collective.operation in ("broadcast", "reduce") and collective.root != program.root:
        return f"its root is {program.root}, not {collective.root}"
    if collective.matrix is not None:
        return "its blocks are of equal size"
    return ""
