"""Writes docs/training-comparison.md: one training step of three models on six machines, each under its best plan.

Every search is stored in results/training-table as soon as it is done, so an interrupted run goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import topo
from topo.errors import TopoError
from topo.report.plans import WORDS
from topo.training.plan import Plan
from topo.training.search import search
from topo.training.space import Space

HERE = Path(__file__).parent
STORE = HERE.parent / "results" / "training-table"
MODELS = {"llama3-70b": 8192, "mixtral-8x7b": 4096, "gpt3-175b": 2048}
"""Models and the tokens of their sequences."""
TOKENS = 2**21
EQUAL_FLOPS = ("gb200-nvl72", "dgx-h100*24", "tpu-v5p:4x8x12", "trn2-ultra*4", "wse3*11", "dojo*3")
"""About 180 PFLOP/s of dense bf16 each."""
EQUAL_MONEY = ("gb200-nvl72", "dgx-h100*8", "tpu-v5p:4x4x4", "trn2-ultra*2", "wse3*5", "dojo*14")
"""About 300 USD an hour each (270 to 360): the rent, or where none is published the price over four years."""
SPACE = {"micro_batches": (1, 2, 4), "virtual_stages": (2, 4), "schedules": ("1f1b", "interleaved")}
LIMIT = 48
"""Simulations of one search."""


def stored(model: str, name: str, jobs: int | None) -> dict[str, Any]:
    """The search of one model on one system, from the store or done now."""
    path = STORE / f"{model}-{''.join(c if c.isalnum() else '_' for c in name)}.json"
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found
    seq = MODELS[model]
    system = topo.load(name)
    record: dict[str, Any] = {"model": model, "system": name, "accelerators": system.accelerators}
    record["peak"] = system.chip.flops("bf16") * system.accelerators if system.chip else 0.0
    try:
        space = Space(TOKENS // seq, tolerance=0.15, **SPACE)
        result = search(model, system, base=Plan(seq=seq), space=space, jobs=jobs, limit=LIMIT)
        record |= {"best": result.best.result.record(), "considered": result.considered}
        record |= {"simulated": result.simulated, "complete": result.complete}
    except TopoError as error:
        record["refused"] = error.message
    STORE.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1), encoding="utf-8")
    return record


def table(records: list[dict[str, Any]]) -> list[str]:
    """The systems of one comparison, the fastest first, and why it is."""
    able = sorted((r for r in records if "best" in r), key=lambda r: -r["best"]["tokens_per_s"])
    lines = [
        "| system | chips | peak PFLOP/s | tokens/s | MFU | computation | exposed communication | bubble | rest "
        "| USD per 10^12 tokens | plan |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    for r in able:
        best = r["best"]
        share = {part: best[f"{part}_s"] / best["step_s"] for part in WORDS}
        talk = sum(share[axis] for axis in ("tp", "cp", "ep", "dp", "pp"))
        worst = max(("tp", "cp", "ep", "dp", "pp"), key=share.__getitem__)
        money = best["cost_per_trillion_tokens_usd"]
        lines.append(
            f"| {r['system']} | {r['accelerators']} | {r['peak'] / 1e15:.0f} | {best['tokens_per_s']:,.0f} "
            f"| {best['mfu']:.1%} | {share['compute']:.1%} | {talk:.1%}{f' (most {worst})' if talk > 0.001 else ''} "
            f"| {share['bubble']:.1%} | {share['optimizer'] + share['input']:.1%} "
            f"| {f'{money:,.0f}' if money else '-'} | {best['plan']}{'' if r['complete'] else ' (*)'} |"
        )
    lines += ["", *(f"{r['system']}: {r['refused']}." for r in records if "refused" in r), ""]
    return [*lines, *reasons(able), ""]


def reasons(able: list[dict[str, Any]]) -> list[str]:
    """Why the first is before the second, in words."""
    if len(able) < 2:
        return []
    first, second = able[0], able[1]
    a, b = first["best"], second["best"]
    sentences = [f"**{first['system']}** wins with {a['tokens_per_s'] / b['tokens_per_s']:.2f} times the tokens/s of "
                 f"{second['system']}."]  # fmt: skip
    peak = first["peak"] / second["peak"]
    if abs(peak - 1) > 0.05:
        sentences.append(f"It has {peak:.2f} times the peak FLOP/s, and reaches {a['mfu']:.1%} of it against "
                         f"{b['mfu']:.1%}.")  # fmt: skip
    else:
        sentences.append(f"At the same peak FLOP/s it reaches {a['mfu']:.1%} of it against {b['mfu']:.1%}.")
    gaps = {part: b[f"{part}_s"] / b["tokens"] - a[f"{part}_s"] / a["tokens"] for part in WORDS}
    total = sum(gaps.values())
    if total > 0:
        part = max(gaps, key=gaps.__getitem__)
        sentences.append(f"{gaps[part] / total:.0%} of the time that it saves for a token is {WORDS[part]}.")
        part = min(gaps, key=gaps.__getitem__)
        if gaps[part] < -0.05 * total:
            sentences.append(f"It loses on {WORDS[part]}, by {-gaps[part] / total:.0%} of that.")
    sentences.append(f"Its busiest link: {a['bottleneck']}; of the second: {b['bottleneck']}.")
    return [" ".join(sentences)]


def page(jobs: int | None) -> str:
    """The whole page."""
    lines = [
        "# Training steps compared",
        "",
        "Each machine runs each model under the best plan that `topo search` finds for it, with the system's own "
        f"communication library and full contention; about {TOKENS / 2**20:.0f} Mi tokens a step (the batch of a plan "
        "may differ by 15 %, and systems are compared by tokens/s), 16-bit precision, no overlap of tensor parallel "
        f"collectives.  A search simulates at most {LIMIT} plans; one marked (*) stopped there.  Written by "
        "`make training-table`.",
        "",
    ]
    for title, systems in (("Equal peak FLOP/s", EQUAL_FLOPS), ("Equal money", EQUAL_MONEY)):
        lines += [f"## {title}", ""]
        for model in MODELS:
            lines += [f"### {model}", "", *table([stored(model, name, jobs) for name in systems])]
    return "\n".join(lines)


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, help="processes")
    text = page(parser.parse_args().jobs)
    (HERE / "training-comparison.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
