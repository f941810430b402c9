"""Sourced values: text with a unit in, SI numbers out.

Every number is a mapping ``{value, source, confidence, note}``; the value is text with a unit, as ``50GB/s``.
A number without source or confidence is refused.  This module loads pydantic: import it inside functions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, field_validator

from topo.errors import UnitError
from topo.units import parse_bandwidth, parse_bytes, parse_count, parse_quantity, parse_time

Text = Annotated[StrictStr, Field(min_length=1, max_length=2000)]
Confidence = Literal["datasheet", "paper", "analyst", "estimate", "memory"]
Per = Literal["accelerator", "domain"] | Annotated[StrictInt, Field(gt=0)]


class Model(BaseModel):
    """A mapping that may hold no key but its own."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Sourced(Model, ABC):
    """Anything that must say where it comes from."""

    source: Text
    confidence: Confidence
    note: StrictStr = ""

    @property
    @abstractmethod
    def said(self) -> float | tuple[float, ...] | bool | str:
        """What the source is cited for."""


class Value(Sourced):
    """A number, or several where the kind of value allows it, in SI units."""

    unit: ClassVar[str] = ""
    several: ClassVar[bool] = False
    value: tuple[float, ...]

    @field_validator("value", mode="before")
    @classmethod
    def _parsed(cls, given: Any) -> tuple[float, ...]:
        if isinstance(given, list) and not cls.several:
            raise ValueError("is a list; give one value")
        if isinstance(given, list) and not given:
            raise ValueError("is an empty list")
        try:
            return tuple(cls.parse(one) for one in (given if isinstance(given, list) else [given]))
        except UnitError as error:
            raise ValueError(f"is wrong: {error}") from None

    @classmethod
    def parse(cls, given: Any) -> float:
        """One number in SI units."""
        if not isinstance(given, str):
            raise UnitError(f"{given!r} has no unit", f"write for example 1G{cls.unit}")
        return parse_quantity(given, cls.unit)

    @property
    def said(self) -> tuple[float, ...]:
        """The numbers."""
        return self.value

    @property
    def number(self) -> float:
        """The value, of several the first."""
        return self.value[0]


def _with_unit(given: Any, parse: Callable[[str], float], example: str) -> float:
    if not isinstance(given, str):
        raise UnitError(f"{given!r} has no unit", f"for example {example}")
    return parse(given)


class Bandwidth(Value):
    """B/s, per link and direction unless the key says otherwise."""

    unit = "B/s"

    @classmethod
    def parse(cls, given: Any) -> float:
        return _with_unit(given, parse_bandwidth, "50GB/s (bytes) or 400Gb/s (bits)")


class Bandwidths(Bandwidth):
    """One bandwidth, or one per dimension."""

    several = True


class NicBandwidth(Bandwidth):
    """B/s of the scale-out ports of an accelerator, or of a whole domain."""

    per: Per = "accelerator"


class Marketing(Bandwidth):
    """The advertised bandwidth of an accelerator and what it counts."""

    convention: Literal["both directions", "per direction", "with scale-out", "conflicting"]


class Size(Value):
    """Bytes."""

    unit = "B"

    @classmethod
    def parse(cls, given: Any) -> float:
        return _with_unit(given, parse_bytes, "80GB or 32GiB")


class PoolBandwidth(Bandwidth):
    """B/s of a memory that several accelerators share."""

    per: Per


class PoolSize(Size):
    """Bytes of a memory that several accelerators share."""

    per: Per


class Time(Value):
    """Seconds."""

    unit = "s"

    @classmethod
    def parse(cls, given: Any) -> float:
        return _with_unit(given, lambda text: parse_time(text, allow_zero=True), "350ns")


class Count(Value):
    """A whole number, zero allowed."""

    @classmethod
    def parse(cls, given: Any) -> float:
        if isinstance(given, (bool, str)):
            raise UnitError(f"{given!r} is not a whole number", "for example 18")
        return parse_count(given, allow_zero=True)


class Counts(Count):
    """Whole numbers, one per dimension."""

    several = True


class Flops(Value):
    """Dense FLOP/s."""

    unit = "FLOP/s"


class Frequency(Value):
    """Hz."""

    unit = "Hz"


class Power(Value):
    """Watts of one accelerator, of a domain, or of so many accelerators."""

    unit = "W"
    per: Per


class ChipPower(Value):
    """Watts of one chip."""

    unit = "W"


class Price(Value):
    """US dollars, one figure or the lowest and the highest."""

    unit = "USD"
    several = True
    per: Per


class Rent(Value):
    """US dollars an hour, one figure or the lowest and the highest."""

    unit = "USD/h"
    several = True
    per: Per


class Flag(Sourced):
    """Yes or no."""

    value: StrictBool

    @property
    def said(self) -> bool:
        """The value."""
        return self.value


class Remark(Sourced):
    """A fact in words."""

    value: Text

    @property
    def said(self) -> str:
        """The words."""
        return self.value


class Fact(Value):
    """A published figure of any kind."""

    @classmethod
    def parse(cls, given: Any) -> float:
        if isinstance(given, (int, float)) and not isinstance(given, bool):
            return float(given)
        for parse in (parse_bandwidth, parse_time, parse_bytes):
            try:
                return parse(given)
            except UnitError:
                continue
        raise UnitError(f"{given!r} is no number, bandwidth, time or size", "for example 480GB/s")


class Builder(Sourced):
    """The rule by which the graph is drawn, and its whole numbers."""

    rule: Text
    parameters: dict[str, Any] = Field(default_factory=dict)

    @property
    def said(self) -> str:
        """The rule."""
        return self.rule
