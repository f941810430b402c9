"""The switches of a scale-out network: leaves and spines, or a broadcast-reduce tree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from topologies import checks
from topologies.fat_tree import uplinks

LEAF_DOWNLINKS = 32
"""Downlinks of a leaf by default: half of a 64-port switch."""

_IntArray = npt.NDArray[np.int64]
_FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Switches:
    """Switches above copies of a domain, and the links between them.

    Parameters
    ----------
    labels : tuple of str
        Of the switches.
    leaf_of : int array [copies * ranks]
        Switch that each accelerator is joined to.
    lower, upper : int arrays [links]
        Lower and upper switch of each link between switches.
    bandwidth : float array [links]
        Bytes/s per direction, all cables together.
    cables : int array [links]
        Parallel cables.
    across, level : float arrays [switches]
        Place in a drawing: share of the whole width, and level from 1 upwards.
    in_network : bool
        Whether the switches multicast and reduce.
    """

    labels: tuple[str, ...]
    leaf_of: _IntArray
    lower: _IntArray
    upper: _IntArray
    bandwidth: _FloatArray
    cables: _IntArray
    across: _FloatArray
    level: _FloatArray
    in_network: bool = False


def leaves_and_spines(
    count: int,
    ranks: int,
    rate: float,
    rails: int | None = None,
    unit: int | None = None,
    spines: int | None = None,
    oversubscription: float = 1.0,
) -> Switches:
    """A leaf for each rail of each unit of domains; spines, when there are several units, join all leaves.

    Parameters
    ----------
    count, ranks : int
        Domains, and accelerators in each.
    rate : float
        Bytes/s of an accelerator's link to its leaf.
    rails : int, optional
        Leaves of a unit; accelerator ``a`` is on rail ``a mod rails``.  Default one per accelerator.
    unit : int, optional
        Domains of a unit; default as many as give a leaf up to 32 downlinks.
    spines : int, optional
        Default one per uplink of a leaf, at most 16.
    oversubscription : float
        Bandwidth down over bandwidth up of a leaf of a full unit.

    Raises
    ------
    FabricError
        A number out of range.
    """
    rails = ranks if rails is None else checks.whole(rails, "rails", 1, ranks)
    per_rail = -(-ranks // rails)
    unit = max(1, LEAF_DOWNLINKS // per_rail) if unit is None else checks.whole(unit, "unit")
    unit = min(unit, count)
    up = uplinks(unit * per_rail, oversubscription, spines)
    units = -(-count // unit)
    leaves, tops = units * rails, up.spines if units > 1 else 0
    copy_of = np.repeat(np.arange(count), ranks)
    of_rank = np.tile(np.arange(ranks), count)
    first = np.arange(units) * unit
    served = np.minimum(first + unit, count) - first
    across = (first[:, None] + served[:, None] * (np.arange(rails) + 0.5) / rails) / count
    return Switches(
        labels=(*(f"leaf{i}" for i in range(leaves)), *(f"spine{i}" for i in range(tops))),
        leaf_of=copy_of // unit * rails + of_rank % rails,
        lower=np.repeat(np.arange(leaves), tops),
        upper=np.tile(leaves + np.arange(tops), leaves),
        bandwidth=np.full(leaves * tops, rate * up.share * up.cables),
        cables=np.full(leaves * tops, up.cables),
        across=np.concatenate([across.ravel(), (np.arange(tops) + 0.5) / max(1, tops)]),
        level=np.concatenate([np.ones(leaves), np.full(tops, 2.0)]),
    )


def broadcast_tree(count: int, ranks: int, rate: float, fan_out: int = 4) -> Switches:
    """A leaf for each domain, below a tree of switches that multicast downwards and add upwards.

    Parameters
    ----------
    count, ranks : int
        Domains, and accelerators in each.
    rate : float
        Bytes/s of an accelerator's link; an edge of the tree carries what a whole domain sends out.
    fan_out : int
        Children of a switch.

    Notes
    -----
    Source: Cerebras, glossary entry SwarmX: a bidirectional tree of broadcast-reduce nodes of 1:4.
    """
    per_level = [count]
    while per_level[-1] > 1:
        per_level.append(-(-per_level[-1] // fan_out))
    first = np.concatenate([[0], np.cumsum(per_level)])
    lower = np.arange(first[-2])
    upper = np.concatenate(
        [first[i + 1] + np.arange(size) // fan_out for i, size in enumerate(per_level[:-1])] or [lower]
    )
    across = [(np.arange(size) + 0.5) / size for size in per_level]
    names = [f"leaf{i}" for i in range(count)] + [f"swarmx{i}" for i in range(int(first[-1]) - count)]
    return Switches(
        labels=tuple(names),
        leaf_of=np.repeat(np.arange(count), ranks),
        lower=lower,
        upper=upper,
        bandwidth=np.full(len(lower), ranks * rate),
        cables=np.ones(len(lower), dtype=np.int64),
        across=np.concatenate(across),
        level=np.repeat(np.arange(1.0, len(per_level) + 1), per_level),
        in_network=True,
    )
