"""``topo report``: stored records as one page that can be sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

MOST_PICTURES = 12
LARGEST_PICTURE = 60_000
"""Bytes of a fabric's picture on the page."""
MOST_RANKS = 4096


@click.command(
    epilog="""\b
Examples:
  topo report results/sizes
  topo report results/dead_cable -o dead_cable.html
  topo report results/dead_cable --figures figures"""
)
@click.argument("results", metavar="RESULTS", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.html",
    help="The page.  [default: RESULTS/report.html]",
)
@click.option(
    "--figures",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Draw the charts as SVG and PNG into this folder, and write no page.",
)
@click.option(
    "--docs",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write an experiment's page of the documentation and its figures into this folder, and nothing else.",
)
@click.option("--title", metavar="TEXT", help="Another title.")
def command(
    results: Path, output: Path | None, figures: Path | None, docs: Path | None, title: str | None
) -> None:
    """Write the records in a results folder as one page: question, findings, charts, tables, fabrics, credit.

    The page needs no network and no other file.  Nothing is simulated.
    """
    if docs is not None:
        from topo.report.experiment_page import write_experiment_page
        from topo.sweep.files import disk_in_words

        _read(results)
        with disk_in_words(docs, "the records are kept"):
            written = write_experiment_page(results, docs)
        click.echo(f"In {docs}: {', '.join(path.name for path in written)}")
        return
    if figures is not None:
        from topo.report.chart_figure import write_chart_figures
        from topo.sweep.files import disk_in_words

        records, about = _read(results)
        with disk_in_words(figures, "the records are kept"):
            written = write_chart_figures(_charts(records, about), records, figures)
        click.echo(f"In {figures}: {', '.join(path.name for path in written) or 'nothing, for want of data'}")
        return
    path = output or results / "report.html"
    write_report(results, path, title)
    click.echo(f"{path}, {path.stat().st_size / 1e6:.1f} MB")


def write_report(results: Path, path: Path, title: str | None = None) -> None:
    """Write the page of a results folder."""
    from topo.credit import credit_of, systems_of
    from topo.report.page import Page, render
    from topo.sweep.files import disk_in_words, write_whole
    from topo.sweep.tables import columns

    records, about = _read(results)
    credit = credit_of(records)
    page = Page(
        title=title or about.get("title") or results.name,
        question=about.get("question", ""),
        records=records,
        columns=columns(records),
        charts=_charts(records, about),
        findings=[text for text in about.get("finding", "").split("\n\n") if text],
        evidence=about.get("evidence", ()),
        pictures=_pictures(systems_of(records)),
        made=_made(records, about),
        credit=credit,
    )
    with disk_in_words(path.parent, "the records are kept"):
        write_whole(path, render(page).encode())


def _read(results: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    from topo.errors import ReportError
    from topo.sweep.store import read_about, read_records

    records = read_records(results)
    if not records:
        raise ReportError(f"results folder {str(results)!r} has no records", "run its sweep first")
    return records, read_about(results)


def _charts(records: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> list[Any]:
    from topo.report.chart import Chart, default_charts

    given = about.get("charts")
    return [Chart.from_data(chart) for chart in given] if given else default_charts(records)


def _pictures(systems: Sequence[str]) -> list[tuple[str, str]]:
    """Small pictures of the fabrics that still exist and are not too large."""
    from topo.errors import TopoError
    from topo.report.thumbnail import thumbnail
    from topologies import load

    found: list[tuple[str, str]] = []
    for name in systems:
        if len(found) == MOST_PICTURES:
            break
        try:
            fabric = load(name).fabric
            picture = thumbnail(fabric, name) if fabric.ranks <= MOST_RANKS else ""
        except (TopoError, OSError):
            continue
        if 0 < len(picture) <= LARGEST_PICTURE:
            found.append((name, picture))
    return found


def _made(records: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> list[tuple[str, str]]:
    failed = sum(record["outcome"] != "ok" for record in records)
    wall = sum(record.get("point_wall_s") or 0 for record in records)
    made = [
        ("Records", f"{len(records)}, of which {failed} failed" if failed else str(len(records))),
        ("topo", ", ".join(sorted({record["version"] for record in records}))),
        ("Computing", f"{wall:.3g} s in all"),
    ]
    for key, label in (
        ("method", "Method"),
        ("falsified", "What would falsify it"),
        ("command", "Command"),
        ("spec", "Spec"),
    ):
        if about.get(key):
            made.append((label, about[key].strip()))
    return made
