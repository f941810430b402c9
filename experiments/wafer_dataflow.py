"""Wafer dataflow: static dataflow, weight streaming and ordinary plans on wafers and tile meshes, against racks.

Question: How do wafers and tile meshes that run a model as a pipeline of regions, stream its weights or follow an
ordinary parallel plan compare with racks, and what do changes of the graph (experts, shapes) cost each?

Method: One training step of the same tokens.  A plan is the first that fits.  Static dataflow lays every layer out as a
region of the mesh for good; streaming brings weights layer by layer from the memory outside, in as many passes as the
memory inside asks for.  Every change of the graph in a step drains a mapped machine and costs the stated time, or by
default that of writing all its memory anew; a plan's kernels take any shape and pay nothing.  Speeds are per PFLOP/s of
peak, so that machines of different size compare.  What a machine cannot hold or do is a record with its reason.  The
reduces of a wafer over vector length are the question of wafer_reduce.

Falsified if: A measured step on a wafer is faster than its weights can come over its way in, or a machine with a
stated time of reconfiguration loses less than changes times that time.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import topo
from topo.experiment import Experiment, Finding, Parameter, Record, values_of, where
from topo.report.chart import Chart
from topo.training.dataflow import reconfiguration_seconds
from topo.training.mapping import mapped_step
from topo.training.named_models import load_model
from topo.units import parse_time

PLAN = "plan"
WRITTEN_ANEW = "memory"


def measure(
    on: str, mapping: str, model: str, seq: int, sequences: int, changes: int, reconfiguration: str
) -> Mapping[str, Any]:
    """One step; ``reconfiguration`` is ``memory``, for all memory written anew, or a time such as 100ms."""
    system = topo.load(on)
    if system.chip is None:
        raise topo.TopoError(f"{on} has no chips", "take a system of the catalogue")
    peak = system.chip.flops("bf16") * system.accelerators
    known = dict(_still(on, mapping, model, seq, sequences))
    pause = 0.0
    if mapping != PLAN:
        pause = (
            reconfiguration_seconds(system)
            if reconfiguration == WRITTEN_ANEW
            else parse_time(reconfiguration)
        )
    seconds = known["still_s"] + changes * pause
    return known | {
        "system": on,
        "step_s": seconds,
        "one_change_s": pause,
        "tokens_per_s": known["tokens"] / seconds,
        "tokens_per_s_per_PFLOPs": known["tokens"] / seconds / (peak / 1e15),
        "mfu": known["still_mfu"] * known["still_s"] / seconds,
    }


@lru_cache(maxsize=64)
def _still(on: str, mapping: str, model: str, seq: int, sequences: int) -> Mapping[str, Any]:
    """A step whose graph stays."""
    system = topo.load(on)
    if mapping == PLAN:
        step = topo.step(model, system, seq=seq, global_batch=sequences, contention="isolated")
        return {
            **{"still_s": step.step_s, "still_mfu": step.mfu, "tokens": step.tokens, "passes": 1},
            **{"detail": step.plan, "binds": step.bound_kind},
        }
    found = mapped_step(load_model(model), system, mapping, {"seq": seq, "global_batch": sequences})
    return {
        **{"still_s": found["step_s"], "still_mfu": found["mfu"], "tokens": found["tokens"]},
        **{"passes": found["passes"], "detail": mapping, "binds": found["binds"]},
    }


def finding(records: list[Record]) -> Finding:
    """Shares of the peak with a graph that stays, the best way of each machine, and what changes leave of it."""
    sentences, evidence = [], []
    for model in values_of(records, "model"):
        here = where(records, model=model)
        fewest = min(values_of(here, "changes"))
        still = sorted(where(here, changes=fewest), key=_share, reverse=True)
        evidence += still
        said = ", ".join(f"{record['on']} {record['mfu']:.1%} ({record['mapping']})" for record in still)
        sentences.append(f"{model}, {fewest} changes a step, share of the peak: {said}.")
        for system in values_of(here, "on"):
            mapped = [record for record in where(here, on=system) if record["mapping"] != PLAN]
            if not mapped:
                continue
            best = max(mapped, key=_share)["mapping"]
            line = sorted(where(mapped, mapping=best), key=lambda record: int(record["changes"]))
            first, last = line[0], line[-1]
            if first is last:
                continue
            left = float(last["tokens_per_s"]) / float(first["tokens_per_s"])
            halved = float(first["step_s"]) / float(first["one_change_s"])
            evidence += [first, last]
            sentences.append(
                f"{last['changes']} changes of {last['one_change_s']:.3g} s leave {system} ({best}) {left:.1%} of its "
                f"speed, which {halved:,.3g} changes halve."
            )
    return Finding("  ".join(sentences), evidence)


def _share(record: Record) -> float:
    return float(record["mfu"])


EXPERIMENT = Experiment(
    doc=__doc__,
    parameters=(
        Parameter("on", ("wse3*4", "dojo:10x12", "dgx-h100*4", "gb200-nvl72"), "Systems of the catalogue."),
        Parameter("mapping", ("dataflow", "streaming", PLAN), "dataflow, streaming or plan."),
        Parameter("model", ("llama3-8b",), "Models."),
        Parameter("seq", (2048,), "Tokens of a sequence."),
        Parameter("sequences", (3024,), "Sequences of a step."),
        Parameter("changes", (0, 1, 10, 100), "Changes of the graph in a step."),
        Parameter(
            "reconfiguration", (WRITTEN_ANEW,), "Time of one change, such as 100ms; memory: written anew."
        ),
    ),
    measure=measure,
    finding=finding,
    charts=(
        Chart(
            "Share of the peak while the graph stays",
            "on",
            "mfu",
            ("mapping",),
            "bar",
            x_title="system",
            y_title="MFU",
            where={"changes": 0},
        ),
        Chart(
            "Speed for peak FLOP/s as the graph changes",
            "changes",
            "tokens_per_s_per_PFLOPs",
            ("on", "mapping"),
            x_title="changes a step",
            y_title="tokens/s for each PFLOP/s",
            log_y=True,
        ),
    ),
)

if __name__ == "__main__":
    from topo.cli.experiment import main

    main(__file__)
