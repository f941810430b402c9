"""Bounds as a block of text, from the record of :func:`topo.bounds.record.bound_record`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from topo.report.blocks import set_block
from topo.units import format_bytes, format_time


def bound_block(record: Mapping[str, Any]) -> str:
    """The tightest bound and its certificate, the other kinds, and the cables that matter."""
    sized = f" of {format_bytes(record['bytes'])}" if record["bytes"] else ""
    title = f"{record['operation']}{sized} on {record['system']}, {record['ranks']} ranks"
    rows = [
        ("no less than", f"{format_time(record['bound_s'])} ({record['bound_kind']})"),
        ("because", record["certificate"]),
        ("exact", _exact(record)),
    ]
    others = [entry for entry in record["bounds"] if entry["kind"] != record["bound_kind"]]
    if others:
        rows.append(("weaker", ", ".join(f"{e['kind']} {format_time(e['bound_s'])}" for e in others)))
    for i, price in enumerate(record.get("shadow_prices", ())):
        rows.append(("cables" if i == 0 else "", _price(price, record["bound_s"])))
    if "drawing" in record:
        rows.append(("drawing", record["drawing"]))
    return set_block(title, rows)


def _exact(record: Mapping[str, Any]) -> str:
    if record["exact"] is None:
        return "not sought" if record["bytes"] else "a barrier moves no bytes"
    why = f": {record['why']}" if "why" in record else ""
    if not record["exact"]:
        return f"no{why}"
    if record["bound_kind"] == "latency":
        return "yes: the volumes, exactly bounded, bind less than the latency" + why
    if "schedules" in record["data"].get("program", record["data"]):
        return "among schedules with a tree that reduces and a tree that spreads for every chunk" + why
    return "yes" + why


def _price(price: Mapping[str, Any], bound: float) -> str:
    alike = f" (one of {price['alike']} alike)" if price["alike"] > 1 else ""
    cut = "splits the group" if price["cut_s"] is None else _change(price["cut_s"] / bound)
    return f"{price['cable']}{alike}: doubled {_change(price['doubled_s'] / bound)}, cut {cut}"


def _change(ratio: float) -> str:
    if abs(ratio - 1) < 5e-5:
        return "no change"
    return f"{ratio - 1:+.3g} times" if ratio >= 2 else f"{100 * (ratio - 1):+.2g} %"
