"""``topo compare --algorithms``: the algorithms of one system side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from topo.cli.options import echo_json

if TYPE_CHECKING:
    from topo.compare_algorithms import AlgorithmComparison

QUIET = 2.0
"""Seconds before progress is shown."""


def run(
    operations: Sequence[str],
    systems: Sequence[str],
    sizes: Sequence[float],
    algorithms: str,
    output: Path | None,
    *,
    as_json: bool,
) -> None:
    """Compare, print, and write files to the output folder.

    Parameters
    ----------
    operations : sequence of str
        All-reduce, if there is none.
    systems : sequence of str
        Names, each compared on its own.
    sizes : sequence of float
    algorithms : str
        ``all`` or names with commas between them.
    output : Path or None
        Folder for CSV, JSON, text and figures.
    as_json : bool
        Print JSON and nothing else.
    """
    from tqdm import tqdm

    from topo.compare_algorithms import compare_algorithms
    from topo.report.algorithms import to_data
    from topologies import load

    loaded = [load(name) for name in dict.fromkeys(systems)]
    comparisons = []
    for operation in dict.fromkeys(operations or ("all-reduce",)):
        for system in loaded:
            with tqdm(unit="run", disable=None, leave=False, delay=QUIET) as bar:

                def progress(name: str, total: int, bar: Any = bar) -> None:
                    bar.total = total
                    bar.set_description(name, refresh=False)
                    bar.update()

                comparisons.append(
                    compare_algorithms(system, operation, sizes, algorithms, progress=progress)
                )
    written = _write(comparisons, output) if output is not None else []
    if as_json:
        echo_json(to_data(comparisons))
        return
    click.echo(_text(comparisons))
    if written:
        click.echo(f"\nIn {written[0].parent}: {', '.join(path.name for path in written)}")


def _text(comparisons: Sequence[AlgorithmComparison]) -> str:
    from topo.report.algorithms import algorithm_table, notes

    return "\n\n\n".join(f"{algorithm_table(one)}\n\n{notes(one)}" for one in comparisons)


def _write(comparisons: Sequence[AlgorithmComparison], folder: Path) -> list[Path]:
    import json

    from topo.report.algorithms import to_csv, to_data, write_figure

    texts = {
        "algorithms.csv": to_csv(comparisons),
        "algorithms.json": json.dumps(to_data(comparisons), indent=1, allow_nan=False) + "\n",
        "algorithms.txt": _text(comparisons) + "\n",
    }
    written = []
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
        written.append(folder / name)
    for number, one in enumerate(comparisons):
        tail = f"-{number + 1}" if len(comparisons) > 1 else ""
        for suffix in ("svg", "png"):
            written.append(write_figure(one, folder / f"algorithms-{one.operation}{tail}.{suffix}"))
    return written
