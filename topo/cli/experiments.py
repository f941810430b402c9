"""Finding experiments: the files of a folder ``experiments`` beside the work or beside the source."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import topo
from topo.errors import ReportError, nearest

if TYPE_CHECKING:
    from topo.experiment import Experiment
    from topo.sweep.point import Point

MARK = "EXPERIMENT = "
"""What a file that is an experiment has at the beginning of a line."""


def folders() -> list[Path]:
    """Where experiments are looked for: here, then beside the source of topo."""
    beside = Path(topo.__file__).parents[1] / "experiments"
    return list(
        dict.fromkeys(folder.resolve() for folder in (Path("experiments"), beside) if folder.is_dir())
    )


def names() -> dict[str, Path]:
    """The experiments and their files, found without running them."""
    found: dict[str, Path] = {}
    for folder in folders():
        for path in sorted(folder.glob("*.py")):
            if f"\n{MARK}" in path.read_text(encoding="utf-8"):
                found.setdefault(path.stem, path)
    return found


def question(path: Path) -> str:
    """First line of a file's docstring."""
    import ast

    doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return doc.splitlines()[0].rstrip(".") if doc else ""


def load(name: str) -> tuple[str, Experiment]:
    """An experiment by its name.

    Returns
    -------
    str and Experiment
        The name as the file has it.

    Raises
    ------
    ReportError
        There is none of that name.
    """
    known = names()
    stem = name.replace("-", "_")
    if stem not in known:
        if not known:
            raise ReportError(
                "no experiments were found",
                "they lie in a folder experiments: beside topo, or where you are",
            )
        hint = nearest(stem, known) or f"one of {', '.join(known)}"
        raise ReportError(f"experiment {name!r} is unknown", hint)
    return stem, _module(stem, known[stem])


@lru_cache(maxsize=64)
def _module(name: str, path: Path) -> Experiment:
    spec = importlib.util.spec_from_file_location(f"experiments.{name}", path)
    if spec is None or spec.loader is None:
        raise ReportError(f"{path} cannot be imported", "an experiment is a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    experiment: Experiment = module.EXPERIMENT
    return experiment


def point_of(name: str, inputs: Mapping[str, Any]) -> Point:
    """The point of an experiment."""
    stem, experiment = load(name)
    return experiment.point(stem, inputs)


def call(name: str, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Measure a point of an experiment."""
    return load(name)[1].run(inputs)
