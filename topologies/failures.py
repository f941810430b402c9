"""``failed=``: cables and accelerators taken out of a fabric, by name or at random."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from dataclasses import replace

import numpy as np

from topo.errors import CatalogueError, FabricError, nearest
from topo.fabric import ACCELERATOR, Fabric, IntArray

_RANDOM = re.compile(r"(\d{1,9})(chips?)?@seed(\d{1,9})", re.ASCII)
_HINT = "write failed=a-b, failed=a-b+c-d, failed=a for an accelerator, failed=3@seed7 or failed=3chips@seed7"


def remove(fabric: Fabric, failed: str) -> Fabric:
    """The fabric without some of its cables and accelerators; a cable is gone in both directions.

    Parameters
    ----------
    fabric : Fabric
        What is damaged.
    failed : str
        ``a-b`` removes one cable between nodes ``a`` and ``b``, ``a`` the accelerator ``a`` with all its cables,
        ``a-b+c`` both; ``3@seed7`` removes 3 cables drawn at random with seed 7, each cable as likely as any other,
        ``3chips@seed7`` 3 accelerators.

    Returns
    -------
    Fabric
        Its ranks are the accelerators that are left, in their order.  Without an accelerator a grid is none any
        more, and is routed by shortest paths.

    Raises
    ------
    TopoError
        Not of that form, an unknown node, more than there are, or a fabric that falls apart.
    """
    match = _RANDOM.fullmatch(failed)
    if match is None:
        cables, dead = _named(fabric, failed)
        damaged = fabric.without(cables) if cables else fabric
        return without_accelerators(damaged, dead) if dead else damaged
    number, seed = int(match[1]), int(match[3])
    if match[2]:
        lost = _drawn(
            fabric.accelerators, number, seed, failed, f"{fabric.name} has {{}} accelerators", keep=1
        )
        chosen = [fabric.nodes[int(node)] for node in lost]
        names = [str(node) for node in chosen]
    else:
        pairs = _drawn_cables(fabric, number, seed, failed)
        names = [f"{a}-{b}" for a, b in pairs]
    try:
        return without_accelerators(fabric, chosen) if match[2] else fabric.without(pairs)
    except FabricError as error:
        shown = "+".join(names[:5]) + ("..." if len(names) > 5 else "")
        fewer = "accelerators" if match[2] else "cables"
        problem = f"failed={failed} removes {shown}: {error.message}"
        raise FabricError(problem, f"try another seed, or fewer {fewer}") from None


def without_accelerators(fabric: Fabric, dead: Iterable[Hashable]) -> Fabric:
    """The fabric after the loss of accelerators, given by their labels, and of every cable that ends at one.

    Raises
    ------
    FabricError
        The rest is not connected, or nothing is left.
    """
    index = {node: i for i, node in enumerate(fabric.nodes)}
    alive = np.ones(len(fabric.nodes), dtype=bool)
    alive[[index[node] for node in dead]] = False
    number = np.cumsum(alive) - 1
    links = alive[fabric.source] & alive[fabric.target]
    ranks = alive[fabric.accelerators]
    if not ranks.any():
        raise FabricError(f"{fabric.name} has no accelerator left", "fail fewer accelerators")
    damaged = replace(
        fabric,
        nodes=tuple(fabric.nodes[int(node)] for node in np.flatnonzero(alive)),
        kind=fabric.kind[alive],
        accelerators=number[fabric.accelerators[ranks]],
        source=number[fabric.source[links]],
        target=number[fabric.target[links]],
        bandwidth=fabric.bandwidth[links],
        latency=fabric.latency[links],
        cables=fabric.cables[links],
        # A domain may be gone altogether; those left count from 0 in their order.
        domain=np.unique(fabric.domain[ranks], return_inverse=True)[1],
        multicast=fabric.multicast[alive],
        reduce=fabric.reduce[alive],
        scale_out=fabric.scale_out[links],
        position=fabric.position[alive],
        one_pass=None if fabric.one_pass is None else fabric.one_pass[alive],
        grid=None,
        routing="shortest",
        cache={},
    )
    damaged.require_connected()
    return damaged


def _named(fabric: Fabric, failed: str) -> tuple[list[tuple[Hashable, Hashable]], list[Hashable]]:
    """Ends of the named cables, and the named accelerators."""
    labels = {str(node): i for i, node in enumerate(fabric.nodes)}
    cables: list[tuple[Hashable, Hashable]] = []
    dead: list[Hashable] = []
    for part in failed.split("+"):
        ends = [end.strip() for end in part.split("-")]
        if len(ends) > 2 or not all(ends) or "@" in part:
            raise CatalogueError(f"failed={failed}: {part!r} is no cable and no accelerator", _HINT)
        for end in ends:
            if end not in labels:
                known = ", ".join(list(labels)[:3])
                raise CatalogueError(
                    f"failed={failed}: node {end!r} is not in {fabric.name}",
                    nearest(end, labels) or f"its nodes are {known} ...",
                )
        found = [fabric.nodes[labels[end]] for end in ends]
        if len(found) == 2:
            cables.append((found[0], found[1]))
        elif fabric.kind[labels[ends[0]]] == ACCELERATOR:
            dead.append(found[0])
        else:
            raise CatalogueError(
                f"failed={failed}: {part!r} is no accelerator", "name its cables, as in failed=a-b+a-c"
            )
    return cables, dead


def _drawn_cables(fabric: Fabric, count: int, seed: int, failed: str) -> list[tuple[Hashable, Hashable]]:
    """Ends of cables drawn without replacement."""
    # A cable is seen from both ends; it counts from the one that comes first.
    once = np.flatnonzero(
        (fabric.source < fabric.target) & (fabric.links_between(fabric.target, fabric.source) >= 0)
    )
    cables = np.repeat(once, fabric.cables[once])
    picked = _drawn(cables, count, seed, failed, f"{fabric.name} has {{}} cables")
    return [(fabric.nodes[fabric.source[link]], fabric.nodes[fabric.target[link]]) for link in picked]


def _drawn(things: IntArray, count: int, seed: int, failed: str, said: str, keep: int = 0) -> IntArray:
    """So many of them, without replacement and sorted; ``keep`` must be left over."""
    most = len(things) - keep
    if not 0 < count <= most:
        problem = f"failed={failed}: {said.format(len(things))}"
        raise CatalogueError(problem, f"use a number from 1 to {most}" if most > 0 else "none can be lost")
    return np.asarray(np.sort(np.random.default_rng(seed).choice(things, size=count, replace=False)))
