"""One style for all figures: a colour, line and marker for each series that stay apart when printed in grey."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from topo.errors import TopoError, nearest

STYLE = Path(__file__).with_name("topo.mplstyle")
SUFFIXES = (".svg", ".png", ".pdf")

# Okabe and Ito's palette (2008), told apart with any colour vision, ordered dark to light to dark.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#000000", "#CC79A7", "#56B4E9", "#E69F00", "#7F7F7F")
_LINES: tuple[Any, ...] = (
    "-",
    (0, (5, 1.5)),
    (0, (1, 1)),
    (0, (6, 1.5, 1, 1.5)),
    (0, (3, 1, 1, 1, 1, 1)),
    (0, (8, 3)),
)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_HATCHES = ("", "///", "...", "", "\\\\\\", "xx", "--", "++")
"""Of areas; black, the fourth colour, needs none."""


@dataclass(frozen=True)
class Look:
    """How one series is drawn."""

    color: str
    linestyle: Any
    marker: str
    hatch: str = ""

    def line(self) -> dict[str, Any]:
        """Keyword arguments of a plotted line."""
        return {"color": self.color, "linestyle": self.linestyle, "marker": self.marker}


def look(number: int) -> Look:
    """The look of the series with that number; colours, lines and markers come round at different times."""
    return Look(
        _COLOURS[number % len(_COLOURS)],
        _LINES[number % len(_LINES)],
        _MARKERS[number % len(_MARKERS)],
        _HATCHES[number % len(_HATCHES)],
    )


@contextmanager
def styled() -> Iterator[Any]:
    """pyplot in this style, without a screen; figures are closed afterwards."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with pyplot.style.context(STYLE):
        try:
            yield pyplot
        finally:
            pyplot.close("all")


def check_picture(path: Path) -> None:
    """Refuse a file that no picture can be written to.

    Raises
    ------
    TopoError
        Another suffix, or a folder that is not there.
    """
    if path.suffix.lower() not in SUFFIXES:
        hint = nearest(path.suffix, SUFFIXES) or f"end it in {', '.join(SUFFIXES)}"
        raise TopoError(f"picture {str(path)!r} is of no known kind", hint)
    if not path.parent.is_dir():
        raise TopoError(f"folder {str(path.parent)!r} does not exist", "make it, or choose another")


def save(figure: Any, path: Path) -> Path:
    """Write a figure; the same figure gives the same bytes."""
    metadata = {"Date": None} if path.suffix.lower() == ".svg" else None
    figure.savefig(path, metadata=metadata)
    return path
