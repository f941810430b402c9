"""A page of all machines and bare topologies, each with a small picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from topo.describe import describe
from topo.report.layout import lay_out
from topo.report.system import counted_words
from topo.report.thumbnail import thumbnail
from topo.system import System
from topo.units import format_bandwidth, format_bytes

IMAGES = Path("images") / "systems"
"""Folder of the pictures, below the folder of the page."""


@dataclass(frozen=True)
class Entry:
    """One thing on the page.

    Parameters
    ----------
    name : str
        Heading and file of the picture.
    system : System
        What is drawn and described.
    summary : str
        One line.
    """

    name: str
    system: System
    summary: str


def write_page(machines: Iterable[Entry], topologies: Sequence[Entry], folder: Path) -> list[Path]:
    """Write ``systems.md`` and its pictures.

    Parameters
    ----------
    machines, topologies : Entry
        In the order of the page.
    folder : Path
        Is made where it is not there.

    Returns
    -------
    list of Path
        The page, then the pictures.
    """
    images = folder / IMAGES
    images.mkdir(parents=True, exist_ok=True)
    written = []
    lines = [
        "# Systems and topologies",
        "",
        "Written by `make catalogue-page`; numbers come from `topologies/systems/*.yaml`, where each has its source.",
        "`topo show NAME` lists the sources of a system, and says which values are estimated.",
        "All bandwidths are of one accelerator in one direction unless said otherwise.  In the pictures a circle is",
        "an accelerator, a square a switch; solid grey is the most frequent kind of link, colours and dashes the",
        "others; a dotted line stands for more of the same.",
        "",
        "## Systems",
        "",
    ]
    for heading, entries in (("", machines), ("## Bare topologies", topologies)):
        lines += [heading, ""] if heading else []
        for entry in entries:
            picture = images / f"{entry.name}.svg"
            picture.write_text(thumbnail(entry.system.fabric, entry.summary), encoding="utf-8")
            written.append(picture)
            lines += _section(entry)
    page = folder / "systems.md"
    page.write_text("\n".join(lines), encoding="utf-8")
    return [page, *written]


def _section(entry: Entry) -> list[str]:
    facts = describe(entry.system)
    part = lay_out(entry.system.fabric).note
    words = (("accelerators", "accelerator"), ("switches", "switch"), ("cables", "cable"))
    rows = [", ".join(counted_words(facts[key], word) for key, word in words if facts[key])]
    said = facts["advertised"]
    if said:
        rows.append(f"scale-up: {said['technology']}: {said['conversion']}")
    else:
        rows.append(
            f"scale-up: {format_bandwidth(facts['scale_up_bandwidth_Bps'])}" if _has_links(facts) else ""
        )
    if facts["scale_out_bandwidth_Bps"]:
        rows.append(f"scale-out: {format_bandwidth(facts['scale_out_bandwidth_Bps'])}")
    across = facts["bisection_Bps"]
    cut = f", bisection {format_bandwidth(across)}" if across else ""
    rows.append(f"diameter {counted_words(facts['diameter'], 'link')}{cut}")
    if facts["chip"]:
        rows.append(_chip(facts["chip"]))
    sources = facts["sources"]
    if sources:
        unsure = sum(source["uncertain"] for source in sources)
        rows.append(f"{len(sources)} sourced values, of which {unsure} are estimated or recalled")
    return [
        f"### {entry.name}",
        "",
        entry.summary,
        "",
        f"![{entry.name}]({(IMAGES / entry.name).as_posix()}.svg)",
        "",
        *([f"Drawn: {part}.", ""] if part else []),
        *(f"- {row}" for row in rows if row),
        "",
    ]


def _has_links(facts: Mapping[str, Any]) -> bool:
    return bool(facts["scale_up_bandwidth_Bps"])


def _chip(chip: Mapping[str, Any]) -> str:
    peaks = ", ".join(f"{flops / 1e12:,.5g} TFLOP/s {name}" for name, flops in chip["peak_flops"].items())
    memory = f"{format_bytes(chip['memory_bytes'])} at {format_bandwidth(chip['memory_bandwidth_Bps'])}"
    return f"{chip['name']}: {peaks} dense; {memory}"
