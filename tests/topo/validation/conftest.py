"""Tables of measurements made on the spot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from topo.validation.reader import COLUMNS

GOOD = {
    "id": "one",
    "system": "machine",
    "devices": "8",
    "nodes": "1",
    "op": "all_reduce",
    "bytes": "1048576",
    "time_us": "50",
    "in_place": "0",
    "target": "switch:8",
}


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Path]:
    """Write rows, each GOOD with some cells changed, to a file."""

    def write(*rows: dict[str, str], columns: tuple[str, ...] = COLUMNS, name: str = "mine.csv") -> Path:
        lines = [",".join(columns)]
        for number, changes in enumerate(rows, start=1):
            cells = GOOD | {"id": f"row{number}"} | changes
            lines.append(",".join(cells.get(column, "") for column in columns))
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write
