"""Catalogue files as data: YAML read safely, each key with its file and line, and ``base:`` inherited.

Files may come from anywhere, so nothing in them is ever run: scalars, lists and mappings only, no tags, no
aliases, no key twice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from topo.errors import CatalogueError, nearest

SYSTEMS = Path(__file__).parent.parent / "systems"
SUFFIXES = (".yaml", ".yml", ".json")
"""Of files; JSON is read as the YAML that it is."""

Key = tuple[str | int, ...]
"""Path of a key from the top of a file, as ``("chip", "memory")``."""

_LARGEST = 256 * 1024
_DEEPEST = 20
_PLAIN = "tag:yaml.org,2002:"
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# A mapping with one of these is one thing; an inheriting file replaces it whole, sources and all.
_WHOLE = ("value", "rule", "kind")
_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "true": True, "false": False}
_INTEGER = re.compile(r"[+-]?(?:0|[1-9]\d{0,17})", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(?:\d{1,18}\.\d*|\.\d+|\d{1,18}(?=[eE]))(?:[eE][+-]?\d{1,2})?", re.ASCII)
# What a changed link makes untrue of the machine inherited from.
_CONSEQUENCES = ("accelerator_bandwidth", "marketing_bandwidth", "effective_link_bandwidth")


@dataclass(frozen=True)
class Place:
    """File and line of a key."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}"


@dataclass
class Document:
    """The content of a file with everything it inherits.

    Parameters
    ----------
    file : str
        The file's name, for messages.
    data : dict
        Plain strings, numbers, booleans, None, lists and dicts.
    places : dict of Key to Place
        Where each key is written.
    """

    file: str
    data: dict[str, Any] = field(default_factory=dict)
    places: dict[Key, Place] = field(default_factory=dict)

    def place(self, key: Key) -> Place:
        """Where a key is written, or the nearest key above it that is."""
        for length in range(len(key), -1, -1):
            if key[:length] in self.places:
                return self.places[key[:length]]
        return Place(self.file, 1)

    def error(self, key: Key, problem: str, hint: str = "") -> CatalogueError:
        """An error that names file, line and key."""
        shown = ".".join(map(str, key))
        return CatalogueError(f"{self.place(key)}: {shown + ' ' if shown else ''}{problem}", hint)


def read(path: Path) -> Document:
    """Read one file, without what it inherits.

    Raises
    ------
    CatalogueError
        It cannot be read, is no YAML mapping, or has a tag, an alias or a key twice; with file and line.
    """
    document = Document(path.name)
    try:
        content = _content(_text(path), document)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise CatalogueError(f"{path.name}{line}: not YAML, {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise CatalogueError(f"{path.name}: not YAML, {str(error).splitlines()[0]}") from None
    if not isinstance(content, dict):
        raise CatalogueError(
            f"{path.name}: not a catalogue file", "it starts with lines such as 'name: my-rack'"
        )
    document.data = content
    return document


def load(name: str) -> Document:
    """Read a catalogue entry, or a file, with all it inherits.

    Parameters
    ----------
    name : str
        A name of the catalogue, or the path of a YAML file.

    Raises
    ------
    CatalogueError
        Unknown name, unreadable file, unknown base, or bases that inherit from each other.
    """
    path = find(name)
    return _inherit(read(path), path, (path,))


def names() -> tuple[str, ...]:
    """The names of the catalogue, sorted."""
    return tuple(sorted(path.stem for path in SYSTEMS.glob("*.yaml")))


def find(name: str) -> Path:
    """The file of a catalogue name or path.

    Raises
    ------
    CatalogueError
        Neither a name of the catalogue nor a file.
    """
    if Path(name).suffix in SUFFIXES:
        path = Path(name)
        if path.is_file():
            return path.resolve()
        raise CatalogueError(
            f"there is no file {name}", "give the path of a YAML or JSON file, or a name of the catalogue"
        )
    known = names()
    if name not in known:
        raise CatalogueError(
            f"unknown system {name!r}", nearest(name, known) or f"known are {', '.join(known)}"
        )
    return SYSTEMS / f"{name}.yaml"


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST:
            raise CatalogueError(
                f"{path.name} is larger than {_LARGEST // 1024} KiB", "a system needs a few hundred lines"
            )
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CatalogueError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise CatalogueError(f"{path.name} is not UTF-8 text (byte {error.start})") from None


def _content(text: str, document: Document) -> Any:
    """What a YAML text says, from its events and without recursion; notes the line of every key on the way."""
    result: list[Any] = []
    open_values: list[tuple[Key, list[Any] | dict[str, Any]]] = []
    waiting: str | None = None  # the key whose value comes next
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
            open_values.pop()
            continue
        if not isinstance(event, yaml.NodeEvent):
            continue
        mark = event.start_mark
        place = Place(document.file, mark.line + 1 if mark else 1)
        above, parent = open_values[-1] if open_values else ((), result)
        if isinstance(parent, dict) and waiting is None:
            waiting = _new_key(event, above, parent, document, place)
            continue
        if isinstance(parent, dict):
            key: Key = (*above, waiting or "")
        else:
            key = (*above, len(parent)) if open_values else ()
            document.places[key] = place
        value = _value(event, key, document)
        if isinstance(parent, dict):
            parent[waiting or ""], waiting = value, None
        else:
            parent.append(value)
        if isinstance(value, (dict, list)):
            open_values.append((key, value))
            if len(open_values) > _DEEPEST:
                raise document.error(key[:4], "is nested too deeply")
    if len(result) != 1:
        raise CatalogueError(f"{document.file} holds {len(result)} documents", "write one system a file")
    return result[0]


def _new_key(
    event: yaml.NodeEvent, above: Key, parent: dict[str, Any], document: Document, place: Place
) -> str:
    if not isinstance(event, yaml.ScalarEvent) or event.tag or event.value == "<<":
        raise document.error(above, f"has a key that is no word (line {place.line})")
    key = (*above, str(event.value))
    if event.value in parent:
        raise CatalogueError(
            f"{place}: {'.'.join(map(str, key))} is given twice",
            f"it already stands in line {document.places[key].line}: delete one",
        )
    document.places[key] = place
    return str(event.value)


def _value(event: yaml.NodeEvent, key: Key, document: Document) -> Any:
    if isinstance(event, yaml.AliasEvent) or event.anchor:
        raise document.error(key, "uses an anchor or alias", "write the value out")
    tag = getattr(event, "tag", None)
    if tag:
        raise document.error(key, f"has the tag {tag!r}", "files are data: leave tags out")
    if isinstance(event, yaml.ScalarEvent):
        text = str(event.value)
        return _scalar(text) if event.implicit[0] else text
    return {} if isinstance(event, yaml.MappingStartEvent) else []


def _scalar(text: str) -> str | int | float | bool | None:
    """Decimal numbers, ``true``, ``false`` and ``null``; everything else is text.

    YAML 1.1's octal and sexagesimal numbers, ``yes``, ``no`` and dates stay text.
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else text


def _inherit(document: Document, path: Path, chain: tuple[Path, ...]) -> Document:
    if "base" not in document.data:
        return document
    base = document.data.pop("base")
    if not isinstance(base, str) or not base:
        raise document.error(
            ("base",), f"{base!r} is no name", "name a system of the catalogue, or another file"
        )
    beside = path.parent / base
    try:
        parent = beside.resolve() if beside.suffix in SUFFIXES and beside.is_file() else find(base)
    except CatalogueError as error:
        raise document.error(("base",), f"names {base!r}: {error.message}", error.hint) from None
    if parent in chain:
        circle = " -> ".join(p.name for p in (*chain[chain.index(parent) :], parent))
        raise document.error(
            ("base",), f"leads back to where it started: {circle}", "let one of them stand alone"
        )
    inherited = _inherit(read(parent), parent, (*chain, parent))
    _forget_consequences(document, inherited)
    return Document(
        document.file,
        _merge(inherited.data, document.data),
        inherited.places | document.places,
    )


def _forget_consequences(document: Document, inherited: Document) -> None:
    """Drop inherited totals that the file's own links contradict."""
    own, old = document.data.get("scale_up"), inherited.data.get("scale_up")
    if isinstance(own, dict) and isinstance(old, dict) and ("links" in own or "link_bandwidth" in own):
        for key in _CONSEQUENCES:
            old.pop(key, None)


def _merge(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The new mapping over the old; ``null`` removes a key, notes add up."""
    result = dict(old)
    for key, value in new.items():
        before = result.get(key)
        if value is None:
            result.pop(key, None)
        elif key == "notes" and isinstance(before, list) and isinstance(value, list):
            result[key] = before + value
        elif (
            isinstance(value, dict) and isinstance(before, dict) and not any(word in value for word in _WHOLE)
        ):
            result[key] = _merge(before, value)
        else:
            result[key] = value
    return result
