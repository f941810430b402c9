"""The catalogue of machines: one YAML file each, every number with its source.

``load_system`` reads a name or a file, checks it and builds the fabric.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from topo.errors import CatalogueError
from topo.system import System
from topologies.catalogue import document as _document
from topologies.catalogue.plan import OPTIONS, technology_names

if TYPE_CHECKING:
    from topologies.catalogue.schema import SystemFile

__all__ = ["OPTIONS", "describe", "load_system", "system_names", "technology_names"]


def system_names() -> tuple[str, ...]:
    """The names of the catalogue, sorted."""
    return _document.names()


def load_system(
    name: str, shape: str | None = None, count: int = 1, options: Mapping[str, str] | None = None
) -> System:
    """Build a system of the catalogue, or of a file of the same form.

    Parameters
    ----------
    name : str
        A name of :func:`system_names`, or the path of a YAML file, which may inherit by ``base:``.
    shape : str, optional
        What stands after the colon: a slice ``4x4x8``, a sub-grid of cores, tiles, a number of cards.
    count : int
        Domains, joined by the scale-out network.
    options : mapping of str to str, optional
        What stands behind commas; :data:`OPTIONS` explains them.

    Raises
    ------
    TopoError
        Unknown name, a file that is wrong (with file, line and key), a shape that the machine cannot be cut
        into, or an option that does not fit.
    """
    from topologies.catalogue.assemble import assemble

    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise CatalogueError(f"{name}*{count}: not a number of domains", "use 1 or more")
    asked = dict(options or {})
    document, system = _checked(name)
    behind = "".join(f",{key}={value}" for key, value in asked.items())
    whole = f"{name}{f':{shape}' if shape else ''}{f'*{count}' if count > 1 else ''}{behind}"
    return assemble(document, system, shape, count, asked, whole)


def describe(name: str) -> SystemFile:
    """The checked content of a catalogue file, without building its graph.

    Raises
    ------
    CatalogueError
        As :func:`load_system`.
    """
    return _checked(name)[1]


def _checked(name: str) -> tuple[_document.Document, SystemFile]:
    if name in _document.names():
        return _of_the_catalogue(name)
    return _read(name)


@lru_cache(maxsize=128)
def _of_the_catalogue(name: str) -> tuple[_document.Document, SystemFile]:
    return _read(name)


def _read(name: str) -> tuple[_document.Document, SystemFile]:
    from topologies.catalogue.sane import check
    from topologies.catalogue.schema import validate

    document = _document.load(name)
    system = validate(document)
    check(document, system)
    return document, system
