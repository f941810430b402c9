"""``failed=``: cables taken out of a fabric, by name or at random."""

from __future__ import annotations

import re
from collections.abc import Hashable

import numpy as np

from topo.errors import CatalogueError, FabricError, nearest
from topo.fabric import Fabric

_RANDOM = re.compile(r"(\d{1,9})@seed(\d{1,9})", re.ASCII)
_HINT = "write failed=a-b, failed=a-b+c-d, or failed=3@seed7"


def remove(fabric: Fabric, failed: str) -> Fabric:
    """The fabric without some of its cables; each is gone in both directions.

    Parameters
    ----------
    fabric : Fabric
        What is damaged.
    failed : str
        ``a-b`` removes one cable between nodes ``a`` and ``b``, ``a-b+c-d`` several; ``3@seed7`` removes 3 cables
        drawn at random with seed 7, each cable as likely as any other.

    Raises
    ------
    TopoError
        Not of that form, an unknown node, more cables than there are, or a fabric that falls apart.
    """
    match = _RANDOM.fullmatch(failed)
    if match is None:
        return fabric.without(_named(fabric, failed))
    chosen = _drawn(fabric, int(match[1]), int(match[2]))
    try:
        return fabric.without(chosen)
    except FabricError as error:
        shown = "+".join(f"{a}-{b}" for a, b in chosen[:5]) + ("..." if len(chosen) > 5 else "")
        problem = f"failed={failed} removes {shown}: {error.message}"
        raise FabricError(problem, "try another seed, or fewer cables") from None


def _named(fabric: Fabric, failed: str) -> list[tuple[Hashable, Hashable]]:
    labels = {str(node): node for node in fabric.nodes}
    pairs: list[tuple[Hashable, Hashable]] = []
    for part in failed.split("+"):
        ends = part.split("-")
        if len(ends) != 2 or not all(end.strip() for end in ends):
            raise CatalogueError(f"failed={failed}: {part!r} is no cable", _HINT)
        for end in (end.strip() for end in ends):
            if end not in labels:
                known = ", ".join(list(labels)[:3])
                raise CatalogueError(
                    f"failed={failed}: node {end!r} is not in {fabric.name}",
                    nearest(end, labels) or f"its nodes are {known} ...",
                )
        pairs.append((labels[ends[0].strip()], labels[ends[1].strip()]))
    return pairs


def _drawn(fabric: Fabric, count: int, seed: int) -> list[tuple[Hashable, Hashable]]:
    """Ends of cables drawn without replacement."""
    # A cable is seen from both ends; it counts from the one that comes first.
    once = np.flatnonzero(
        (fabric.source < fabric.target) & (fabric.links_between(fabric.target, fabric.source) >= 0)
    )
    cables = np.repeat(once, fabric.cables[once])
    if not 0 < count <= len(cables):
        raise CatalogueError(
            f"failed={count}@seed{seed}: {fabric.name} has {len(cables)} cables",
            f"use a number from 1 to {len(cables)}",
        )
    picked = np.sort(np.random.default_rng(seed).choice(cables, size=count, replace=False))
    return [(fabric.nodes[fabric.source[link]], fabric.nodes[fabric.target[link]]) for link in picked]
