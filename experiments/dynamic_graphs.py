"""Dataflow machines: static dataflow and weight streaming against racks, and the price of dynamic graphs.

Question: How do wafers and tile meshes that run a model as a pipeline of regions, or stream its weights, compare with
racks, and how many changes of the graph a step (experts, shapes) can they bear?

Method: One training step of the same tokens.  Racks run a parallel plan, the first that fits.  Dataflow machines lay
every layer out as a region of the mesh, or stream weights layer by layer in as many passes as their memory asks for.
Every change of the graph in a step drains the pipeline and costs the stated time.  Speeds are per PFLOP/s of peak, so
that machines of different size compare.

Falsified if: A measured step on a wafer is faster than its weights can come over its way out, or a machine with a
stated time of reconfiguration loses less than changes times that time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import topo
from topo.experiment import Experiment, Finding, Parameter, Record, values_of, where
from topo.report.chart import Chart
from topo.training.mapping import mapped_step
from topo.training.named_models import load_model

WAYS = {"wse2": "streaming", "wse3": "streaming", "dojo": "dataflow"}
"""How a dataflow machine runs where nothing is asked for; others run plans."""


def measure(
    on: str, mapping: str, model: str, seq: int, sequences: int, changes: int, reconfiguration: float
) -> Mapping[str, Any]:
    """One step; ``reconfiguration`` in seconds."""
    system = topo.load(on)
    family = on.partition(":")[0].partition("*")[0].partition(",")[0]
    how = WAYS.get(family, "plan") if mapping == "own" else mapping
    if system.chip is None:
        raise topo.TopoError(f"{on} has no chips", "take a system of the catalogue")
    peak = system.chip.flops("bf16") * system.accelerators
    if how == "plan":
        step = topo.step(model, system, seq=seq, global_batch=sequences, contention="isolated")
        seconds, tokens, share = step.step_s, step.tokens, step.mfu
        known: dict[str, Any] = {"plan": step.plan, "binds": step.bound_kind}
    else:
        found = mapped_step(
            load_model(model),
            system,
            how,
            {"seq": seq, "global_batch": sequences},
            changes=changes,
            reconfiguration_s=reconfiguration,
        )
        seconds, tokens, share = float(found["step_s"]), float(found["tokens"]), float(found["mfu"])
        known = {"plan": how, "binds": found.get("binds", ""), "passes": found["passes"]}
    return known | {
        "system": on,
        "how": how,
        "step_s": seconds,
        "tokens_per_s": tokens / seconds,
        "tokens_per_s_per_PFLOPs": tokens / seconds / (peak / 1e15),
        "mfu": share,
    }


def finding(records: list[Record]) -> Finding:
    """The best share of the peak with a static graph, and what changes leave of it."""
    sentences, evidence = [], []
    for model in values_of(records, "model"):
        here = where(records, model=model)
        fewest = min(values_of(here, "changes"))
        still = sorted(where(here, changes=fewest), key=lambda record: -float(record["mfu"]))
        evidence += still
        said = ", ".join(f"{record['on']} {record['mfu']:.1%} ({record['how']})" for record in still)
        sentences.append(f"{model}, {fewest} changes a step, share of the peak: {said}.")
        for system in values_of(here, "on"):
            moving = [record for record in where(here, on=system) if record["how"] != "plan"]
            if len(moving) < 2:
                continue
            first = min(moving, key=lambda record: int(record["changes"]))
            last = max(moving, key=lambda record: int(record["changes"]))
            left = float(last["tokens_per_s"]) / float(first["tokens_per_s"])
            evidence += [first, last]
            sentences.append(
                f"{last['changes']} changes of {last['reconfiguration']:g} s leave {system} {left:.1%} of its speed."
            )
    return Finding("  ".join(sentences), evidence)


EXPERIMENT = Experiment(
    doc=__doc__,
    parameters=(
        Parameter("on", ("wse3*4", "dojo:10x12", "dgx-h100*4", "gb200-nvl72"), "Systems of the catalogue."),
        Parameter(
            "mapping", ("own",), "own (streaming on wafers, dataflow on tiles), dataflow, streaming, plan."
        ),
        Parameter("model", ("llama3-8b",), "Models."),
        Parameter("seq", (2048,), "Tokens of a sequence."),
        Parameter("sequences", (2304,), "Sequences of a step."),
        Parameter("changes", (0, 1, 10, 100), "Changes of the graph in a step."),
        Parameter("reconfiguration", (0.1,), "Seconds of one change: assumed, vary it."),
    ),
    measure=measure,
    finding=finding,
    charts=(
        Chart(
            "Speed for peak FLOP/s as the graph changes",
            "changes",
            "tokens_per_s_per_PFLOPs",
            ("on",),
            x_title="changes a step",
            y_title="tokens/s for each PFLOP/s",
            log_y=True,
        ),
        Chart("Share of the peak", "on", "mfu", ("how",), "bar", y_title="MFU", where={"changes": 0}),
    ),
)

if __name__ == "__main__":
    from topo.cli.experiment import main

    main(__file__)
