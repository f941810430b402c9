"""Fit the constants of communication libraries to the measurements that come with the package, and write them back.

    python experiments/refit.py [--rounds 6] [--only WORD ...] [--constants PATTERN ...] [--dry]

Only constants whose confidence is ``fit`` move; those that a document gives stay.  The fit is
:func:`topo.validation.fit.fit`: least squares on the logarithm of simulated over measured time, outliers counting
less.  Values and standard errors go into ``topo/ccl/technologies`` and ``topo/ccl/libraries`` in place.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

import topo.ccl
from topo.validation import load_rows
from topo.validation.constants import free_constants
from topo.validation.evaluate import Evaluator
from topo.validation.fit import Fitted, fit
from topo.validation.leave_out import acting_on
from topo.validation.row import Row

HOME = Path(topo.ccl.__file__).parent


def written(number: float, unit: str) -> str:
    """A value as the files spell it."""
    if unit == "s":
        return f"{number * 1e6:.4g}us"
    if unit == "B/s":
        return f"{number / 1e9:.4g}GB/s"
    return f"{number:.4g}"


def write_back(one: Fitted) -> None:
    """Put a fitted value and its standard error into the file it comes from."""
    free = one.constant
    folder, name = ("technologies", free.technology) if free.technology else ("libraries", free.library)
    path = HOME / folder / f"{name}.yaml"
    text = path.read_text(encoding="utf-8")
    found = re.search(rf"^  {free.key}: \{{value: ([^,]+), (.*)\}}$", text, re.MULTILINE)
    if found is None:
        raise SystemExit(f"{path}: {free.key} is not written on one line")
    rest = re.sub(r", standard_error: [^,}]+", "", found[2])
    spread = f", standard_error: {written(one.standard_error, free.unit)}" if one.determined else ""
    line = f"  {free.key}: {{value: {written(one.value, free.unit)}, {rest}{spread}}}"
    path.write_text(text.replace(found[0], line), encoding="utf-8")


def report(rows: Sequence[Row], residuals: np.ndarray) -> None:
    """Median and 90th percentile of the error, above and below 1 MiB."""
    errors = np.abs(np.exp(residuals) - 1)
    large = np.array([row.bytes >= 2**20 for row in rows])
    for words, chosen in ((">= 1 MiB", large), ("< 1 MiB", ~large)):
        if chosen.any():
            median, most = np.percentile(errors[chosen], [50, 90])
            print(f"{words:9s} {int(chosen.sum()):4d} rows  median {median:.1%}  90th {most:.1%}")


def main() -> None:
    """Fit and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--only", nargs="*", default=[], help="rows whose target holds one of these words")
    parser.add_argument("--constants", nargs="*", default=["*"], help="those that move, such as 'efa.*'")
    parser.add_argument("--dry", action="store_true", help="print, write nothing")
    options = parser.parse_args()
    rows = [
        row for row in load_rows() if not options.only or any(word in row.target for word in options.only)
    ]
    libraries, technologies = acting_on(rows)
    free = [
        one
        for one in free_constants(libraries, technologies)
        if any(fnmatchcase(one.name, pattern) for pattern in options.constants)
    ]
    # Rows on which nothing that moves can act need no simulation.
    acting = Evaluator(rows, free)
    rows = [row for row in rows if acting.acting(row)]
    done = 0

    def progress(more: int) -> None:
        nonlocal done
        done += more
        print(f"\r{done} evaluations", end="", file=sys.stderr)

    found = fit(free, Evaluator(rows, free).residuals, rounds=options.rounds, progress=progress)
    report(rows, found.before)
    report(rows, found.after)
    for one in found.constants:
        unit = one.constant.unit
        spread = written(one.standard_error, unit) if one.determined else "not determined"
        print(
            f"{one.constant.name:32s} {written(one.constant.value, unit):>12s} "
            f"-> {written(one.value, unit):>12s}  {spread}"
        )
        if not options.dry:
            write_back(one)


if __name__ == "__main__":
    main()
