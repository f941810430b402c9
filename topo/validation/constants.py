"""The constants of communication libraries as numbers that a fit may move."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from topo.ccl import CCL, load, meanings, with_value
from topo.fabric import FloatArray

FITTED = "fit"
"""Confidence of a constant that comes from a fit to measurements."""


@dataclass(frozen=True)
class Free:
    """A constant that may move.

    Parameters
    ----------
    library : str
        Whose own constant it is; empty for one of a link technology, which all libraries share.
    technology : str
        Empty for a library's own.
    key : str
    value : float
        Where it stands, in its unit.
    low, high : float
        Its plausible range.
    unit : str
    """

    library: str
    technology: str
    key: str
    value: float
    low: float
    high: float
    unit: str

    @property
    def name(self) -> str:
        """Such as ``nvlink4.reach``."""
        return f"{self.technology or self.library}.{self.key}"

    @property
    def scale(self) -> float:
        """A step that matters: the value itself, or a hundredth of the range where it is next to nothing."""
        return max(abs(self.value), 0.01 * (self.high - self.low))


@dataclass(frozen=True)
class Settings:
    """Libraries with some of their constants moved.

    Parameters
    ----------
    free : tuple of Free
    values : tuple of float
    base : mapping of str to CCL
        What each library is before anything moves; by default as it comes with the simulator.
    """

    free: tuple[Free, ...]
    values: tuple[float, ...]
    base: Mapping[str, CCL]

    def libraries(self, names: Iterable[str]) -> dict[str, CCL]:
        """The libraries of those names, moved."""
        return {name: self._moved(name) for name in names}

    def _moved(self, name: str) -> CCL:
        ccl = self.base.get(name) or load(name)
        for constant, value in zip(self.free, self.values, strict=True):
            if constant.technology and constant.technology in ccl.technologies:
                if constant.key in ccl.technologies[constant.technology].constants:
                    ccl = with_value(ccl, constant.technology, constant.key, value)
            elif constant.library == name:
                ccl = with_value(ccl, "", constant.key, value)
        return ccl


def free_constants(
    libraries: Mapping[str, CCL], technologies: Iterable[str], *, fitted_only: bool = True
) -> tuple[Free, ...]:
    """The constants of some technologies, and the libraries' own, that a fit may move.

    Parameters
    ----------
    libraries : mapping of str to CCL
    technologies : iterable of str
    fitted_only : bool
        Leave out those that come from documents.
    """
    found: dict[str, Free] = {}
    wanted = list(dict.fromkeys(technologies))
    for name, ccl in libraries.items():
        groups = [(technology, ccl.technologies[technology].constants) for technology in wanted]
        for technology, constants in [("", ccl.constants), *groups]:
            for key, constant in constants.items():
                if fitted_only and constant.confidence != FITTED:
                    continue
                low, high = meanings()[key]["range"]
                one = Free(
                    "" if technology else name,
                    technology,
                    key,
                    constant.value,
                    float(low),
                    float(high),
                    constant.unit,
                )
                found.setdefault(one.name, one)
    return tuple(found.values())


def clipped(free: Sequence[Free], values: FloatArray) -> FloatArray:
    """Values moved into their plausible ranges."""
    return np.clip(values, [c.low for c in free], [c.high for c in free])
