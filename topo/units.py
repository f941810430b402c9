"""Quantities at the edge: text such as ``64MiB``, ``900GB/s`` or ``1us`` in, SI floats inside, and back.

GB = 1e9 bytes, GiB = 2**30 bytes, Gb = 1e9 bits (SI and IEC 80000-13).  Prefixes are case-sensitive, as ``m``
is milli and ``M`` mega; text that would be read a billion times too small is refused instead.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import SupportsFloat

from quantiphy import QuantiPhyError, Quantity

from topo.errors import UnitError


class _Quantity(Quantity):  # a class of its own, so that these preferences are nobody else's
    pass


_Quantity.set_prefs(spacer="", prec=3, form="si", strip_zeros=True, output_sf="EPTGMkmunpfa")


@dataclass(frozen=True)
class _Kind:
    """What sort of quantity is read: its name, its units in SI, and whether text may do without a unit."""

    what: str
    units: Mapping[str, float]
    example: str
    bare: bool = False
    divisible: bool = True


_BYTES = _Kind("size", {"B": 1.0, "byte": 1.0, "bytes": 1.0}, "64MiB", bare=True, divisible=False)
_BANDWIDTH = _Kind(
    "bandwidth",
    {"B/s": 1.0, "Bps": 1.0, "b/s": 0.125, "bps": 0.125, "bit/s": 0.125},
    "50GB/s or 400Gb/s",
    divisible=False,
)
_TIME = _Kind("time", {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}, "1us")
_LENGTH = _Kind("length", {"m": 1.0}, "1000km")
_COUNT = _Kind("count", {"": 1.0}, "64", bare=True, divisible=False)

_TEXT = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,2}(?!\d))?)\s*([^\s\d.,_+-]\S*)?", re.ASCII)
_LONGEST_RANGE = 1000


def parse_bytes(text: str | SupportsFloat, *, allow_zero: bool = False) -> float:
    """Bytes of ``64MiB``, ``1GB``, ``512`` or a number.

    Parameters
    ----------
    text : str or number
        Bare numbers are bytes.  ``64M`` is refused, for it could mean 1e6 or 2**20.
    allow_zero : bool
        Whether 0 makes sense.

    Raises
    ------
    UnitError
        Not a size; negative, zero, NaN or infinite.
    """
    return _parse(text, _BYTES, allow_zero)


def parse_bandwidth(text: str | SupportsFloat, *, allow_zero: bool = False) -> float:
    """Bytes/s of ``900GB/s``, ``400Gb/s`` (bits) or a number.

    Raises
    ------
    UnitError
        Not a bandwidth, or text without a unit; negative, zero, NaN or infinite.
    """
    return _parse(text, _BANDWIDTH, allow_zero)


def parse_time(text: str | SupportsFloat, *, allow_zero: bool = False) -> float:
    """Seconds of ``1us``, ``2.5ms``, ``10min``, ``3h``, ``1d`` or a number.

    Raises
    ------
    UnitError
        Not a time, or text without a unit; negative, NaN or infinite; zero unless ``allow_zero``.
    """
    return _parse(text, _TIME, allow_zero)


def parse_length(text: str | SupportsFloat, *, allow_zero: bool = False) -> float:
    """Metres of ``1000km``, ``3m`` or a number.

    Raises
    ------
    UnitError
        Not a length, or text without a unit; negative, zero, NaN or infinite.
    """
    return _parse(text, _LENGTH, allow_zero)


def parse_count(text: str | SupportsFloat, *, allow_zero: bool = False) -> int:
    """A whole number: ``64``, ``8k`` (8000), ``8Ki`` (8192) or ``1e6``.

    Raises
    ------
    UnitError
        Not a whole number; negative, zero unless ``allow_zero``.
    """
    number = _parse(text, _COUNT, allow_zero)
    if number != int(number):
        raise UnitError(f"count {text} is not a whole number", f"for example {_COUNT.example}")
    return int(number)


def parse_quantity(text: str | SupportsFloat, unit: str, *, allow_zero: bool = False) -> float:
    """A quantity in any other unit: ``parse_quantity("989TFLOP/s", "FLOP/s")`` is 989e12.

    Raises
    ------
    UnitError
        Another unit, or text without a unit; negative, zero, NaN or infinite.
    """
    return _parse(text, _Kind("quantity", {unit: 1.0}, f"1k{unit}"), allow_zero)


def format_bytes(size: float) -> str:
    """A size as :func:`parse_bytes` reads it: ``64MiB``, ``1GB``, ``512B``.

    Binary prefixes, unless decimal ones say exactly the same number in fewer letters; else to 4 digits.
    """
    quantity = _Quantity(size, "B")
    # Below 1 KiB quantiphy's binary form equals the SI form, which would write half a byte as 500mB.
    if abs(size) < 1000:
        return f"{size:.4g}B"
    binary, decimal = quantity.binary(prec=3, strip_zeros=True), quantity.render()
    exact = [text for text in (binary, decimal) if float(_Quantity(text, binary=True)) == size]
    return min(exact, key=len, default=binary)


def format_bandwidth(bandwidth: float) -> str:
    """Bytes/s to 4 digits: ``900GB/s``."""
    return str(_Quantity(bandwidth, "B/s").render())


def format_time(seconds: float) -> str:
    """Seconds to 4 digits: ``1.5us``, ``12s``; from two minutes, hours or days ``2min``, ``2h``, ``2d``."""
    for unit in ("d", "h", "min"):
        length = _TIME.units[unit]
        if abs(seconds) >= 2 * length:
            amount = seconds / length
            return f"{amount:.4g}{unit}" if abs(amount) < 1e4 else f"{amount:.0f}{unit}"
    return str(_Quantity(seconds, "s").render())


def size_range(text: str) -> list[float]:
    """Sizes in bytes of a range or list.

    Parameters
    ----------
    text : str
        Comma-separated sizes and ranges: ``1KiB..4GiB`` doubles from the first size up to the last,
        ``1KiB..4GiB*4`` multiplies by 4 instead.  A size met before is left out.

    Raises
    ------
    UnitError
        Not a range; one that runs downwards, does not grow, or has over 1000 sizes.
    """
    sizes: dict[float, None] = {}
    for part in text.split(","):
        sizes.update(dict.fromkeys(_one_range(part.strip()) if ".." in part else [parse_bytes(part)]))
    return list(sizes)


def _one_range(text: str) -> list[float]:
    hint = "for example 1KiB..4GiB*4"
    first, _, rest = text.partition("..")
    last, star, factor_text = rest.partition("*")
    try:
        factor = float(factor_text) if star else 2.0
    except ValueError:
        factor = math.nan
    if not 1 < factor < math.inf:
        raise UnitError(f"sizes {text!r}: the factor {factor_text!r} is not above 1", hint)
    start, stop = parse_bytes(first), parse_bytes(last)
    if start > stop:
        raise UnitError(f"sizes {text!r} run downwards", f"write {last}..{first}")
    steps = math.floor(math.log(stop / start) / math.log(factor) + 1e-9)
    if steps >= _LONGEST_RANGE:
        raise UnitError(f"sizes {text!r} are more than {_LONGEST_RANGE}", hint)
    return [start * factor**step for step in range(steps + 1)]


def _parse(text: str | SupportsFloat, kind: _Kind, allow_zero: bool) -> float:
    shown = repr(text) if isinstance(text, str) else f"{text!s:.40}"
    hint = f"for example {kind.example}"
    if isinstance(text, str):
        value = _read(text, kind, hint)
    else:
        try:
            value = math.nan if isinstance(text, bool) else float(text)
        except OverflowError:
            value = math.inf
        except (TypeError, ValueError):
            raise UnitError(f"{kind.what} {shown} is not a number", hint) from None
    if not math.isfinite(value):
        raise UnitError(f"{kind.what} {shown} is not a finite number", hint)
    if value < 0 or (value == 0 and not allow_zero):
        raise UnitError(f"{kind.what} {shown} is {'below' if allow_zero else 'not above'} zero", hint)
    return abs(value)  # -0.0 is 0


def _read(text: str, kind: _Kind, hint: str) -> float:
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        raise UnitError(f"{kind.what} {text!r} cannot be read", hint)
    # Without the exponent, which quantiphy does not take together with a prefix (1e3KiB).
    digits, suffix = format(Decimal(match[1]), "f"), match[2] or ""
    number = float(digits)
    if not suffix:
        if kind.bare or number == 0:
            return number
        raise UnitError(f"{kind.what} {text!r} has no unit", hint)
    if suffix in kind.units:
        return number * kind.units[suffix]
    try:
        quantity = _Quantity(digits + suffix, binary=True)
    except QuantiPhyError:
        raise UnitError(f"{kind.what} {text!r} cannot be read", hint) from None
    value, unit = float(quantity), quantity.units
    if unit not in kind.units or (not kind.divisible and abs(value) < abs(number)):
        raise UnitError(
            f"{kind.what} {text!r}: {suffix!r} is no unit of {kind.what}",
            _spelling(match[1], suffix, kind) or hint,
        )
    return value * kind.units[unit]


def _spelling(number: str, suffix: str, kind: _Kind) -> str:
    """How a suffix that is nearly right should be spelled."""
    match = re.fullmatch(r"([kmgtpe])(i?)(b?)((?:ps|/s)?)", suffix, re.IGNORECASE)
    if match is None:
        return ""
    letter, prefix = match[1].upper(), match[1].upper() + match[2].lower()
    if kind is _BYTES and not match[4]:
        if match[2] or match[3]:
            return f"write {number}{prefix}B"
        return f"write {number}{letter}B (powers of 1000) or {number}{letter}iB (powers of 1024)"
    if kind is _BANDWIDTH:
        return f"write {number}{prefix}B/s (bytes) or {number}{prefix}b/s (bits)"
    return ""
