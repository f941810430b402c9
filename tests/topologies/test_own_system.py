"""What docs/your-own-system.md says works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import topo

PAGE = (Path(__file__).parents[2] / "docs" / "your-own-system.md").read_text(encoding="utf-8")
NAMES = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)
BLOCKS = dict(re.findall(r"```(yaml|python)\n(.*?)```", PAGE, re.DOTALL))


def test_the_page_has_names_and_examples() -> None:
    assert len(NAMES) > 12 and set(BLOCKS) == {"yaml", "python"}


@pytest.mark.parametrize("name", [name for name in NAMES if name != "NAME"])
def test_every_name_of_the_page_loads(name: str) -> None:
    system = topo.load(name)
    assert system.accelerators >= 2
    assert system.name == name


def test_the_file_of_the_page_loads_and_composes(tmp_path: Path) -> None:
    file = tmp_path / "next.yaml"
    file.write_text(BLOCKS["yaml"], encoding="utf-8")
    system = topo.load(f"{file}*4")
    assert system.accelerators == 256 and system.chip is not None and system.scale_up is not None
    assert system.chip.memory_bytes == 192 * 2**30
    assert system.scale_up.accelerator_bandwidth == pytest.approx(2 * 640e9)
    assert system.price_range_usd == (256 * 6e3, 256 * 8e3)


def test_the_python_of_the_page_runs() -> None:
    scope: dict[str, float] = {}
    exec(BLOCKS["python"], scope)
    assert 100 < scope["dollars_per_gigabyte"] < 300
    assert scope["low"] < scope["high"]
