"""Errors with one system left out, as last computed: that takes minutes, the page that quotes them seconds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from topo.validation.leave_out import Left
from topo.validation.statistics import LARGE, SMALL, statistics

FILE = Path(__file__).with_name("left_one_out.json")
EDGE = 2.0**20
"""Bytes from which on a row is a large one."""

Record = Mapping[str, Any]
"""Of one system: ``rows``, ``constants`` and ``borrowed`` as numbers, and errors ``fitted`` and ``without`` by size."""


def record_of(left: Left) -> dict[str, Any]:
    """What is kept of one system."""
    large = [row.bytes >= EDGE for row in left.rows]
    kept: dict[str, Any] = {
        "rows": len(left.rows),
        "constants": len(left.borrowed) + len(left.refitted),
        "borrowed": len(left.borrowed),
    }
    for name, wanted in ((SMALL, False), (LARGE, True)):
        kept[name] = {
            kind: [
                round(error, 4) for error, is_large in zip(errors, large, strict=True) if is_large == wanted
            ]
            for kind, errors in (("fitted", left.fitted), ("without", left.without))
        }
    return kept


def table_of(records: Mapping[str, Record], by: str) -> list[tuple[str, ...]]:
    """Header and lines: median errors below and from 1 MiB, fitted and left out; then over all rows."""
    head = (by, "rows", f"{SMALL}: fitted", "left out", f"{LARGE}: fitted", "left out", "borrowed")
    lines: list[tuple[str, ...]] = [head]
    for name, record in records.items():
        borrowed = f"{record['borrowed']} of {record['constants']}" if record["constants"] else ""
        lines.append((name, str(record["rows"]), *_medians([record]), borrowed))
    every = list(records.values())
    lines.append(("all", str(sum(record["rows"] for record in every)), *_medians(every), ""))
    return lines


def _medians(records: Sequence[Record]) -> list[str]:
    cells = []
    for size in (SMALL, LARGE):
        for kind in ("fitted", "without"):
            errors = [error for record in records for error in record[size][kind]]
            cells.append(f"{statistics(errors).median:.1%}".replace("%", " %") if errors else "-")
    return cells


def read_left_one_out(path: Path | None = None) -> dict[str, dict[str, Record]]:
    """Records by ``system`` or ``machine`` and name; empty where nothing was recorded."""
    path = path or FILE
    if not path.exists():
        return {}
    data: dict[str, dict[str, Record]] = json.loads(path.read_text(encoding="utf-8"))
    return data


def write_left_one_out(
    found: Sequence[Left], by: str, *, keep: bool = False, path: Path | None = None
) -> None:
    """Record errors with one system (or machine) left out for the page; ``keep`` those of other names."""
    path = path or FILE
    data = read_left_one_out(path)
    mine = dict(data.get(by, {})) if keep else {}
    mine |= {left.name: record_of(left) for left in found}
    data[by] = dict(sorted(mine.items()))
    parts = []
    for key in sorted(data, key=lambda key: key != "system"):
        lines = ",\n  ".join(
            f"{json.dumps(name, ensure_ascii=False)}: {json.dumps(record)}"
            for name, record in data[key].items()
        )
        parts.append(f' "{key}": {{\n  {lines}\n }}')
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")
