"""Bad input: one line on stderr that says what and how to mend it, exit code 2, nothing on stdout."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from topo.errors import FabricError, InternalError, TopoError

ROOT = Path(__file__).parents[3]
RUN = ("run", "all-reduce", "--size", "1MB", "--on")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("rnu",), "did you mean 'run'"),
        (("run", "--onn", "ring:4"), "did you mean '--on'"),
        (("run", "all-reduce", "--size", "1MB"), "--on"),
        (("run", "all-reduce", "--on", "ring:4"), "--size 64MiB"),
        (("run", "--on", "ring:4"), "OPERATION"),
        ((*RUN, "ring:4", "more"), "more"),
        ((*RUN, "rign:4"), "'ring'"),
        ((*RUN, "gb200-nvl27"), "'gb200-nvl72'"),
        ((*RUN, "torus:4xx4"), "torus:4x"),
        ((*RUN, "torus:0x4"), "torus"),
        ((*RUN, "ring:4,bandwidth=-1GB/s"), "bandwidth"),
        ((*RUN, "ring:4,bandwidth=0GB/s"), "bandwidth"),
        ((*RUN, "ring:4,bandwidth=nan"), "bandwidth"),
        ((*RUN, "ring:4,bandwidth=5"), "50GB/s"),
        ((*RUN, "ring:4,colour=blue"), "bandwidth"),
        ((*RUN, "path:4,failed=0-1"), "disconnected"),
        ((*RUN, "ring:1"), "ring"),
        ((*RUN, "nowhere.yaml"), "nowhere.yaml"),
        ((*RUN, "ring:4", "--algorithm", "rign"), "'ring'"),
        ((*RUN, "ring:4", "--algorithm", "nvls"), "these can: ring"),
        ((*RUN, "torus:3x5", "--algorithm", "hierarchical"), "these can"),
        ((*RUN, "ring:4", "--chunks", "0"), "chunks"),
        ((*RUN, "ring:4", "--chunks", "x"), "integer"),
        ((*RUN, "ring:4", "--algorithm", "ring", "--chunks", "2"), "pipeline"),
        ((*RUN, "ring:4", "--ranks", "1"), "2 to 4"),
        ((*RUN, "ring:4", "--ranks", "9"), "2 to 4"),
        ((*RUN, "ring:4", "--ranks", "0,0"), "twice"),
        ((*RUN, "ring:4", "--ranks", "0,7"), "0 to 3"),
        ((*RUN, "ring:4", "--ranks", "3-1"), "1-3"),
        ((*RUN, "ring:4", "--ranks", "a"), "0,1,4-7"),
        ((*RUN, "ring:4", "--ranks", ","), "0,1,4-7"),
        ((*RUN, "ring:4", "--root", "4"), "0 to 3"),
        ((*RUN, "ring:4", "--engine", "liquid"), "fluid"),
        ((*RUN, "ring:4", "--ccl", "ncl"), "'nccl'"),
        ((*RUN, "ring:4", "--switching", "circuit"), "cut-through"),
        ((*RUN, "ring:4", "--routing", "shortets"), "shortest"),
        (("run", "all-reduse", "--on", "ring:4", "--size", "1MB"), "'all-reduce'"),
        (("run", "all-reduce", "--on", "ring:4", "--size", "0"), "64MiB"),
        (("run", "all-reduce", "--on", "ring:4", "--size", "-1MB"), "64MiB"),
        (("run", "all-reduce", "--on", "ring:4", "--size", "nan"), "64MiB"),
        (("run", "all-reduce", "--on", "ring:4", "--size", "9e20"), "64MiB"),
        (("run", "all-reduce", "--on", "ring:4", "--size", "64M"), "64MiB"),
        (("list", "sytems"), "'systems'"),
        (("show",), "SYSTEM"),
        (("show", "ring:4", "--draw", "ring.gif"), ".svg"),
        (("show", "ring:4", "--draw", "nowhere/ring.svg"), "nowhere"),
        (("compare", "all-reduse", "--on", "ring:4"), "'all-reduce'"),
        (("compare", "all-reduce", "--on", "ring:4", "--on", "ring:4"), "twice"),
        (("compare", "all-reduce", "--on", "ring:4", "--sizes", "4KiB..1KiB"), "1KiB..4KiB"),
        (("compare", "all-reduce", "--on", "ring:4", "--algorithm", "nvls", "--sizes", "1KiB"), "these can"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, tuple) else "",
)
def test_is_refused_in_one_line(
    topo: Callable[..., Any],
    arguments: tuple[str, ...],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    said = topo(*arguments)
    assert said.code == 2
    assert said.problem.startswith("topo: error: ")
    assert words in said.problem
    assert ";" in said.problem, "a hint follows"
    assert "Traceback" not in said.problem


def test_json_keeps_stdout_clean_when_refused(topo: Callable[..., Any]) -> None:
    assert topo("run", "all-reduce", "--on", "rign:4", "--size", "1MB", "--json").problem


def raising(problem: BaseException) -> Callable[..., Any]:
    def fail(*arguments: object, **keywords: object) -> None:
        raise problem

    return fail


@pytest.mark.parametrize(
    ("problem", "code", "words"),
    [
        (InternalError("time below bound"), 1, "topo: internal error: time below bound"),
        (FabricError("wrong", "mend it"), 2, "topo: error: wrong; mend it"),
        (TopoError("two\nlines"), 2, "topo: error: two lines"),
        (KeyboardInterrupt(), 130, "topo: stopped"),
        (MemoryError(), 2, "not enough memory"),
        (PermissionError(13, "Permission denied", "/x"), 2, "/x: Permission denied"),
        (ZeroDivisionError("by zero"), 1, "internal error: ZeroDivisionError: by zero"),
    ],
)
def test_what_goes_wrong_inside(
    topo: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    problem: BaseException,
    code: int,
    words: str,
) -> None:
    monkeypatch.setattr("topo.simulate", raising(problem))
    said = topo(*RUN, "ring:4")
    assert said.code == code
    assert words in said.err.strip().splitlines()[-1]
    assert "Traceback" not in said.err and said.out == ""


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    from topo.cli import main

    monkeypatch.setenv("TOPO_DEBUG", "1")
    monkeypatch.setattr("topo.simulate", raising(FabricError("wrong")))
    with pytest.raises(FabricError):
        main([*RUN, "ring:4"])


def program(arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            "bash",
            "-c",
            f"set -o pipefail; {sys.executable} -c 'from topo.cli import main; main()' {arguments}",
        ],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_closed_pipe_is_no_error() -> None:
    done = program("list | head -n 1")
    assert done.stdout == "systems\n"
    assert done.stderr == ""


def test_help_imports_nothing_heavy() -> None:
    check = (
        "import sys; from topo.cli.problems import exit_code; from topo.cli.group import topo;"
        'exit_code(lambda: topo.main(["--help"], standalone_mode=False));'
        'print(sorted({"numpy", "networkx", "scipy", "matplotlib", "pydantic"} & set(sys.modules)))'
    )
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.rstrip().endswith("[]"), done.stdout


@pytest.mark.parametrize("command", ["run", "compare", "list", "show"])
def test_every_command_explains_itself(topo: Callable[..., Any], command: str) -> None:
    said = topo(command, "--help")
    assert said.code == 0
    assert "Examples:" in said.out
    assert command in topo().out, "without a command: the help"


def test_version(topo: Callable[..., Any]) -> None:
    from topo import __version__

    assert topo("--version").out == f"topo {__version__}\n"
