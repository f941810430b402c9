"""``topo catalogue``: the catalogue as a page with pictures, and as maps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from topo.report.catalogue_page import Entry


@click.command(
    epilog="""\b
Examples:
  topo catalogue --page docs
  topo catalogue --figures results/figures"""
)
@click.option(
    "--page", type=click.Path(path_type=Path), metavar="FOLDER", help="Write systems.md and pictures there."
)
@click.option(
    "--figures", type=click.Path(path_type=Path), metavar="FOLDER", help="Draw the maps there: .svg, .png."
)
def command(page: Path | None, figures: Path | None) -> None:
    """Write the catalogue: a page with a small picture of every system and topology, and maps of all systems.

    The maps: scale-up bandwidth against domain size, FLOP per byte of fabric, and what a dollar and a watt buy.
    """
    if page is None and figures is None:
        raise click.UsageError("nothing to write; give --page FOLDER or --figures FOLDER")
    if page is not None:
        from topo.report.catalogue_page import write_page

        written = write_page(_machines(), _topologies(), page)
        size = sum(path.stat().st_size for path in written)
        click.echo(f"{written[0]} and {len(written) - 1} pictures, {size / 1e3:,.0f} kB")
    if figures is not None:
        from topo.report.catalogue_map import write_maps
        from topologies.catalogue.table import records

        figures.mkdir(parents=True, exist_ok=True)
        for path in write_maps(records(), figures):
            click.echo(str(path))


def _machines() -> list[Entry]:
    from topo.report.catalogue_page import Entry
    from topologies import catalogue, load

    entries = []
    for name in catalogue.system_names():
        file = catalogue.describe(name)
        # A machine whose wiring is unpublished is drawn under the first assumption that its file offers.
        unpublished = file.scale_up.builder.rule == "hierarchical_mesh_unpublished"
        assumed = f",assume={next(iter(file.assumptions))}" if unpublished else ""
        system = load(name + assumed)
        said = f"{file.vendor} {file.title}; {file.status}"
        entries.append(Entry(name, system, f"{said}; drawn as `{system.name}`" if assumed else said))
    return entries


def _topologies() -> list[Entry]:
    from topo.report.catalogue_page import Entry
    from topologies import load
    from topologies.registry import TOPOLOGIES

    return [
        Entry(t.name, load(t.examples[0]), f"{t.summary}; drawn as `{t.examples[0]}`")
        for t in TOPOLOGIES.values()
    ]
