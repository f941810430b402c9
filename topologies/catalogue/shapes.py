"""What may stand after the colon of a name: a slice of a torus, a sub-grid of a wafer, tiles, cards.

No pydantic here: rules come in as plain arguments.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from topo.errors import CatalogueError

_SHAPE = re.compile(r"[1-9]\d{0,6}(x[1-9]\d{0,6})*", re.ASCII)


def parse(name: str, text: str, dimensions: int, example: str) -> tuple[int, ...]:
    """The lengths of ``4x4x8``.

    Raises
    ------
    CatalogueError
        Not lengths joined by ``x``, or another number of them.
    """
    if not _SHAPE.fullmatch(text):
        raise CatalogueError(f"{name}:{text}: {text!r} is no shape", f"write {name}:{example}")
    lengths = tuple(map(int, text.split("x")))
    if len(lengths) != dimensions:
        raise CatalogueError(
            f"{name}:{text} has {len(lengths)} lengths where {name} has {dimensions}",
            f"write for example {name}:{example}",
        )
    return lengths


@dataclass(frozen=True)
class Slice:
    """A slice of a torus: its lengths and which of them close."""

    dims: tuple[int, ...]
    wrap: tuple[bool, ...]


def full_length_slice(name: str, text: str, full: tuple[int, ...], example: str) -> Slice:
    """A slice of a flat pod, in which an axis closes only at the pod's full length.

    Parameters
    ----------
    full : tuple of int
        Lengths of the pod.

    Raises
    ------
    CatalogueError
        Longer than the pod.
    """
    dims = parse(name, text, len(full), example)
    fits = all(d <= f for d, f in zip(dims, full, strict=True))
    if not fits:
        pod = "x".join(map(str, full))
        turned = "x".join(text.split("x")[::-1])
        hint = (
            f"turn it: {name}:{turned}" if all(d <= f for d, f in zip(dims[::-1], full, strict=True)) else ""
        )
        raise CatalogueError(
            f"{name}:{text} is longer than the pod of {pod}", hint or f"use at most {name}:{pod}"
        )
    return Slice(dims, tuple(d == f for d, f in zip(dims, full, strict=True)))


def cube_slice(name: str, text: str, cube: int, most: int, example: str) -> Slice:
    """A slice built of cubes: whole cubes close on every axis, a part of one cube on none.

    Parameters
    ----------
    cube : int
        Edge of a cube.
    most : int
        Chips of the pod.

    Raises
    ------
    CatalogueError
        Neither whole cubes nor a part of one, or more chips than the pod has.
    """
    dims = parse(name, text, 3, example)
    chips = math.prod(dims)
    if chips > most:
        raise CatalogueError(
            f"{name}:{text} has {chips:,} chips, the pod {most:,}", "use a smaller slice, or *COUNT of them"
        )
    if all(d % cube == 0 for d in dims):
        return Slice(dims, (True,) * 3)
    if all(d <= cube and cube % d == 0 for d in dims):
        return Slice(dims, (False,) * 3)
    near = "x".join(str(max(cube, round(d / cube) * cube)) for d in dims)
    parts = ", ".join(str(d) for d in range(1, cube + 1) if cube % d == 0)
    raise CatalogueError(
        f"{name}:{text} cannot be cut: slices are whole cubes of {cube}x{cube}x{cube}, or a part of one cube",
        f"use multiples of {cube} such as {name}:{near}, or lengths of {parts}",
    )


def sub_grid(name: str, text: str, grid: tuple[int, ...]) -> tuple[int, ...]:
    """A sub-grid of a wafer's cores, in either orientation.

    Raises
    ------
    CatalogueError
        Larger than the wafer.
    """
    dims = parse(name, text, 2, "512x512")
    for turned in (dims, dims[::-1]):
        if all(d <= g for d, g in zip(turned, grid, strict=True)):
            return dims
    whole = "x".join(map(str, grid))
    raise CatalogueError(
        f"{name}:{text} is larger than the wafer of {whole} cores", f"use at most {name}:{whole}"
    )


def block_grid(name: str, text: str, grid: tuple[int, ...]) -> tuple[int, ...]:
    """Blocks into which a whole wafer is coarsened.

    Raises
    ------
    CatalogueError
        More blocks than cores, or a single block.
    """
    if not _SHAPE.fullmatch(text) or text.count("x") != 1:
        raise CatalogueError(f"blocks={text} is no pair of numbers", f"write {name},blocks=12x7")
    blocks = tuple(map(int, text.split("x")))
    if any(b > g for b, g in zip(blocks, grid, strict=True)) or math.prod(blocks) == 1:
        whole = "x".join(map(str, grid))
        raise CatalogueError(
            f"blocks={text} does not coarsen the {whole} cores of {name}",
            "use two blocks or more, at most one per core",
        )
    return blocks
