"""Short well-set blocks of text: what one run or one system comes to."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from topo.results import Result
from topo.units import format_bandwidth, format_bytes, format_time

WIDTH = 110
_LABEL = 13


def set_block(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """A title, and below it labelled lines, long ones wrapped and indented."""
    lines = [title, ""]
    indent = " " * (2 + _LABEL)
    for label, text in rows:
        head = f"  {label:<{_LABEL}}"
        lines.extend(
            textwrap.wrap(
                text,
                WIDTH,
                initial_indent=head,
                subsequent_indent=indent,
                break_on_hyphens=False,
                break_long_words=False,
            )
            or [head.rstrip()]
        )
    return "\n".join(lines)


def percent(share: float) -> str:
    """A share as ``97.3 %``; next to nothing and next to all are not rounded away."""
    if 0 < share < 0.0005:
        return "<0.1 %"
    if 0.9995 <= share < 1:
        return ">99.9 %"
    return f"{share:.1%}".replace("%", " %")


def of_bound(result: Result) -> str:
    """How near a result is to its bound, in words."""
    if result.bound_s <= 0 or result.time_s <= 0:
        return "no bound above zero"
    share = min(result.bound_s / result.time_s, 1.0)
    return "the optimum" if share > 1 - 1e-9 else f"{percent(share)} of the bound"


def algorithm_in_words(result: Result) -> str:
    """Name of the algorithm with what was chosen inside it."""
    return f"{result.algorithm} ({result.detail})" if result.detail else result.algorithm


def run_block(result: Result, *, certified: bool = False) -> str:
    """One run as a block of text."""
    sized = f" of {format_bytes(result.bytes)}" if result.bytes else ""
    title = f"{result.operation}{sized} on {result.system}, {result.ranks} ranks"
    rows = [("time", format_time(result.time_s))]
    if result.bytes:
        rows += [("algbw", format_bandwidth(result.algbw_Bps)), ("busbw", format_bandwidth(result.busbw_Bps))]
    rows.append(("algorithm", algorithm_in_words(result)))
    if result.bound_s > 0:
        bound = f"{format_time(result.bound_s)} ({result.bound_kind}): the time is {result.bound_ratio:.4g} x the bound"
        rows += [("bound", f"{bound}, {of_bound(result)}"), ("because", result.bound_certificate)]
    else:
        rows.append(("bound", of_bound(result)))
    rows += [
        ("time split", _split(result)),
        ("bottleneck", result.bottleneck),
        ("simulated", _effort(result)),
    ]
    if certified:
        rows.append(
            (
                "certified",
                "the schedule does what the collective asks; every rate was max-min fair; every byte arrived",
            )
        )
    return set_block(title, rows)


def _split(result: Result) -> str:
    parts: Sequence[tuple[str, float]] = (
        ("latency", result.latency_s),
        ("serialisation", result.serialisation_s),
        ("contention", result.contention_s),
    )
    if result.time_s <= 0:
        return "nothing takes time"
    return ", ".join(
        f"{name} {format_time(value)} ({percent(value / result.time_s)})" for name, value in parts
    )


def _effort(result: Result) -> str:
    how = f"{result.ccl} library, {result.engine} engine, {result.switching}"
    if result.barrier:
        how += ", in lock-step"
    transfers = f"{result.transfers:,} transfer{'' if result.transfers == 1 else 's'}"
    events = f"{result.events:,} event{'' if result.events == 1 else 's'}"
    return f"{how}; {transfers} in {events}, {format_time(float(f'{result.wall_s:.2g}'))}"
