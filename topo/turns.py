"""Turns: moving every rank on by one block leaves many clusters as they are, and so their ways.

A block is a domain, or the domains of a scalable unit.  The way of a pair of ranks is then that of the pair turned
back to the first block, turned on again; in a cluster of thousands of domains few ways have to be looked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from topo.fabric import SWITCH, Fabric, IntArray, spread
from topo.routing import Routes, find_routes
from topo.translation import Orbits, block_orbits

MANY_PAIRS = 4096
"""Pairs up to which ways are looked for one by one."""
FEWER = 4
"""Pairs for each way to be looked for, from which on it pays to turn."""


@dataclass(frozen=True, eq=False)
class Cycles:
    """Links in the order in which a turn takes one to the next, orbit after orbit.

    Parameters
    ----------
    orbits : Orbits
    start : int array [orbits]
        Where each orbit begins in ``link``.
    link : int array [links]
    phase : int array [links]
        Place of each link in its orbit.
    """

    orbits: Orbits
    start: IntArray
    link: IntArray
    phase: IntArray

    def turned(self, links: IntArray, times: IntArray) -> IntArray:
        """Where so many turns take links."""
        orbit = self.orbits.of_link[links]
        place = (self.phase[links] + times) % self.orbits.size[orbit]
        found: IntArray = self.link[self.start[orbit] + place]
        return found


def cycles(fabric: Fabric, block: int) -> Cycles:
    """The orbits of the turn by a block, which must be a symmetry of the fabric, in their order."""
    key = ("block cycles", block)
    if key not in fabric.cache:
        found = block_orbits(fabric, block)
        assert found is not None, "symmetric_block() asked before"
        orbits, image = found
        start = np.concatenate([[0], np.cumsum(orbits.size)[:-1]]).astype(np.int64)
        link = np.empty(fabric.links, dtype=np.int64)
        phase = np.empty(fabric.links, dtype=np.int64)
        at, left, place = orbits.first, np.arange(len(start)), 0
        while len(left):
            link[start[left] + place], phase[at] = at, place
            place += 1
            more = orbits.size[left] > place
            at, left = image[at[more]], left[more]
        fabric.cache[key] = Cycles(orbits, start, link, phase)
    known: Cycles = fabric.cache[key]
    return known


def turned_routes(
    fabric: Fabric, source: IntArray, target: IntArray, policy: str = "auto", seed: int = 0
) -> Routes:
    """As :func:`topo.routing.find_routes`, looked for once for all pairs that a turn of the fabric joins."""
    source, target = np.asarray(source, dtype=np.int64), np.asarray(target, dtype=np.int64)
    if policy == "ecmp" or len(source) <= MANY_PAIRS:
        return find_routes(fabric, source, target, policy, seed)
    block = symmetric_block(fabric)
    if block is None:
        return find_routes(fabric, source, target, policy, seed)
    turn = source // block
    keys = source % block * fabric.ranks + (target - turn * block) % fabric.ranks
    alike, back = np.unique(keys, return_inverse=True)
    if FEWER * len(alike) > len(source):
        return find_routes(fabric, source, target, policy, seed)
    routes = find_routes(fabric, alike // fabric.ranks, alike % fabric.ranks, policy).take(back)
    links = cycles(fabric, block).turned(routes.link, np.repeat(turn, np.diff(routes.pointer)))
    return Routes(routes.pointer, links, routes.fraction, routes.latency)


def symmetric_block(fabric: Fabric) -> int | None:
    """The fewest ranks by which the fabric can be turned, as far as its domains and switches tell; None without."""
    if "symmetric block" not in fabric.cache:
        fabric.cache["symmetric block"] = next(
            (block for block in _candidates(fabric) if block_orbits(fabric, block) is not None), None
        )
    found: int | None = fabric.cache["symmetric block"]
    return found


def _candidates(fabric: Fabric) -> Iterator[int]:
    """Blocks of whole domains: those that the switches over the first rank join, level by level.

    In a fabric of one domain every rank counts as one.
    """
    domain = fabric.domain if fabric.domains > 1 else np.arange(fabric.ranks)
    domains = int(domain.max()) + 1
    width = fabric.ranks // domains
    in_order = np.array_equal(domain, np.repeat(np.arange(domains), width))
    if domains < 2 or not in_order or not (fabric.kind == SWITCH).any():
        return
    first = fabric.accelerators[:1]
    pointer, order = fabric.outgoing
    seen = np.zeros(len(fabric.nodes), dtype=bool)
    seen[first] = True
    frontier = first
    joined = 0
    while len(frontier):
        near = np.unique(fabric.target[order[spread(pointer, frontier)]])
        rank = fabric.rank_of_node[near]
        count = len(np.unique(domain[rank[rank >= 0]]))
        # What one switch level joins completely may be turned domain by domain.
        if count == domains:
            yield width
            return
        if count > joined and domains % count == 0:
            yield width * count
            joined = count
        frontier = near[(fabric.kind[near] == SWITCH) & ~seen[near]]
        seen[near] = True
