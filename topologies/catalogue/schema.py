"""What a catalogue file must say, checked by pydantic.

This module loads pydantic: import it inside functions.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, Field, StrictBool, StrictInt, ValidationError, model_validator

from topo.errors import CatalogueError, nearest
from topo.system import CONFIDENCES
from topologies.catalogue.document import Document, Key
from topologies.catalogue.values import (
    Bandwidth,
    Bandwidths,
    Builder,
    ChipPower,
    Count,
    Counts,
    Fact,
    Flag,
    Flops,
    Frequency,
    Marketing,
    Model,
    NicBandwidth,
    PoolBandwidth,
    PoolSize,
    Power,
    Price,
    Remark,
    Rent,
    Size,
    Sourced,
    Text,
    Time,
)

LIBRARIES = ("ideal", "nccl", "rccl", "xla", "neuron", "hccl")


class Chip(Model):
    """One accelerator, or a whole wafer."""

    name: Text
    peak_flops: dict[Literal["fp64", "fp32", "bf16", "fp8", "fp4", "int8"], Flops] = Field(min_length=1)
    memory: Size
    memory_bandwidth: Bandwidth
    power: ChipPower | None = None


class ScaleUp(Model):
    """The links within a domain."""

    technology: Text
    domain_size: Count
    links: Count
    link_bandwidth: Bandwidths
    link_latency: Time
    accelerator_bandwidth: Bandwidth | None = None
    marketing_bandwidth: Marketing | None = None
    effective_link_bandwidth: Bandwidth | None = None
    tile_edge_bandwidth: Bandwidth | None = None
    interface_bandwidth: Bandwidth | None = None
    multicast: Flag
    reduce: Flag
    switches: Count | None = None
    switch_radix: Count | None = None
    builder: Builder


class Technology(Model):
    """A scale-up technology that a chip can be given instead of its own."""

    title: Text
    links: Count | None = None
    link_bandwidth: Bandwidth
    effective_link_bandwidth: Bandwidth | None = None
    link_latency: Time
    largest: Count
    multicast: Flag
    reduce: Flag


class TechnologyFile(Model):
    """The file of all technologies."""

    references: dict[str, Text]
    technologies: dict[str, Technology]


class ScaleOut(Model):
    """The network between domains."""

    technology: Text
    network: Text
    rails: Count | None = None
    nic_bandwidth: NicBandwidth
    nic_latency: Time
    switch_latency: Time
    in_network_reduction: Remark | None = None
    largest: Count | None = None


class Shape(Sourced):
    """What may stand after the colon of a name."""

    kind: Literal["torus-slice", "wafer", "tiles", "heap"]
    default: Text | None = None
    largest: Text | None = None
    wrap: Literal["whole-cubes", "full-length"] | None = None
    cube: Annotated[StrictInt, Field(gt=1)] | None = None
    twist: StrictBool = False
    blocks: Text | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needed = {"torus-slice": ("default", "largest", "wrap"), "wafer": ("blocks",)}
        missing = [key for key in needed.get(self.kind, ("default",)) if getattr(self, key) is None]
        if self.wrap == "whole-cubes" and self.cube is None:
            missing.append("cube")
        if missing:
            raise ValueError(f"has no {missing[0]}, which {self.kind} needs")
        form, example = {
            "whole-cubes": (r"[1-9]\d{0,6} chips", "4096 chips"),
            "full-length": (r"[1-9]\d{0,3}(x[1-9]\d{0,3})*", "16x16"),
        }.get(self.wrap or "", ("", ""))
        if form and not re.fullmatch(form, self.largest or "", re.ASCII):
            raise ValueError(f"has largest {self.largest!r}, which is not of the form {example}")
        return self

    @property
    def said(self) -> str:
        """The kind."""
        return self.kind


class Wafer(Model):
    """The cores of a wafer."""

    core_grid: Counts
    cores: Count
    clock: Frequency
    ramp: Count


class OutsideMemory(Model):
    """A memory outside the accelerators, from which weights can be streamed."""

    technology: Text
    shared: Flag
    bandwidth: PoolBandwidth
    size: PoolSize | None = None


class SystemFile(Model):
    """A whole catalogue file."""

    name: Text
    title: Text
    vendor: Text
    status: Text
    library: Literal["ideal", "nccl", "rccl", "xla", "neuron", "hccl"]
    notes: tuple[Text, ...] = ()
    references: dict[str, Text] = Field(default_factory=dict)
    chip: Chip
    scale_up: ScaleUp
    shape: Shape | None = None
    wafer: Wafer | None = None
    assumptions: dict[str, Builder] = Field(default_factory=dict)
    scale_out: ScaleOut | None = None
    outside_memory: OutsideMemory | None = None
    power: Power | None = None
    price: Price | None = None
    rent: Rent | None = None
    published: dict[str, Fact] = Field(default_factory=dict)


def validate(document: Document) -> SystemFile:
    """The content of a system's file, checked.

    Raises
    ------
    CatalogueError
        A key is missing, unknown or wrong; with file, line, key and what would be right.
    """
    return _validated(document, SystemFile)


def technologies(document: Document) -> TechnologyFile:
    """The content of the file of technologies, checked."""
    return _validated(document, TechnologyFile)


_File = TypeVar("_File", bound=Model)


def _validated(document: Document, model: type[_File]) -> _File:
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        raise _explained(document, model, error) from None


def _explained(document: Document, model: type[Model], error: ValidationError) -> CatalogueError:
    """The first thing wrong, in the file's own terms; unknown keys before the keys they were meant to be."""
    found = [(_key(document, one["loc"]), one) for one in error.errors()]
    key, first = min(found, key=lambda f: (f[1]["type"] != "extra_forbidden", document.place(f[0]).line))
    kind, name = first["type"], str(key[-1]) if key else ""
    if kind == "missing" and name in ("source", "confidence"):
        hint = "name the document, or write 'recalled, not verified'" if name == "source" else _confidences()
        return document.error(key[:-1], f"has no {name}", f"add {name}: {hint}")
    if kind == "missing":
        return document.error(key[:-1], f"has no {name}", f"add {name}")
    if kind == "extra_forbidden":
        known = _known(model, key[:-1])
        return document.error(
            key, "is unknown here", nearest(name, known) or (f"use {', '.join(known)}" if known else "")
        )
    if name == "confidence":
        return document.error(key, f"is {first['input']!r}", f"use {_confidences()}")
    if kind == "literal_error":
        allowed = first["ctx"]["expected"]
        return document.error(key, f"is {first['input']!r}", f"use {allowed}")
    if kind in ("model_type", "dict_type"):
        return document.error(
            key, f"is {str(first['input'])[:40]!r} alone", "write {value: ..., source: ..., confidence: ...}"
        )
    if kind == "value_error":
        return document.error(key[:-1] if name == "value" else key, str(first["ctx"]["error"]))
    return document.error(key, f"is wrong: {first['msg'].lower()}")


def _confidences() -> str:
    return ", ".join(CONFIDENCES[:-1]) + f" or {CONFIDENCES[-1]}"


def _key(document: Document, location: tuple[int | str, ...]) -> Key:
    """The part of pydantic's location that is a path in the file, its last step perhaps a missing key."""
    key: list[int | str] = []
    inside: Any = document.data
    for i, step in enumerate(location):
        known = (isinstance(inside, dict) and step in inside) or (
            isinstance(inside, list) and isinstance(step, int) and step < len(inside)
        )
        if known:
            key.append(step)
            inside = inside[step]
        elif i == len(location) - 1 and isinstance(inside, dict):
            key.append(step)
    return tuple(key)


def _known(file: type[Model], key: Key) -> list[str]:
    """The keys that a section may hold."""
    model: Any = file
    for step in key:
        found = model.model_fields.get(step) if hasattr(model, "model_fields") else None
        if found is None:
            return []
        options = [found.annotation, *getattr(found.annotation, "__args__", ())]
        model = next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None)
    return list(model.model_fields) if model is not None else []
