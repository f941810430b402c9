"""What the README tells a reader to type does what it says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
LINES = [line for language, block in BLOCKS if not language for line in block.splitlines() if line]
COMMANDS = [shlex.split(line, comments=True) for line in LINES]
TOPO = [command[1:] for command in COMMANDS if command[0] == "topo"]
MAKE = [command[1:] for command in COMMANDS if command[0] == "make"]
PROGRAMS = [block for language, block in BLOCKS if language == "python"]
SPEC = next(block for language, block in BLOCKS if language == "yaml")
LOG = ROOT / "tests" / "data" / "nccl_tests" / "all-reduce-8xh100.txt"


PROGRAM = [sys.executable, "-c", "from topo.cli import main; main()"]


def run(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_nothing_is_left_out() -> None:
    assert len(TOPO) >= 10
    assert len(PROGRAMS) >= 1
    assert len(TOPO) + len(MAKE) == len(COMMANDS)


@pytest.mark.parametrize("arguments", TOPO, ids=" ".join)
def test_command(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC, encoding="utf-8")
    (tmp_path / "nccl-tests.log").write_bytes(LOG.read_bytes())
    if arguments[0] == "report":
        run([*PROGRAM, *next(command for command in TOPO if command[0] == "sweep")], tmp_path)
    done = run([*PROGRAM, *arguments], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip(), "says something"
    assert "Warning" not in done.stderr
    if "--draw" in arguments:
        assert (tmp_path / arguments[arguments.index("--draw") + 1]).stat().st_size > 1000


@pytest.mark.parametrize("program", PROGRAMS)
def test_python(program: str, tmp_path: Path) -> None:
    done = run([sys.executable, "-c", program], tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == program.count("print(")


def test_make_knows_the_commands() -> None:
    listed = run(["make"], ROOT).stdout
    assert [*MAKE] == [["compare"], ["test"]]
    for (target,) in MAKE:
        assert re.search(rf"^  make {target}\s+\w", listed, re.MULTILINE)


def test_files_that_it_points_to_exist() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
