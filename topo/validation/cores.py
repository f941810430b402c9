"""Machines in which the cores of a chip are ranks of their own, as Neuron's tests count them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import topo
from topo.fabric import Fabric
from topo.system import System
from topo.units import parse_bandwidth, parse_time

BY_CORES = ",ranks=cores"
"""Ends a target whose ranks are cores."""


@cache
def _known() -> Mapping[str, Mapping[str, Any]]:
    import yaml

    data: Mapping[str, Mapping[str, Any]] = yaml.safe_load(
        Path(__file__).with_name("cores.yaml").read_text(encoding="utf-8")
    )
    return data


def target_by_cores(target: str, described: str, ranks: int) -> str:
    """The target of a row, with its ranks as cores where the row's own description says so.

    Parameters
    ----------
    target : str
        Such as ``trn1*2``; its count is the one that gives enough chips, so machines are counted anew.
    described : str
        The machine in the source's words.
    ranks : int
    """
    name = target.partition("*")[0]
    entry = _known().get(name)
    if entry is None or not any(word in described for word in entry["words"]):
        return target
    system = topo.load(name)
    return name + BY_CORES if ranks <= system.fabric.ranks * int(entry["cores"]) else target


def load_target(target: str) -> System:
    """The system of a target.

    Raises
    ------
    TopoError
        There is none.
    """
    name, by_cores, _ = target.partition(BY_CORES)
    system = topo.load(name)
    return replace(system, name=target, fabric=_cores(system.fabric, _known()[name])) if by_cores else system


def _cores(fabric: Fabric, entry: Mapping[str, Any]) -> Fabric:
    """The grid with the cores of a chip as its last dimension; each core has its share of the chip's links."""
    from topologies.grid import torus

    grid = fabric.grid
    if grid is None:
        raise topo.TopoError(f"{fabric.name} is no grid; ranks can be cores on grids only")
    cores = int(entry["cores"])
    dimensions = len(grid.shape)
    bandwidth = [float(fabric.bandwidth.min()) / cores] * dimensions
    graph = torus(
        [*grid.shape, cores],
        [*bandwidth, parse_bandwidth(entry["bandwidth"]["value"])],
        [*[float(fabric.latency.max())] * dimensions, parse_time(entry["latency"]["value"])],
        [*grid.wrap, False],
    )
    return Fabric.from_networkx(graph, name=f"{math.prod(grid.shape)} chips of {cores} cores")
