"""A system as a block of text, from the record of :func:`topo.describe.describe`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from topo.report.blocks import set_block
from topo.units import format_bandwidth, format_bytes, format_time

MARK = "?"
"""Stands after a value that nobody published, or that was not verified."""
_MOST_CLASSES = 5
_MOST_DEGREES = 6


def system_block(facts: Mapping[str, Any]) -> str:
    """What a system is, with its sources."""
    title = facts["name"]
    if facts["title"]:
        title += f": {facts['vendor']} {facts['title']}, {facts['status']}"
    rows = [("accelerators", _accelerators(facts))]
    if facts["switches"]:
        rows.append(("switches", f"{facts['switches']:,}{_in_network(facts)}"))
    if facts["nics"]:
        rows.append(("NICs", f"{facts['nics']:,}"))
    rows.append(
        (
            "links",
            f"{counted_words(facts['cables'], 'cable')} ({facts['links']:,} directed links): {_classes(facts)}",
        )
    )
    rows.append(("degree", "; ".join(_degree(kind, counts) for kind, counts in facts["degrees"].items())))
    rows += [
        ("scale-up", _scale_up(facts)),
        *_advertised(facts),
        ("scale-out", _scale_out(facts)),
        ("diameter", counted_words(facts["diameter"], "link")),
    ]
    if facts["bisection_Bps"] is not None:
        rows.append(
            ("bisection", f"{format_bandwidth(facts['bisection_Bps'])} ({facts['bisection_halves']})")
        )
    if facts["chip"]:
        rows.append(("chip", _chip(facts["chip"])))
    if facts["power_w"]:
        rows.append(("power", _watts(facts["power_w"])))
    rows += _money(facts)
    rows.append(("routing", f"{facts['routing']}; library: {facts['library']}"))
    rows += [("note" if i == 0 else "", note) for i, note in enumerate(facts["notes"])]
    return set_block(title, rows) + _sources(facts)


def _money(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Price and rent, lowest to highest, of all and of one accelerator."""
    rows = []
    for label, key, unit in (
        ("price", "price_range_usd", "USD"),
        ("rent", "rent_range_usd_per_hour", "USD/h"),
    ):
        if facts[key]:
            whole = " to ".join(dict.fromkeys(map(_dollars, facts[key])))
            share = " to ".join(dict.fromkeys(_dollars(x / facts["accelerators"]) for x in facts[key]))
            rows.append((label, f"{whole} {unit}; {share} an accelerator"))
    return rows


def _dollars(amount: float) -> str:
    if amount >= 1e6:
        return f"{amount / 1e6:,.4g} million"
    return f"{amount:,.0f}" if amount >= 1000 else f"{amount:.4g}"


def _watts(power: float) -> str:
    return f"{power / 1e6:,.4g}MW" if power >= 1e6 else f"{power / 1e3:,.4g}kW"


def counted_words(number: int, word: str) -> str:
    """``1 link``, ``3 switches``."""
    plural = word + ("es" if word.endswith("ch") else "s")
    return f"{number:,} {word if number == 1 else plural}"


def _accelerators(facts: Mapping[str, Any]) -> str:
    text = f"{facts['accelerators']:,}"
    if facts["grid"]:
        text += f" in a grid of {' x '.join(map(str, facts['grid']))}"
    if facts["domains"] > 1:
        text += f" in {facts['domains']:,} scale-up domains"
    return text


def _in_network(facts: Mapping[str, Any]) -> str:
    abilities = {"multicast": "copy data on its way (multicast)", "reduce": "add data on its way (reduce)"}
    able = [
        f"{'all' if count == facts['switches'] else f'{count:,}'} can {abilities[what]}"
        for what, count in facts["in_network"].items()
        if count
    ]
    return f"; {', '.join(able)}" if able else ""


def _classes(facts: Mapping[str, Any]) -> str:
    classes = sorted(facts["link_classes"], key=lambda c: -c["cables"])
    tiers = {c["tier"] for c in classes}
    parts = [
        f"{c['cables']:,} of {format_bandwidth(c['bandwidth_Bps'])} and {format_time(c['latency_s'])}"
        + (f" {c['tier']}" if len(tiers) > 1 else "")
        for c in classes[:_MOST_CLASSES]
    ]
    if len(classes) > _MOST_CLASSES:
        parts.append(f"and {len(classes) - _MOST_CLASSES} other kinds")
    return ", ".join(parts)


def _degree(kind: str, counts: Mapping[str, int]) -> str:
    word = {"accelerator": "an accelerator", "switch": "a switch", "nic": "a NIC"}[kind]
    if len(counts) == 1:
        return f"{word} has {counted_words(int(next(iter(counts))), 'cable')}"
    if len(counts) > _MOST_DEGREES:
        degrees = list(map(int, counts))
        return f"{word} has {min(degrees)} to {max(degrees)} cables"
    each = ", ".join(f"{degree} ({number:,} of them)" for degree, number in counts.items())
    return f"{word} has {each} cables"


def _scale_up(facts: Mapping[str, Any]) -> str:
    most, least = facts["scale_up_bandwidth_Bps"], facts["scale_up_bandwidth_least_Bps"]
    if not most:
        return "none"
    text = f"{format_bandwidth(most)} per accelerator and direction"
    return text if least > most * (1 - 1e-9) else f"{text} (the least: {format_bandwidth(least)})"


def _advertised(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    said = facts["advertised"]
    return [("", f"{said['technology']}: {said['conversion']}")] if said else []


def _scale_out(facts: Mapping[str, Any]) -> str:
    if not facts["scale_out_bandwidth_Bps"]:
        return "none"
    text = f"{format_bandwidth(facts['scale_out_bandwidth_Bps'])} per accelerator and direction"
    return text if facts["domains"] > 1 else f"{text} (not part of this fabric: join domains with *COUNT)"


def _chip(chip: Mapping[str, Any]) -> str:
    peaks = ", ".join(f"{flops / 1e12:,.5g} TFLOP/s {name}" for name, flops in chip["peak_flops"].items())
    memory = f"{format_bytes(chip['memory_bytes'])} at {format_bandwidth(chip['memory_bandwidth_Bps'])}"
    power = f"; {chip['power_w']:,.5g}W" if chip["power_w"] else ""
    return f"{chip['name']}: {peaks}; {memory}{power}"


def _sources(facts: Mapping[str, Any]) -> str:
    """Every number with its confidence and the document it comes from; documents are numbered."""
    sources = facts["sources"]
    if not sources:
        return ""
    documents = list(dict.fromkeys(source["source"] for source in sources))
    rows = [
        (
            source["key"],
            (source["text"] or f"{source['value']:g} {source['unit']}")
            + (MARK if source["uncertain"] else ""),
            f"{source['confidence']} [{documents.index(source['source']) + 1}]",
        )
        for source in sources
    ]
    widths = [min(40, max(len(row[i]) for row in rows)) for i in range(2)]
    unsure = sum(source["uncertain"] for source in sources)
    lines = [
        "",
        "",
        f"  sources ({MARK}: {unsure} of {len(sources)}, estimated, or recalled and not verified)",
        "",
    ]
    for row in rows:
        lines.append(f"  {row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]}")
    lines.append("")
    for number, document in enumerate(documents, 1):
        lines.append(f"  {f'[{number}]':>4} {document}")
    return "\n".join(lines)
