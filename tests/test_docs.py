"""The documentation, followed literally: its Python runs, its sweep sweeps, its experiment answers."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import polars
import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
TUTORIAL = (DOCS / "tutorial.md").read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    """The code of a page in one language."""
    text = (DOCS / name).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def topo(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder as a reader would."""
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from topo.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("number", range(len(blocks("tutorial.md", "python"))))
def test_the_tutorials_python_runs(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(blocks("tutorial.md", "python")[number], "tutorial.md", "exec"), {})
    assert capsys.readouterr().out


def test_the_tutorials_commands_run(tmp_path: Path) -> None:
    lines = [line.strip() for line in TUTORIAL.splitlines() if line.startswith("    topo run")]
    assert lines
    for line in lines:
        assert topo(tmp_path, *line.replace("'", "").split()[1:]).returncode == 0, line


def test_the_documented_sweep(tmp_path: Path) -> None:
    (spec,) = blocks("sweeps.md", "yaml")
    (tmp_path / "sizes.yaml").write_text(spec.replace("1KiB..1GiB*16", "64KiB..1MiB*16"), encoding="utf-8")
    done = topo(tmp_path, "sweep", "sizes.yaml", "--results", "results/sizes", "--jobs", "1")
    assert done.returncode == 0, done.stderr
    table = polars.read_parquet(tmp_path / "results" / "sizes" / "records.parquet")
    assert table.height == 8
    assert {"system", "bytes", "algorithm", "time_s", "input_on", "outcome"} <= set(table.columns)


def test_the_documented_experiment(tmp_path: Path) -> None:
    (code,) = blocks("your-own-experiment.md", "python")
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "latency.py").write_text(code, encoding="utf-8")
    done = topo(tmp_path, "experiment", "latency", "--chips", "4,8", "--jobs", "1")
    assert done.returncode == 0, done.stderr
    assert "The slowest is " in done.stdout
    assert (tmp_path / "results" / "latency" / "figures").is_dir()
    assert "latency" in topo(tmp_path, "experiment").stdout


def test_sphinx_builds_without_a_warning(tmp_path: Path) -> None:
    for module in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(module, reason="the extra 'docs' is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", str(DOCS), str(tmp_path)],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "index.html").exists()
