from __future__ import annotations

import inspect
import pickle

import pytest

import topo.errors
from topo.errors import TopoError, UnitError, nearest

CLASSES = [c for _, c in inspect.getmembers(topo.errors, inspect.isclass) if issubclass(c, TopoError)]


def test_all_classes_are_met() -> None:
    assert {c.__name__ for c in CLASSES} == {
        "TopoError",
        "UnitError",
        "FabricError",
        "RoutingError",
        "CollectiveError",
        "ScheduleError",
        "AlgorithmError",
        "CatalogueError",
        "BoundError",
        "NetworkError",
        "ReportError",
        "SweepError",
        "InternalError",
    }


@pytest.mark.parametrize("error", CLASSES)
def test_text_is_message_and_hint(error: type[TopoError]) -> None:
    assert str(error("size is wrong", "write 64MiB")) == "size is wrong; write 64MiB"
    assert str(error("size is wrong")) == "size is wrong"


@pytest.mark.parametrize("error", CLASSES)
def test_survives_a_trip_between_processes(error: type[TopoError]) -> None:
    there = error("size is wrong", "write 64MiB")
    back = pickle.loads(pickle.dumps(there))
    assert type(back) is error
    assert (back.message, back.hint, str(back)) == (there.message, there.hint, str(there))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rign", "did you mean 'ring'?"),
        ("RING", "did you mean 'ring'"),
        ("gb200", "did you mean 'gb200-nvl72'?"),
        ("torus", "did you mean 'torus', 'twisted-torus'?"),
        ("TPU-v4", "did you mean 'tpu-v4'"),
        ("zzzzzz", ""),
        ("", ""),
        ("  ", ""),
    ],
)
def test_nearest(name: str, expected: str) -> None:
    names = ["ring", "torus", "twisted-torus", "gb200-nvl72", "tpu-v4"]
    assert nearest(name, names).startswith(expected)
    assert bool(nearest(name, names)) == bool(expected)


def test_nearest_keeps_the_spelling_of_the_known_name() -> None:
    assert nearest("nvls", ["NVLS"]) == "did you mean 'NVLS'?"


def test_nearest_names_three_at_most() -> None:
    assert nearest("ring", [f"ring{i}" for i in range(10)]).count("'") == 6


def test_nearest_is_quick_among_very_many_names() -> None:
    looked_at = []

    class Name(str):
        def lower(self) -> str:
            looked_at.append(self)
            return super().lower()

    names = [Name(f"n{i}.gpu0") for i in range(20_000)]
    assert "n1999.gpu0" in nearest("n1999.gpuO", names)
    assert len(looked_at) <= 5_000


def test_the_command_line_may_catch_all_at_once() -> None:
    with pytest.raises(TopoError):
        raise UnitError("size is wrong")
