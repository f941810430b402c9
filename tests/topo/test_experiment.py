"""Experiments: the framework, and every experiment at a small size."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from topo.cli.experiments import load, names
from topo.errors import TopoError
from topo.experiment import PARTS, Experiment, Finding, Parameter, Record, only, source_digest, values_of
from topo.report.chart import gathered
from topo.report.chart_figure import write_chart_figures
from topo.sweep import Store, read_records, sweep
from topo.sweep.design import Block
from topo.sweep.local import Here

ROOT = Path(__file__).parents[2]
SMALL: dict[str, dict[str, tuple[Any, ...]]] = {
    "allreduce_bandwidth": {"on": ("ring:4", "dgx-h100"), "size": ("16KiB", "64MiB")},
    "torus_vs_switch": {"shape": ("2x2x4",), "size": ("4MiB",), "operation": ("all-reduce", "all-to-all")},
    "dead_cable": {
        "on": ("ring:4", "dgx-h100"),
        "lost": ("1", "1%"),
        "seed": (0,),
        "operation": ("all-reduce",),
    },
    "open_vs_proprietary": {"size": ("64MiB",)},
    "memory_pool": {"on": ("dgx-h100", "groq-264"), "model": ("llama3-70b", "deepseek-v3")},
    "scaleup_vs_scaleout": {"accelerators": (16,), "domain": (4, 16), "model": ("llama3-8b",)},
    "trainium_at_scale": {"chips": (64,), "equal": ("chips",), "family": ("trn2-ultra", "gb200-nvl72")},
    "wafer_reduce": {"on": ("wse3:8x8",), "size": ("64B", "4KiB")},
    "wafer_dataflow": {
        "on": ("wse3*2",),
        "mapping": ("streaming",),
        "changes": (0, 10),
        "sequences": (336,),
    },
    "weak_chip_heap": {"domains": (1, 2), "batch": (64,)},
    "two_sites": {
        "site": ("dgx-h100*2",),
        "model": ("llama3-8b",),
        "distance": ("10km", "1000km"),
        "bandwidth": ("100Gb/s",),
        "exchange": ("synchronous", "local/16"),
    },
    "rollout_heavy": {"on": ("dgx-h100*2", "hgx-h200*2"), "model": ("llama3-8b",), "ratio": (1, 100)},
    "performance_per_cost": {"on": ("dgx-h100", "mi300x"), "model": ("llama3-8b",)},
}


def measure(a: int, b: str) -> Mapping[str, Any]:
    """A measurement."""
    return {"product": a * FACTOR, "text": b}


def finding(records: list[Record]) -> Finding:
    """Names the largest; needs two."""
    first, second = sorted(records, key=lambda record: -record["product"])[:2]
    return Finding(f"{first['product']} is above {second['product']}", [first, second])


FACTOR = 3
DOC = """A test of experiments.

Question: Which product
is largest?

Method: Multiplying.

Falsified if: Another is.
"""
PARAMETERS = (Parameter("a", (1, 2), "A number."), Parameter("b-c", ("x",), "A text."))


def measured(a: int, b_c: str) -> Mapping[str, Any]:
    return measure(a, b_c)


TRIAL = Experiment(DOC, PARAMETERS, measured, finding)


def test_a_docstring_has_its_parts() -> None:
    assert TRIAL.title == "A test of experiments"
    assert TRIAL.part("Question") == "Which product is largest?"
    with pytest.raises(TopoError, match="no paragraph Method:"):
        Experiment("Title.\n\nQuestion: What?", (), measured, finding).part("Method")


def test_values_are_the_defaults_or_what_is_given() -> None:
    assert TRIAL.values({}) == {"a": (1, 2), "b-c": ("x",)}
    assert TRIAL.values({"a": (5.0,), "b_c": (7,)}) == {"a": (5,), "b-c": ("7",)}
    with pytest.raises(TopoError, match="did you mean 'b-c'"):
        TRIAL.values({"bc": (1,)})
    with pytest.raises(TopoError, match="'x' is no value for 'a'"):
        TRIAL.values({"a": ("x",)})
    with pytest.raises(TopoError, match="a value of 'a'"):
        TRIAL.point("trial", {})


def test_another_way_to_measure_is_another_point(tmp_path: Path) -> None:
    text = "FACTOR = 3\n\ndef measure(a):\n    return helper(a)\n\ndef helper(a):\n    return a * FACTOR\n"
    texts = {
        "same": text + "\n# A comment.\ndef finding(records):\n    return 'another sentence'\n",
        "constant": text.replace("3", "4"),
        "helper": text.replace("a * FACTOR", "a + FACTOR"),
    }

    def digest(name: str, content: str) -> str:
        path = tmp_path / f"{name}.py"
        path.write_text(content, encoding="utf-8")
        scope: dict[str, Any] = {}
        exec(compile(content, path, "exec"), scope)
        return source_digest(scope["measure"])

    first = digest("first", text)
    assert {name: digest(name, content) == first for name, content in texts.items()} == {
        "same": True,
        "constant": False,
        "helper": False,
    }


def test_findings_come_from_records_without_errors() -> None:
    records = [
        {"outcome": "ok", "input_a": a, "input_b-c": "x", "product": a * 3, "point": str(a)}
        for a in (1, 2, 3)
    ]
    broken = {"outcome": "error", "input_a": 9, "error": "no"}
    found = TRIAL.conclude([*records, broken])
    assert found.text == "9 is above 6"
    assert [record["point"] for record in found.evidence] == ["3", "2"]
    assert "too few" in TRIAL.conclude(records[:1]).text
    assert "No point gave a result" in TRIAL.conclude([broken]).text
    with pytest.raises(KeyError, match="a=7"):
        only(records, a=7)
    assert values_of(records, "product") == [3, 6, 9]


def test_all_experiments_are_tried_here() -> None:
    assert set(names()) == set(SMALL)


@pytest.mark.parametrize("name", sorted(SMALL))
def test_an_experiment_at_a_small_size(name: str, tmp_path: Path) -> None:
    from topo.cli.experiments import call

    stem, experiment = load(name)
    assert all(len(experiment.part(part)) > 40 for part in PARTS)
    block = Block(name, experiment.values(SMALL[name]))
    points = [experiment.point(stem, inputs) for inputs in block]
    with Store(tmp_path) as store:
        sweep(points, store, Here(), call)
    records = read_records(tmp_path)
    assert {record["error"] for record in records} == {""}
    found = experiment.conclude(records)
    assert "too few" not in found.text
    assert found.evidence and {record["point"] for record in found.evidence} <= {
        point.key for point in points
    }
    assert any(character.isdigit() for character in found.text)
    for chart in experiment.charts:
        gathered(chart, records)
    assert write_chart_figures(experiment.charts[:1], records, tmp_path / "figures")
    if name == "memory_pool":  # pure: the same again
        again = [experiment.run(point.inputs) for point in points]
        assert [record["longest_context"] for record in records] == [one["longest_context"] for one in again]


@pytest.mark.parametrize("name", sorted(SMALL))
def test_every_chart_names_columns_that_exist(name: str) -> None:
    experiment = load(name)[1]
    assert experiment.charts
    for parameter in experiment.parameters:
        assert parameter.default and parameter.help.endswith((".", ")"))


def test_as_a_program(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "experiments.memory_pool", "--on", "dgx-h100", "--model", "llama3-70b"]
    done = subprocess.run(
        [*command, "--results", str(tmp_path), "--jobs", "1", "--no-figures"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "llama3-70b (65.71GiB of weights) fits 1 of 1 domains" in done.stdout


@pytest.fixture
def topo(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    from topo.cli import main

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    return run


def test_on_the_command_line(topo: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    code, out, _ = topo("experiment")
    assert code == 0 and all(name in out for name in SMALL)
    code, out, _ = topo("experiment", "memory-pool", "--help")
    assert code == 0 and "Falsified if:" in out and "--model VALUES" in out
    code, out, err = topo(
        "experiment",
        *("memory_pool", "--grid", "on=dgx-h100;mi300x model=llama3-70b batch=1,16"),
        *("--results", tmp_path, "--jobs", 1),
    )
    assert code == 0 and "4 points: 4 computed" in err
    assert list((tmp_path / "figures").glob("*.svg"))
    pytest.importorskip("plotly", reason="the extra 'report' is not installed")
    assert topo("report", tmp_path)[0] == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "What would falsify it" in page and "records behind these numbers" in page


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("memroy_pool",), "did you mean 'memory_pool'"),
        (("memory_pool", "--modle", "x"), "did you mean '--model'"),
        (
            ("memory_pool", "--grid", "modle=x"),
            "'memory_pool' has no parameter 'modle'; did you mean 'model'",
        ),
        (("memory_pool", "--grid", "model"), "model=llama3-70b"),
        (("memory_pool", "--batch", "many"), "'many' is no value for 'batch'"),
        (("memory_pool", "--batch", ","), "no values"),
    ],
)
def test_bad_input(
    topo: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
    arguments: tuple[str, ...],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = topo("experiment", *arguments)
    assert (code, out) == (2, "")
    assert words in err and err.count("\n") == 1
