"""The exact bound of an all-to-all: the multicommodity-flow linear program, with dual lengths as its proof."""

from __future__ import annotations

import numpy as np

from topo.bounds.bound import Bound
from topo.bounds.distances import from_nodes, latency_over
from topo.bounds.group import Group
from topo.bounds.lp import maximise
from topo.bounds.orbits import Symmetry, no_symmetry, symmetry_of
from topo.bounds.words import lengths_data, say_lengths
from topo.collective import Collective
from topo.errors import BoundError
from topo.fabric import Fabric, FloatArray, IntArray
from topo.units import format_bytes, format_time

MOST_VARIABLES = 60_000
_MOST_FOLDED = 50
"""How many links, at most, symmetries that fix a source are hoped to fold into one."""


def all_to_all_bound(collective: Collective, group: Group) -> Bound:
    """The least time in which links can carry an all-to-all, however it is routed and split.

    Parameters
    ----------
    collective : Collective
        An all-to-all, uniform or with a matrix of blocks.
    group : Group

    Raises
    ------
    BoundError
        The program is too large, or nothing is exchanged.

    Notes
    -----
    Largest theta such that flows from each source deliver theta times its blocks within the link capacities;
    time >= 1/theta plus the smallest latency of a route over a link that binds.  Flows are kept for one source
    of each orbit of ranks, and for one link of each orbit under the symmetries that fix that source; every link
    orbit o must carry the sum over sources of (ranks in the orbit) (flow over o) <= |o| c.  Averaging any
    optimum over the symmetry group shows that nothing is lost.

    Certificate: for any lengths l >= 0 of links, bytes times shortest distances cannot exceed
    time x sum of l_e c_e (F. Shahrokhi and D. W. Matula, "The maximum concurrent flow problem", J. ACM 37,
    1990).  The bound returned is recomputed from the dual lengths, so it holds to rounding of a sum even where
    the solver did not converge.
    """
    fabric = group.fabric
    symmetry = symmetry_of(group) if collective.matrix is None else no_symmetry(group)
    senders, count = symmetry.senders
    if len(senders) * fabric.links > _MOST_FOLDED * MOST_VARIABLES:
        raise _too_large(fabric, len(senders) * fabric.links, len(senders))
    blocks = _blocks(collective, senders)
    if not blocks.any():
        raise BoundError("no rank sends anything to another", "give blocks of more than 0 bytes")
    lengths = _lengths(blocks, symmetry)
    apart = from_nodes(fabric, group.nodes[senders], lengths)[group.nodes]
    work = float(((blocks.T * apart).sum(axis=0) * count).sum())
    room = float(lengths @ fabric.bandwidth)
    late = latency_over(group, np.flatnonzero(lengths))
    return Bound(
        work / room + late,
        "all-to-all-lp",
        f"with the link lengths {say_lengths(fabric, lengths)}, bytes times shortest distances come to "
        f"{format_bytes(work)} and lengths times bandwidths to {format_bytes(room)}/s; the last bytes travel "
        f"{format_time(late)}",
        {"exact": True, "length_bytes": work, "length_bandwidth_Bps": room, "latency_s": late}
        | lengths_data(fabric, lengths),
        lengths,
    )


def _too_large(fabric: Fabric, variables: int, sources: int) -> BoundError:
    return BoundError(
        f"the all-to-all program of {fabric.name} has {variables:,} variables "
        f"({sources} sources, {fabric.links} links), more than {MOST_VARIABLES:,}",
        "use the cut and capacity bounds, or a smaller group",
    )


def _blocks(collective: Collective, senders: IntArray) -> FloatArray:
    """Bytes from some ranks to every rank [senders, ranks]."""
    if collective.matrix is not None:
        return np.asarray(collective.blocks()[senders])
    blocks = np.full((len(senders), collective.ranks), collective.bytes / collective.ranks)
    blocks[np.arange(len(senders)), senders] = 0.0
    return blocks


def _lengths(blocks: FloatArray, symmetry: Symmetry) -> FloatArray:
    """Dual lengths of links [links], the largest 1.

    Parameters
    ----------
    blocks : float array [senders, ranks]
    symmetry : Symmetry
    """
    from scipy.sparse import coo_array

    group = symmetry.group
    fabric, orbits = group.fabric, symmetry.orbits
    senders, count = symmetry.senders
    fixed = [symmetry.stabiliser(int(group.nodes[sender])) for sender in senders]
    variables = sum(one.links for one in fixed) + 1
    if variables > MOST_VARIABLES:
        raise _too_large(fabric, variables, len(senders))
    scale, unit = float(blocks.max()), float(fabric.bandwidth.max())
    equal: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    below: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    row, column = 0, 0
    for sender, ranks, one, sent in zip(senders, count, fixed, blocks, strict=True):
        kept = np.full(len(fabric.nodes), -1)
        kept[one.first_node] = row + np.arange(one.nodes)
        kept[group.nodes[sender]] = -1  # the source's own row follows from the others
        for ends, sign in ((fabric.target, 1.0), (fabric.source, -1.0)):
            use = np.flatnonzero(kept[ends] >= 0)
            equal.append((kept[ends[use]], column + one.link[use], np.full(len(use), sign)))
        wanted = np.zeros(len(fabric.nodes))
        wanted[group.nodes] = sent / scale
        rows = np.flatnonzero(kept >= 0)
        equal.append((kept[rows], np.full(len(rows), variables - 1), -wanted[rows]))
        over = np.full(fabric.links, float(ranks))
        below.append((orbits.link, column + one.link, over))
        row, column = row + one.nodes, column + one.links
    a, b = (
        coo_array(
            (
                np.concatenate([p[2] for p in parts]),
                tuple(np.concatenate([p[i] for p in parts]) for i in (0, 1)),
            ),
            shape=(rows, variables),
        ).tocsr()
        for parts, rows in ((equal, row), (below, orbits.links))
    )
    objective = np.zeros(variables)
    objective[-1] = 1.0
    limits = orbits.link_count * fabric.bandwidth[orbits.first_link] / unit
    _, _, prices = maximise(objective, a, b, limits, f"all-to-all program of {fabric.name}")
    lengths = prices[orbits.link]
    lengths[lengths < lengths.max() * 1e-9] = 0.0
    return np.asarray(lengths / lengths.max())
