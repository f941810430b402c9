"""Training at several sites as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from topo.report.blocks import set_block
from topo.units import format_bandwidth, format_time

if TYPE_CHECKING:
    from topo.training.across import AcrossResult


def sites_block(result: AcrossResult) -> str:
    """A step at several sites as a block of text."""
    rows = [
        ("plan", f"{result.sites} sites, each {result.plan}"),
        ("fibre", f"{format_bandwidth(result.fibre_Bps)}, {format_time(result.fibre_s)} one way"),
        ("within", f"{format_time(result.inner_s)} a step"),
        (
            "exchange",
            f"{result.exchanged_bytes / 1e9:,.1f} GB in {format_time(result.exchange_s)}, of which "
            f"{format_time(result.exposed_s)} are exposed in each step on average",
        ),
        ("step", f"{format_time(result.step_s)}, {result.slowdown:.4g} times that of a site alone"),
        ("speed", f"{result.tokens_per_s:,.0f} tokens/s"),
    ]
    if result.method != "synchronous":
        rows.append(
            (
                "break-even",
                f"faster than exchanging gradients in every step unless it needs {result.break_even:.4g} times the "
                "tokens",
            )
        )
    return set_block(f"{result.model} on {result.system}, {result.method}", rows)
