"""Which ranks of the simulated system a measured collective ran on."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from topo.collective import Collective
from topo.errors import CollectiveError
from topo.fabric import Fabric, IntArray


class Measured(Protocol):
    """What of a measurement says what ran."""

    @property
    def operation(self) -> str: ...

    @property
    def ranks(self) -> int: ...

    @property
    def bytes(self) -> float: ...


def group_of(fabric: Fabric, ranks: int, nodes: int | None = None) -> IntArray:
    """The fabric's ranks that take part: spread evenly over as many scale-up domains as there were machines.

    Where the machines are not the fabric's domains (trays of a rack, say) the first so many ranks take part.

    Parameters
    ----------
    fabric : Fabric
    ranks : int
    nodes : int, optional
        Machines that the ranks were spread over.

    Raises
    ------
    CollectiveError
        More ranks than the fabric has.
    """
    if ranks > fabric.ranks:
        raise CollectiveError(
            f"{ranks} ranks, but {fabric.name} has {fabric.ranks}",
            "name a target with as many accelerators, such as NAME*COUNT",
        )
    if nodes is None or nodes > fabric.domains or ranks % nodes or nodes == 1:
        return np.arange(ranks)
    each = ranks // nodes
    members = [np.flatnonzero(fabric.domain == domain)[:each] for domain in range(nodes)]
    if any(len(found) < each for found in members):
        return np.arange(ranks)
    return np.concatenate(members)


def collective_of(row: Measured, fabric: Fabric, group: IntArray) -> Collective:
    """What nccl-tests ran, as a Collective.

    Its sendrecv lets every rank send to the next and receive from the one before, at once (nccl-tests,
    src/sendrecv.cu).  Links carry both directions at once, so it takes as long as its slowest pair: the first that
    crosses between scale-up domains, if any does.
    """
    if row.operation != "send-recv":
        return Collective(row.operation, row.ranks, row.bytes)
    domain = fabric.domain[group]
    crossing = np.flatnonzero(domain[:-1] != domain[1:])
    root = int(crossing[0]) if len(crossing) else 0
    return Collective("send-recv", row.ranks, row.bytes, root=root, peer=root + 1)
