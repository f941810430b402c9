"""Where each number of a system comes from: the file, a technology's entry, or the name itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from topo.errors import nearest
from topo.system import Source
from topologies.catalogue import plan
from topologies.catalogue.document import Document, Key
from topologies.catalogue.schema import SystemFile
from topologies.catalogue.values import Sourced, Value

_REPLACED: Mapping[str, tuple[str, ...]] = {
    "bandwidth": tuple(
        f"scale_up.{name}_bandwidth" for name in ("link", "accelerator", "marketing", "effective_link")
    ),
    "latency": ("scale_up.link_latency",),
    "accelerators": ("scale_up.domain_size",),
    "nic": ("scale_out.nic_bandwidth",),
    "nic_latency": ("scale_out.nic_latency",),
    "switch_latency": ("scale_out.switch_latency",),
}
"""Keys of a file whose values an option replaces."""


def sources(document: Document, system: SystemFile, options: Mapping[str, str]) -> tuple[Source, ...]:
    """Every sourced value that the system uses, those of the options last.

    Raises
    ------
    CatalogueError
        A source that is a word without an entry under ``references``.
    """
    found = list(_walk(document, system, (), system.references))
    if "scale_up" in options:
        found = [source for source in found if not source.key.startswith("scale_up.")]
        file, text = plan.technologies(), plan.technologies_document()
        key: Key = ("technologies", options["scale_up"])
        found += _walk(text, file.technologies[options["scale_up"]], key, file.references)
    gone = {key for option in options for key in _REPLACED.get(option, ())}
    kept = [source for source in found if source.key not in gone]
    asked = (
        Source(option, text, "", f"asked for: {option}={text}", "estimate", "", text)
        for option, text in options.items()
    )
    return (*kept, *asked)


def _walk(document: Document, section: Any, key: Key, references: Mapping[str, str]) -> Iterator[Source]:
    if isinstance(section, Sourced):
        value = section.said
        if isinstance(value, tuple) and len(value) == 1:
            value = value[0]
        inside: Any = document.data
        for step in key:
            inside = inside[step]
        yield Source(
            key=".".join(map(str, key)),
            value=value,
            unit=section.unit if isinstance(section, Value) else "",
            source=_cited(document, section.source, key, references),
            confidence=section.confidence,
            note=section.note,
            text=_text(inside.get("value", value)),
        )
    elif isinstance(section, BaseModel):
        for name in type(section).model_fields:
            if name in section.model_fields_set:
                yield from _walk(document, getattr(section, name), (*key, name), references)
    elif isinstance(section, dict):
        for name, inner in section.items():
            yield from _walk(document, inner, (*key, name), references)


def _text(written: Any) -> str:
    return ", ".join(map(str, written)) if isinstance(written, list) else str(written)


def _cited(document: Document, source: str, key: Key, references: Mapping[str, str]) -> str:
    """The document behind a source: a lone word is the name of an entry under ``references``."""
    if source in references:
        return references[source]
    if source.replace("-", "").isalnum() and source == source.lower():
        raise document.error(
            (*key, "source"),
            f"is {source!r}, which is not under references",
            nearest(source, references) or "name the document, or add it to references",
        )
    return source
