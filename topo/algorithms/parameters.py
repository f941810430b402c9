"""Parameters of algorithms: ``NAME:key=value[,key=value...]``.

An algorithm that can be built in several ways declares its parameters; a name without them takes the defaults.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from topo.errors import AlgorithmError, nearest


@dataclass(frozen=True)
class Parameter:
    """One parameter of an algorithm.

    Parameters
    ----------
    name : str
        As spelled after the colon, and as the builder's keyword.
    default : str
        Spelled value that holds when the parameter is not given.
    allowed : str
        What may be given, for people.
    read : callable
        From the spelled value to the builder's; raises ValueError when it is none of the allowed.
    """

    name: str
    default: str
    allowed: str
    read: Callable[[str], object]


def choice(name: str, options: Sequence[str]) -> Parameter:
    """A parameter that is one of some words, the first by default."""

    def read(text: str) -> object:
        if text not in options:
            raise ValueError(text)
        return text

    return Parameter(name, options[0], " or ".join(options), read)


def whole(name: str, default: int, lowest: int = 1) -> Parameter:
    """A parameter that is a whole number."""

    def read(text: str) -> object:
        number = int(text)
        if number < lowest:
            raise ValueError(text)
        return number

    return Parameter(name, str(default), f"a whole number from {lowest} up", read)


def whole_or_best(name: str, allowed: str, lowest: int = 1) -> Parameter:
    """A whole number, or ``best`` (the default, read as 0): the builder finds it."""

    def read(text: str) -> object:
        if text == "best":
            return 0
        number = int(text)
        if number < lowest:
            raise ValueError(text)
        return number

    return Parameter(name, "best", f"best, or {allowed}", read)


def factors(name: str) -> Parameter:
    """Factors written ``4x8``, or ``own`` (the default, read as an empty tuple): those of the fabric."""

    def read(text: str) -> object:
        if text == "own":
            return ()
        numbers = tuple(int(part) for part in text.split("x"))
        if min(numbers) < 2:
            raise ValueError(text)
        return numbers

    return Parameter(name, "own", "own, or factors such as 4x8", read)


def split_name(text: str) -> tuple[str, dict[str, str]]:
    """Split ``NAME:key=value,...`` into the name and what is given.

    Raises
    ------
    AlgorithmError
        A part after the colon that is not key=value, or a key given twice.
    """
    name, _, rest = text.partition(":")
    given: dict[str, str] = {}
    for part in re.split("[,:]", rest) if rest else []:
        key, equals, value = part.partition("=")
        if not equals or not key or not value:
            raise AlgorithmError(
                f"algorithm {text!r}: {part!r} is not key=value", "write for example pat:aggregation=4"
            )
        if key in given:
            raise AlgorithmError(f"algorithm {text!r} gives {key} twice", "give it once")
        given[key] = value
    return name, given


def values_of(name: str, parameters: Sequence[Parameter], given: Mapping[str, str]) -> dict[str, object]:
    """The builder's keywords from what is given and the defaults.

    Raises
    ------
    AlgorithmError
        An unknown parameter, or a value that is none of the allowed.
    """
    known = {parameter.name: parameter for parameter in parameters}
    for key in given:
        if key not in known:
            takes = "; ".join(f"{p.name}={p.allowed}" for p in parameters)
            raise AlgorithmError(
                f"algorithm {name} has no parameter {key!r}",
                nearest(key, known) or (f"it takes {takes}" if takes else "it takes none"),
            )
    values: dict[str, object] = {}
    for key, parameter in known.items():
        text = given.get(key, parameter.default)
        try:
            values[key] = parameter.read(text)
        except ValueError:
            raise AlgorithmError(
                f"algorithm {name}: {key}={text} makes no sense", f"give {parameter.allowed}"
            ) from None
    return values


def spelled(name: str, given: Mapping[str, str]) -> str:
    """The name with its parameters, as :func:`split_name` reads it."""
    return name + (":" + ",".join(f"{key}={value}" for key, value in given.items()) if given else "")
