"""Progress on standard error, where a person is looking."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable


def waves(what: str) -> Callable[[Iterable[int], int], Iterable[int]] | None:
    """Something that shows how far a loop has come; None where standard error is no terminal."""
    if not sys.stderr.isatty():
        return None

    def show(items: Iterable[int], total: int) -> Iterable[int]:
        from tqdm import tqdm

        bar: Iterable[int] = tqdm(items, total=total, desc=f"waves of {what}, at most", leave=False)
        return bar

    return show
