"""``topo list``: what there is to choose from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from topo.cli.options import as_json, echo_json

KINDS = ("systems", "topologies", "algorithms", "operations")
SORTS = {
    "name": "name",
    "vendor": "vendor",
    "status": "status",
    "accelerators": "accelerators",
    "scale-up": "scale_up_bandwidth_Bps",
    "scale-out": "scale_out_bandwidth_Bps",
    "flops": "bf16_flops",
    "memory": "memory_bytes",
    "memory-bandwidth": "memory_bandwidth_Bps",
    "power": "power_w",
    "price": "price_usd",
    "rent": "rent_usd_per_hour",
}
"""What systems can be sorted by, and the key of their record."""


@click.command(
    epilog="""\b
Examples:
  topo list
  topo list algorithms
  topo list systems --sort scale-up --min-accelerators 64
  topo list systems --vendor google --json"""
)
@click.argument("kind", metavar="[systems|topologies|algorithms|operations]", required=False)
@click.option(
    "--sort",
    metavar="KEY",
    help=f"Systems, the largest first: {', '.join(SORTS)}.  Unpublished values come last.",
)
@click.option("--vendor", metavar="NAME", help="Only systems of this vendor.")
@click.option(
    "--match", metavar="TEXT", help="Only systems with this in name, title, status or link technology."
)
@click.option(
    "--min-accelerators", type=click.IntRange(1), help="Only systems whose domain has as many or more."
)
@click.option(
    "--max-accelerators", type=click.IntRange(1), help="Only systems whose domain has as many or fewer."
)
@click.option(
    "--min-scale-up", metavar="BANDWIDTH", help="Only systems with this per accelerator and direction."
)
@as_json
def command(kind: str | None, as_json: bool, **choice: Any) -> None:
    """List systems, topologies, algorithms and operations, or one of these kinds.

    Of systems: accelerators of a scale-up domain, bandwidth per accelerator and direction inside the domain and
    out of it, dense bf16 peak and memory of an accelerator.  A question mark: estimated, or recalled.
    """
    from topo.errors import nearest

    if kind is not None and kind not in KINDS:
        raise click.UsageError(
            f"{kind!r} cannot be listed; {nearest(kind, KINDS) or 'one of ' + ', '.join(KINDS)}"
        )
    choice = {option: value for option, value in choice.items() if value is not None}
    if choice and kind != "systems":
        option = "--" + next(iter(choice)).replace("_", "-")
        raise click.UsageError(f"{option} is for systems; write topo list systems {option} ...")
    chosen = KINDS if kind is None else (kind,)
    found = {name: _systems(choice) if name == "systems" else _entries(name) for name in chosen}
    if as_json:
        echo_json(found if kind is None else found[kind])
        return
    width = max((len(entry["name"]) for entries in found.values() for entry in entries), default=0) + 2
    for number, (name, entries) in enumerate(found.items()):
        if kind is None:
            click.echo(f"{chr(10) if number else ''}{name}")
        for entry in entries:
            indent = "  " if kind is None else ""
            facts = _facts(entry, choice.get("sort")) if kind == "systems" else ""
            click.echo(f"{indent}{entry['name']:<{width}}{facts}{entry['summary']}".rstrip())


def _entries(kind: str) -> list[dict[str, str]]:
    return {
        "topologies": _topologies,
        "algorithms": _algorithms,
        "operations": _operations,
    }[kind]()


def _systems(choice: dict[str, Any]) -> list[dict[str, Any]]:
    from topologies.catalogue.table import records

    found = [
        {"name": r["name"], "summary": f"{r['vendor']} {r['title']}; {r['status']}", **r} for r in records()
    ]
    return _sorted([entry for entry in found if _wanted(entry, choice, found)], choice.get("sort"))


def _wanted(entry: dict[str, Any], choice: dict[str, Any], all_entries: list[dict[str, Any]]) -> bool:
    """Whether a system passes every filter."""
    from topo.errors import nearest
    from topo.units import parse_bandwidth

    vendors = sorted({e["vendor"] for e in all_entries})
    vendor = choice.get("vendor")
    if vendor is not None and vendor.lower() not in (v.lower() for v in vendors):
        near = nearest(vendor, vendors) or f"one of {', '.join(vendors)}"
        raise click.UsageError(f"no system is of vendor {vendor!r}; {near}")
    text = " ".join(entry[key] for key in ("name", "title", "status", "technology")).lower()
    least = parse_bandwidth(choice["min_scale_up"]) if "min_scale_up" in choice else 0.0
    return (
        (vendor is None or entry["vendor"].lower() == vendor.lower())
        and choice.get("match", "").lower() in text
        and choice.get("min_accelerators", 0) <= entry["accelerators"]
        and entry["accelerators"] <= choice.get("max_accelerators", entry["accelerators"])
        and (entry["scale_up_bandwidth_Bps"] or 0.0) >= least
    )


def _sorted(entries: list[dict[str, Any]], by: str | None) -> list[dict[str, Any]]:
    from topo.errors import nearest

    if by is None or by == "name":
        return entries
    if by not in SORTS:
        raise click.UsageError(f"systems have no {by!r} to sort by; {nearest(by, SORTS) or ', '.join(SORTS)}")
    key = SORTS[by]
    if key in ("vendor", "status"):
        return sorted(entries, key=lambda entry: str(entry[key]).lower())
    return sorted(entries, key=lambda entry: (entry[key] is None, -(entry[key] or 0.0)))


def _facts(entry: dict[str, Any], by: str | None) -> str:
    """The main numbers of a system in columns, each with its unit, and what is sorted by."""
    from topo.units import format_bandwidth, format_bytes

    def shown(key: str, words: Callable[[float], str]) -> str:
        value = entry[key]
        mark = "?" if key in entry["estimated"] else ""
        return "-" if value is None else words(value) + mark

    cells: tuple[tuple[str, int], ...] = (
        (f"{entry['accelerators']:,}", 7),
        ("x " + shown("scale_up_bandwidth_Bps", format_bandwidth), 13),
        ("out " + shown("scale_out_bandwidth_Bps", format_bandwidth), 15),
        (shown("bf16_flops", lambda flops: f"{flops / 1e12:,.5g}TFLOP/s"), 15),
        (shown("memory_bytes", format_bytes), 10),
    )
    extra = {
        "memory-bandwidth": lambda: shown("memory_bandwidth_Bps", format_bandwidth),
        "power": lambda: shown("power_w", lambda watts: f"{watts:,.0f}W"),
        "price": lambda: shown("price_usd", lambda dollars: f"{dollars:,.0f}USD"),
        "rent": lambda: shown("rent_usd_per_hour", lambda dollars: f"{dollars:.3g}USD/h"),
    }
    if by in extra:
        cells = (*cells, (extra[by](), 13))
    return "".join(f"{text:<{width}}" for text, width in cells)


def _topologies() -> list[dict[str, str]]:
    from topologies.registry import TOPOLOGIES

    return [
        {
            "name": t.name,
            "shape": t.grammar,
            "summary": f"{t.summary}; shape {t.grammar}, such as {t.examples[0]}",
            "keys": " ".join(key.name for key in t.keys),
        }
        for t in TOPOLOGIES.values()
    ]


def _algorithms() -> list[dict[str, str]]:
    from topo.algorithms import ALGORITHMS

    return [
        {"name": a.name, "summary": a.summary, "operations": " ".join(a.operations)}
        for a in ALGORITHMS.values()
    ]


def _operations() -> list[dict[str, str]]:
    from topo.collective import OPERATIONS

    return [{"name": name, "summary": MEANINGS[name]} for name in OPERATIONS]


MEANINGS = {
    "all-reduce": "every rank ends with the sum of all buffers; size: the buffer of each rank",
    "all-gather": "every rank ends with the shares of all; size: the gathered output",
    "reduce-scatter": "every rank ends with its share of the sum; size: the input of each rank",
    "all-to-all": "every rank sends a block to every other; size: the send buffer of each rank",
    "broadcast": "every rank ends with the root's buffer; size: that buffer",
    "reduce": "the root ends with the sum of all buffers; size: the buffer of each rank",
    "send-recv": "one rank sends its buffer to a peer; size: that buffer",
    "barrier": "nobody goes on before all have come; no size",
}
