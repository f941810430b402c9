"""Least squares over measurements: constants with their standard errors.

The residual of a row is the logarithm of simulated over measured time, so that a factor counts alike at every size
and in both directions.  Outliers count less (Huber's weights).  A constant that the rows say little about stays where
it was: each is held there by a spring as stiff as one row whose residual would be ``loose`` when the constant doubles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from topo.fabric import FloatArray
from topo.validation.constants import Free, clipped

Residuals = Callable[[FloatArray], FloatArray]
"""Logarithms of simulated over measured time, by row, for values of the constants."""

OUTLIER = 0.25
"""Residual from which a row counts by its size and no longer by its square."""
LOOSE = 0.05
STEP = 0.04
"""Relative step of a difference quotient: far above what simulated times jump by."""
ROUNDS = 6
ENOUGH = 1e-3
"""Relative improvement of the cost at which a fit ends."""
SEEN = 0.05
"""A constant is determined by rows whose residuals move by this, all together, when it doubles."""


@dataclass(frozen=True)
class Fitted:
    """A constant after a fit.

    Parameters
    ----------
    constant : Free
        As it was.
    value : float
    standard_error : float
        Infinite where the rows say nothing about it.
    determined : bool
        Whether the rows say something about it.
    """

    constant: Free
    value: float
    standard_error: float
    determined: bool


@dataclass(frozen=True)
class Fit:
    """The outcome.

    Parameters
    ----------
    constants : tuple of Fitted
    before, after : float array
        Residuals of the rows.
    """

    constants: tuple[Fitted, ...]
    before: FloatArray
    after: FloatArray

    @property
    def values(self) -> FloatArray:
        """The constants' values."""
        return np.array([c.value for c in self.constants])


def fit(
    free: Sequence[Free],
    residuals: Residuals,
    start: FloatArray | None = None,
    *,
    rounds: int = ROUNDS,
    loose: float = LOOSE,
    progress: Callable[[int], object] = lambda done: None,
) -> Fit:
    """Move constants until the rows are met best.

    Levenberg and Marquardt's method; difference quotients are taken once and then corrected from what is seen on
    the way (Broyden 1965), since each costs a simulation of all rows.

    Parameters
    ----------
    free : sequence of Free
    residuals : callable
    start : float array, optional
        Where the constants begin; at their values by default.
    rounds : int
        Steps at most.
    loose : float
        How stiffly constants are held where they begin.
    progress : callable
        Called with 1 after every evaluation.
    """
    origin = np.array([c.value for c in free])
    scale = np.array([c.scale for c in free])
    position = clipped(free, origin if start is None else np.asarray(start, dtype=float))
    before = here = residuals(position)
    progress(1)
    slopes = _slopes(free, residuals, position, here, scale, progress)
    stiff = np.full(len(free), loose**2)
    damping = 1e-2
    cost = _cost(here, position, origin, scale, stiff)
    for _ in range(rounds):
        weights = _weights(here)
        curvature = slopes.T @ (weights[:, None] * slopes) + np.diag(stiff)
        downhill = slopes.T @ (weights * here) + stiff * (position - origin) / scale
        step = np.linalg.solve(curvature + damping * np.diag(np.diag(curvature)), -downhill)
        tried = clipped(free, position + np.clip(step, -0.7, 1.5) * scale)
        moved = (tried - position) / scale
        if float(np.abs(moved).max(initial=0.0)) < 1e-5:
            break
        there = residuals(tried)
        progress(1)
        slopes = slopes + np.outer(there - here - slopes @ moved, moved) / float(moved @ moved)
        reached = _cost(there, tried, origin, scale, stiff)
        if reached < cost:
            gain = 1 - reached / cost if cost > 0 else 0.0
            position, here, cost, damping = tried, there, reached, damping / 4
            if gain < ENOUGH:
                break
        else:
            damping *= 8
    errors, determined = _errors(slopes, here, scale, stiff)
    fitted = tuple(
        Fitted(c, float(value), float(error), bool(known))
        for c, value, error, known in zip(free, position, errors, determined, strict=True)
    )
    return Fit(fitted, before, here)


def _slopes(
    free: Sequence[Free],
    residuals: Residuals,
    position: FloatArray,
    here: FloatArray,
    scale: FloatArray,
    progress: Callable[[int], object],
) -> FloatArray:
    """Difference quotients of the residuals, by row and constant, in steps of the constants' scales."""
    columns = []
    for number, constant in enumerate(free):
        step = STEP * scale[number]
        if position[number] + step > constant.high:
            step = -step
        moved = position.copy()
        moved[number] += step
        columns.append((residuals(moved) - here) / (step / scale[number]))
        progress(1)
    return np.column_stack(columns) if columns else np.zeros((len(here), 0))


def _weights(residuals: FloatArray) -> FloatArray:
    return np.minimum(1.0, OUTLIER / np.maximum(np.abs(residuals), 1e-12))


def _cost(
    residuals: FloatArray, position: FloatArray, origin: FloatArray, scale: FloatArray, stiff: FloatArray
) -> float:
    size = np.abs(residuals)
    huber = np.where(size <= OUTLIER, size**2, OUTLIER * (2 * size - OUTLIER))
    return float(huber.sum() + (stiff * ((position - origin) / scale) ** 2).sum())


def _errors(
    slopes: FloatArray, residuals: FloatArray, scale: FloatArray, stiff: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Standard errors from the spread of the residuals, and which constants the rows say something about."""
    weights = _weights(residuals)
    seen = np.sqrt((weights[:, None] * slopes**2).sum(axis=0))
    determined = seen >= SEEN
    if not determined.any():
        return np.full(len(scale), np.inf), determined
    some = slopes[:, determined]
    free = max(1, len(residuals) - int(determined.sum()))
    spread = float((weights * residuals**2).sum()) / free
    curvature = some.T @ (weights[:, None] * some) + np.diag(stiff[determined])
    errors = np.full(len(scale), np.inf)
    errors[determined] = np.sqrt(np.diag(np.linalg.inv(curvature)) * spread) * scale[determined]
    return errors, determined
