"""The installation: pinned, complete, and of its own packages only."""

from __future__ import annotations

import configparser
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")
PINNED = [
    line
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]


def canonical(requirement: str) -> str:
    """Name of a requirement, spelled as PEP 503 says."""
    name = re.match(r"[\w.-]+", requirement)
    assert name is not None, requirement
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def test_constraints_are_versions_only() -> None:
    for line in PINNED:
        assert re.fullmatch(r"[\w.-]+==[\w.]+", line), line


def test_everything_asked_for_is_pinned() -> None:
    asked = [SETUP["options"]["install_requires"], *SETUP["options.extras_require"].values()]
    names = {canonical(line) for block in asked for line in block.split("\n") if line}
    assert len(names) > 20
    assert names <= {canonical(line) for line in PINNED}


def test_only_the_projects_packages_are_installed() -> None:
    """The experiments too: ``topo experiment`` finds them beside topo."""
    include = SETUP["options.packages.find"]["include"].split()
    assert {pattern.partition(".")[0] for pattern in include} == {"experiments", "topo", "topologies"}
    for top in ("experiments", "topo", "topologies"):
        for path in (ROOT / top).rglob("*.py"):
            folder = path.parent.relative_to(ROOT)
            assert any(fnmatch(".".join(folder.parts), pattern) for pattern in include), folder
            assert (ROOT / folder / "__init__.py").exists(), f"{folder} would not be installed"


@pytest.mark.parametrize("package", ["topo", "topologies"])
def test_every_data_file_is_installed(package: str) -> None:
    here = ROOT / package
    installed = {
        path for pattern in SETUP["options.package_data"][package].split() for path in here.glob(pattern)
    }
    present = {
        path
        for path in here.rglob("*")
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
    }
    assert present == installed
