"""Performance per cost: tokens for a dollar and a joule, as intervals.

Question: Which system trains the most tokens for a dollar and for a joule, and is the difference larger than what is
unknown about prices?

Method: A training step by the best of the plans tried gives tokens a second.  Dollars come from the catalogue's lowest
and highest rent, and where there is none from the lowest and highest price written off over four years; joules from the
system's power.  Each result is an interval; two systems whose intervals overlap are not told apart.

Falsified if: A price outside the catalogue's range is the usual one, or a measured run of the same plan is slower by
more than the validated error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import topo
from topo.experiment import Experiment, Finding, Parameter, Record, values_of, where
from topo.report.chart import Chart
from topo.training.quick import quick_step
from topo.training.step import LIFETIME_YEARS, YEAR


def measure(on: str, model: str, precision: str) -> Mapping[str, Any]:
    """Tokens a second, for a dollar and for a joule."""
    system = topo.load(on)
    found = quick_step(model, system, degrees=(2, 4, 8), precision=precision)
    known = {**found.record(), "system": on, "power_w": system.power_w}
    if system.power_w:
        known["tokens_per_joule"] = found.tokens_per_s / system.power_w
    seconds = _dollars_per_second(system)
    if seconds is not None:
        low, high, basis = seconds
        known |= {
            "cost_basis": basis,
            "Mtokens_per_usd_low": found.tokens_per_s / high / 1e6,
            "Mtokens_per_usd_high": found.tokens_per_s / low / 1e6,
            "Mtokens_per_usd": found.tokens_per_s / ((low + high) / 2) / 1e6,
        }
    return known


def _dollars_per_second(system: topo.System) -> tuple[float, float, str] | None:
    if system.rent_range_usd_per_hour is not None:
        low, high = system.rent_range_usd_per_hour
        return low / 3600, high / 3600, "rent"
    if system.price_range_usd is not None:
        low, high = system.price_range_usd
        return (
            low / LIFETIME_YEARS / YEAR,
            high / LIFETIME_YEARS / YEAR,
            f"price over {LIFETIME_YEARS:g} years",
        )
    return None


def finding(records: list[Record]) -> Finding:
    """The best by dollar and by joule, and whom prices do not tell apart from it."""
    sentences, evidence = [], []
    for model in values_of(records, "model"):
        here = where(records, model=model)
        for basis in sorted(values_of([r for r in here if r.get("Mtokens_per_usd_low")], "cost_basis")):
            priced = [
                record
                for record in here
                if record.get("Mtokens_per_usd_low") and record["cost_basis"] == basis
            ]
            best = max(priced, key=lambda record: float(record["Mtokens_per_usd"]))
            level = [
                record
                for record in priced
                if record is not best
                and float(record["Mtokens_per_usd_high"]) >= float(best["Mtokens_per_usd_low"])
            ]
            evidence += [best, *level]
            sentences.append(
                f"{model}, by {basis}, in the middle of the range of prices: {best['system']} trains most for a "
                f"dollar, {_interval(best)}"
                + (
                    f"; prices do not tell {', '.join(map(_named, level))} apart from it."
                    if level
                    else ", apart from all others."
                )
            )
        powered = [record for record in here if record.get("tokens_per_joule")]
        if powered:
            frugal = max(powered, key=lambda record: float(record["tokens_per_joule"]))
            evidence.append(frugal)
            sentences.append(
                f"The most tokens for a joule are {frugal['system']}'s, {frugal['tokens_per_joule']:.3g}, of "
                f"{len(powered)} systems with a known power."
            )
    return Finding("  ".join(sentences), evidence)


def _interval(record: Record) -> str:
    """Million tokens for a dollar, or what the only price known gives."""
    low, high = float(record["Mtokens_per_usd_low"]), float(record["Mtokens_per_usd_high"])
    words = f"{low:.3g} million tokens by the one price known" if low == high else ""
    return words or f"{low:.3g} to {high:.3g} million tokens"


def _named(record: Record) -> str:
    return f"{record['system']} ({_interval(record)})"


EXPERIMENT = Experiment(
    doc=__doc__,
    parameters=(
        Parameter(
            "on",
            (
                "dgx-a100*8",
                "dgx-h100*8",
                "hgx-b200*8",
                "gb200-nvl72",
                "mi300x*8",
                "trn2-ultra",
                "tpu-v5p:4x4x4",
            ),
            "Systems.",
        ),
        Parameter("model", ("llama3-70b",), "Models."),
        Parameter("precision", ("bf16",), "fp32, bf16, fp8 or fp4."),
    ),
    measure=measure,
    finding=finding,
    charts=(
        Chart(
            "Tokens for a dollar, from the highest to the lowest price",
            "system",
            "Mtokens_per_usd",
            ("model",),
            "bar",
            y_title="million tokens for a dollar",
            low="Mtokens_per_usd_low",
            high="Mtokens_per_usd_high",
        ),
        Chart(
            "Tokens for a joule",
            "system",
            "tokens_per_joule",
            ("model",),
            "bar",
            y_title="tokens for a joule",
        ),
        Chart(
            "Dollars against joules",
            "tokens_per_joule",
            "Mtokens_per_usd",
            ("system",),
            "pareto",
            x_title="tokens for a joule",
            y_title="million tokens for a dollar, middle price",
        ),
    ),
)

if __name__ == "__main__":
    from topo.cli.experiment import main

    main(__file__)
