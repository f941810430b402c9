"""Words for a run that cannot go on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from topo.errors import NetworkError
from topo.fabric import IntArray, spread
from topo.network.batch_solver import BatchSolver

NAMED = 5
"""Transfers and links named in a message."""


def stalled(run: BatchSolver) -> NetworkError:
    """What to say when nothing moves any more and jobs are unfinished."""
    p = run.program
    blocked = run.active[run.rate <= 0] if len(run.active) else run.active
    if len(blocked):
        links = np.unique(p.route_link[spread(p.route_pointer, blocked)])
        dead = links[run.capacity[links] <= 0]
        return NetworkError(
            f"{len(blocked)} transfers are stalled on links without capacity: transfers {named(blocked)} "
            f"(rows of the program), "
            f"links {named(dead, run.link_name)}",
            "give those links capacity, or route around them",
        )
    stuck = np.flatnonzero(run.arrived < p.repeat)
    return NetworkError(
        f"{len(stuck)} transfers wait for each other in a cycle: {named(stuck)} (rows of the program)",
        "let each batch wait for earlier ones only",
    )


def named(numbers: IntArray, name: Callable[[int], str] = str) -> str:
    """The first few, and how many more there are."""
    more = f" and {len(numbers) - NAMED} more" if len(numbers) > NAMED else ""
    return ", ".join(name(number) for number in numbers[:NAMED].tolist()) + more
