"""What the groups of an axis do together."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from topo.collective import OPERATIONS, Collective
from topo.errors import CollectiveError, nearest

TRAINING_OPERATIONS = tuple(name for name in OPERATIONS if name != "barrier")


@dataclass(frozen=True)
class Operation:
    """One collective that every group of an axis performs at the same time.

    Parameters
    ----------
    axis : str
        An axis of the :class:`~topo.training.placement.Placement`.
    operation : str
        A collective.  ``send-recv`` is a shift: every rank of the group sends to the next one of its axis (the last
        to the first), as in ring attention; along ``pp`` the ranks of the stage send to the next stage.
    bytes : float
        nccl-tests' size for each group; for ``send-recv`` what each rank sends.
    direction : int
        1 or -1: which way a ``send-recv`` goes.
    skew : float
        Of an ``all-to-all``: load of the first rank over the mean load, between 1 (even) and the size of the
        group; the others share the rest evenly.
    """

    axis: str
    operation: str
    bytes: float
    direction: int = 1
    skew: float = 1.0

    def __post_init__(self) -> None:
        if self.operation not in TRAINING_OPERATIONS:
            raise CollectiveError(
                f"operation {self.operation!r} is unknown",
                nearest(self.operation, TRAINING_OPERATIONS) or f"one of {', '.join(TRAINING_OPERATIONS)}",
            )
        if not (math.isfinite(self.bytes) and self.bytes > 0):
            raise CollectiveError(f"{self.operation} of {self.bytes} bytes moves nothing", "leave it out")
        if self.direction not in (1, -1):
            raise CollectiveError(f"direction {self.direction} is neither 1 nor -1")
        if self.skew < 1 or (self.skew > 1 and self.operation != "all-to-all"):
            raise CollectiveError(
                f"skew {self.skew} of {self.operation} makes no sense", "1 or more, for all-to-all only"
            )

    def collective(self, size: int) -> Collective:
        """The collective of one group.

        Raises
        ------
        CollectiveError
            A skew beyond what a group of that size can have.
        """
        if self.skew == 1.0:
            return Collective(self.operation, size, self.bytes)
        if self.skew > size:
            raise CollectiveError(
                f"skew {self.skew} in a group of {size}",
                f"one rank cannot get more than {size} times the mean",
            )
        share = np.full(size, (size - self.skew) / (size - 1) if size > 1 else 1.0)
        share[0] = self.skew
        block = self.bytes / size
        row = tuple(float(value) for value in share * block)
        return Collective(self.operation, size, self.bytes, matrix=(row,) * size)
