"""A page of the documentation for an experiment, from its stored records: question, finding, figures, evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from topo.credit import Credit, credit_of
from topo.errors import ReportError
from topo.report.chart import Chart
from topo.report.chart_figure import write_chart_figures
from topo.sweep.files import write_whole
from topo.sweep.store import JOURNAL, read_about, read_records

_MOST_EVIDENCE = 12
_MOST_ERRORS = 3


def write_experiment_page(results: Path, folder: Path) -> list[Path]:
    """Write ``NAME.md`` and its figures into a folder; nothing is simulated.

    Parameters
    ----------
    results : Path
        Where ``topo experiment`` kept the records.
    folder : Path
        Such as ``docs/experiments``; figures of an earlier run are replaced.

    Raises
    ------
    ReportError
        The folder holds no records of an experiment.
    """
    records, about = read_records(results), read_about(results)
    names = {record["command"] for record in records}
    if len(names) != 1 or not about.get("question"):
        raise ReportError(
            f"{str(results)!r} holds no records of one experiment", "run topo experiment NAME first"
        )
    (name,) = names
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{name}-*.svg"):
        old.unlink()
    charts = [Chart.from_data(chart) for chart in about.get("charts", ())]
    drawn = write_chart_figures(charts, records, folder, prefix=f"{name}-", suffixes=(".svg",))
    page = folder / f"{name}.md"
    write_whole(page, _text(records, about, drawn, _day(results / JOURNAL)).encode())
    return [page, *drawn]


def _day(journal: Path) -> str:
    return datetime.fromtimestamp(journal.stat().st_mtime, UTC).date().isoformat()


def _text(
    records: Sequence[Mapping[str, Any]], about: Mapping[str, Any], drawn: Sequence[Path], day: str
) -> str:
    wall = sum(record.get("point_wall_s") or 0 for record in records)
    failed = [record for record in records if record["outcome"] != "ok"]
    versions = ", ".join(sorted({str(record["version"]) for record in records}))
    parts = [
        f"# {about['title']}",
        f"**Question.** {about['question']}",
        f"**Finding.** {' '.join(str(about.get('finding', '')).split())}",
        *(f"![{_caption(path)}]({path.name})" for path in drawn),
        f"**Method.** {about.get('method', '')}",
        f"**What would falsify it.** {about.get('falsified', '')}",
        "## The records that the finding rests on",
        _evidence(records, about),
        "## How sure it is",
        _sure(credit_of(records)),
        "## How it was made",
        f"`{about.get('command', '')}` with topo {versions} on {day}: {len(records)} records, {wall:.0f} s of "
        f"computing{f', {len(failed)} refused' if failed else ''}.",
    ]
    if failed:
        parts.append(
            "\n".join(f"- {_inputs(record)}: {record['error']}" for record in failed[:_MOST_EVIDENCE])
        )
    return "\n\n".join(parts) + "\n"


def _caption(path: Path) -> str:
    return path.stem.split("-", 2)[-1].replace("-", " ")


def _evidence(records: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> str:
    """A table of the records that the finding names: their inputs and what the charts show of them."""
    by_point = {record["point"]: record for record in records}
    named = [by_point[point] for point in dict.fromkeys(about.get("evidence", ())) if point in by_point]
    if not named:
        return "None: no point gave a result."
    inputs = [key for key in named[0] if key.startswith("input_") and not key.startswith("input_file.")]
    inputs = [key for key in inputs if len({str(record.get(key)) for record in records}) > 1]
    wanted = (chart["y"] for chart in about.get("charts", ()))
    results = [key for key in dict.fromkeys(wanted) if any(record.get(key) is not None for record in named)]
    columns = ["point", *inputs, *results]
    rows = [
        [str(record["point"])[:8], *(_cell(record.get(key)) for key in (*inputs, *results))]
        for record in named[:_MOST_EVIDENCE]
    ]
    head = [column.removeprefix("input_") for column in columns]
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
    left = len(named) - _MOST_EVIDENCE
    return "\n".join(lines) + (f"\n\n{left} more are in the results folder." if left > 0 else "")


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value).replace("|", "\\|")


def _inputs(record: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key.removeprefix('input_')}={value}"
        for key, value in record.items()
        if key.startswith("input_") and not key.startswith("input_file.")
    )


def _sure(credit: Credit) -> str:
    """The largest median errors of each measured system, and what was never measured."""
    parts = []
    by_system: dict[str, list[Mapping[str, Any]]] = {}
    for row in credit.rows:
        by_system.setdefault(str(row["system"]), []).append(row)
    for system, rows in by_system.items():
        worst = sorted(rows, key=lambda row: -float(row["median"]))[:_MOST_ERRORS]
        said = "; ".join(
            f"{row['what']}: {row['median']:.1%} in the median of {row['rows']}, {row['worst']:.1%} at worst"
            for row in worst
        )
        more = f" (the largest of {len(rows)} groups)" if len(rows) > len(worst) else ""
        parts.append(f"- {system}{more}: {said}")
    text = [
        "Errors against published measurements, see [Validation](../validation.md):\n\n" + "\n".join(parts)
    ]
    text = (text if parts else []) + list(credit.notes)
    if credit.not_validated:
        some, left = credit.not_validated[:_MOST_EVIDENCE], len(credit.not_validated) - _MOST_EVIDENCE
        others = f" and {left} more" if left > 0 else ""
        text.append(
            f"Nothing comparable was measured on {', '.join(some)}{others}: these numbers are a model's, "
            "checked against bounds but against no machine."
        )
    return "\n\n".join(text) or "No record names a system."
