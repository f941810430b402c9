"""Several sites over fibre: ``site(NAME)*COUNT,distance=1000km,bandwidth=100Tb/s``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from topo.errors import CatalogueError, FabricError
from topo.fabric import SWITCH, Fabric
from topo.system import Source, System
from topo.units import format_time, parse_bandwidth, parse_length, parse_time
from topologies import checks
from topologies.keys import LATENCY, NIC, NIC_LATENCY, Key, ratio, read

FORM = "write site(NAME)*COUNT,distance=1000km,bandwidth=100Tb/s, in quotes"
MOST_SITES = 64
MOST_LINKS = 16_000_000
_LEFT_OUT = ("power and price leave out the fibre and what drives it",)
_WAN = Path(__file__).with_name("wan.yaml")
_CALL = re.compile(r"site\((?P<inner>.*)\)\s*(?:\*(?P<count>[^,]*))?\s*(?:,(?P<rest>[^()]*))?", re.DOTALL)

KEYS = (
    Key("distance", parse_length, "1000km", "none", "between two sites, as the crow flies"),
    Key(
        "bandwidth",
        parse_bandwidth,
        "100Tb/s",
        "that of wan.yaml",
        "provisioned between two sites, per direction",
    ),
    Key("route_factor", ratio, "1.3", "that of wan.yaml", "length of the fibre over the distance"),
    Key(
        "latency", LATENCY.read, "6.5ms", "distance * route_factor * 5us/km", "one way, in place of distance"
    ),
    NIC,
    NIC_LATENCY,
)
"""Keys behind ``site(NAME)*COUNT``; ``nic`` and ``nic_latency`` where a site has no scale-out network."""


def taken_apart(text: str) -> tuple[str, str, str] | None:
    """The name of a site, the count and the options of a name of several sites; None for other names.

    Raises
    ------
    CatalogueError
        It begins as several sites, but is not of the form.
    """
    text = text.strip()
    if not re.match(r"site\s*\(", text):
        return None
    match = _CALL.fullmatch(text)
    if match is None or not match["inner"].strip() or match["count"] is None:
        raise CatalogueError(f"{text!r} is no name of several sites", FORM)
    return match["inner"].strip(), match["count"].strip(), match["rest"] or ""


def several_sites(site: System, count: int, options: Mapping[str, str], name: str) -> System:
    """Equal sites, every two joined by a wide-area link.

    Parameters
    ----------
    site : System
        What stands at each.
    count : int
        Sites.
    options : mapping
        Values of :data:`KEYS`.
    name : str
        Of the whole.

    Returns
    -------
    System
        Power and price are those of the sites, without the fibre.

    Raises
    ------
    TopoError
        Neither distance nor latency, or both; a value out of range; too large a fabric.
    """
    values = read("site", KEYS, options)
    if count == 1:
        raise CatalogueError(
            f"{name}: one site needs no fibre", f"write {site.name}, or site({site.name})*2,..."
        )
    if count > MOST_SITES:
        raise CatalogueError(f"{name}: {count} sites are too many", f"use at most {MOST_SITES}")
    if ("distance" in values) == ("latency" in values):
        raise CatalogueError(f"{name}: give the distance or the latency between sites", FORM)
    if "latency" in values and "route_factor" in values:
        raise CatalogueError(f"{name}: the latency has no route_factor", "leave out route_factor")
    facts, sources = _wan()
    delay = values.get("latency")
    if delay is None:
        delay = (
            values["distance"]
            / 1e3
            * values.get("route_factor", facts["route_factor"])
            * facts["latency_per_km"]
        )
    rate = values.get("bandwidth", facts["bandwidth"])
    out = site.scale_out
    nic = values.get(NIC.name, out.nic_bandwidth if out else checks.DEFAULT_BANDWIDTH)
    nic_delay = values.get(NIC_LATENCY.name, out.nic_latency if out else checks.DEFAULT_LATENCY)
    between = out.switch_latency if out else nic_delay
    fabric = join_sites(site.fabric, count, rate, delay, nic, nic_delay, between, name)
    used = [
        source
        for source in sources
        if source.key.partition(".")[2] not in values
        and not (source.key != "wan.bandwidth" and "latency" in values)
    ]
    asked = [
        Source(f"wan.{key}", text, "", f"asked for: {key}={text}", "estimate", "", text)
        for key, text in options.items()
    ]
    note = f"{count} sites; one way over the fibre takes {format_time(delay)}"
    return replace(
        site,
        name=name,
        fabric=fabric,
        sources=(*site.sources, *used, *asked),
        notes=(*site.notes, note, *_LEFT_OUT[: bool(site.power_w or site.price_usd)]),
        power_w=_times(site.power_w, count),
        price_usd=_times(site.price_usd, count),
        rent_usd_per_hour=_times(site.rent_usd_per_hour, count),
        price_range_usd=_both(site.price_range_usd, count),
        rent_range_usd_per_hour=_both(site.rent_range_usd_per_hour, count),
    )


def _times(value: float | None, count: int) -> float | None:
    return None if value is None else value * count


def _both(values: tuple[float, float] | None, count: int) -> tuple[float, float] | None:
    return None if values is None else (values[0] * count, values[1] * count)


def join_sites(
    site: Fabric,
    count: int,
    bandwidth: float,
    latency: float,
    nic: float,
    nic_latency: float,
    switch_latency: float,
    name: str,
) -> Fabric:
    """Copies of a fabric, each with one border router, and a wide-area link between every two routers.

    The router is joined to the top switches of the site's scale-out network, which share the bandwidth of all
    its wide-area links; without such a network, to every accelerator by its network interface.

    Parameters
    ----------
    site : Fabric
    count : int
        Copies.
    bandwidth, latency : float
        B/s in one direction and seconds of each wide-area link.
    nic, nic_latency : float
        Of the link of an accelerator to the router, where it has no scale-out network.
    switch_latency : float
        Seconds from a top switch to the router, where there is a scale-out network.
    name : str
        Of the result.

    Returns
    -------
    Fabric
        Node ``x`` of site ``i`` is called ``si.x``, its router ``si.wan``.
    """
    size, ranks = len(site.nodes), site.ranks
    tops = _top_switches(site)
    if len(tops):
        rate, delay = bandwidth * (count - 1) / len(tops), switch_latency
    else:
        tops, rate, delay = site.accelerators, nic, nic_latency
    if count * (site.links + 2 * len(tops)) > MOST_LINKS:
        raise FabricError(f"{name} would have {count * site.links:,} links", f"the limit is {MOST_LINKS:,}")
    whole = size + 1
    shift = np.repeat(np.arange(count) * whole, site.links)
    ports = (np.arange(count)[:, None] * whole + tops).ravel()
    routers = np.repeat(np.arange(count) * whole + size, len(tops))
    far = np.asarray(list(permutations(range(count), 2)), dtype=np.int64) * whole + size
    added = 2 * len(ports) + len(far)
    scale_out = np.ones(added, dtype=bool)
    middle = site.position.mean(axis=0)
    width = float(np.ptp(site.position[:, 0])) + 2.0
    across = np.arange(count) * width * 1.2
    router_at = np.asarray([middle[0], float(site.position[:, 1].max()) + max(1.0, 0.2 * width)])
    places = (
        np.concatenate([site.position, router_at[None]])[None]
        + np.stack([across, 0 * across], axis=1)[:, None]
    )

    def tiled(values: Any, last: Any) -> Any:
        return np.tile(np.concatenate([values, [last]]), count)

    def linked(values: Any, up: float, wide: float) -> Any:
        return np.concatenate([np.tile(values, count), np.full(2 * len(ports), up), np.full(len(far), wide)])

    return Fabric(
        name=name,
        nodes=tuple(f"s{i}.{node}" for i in range(count) for node in (*map(str, site.nodes), "wan")),
        kind=tiled(site.kind, SWITCH),
        accelerators=(np.arange(count)[:, None] * whole + site.accelerators).ravel(),
        source=np.concatenate([np.tile(site.source, count) + shift, ports, routers, far[:, 0]]),
        target=np.concatenate([np.tile(site.target, count) + shift, routers, ports, far[:, 1]]),
        bandwidth=linked(site.bandwidth, rate, bandwidth),
        latency=linked(site.latency, delay, latency),
        cables=np.concatenate([np.tile(site.cables, count), np.ones(added, dtype=np.int64)]),
        domain=np.tile(site.domain, count) + np.repeat(np.arange(count) * site.domains, ranks),
        multicast=tiled(site.multicast, False),
        reduce=tiled(site.reduce, False),
        one_pass=tiled(site.adds_and_copies, False),
        scale_out=np.concatenate([np.tile(site.scale_out, count), scale_out]),
        position=places.reshape(-1, 2),
    )


def _top_switches(site: Fabric) -> Any:
    """Switches of the scale-out network that are farthest from the accelerators."""
    out = site.scale_out
    level = np.where(np.isin(np.arange(len(site.nodes)), site.accelerators), 0, -1)
    tops = np.empty(0, dtype=np.int64)
    step = 0
    while True:
        onward = np.unique(site.target[out & (level[site.source] == step)])
        fresh = onward[(level[onward] < 0) & (site.kind[onward] == SWITCH)]
        if not len(fresh):
            return tops
        step += 1
        level[fresh] = step
        tops = fresh


@lru_cache(maxsize=1)
def _wan() -> tuple[dict[str, float], tuple[Source, ...]]:
    """The numbers of ``wan.yaml`` in SI units, and where they come from."""
    from topologies.catalogue.document import read as read_yaml

    data = read_yaml(_WAN).data
    units: dict[str, tuple[str, Callable[[Any], float]]] = {
        "latency_per_km": ("s", parse_time),
        "route_factor": ("", float),
        "bandwidth": ("B/s", parse_bandwidth),
    }
    numbers: dict[str, float] = {}
    sources = []
    for key, (unit, parse) in units.items():
        entry = data["values"][key]
        numbers[key] = parse(entry["value"])
        cited = data["references"][entry["source"]]
        sources.append(
            Source(
                f"wan.{key}",
                numbers[key],
                unit,
                cited,
                entry["confidence"],
                entry["note"],
                str(entry["value"]),
            )
        )
    return numbers, tuple(sources)
