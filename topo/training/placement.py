"""Where each axis of a parallel plan lies on the fabric.

A plan arranges the accelerators in a block of ``pp x dp x cp x tp`` coordinates; a placement says which rank of the
fabric has which coordinates.  Expert parallel groups are neighbours among the ranks of a stage (``dp x cp x tp``, tp
innermost), the shards of a hybrid sharded data parallel plan neighbours among the data ranks (``dp x cp``).

Spelling: axes from the innermost outwards, joined by commas: ``tp,cp,dp,pp`` (the default) lays them out in rank
order, which runs domain by domain.  An axis may name the dimensions of the fabric that it runs along:
``tp=domain,dp=domains`` or ``tp=x.y,dp=z``.  It then takes what it needs of each, and leaves the rest to the axes
after it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from topo.errors import TopoError, nearest
from topo.fabric import Fabric, Grid, IntArray

AXES = ("tp", "cp", "dp", "pp")
"""The axes of the block, innermost first."""
LETTERS = "xyzwvu"
"""Names of the dimensions of a grid."""
DERIVED = {
    "data": "all data ranks: dp x cp",
    "ep": "expert parallel: neighbours among the ranks of a stage",
    "edp": "ranks of a stage that hold the same experts",
    "shard": "neighbours among the data ranks that share one copy of the weights",
    "replica": "data ranks that hold the same shard",
}
"""Axes made of others."""


class PlacementError(TopoError):
    """A placement that does not fit the plan or the fabric."""


class Degrees(Protocol):
    """What a placement asks of a plan: the degree of each axis."""

    @property
    def tp(self) -> int:
        """Tensor parallel ranks."""

    @property
    def cp(self) -> int:
        """Context parallel ranks."""

    @property
    def dp(self) -> int:
        """Data parallel replicas."""

    @property
    def pp(self) -> int:
        """Pipeline stages."""

    @property
    def ep(self) -> int:
        """Expert parallel ranks."""


@dataclass(frozen=True)
class Dimension:
    """A direction of the fabric: ranks ``start + i * stride`` for ``i`` below ``size``."""

    name: str
    size: int
    stride: int


@dataclass(frozen=True, eq=False)
class Placement:
    """Which accelerator has which coordinates.

    Parameters
    ----------
    fabric : Fabric
    rank : int array [pp, dp, cp, tp]
        The fabric's rank of each coordinate.
    ep : int
        Expert parallel degree; divides dp x cp x tp.
    shard : int
        Data ranks that share one copy of the weights; divides dp x cp.
    name : str
        Its spelling.
    """

    fabric: Fabric
    rank: IntArray
    ep: int = 1
    shard: int = 1
    name: str = ""

    @property
    def stages(self) -> int:
        """Pipeline stages."""
        return int(self.rank.shape[0])

    def degree(self, axis: str) -> int:
        """Ranks of one group of an axis."""
        pp, dp, cp, tp = self.rank.shape
        data = dp * cp
        known = {
            "tp": tp,
            "cp": cp,
            "dp": dp,
            "pp": pp,
            "data": data,
            "ep": self.ep,
            "edp": data * tp // self.ep,
        }
        known |= {"shard": self.shard, "replica": data // self.shard}
        if axis not in known:
            raise PlacementError(
                f"axis {axis!r} is unknown", nearest(axis, known) or f"one of {', '.join(known)}"
            )
        return int(known[axis])

    def groups(self, axis: str) -> IntArray:
        """Ranks of every group of an axis [groups, size], those of the first stage first.

        Parameters
        ----------
        axis : str
            One of :data:`AXES` or :data:`DERIVED`.  Along ``pp`` the place in the group is the stage.

        Raises
        ------
        PlacementError
            Unknown axis.
        """
        size = self.degree(axis)
        pp, dp, cp, tp = self.rank.shape
        if axis in AXES:
            moved = np.moveaxis(self.rank, 3 - AXES.index(axis), -1)
            return np.ascontiguousarray(moved).reshape(-1, size)
        inner = self.ep if axis in ("ep", "edp") else self.shard
        ways = (pp, 1, dp * cp * tp) if axis in ("ep", "edp") else (pp, dp * cp, tp)
        ranks: IntArray = self.rank.reshape(ways)
        if axis not in ("ep", "edp"):
            ranks = ranks.swapaxes(1, 2)
        if axis in ("edp", "replica"):
            ranks = ranks.reshape(pp, ranks.shape[1], ranks.shape[2] // inner, inner).swapaxes(2, 3)
        return np.ascontiguousarray(ranks).reshape(-1, size)

    def members(self, axis: str) -> IntArray:
        """The same groups as their collectives see them [groups, size].

        Along ``pp`` and ``cp`` the place in a group is a stage or a piece of the sequence.  Elsewhere nothing hangs on
        the order: ranks stand as the fabric numbers them, whichever way the placement turns, and libraries find the
        shapes that they know; and so do the groups of a stage.
        """
        ranks = self.groups(axis)
        ranks = ranks if axis in ("pp", "cp") else np.sort(ranks, axis=1)
        of_stage = ranks.reshape(1 if axis == "pp" else self.stages, -1, ranks.shape[1])
        order = np.argsort(of_stage[:, :, 0], axis=1)
        return np.take_along_axis(of_stage, order[:, :, None], axis=1).reshape(ranks.shape)

    def stage_of_groups(self, axis: str) -> IntArray:
        """Pipeline stage of every group [groups]; -1 along ``pp``, whose groups cross all stages."""
        count = self.rank.size // self.degree(axis)
        if axis == "pp":
            return np.full(count, -1)
        return np.repeat(np.arange(self.stages), count // self.stages)

    @cached_property
    def spans(self) -> dict[str, tuple[int, int]]:
        """By axis of degree above one: the most scale-up domains that a group touches, and its ranks."""
        found = {}
        for axis in (*AXES, "ep", "shard"):
            size = self.degree(axis)
            if size > 1:
                domain = np.sort(self.fabric.domain[self.groups(axis)], axis=1)
                found[axis] = int((np.diff(domain, axis=1) > 0).sum(axis=1).max()) + 1, size
        return found

    def words(self) -> dict[str, str]:
        """By axis of degree above one: where it runs, in words."""
        if self.fabric.domains == 1:
            return {
                axis: f"{size} ranks, {self._reach(axis)} in rank order"
                for axis, (_, size) in self.spans.items()
            }
        found = {}
        for axis, (domains, size) in self.spans.items():
            if domains == 1:
                found[axis] = f"{size} ranks inside a domain"
            elif domains == size:
                found[axis] = f"{size} ranks in as many domains"
            else:
                found[axis] = f"{size} ranks in {domains} domains"
        return found

    def _reach(self, axis: str) -> str:
        group = self.groups(axis)[0]
        strides = np.unique(np.diff(group))
        return f"stride {int(strides[0])}" if len(strides) == 1 else "a block"

    def table(self) -> str:
        """The placement drawn in characters: domains as rows of accelerators, each with its coordinates.

        Only the first domains and accelerators are shown.
        """
        coordinates = np.empty((self.rank.size, 4), dtype=np.int64)
        coordinates[self.rank.ravel()] = np.stack(
            np.unravel_index(np.arange(self.rank.size), self.rank.shape), axis=1
        )
        shown = [i for i, axis in enumerate(("pp", "dp", "cp", "tp")) if self.rank.shape[i] > 1]
        lines = ["each accelerator: " + ".".join(("pp", "dp", "cp", "tp")[i] for i in shown)]
        grid = domain_grid(self.fabric)
        wide = grid.shape[-1] if grid is not None else 16
        most = 16 if self.fabric.domains == 1 else 2
        for domain in range(min(self.fabric.domains, 8)):
            ranks = np.flatnonzero(self.fabric.domain == domain)
            rows = [ranks[start : start + wide] for start in range(0, len(ranks), wide)]
            for number, row in enumerate(rows[:most]):
                cells = " ".join(".".join(str(coordinates[rank, i]) for i in shown) for rank in row[:24])
                start = f"domain {domain}: " if not number else " " * len(f"domain {domain}: ")
                lines.append(start + cells + (" ..." if len(row) > 24 else ""))
            if len(rows) > most:
                lines[-1] += f" and {len(ranks) - most * wide:,} more"
        if self.fabric.domains > 8:
            lines.append(f"and {self.fabric.domains - 8} more domains")
        return "\n".join(lines)


def dimensions(fabric: Fabric) -> tuple[Dimension, ...]:
    """The directions that a placement may name, innermost first.

    ``x y z ...`` of a grid (of the whole fabric, or of each domain), ``domain`` where the inside of a domain has no
    grid, and ``domains`` from each domain to the next.
    """
    domains = fabric.domains
    inside = fabric.ranks // domains
    even = fabric.ranks % domains == 0 and bool(
        (fabric.domain == np.repeat(np.arange(domains), inside)[: fabric.ranks]).all()
    )
    if fabric.grid is not None:
        return _grid_dimensions(fabric.grid.shape)
    if not even or domains == fabric.ranks:
        return (Dimension("ranks", fabric.ranks, 1),)
    grid = domain_grid(fabric)
    inner = _grid_dimensions(grid.shape) if grid is not None else (Dimension("domain", inside, 1),)
    return (*inner, Dimension("domains", domains, inside)) if domains > 1 else inner


def _grid_dimensions(shape: Sequence[int]) -> tuple[Dimension, ...]:
    found, stride = [], 1
    for number in reversed(range(len(shape))):
        found.append(
            Dimension(LETTERS[number] if len(shape) <= len(LETTERS) else f"d{number}", shape[number], stride)
        )
        stride *= shape[number]
    return tuple(found)


def domain_grid(fabric: Fabric) -> Grid | None:
    """The grid that the accelerators of every scale-up domain form by their direct links, if they do."""
    if "domain grid" not in fabric.cache:
        fabric.cache["domain grid"] = _find_domain_grid(fabric)
    found: Grid | None = fabric.cache["domain grid"]
    return found


def _find_domain_grid(fabric: Fabric) -> Grid | None:
    if fabric.grid is not None:
        return fabric.grid
    inside = fabric.ranks // fabric.domains
    here = (fabric.rank_of_node[fabric.source] >= 0) & (fabric.rank_of_node[fabric.target] >= 0)
    here &= ~fabric.scale_out
    source = fabric.rank_of_node[fabric.source[here]]
    target = fabric.rank_of_node[fabric.target[here]]
    if not len(source) or inside * fabric.domains != fabric.ranks:
        return None
    base = np.arange(fabric.domains) * inside
    if (source // inside != target // inside).any() or (
        fabric.domain != np.arange(fabric.ranks) // inside
    ).any():
        return None
    first = (source < inside) & (target < inside)
    if first.sum() * fabric.domains != len(source) or not len(base):
        return None
    wanted = set(zip(source[first].tolist(), target[first].tolist(), strict=True))
    for shape in _shapes(inside):
        for wrap in itertools.product((True, False), repeat=len(shape)):
            grid = Grid(shape, wrap)
            if len(shape) * 2 * inside < len(wanted) or any(
                k == 2 and w for k, w in zip(shape, wrap, strict=True)
            ):
                continue
            if _links_of(grid) == wanted:
                return grid
    return None


def _shapes(size: int) -> list[tuple[int, ...]]:
    """Ways to write a number as a product of two to four factors above one."""
    found: list[tuple[int, ...]] = []

    def split(left: int, so_far: tuple[int, ...]) -> None:
        if len(so_far) == 4:
            return
        for factor in range(2, left + 1):
            if left % factor == 0:
                if factor == left and so_far:
                    found.append((*so_far, factor))
                elif factor < left:
                    split(left // factor, (*so_far, factor))

    split(size, ())
    return found


def _links_of(grid: Grid) -> set[tuple[int, int]]:
    nodes = np.arange(grid.size)
    links: set[tuple[int, int]] = set()
    for d in range(len(grid.shape)):
        for direction in (1, -1):
            onward = grid.neighbours(nodes, d, direction)
            links |= set(zip(nodes[onward >= 0].tolist(), onward[onward >= 0].tolist(), strict=True))
    return links


def place(
    plan: Degrees, fabric: Fabric, placement: str | None = None, *, shard: int | None = None
) -> Placement:
    """Lay a plan out on a fabric.

    Parameters
    ----------
    plan : Degrees
        Anything with the degrees ``tp cp dp pp ep``, and perhaps ``shard``: the data ranks that share one copy of
        the weights, all of them by default.
    fabric : Fabric
    placement : str, optional
        Spelling as above; ``tp,cp,dp,pp`` by default.

    Raises
    ------
    PlacementError
        Degrees that do not multiply to the accelerators, experts that do not divide the data ranks, an unknown
        axis or dimension, or an axis that does not fit the dimensions it names.
    """
    degree = {axis: int(getattr(plan, axis)) for axis in AXES}
    product = math.prod(degree.values())
    if min(degree.values()) < 1 or product != fabric.ranks:
        spelled = " x ".join(f"{axis} {degree[axis]}" for axis in reversed(AXES))
        raise PlacementError(
            f"{spelled} = {product} ranks on {fabric.name} with {fabric.ranks} accelerators",
            f"the degrees must multiply to {fabric.ranks}",
        )
    data = degree["dp"] * degree["cp"]
    shard = getattr(plan, "shard", None) or data
    for what, size, ranks in (("ep", int(plan.ep), data * degree["tp"]), ("shard", int(shard), data)):
        if size < 1 or ranks % size:
            raise PlacementError(
                f"{what} {size} does not divide the {ranks} ranks that it is a part of",
                f"take one of {', '.join(str(k) for k in divisors(ranks)[:12])}",
            )
    order = _parsed(placement or ",".join(AXES))
    offsets: dict[str, IntArray] = {}
    named = any(along for _, along in order)
    left = [[d.size, d.stride] for d in dimensions(fabric)] if named else [[fabric.ranks, 1]]
    names = [d.name for d in dimensions(fabric)] if named else ["ranks"]
    for axis, along in order:
        offsets[axis] = _take(axis, degree[axis], _numbers(axis, along, names), left, names)
    rank = np.zeros((1, 1, 1, 1), dtype=np.int64)
    for number, axis in enumerate(reversed(AXES)):
        shape = [1, 1, 1, 1]
        shape[number] = degree[axis]
        rank = rank + offsets[axis].reshape(shape)
    return Placement(fabric, rank, int(plan.ep), int(shard), spelling(order))


def spelling(order: Sequence[tuple[str, tuple[str, ...]]]) -> str:
    """The text of a parsed placement."""
    return ",".join(axis + ("=" + ".".join(along) if along else "") for axis, along in order)


def _parsed(text: str) -> list[tuple[str, tuple[str, ...]]]:
    found: list[tuple[str, tuple[str, ...]]] = []
    for item in text.split(","):
        axis, _, along = item.strip().partition("=")
        if axis not in AXES:
            raise PlacementError(
                f"placement {text!r}: axis {axis!r} is unknown",
                nearest(axis, AXES) or f"name {', '.join(AXES)}, innermost first",
            )
        if axis in (known for known, _ in found):
            raise PlacementError(f"placement {text!r} names {axis} twice", "name each axis once")
        found.append((axis, tuple(name.strip() for name in along.split(".")) if along else ()))
    found += [(axis, ()) for axis in AXES if axis not in (known for known, _ in found)]
    return found


def _numbers(axis: str, along: tuple[str, ...], names: Sequence[str]) -> list[int]:
    """Positions of the dimensions that an axis may take, in order."""
    numbers: list[int] = []
    for name in along:
        if name == "domain" and "domain" not in names:
            numbers += [i for i, known in enumerate(names) if known != "domains"]
        elif name in names:
            numbers.append(names.index(name))
        else:
            raise PlacementError(
                f"placement: {axis}={name}: the fabric has no dimension {name!r}",
                nearest(name, names) or f"it has {', '.join(names)}",
            )
    return numbers or list(range(len(names)))


def _take(
    axis: str, degree: int, numbers: Sequence[int], left: list[list[int]], names: Sequence[str]
) -> IntArray:
    """Offsets in ranks of the coordinates of an axis [degree]; takes them out of what is left."""
    offsets = np.zeros(1, dtype=np.int64)
    wanted = degree
    for number in numbers:
        size, stride = left[number]
        part = math.gcd(wanted, size)
        if part == 1:
            continue
        offsets = (np.arange(part)[:, None] * stride + offsets).ravel()
        left[number] = [size // part, stride * part]
        wanted //= part
    if wanted > 1:
        room = " x ".join(f"{names[i]} {left[i][0]}" for i in numbers)
        raise PlacementError(
            f"{axis} {degree} does not fit there: {wanted} does not divide what is left ({room})",
            "name other dimensions or more of them, or another order of the axes",
        )
    return offsets


def divisors(number: int) -> list[int]:
    """All divisors, ascending."""
    small = [k for k in range(1, math.isqrt(number) + 1) if number % k == 0]
    return sorted({*small, *(number // k for k in small)})


def legal_placements(plan: Degrees, fabric: Fabric, most: int = 64) -> list[str]:
    """Placements of a plan that differ, the plain rank order first.

    All orders of the axes in rank order, and on a grid also those that turn its dimensions.

    Parameters
    ----------
    most : int
        No more than so many.
    """
    axes = [axis for axis in AXES if int(getattr(plan, axis)) > 1] or ["tp"]
    spellings = [",".join(order) for order in itertools.permutations(axes)]
    names = [d.name for d in dimensions(fabric) if d.size > 1]
    if len(names) > 1:
        turns = [names] if "domains" in names and len(names) == 2 else itertools.permutations(names)
        spellings += [
            ",".join(f"{axis}={'.'.join(turn)}" for axis in order)
            for turn in turns
            for order in itertools.permutations(axes)
        ]
    found: dict[bytes, str] = {}
    for text in spellings:
        try:
            laid = place(plan, fabric, text)
        except PlacementError:
            continue
        found.setdefault(laid.rank.tobytes(), text)
        if len(found) >= most:
            break
    return list(found.values())
