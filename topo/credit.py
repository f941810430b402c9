"""How sure a report is: recorded errors of the systems in it, and plain words where nothing was measured."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).with_name("validation")
RECORDED = _FOLDER / "recorded.json"
RECORDED_STEPS = _FOLDER / "recorded_steps.json"
"""Errors against measurements, as the validation last recorded them: of collectives, and of training steps."""
STEP = "training step"


@dataclass(frozen=True)
class Credit:
    """What is known of the errors of a report's systems.

    Parameters
    ----------
    rows : sequence of mapping
        ``system`` (as measured), ``stands_for`` (systems of the report), ``exact`` (the same system, not another
        size of it), ``what``, ``rows``, ``median``, ``p90``, ``worst``.
    not_validated : sequence of str
        Systems of the report of which nothing is recorded.
    notes : sequence of str
        Sentences on how far the errors carry.
    """

    rows: Sequence[Mapping[str, Any]] = ()
    not_validated: Sequence[str] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class _Entry:
    system: str
    operation: str
    what: str
    numbers: Mapping[str, Any]


def systems_of(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """The systems that records ran on, as they were named, in order of appearance."""
    names = (record.get("system") or record.get("input_on") for record in records)
    return list(dict.fromkeys(str(name) for name in names if name))


def credit_of(
    records: Sequence[Mapping[str, Any]], collectives: Path = RECORDED, steps: Path = RECORDED_STEPS
) -> Credit:
    """Match the systems and operations of records with recorded errors.

    A system measured as it is brings its own errors; else those of other sizes of the same machine, marked so.
    """
    entries = [*_collectives(_read(collectives)), *_steps(_read(steps))]
    operations = {record["operation"] for record in records if isinstance(record.get("operation"), str)}
    trains = any(record.get("step_s") is not None for record in records)
    wanted = operations | ({STEP} if trains else set())
    found: dict[tuple[str, str], dict[str, Any]] = {}
    without = []
    for system in systems_of(records):
        near = [entry for entry in entries if _machine(entry.system) == _machine(system)]
        near = [entry for entry in near if entry.operation in wanted]
        same = [entry for entry in near if entry.system == system]
        if not near:
            without.append(system)
        for entry in same or near:
            row = found.setdefault(
                (entry.system, entry.what),
                {"system": entry.system, "what": entry.what, "stands_for": [], "exact": False}
                | {"rows": entry.numbers["count"]}
                | {name: entry.numbers[name] for name in ("median", "p90", "worst")},
            )
            row["stands_for"].append(system)
            row["exact"] = row["exact"] or entry.system == system
    notes = [*_notes(records, list(found.values())), *_guessed(without)]
    return Credit(list(found.values()), without, notes)


def _guessed(systems: Sequence[str]) -> list[str]:
    """What is guessed of systems that nobody measured, where the catalogue and their library know their links."""
    import topo
    from topo.ccl import guessed
    from topo.errors import TopoError
    from topo.library import library_of, system_links

    found: dict[str, None] = {}
    for name in systems:
        try:
            system = topo.load(name)
        except TopoError:
            continue
        library = library_of(system)
        if not library.ideal:
            links = system_links(system, library)
            found |= dict.fromkeys(guessed(links, between=system.fabric.domains > 1))
    return [f"{text}." for text in found]


def _machine(system: str) -> str:
    """A system's name without size and settings: ``dgx-h100`` of ``dgx-h100*8,nic=25GB/s`` or of sites of it."""
    return re.split(r"[:*,(]", re.sub(r"^site\(", "", system))[0]


def _notes(records: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    notes = []
    if any(not row["exact"] for row in rows):
        notes.append(
            "Where another size of a machine was measured than the report uses, its error is a hint and no bound."
        )
    libraries = {record["ccl"] for record in records if isinstance(record.get("ccl"), str)}
    if rows and "ideal" in libraries:
        notes.append(
            "The measurements are of machines with their own communication library. Records with the ideal library "
            "say what the fabric permits; a machine is slower by what its library costs, and these errors do not "
            "cover that."
        )
    return notes


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _collectives(data: Mapping[str, Any]) -> Iterable[_Entry]:
    for key, numbers in data.items():
        system, operation, band, ranks = (part.strip() for part in key.split(" | "))
        yield _Entry(system, operation, f"{operation}, {band}, {ranks}", numbers)


def _steps(data: Mapping[str, Any]) -> Iterable[_Entry]:
    for key, numbers in data.items():
        _, publisher, system, precision = (part.strip() for part in key.split(" | "))
        yield _Entry(system, STEP, f"{STEP}, {precision}, published by {publisher}", numbers)
