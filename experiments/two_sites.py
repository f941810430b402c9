"""Two sites: distance and bandwidth against step time, synchronous and with local steps.

Question: What does training over two sites cost at each distance and bandwidth between them, and how many local
steps between two exchanges hide it?

Method: A synchronous step runs over both sites, data parallel across the fibre.  With local steps each site takes its
own steps, of half the tokens, and every so many the sites exchange their weights in two bytes each; that exchange,
at the bandwidth of the fibre or of all NICs of a site, is exposed in full.  Paces are in seconds per token, relative
to all accelerators at one site.

Falsified if: A measured synchronous run over the distance is faster than here, or local steps are exposed to more
than the exchange.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import topo
from topo.experiment import Experiment, Finding, Parameter, Record, values_of, where
from topo.report.chart import Chart
from topo.training.named_models import load_model
from topo.training.quick import quick_step
from topo.units import parse_bandwidth

EXCHANGED_BYTES = 2
"""Bytes of a parameter in the exchange of local steps."""


def measure(site: str, distance: str, bandwidth: str, model: str, local: int) -> Mapping[str, Any]:
    """A step over two sites; ``local`` steps between exchanges, 0 for synchronous."""
    pair = topo.load(f"site({site})*2,distance={distance},bandwidth={bandwidth}")
    name, _, count = site.partition("*")
    whole = quick_step(model, topo.load(f"{name}*{2 * int(count or 1)}"), degrees=(8,))
    pace = whole.step_s / whole.tokens
    known = {
        "system": pair.name,
        "together_s_per_token": pace,
        "distance_km": float(distance.removesuffix("km")),
    }
    if local == 0:
        found = quick_step(model, pair, degrees=(8,))
        return {**known, **found.record(), "s_per_token": found.step_s / found.tokens, **_over(found, pace)}
    alone = quick_step(model, topo.load(site), degrees=(8,))
    seconds = exchange_seconds(
        pair, load_model(model).parameters * EXCHANGED_BYTES, parse_bandwidth(bandwidth)
    )
    each = alone.step_s / alone.tokens / 2 + seconds / local / (2 * alone.tokens)
    return {
        **known,
        "step_s": alone.step_s + seconds / local,
        "tokens": 2 * alone.tokens,
        "exchange_s": seconds,
        "s_per_token": each,
        "slowdown": each / pace,
    }


def exchange_seconds(pair: topo.System, size: float, fibre: float) -> float:
    """Seconds to send ``size`` bytes each way between the sites, every accelerator its share.

    The fibre and all NICs of a site bound it; the latency is that of one byte from site to site.
    """
    half = pair.accelerators // 2
    latency = topo.simulate(pair, "send-recv", 1, ranks=[0, half], ccl="ideal").time_s
    nics = half * pair.scale_out.nic_bandwidth if pair.scale_out else fibre
    return latency + size / min(fibre, nics)


def _over(found: Any, pace: float) -> Mapping[str, float]:
    return {"slowdown": found.step_s / found.tokens / pace}


def finding(records: list[Record]) -> Finding:
    """The slowdown at the farthest and narrowest, and the local steps that bring it under a percent."""
    sentences, evidence = [], []
    synchronous = where(records, local=0)
    for model in values_of(records, "model"):
        here = where(synchronous, model=model)
        if not here:
            continue
        worst = max(here, key=lambda record: float(record["slowdown"]))
        best = min(here, key=lambda record: float(record["slowdown"]))
        evidence += [worst, best]
        sentences.append(
            f"{model}, synchronous: {worst['slowdown']:.4g} times the pace of one site of both at {worst['distance']} "
            f"and {worst['bandwidth']}, {best['slowdown']:.4g} times at {best['distance']} and {best['bandwidth']}."
        )
        same = where(records, model=model, distance=worst["distance"], bandwidth=worst["bandwidth"])
        locals_ = [record for record in same if record["local"]]
        if locals_:
            quickest = min(locals_, key=lambda record: float(record["slowdown"]))
            evidence.append(quickest)
            sentences.append(
                f"There, {quickest['local']} local steps between exchanges of {quickest['exchange_s']:.3g} s bring it "
                f"to {quickest['slowdown']:.4g} times; what they cost in quality is not in this number."
            )
    return Finding("  ".join(sentences), evidence)


EXPERIMENT = Experiment(
    doc=__doc__,
    parameters=(
        Parameter("site", ("dgx-h100*8",), "What stands at each site."),
        Parameter("distance", ("10km", "1000km", "5000km"), "Between the sites."),
        Parameter("bandwidth", ("100Gb/s", "1Tb/s", "10Tb/s"), "Of the fibre, each way."),
        Parameter("model", ("llama3-70b",), "Models."),
        Parameter("local", (0, 16, 100), "Local steps between exchanges; 0 is synchronous."),
    ),
    measure=measure,
    finding=finding,
    charts=(
        Chart(
            "Synchronous steps",
            "distance_km",
            "slowdown",
            ("bandwidth",),
            x_title="km",
            y_title="time per token / one site",
            where={"local": 0},
        ),
        Chart(
            "By local steps",
            "local",
            "slowdown",
            ("distance", "bandwidth"),
            y_title="time per token / one site",
        ),
    ),
)

if __name__ == "__main__":
    from topo.cli.experiment import main

    main(__file__)
