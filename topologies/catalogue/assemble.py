"""A checked file and a plan become a System."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from topo.errors import CatalogueError, FabricError, nearest
from topo.fabric import Fabric
from topo.system import Chip, OutsideMemory, ScaleOut, ScaleUp, System, Wafer
from topo.units import parse_bandwidth, parse_count, parse_time
from topologies.catalogue import plan as plans
from topologies.catalogue.compact import mesh_fabric
from topologies.catalogue.document import Document
from topologies.catalogue.plan import Plan

if TYPE_CHECKING:
    from topologies.catalogue.schema import SystemFile
    from topologies.catalogue.values import Power, Price, Rent

_ABLE = ("switched_planes", "nvl36x2")


def assemble(
    document: Document,
    system: SystemFile,
    shape: str | None,
    count: int,
    options: Mapping[str, str],
    name: str,
) -> System:
    """Build the system that a name asks for.

    Parameters
    ----------
    document, system
        The file, and what the schema made of it.
    shape, count, options
        The parts of the name.
    name : str
        The whole name.

    Raises
    ------
    TopoError
        A shape, count or option that the machine cannot have.
    """
    from topologies.catalogue import citations
    from topologies.catalogue.sane import check_graph

    own = document.data["name"]
    rule = document.place(("scale_up", "builder"))
    try:
        plan = plans.make(own, system, shape, options)
        domain = _routers_copy(_domain(document, plan, own), plan)
    except (KeyError, TypeError, ValueError) as error:
        missing = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise CatalogueError(
            f"{rule}: scale_up.builder {system.scale_up.builder.rule} cannot be drawn: {missing}",
            "compare it with a system of the catalogue that has the same rule",
        ) from None
    except FabricError as error:
        if shape or options:
            raise
        raise CatalogueError(f"{rule}: scale_up.builder: {error.message}", error.hint) from None
    if not plan.changed and not plan.blocks:
        check_graph(document, system, _sent(domain), plan.whole)
    copies = count * plan.copies
    for option in options:
        if copies == 1 and option in plans.NETWORK_OPTIONS:
            raise CatalogueError(
                f"{name}: {option} belongs to the network that joins several domains",
                f"write {own}*COUNT,{option}={options[option]}",
            )
    if copies == domain.ranks == 1:
        raise CatalogueError(
            f"{name}: a single accelerator makes no system", f"use 2 or more, or several such as {own}*8"
        )
    network = _network(own, system, options, domain.ranks, copies)
    fabric = _joined(domain, network, copies, options, name)
    sources = citations.sources(document, system, options)
    accelerators = len(fabric.accelerators)
    # A domain of another size than the file's is priced by its accelerators.
    resized = "accelerators" in options or "scale_up" in options
    domains = accelerators / system.scale_up.domain_size.number if resized else copies
    low_high = _of_all(system.price, domains, accelerators)
    watts = _of_all(system.power, domains, accelerators)
    notes = (*system.notes, *plan.notes)
    if resized and (watts or low_high):
        notes = (
            *notes,
            "power and price are those of the machine as sold, by the number of its accelerators",
        )
    if watts is None and system.chip.power is not None:
        watts = (system.chip.power.number * accelerators,)
        notes = (*notes, "power is that of the chips alone")
    most = system.scale_out.largest if system.scale_out else None
    if most is not None and copies > most.number:
        notes = (
            *notes,
            f"{copies} domains are more than the {most.number:.0f} that its network is said to join",
        )
    rent = _of_all(system.rent, domains, accelerators)
    notes = (*notes, *_unknown(system, low_high, watts, rent))
    return System(
        name=name,
        fabric=fabric,
        chip=_chip(system, plan),
        library=_library(own, system, options),
        power_w=watts[0] if watts else None,
        price_usd=sum(low_high) / len(low_high) if low_high else None,
        price_range_usd=(min(low_high), max(low_high)) if low_high else None,
        rent_usd_per_hour=sum(rent) / len(rent) if rent else None,
        rent_range_usd_per_hour=(min(rent), max(rent)) if rent else None,
        sources=sources,
        notes=notes,
        title=system.title,
        vendor=system.vendor,
        status=system.status,
        scale_up=_scale_up(system, plan),
        scale_out=network,
        wafer=_wafer(system, plan),
        outside_memory=_outside_memory(system, domain.ranks, options),
        extra={key: fact.number for key, fact in system.published.items()},
    )


def _unknown(
    system: SystemFile,
    price: tuple[float, ...] | None,
    watts: tuple[float, ...] | None,
    rent: tuple[float, ...] | None,
) -> list[str]:
    """What a reader would look for in vain."""
    missing = []
    if "bf16" not in system.chip.peak_flops:
        missing.append("no bf16 peak is known")
    if watts is None:
        missing.append("no power is known")
    if price is None:
        missing.append(
            "it is not sold, or no price is known; it can be rented" if rent else "no price is known"
        )
    return missing


def _domain(document: Document, plan: Plan, name: str) -> Fabric:
    if plan.rule == "wafer" and "blocks" not in plan.parameters:
        rows, columns = plan.blocks
        return mesh_fabric((rows, columns), plan.link_bandwidth[0], plan.link_latency, name)
    from topologies.build_rules import BUILD_RULES

    place = document.place(("scale_up", "builder", "rule"))
    if plan.rule not in BUILD_RULES:
        raise CatalogueError(
            f"{place}: unknown builder {plan.rule!r}",
            nearest(plan.rule, BUILD_RULES) or f"use {', '.join(BUILD_RULES)}",
        )
    graph = BUILD_RULES[plan.rule](**plan.parameters, **_rates(document, plan))
    return graph if isinstance(graph, Fabric) else Fabric.from_networkx(graph, name=name)


def _routers_copy(domain: Fabric, plan: Plan) -> Fabric:
    """The routers of a wafer's cores forward one word to several neighbours."""
    if not plan.blocks or not plan.multicast:
        return domain
    copying = domain.multicast.copy()
    copying[domain.accelerators] = True
    return replace(domain, multicast=copying, cache={})


def _rates(document: Document, plan: Plan) -> dict[str, Any]:
    """Bandwidths, latency and switch abilities, by the names of the builder's arguments."""
    one = plan.link_bandwidth[0]
    if plan.rule == "dojo":
        from topologies.catalogue.values import Bandwidth

        up = document.data["scale_up"]
        edge, interface = (
            Bandwidth.parse(up[k]["value"]) for k in ("tile_edge_bandwidth", "interface_bandwidth")
        )
        return {
            "die_bandwidth": one,
            "tile_edge_bandwidth": edge,
            "dip_bandwidth": interface,
            "latency": plan.link_latency,
        }
    if plan.rule == "ub_clos":
        upwards = one * plan.links / plan.parameters["planes"]
        return {"npu_l1_bandwidth": upwards, "l1_l2_bandwidth": one, "latency": plan.link_latency}
    several = plan.rule == "torus" and len(plan.link_bandwidth) > 1
    rates: dict[str, Any] = {
        "bandwidth": plan.link_bandwidth if several else one,
        "latency": plan.link_latency,
    }
    return {**rates, "multicast": plan.multicast, "reduce": plan.reduce} if plan.rule in _ABLE else rates


def _sent(fabric: Fabric) -> float:
    """B/s of the scale-up links that leave the best-connected accelerator."""
    inner = ~fabric.scale_out
    sums = np.bincount(fabric.source[inner], weights=fabric.bandwidth[inner], minlength=len(fabric.nodes))
    return float(sums[fabric.accelerators].max())


def _network(
    name: str, system: SystemFile, options: Mapping[str, str], accelerators: int, copies: int
) -> ScaleOut | None:
    """The scale-out network, of the file and the options."""
    file = system.scale_out
    if file is None:
        if copies == 1:
            return None
        missing = [key for key in ("nic", "nic_latency", "scale_out") if key not in options]
        if missing:
            raise CatalogueError(
                f"how {name} is joined to others is unpublished",
                "state an assumption, for example nic=25GB/s,nic_latency=2us,scale_out=leaf-spine",
            )
        delay = parse_time(options["nic_latency"])
        between = parse_time(options["switch_latency"]) if "switch_latency" in options else delay
        return ScaleOut("as asked for", options["scale_out"], parse_bandwidth(options["nic"]), delay, between)
    rate = file.nic_bandwidth.number * _measure(file.nic_bandwidth.per, 1.0, 1.0 / accelerators)
    delay = parse_time(options["nic_latency"]) if "nic_latency" in options else file.nic_latency.number
    between = (
        parse_time(options["switch_latency"]) if "switch_latency" in options else file.switch_latency.number
    )
    return ScaleOut(
        technology=file.technology,
        network=options.get("scale_out", file.network),
        nic_bandwidth=parse_bandwidth(options["nic"]) if "nic" in options else rate,
        nic_latency=delay,
        switch_latency=between,
        rails=int(file.rails.number) if file.rails and "scale_out" not in options else None,
    )


def _joined(
    domain: Fabric, network: ScaleOut | None, copies: int, options: Mapping[str, str], name: str
) -> Fabric:
    if copies == 1 or network is None:
        return replace(domain, name=name, cache={})
    from topologies.scale_out import Network, join

    extra: dict[str, Any] = {} if network.rails is None else {"rails": min(network.rails, domain.ranks)}
    extra |= {key: parse_count(options[key]) for key in ("rails", "unit", "spines", "pod") if key in options}
    for key in ("oversubscription", "core_oversubscription"):
        if key in options:
            extra[key] = _ratio(key, options[key])
    wanted = Network(
        bandwidth=network.nic_bandwidth,
        latency=network.nic_latency,
        switch_latency=network.switch_latency,
        kind=network.network,
        **extra,
    )
    return join(domain, copies, wanted, name)


def _ratio(key: str, text: str) -> float:
    number, _, other = text.partition(":")
    try:
        value = float(number) / (float(other) if other else 1.0)
    except (ValueError, ZeroDivisionError):
        value = 0.0
    if not 0 < value < float("inf"):
        raise CatalogueError(f"{key}={text} is no ratio", f"for example {key}=2, or 7:1")
    return value


def _library(name: str, system: SystemFile, options: Mapping[str, str]) -> str:
    from topologies.catalogue.schema import LIBRARIES

    asked = options.get("library", system.library)
    if asked not in LIBRARIES:
        raise CatalogueError(
            f"{name}: unknown library {asked!r}", nearest(asked, LIBRARIES) or f"use {', '.join(LIBRARIES)}"
        )
    return asked


def _chip(system: SystemFile, plan: Plan) -> Chip:
    chip, parts = system.chip, plan.parts
    part = "" if parts == 1 else " block" if "blocks" in plan.parameters else " core"
    return Chip(
        name=chip.name + part,
        peak_flops={str(precision): peak.number / parts for precision, peak in chip.peak_flops.items()},
        memory_bytes=chip.memory.number / parts,
        memory_bandwidth=chip.memory_bandwidth.number / parts,
        power_w=chip.power.number / parts if chip.power else None,
    )


def _scale_up(system: SystemFile, plan: Plan) -> ScaleUp:
    up = system.scale_up
    marketing = None if plan.changed else up.marketing_bandwidth
    return ScaleUp(
        technology=plan.technology,
        links=plan.links,
        link_bandwidth=plan.link_bandwidth,
        link_latency=plan.link_latency,
        accelerator_bandwidth=plan.egress,
        domain_size=int(up.domain_size.number),
        marketing_bandwidth=marketing.number if marketing else None,
        convention=marketing.convention if marketing else "",
        effective_share=plan.effective / max(plan.link_bandwidth) if plan.effective else None,
        multicast=plan.multicast,
        reduce=plan.reduce,
    )


def _wafer(system: SystemFile, plan: Plan) -> Wafer | None:
    if system.wafer is None:
        return None
    return Wafer(
        core_grid=tuple(int(n) for n in system.wafer.core_grid.value),
        blocks=plan.blocks,
        core_link_bandwidth=plan.link_bandwidth[0],
        clock_hz=system.wafer.clock.number,
        ramp_cycles=system.wafer.ramp.number,
    )


def _outside_memory(
    system: SystemFile, accelerators: int, options: Mapping[str, str]
) -> OutsideMemory | None:
    """The memory outside the accelerators of one domain, or of all where they share it."""
    file = system.outside_memory
    if file is None:
        return None
    size, shared = file.size, file.shared.value
    rate = file.bandwidth.number * _measure(file.bandwidth.per, accelerators, 1.0)
    if shared and "nic" in options:  # it stands behind the network
        rate = parse_bandwidth(options["nic"]) * accelerators
    return OutsideMemory(
        technology=file.technology,
        bandwidth=rate,
        shared=shared,
        memory_bytes=size.number * _measure(size.per, accelerators, 1.0) if size else None,
    )


def _of_all(
    value: Power | Price | Rent | None, domains: float, accelerators: int
) -> tuple[float, ...] | None:
    """A power, price or rent of the file, for the whole system."""
    if value is None:
        return None
    times = _measure(value.per, accelerators, domains)
    return tuple(number * times for number in value.value)


def _measure(per: str | int, accelerators: float, domains: float) -> float:
    """How many times something stated per accelerator, domain or number of accelerators is there."""
    if isinstance(per, int):
        return accelerators / per
    return accelerators if per == "accelerator" else domains
