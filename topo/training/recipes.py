"""What a software's published recipes switch on: read from ``recipes.yaml``, never from a row of results."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any

from topo.training.yaml_file import read_yaml

FILE = Path(__file__).parent / "recipes.yaml"


@lru_cache(maxsize=1)
def _recipes() -> Mapping[str, Any]:
    found: Mapping[str, Any] = read_yaml(FILE)["recipes"]
    return found


def recipe(software: str, model: str, system: str, precision: str, release: str) -> dict[str, Any]:
    """Choices of a plan that a software's recipe makes.

    Parameters
    ----------
    software : str
        A heading of ``recipes.yaml``.
    model, system, precision : str
        Names as the catalogue and the models spell them.
    release : str
        As in ``26.04.01``.

    Examples
    --------
    >>> recipe("megatron-bridge", "deepseek-v3", "gb200-nvl72*4", "fp8", "26.08")["graphs"]
    'all'
    >>> recipe("megatron-bridge", "deepseek-v3", "gb200-nvl72*4", "fp8", "26.04.01")["graphs"]
    'static'
    """
    found: dict[str, Any] = {}
    for rule in _recipes()[software]:
        names = ((model, "models"), (system, "systems"), (precision, "precisions"))
        if all(any(fnmatchcase(name, pattern) for pattern in rule.get(key, "*")) for name, key in names):
            first, last = rule.get("releases", ("0", "99"))
            if _numbers(first) <= _numbers(release) <= _numbers(last):
                found |= rule["plan"]
    return found


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in str(release).split("."))
