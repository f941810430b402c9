"""Which combinations of values a sweep runs: all of them, a list of them, or some at random."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from topo.errors import SweepError, nearest

KINDS = ("grid", "list", "random")
LARGEST = 2**62


@dataclass(frozen=True)
class Block:
    """A command and the values of its parameters.

    Parameters
    ----------
    command : str
        Such as ``run``, or an experiment's name.
    values : mapping of str to tuple
        The values of each parameter, in the order in which they are to vary; the last varies fastest.
    design : str
        ``grid``: every combination; ``list``: the first values together, the second ones together, and so on, where
        a single value serves all; ``random``: ``count`` different combinations of the grid.
    count : int, optional
        Points of a random design.
    seed : int
        What a random design is drawn with.

    Raises
    ------
    SweepError
        A parameter without values, an unknown design, lists of several lengths, or a count that cannot be.
    """

    command: str
    values: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    design: str = "grid"
    count: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.design not in KINDS:
            raise SweepError(
                f"design {self.design!r} is unknown",
                nearest(self.design, KINDS) or f"one of {', '.join(KINDS)}",
            )
        for name, values in self.values.items():
            if not values:
                raise SweepError(
                    f"the grid of {self.command!r} is empty: parameter {name!r} has no values",
                    f"give {name} a value, or leave it out for its default",
                )
        if self.design == "list":
            lengths = {name: len(values) for name, values in self.values.items() if len(values) > 1}
            if len(set(lengths.values())) > 1:
                said = ", ".join(f"{name} has {length}" for name, length in lengths.items())
                raise SweepError(
                    f"a list design takes its parameters side by side, but {said} values",
                    "give all the same number of values, or one",
                )
        if self.design == "random":
            if self.count is None or self.count < 1:
                raise SweepError("a random design has no count", "write count: 100")
            if self.count > self.combinations:
                raise SweepError(
                    f"a random design of {self.count} points from a grid of {self.combinations}",
                    f"take {self.combinations} at most, or design: grid",
                )
        elif self.count is not None:
            raise SweepError(
                f"count is for a random design, and this is a {self.design}", "write design: random"
            )
        if self.combinations > LARGEST:
            raise SweepError("the grid has more points than can be counted", "give fewer values")

    @property
    def combinations(self) -> int:
        """Points of the whole grid."""
        return math.prod(len(values) for values in self.values.values())

    def __len__(self) -> int:
        """Points of the design."""
        if self.design == "random":
            return self.count or 0
        if self.design == "list":
            return max((len(values) for values in self.values.values()), default=1)
        return self.combinations

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The inputs that each point gives."""
        if self.design == "list":
            for number in range(len(self)):
                yield {name: values[number if len(values) > 1 else 0] for name, values in self.values.items()}
        elif self.design == "random":
            for number in sorted(random.Random(self.seed).sample(range(self.combinations), len(self))):
                yield self._combination(number)
        else:
            for number in range(len(self)):
                yield self._combination(number)

    def _combination(self, number: int) -> dict[str, Any]:
        chosen = {}
        for name, values in reversed(list(self.values.items())):
            number, digit = divmod(number, len(values))
            chosen[name] = values[digit]
        return {name: chosen[name] for name in self.values}
