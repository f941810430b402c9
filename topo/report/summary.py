"""A comparison in plain sentences, every one computed from its numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from topo.compare import LEVEL, Comparison, Contender, Crossover, Span
from topo.report.blocks import of_bound, percent
from topo.results import Result
from topo.units import format_bandwidth, format_bytes, format_time

_AT_THE_BOUND = 0.9995
_NEAR = 0.9
"""Shares of the bound: as good as there, and near enough to need no explanation."""


def summary(comparison: Comparison) -> dict[str, list[str]]:
    """Sentences by heading, in reading order: one heading an operation, then limits, then fairness."""
    sections = {
        operation: _operation(comparison, operation)
        for operation in comparison.operations
        if any(r.operation == operation for r in comparison.results)
    }
    limits = [line for c in comparison.contenders for line in _limits(comparison, c)]
    if limits:
        sections["What limits each"] = limits
    sections["Reading it fairly"] = _fairness(comparison)
    left_out = _failures(comparison)
    if left_out:
        sections["Left out"] = left_out
    return sections


def times(factor: float) -> str:
    """A factor for people: ``1.04``, ``2.3``, ``45``."""
    return f"{factor:.2f}" if factor < 2 else f"{factor:.1f}" if factor < 20 else f"{factor:.0f}"


def listing(parts: Sequence[str], joint: str = "and") -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {joint} {parts[-1]}"


# ---------------------------------------------------------------------------------------------------- who wins


def _operation(comparison: Comparison, operation: str) -> list[str]:
    spans = [span for span in comparison.spans if span.operation == operation]
    sentences = [_span(comparison, span, len(spans) == 1) for span in spans]
    sizes = sorted({r.bytes for r in comparison.results if r.operation == operation})
    if len(comparison.contenders) > 1:
        for size in dict.fromkeys((sizes[0], sizes[-1])):
            sentences.append(_order(comparison.at(operation, size), size))
    behind = [c for c in comparison.crossovers if c.operation == operation and not c.fastest]
    behind.sort(key=lambda c: c.bytes)
    if behind:
        parts = [f"{c.above} overtakes {c.below} near {_size(c.bytes)}" for c in behind]
        sentences.append(f"Further back {listing(parts)}.")
    return sentences


def _span(comparison: Comparison, span: Span, alone: bool) -> str:
    if not span.seconds:
        return f"{span.winner} is the only one with results."
    if alone:
        where = "at every size" if span.first != span.last else f"at {format_bytes(span.last)}"
    else:
        where = _between(comparison, span)
    if span.most < LEVEL:
        return f"{span.winner} and {listing(span.seconds)} are level {where}."
    if f"{times(span.least)}" == f"{times(span.most)}":
        factor = times(span.most)
    elif span.least < LEVEL:
        factor = f"up to {times(span.most)}"
    else:
        factor = f"{times(span.least)} to {times(span.most)}"
    rival = span.seconds[0] if len(span.seconds) == 1 else f"the next best ({listing(span.seconds, 'or')})"
    return f"{span.winner} is fastest {where}: {rival} takes {factor} times as long."


def _between(comparison: Comparison, span: Span) -> str:
    """Where a span lies, in words, by the crossovers at its ends where these are known."""
    start = next((c.bytes for c in comparison.crossovers if _begins(c, span, comparison.sizes)), None)
    end = next((c.bytes for c in comparison.crossovers if _ends(c, span, comparison.sizes)), None)
    low = f"above {_size(start)}" if start else f"from {format_bytes(span.first)}"
    high = f"up to {_size(end)}" if end else f"to {format_bytes(span.last)}"
    if start and not end and span.last == comparison.sizes[-1]:
        return low
    if end and not start and span.first == comparison.sizes[0]:
        return high
    if start and end:
        return f"between {_size(start)} and {_size(end)}"
    return f"{low} {high}"


def _begins(crossover: Crossover, span: Span, sizes: Sequence[float]) -> bool:
    before = max((size for size in sizes if size < span.first), default=span.first)
    mine = crossover.operation == span.operation and crossover.above == span.winner
    return mine and before <= crossover.bytes <= span.first


def _ends(crossover: Crossover, span: Span, sizes: Sequence[float]) -> bool:
    after = min((size for size in sizes if size > span.last), default=span.last)
    mine = crossover.operation == span.operation and crossover.below == span.winner
    return mine and span.last <= crossover.bytes <= after


def _size(size: float) -> str:
    """A size that was found by search, to two or three digits."""
    unit = 1024.0 ** int(math.log2(max(size, 1.0)) // 10)
    amount = size / unit
    return format_bytes((round(amount, 1) if amount < 10 else round(amount)) * unit)


def _order(ranking: Sequence[Result], size: float) -> str:
    best = ranking[0]
    first = f"{best.system} {format_time(best.time_s)} ({best.algorithm})"
    rest = [f"{r.system} {times(r.time_s / best.time_s)} times ({r.algorithm})" for r in ranking[1:]]
    return f"At {format_bytes(size)}: {', '.join([first, *rest])}."


# ------------------------------------------------------------------------------------------------------ limits


def _limits(comparison: Comparison, contender: Contender) -> list[str]:
    large, latency = [], []
    for operation in comparison.operations:
        results = comparison.of(operation, contender.name)
        if not results:
            continue
        large.append(results[-1])
        ruled = [r.bytes for r in results if r.latency_s > r.time_s / 2]
        if ruled:
            latency.append((operation, max(ruled)))
    if not large:
        return []
    lines = [f"{contender.name} at {format_bytes(large[0].bytes)}: {'; '.join(_by_bottleneck(large))}."]
    if latency:
        lines.append(f"{contender.name}: latency is over half of the time of {_until(latency)}.")
    return lines


def _by_bottleneck(results: Iterable[Result]) -> list[str]:
    """Operations by what limits them, and how near the bound they come."""
    groups: dict[str, dict[str, list[str]]] = {}
    for result in results:
        where = result.bottleneck.rpartition(",")[0] or result.bottleneck
        groups.setdefault(where, {}).setdefault(_near(result), []).append(result.operation)
    return [
        f"{where} in {listing([f'{listing(operations)} ({words})' for words, operations in found.items()])}"
        for where, found in groups.items()
    ]


def _near(result: Result) -> str:
    """How near the bound a result is and, where it is far, what its time consists of."""
    share = result.bound_s / result.time_s if result.time_s > 0 else 1.0
    if share > _AT_THE_BOUND:
        return "no algorithm can be faster"
    if share > _NEAR:
        return of_bound(result)
    parts = {"latency": result.latency_s, "contention": result.contention_s}
    worst = max(parts, key=lambda name: parts[name])
    extra = parts[worst] / result.time_s
    return of_bound(result) + (f", {percent(extra)} of the time is {worst}" if extra > 0.1 else "")


def _until(latency: Sequence[tuple[str, float]]) -> str:
    by_size: dict[float, list[str]] = {}
    for operation, size in latency:
        by_size.setdefault(size, []).append(operation)
    return listing([f"{listing(ops)} up to {format_bytes(size)}" for size, ops in sorted(by_size.items())])


# ---------------------------------------------------------------------------------------------------- fairness


def _fairness(comparison: Comparison) -> list[str]:
    contenders = comparison.contenders
    size = comparison.sizes[-1]
    lines = [
        "Sizes are nccl-tests' sizes; every system runs its own fastest algorithm"
        if comparison.settings.algorithm == "auto"
        else f"Sizes are nccl-tests' sizes; every system runs {comparison.settings.algorithm}"
    ]
    libraries = {result.system: result.ccl for result in comparison.results}
    used = set(libraries.values())
    if len(used) == 1:
        lines[0] += f" on the {used.pop()} library."
    else:
        lines[0] += (
            f" on its own library: {listing([f'{name} on {own}' for name, own in libraries.items()])}."
        )
    if len({c.accelerators for c in contenders}) > 1:
        counts = listing([f"{c.name} has {c.accelerators:,}" for c in contenders])
        lines.append(
            f"The systems differ in size: {counts} accelerators; bus bandwidth corrects for it, time does not."
        )
    for c in contenders:
        if c.blocks_of_a_wafer:
            lines.append(
                f"An accelerator of {c.name} is one of {c.accelerators} blocks of a single wafer, not a package."
            )
    bare = [name for name, own in libraries.items() if own == "ideal"]
    if bare and len(used) > 1:
        lines.append(
            f"No library is modelled for {listing(bare)}: without the costs of software that the others pay, these "
            "times flatter, most at small sizes.  --ccl ideal compares the fabrics alone."
        )
    if "ideal" in libraries.values():
        lines.append(
            "The ideal library adds nothing to the fabric's own limit: no launch, no protocol; software makes "
            "small sizes slower than here."
        )
    lines.append(f"Bus bandwidth at {format_bytes(size)} as a share of what one accelerator can send:")
    for c in contenders:
        shares = [
            f"{r.operation} {percent(r.busbw_Bps / c.send_Bps)}"
            for operation in comparison.operations
            for r in comparison.of(operation, c.name)
            if r.bytes == size
        ]
        if shares:
            lines.append(f"  {c.name}, {c.accelerators:,} x {_ports(c)}: {', '.join(shares)}.")
    if any(r.bytes == size and r.busbw_Bps > 1.005 * _send(comparison, r) for r in comparison.results):
        lines.append("Shares above 100 % come from switches that add and copy data on its way.")
    return lines


def _send(comparison: Comparison, result: Result) -> float:
    return next(c.send_Bps for c in comparison.contenders if c.name == result.system)


def _ports(contender: Contender) -> str:
    total = format_bandwidth(contender.send_Bps)
    if contender.scale_out_Bps <= 0:
        return total
    inside, outside = format_bandwidth(contender.scale_up_Bps), format_bandwidth(contender.scale_out_Bps)
    return f"{total} ({inside} scale-up, {outside} scale-out)"


def _failures(comparison: Comparison) -> list[str]:
    groups: dict[tuple[str, str, str], list[float]] = {}
    for failure in comparison.failures:
        groups.setdefault((failure.system, failure.operation, failure.message), []).append(failure.bytes)
    return [
        f"{operation} on {system} at {_sizes(sizes)}: {message}."
        for (system, operation, message), sizes in groups.items()
    ]


def _sizes(sizes: Sequence[float]) -> str:
    if len(sizes) == 1:
        return format_bytes(sizes[0])
    return f"{format_bytes(sizes[0])} to {format_bytes(sizes[-1])}"
