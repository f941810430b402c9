"""Reading what to sweep: a YAML file, or the words of ``GRID=``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from topo.errors import SweepError, TopoError, nearest
from topo.sweep.design import Block

DESIGN = ("design", "count", "seed")
WORDS = ("title", "question")
KEYS = (*DESIGN, *WORDS)
EXAMPLE = "run: {operation: all-reduce, on: [ring:8, torus:4x4], size: [1KiB, 1MiB]}"
_RANGE = ("from", "to", "step", "factor")


@dataclass(frozen=True)
class Spec:
    """What a file asks for.

    Parameters
    ----------
    blocks : tuple of Block
        Commands with their values; all of them are run.
    title, question : str
        Words for the report.
    """

    blocks: tuple[Block, ...]
    title: str = ""
    question: str = ""

    def __len__(self) -> int:
        """Points, those counted twice that two blocks share."""
        return sum(len(block) for block in self.blocks)


class _Loader(yaml.SafeLoader):
    """YAML in which ``on`` and ``off`` are words and ``4:30`` is no number of base 60."""


_Loader.yaml_implicit_resolvers = {
    letter: [
        entry for entry in entries if entry[0] not in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:int")
    ]
    for letter, entries in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|false|False)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9_]*)$"), list("-+0123456789")
)


def read_spec(path: Path, commands: Iterable[str]) -> Spec:
    """The sweep that a YAML file asks for.

    Parameters
    ----------
    path : Path
    commands : iterable of str
        The commands and experiments that can be swept.

    Raises
    ------
    SweepError
        A file that cannot be read, or that names no command.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise SweepError(f"{str(path)!r} is no text file", f"write YAML such as {EXAMPLE}") from None
    except OSError as problem:
        raise SweepError(
            f"spec {str(path)!r} cannot be read: {problem.strerror}", f"it is a YAML file such as {EXAMPLE}"
        ) from None
    try:
        content = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark is not None else ""
        what = getattr(problem, "problem", None) or "no YAML"
        raise SweepError(f"{str(path)!r} is no YAML{where}: {what}", f"write {EXAMPLE}") from None
    except ValueError as problem:
        raise SweepError(f"{str(path)!r} has a value that cannot be read: {problem}", "quote it") from None
    return parse_spec(content, commands, str(path))


def parse_spec(content: Any, commands: Iterable[str], where: str = "the spec") -> Spec:
    """The sweep that the content of a YAML file asks for; parameters and errors as in :func:`read_spec`."""
    known = list(commands)
    if not isinstance(content, Mapping) or not content:
        raise SweepError(f"{where} names no command", f"write {EXAMPLE}")
    design = _design(content, where)
    blocks: list[Block] = []
    for name, given in content.items():
        if name in KEYS:
            continue
        if name not in known:
            hint = nearest(str(name), [*known, *KEYS]) or f"one of {', '.join(known)}"
            raise SweepError(f"{where} names {name!r}, which cannot be swept", hint)
        parts = given if isinstance(given, list) else [given]
        if not parts:
            raise SweepError(f"the grid of {name!r} is empty", f"write {EXAMPLE}")
        blocks += [_block(str(name), part, design, where) for part in parts]
    if not blocks:
        raise SweepError(f"{where} names no command", f"write {EXAMPLE}")
    return Spec(tuple(blocks), *(str(content.get(word, "") or "") for word in WORDS))


def _design(content: Mapping[Any, Any], where: str) -> dict[str, Any]:
    found = {key: content[key] for key in DESIGN if key in content}
    given = found.get("design")
    if isinstance(given, Mapping):  # design: {kind: random, count: 100, seed: 1}
        unknown = [key for key in given if key not in ("kind", "count", "seed")]
        if unknown:
            hint = nearest(str(unknown[0]), ("kind", "count", "seed")) or "it has kind, count and seed"
            raise SweepError(f"the design of {where} has an unknown {unknown[0]!r}", hint)
        found = {**found, **{key: given[key] for key in ("count", "seed") if key in given}}
        found["design"] = given.get("kind", "grid")
    for key in ("count", "seed"):
        if found.get(key) is not None and (not isinstance(found[key], int) or found[key] < 0):
            raise SweepError(f"{key} {found[key]!r} of {where} is no whole number", f"write {key}: 100")
    found["design"] = str(found.get("design") or "grid")
    found["seed"] = found.get("seed") or 0
    return found


def _block(command: str, given: Any, design: Mapping[str, Any], where: str) -> Block:
    if given is None:
        given = {}
    if not isinstance(given, Mapping):
        raise SweepError(f"{command!r} of {where} has no parameters but {given!r}", f"write {EXAMPLE}")
    values: dict[str, tuple[Any, ...]] = {}
    for key, value in given.items():
        name = str(key).replace("_", "-")
        if name in values:
            raise SweepError(f"{command!r} of {where} gives {name!r} twice", "give its values in one list")
        values[name] = _values(name, value)
    return Block(command, values, **design)


def _values(name: str, value: Any) -> tuple[Any, ...]:
    """The values that a parameter is to take."""
    if isinstance(value, list):
        return tuple(one for entry in value for one in (_values(name, entry) if value else ()))
    if isinstance(value, Mapping):
        return _range(name, value)
    if value is None:
        return (None,)
    if isinstance(value, str) and ".." in value and name in ("size", "sizes"):
        from topo.units import format_bytes, size_range

        return tuple(format_bytes(size) for size in size_range(value))
    if not isinstance(value, (str, int, float, bool)):
        raise SweepError(f"{value!r} is no value for {name!r}", "give text, a number, true or false")
    return (value,)


def _range(name: str, given: Mapping[Any, Any]) -> tuple[Any, ...]:
    """``{from: 1, to: 64, factor: 2}`` or ``{from: 0, to: 1, step: 0.25}``."""
    mend = f"write {name}: {{from: 1, to: 64, factor: 2}}, or step: instead of factor:"
    numbers = [given.get(key) for key in _RANGE]
    low, high, step, factor = numbers
    if (
        any(key not in _RANGE for key in given)
        or any(isinstance(n, bool) or not (n is None or isinstance(n, (int, float))) for n in numbers)
        or low is None
        or high is None
        or (step is None) == (factor is None)
    ):
        raise SweepError(f"the range {dict(given)!r} of {name!r} cannot be read", mend)
    if low > high or (step is not None and step <= 0) or (factor is not None and (factor <= 1 or low <= 0)):
        raise SweepError(f"the range {dict(given)!r} of {name!r} leads nowhere", mend)
    found: list[Any] = [low]
    while (value := low + len(found) * step if step is not None else found[-1] * factor) <= high * (
        1 + 1e-12
    ):
        found.append(value)
        if len(found) > 1_000_000:
            raise SweepError(f"the range {dict(given)!r} of {name!r} has more than a million values", mend)
    return tuple(found)


def parse_grid(words: str) -> dict[str, tuple[Any, ...]]:
    """The values of ``domain=8,72 model=llama3-70b``.

    Values that hold commas themselves, as systems do, are parted by semicolons.

    Raises
    ------
    SweepError
        A word without ``=``, or with nothing behind it.
    """
    values: dict[str, tuple[Any, ...]] = {}
    for word in words.split():
        name, equals, text = word.partition("=")
        found = parse_values(name.replace("_", "-"), text)
        if not equals or not name or not found:
            raise SweepError(
                f"{word!r} of the grid {words!r} cannot be read", "write domain=8,72 model=llama3-70b"
            )
        values[name.replace("_", "-")] = found
    return values


def parse_values(name: str, text: str) -> tuple[Any, ...]:
    """The values of a parameter: ``8,72``, or ``torus:4x4,failed=1@seed7;ring:8`` where they hold commas."""
    parts = [part.strip() for part in text.split(";" if ";" in text else ",")]
    return tuple(one for part in parts if part for one in _values(name, _number(part)))


def _number(text: str) -> Any:
    try:
        value = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError):
        return text
    return value if isinstance(value, (int, float, bool)) else text


def bad_parameter(command: str, name: str, known: Iterable[str]) -> TopoError:
    """The error for a parameter that a command does not have."""
    known = list(known)
    hint = nearest(name, known) or f"it has {', '.join(known)}"
    return SweepError(f"{command!r} has no parameter {name!r}", hint)
