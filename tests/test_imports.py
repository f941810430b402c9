"""Who may import whom: data walks one way through the rooms of the house, and what is heavy loads only when used."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EVERYONE = {"errors", "units", "hashing", "processes", "__version__"}
"""What every room may use."""
GRAPH = {
    "fabric",
    "routing",
    "translation",
    "wafer",
    "graph_attributes",
    "meeting",
    "routes",
    "star_trees",
    "trees",
    "turns",
    "within",
}
"""The fabric, the ways through it and its symmetries."""
SPECIFIED = {"collective", "schedule", "proof"}
ENGINE = GRAPH | SPECIFIED | {"network"}
SIMULATION = ENGINE | {
    "algorithms",
    "bounds",
    "ccl",
    "choose",
    "library",
    "prepared",
    "promise",
    "regularity",
    "results",
    "simulate",
    "system",
}
TOLD = {"compare", "compare_algorithms", "describe"}

ALLOWED: dict[str, set[str]] = {
    **dict.fromkeys(GRAPH, GRAPH),
    "collective": GRAPH,
    **dict.fromkeys(("schedule", "proof"), GRAPH | SPECIFIED),
    "network": ENGINE,
    "flows": ENGINE,
    "bounds": {"collective", *GRAPH},
    "regularity": {"bounds", *GRAPH},
    # Synthesis needs cuts; an algorithm's name may be a file of another format.
    "algorithms": GRAPH | SPECIFIED | {"bounds", "formats"},
    "formats": GRAPH | SPECIFIED,
    "ccl": ENGINE | {"algorithms", "promise"},
    "system": {"fabric", "ccl"},
    "prepared": ENGINE | {"algorithms"},
    "promise": ENGINE | {"algorithms"},
    "choose": ENGINE | {"algorithms", "bounds", "prepared", "promise", "regularity"},
    "library": ENGINE | {"algorithms", "ccl", "prepared", "system"},
    "simulate": SIMULATION,
    "results": set(),
    # It says what is guessed of systems that nobody measured.
    "credit": {"ccl", "library", "system", "topo"},
    "compare": SIMULATION | TOLD,
    "compare_algorithms": SIMULATION | TOLD,
    "describe": GRAPH | {"bounds", "system"},
    "training": SIMULATION | {"results"},
    # Some measured machines count cores of chips as ranks: a grid of its own.
    "validation": SIMULATION | {"credit", "formats", "training", "report", "topo", "topologies"},
    "sweep": {"results", "topo"},
    "experiment": {"report", "results", "sweep"},
    # It draws and tabulates what the others found.
    "report": GRAPH | SPECIFIED | TOLD | {"credit", "results", "system", "training", "sweep"},
    "topologies": {"fabric", "system", "graph_attributes", "wafer"},
}
"""By room: the rooms that it may import, beyond itself and those that everyone may; ``cli`` and ``topo`` itself may
import any, ``topologies`` included."""
ANYTHING = {"cli", "topo"}


def _modules() -> Iterator[tuple[str, Path]]:
    for package in ("topo", "topologies"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def _room(module: str) -> str:
    """``topo.bounds.lp`` lives in ``bounds``, ``topo.fabric`` in ``fabric``; elsewhere the package is the room."""
    parts = module.split(".")
    return parts[1] if parts[0] == "topo" and len(parts) > 1 else parts[0]


def _imported(path: Path) -> Iterator[tuple[str, int]]:
    """Modules that a file imports, anywhere in it, and the lines."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports here are absolute"
            module = node.module or ""
            for alias in node.names:
                inner = (ROOT / module.replace(".", "/") / f"{alias.name}.py").exists() or (
                    ROOT / module.replace(".", "/") / alias.name
                ).is_dir()
                yield (f"{module}.{alias.name}" if inner else module), node.lineno


def _strays(module: str, path: Path) -> Iterator[str]:
    room = _room(module)
    for name, line in _imported(path):
        top = name.split(".")[0]
        if top in ("experiments", "tests"):
            yield f"{path.relative_to(ROOT)}:{line} imports {name}, which nothing may"
        if top not in ("topo", "topologies") or room in ANYTHING:
            continue
        other = _room(name)
        if other not in {room} | EVERYONE | ALLOWED.get(room, set()):
            yield f"{path.relative_to(ROOT)}:{line}: {room} may not import {name}"


def test_every_room_imports_only_what_it_may() -> None:
    strays = [stray for module, path in _modules() for stray in _strays(module, path)]
    assert not strays, "\n".join(strays)


def test_every_room_has_a_rule() -> None:
    rooms = {_room(module) for module, _ in _modules()}
    assert rooms <= set(ALLOWED) | EVERYONE | ANYTHING, "a new room needs a line in ALLOWED"


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        ("network", {"algorithms", "bounds"}),
        ("bounds", {"algorithms", "network", "schedule"}),
        ("fabric", {"collective", "schedule", "network", "algorithms", "bounds"}),
        ("ccl", {"training", "validation", "sweep", "report"}),
        ("algorithms", {"network", "simulate", "ccl"}),
        ("simulate", {"training", "report", "sweep", "cli"}),
    ],
)
def test_no_way_leads_back(lower: str, higher: set[str]) -> None:
    """Not even through a third room, as far as the rules allow it."""
    reached: set[str] = set()
    waiting = [lower]
    while waiting:
        for onward in ALLOWED.get(waiting.pop(), set()) - reached:
            reached.add(onward)
            waiting.append(onward)
    assert not reached & higher


def test_a_stray_import_is_found(tmp_path: Path) -> None:
    """The test above can fail."""
    path = ROOT / "topo" / "network" / "unheard_of.py"
    room = tmp_path / "unheard_of.py"
    room.write_text("def f():\n    from topo.algorithms import ring\n    import experiments.x\n")
    found = [name for name, _ in _imported(room)]
    assert found == ["topo.algorithms.ring", "experiments.x"]
    assert _room("topo.network.unheard_of") == "network" and not path.exists()
    assert _room("topo.algorithms.ring") not in ALLOWED["network"]


@pytest.mark.parametrize("module", ["topo", "topo.cli"])
def test_the_command_line_starts_light(module: str) -> None:
    heavy = ("scipy", "matplotlib", "pydantic", "numba", "simpy", "pandas", "polars", "dask")
    code = f"import sys, {module}; print(*[name for name in {heavy!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert found.stdout.split() == []
