"""Keys that may stand behind a name, ``,key=value``: what each means and how its value is read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from topo.errors import CatalogueError, TopoError, nearest
from topo.units import parse_bandwidth, parse_count, parse_time


@dataclass(frozen=True)
class Key:
    """One key.

    Parameters
    ----------
    name : str
        As written before the equals sign.
    read : callable
        From the text to what the builder takes.
    values : str
        The form of its values, for people.
    default : str
        What holds without it, for people.
    what : str
        One line.
    """

    name: str
    read: Callable[[str], Any]
    values: str
    default: str
    what: str


def bandwidths(text: str) -> float | tuple[float, ...]:
    """One bandwidth, or several separated by slashes as ``100GB/s/25GB/s``.

    Raises
    ------
    UnitError
        Not a bandwidth.
    """
    return _one_or_more(parse_bandwidth, _slashed_bandwidths(text))


def latencies(text: str) -> float | tuple[float, ...]:
    """One time, or several separated by slashes as ``1us/3us``.

    Raises
    ------
    UnitError
        Not a time.
    """
    return _one_or_more(latency, text.split("/"))


def latency(text: str) -> float:
    """A time that may be zero.

    Raises
    ------
    UnitError
        Not a time.
    """
    return parse_time(text, allow_zero=True)


def flag(text: str) -> bool:
    """``true`` or ``false``.

    Raises
    ------
    CatalogueError
        Anything else.
    """
    words = {"true": True, "false": False}
    if text.lower() not in words:
        raise CatalogueError(f"{text!r} is neither true nor false", "write true or false")
    return words[text.lower()]


def ratio(text: str) -> float:
    """A ratio such as ``2``, ``1.5`` or ``7:1``.

    Raises
    ------
    CatalogueError
        Not a positive number.
    """
    above, colon, below = text.partition(":")
    try:
        number = float(above) / (float(below) if colon else 1.0)
    except (ValueError, ZeroDivisionError):
        number = math.nan
    if not 0 < number < math.inf:
        raise CatalogueError(f"{text!r} is no ratio above zero", "for example 2 or 7:1")
    return number


BANDWIDTH = Key("bandwidth", parse_bandwidth, "50GB/s", "50GB/s", "of each link and direction")
LATENCY = Key("latency", latency, "1us", "1us", "of each link")
MULTICAST = Key("multicast", flag, "true|false", "false", "the switch copies data to several ports")
REDUCE = Key("reduce", flag, "true|false", "false", "the switch adds data from several ports")
IN_NETWORK = Key("in_network", flag, "true|false", "false", "multicast and reduce together")
OVERSUBSCRIPTION = Key(
    "oversubscription", ratio, "2 or 7:1", "1", "bandwidth down over bandwidth up of a leaf switch"
)
SPINES = Key("spines", parse_count, "16", "one per uplink of a leaf, at most 16", "spine switches")
UNIT = Key("unit", parse_count, "32", "as many as give a leaf 32 downlinks", "domains of a scalable unit")
NIC = Key(
    "nic", parse_bandwidth, "50GB/s", "the system's own, or 50GB/s", "each accelerator's network interface"
)
NIC_LATENCY = Key(
    "nic_latency", latency, "1us", "the system's own, or 1us", "from an accelerator to its leaf switch"
)
SWITCH_LATENCY = Key(
    "switch_latency", latency, "450ns", "the system's own, or nic_latency", "between two scale-out switches"
)
RAILS = Key("rails", parse_count, "8", "one per accelerator of a domain", "leaf switches of a scalable unit")
POD = Key(
    "pod",
    parse_count,
    "64",
    "as many as give a spine 32 downlinks",
    "domains of a pod of a three-tier network",
)
CORE_OVERSUBSCRIPTION = Key(
    "core_oversubscription",
    ratio,
    "2 or 7:1",
    "1",
    "bandwidth down over bandwidth up of a spine of a three-tier network",
)
SCALE_OUT = Key(
    "scale_out",
    str,
    "rail-fat-tree|leaf-spine|three-tier|dragonfly|switch",
    "the system's own, or rail-fat-tree",
    "network",
)
FAILED = Key(
    "failed",
    str,
    "a-b+c-d, gpu0, 3@seed7 or 3chips@seed7",
    "none",
    "cables that are gone, by their ends or at random, and lost accelerators",
)

NETWORK_KEYS = (
    SCALE_OUT,
    NIC,
    NIC_LATENCY,
    SWITCH_LATENCY,
    OVERSUBSCRIPTION,
    RAILS,
    UNIT,
    SPINES,
    POD,
    CORE_OVERSUBSCRIPTION,
)
"""Keys of the network that ``*COUNT`` adds."""


def per(what: str) -> tuple[Key, Key]:
    """Bandwidth and latency keys that take one value, or one for each of several things."""
    return (
        Key(
            "bandwidth",
            bandwidths,
            "50GB/s or 100GB/s/25GB/s",
            "50GB/s",
            f"per direction, of all or per {what}",
        ),
        Key("latency", latencies, "1us or 1us/3us", "1us", f"of all links or per {what}"),
    )


def read(name: str, keys: Iterable[Key], options: Mapping[str, str]) -> dict[str, Any]:
    """Arguments of a builder from the options behind a name.

    Parameters
    ----------
    name : str
        What the options belong to, for messages.
    keys : iterable of Key
        The keys it knows.
    options : mapping
        Values by key.

    Raises
    ------
    TopoError
        An unknown key, named with the nearest ones, or a value that cannot be read.
    """
    known = {key.name: key for key in keys}
    arguments: dict[str, Any] = {}
    for option, text in options.items():
        if option not in known:
            raise unknown_key(name, option, known)
        if option == IN_NETWORK.name:
            for other in (MULTICAST.name, REDUCE.name):
                if other in options:
                    raise CatalogueError(f"{name}: {option} and {other} are both given", "leave one out")
                arguments[other] = _value(known[option], text)
        else:
            arguments[option] = _value(known[option], text)
    return arguments


def unknown_key(name: str, option: str, known: Iterable[str]) -> CatalogueError:
    """The error for a key that ``name`` does not know."""
    names = list(dict.fromkeys(known))
    hint = nearest(option, names) or (f"it knows {', '.join(names)}" if names else "it knows none")
    return CatalogueError(f"{name} has no key {option!r}", hint)


def _value(key: Key, text: str) -> Any:
    try:
        return key.read(text)
    except TopoError as error:
        if error.message.startswith(key.name):
            raise
        raise type(error)(f"{key.name}={text}: {error.message}", error.hint) from None


def _one_or_more(parse: Callable[[str], float], parts: list[str]) -> float | tuple[float, ...]:
    return parse(parts[0]) if len(parts) == 1 else tuple(map(parse, parts))


def _slashed_bandwidths(text: str) -> list[str]:
    """Split at slashes, but not at those of ``GB/s``."""
    parts: list[str] = []
    for piece in text.split("/"):
        if piece.strip() == "s" and parts and not parts[-1].endswith("/s"):
            parts[-1] += "/s"
        else:
            parts.append(piece)
    return parts
