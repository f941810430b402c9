"""Writes docs/training-comparison.md: one training step of three models on six machines, each under its best plan.

Every search is stored in results/training-table as soon as it is done, so an interrupted run goes on where it was;
``--stored`` writes the page from what is there and says what is missing.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import topo
from topo.errors import TopoError
from topo.report.step import WORDS as PARTS
from topo.system import System
from topo.training.mapping import mapped_step
from topo.training.model import Model
from topo.training.named_models import load_model
from topo.training.plan import Plan
from topo.training.rates import chip_rates
from topo.training.search import search
from topo.training.space import Space
from topo.training.step import LIFETIME_YEARS, YEAR

HERE = Path(__file__).parent
STORE = HERE.parent / "results" / "training-table"
MODELS = {"llama3-70b": 8192, "mixtral-8x7b": 4096, "gpt3-175b": 2048}
"""Models and the tokens of their sequences."""
TOKENS = 2**21
SECTIONS = {
    "flops": ("gb200-nvl72", "dgx-h100*24", "tpu-v5p:4x8x12", "trn2-ultra*4", "wse3*11", "dojo*3"),
    "price": ("gb200-nvl72", "dgx-h100*9", "tpu-v5p", "trn2-ultra*10", "wse3", "dojo*3"),
}
"""Systems of each comparison: equal peak FLOP/s, about 180 PFLOP/s of dense bf16; equal money, about 2.6
million USD."""
LIMIT = 80
"""Simulations of a search at most."""
FINALISTS = 2
"""Plans of a search that run with full contention at most."""
NONE = 5e-4
"""Gap below which a search has proved its best plan."""
PRICES = {
    "trn2-ultra": "it is of the chips alone, without servers and network",
    "dojo": "it is an estimate from a plan, as none was ever sold",
}
"""Prices that say less than the others."""
WORDS = PARTS | {"weights": "waiting for weights"}
TALK = ("tp", "cp", "ep", "dp", "pp", "weights")


# Simulations --------------------------------------------------------------------------------------------


def path_of(model: str, name: str) -> Path:
    """Where a search is stored."""
    return STORE / f"{model}-{''.join(c if c.isalnum() else '_' for c in name)}.json"


def stored(model: str, name: str, limit: int, jobs: int | None, simulate: bool) -> dict[str, Any]:
    """One model on one system, from the store or done now."""
    path = path_of(model, name)
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found
    system = topo.load(name)
    peak = system.chip.flops("bf16") * system.accelerators if system.chip else 0.0
    record: dict[str, Any] = {"system": name, "accelerators": system.accelerators, "peak": peak}
    record["price"] = system.price_usd
    if not simulate:
        return record | {"refused": "not simulated yet"}
    try:
        record |= row(load_model(model), system, MODELS[model], limit, jobs)
    except TopoError as error:
        record["refused"] = error.message
    STORE.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1), encoding="utf-8")
    return record


def row(model: Model, system: System, seq: int, limit: int, jobs: int | None) -> dict[str, Any]:
    """The best step that the system can do."""
    base = Plan(seq=seq)
    each = base.parameter_bytes + base.gradient_bytes + base.optimizer_bytes
    states = model.parameters * each
    have = system.chip.memory_bytes * system.accelerators if system.chip else 0.0
    if states <= have:
        return searched(model, system, seq, limit, jobs)
    why = f"no plan can fit: weights, gradients and optimizer states are {states / 1e9:,.0f} GB, its memory "
    why += f"{have / 1e9:,.0f} GB"
    if system.outside_memory is not None:
        return streamed(model, system, seq) | {"note": why + ", so weights are streamed"}
    return laid_out(model, system, seq, why)


def searched(model: Model, system: System, seq: int, limit: int, jobs: int | None) -> dict[str, Any]:
    """The best plan that a search finds."""
    space = Space(TOKENS // seq, 0.15, micro_batches=(1, 2, 4))
    base = Plan(seq=seq)
    found = search(model, system, base=base, space=space, jobs=jobs, limit=limit, finalists=FINALISTS)
    best = found.best.result.record()
    return {
        "plan": best["plan"],
        "placement": best["placement"],
        "tokens_per_s": best["tokens_per_s"],
        "mfu": best["mfu"],
        "hardware_flops": best["hardware_flops"],
        "model_flops": best["model_flops"],
        "step_s": best["step_s"],
        "split": {part: best[f"{part}_s"] for part in PARTS},
        "busiest": best["bottleneck"],
        "considered": found.considered,
        "laid_out": found.laid_out,
        "simulated": found.simulated,
        "gap": found.gap,
    }


def streamed(model: Model, system: System, seq: int) -> dict[str, Any]:
    """A step whose weights are streamed to the machines."""
    machines = system.fabric.domains
    batch = machines * max(round(TOKENS / seq / machines), 1)
    best = mapped_step(model, system, "streaming", {"seq": seq, "global_batch": batch})
    assert system.chip is not None
    peak = system.chip.flops("bf16") * system.accelerators
    speed = peak * (chip_rates(system.chip).share or {}).get("bf16", 1.0)
    passes = f"{best['passes']} passes" if best["passes"] > 1 else "one pass"
    bytes_moved = {"weights": best["down_s"], "gradients": best["up_s"]}
    worst = max(bytes_moved, key=bytes_moved.__getitem__)
    return {
        "plan": f"weights streamed in {passes}, recompute {best['recompute']}, {batch // machines} sequences of {seq} "
        f"a machine, bf16",
        "tokens_per_s": best["tokens_per_s"],
        "mfu": best["mfu"],
        "hardware_flops": best["compute_s"] * speed,
        "model_flops": best["mfu"] * best["step_s"] * peak,
        "step_s": best["step_s"],
        "split": {"compute": best["compute_s"], "weights": best["step_s"] - best["compute_s"]},
        "busiest": f"the way of {worst} {'into' if worst == 'weights' else 'out of'} each machine, "
        f"{bytes_moved[worst] / best['step_s']:.1%} busy",
    }


def laid_out(model: Model, system: System, seq: int, why: str) -> dict[str, Any]:
    """A step of a machine on which every layer has a region, if its memory holds the model."""
    refused = ""
    for policy in ("none", "full"):
        given = {"seq": seq, "global_batch": TOKENS // seq, "recompute": policy}
        try:
            best = mapped_step(model, system, "dataflow", given)
        except TopoError as error:
            refused = error.message
            continue
        fill = best["fill_s"]
        return {
            "plan": f"a region for every layer, recompute {policy}, {TOKENS // seq} sequences of {seq}, bf16",
            "tokens_per_s": best["tokens_per_s"],
            "mfu": best["mfu"],
            "hardware_flops": model.step_flops(seq, TOKENS),
            "model_flops": model.step_flops(seq, TOKENS),
            "step_s": best["step_s"],
            "split": {"compute": best["step_s"] - fill, "bubble": fill},
            "busiest": "not known for this mapping",
        }
    return {"refused": f"{why}; nor does a region for every layer fit: {refused} under full recomputation"}


# The page -----------------------------------------------------------------------------------------------


def dollars(record: dict[str, Any]) -> float:
    """USD for 10^12 tokens: the price spread over its lifetime."""
    return float(record["price"]) / (LIFETIME_YEARS * YEAR) / float(record["tokens_per_s"]) * 1e12


def table(records: list[dict[str, Any]], money: bool) -> list[str]:
    """The systems of one comparison, the best first, and why it is."""
    able = ranked(records, money)
    last = " million USD | USD per 10^12 tokens |" if money else ""
    lines = [
        "| system | chips | peak PFLOP/s | tokens/s | MFU | kernels' share of peak | computation "
        f"| exposed communication | bubble | rest | another plan saves at most |{last}",
        "|---|" + "--:|" * (12 if money else 10),
    ]
    for r in able:
        share = {part: r["split"].get(part, 0.0) / r["step_s"] for part in WORDS}
        talk = sum(share[axis] for axis in TALK)
        worst = WORDS[max(TALK, key=share.__getitem__)].removeprefix("exposed ")
        end = f" {r['price'] / 1e6:.2f} | {dollars(r):,.0f} |" if money else ""
        lines.append(
            f"| {r['system']} | {r['accelerators']} | {r['peak'] / 1e15:.0f} | {r['tokens_per_s']:,.0f} "
            f"| {r['mfu']:.1%} | {factors(r)['kernels']:.1%} | {share['compute']:.1%} "
            f"| {talk:.1%}{f' (most {worst})' if talk > 0.001 else ''} "
            f"| {share['bubble']:.1%} | {share['optimizer'] + share['input']:.1%} | {unproved(r)} |{end}"
        )
    lines += ["", *reasons(able, money), "", "Plans, and what binds:", ""]
    lines += [f"- {r['system']}: {detail(r)}" for r in able]
    lines += [f"- {r['system']} is missing: {absent(r, money)}." for r in records if r not in able]
    return [*lines, ""]


def ranked(records: list[dict[str, Any]], money: bool) -> list[dict[str, Any]]:
    """The systems of one comparison that run the model, the best first."""
    able = [r for r in records if "split" in r and (r["price"] or not money)]
    return sorted(able, key=lambda r: dollars(r) if money else -float(r["mfu"]))


def first_sentence(able: list[dict[str, Any]], money: bool) -> str:
    """Who wins, and by what."""
    text = reasons(able, money)[0]
    return re.split(r"(?<=\.)\s", text, maxsplit=1)[0]


def unproved(record: dict[str, Any]) -> str:
    """What another plan could save at most; nothing where there was no choice."""
    if "gap" not in record:
        return "-"
    return "0" if record["gap"] < NONE else f"{record['gap']:.1%}"


def absent(record: dict[str, Any], money: bool) -> str:
    """Why a system has no row."""
    if money and not record["price"]:
        return "no price is known, only a rent"
    return str(record["refused"])


def detail(record: dict[str, Any]) -> str:
    """Plan and limits of a system in words."""
    parts = [record["plan"] + (f", placement `{record['placement']}`" if "placement" in record else "")]
    largest = max(record["split"], key=record["split"].__getitem__)
    if largest == "compute":
        parts.append(f"computation binds, with kernels at {factors(record)['kernels']:.0%} of the peak")
    else:
        parts.append(f"{WORDS[largest]} binds")
    parts.append(f"busiest link: {record['busiest']}")
    if "gap" in record:
        parts.append(
            f"of {record['considered']:,} plans {record['simulated']} simulations and the floors under the others "
            + ("prove it the best" if record["gap"] < NONE else f"leave {record['gap']:.1%} open")
        )
    if "note" in record:
        parts.append(record["note"])
    return "; ".join(parts) + "."


def factors(record: dict[str, Any]) -> dict[str, float]:
    """What MFU is the product of."""
    compute = record["split"]["compute"]
    return {
        "kernels": record["hardware_flops"] / (compute * record["peak"]),
        "busy": compute / record["step_s"],
        "useful": record["model_flops"] / record["hardware_flops"],
    }


def reasons(able: list[dict[str, Any]], money: bool) -> list[str]:
    """Why the first is before the second, in words."""
    if len(able) < 2:
        return []
    first, second = able[0], able[1]
    a, b = factors(first), factors(second)
    if money:
        ratio, what = dollars(second) / dollars(first), "tokens for a dollar"
        a["peak"], b["peak"] = first["peak"] / first["price"], second["peak"] / second["price"]
        words = f"its dollar buys {a['peak'] / b['peak']:.2f} times the peak FLOP/s"
    else:
        ratio, what = first["mfu"] / second["mfu"], "tokens for a FLOP/s of peak"
        a["peak"] = b["peak"] = 1.0
        words = ""
    said = {
        "peak": words,
        "kernels": f"its kernels reach {a['kernels']:.1%} of the peak against {b['kernels']:.1%}",
        "busy": f"it computes {a['busy']:.1%} of the step against {b['busy']:.1%}",
        "useful": f"{a['useful']:.1%} of what it computes is the model's against {b['useful']:.1%} (the "
        "rest is computed again)",
    }
    gain = {key: math.log(a[key] / b[key]) for key in said}
    helps = sorted((key for key in said if gain[key] > 0.005), key=lambda key: -gain[key])
    hurts = sorted((key for key in said if gain[key] < -0.005), key=lambda key: gain[key])
    text = f"**{first['system']}** wins with {ratio:.2f} times the {what} of {second['system']}"
    text += f": {'; '.join(said[key] for key in helps)}." if helps else "; nothing sets them far apart."
    if hurts:
        text += f" Against it: {'; '.join(said[key] for key in hurts)}."
    lost = {part: second["split"].get(part, 0.0) / second["step_s"] for part in WORDS if part != "compute"}
    worst = max(lost, key=lost.__getitem__)
    if "busy" in helps and lost[worst] > 0.01:
        text += f" What {second['system']} loses most to is {WORDS[worst]}, {lost[worst]:.1%} of its step."
    family = first["system"].split("*")[0]
    if money and family in PRICES:
        text += f" Mind its price: {PRICES[family]}."
    if ratio * (1.0 - second.get("gap", 0.0)) < 1.0:
        text += " A plan of the second that was not simulated could turn that round."
    return [text]


def drawn(records: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """The step of every system as a bar, stacked by where its time goes, one panel for each model.

    Parameters
    ----------
    records : mapping of str to list of dict
        By model.
    path : Path
    """
    from topo.report.style import look, save, styled

    with styled() as pyplot:
        rows = [max(len(some), 1) for some in records.values()]
        figure, axes = pyplot.subplots(
            len(records),
            figsize=(7.5, 1.4 + 0.36 * sum(rows)),
            layout="constrained",
            sharex=True,
            gridspec_kw={"height_ratios": rows},
            squeeze=False,
        )
        for axis, (model, some) in zip(axes[:, 0], records.items(), strict=True):
            start = [0.0] * len(some)
            for number, (name, of) in enumerate(PIECES.items()):
                width = [of(record) * 100 for record in some]
                kind = look(number)
                axis.barh(
                    range(len(some)),
                    width,
                    left=start,
                    height=0.7,
                    color=kind.color,
                    hatch=kind.hatch,
                    edgecolor="white",
                    linewidth=0.5,
                    label=name,
                )
                start = [a + b for a, b in zip(start, width, strict=True)]
            axis.set_yticks(range(len(some)), [record["system"] for record in some])
            axis.invert_yaxis()
            axis.set_title(model)
            axis.grid(False, axis="y")
        axes[-1, 0].set_xlabel("% of the step")
        axes[-1, 0].set_xlim(0, 100)
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
        save(figure, path)


def _share(*parts: str) -> Callable[[dict[str, Any]], float]:
    return lambda record: sum(record["split"].get(part, 0.0) for part in parts) / float(record["step_s"])


def _again(record: dict[str, Any]) -> float:
    """Share of the step that computes at the peak what was computed before."""
    return max(float(record["hardware_flops"] - record["model_flops"]), 0.0) / (
        record["peak"] * record["step_s"]
    )


PIECES: dict[str, Callable[[dict[str, Any]], float]] = {
    "the model's FLOPs at the peak (MFU)": lambda record: float(record["mfu"]),
    "computed again": _again,
    "kernels below the peak": lambda record: _share("compute")(record) - record["mfu"] - _again(record),
    "exposed tensor, context and expert parallel": _share("tp", "cp", "ep"),
    "exposed data and pipeline parallel": _share("dp", "pp"),
    "waiting for weights": _share("weights"),
    "bubble, optimizer, input": _share("bubble", "optimizer", "input"),
}


INTRODUCTION = f"""# Training steps compared

Each machine runs each model under the best plan that a search finds for it, with the system's own communication
library and full contention on its links. About {TOKENS / 2**20:.0f} Mi tokens a step (the batch of a plan may differ by
15 %; systems are compared by tokens/s), 16-bit precision, no overlap of tensor parallel collectives. The mixture of
experts is Mixtral 8x7B: DeepSeek-V3 at this size fits under no plan of gb200-nvl72, by 3.4 GB on each accelerator.

A search lists every plan: degrees of tensor, context (ring and Ulysses), pipeline, data and expert parallelism, four
pipeline schedules, ZeRO 1 to 3, hybrid sharding, recomputation, micro-batches of 1, 2 and 4, even and uneven stages;
and lays it out in every way that differs. A floor under the time of each ([plan search](plan-search.md)) proves most
of them slower than the best, and the others are simulated. *Another plan saves at most* says what that leaves open: 0
is a proof, among the plans listed, that the one shown is the fastest. A search stops after {LIMIT} simulations, or
after fewer where it was told so (`--limit`); each row says how many it took.

Where weights, gradients and optimizer states exceed the memory of the whole machine, no plan exists. Then machines with
memory outside (wse3, dojo) stream the weights from there, a layer at a time, under the best split of the matrices and
with or without recomputation; there is no list of plans to prove anything about, so the column shows a dash. A chip of
wse3 is a reticle field, 84 on a wafer; a chip of dojo is a die.

MFU is the product of three shares: of the peak that the kernels reach, of the step that is computation, and of the
computed FLOPs that are the model's and not computed a second time. The first is mostly an input: a number for each
chip in `topo/training/kernels/`, sourced, fitted to published runs (TPU v5p, H100, GB200), or assumed where
nothing public is measured (trn2-ultra, wse3, dojo). A system that wins by it wins by that number; the other two are
simulated.

Written by `make training-table`.
"""
TITLES = {
    "flops": "## Equal peak FLOP/s\n\nAbout 180 PFLOP/s of dense bf16 each. The most tokens for a FLOP/s of peak "
    "first (the order of MFU), so that what is left of the differences in peak does not count.\n",
    "price": f"""## Equal money

One basis for all: the middle of the system's price range, about 2.6 million USD each, spread over
{LIFETIME_YEARS:g} years; power and people are not in it. The most tokens for a dollar first, so that what is left of
the differences in price does not count.

Prices do not mean the same thing everywhere: that of trn2-ultra is of its chips alone, without servers and network;
that of dojo is an estimate from a plan, as none was ever sold; that of gb200-nvl72 is the rack alone;
dgx-h100 is the servers with their network cards, without switches. So this part shows orders of magnitude.
""",
}


SHORT = {"flops": "equal peak", "price": "equal money"}
PICTURE = "training-comparison.svg"
CAPTION = """Where the step goes under equal peak FLOP/s, the best system first. The first three pieces are computation:
what the model asks for at the peak of the chips, what is computed a second time, and what kernels lose to the peak.
"""


def page(models: list[str], limit: int, jobs: int | None, simulate: bool) -> str:
    """The whole page."""
    lines: list[str] = []
    short: list[str] = []
    missing: list[str] = []
    for key, systems in SECTIONS.items():
        bars: dict[str, list[dict[str, Any]]] = {}
        lines.append(TITLES[key])
        if key == "flops":
            lines += [f"![Where the step goes]({PICTURE})", "", CAPTION]
        for model in models:
            records = []
            for name in systems:
                priced = key != "price" or topo.load(name).price_usd is not None
                record = stored(model, name, limit, jobs, simulate and priced)
                records.append(record)
                if record.get("refused") == "not simulated yet" and (key != "price" or record["price"]):
                    missing.append(f"{model} on {name}")
            lines += [f"### {model}", "", *table(records, key == "price")]
            best = ranked(records, key == "price")
            short += (
                [f"- {model}, {SHORT[key]}: {first_sentence(best, key == 'price')}"] if len(best) > 1 else []
            )
            bars[model] = sorted((r for r in records if "split" in r), key=lambda r: -float(r["mfu"]))
        if key == "flops":
            drawn(bars, HERE / PICTURE)
    if missing:
        short.append(f"\n**Not complete:** not simulated yet are {', '.join(missing)}.")
    return "\n".join([INTRODUCTION, "## In short", "", *short, "", *lines]).rstrip() + "\n"


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, help="processes")
    parser.add_argument("--limit", type=int, default=LIMIT, help="simulations of a search at most")
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--stored", action="store_true", help="simulate nothing, write what is there")
    asked = parser.parse_args()
    text = page(asked.models, asked.limit, asked.jobs, not asked.stored)
    (HERE / "training-comparison.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
