"""What a system is: counts, degrees, bandwidths, distances, sources, as one record."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

import numpy as np

from topo.bounds import bisection, diameter
from topo.fabric import KINDS, Fabric, FloatArray
from topo.system import System
from topo.units import format_bandwidth

UNCERTAIN = ("estimate", "memory")
"""Confidences of values that nobody published, or that were not verified."""


def describe(system: System) -> dict[str, Any]:
    """The facts about a system, fit for JSON.

    Parameters
    ----------
    system : System

    Returns
    -------
    dict
        ``links`` are directed; ``cables`` count both directions of a cable as one, and parallel ones singly.
        ``scale_up_bandwidth_Bps`` and ``scale_out_bandwidth_Bps`` are what one accelerator can send, in one
        direction, over its links inside and outside the scale-up domain: the largest over the accelerators.
        ``degrees`` say how many nodes of a kind have how many cables.
    """
    fabric = system.fabric
    inside, outside = port_bandwidths(fabric)
    across, halves = bisection(fabric)
    scale_out = float(outside.max())
    if not scale_out and system.scale_out is not None:
        scale_out = system.scale_out.nic_bandwidth
    return {
        "name": system.name,
        "title": system.title,
        "vendor": system.vendor,
        "status": system.status,
        "accelerators": fabric.ranks,
        "switches": int((fabric.kind == 1).sum()),
        "nics": int((fabric.kind == 2).sum()),
        "domains": fabric.domains,
        "grid": list(fabric.grid.shape) if fabric.grid else None,
        "links": fabric.links,
        "cables": int(fabric.cables.sum()) // 2,
        "degrees": degrees(fabric),
        "link_classes": link_classes(fabric),
        "scale_up_bandwidth_Bps": float(inside.max()),
        "scale_up_bandwidth_least_Bps": float(inside.min()),
        "scale_out_bandwidth_Bps": scale_out,
        "diameter": diameter(fabric),
        "bisection_Bps": across if np.isfinite(across) else None,
        "bisection_halves": halves,
        "in_network": {"multicast": int(fabric.multicast.sum()), "reduce": int(fabric.reduce.sum())},
        "routing": fabric.routing,
        "library": system.library,
        "advertised": _advertised(system),
        "chip": _chip(system),
        "power_w": system.power_w,
        "price_usd": system.price_usd,
        "price_range_usd": list(system.price_range_usd) if system.price_range_usd else None,
        "rent_usd_per_hour": system.rent_usd_per_hour,
        "rent_range_usd_per_hour": (
            list(system.rent_range_usd_per_hour) if system.rent_range_usd_per_hour else None
        ),
        "notes": list(system.notes),
        "sources": [
            {**asdict(source), "uncertain": source.confidence in UNCERTAIN} for source in system.sources
        ],
    }


def port_bandwidths(fabric: Fabric) -> tuple[FloatArray, FloatArray]:
    """Bytes/s that each accelerator can send inside and outside its scale-up domain: two arrays [ranks]."""
    outside = np.where(fabric.scale_out, fabric.bandwidth, 0.0)
    inside = fabric.bandwidth - outside
    count = len(fabric.nodes)
    up, out = (
        np.bincount(fabric.source, part, count)[fabric.accelerators].astype(float)
        for part in (inside, outside)
    )
    return up, out


def degrees(fabric: Fabric) -> dict[str, dict[str, int]]:
    """By kind of node: how many nodes have how many cables."""
    cables = np.bincount(fabric.source, fabric.cables, len(fabric.nodes)).astype(int)
    found = {}
    for number, kind in enumerate(KINDS):
        counts = Counter(cables[fabric.kind == number].tolist())
        if counts:
            found[kind] = {str(degree): counts[degree] for degree in sorted(counts)}
    return found


def link_classes(fabric: Fabric) -> list[dict[str, Any]]:
    """Links that are alike: bandwidth of a cable, latency, tier, and how many cables there are."""
    table = np.stack([fabric.scale_out, fabric.bandwidth / fabric.cables, fabric.latency], axis=1)
    classes, inverse = np.unique(table.round(15), axis=0, return_inverse=True)
    cables = np.bincount(inverse.ravel(), fabric.cables, len(classes))
    return [
        {
            "tier": "scale-out" if out else "scale-up",
            "bandwidth_Bps": float(bandwidth),
            "latency_s": float(latency),
            "cables": int(number) // 2,
        }
        for (out, bandwidth, latency), number in zip(classes.tolist(), cables.tolist(), strict=True)
    ]


def _advertised(system: System) -> dict[str, Any] | None:
    """What the vendor prints as scale-up bandwidth, what an accelerator sends, and how one follows from the other."""
    up = system.scale_up
    if up is None:
        return None
    rates = sorted(set(up.link_bandwidth), reverse=True)
    each = up.links // len(up.link_bandwidth)
    sums = [f"{each * up.link_bandwidth.count(rate)} x {format_bandwidth(rate)}" for rate in rates]
    said = format_bandwidth(up.marketing_bandwidth) if up.marketing_bandwidth else ""
    own = format_bandwidth(up.accelerator_bandwidth)
    how = {
        "both directions": f"advertised {said} counts both directions: {own} each way",
        "per direction": f"advertised {said} counts one direction",
        "with scale-out": f"advertised {said} counts both directions and the scale-out ports too",
        "conflicting": f"advertised {said} follows from no published link rate; the links give {own} each way",
    }.get(up.convention, "the vendor advertises no figure")
    return {
        "technology": up.technology,
        "links": up.links,
        "link_bandwidth_Bps": list(up.link_bandwidth),
        "per_direction_Bps": up.accelerator_bandwidth,
        "marketing_Bps": up.marketing_bandwidth,
        "convention": up.convention,
        "conversion": f"{' + '.join(sums)} = {own} per direction; {how}",
    }


def _chip(system: System) -> dict[str, Any] | None:
    if system.chip is None:
        return None
    chip = system.chip
    return {
        "name": chip.name,
        "peak_flops": dict(chip.peak_flops),
        "memory_bytes": chip.memory_bytes,
        "memory_bandwidth_Bps": chip.memory_bandwidth,
        "power_w": chip.power_w,
    }
