"""Memory pools: what fits where, and what a byte and a byte per second cost.

Question: Which systems hold a model with its KV cache in one scale-up domain, up to which context, and what do their
memory and memory bandwidth cost?

Method: The memory of one domain is the sum of its chips' memory.  Weights take the precision's bytes for each
parameter; the KV cache takes what the model's attention keeps for each token and sequence.  What is left after the
weights, divided by the cache of a token, is the longest context of the batch; reading all weights and the whole cache
once for each token of the batch, at full memory bandwidth, bounds the tokens a second.  Prices are the catalogue's
lowest and highest, so that cost is an interval.

Falsified if: An engine serves a longer context at the same precision in the same memory, or decodes faster than the
memory bandwidth allows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import topo
from topo.experiment import Experiment, Finding, Parameter, Record, values_of, where
from topo.report.chart import Chart
from topo.training.model import BYTES
from topo.training.named_models import load_model
from topo.units import format_bytes


def measure(on: str, model: str, precision: str, batch: int) -> Mapping[str, Any]:
    """What a domain holds, to which context, how fast and at what price."""
    system = topo.load(on)
    if system.chip is None:
        raise topo.TopoError(f"{on} has no memory: it is a bare fabric", "take a system of the catalogue")
    found = load_model(model)
    memory = system.accelerators * system.chip.memory_bytes
    bandwidth = system.accelerators * system.chip.memory_bandwidth
    weights = found.parameters * BYTES[precision]
    per_token = kv_bytes(found, BYTES[precision])
    left = memory - weights
    context = max(0.0, left / per_token / batch)
    known = {
        "system": on,
        "accelerators": system.accelerators,
        "memory_bytes": memory,
        "memory_bandwidth_Bps": bandwidth,
        "weights_bytes": weights,
        "kv_bytes_per_token": per_token,
        "fits": left > 0,
        "longest_context": context,
        "tokens_per_s": batch / (memory / bandwidth) if left > 0 else 0.0,
    }
    if system.price_range_usd is not None:
        low, high = system.price_range_usd
        known |= {
            "price_low_usd": low,
            "price_high_usd": high,
            "memory_GB_per_kusd_low": memory / 1e9 / (high / 1e3),
            "memory_GB_per_kusd_high": memory / 1e9 / (low / 1e3),
            "bandwidth_GBps_per_kusd_low": bandwidth / 1e9 / (high / 1e3),
            "bandwidth_GBps_per_kusd_high": bandwidth / 1e9 / (low / 1e3),
        }
    return known


def kv_bytes(model: Any, width: float) -> float:
    """Bytes of keys and values that one token of one sequence keeps in all layers."""
    if model.latent is not None:
        return float(model.layers * (model.latent.value_rank + model.latent.rope) * width)
    return float(model.layers * 2 * model.kv_heads * model.head_dim * width)


def finding(records: list[Record]) -> Finding:
    """The largest pool, the longest contexts, and memory for money."""
    sentences, evidence = [], []
    for model in values_of(records, "model"):
        here = where(records, model=model)
        fitting = [record for record in here if record["fits"]]
        size = format_bytes(here[0]["weights_bytes"])
        if not fitting:
            sentences.append(f"{model} ({size} of weights) fits none of {len(here)} domains.")
            continue
        longest = max(fitting, key=lambda record: float(record["longest_context"]))
        evidence.append(longest)
        sentences.append(
            f"{model} ({size} of weights) fits {len(fitting)} of {len(here)} domains, with the longest context in "
            f"{longest['system']}: {longest['longest_context'] / 1e6:.3g} million tokens for each of "
            f"{longest['batch']} sequences."
        )
    priced = [record for record in records if record.get("price_low_usd")]
    if priced:
        best = max(priced, key=lambda record: float(record["memory_GB_per_kusd_low"]))
        fast = max(priced, key=lambda record: float(record["bandwidth_GBps_per_kusd_low"]))
        evidence += [best, fast]
        systems = {record["system"] for record in records}
        sentences.append(
            f"By the higher price, {best['system']} has the most memory for 1,000 USD "
            f"({_interval(best, 'memory_GB_per_kusd', 'GB')}) and {fast['system']} the most memory "
            f"bandwidth ({_interval(fast, 'bandwidth_GBps_per_kusd', 'GB/s')}); {len({r['system'] for r in priced})} "
            f"of {len(systems)} systems have a known price."
        )
    return Finding("  ".join(sentences), evidence)


def _interval(record: Record, name: str, unit: str) -> str:
    """From the highest to the lowest price, or what the only price known gives."""
    low, high = record[f"{name}_low"], record[f"{name}_high"]
    return f"{low:.3g} {unit}, by the one price known" if low == high else f"{low:.3g} to {high:.3g} {unit}"


EXPERIMENT = Experiment(
    doc=__doc__,
    parameters=(
        Parameter(
            "on",
            (
                *(
                    "dgx-a100",
                    "dgx-h100",
                    "hgx-h200",
                    "hgx-b200",
                    "gb200-nvl72",
                    "gb300-nvl72",
                    "mi300x",
                    "mi355x",
                ),
                *(
                    "gaudi3",
                    "trn2",
                    "trn2-ultra",
                    "tpu-v5p:4x4x4",
                    "tpu-v7:4x4x4",
                    "cloudmatrix384",
                    "groq-264",
                ),
            ),
            "Systems of the catalogue, each one scale-up domain.",
        ),
        Parameter("model", ("llama3-70b", "llama3-405b", "deepseek-v3"), "Models."),
        Parameter("precision", ("fp8",), "Of weights and cache: fp32, bf16, fp8 or fp4."),
        Parameter("batch", (16,), "Sequences served at once."),
    ),
    measure=measure,
    finding=finding,
    charts=(
        Chart(
            "Longest context",
            "on",
            "longest_context",
            ("model",),
            "bar",
            x_title="system",
            y_title="million tokens a sequence",
            log_y=True,
            y_factor=1e-6,
            where={"fits": True},
        ),
        Chart(
            "Memory and its bandwidth",
            "memory_bytes",
            "memory_bandwidth_Bps",
            ("on",),
            "pareto",
            x_title="memory of the domain",
            y_title="TB/s",
            log_x=True,
            log_y=True,
            y_factor=1e-12,
        ),
        Chart(
            "Memory for money, by the higher price",
            "on",
            "memory_GB_per_kusd_low",
            (),
            "bar",
            x_title="system",
            y_title="GB for 1,000 USD",
        ),
        Chart(
            "Memory bandwidth for money, by the higher price",
            "on",
            "bandwidth_GBps_per_kusd_low",
            (),
            "bar",
            x_title="system",
            y_title="GB/s for 1,000 USD",
        ),
    ),
)

if __name__ == "__main__":
    from topo.cli.experiment import main

    main(__file__)
