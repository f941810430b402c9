"""Moments: when two are one.

Events that happen together by rights come apart by rounding; within this distance they are one event.
"""

from __future__ import annotations

TIE = 1e-12
"""Distance within which two moments are one event, relative to the time since the links were last idle."""
ROUNDING = 4e-15
"""The same, relative to the clock itself: a few roundings of it."""


def slack(moment: float, origin: float) -> float:
    """How far apart two moments may be and still be one: rounding since ``origin``, and of the clock itself."""
    return TIE * (moment - origin) + ROUNDING * moment
