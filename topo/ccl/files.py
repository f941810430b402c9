"""Reading libraries and link technologies from YAML.

A library is a file in ``libraries/``, or a user's own; a technology a file in ``technologies/``.  Every number is a
mapping ``{value, source, confidence}``, a fitted one also with its ``standard_error``; ``constants.yaml`` says what
each key means and which values are plausible.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from topo.ccl.model import CCL, Constant, LinkClass
from topo.errors import CatalogueError, NetworkError, UnitError, nearest
from topo.units import parse_bandwidth, parse_quantity

HERE = Path(__file__).parent
FAMILIES = ("ideal", "nccl", "generic")
CONFIDENCES = ("datasheet", "paper", "analyst", "estimate", "memory", "fit")
LEVELS = ("scale-up", "scale-out")
LIBRARY_KEYS = ("name", "title", "family", "base", "constants", "technologies", "tuner", "notes")
TECHNOLOGY_KEYS = (
    "name",
    "title",
    "matches",
    "level",
    "rates",
    "generation",
    "tuner_share",
    "channels",
    "nvls_channels",
    "ll128",
    "adds",
    "plugin_latency",
    "constants",
    "notes",
)
CONSTANT_KEYS = ("value", "source", "confidence", "standard_error", "note")


def names() -> tuple[str, ...]:
    """Libraries that come with the simulator; ``ideal`` first."""
    return ("ideal", *sorted(path.stem for path in (HERE / "libraries").glob("*.yaml")))


def load(name: str | Path) -> CCL:
    """A library by name, or from a user's file.

    Parameters
    ----------
    name : str or Path
        One of :func:`names`, or a path that ends in ``.yaml``; ``,collnet=on`` behind it lets the switches between
        domains add.

    Raises
    ------
    NetworkError
        Unknown name or option.
    CatalogueError
        A file that is wrong; with file and key, and what would be right.
    """
    name, comma, option = str(name).partition(",")
    if comma:
        return _with_option(load(name), option)
    if name.endswith((".yaml", ".yml")):
        return _library(Path(name))
    if name == "ideal":
        return CCL("ideal", "The fabric's own limit", "ideal")
    if name not in names():
        raise NetworkError(
            f"library {name!r} is unknown",
            nearest(name, names()) or f"one of {', '.join(names())}, or a .yaml file",
        )
    return _known(name)


def _with_option(ccl: CCL, option: str) -> CCL:
    if option not in ("collnet=on", "collnet=off"):
        raise NetworkError(
            f"option {option!r} of library {ccl.name} is unknown", "use collnet=on or collnet=off"
        )
    if ccl.family != "nccl":
        raise NetworkError(f"library {ccl.name} has no CollNet", "use nccl,collnet=on")
    on = option == "collnet=on"
    return replace(ccl, name=f"{ccl.name},collnet=on" if on else ccl.name, collnet=on)


@cache
def _known(name: str) -> CCL:
    return _library(HERE / "libraries" / f"{name}.yaml")


@cache
def meanings() -> Mapping[str, Mapping[str, Any]]:
    """Meaning, unit and plausible range of every constant, by key."""
    return _read(HERE / "constants.yaml")


@cache
def technologies() -> Mapping[str, LinkClass]:
    """All link technologies that come with the simulator."""
    found = [_technology(path) for path in sorted((HERE / "technologies").glob("*.yaml"))]
    return {entry.name: entry for entry in found}


def _library(path: Path) -> CCL:
    data = _read(path)
    _only(path, data, LIBRARY_KEYS, "")
    base = load(data["base"]) if "base" in data else None
    family = data.get("family", base.family if base else "")
    if family not in FAMILIES:
        raise CatalogueError(f"{path.name}: family is {family!r}", f"use {', '.join(FAMILIES)}")
    own = _constants(path, data.get("constants", {}), "constants")
    ccl = CCL(
        name=str(data.get("name", path.stem)),
        title=str(data.get("title", "")),
        family=family,
        constants={**(base.constants if base else {}), **own},
        technologies=base.technologies if base else technologies(),
        tuner={**(base.tuner if base else {}), **data.get("tuner", {})},
    )
    for technology, values in data.get("technologies", {}).items():
        ccl = ccl.with_constants(technology, _constants(path, values, f"technologies.{technology}"))
    return ccl


def _technology(path: Path) -> LinkClass:
    data = _read(path)
    _only(path, data, TECHNOLOGY_KEYS, "")
    if data.get("level") not in LEVELS:
        raise CatalogueError(f"{path.name}: level is {data.get('level')!r}", f"use {' or '.join(LEVELS)}")
    return LinkClass(
        name=data["name"],
        title=data["title"],
        matches=tuple(data.get("matches", ())),
        level=data["level"],
        rates=tuple(parse_bandwidth(rate) for rate in data.get("rates", ())),
        generation=data.get("generation", ""),
        tuner_share=float(data.get("tuner_share", 1.0)),
        channels=int(data.get("channels", 1)),
        nvls_channels=int(data.get("nvls_channels", 0)),
        ll128=bool(data.get("ll128", True)),
        adds=bool(data.get("adds", False)),
        plugin_latency=_number(path, "plugin_latency", data.get("plugin_latency", 0.0), "s"),
        constants=_constants(path, data["constants"], "constants"),
    )


def _constants(path: Path, data: Mapping[str, Any], where: str) -> dict[str, Constant]:
    return {key: _constant(path, key, entry, f"{where}.{key}") for key, entry in data.items()}


def _constant(path: Path, key: str, entry: Any, where: str) -> Constant:
    if key not in meanings():
        raise CatalogueError(f"{path.name}: {where} is unknown", nearest(key, meanings()))
    if not isinstance(entry, dict) or "value" not in entry:
        raise CatalogueError(
            f"{path.name}: {where} is {str(entry)[:40]!r}", "write {value: ..., source: ..., confidence: ...}"
        )
    _only(path, entry, CONSTANT_KEYS, where)
    meaning = meanings()[key]
    unit = str(meaning["unit"])
    for needed in ("source", "confidence"):
        if not entry.get(needed):
            raise CatalogueError(f"{path.name}: {where} has no {needed}", f"add {needed}")
    if entry["confidence"] not in CONFIDENCES:
        raise CatalogueError(
            f"{path.name}: {where}: confidence is {entry['confidence']!r}", f"use {', '.join(CONFIDENCES)}"
        )
    low, high = meaning["range"]
    value = _number(path, where, entry["value"], unit)
    if not low <= value <= high:
        raise CatalogueError(
            f"{path.name}: {where} is {value:.4g} {unit}", f"between {low:g} and {high:g} {unit} is plausible"
        )
    error = entry.get("standard_error")
    return Constant(
        key,
        value,
        unit,
        str(entry["source"]),
        str(entry["confidence"]),
        None if error is None else _number(path, f"{where}.standard_error", error, unit),
        str(entry.get("note", "")),
    )


def _number(path: Path, where: str, given: Any, unit: str) -> float:
    try:
        if not unit or isinstance(given, int | float):
            return float(given)
        return parse_quantity(str(given), unit, allow_zero=True)
    except (UnitError, ValueError) as error:
        raise CatalogueError(f"{path.name}: {where} is {given!r}", str(error)) from None


def _only(path: Path, data: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in data:
        if key not in known:
            place = f"{where}.{key}" if where else key
            raise CatalogueError(f"{path.name}: {place} is unknown", nearest(str(key), known))


@cache
def _cached(path: Path, changed: int) -> Mapping[str, Any]:
    import yaml

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise CatalogueError(f"{path} is not YAML: {error}".replace("\n", " ")) from None
    if not isinstance(data, dict):
        raise CatalogueError(f"{path} holds no mapping", "see the files in topo/ccl/libraries")
    return data


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return _cached(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise CatalogueError(f"{path} cannot be read: {error.strerror}") from None


def with_value(ccl: CCL, technology: str, key: str, value: float) -> CCL:
    """The same library with one constant changed, for fits; an empty technology means the library's own.

    Raises
    ------
    CatalogueError
        The constant is not there to be changed.
    """
    held = ccl.technologies[technology].constants if technology else ccl.constants
    if key not in held:
        raise CatalogueError(f"{technology or ccl.name} has no constant {key!r}", nearest(key, held))
    changed = replace(held[key], value=value)
    if technology:
        return ccl.with_constants(technology, {key: changed})
    return replace(ccl, constants={**ccl.constants, key: changed})
