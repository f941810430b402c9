"""System names: ``NAME[:SHAPE][*COUNT][,key=value...]``, or a file in place of the name.

Several sites are ``site(NAME)*COUNT,key=value...``, NAME being any other name with its own keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from topo.errors import CatalogueError, nearest
from topo.fabric import Fabric
from topo.system import System
from topologies import keys, sites
from topologies.failures import remove
from topologies.registry import TOPOLOGIES
from topologies.scale_out import Network, join

CATALOGUE_FILES = (".yaml", ".yml", ".json")
GRAPH_FILES = (".graphml",)

_FILE = re.compile(
    r"(?P<name>.+?\.(?:yaml|yml|json|graphml))(?::(?P<shape>[^*]*))?(?:\*(?P<count>.*))?",
    re.IGNORECASE | re.DOTALL,
)
_HEAD = re.compile(r"(?P<name>[^:*]*)(?::(?P<shape>[^*]*))?(?:\*(?P<count>.*))?", re.DOTALL)
_MOST_COPIES = 1_000_000
_BANDWIDTHS = (keys.BANDWIDTH.name, keys.NIC.name)
_FORM = "a name is NAME[:SHAPE][*COUNT][,key=value...], for example torus:4x4x4,bandwidth=100GB/s"


@dataclass(frozen=True)
class Name:
    """A system name taken apart.

    Parameters
    ----------
    text : str
        The whole.
    name : str
        Bare topology, catalogue name or file.
    shape : str
        What follows the colon; empty without one.
    count : int or None
        What follows the star.
    options : dict
        Values by key.
    """

    text: str
    name: str
    shape: str = ""
    count: int | None = None
    options: dict[str, str] = field(default_factory=dict)

    @property
    def suffix(self) -> str:
        """Of a file, such as ``.yaml``; empty for other names."""
        suffix = Path(self.name).suffix.lower()
        return suffix if suffix in (*CATALOGUE_FILES, *GRAPH_FILES) else ""


_COUNT_BEHIND = re.compile(r"(?P<value>.+)\*(?P<count>\d+)")


def parse(text: str) -> Name:
    """Take a system name apart, without looking anything up.

    Raises
    ------
    CatalogueError
        Not of the form; a key without a value or given twice; a count that is no whole number above zero.
    """
    if not text.strip():
        raise CatalogueError(f"{text!r} is no system name", _FORM)
    head, *rest = (part.strip() for part in text.strip().split(","))
    match = _FILE.fullmatch(head) or _HEAD.fullmatch(head)
    if match is None or not match["name"].strip():
        raise CatalogueError(f"{text!r} has no name before the shape", _FORM)
    options = _options(text, rest)
    shape = (match["shape"] or "").strip()
    if match["shape"] is not None and not shape:
        raise CatalogueError(f"{text!r} has nothing after the colon", _FORM)
    return Name(text.strip(), match["name"].strip(), shape, _count(text, match["count"]), options)


def _options(text: str, parts: Iterable[str]) -> dict[str, str]:
    """Values by key."""
    options: dict[str, str] = {}
    for part in parts:
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not key or not value:
            raise CatalogueError(f"{text!r}: {part!r} is not key=value", _FORM)
        if key in options:
            raise CatalogueError(f"{text!r}: {key} is given twice", "give it once")
        misplaced = _COUNT_BEHIND.fullmatch(value)
        if misplaced:
            raise CatalogueError(
                f"{text!r}: *{misplaced['count']} stands behind a key",
                f"the number of domains comes first: NAME*{misplaced['count']},{key}={misplaced['value']}",
            )
        options[key] = value
    return options


def load(name: str, **options: Any) -> System:
    """The system of a name.

    Parameters
    ----------
    name : str
        ``NAME[:SHAPE][*COUNT][,key=value...]``: a bare topology such as ``torus:4x4x4``, a machine of the
        catalogue such as ``dgx-h100*4``, or a file (``.yaml``, ``.json``: a machine; ``.graphml``: a graph).
        ``site(dgx-h100*512)*2,distance=1000km,bandwidth=100Tb/s`` is two sites over fibre.
    options
        Further keys: text, or numbers in SI units and sequences of them.

    Returns
    -------
    System
        Bare topologies and graphs have the library ``ideal`` and no chip.

    Raises
    ------
    TopoError
        Unknown name, shape or key, with the nearest ones; a value out of range; a fabric that falls apart.
    """
    if not isinstance(name, str):
        raise CatalogueError(f"a {type(name).__name__} is no system name", _FORM)
    text = ",".join([name, *(f"{key}={_text(key, value)}" for key, value in options.items())])
    outer = sites.taken_apart(text)
    if outer is not None:
        return _sites(text, *outer)
    wanted = parse(text)
    failed = wanted.options.get(keys.FAILED.name)
    if failed is None:
        return _system(wanted)
    whole = {key: value for key, value in wanted.options.items() if key != keys.FAILED.name}
    head = wanted.text.partition(",")[0]
    text = ",".join([head, *(f"{key}={value}" for key, value in whole.items())])
    system = _system(replace(wanted, text=text, options=whole))
    damaged = remove(system.fabric, failed)
    return replace(system, name=wanted.text, fabric=replace(damaged, name=wanted.text, cache={}))


def _sites(text: str, inner: str, copies: str, rest: str) -> System:
    """Several sites; what failed is removed from the whole."""
    options = _options(text, [part.strip() for part in rest.split(",")] if rest else [])
    failed = options.pop(keys.FAILED.name, None)
    count = _count(text, copies) or 1
    system = sites.several_sites(load(inner), count, options, text.strip())
    if failed is None:
        return system
    return replace(system, fabric=replace(remove(system.fabric, failed), name=system.name, cache={}))


def names() -> tuple[str, ...]:
    """All names that :func:`load` knows: bare topologies, then the catalogue."""
    from topologies import catalogue

    return (*TOPOLOGIES, *catalogue.system_names())


def _system(wanted: Name) -> System:
    if wanted.name in TOPOLOGIES or wanted.suffix in GRAPH_FILES:
        return System(name=wanted.text, fabric=_bare(wanted))
    # The catalogue needs packages that bare topologies do without.
    from topologies import catalogue

    if not wanted.suffix and wanted.name not in catalogue.system_names():
        known = names()
        hint = nearest(wanted.name, known) or "'topo list' shows all names"
        raise CatalogueError(f"unknown system {wanted.name!r}", hint)
    system = catalogue.load_system(wanted.name, wanted.shape or None, wanted.count or 1, wanted.options)
    return replace(system, name=wanted.text, fabric=replace(system.fabric, name=wanted.text, cache={}))


def _bare(wanted: Name) -> Fabric:
    """A bare topology or a graph file, alone or joined."""
    topology = None if wanted.suffix else TOPOLOGIES[wanted.name]
    own = [key.name for key in topology.keys] if topology else []
    # Where a family has such a key of its own, the key is the family's.
    joining = [key.name for key in keys.NETWORK_KEYS if key.name not in own]
    mine: dict[str, str] = {}
    network: dict[str, str] = {}
    for key, value in wanted.options.items():
        if key in own:
            mine[key] = value
        elif key not in joining:
            raise keys.unknown_key(wanted.name, key, [*own, *joining, keys.FAILED.name])
        elif wanted.count is None:
            shape = f":{wanted.shape}" if wanted.shape else ""
            raise CatalogueError(
                f"{wanted.text}: {key} belongs to the network that joins several domains",
                f"write {wanted.name}{shape}*COUNT,{key}={value}",
            )
        else:
            network[key] = value
    domain = (
        topology.fabric(wanted.shape, mine, f"{wanted.name}:{wanted.shape}") if topology else _graph(wanted)
    )
    if wanted.count is None or wanted.count == 1:
        return replace(domain, name=wanted.text, cache={})
    return join(domain, wanted.count, _network(wanted.name, network), wanted.text)


def _graph(wanted: Name) -> Fabric:
    from topologies.graphml import read_graphml

    if wanted.shape:
        raise CatalogueError(f"{wanted.text}: a graph has no shape", "leave out what follows the colon")
    return Fabric.from_networkx(read_graphml(Path(wanted.name)), wanted.name)


def _network(name: str, options: Mapping[str, str]) -> Network:
    fields = {
        keys.SCALE_OUT.name: "kind",
        keys.NIC.name: "bandwidth",
        keys.NIC_LATENCY.name: "latency",
    }
    values = keys.read(name, keys.NETWORK_KEYS, options)
    return Network(**{fields.get(key, key): value for key, value in values.items()})


def _count(text: str, written: str | None) -> int | None:
    if written is None:
        return None
    stripped = written.strip()
    if not re.fullmatch(r"\d{1,12}", stripped, re.ASCII) or not 1 <= int(stripped) <= _MOST_COPIES:
        raise CatalogueError(
            f"{text!r}: {stripped!r} is no number of domains",
            f"use a whole number from 1 to {_MOST_COPIES:,}",
        )
    return int(stripped)


def _text(key: str, value: Any) -> str:
    """A value as it would be written behind a name."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        unit = "B/s" if key in _BANDWIDTHS else "s" if key.endswith("latency") else ""
        return repr(value).removesuffix(".0") + unit
    if isinstance(value, (list, tuple)):
        return "/".join(_text(key, one) for one in value)
    return str(value)
