"""Port bounds: what each accelerator, and all of them together, must send and take in."""

from __future__ import annotations

import numpy as np

from topo.bounds.bound import Bound
from topo.bounds.distances import nearest_other
from topo.bounds.group import Group
from topo.bounds.volumes import port_volumes
from topo.collective import Collective
from topo.errors import BoundError
from topo.units import format_bandwidth, format_bytes, format_time


def port_bounds(collective: Collective, group: Group) -> list[Bound]:
    """Bounds by port volume.

    Parameters
    ----------
    collective : Collective
    group : Group

    Returns
    -------
    list of Bound
        Of the tightest single port each way, and of all ports together each way.

    Notes
    -----
    Volumes: see :mod:`topo.bounds.volumes`.  A byte holds its sender's port while it drains, whatever else
    passes that port, so the last drain ends no sooner than volume / bandwidth.  The transfer that drains last
    arrives later by the latencies of its route, at least those of the shortest route that starts (or ends) at
    such a port.  In units of time: volume / bandwidth + latency.
    """
    fabric = group.fabric
    volumes = port_volumes(collective, bool(fabric.multicast.any()), bool(fabric.reduce.any()))
    key = ("nearest", group.key)
    if key not in fabric.cache:
        fabric.cache[key] = nearest_other(group, fabric.latency)
    after, before = fabric.cache[key]
    found = []
    sending = (volumes.sent, volumes.all_sent, fabric.egress[group.ranks], after, fabric.source)
    taking = (volumes.received, volumes.all_received, fabric.ingress[group.ranks], before, fabric.target)
    for what, way, (each, together, ports, late, ends) in (
        ("send", "out of", sending),
        ("take in", "into", taking),
    ):
        if together <= 0:
            continue
        if not ports.all():
            lost = group.label(int(ports.argmin()))
            raise BoundError(f"{fabric.name} splits the group: no link leads {way} {lost}", "mend the fabric")
        times = np.where(each > 0, each / ports + late, 0.0)
        worst = int(times.argmax())
        found.append(
            Bound(
                float(times[worst]),
                "ports",
                f"{group.label(worst)} must {what} {format_bytes(float(each[worst]))} and has "
                f"{format_bandwidth(float(ports[worst]))} {way} it; the last bytes travel "
                f"{format_time(float(late[worst]))}",
                {
                    "direction": what,
                    "nodes": [group.label(worst)],
                    "bytes": float(each[worst]),
                    "capacity_Bps": float(ports[worst]),
                    "latency_s": float(late[worst]),
                },
                (ends == group.nodes[worst]).astype(float),
            )
        )
        capacity, least = float(ports.sum()), float(late[np.isfinite(late)].min(initial=np.inf))
        found.append(
            Bound(
                together / capacity + least,
                "ports",
                f"the {group.size} accelerators together must {what} {format_bytes(together)} and have "
                f"{format_bandwidth(capacity)} {way} them; the last bytes travel {format_time(least)}",
                {
                    "direction": what,
                    "nodes": "all",
                    "bytes": together,
                    "capacity_Bps": capacity,
                    "latency_s": least,
                },
                group.member[ends].astype(float),
            )
        )
    return found
