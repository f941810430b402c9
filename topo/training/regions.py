"""Regions of a mesh for the layers of a model, and the transfers between them on the network.

The accelerators stand in a line that winds over the grid in strips as high as a square region, column by column, so
that neighbours in the line are neighbours on the mesh and a stretch of it is about square.  Each layer gets a stretch
in proportion to its work; where it ends inside an accelerator, that one is divided.  A layer's samples are spread
evenly over its stretch, and what lies at some part of it goes to the same part of the next one, by the fabric's own
routes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import simpy

from topo.fabric import Fabric, FloatArray, IntArray
from topo.network.network import Network, Outcome
from topo.network.program import Program, flow_program
from topo.routing import find_routes
from topo.training.placement import domain_grid


@dataclass(frozen=True, eq=False)
class Regions:
    """Layers along the line of accelerators.

    Parameters
    ----------
    line : int array [accelerators]
        Ranks in the order of the line.
    ends : float array [layers + 1]
        Where each layer's stretch starts and ends, in accelerators.
    """

    line: IntArray
    ends: FloatArray

    def __len__(self) -> int:
        return len(self.ends) - 1

    def parts(self, layer: int) -> tuple[IntArray, FloatArray]:
        """Accelerators of a layer, and the share of the layer on each."""
        start, end = self.ends[layer], self.ends[layer + 1]
        cells = np.arange(int(start), min(math.ceil(end), len(self.line)))
        share = np.minimum(cells + 1, end) - np.maximum(cells, start)
        kept = share > 0
        return self.line[cells[kept]], share[kept] / share[kept].sum()


def lay_regions(fabric: Fabric, work: Sequence[float]) -> Regions:
    """Regions in proportion to the work of each layer.

    Parameters
    ----------
    fabric : Fabric
    work : sequence of float
        Seconds of each layer, or anything in proportion to them.
    """
    inside = fabric.ranks // fabric.domains
    grid = domain_grid(fabric)
    shape = grid.shape if grid is not None else (inside,)
    height = max(round(math.sqrt(fabric.ranks / len(work))), 1)
    one = winding(shape, height)
    line = (np.arange(fabric.domains)[:, None] * inside + one).ravel() if fabric.domains > 1 else one
    ends = np.concatenate([[0.0], np.cumsum(np.asarray(work, dtype=np.float64))])
    ends *= len(line) / ends[-1]
    ends[-1] = len(line)
    return Regions(line, ends)


def winding(shape: Sequence[int], height: int) -> IntArray:
    """Positions of a row-major grid along a line that winds over it in strips of ``height`` rows.

    Planes of a grid of more than two dimensions follow each other, every other one backwards.
    """
    rows, columns = (1, *shape)[-2:]
    plane: list[int] = []
    for strip, top in enumerate(range(0, rows, height)):
        mine = range(top, min(top + height, rows))
        across = range(columns) if strip % 2 == 0 else reversed(range(columns))
        for number, column in enumerate(across):
            down = mine if number % 2 == 0 else reversed(mine)
            plane += [row * columns + column for row in down]
    planes = math.prod(shape) // (rows * columns)
    found = [
        [plane_number * rows * columns + place for place in (plane if plane_number % 2 == 0 else plane[::-1])]
        for plane_number in range(planes)
    ]
    return np.asarray(found, dtype=np.int64).ravel()


@dataclass(frozen=True)
class Crossings:
    """Transfers between neighbouring regions for one micro-batch, all of them at once.

    Parameters
    ----------
    forward, backward : tuple of float
        Seconds of the activations from each region to the next, and of the gradients back.
    link_s : float
        Seconds of the bytes of the busiest link at its bandwidth.
    bottleneck : str
        That link.
    """

    forward: tuple[float, ...]
    backward: tuple[float, ...]
    link_s: float
    bottleneck: str


def crossings(fabric: Fabric, regions: Regions, size: float) -> Crossings:
    """Run the transfers of one micro-batch on the network, every region sending at the same time.

    Parameters
    ----------
    fabric : Fabric
    regions : Regions
    size : float
        Bytes of the activations of a micro-batch between two layers.
    """
    env = simpy.Environment()
    network = Network(env, fabric)
    ways = [(i, i + 1) for i in range(len(regions) - 1)] + [(i + 1, i) for i in range(len(regions) - 1)]
    carried = np.zeros(fabric.links)
    seconds = [0.0] * len(ways)
    under_way: list[simpy.Event] = []
    for number, (start, end) in enumerate(ways):
        program = _transfer(fabric, *regions.parts(start), *regions.parts(end), size)
        if program is not None:
            carried += program.link_bytes()
            done = network.start_program(program)
            done.callbacks.append(partial(_note, seconds, number))
            under_way.append(done)
    if under_way:
        env.run(until=env.all_of(under_way))
    half = len(ways) // 2
    busy = carried / fabric.bandwidth
    label = "no link carries anything"
    if busy.max(initial=0.0) > 0:
        label = f"link {fabric.link_label(int(busy.argmax()))}"
    return Crossings(tuple(seconds[:half]), tuple(seconds[half:]), float(busy.max(initial=0.0)), label)


def _note(seconds: list[float], number: int, done: simpy.Event) -> None:
    outcome = done.value
    assert isinstance(outcome, Outcome)
    seconds[number] = outcome.duration


def _transfer(
    fabric: Fabric, source: IntArray, sent: FloatArray, target: IntArray, taken: FloatArray, size: float
) -> Program | None:
    """What one region sends to another; None where both lie on the same accelerator."""
    cuts = np.unique(np.concatenate([np.cumsum(sent), np.cumsum(taken), [0.0]]).round(12))
    middle = (cuts[1:] + cuts[:-1]) / 2
    of = np.minimum(np.searchsorted(np.cumsum(sent), middle), len(source) - 1)
    to = np.minimum(np.searchsorted(np.cumsum(taken), middle), len(target) - 1)
    apart = source[of] != target[to]
    if not apart.any():
        return None
    share = (cuts[1:] - cuts[:-1])[apart] * size
    routes = find_routes(fabric, source[of][apart], target[to][apart])
    plain = flow_program(fabric.bandwidth, share, np.zeros(len(share)), routes.pointer, routes.link)
    return replace(
        plain,
        latency=routes.latency,
        route_pointer=routes.pointer,
        route_link=routes.link,
        route_weight=routes.fraction,
    )
