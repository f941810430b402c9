"""How one domain is to be drawn: the file's own rule, or a variant that the name's options ask for."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from topo.errors import CatalogueError, TopoError, nearest
from topo.units import format_bandwidth, parse_bandwidth, parse_count, parse_time
from topologies.catalogue import shapes
from topologies.catalogue.document import Document, read

if TYPE_CHECKING:
    from topologies.catalogue.schema import Shape, SystemFile, TechnologyFile
    from topologies.catalogue.values import Builder

_TECHNOLOGIES = Path(__file__).parent / "technologies.yaml"
_SWITCHED = "switched_planes"
_UNPUBLISHED = "hierarchical_mesh_unpublished"

DOMAIN_OPTIONS: Mapping[str, str] = {
    "bandwidth": "of a link, per direction; one per dimension as 100GB/s/50GB/s",
    "latency": "of a link",
    "scale_up": "another technology for the scale-up links",
    "accelerators": "of a switched domain",
    "assume": "an assumption where the wiring is unpublished",
    "twisted": "true for a twisted torus",
    "blocks": "of a whole wafer",
    "library": "another communication library",
}
"""What may stand behind any name, and what it means."""
NETWORK_OPTIONS: Mapping[str, str] = {
    "nic": "bandwidth of an accelerator's NIC, per direction",
    "nic_latency": "from an accelerator to its first switch",
    "switch_latency": "from switch to switch",
    "scale_out": "another network between domains",
    "oversubscription": "bandwidth down over bandwidth up of a leaf",
    "rails": "of a rail network",
    "unit": "domains of a scalable unit",
    "spines": "switches of the second tier",
    "pod": "domains of a pod of a three-tier network",
    "core_oversubscription": "bandwidth down over bandwidth up of a spine of a three-tier network",
}
"""What may stand behind a name with several domains."""
OPTIONS: Mapping[str, str] = {**DOMAIN_OPTIONS, **NETWORK_OPTIONS}
"""All that may stand behind a catalogue name."""


@dataclass(frozen=True)
class Plan:
    """One domain.

    Parameters
    ----------
    rule : str
        Builder.
    parameters : dict
        Its arguments but bandwidth, latency and switch abilities.
    technology : str
        Of the links.
    links : int
        Of an accelerator with all its neighbours.
    link_bandwidth : tuple of float
        B/s, one or one per dimension.
    link_latency : float
        Seconds.
    multicast, reduce : bool
        Of the switches.
    effective : float or None
        B/s of a link that a library reaches.
    whole : bool
        Whether some accelerator has all its links.
    parts : int
        Accelerators that share the file's chip: the blocks or cores of a wafer.
    blocks : tuple of int
        Rows and columns of a wafer's accelerators.
    copies : int
        Domains that the shape itself asks for.
    changed : bool
        Whether the links are not those of the file.
    notes : tuple of str
        What a reader of results should know.
    """

    rule: str
    parameters: dict[str, Any]
    technology: str
    links: int
    link_bandwidth: tuple[float, ...]
    link_latency: float
    multicast: bool
    reduce: bool
    effective: float | None = None
    whole: bool = True
    parts: int = 1
    blocks: tuple[int, ...] = ()
    copies: int = 1
    changed: bool = False
    notes: tuple[str, ...] = field(default=())

    @property
    def egress(self) -> float:
        """B/s in one direction of all links of an accelerator."""
        return self.links / len(self.link_bandwidth) * sum(self.link_bandwidth)


def make(name: str, system: SystemFile, shape: str | None, options: Mapping[str, str]) -> Plan:
    """The plan of one domain.

    Raises
    ------
    CatalogueError
        A shape that the machine cannot be cut into, or an option that is unknown or does not fit.
    """
    for option in options:
        if option not in OPTIONS:
            raise CatalogueError(
                f"{name}: unknown option {option!r}",
                nearest(option, OPTIONS) or f"known are {', '.join(OPTIONS)}",
            )
    up = system.scale_up
    plan = Plan(
        rule=up.builder.rule,
        parameters=dict(up.builder.parameters),
        technology=up.technology,
        links=int(up.links.number),
        link_bandwidth=up.link_bandwidth.value,
        link_latency=up.link_latency.number,
        multicast=up.multicast.value,
        reduce=up.reduce.value,
        effective=up.effective_link_bandwidth.number if up.effective_link_bandwidth else None,
    )
    plan = _assumed(name, plan, system.assumptions, options)
    plan = _shaped(name, plan, system, shape, options)
    plan = _switched(name, plan, system, options)
    return _with_rates(plan, options)


def _assumed(name: str, plan: Plan, assumptions: Mapping[str, Builder], options: Mapping[str, str]) -> Plan:
    asked = options.get("assume")
    offered = " or ".join(f"{name},assume={a}" for a in assumptions)
    if asked is None:
        if plan.rule == _UNPUBLISHED:
            raise CatalogueError(f"the wiring of {name} is unpublished", f"state an assumption: {offered}")
        return plan
    if asked not in assumptions:
        near = nearest(asked, assumptions)
        raise CatalogueError(
            f"{name} has no assumption {asked!r}",
            near or (f"write {offered}" if offered else "its wiring is known: leave assume out"),
        )
    chosen = assumptions[asked]
    note = f"assumption {asked}: {chosen.note}"
    return replace(plan, rule=chosen.rule, parameters=dict(chosen.parameters), notes=(*plan.notes, note))


def _shaped(name: str, plan: Plan, system: SystemFile, text: str | None, options: Mapping[str, str]) -> Plan:
    rule = system.shape
    for option, kind in (("twisted", "torus-slice"), ("blocks", "wafer")):
        if option in options and (rule is None or rule.kind != kind):
            raise CatalogueError(f"{name} takes no {option}", f"leave {option} out")
    if rule is None:
        if text:
            raise CatalogueError(
                f"{name}:{text}: {name} has one shape only", f"write {name}, or {name}*4 for four of them"
            )
        return plan
    if rule.kind == "wafer":
        return _wafer(name, plan, system, text, options.get("blocks") or rule.blocks or "")
    shape = text or rule.default or ""
    if rule.kind == "torus-slice":
        return _torus(name, plan, rule, shape, _yes(name, "twisted", options.get("twisted", "false")))
    if rule.kind == "tiles":
        rows, columns = shapes.parse(name, shape, 2, rule.default or "2x3")
        return replace(plan, parameters={**plan.parameters, "tile_rows": rows, "tile_cols": columns})
    return _heap(name, plan, shape)


def _torus(name: str, plan: Plan, rule: Shape, text: str, twisted: bool) -> Plan:
    example, largest = rule.default or "", rule.largest or ""
    if rule.wrap == "full-length":
        full = tuple(map(int, largest.split("x")))
        cut = shapes.full_length_slice(name, text, full, example)
    else:
        cut = shapes.cube_slice(name, text, rule.cube or 1, parse_count(largest.split(" ")[0]), example)
    if math.prod(cut.dims) == 1:
        raise CatalogueError(f"{name}:{text} is a single chip", "a fabric needs two or more")
    parameters: dict[str, Any] = {"dims": list(cut.dims), "wrap": list(cut.wrap)}
    if twisted:
        if not rule.twist:
            raise CatalogueError(f"{name} has no twisted slices", "leave twisted out")
        if not all(cut.wrap):
            raise CatalogueError(
                f"{name}:{text} has no wrap links to twist", f"for example {name}:4x4x8,twisted=true"
            )
        from topologies.grid import twist_of

        try:
            parameters["twist"] = [list(row) for row in twist_of(cut.dims)]
        except TopoError as error:
            raise CatalogueError(f"{name}:{text}: {error.message}", error.hint) from None
    return replace(
        plan, parameters=parameters, whole=all(w and d > 1 for w, d in zip(cut.wrap, cut.dims, strict=True))
    )


def _wafer(name: str, plan: Plan, system: SystemFile, text: str | None, blocks: str) -> Plan:
    if system.wafer is None:
        raise CatalogueError(
            f"{name} is a wafer without a section wafer", "add wafer with core_grid, cores, clock and ramp"
        )
    grid = tuple(int(n) for n in system.wafer.core_grid.value)
    if text:
        dims = shapes.sub_grid(name, text, grid)
        return replace(
            plan,
            rule="wafer",
            parameters={"dims": list(dims)},
            whole=False,
            parts=math.prod(grid),
            blocks=dims,
        )
    parts = shapes.block_grid(name, blocks, grid)
    parameters = {"dims": list(grid), "blocks": list(parts)}
    return replace(
        plan, rule="wafer", parameters=parameters, whole=False, parts=math.prod(parts), blocks=parts
    )


def _heap(name: str, plan: Plan, text: str) -> Plan:
    (cards,) = shapes.parse(name, text, 1, "64")
    host = int(plan.parameters["n_endpoints"])
    if cards <= host:
        return replace(plan, parameters={**plan.parameters, "n_endpoints": cards})
    if cards % host:
        raise CatalogueError(
            f"{name}:{cards} does not fill hosts of {host} cards",
            f"use a multiple of {host}, or a file with base: {name}",
        )
    return replace(plan, copies=cards // host)


def _switched(name: str, plan: Plan, system: SystemFile, options: Mapping[str, str]) -> Plan:
    """Another technology, or another size, for a domain behind switches."""
    size = None
    if "accelerators" in options:
        try:
            size = parse_count(options["accelerators"])
        except TopoError as error:
            raise CatalogueError(
                f"accelerators={options['accelerators']}: {error.message}", error.hint
            ) from None
    asked = options.get("scale_up")
    if asked is not None:
        if plan.blocks:
            raise CatalogueError(f"{name}: the links of a wafer are on the wafer", "leave scale_up out")
        return _other_technology(name, plan, asked, size or _accelerators(plan, system))
    if size is None:
        return plan
    if plan.rule != _SWITCHED:
        raise CatalogueError(
            f"{name} is not a domain behind switches, accelerators={size} does not fit",
            "choose its size by shape or scale_up=",
        )
    notes = plan.notes
    radix, up = system.scale_up.switch_radix, system.scale_up
    ports = size * max(plan.parameters["links_to_each_switch"])
    if radix is not None and ports > radix.number:
        notes = (
            *notes,
            f"a domain of {size} needs switches of {ports} ports; those of {up.technology} have {radix.number:.0f}",
        )
    return replace(plan, parameters={**plan.parameters, "n_endpoints": size}, notes=notes)


def _other_technology(name: str, plan: Plan, asked: str, size: int) -> Plan:
    known = technologies().technologies
    if asked not in known:
        raise CatalogueError(
            f"{name}: unknown scale-up technology {asked!r}",
            nearest(asked, known) or f"known are {', '.join(known)}",
        )
    new = known[asked]
    if size > new.largest.number:
        raise CatalogueError(
            f"{new.title} joins at most {new.largest.number:.0f} accelerators, not {size}", "use fewer"
        )
    rate = new.link_bandwidth.number
    links = int(new.links.number) if new.links else max(1, round(plan.egress / rate))
    how = "as that technology has" if new.links else _how_near(links * rate, plan.egress, name)
    note = (
        f"scale-up is {new.title} instead of {plan.technology}: {links} links of {format_bandwidth(rate)}, "
        f"{how}, on one plane each"
    )
    return replace(
        plan,
        rule=_SWITCHED,
        parameters={"n_endpoints": size, "links_to_each_switch": [1] * links},
        technology=new.title,
        links=links,
        link_bandwidth=(rate,),
        link_latency=new.link_latency.number,
        multicast=new.multicast.value,
        reduce=new.reduce.value,
        effective=new.effective_link_bandwidth.number if new.effective_link_bandwidth else None,
        whole=True,
        changed=True,
        notes=(*plan.notes, note),
    )


def _how_near(total: float, wanted: float, name: str) -> str:
    """Whether whole links carry what the machine's own do, or how near they come."""
    own = f"{format_bandwidth(wanted)} of {name}"
    if abs(total - wanted) <= 1e-3 * wanted:
        return f"to carry the {own}"
    return f"{format_bandwidth(total)}, which whole links bring nearest to the {own}"


@lru_cache(maxsize=1)
def technologies_document() -> Document:
    """The file of technologies, as read."""
    return read(_TECHNOLOGIES)


@lru_cache(maxsize=1)
def technologies() -> TechnologyFile:
    """The file of technologies, checked."""
    from topologies.catalogue import schema

    return schema.technologies(technologies_document())


def technology_names() -> tuple[str, ...]:
    """The technologies that ``scale_up=`` takes."""
    return tuple(technologies().technologies)


def _accelerators(plan: Plan, system: SystemFile) -> int:
    """Accelerators of the plan's own domain."""
    if plan.blocks:
        return math.prod(plan.blocks)
    if plan.rule == "torus":
        return math.prod(plan.parameters["dims"])
    if plan.rule == _SWITCHED:
        return int(plan.parameters["n_endpoints"])
    return int(system.scale_up.domain_size.number)


def _with_rates(plan: Plan, options: Mapping[str, str]) -> Plan:
    if "bandwidth" in options:
        rates = tuple(map(parse_bandwidth, re.split(r"(?<=/s)/", options["bandwidth"])))
        if len(rates) not in (1, len(plan.parameters.get("dims", [0]))):
            raise CatalogueError(
                f"bandwidth={options['bandwidth']} has {len(rates)} values", "give one, or one per dimension"
            )
        plan = replace(
            plan,
            link_bandwidth=rates,
            effective=None,
            changed=True,
            notes=(*plan.notes, f"links of {options['bandwidth']} as asked for"),
        )
    if "latency" in options:
        delay = parse_time(options["latency"], allow_zero=True)
        plan = replace(
            plan,
            link_latency=delay,
            notes=(*plan.notes, f"link latency of {options['latency']} as asked for"),
        )
    return plan


def _yes(name: str, option: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise CatalogueError(f"{name}: {option}={text}", f"write {option}=true or {option}=false")
    return text == "true"
