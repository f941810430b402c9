"""Linear programs through HiGHS."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from topo.errors import BoundError
from topo.fabric import FloatArray

TIME_LIMIT = 120.0
"""Seconds after which HiGHS gives up."""


def maximise(
    objective: FloatArray, equal: Any, below: Any, limits: FloatArray, what: str
) -> tuple[float, FloatArray, FloatArray]:
    """Maximise over variables from 0 up, with ``equal @ x = 0`` and ``below @ x <= limits``.

    Parameters
    ----------
    objective : float array [variables]
    equal, below : sparse arrays [rows, variables]
    limits : float array [rows of below]
    what : str
        Name of the program, for errors.

    Returns
    -------
    float
        The maximum.
    float array [variables]
        Where it is taken.
    float array [rows of below]
        Dual price of each limit, 0 or more.

    Raises
    ------
    BoundError
        HiGHS finds no optimum, or not in time.
    """
    from scipy.optimize import OptimizeWarning, linprog

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)
        found = linprog(
            -objective,
            A_ub=below,
            b_ub=limits,
            A_eq=equal,
            b_eq=np.zeros(equal.shape[0]),
            bounds=(0, None),
            method="highs-ipm" if len(objective) > 2000 else "highs",
            options={"time_limit": TIME_LIMIT},
        )
    if found.status != 0:
        raise BoundError(
            f"{what}: HiGHS found no optimum ({found.message.strip()})", "use the elementary bounds"
        )
    prices = np.maximum(-np.asarray(found.ineqlin.marginals), 0.0)
    return float(-found.fun), np.asarray(found.x), prices
