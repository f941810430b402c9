"""Two sites: distance and bandwidth against step time, synchronous and with local steps.

Question: What does training over two sites cost at each distance and bandwidth between them, and how many local
steps between two exchanges hide it?

Method: Each site trains its half of the batch under the same plan.  What crosses the fibre is simulated on the network
of both: all gradients in every step (synchronous), all weights every H steps (local/H), or an eighth of them at a time
beside the step that follows (streaming/H).  The slowdown is the average step over that of a site that sends nothing;
beside it stands the step of as many accelerators at one place, whose gradients are reduced within the building.

Falsified if: A measured synchronous run over the distance is faster than here, or local steps are exposed to more
than the exchange.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import topo
from topo.experiment import Experiment, Finding, Parameter, Record, values_of, where
from topo.report.chart import Chart
from topo.training.across import across
from topo.training.default_plan import default_plan
from topo.training.named_models import load_model
from topo.units import parse_bandwidth, parse_length

SYNCHRONOUS = "synchronous"
HIDDEN = 0.01
"""A slowdown below it counts as hidden."""


def measure(site: str, distance: str, bandwidth: str, model: str, exchange: str) -> Mapping[str, Any]:
    """An average step over two sites; ``exchange`` is synchronous, local/H or streaming/H."""
    method, _, steps = exchange.partition("/")
    if steps and not steps.isdecimal():
        raise topo.TopoError(f"{steps!r} of {exchange!r} is no number of steps", "write local/100")
    pair = topo.load(f"site({site})*2,distance={distance},bandwidth={bandwidth}")
    found = across(model, pair, method=method, inner_steps=int(steps or 1), fragments=min(8, int(steps or 1)))
    together = _together(site, model)
    return {
        **found.record(),
        "distance_km": parse_length(distance) / 1e3,
        "bandwidth_Gbps": parse_bandwidth(bandwidth) * 8e-9,
        "together_s": together,
        "over_together": found.step_s / together,
    }


@lru_cache(maxsize=16)
def _together(site: str, model: str) -> float:
    """Seconds of a step of both sites' accelerators at one place, under the plan of a site with twice its copies."""
    head, comma, rest = site.partition(",")
    name, _, count = head.partition("*")
    plan = default_plan(load_model(model), topo.load(site), {})
    both = replace(plan, dp=2 * plan.dp, global_batch=2 * plan.global_batch)
    return topo.step(model, f"{name}*{2 * int(count or 1)}{comma}{rest}", both).step_s


def finding(records: list[Record]) -> Finding:
    """What distance and bandwidth cost in step, and the least frequent exchange that hides the worst of it."""
    sentences, evidence = [], []
    for model in values_of(records, "model"):
        here = where(records, model=model, exchange=SYNCHRONOUS)
        if not here:
            continue
        worst = max(here, key=_slowdown)
        best = min(here, key=_slowdown)
        evidence += [worst, best]
        sentences.append(
            f"{model}, synchronous: {worst['slowdown']:.4g} times the step of a site alone at {worst['distance']} and "
            f"{worst['bandwidth']}, {best['slowdown']:.4g} times at {best['distance']} and {best['bandwidth']}; as "
            f"many accelerators at one place take {best['together_s'] / best['inner_s']:.4g} times."
        )
        same = sorted(
            where(here, bandwidth=worst["bandwidth"]), key=lambda record: float(record["distance_km"])
        )
        if len(same) > 1:
            near, far = same[0], same[-1]
            evidence += [near, far]
            sentences.append(
                f"Distance alone, {near['distance']} to {far['distance']} at {worst['bandwidth']}, adds "
                f"{_slowdown(far) - _slowdown(near):.2%} to the step; bandwidth decides."
                if abs(_slowdown(far) - _slowdown(near)) < HIDDEN
                else f"Distance alone, {near['distance']} to {far['distance']} at {worst['bandwidth']}, takes the "
                f"slowdown from {_slowdown(near):.4g} to {_slowdown(far):.4g}."
            )
        others = [
            record
            for record in where(
                records, model=model, distance=worst["distance"], bandwidth=worst["bandwidth"]
            )
            if record["exchange"] != SYNCHRONOUS
        ]
        evidence += others
        said = ", ".join(f"{record['exchange']} to {record['slowdown']:.4g}" for record in others)
        if said:
            most = max(others, key=lambda record: float(record["break_even"]))
            sentences.append(
                f"At {worst['distance']} and {worst['bandwidth']} exchanging less often brings the slowdown by {said} "
                f"times; {most['exchange']} pays unless it needs more than {most['break_even']:.4g} times the tokens, "
                "which is not simulated."
            )
    return Finding("  ".join(sentences), evidence)


def _slowdown(record: Record) -> float:
    return float(record["slowdown"])


EXPERIMENT = Experiment(
    doc=__doc__,
    parameters=(
        Parameter("site", ("dgx-h100*8",), "What stands at each site."),
        Parameter("distance", ("10km", "1000km", "5000km"), "Between the sites."),
        Parameter("bandwidth", ("100Gb/s", "400Gb/s", "1Tb/s", "10Tb/s"), "Of the fibre, each way."),
        Parameter("model", ("llama3-70b",), "Models."),
        Parameter(
            "exchange",
            (SYNCHRONOUS, "local/16", "local/100", "streaming/100"),
            "synchronous, or local/H or streaming/H with an exchange of all weights every H steps.",
        ),
    ),
    measure=measure,
    finding=finding,
    charts=(
        Chart(
            "Synchronous steps by distance",
            "distance_km",
            "slowdown",
            ("bandwidth",),
            x_title="km",
            y_title="step / step of a site alone",
            where={"exchange": SYNCHRONOUS},
        ),
        Chart(
            "By bandwidth of the fibre, 5000 km apart",
            "bandwidth_Gbps",
            "slowdown",
            ("exchange",),
            x_title="Gb/s",
            y_title="step / step of a site alone",
            log_x=True,
            where={"distance": "5000km"},
        ),
        Chart(
            "One exchange between the sites",
            "bandwidth_Gbps",
            "exchange_s",
            ("exchange",),
            x_title="Gb/s",
            y_title="s",
            log_x=True,
            log_y=True,
            where={"distance": "5000km"},
        ),
    ),
)

if __name__ == "__main__":
    from topo.cli.experiment import main

    main(__file__)
