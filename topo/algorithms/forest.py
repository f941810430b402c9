"""Forests of spanning trees made for one fabric: as fast as the cut bound allows, on any graph, healthy or damaged.

The time at large sizes: all-gather and reduce-scatter S/N x lambda, where lambda is the largest ratio over all
cuts of ranks inside to capacity out (see :mod:`topo.algorithms.synthesis.forest`); all-reduce up and down the same
trees at once, on a fabric of full-duplex cables S / (half the trees that fit); broadcast and reduce S over the
smallest cut between the root and a rank.
"""

from __future__ import annotations

from functools import partial
from math import lcm

import numpy as np

from topo.algorithms.parameters import whole_or_best
from topo.algorithms.registry import Site, algorithm
from topo.algorithms.synthesis.forest import MOST_TREES, Forest, joint, packable, spreading
from topo.algorithms.synthesis.network import Way
from topo.algorithms.synthesis.streams import Hops, Pace, add_streams, rows_of_hops
from topo.collective import EVERY_RANK, Chunks, Collective
from topo.errors import AlgorithmError
from topo.fabric import IntArray
from topo.schedule import Schedule, ScheduleBuilder

MOST_RANKS = 1024
PIECES = whole_or_best("pieces", "a number of chunks per tree")
OPERATIONS = ("all-reduce", "all-gather", "reduce-scatter", "broadcast", "reduce")


def can_grow(collective: Collective, site: Site) -> str:
    """Relays must give out what they take in, and trees among very many ranks take too long to find."""
    if collective.ranks > MOST_RANKS:
        return f"trees among {collective.ranks} ranks take too long to find (it stops at {MOST_RANKS})"
    try:
        packable(site.fabric, site.ranks)
    except AlgorithmError as problem:
        return problem.message
    return ""


@algorithm(
    "forest", OPERATIONS, fits=can_grow, pipelines=True, scales=False, costly=True, parameters=(PIECES,)
)
def forest(collective: Collective, site: Site, chunks: int, pieces: int) -> Schedule:
    """Spanning trees packed for this fabric, as fast as its cuts allow; chunks follow each other through them.

    More than one chunk means so many a tree; otherwise the parameter says, or the best number is found.
    """
    roots, hops, detail = _plan(collective, site)
    pace = Pace.of(hops, site.fabric.bandwidth)
    tree = collective.bytes / len(roots)
    if chunks == 1:
        chunks = pieces or pace.best_chunks(tree, len(np.unique(rows_of_hops(hops))))
    lag = pace.best_lag(chunks, tree)
    if chunks > 1:
        detail += f", {chunks} chunks a tree"
    builder = ScheduleBuilder(collective, "forest", partial(_cut, collective, roots, chunks), detail)
    add_streams(builder, hops, chunks, tree / chunks, lag)
    return builder.build()


def _cut(collective: Collective, roots: IntArray, chunks: int) -> Chunks:
    """One chunk per tree and piece."""
    root = np.repeat(roots, chunks)
    every = np.full(len(root), EVERY_RANK)
    size = np.full(len(root), collective.bytes / len(root))
    operation = collective.operation
    return Chunks(
        size,
        root if operation in ("all-gather", "broadcast") else every,
        root if operation in ("reduce-scatter", "reduce") else every,
    )


def _plan(collective: Collective, site: Site) -> tuple[IntArray, Hops, str]:
    """Roots of the trees, their hops, and what to say about them."""
    fabric, ranks, operation = site.fabric, site.ranks, collective.operation
    weights = np.ones(collective.ranks, dtype=np.int64)
    if operation in ("broadcast", "reduce"):
        weights[:] = 0
        weights[collective.root] = 1
    if operation in ("all-gather", "broadcast"):
        trees = spreading(fabric, ranks, weights)
        return trees.root, _down(trees, 0), _said(trees)
    if operation in ("reduce-scatter", "reduce"):
        trees = spreading(fabric, ranks, weights, backwards=True)
        return trees.root, _up(trees, trees.ways), _said(trees)
    both = joint(fabric, ranks)
    if both is not None:
        hops = _joined(_up(both, both.back), _down(both, both.height))
        return both.root, hops, _said(both)
    gathering, reducing = spreading(fabric, ranks, weights), spreading(fabric, ranks, weights, backwards=True)
    if gathering.roundable and lcm(gathering.trees, reducing.trees) > MOST_TREES:
        copies = max(gathering.trees, reducing.trees) // len(weights)
        gathering = spreading(fabric, ranks, weights, copies=copies)
        reducing = spreading(fabric, ranks, weights, backwards=True, copies=copies)
    common = lcm(gathering.trees, reducing.trees)
    down, up = common // gathering.trees, common // reducing.trees
    gathering, reducing = gathering.repeated(down), reducing.repeated(up)
    hops = _joined(_up(reducing, reducing.ways), _down(gathering, reducing.height))
    return (
        gathering.root,
        hops,
        f"{_said(reducing)}, then {_said(gathering)}",
    )


def _said(trees: Forest) -> str:
    text = f"{trees.trees} trees of height {trees.height}"
    if trees.loss > 1e-9:
        text += f", {trees.loss:.2%} above the optimum"
    return text if trees.exact else f"{text}, bandwidths rounded down"


def _down(trees: Forest, stage: int) -> Hops:
    """Hops of copies from the roots down, the first at a stage."""
    tree, child = np.nonzero(trees.parent >= 0)
    giver = trees.parent[tree, child]
    when = stage + trees.depth[tree, giver]
    return Hops(tree, giver, child, when, trees.way[tree, child], trees.ways, np.zeros(len(tree), dtype=bool))


def _up(trees: Forest, ways: list[Way]) -> Hops:
    """Hops of reductions from the leaves up."""
    tree, child = np.nonzero(trees.parent >= 0)
    when = trees.height - trees.depth[tree, child]
    way = trees.way[tree, child]
    return Hops(tree, child, trees.parent[tree, child], when, way, ways, np.ones(len(tree), dtype=bool))


def _joined(first: Hops, second: Hops) -> Hops:
    def both(name: str) -> np.ndarray:
        return np.concatenate([getattr(first, name), getattr(second, name)])

    return Hops(
        both("tree"),
        both("source"),
        both("target"),
        both("stage"),
        np.concatenate([first.way, second.way + len(first.ways)]),
        first.ways + second.ways,
        both("reduce"),
    )
