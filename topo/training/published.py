"""Published training runs as plans: how a row of ``training_steps.csv`` maps to a model, a plan and a chip.

A row says the degrees, the batches and the precision.  What it leaves open is what the software that ran it does by
default; that is written down here once per software, with its source, and never per row:

- *Megatron* (NVIDIA's recipes: ``dgxc``, ``mbridge``, ``mlm``): distributed optimizer (ZeRO 1) overlapped with the
  computation, sequence parallelism, tensor parallel collectives overlapped by user buffers, interleaved schedules where
  the row gives virtual stages, no recomputation, fused kernels, experts dispatched in 16 bits.  What the recipes of
  Megatron-Bridge switch on by model, chip and release is in ``recipes.yaml`` (:mod:`topo.training.recipes`).  Hybrid
  and later models that are no transformers of :mod:`topo.training.model` are left out.
- *LLM Foundry* (``mosaic``): FSDP, kernels one by one, the attention kernels of 2022; gradients are
  reduced in 32 bits (its mixed precision mode DEFAULT).
- *torchtitan* (``titan``): FSDP 2, recomputation and compilation as the notes say; H100s with 2.4 TB/s and 500 W.
- *MaxText* (``maxtext``, ``tpurec``): FSDP within a slice, data parallelism across slices, full recomputation, one
  compiled program; shards over the ``FSDP`` column (-1: all).
- *MaxText on TPU7x* (``ironwood``): FSDP over all chips, experts not spread; what is computed again by model, and the
  split of long sequences, in ``recipes.yaml``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from topo.errors import TopoError
from topo.system import Chip, System
from topo.training.choice import own_part
from topo.training.model import Model
from topo.training.named_models import load_model
from topo.training.plan import Plan, PlanError
from topo.training.recipes import recipe

MODELS = {
    "llama3.1-8b": "llama3-8b",
    "llama3-8b": "llama3-8b",
    "llama3-70b": "llama3-70b",
    "llama3.1-70b": "llama3-70b",
    "llama3.1-405b": "llama3-405b",
    "llama2-70b": "llama2-70b",
    "DeepSeekV3": "deepseek-v3-mtp",
    "DeepSeekV3 (tokendrop)": "deepseek-v3-mtp",
    "DeepSeekV3 (dropless)": "deepseek-v3-mtp",
    "DeepSeekV3 (w/o MTP)": "deepseek-v3",
    "GPT OSS 120B": "gpt-oss-120b",
    "Qwen3_30B_a3B": "qwen3-30b-a3b",
    "Qwen3_30B_a3B (tokendrop)": "qwen3-30b-a3b",
    "Qwen3_235B_a22B": "qwen3-235b-a22b",
    "Qwen3_235B_a22B (tokendrop)": "qwen3-235b-a22b",
    "mixtral-8x7b": "mixtral-8x7b",
    "mixtral-8x22b": "mixtral-8x22b",
    "gpt3-175b": "gpt3-175b",
    "mistral-7b": "mistral-7b",
    "gemma3-12b": "gemma3-12b",
    "deepseek-v3": "deepseek-v3",
    "gpt-oss-120b": "gpt-oss-120b",
    "qwen3-235b-a22b": "qwen3-235b-a22b",
}
PRECISIONS = {
    "bf16": "bf16",
    "amp_bf16": "bf16",
    "amp_fp8": "fp8",
    "float8": "fp8",
    "mxfp8": "fp8",
    "nvfp4": "fp4",
}
IDLE_W = 220.0
"""Watts of a busy H100 that do not depend on its clock (memory, leakage), an estimate; the rest grows with its cube."""


SLICE = 256
"""Chips of the largest slice of TPU v5e and v6e."""
LONG = 65536
"""Tokens of a sequence from which on recipes split sequences."""


class RowError(TopoError):
    """A row that does not say all that a plan needs."""


@dataclass(frozen=True)
class Published:
    """A row as something to simulate.

    Parameters
    ----------
    id : str
    system : str
        Name of the system.
    model : Model
    plan : Plan
    measured_s : float
        Seconds of the step.
    derived : bool
        The source gives tokens or FLOPs per second, from which the seconds follow.
    chip : mapping of str to float, optional
        Chip figures that differ from the catalogue's: ``memory_bandwidth`` (B/s), ``clock`` (share of the chip's own).
    """

    id: str
    system: str
    model: Model
    plan: Plan
    measured_s: float
    derived: bool = False
    chip: Mapping[str, float] | None = None

    def adapted(self, system: System) -> System:
        """As much of the system as the plan needs, evenly from its domains, with the row's chip."""
        system = part_of(system, self.plan.ranks)
        if not self.chip or system.chip is None:
            return system
        chip: Chip = system.chip
        clock = self.chip.get("clock", 1.0)
        return replace(
            system,
            chip=replace(
                chip,
                memory_bandwidth=self.chip.get("memory_bandwidth", chip.memory_bandwidth),
                peak_flops={precision: value * clock for precision, value in chip.peak_flops.items()},
            ),
        )


def part_of(system: System, accelerators: int) -> System:
    """A system of which only some accelerators are used, as many of each scale-up domain.

    Raises
    ------
    RowError
        It has too few, or they cannot be taken evenly.
    """
    fabric = system.fabric
    if fabric.ranks == accelerators:
        return system
    whole = -(-accelerators * fabric.domains // fabric.ranks)
    while whole <= fabric.domains and accelerators % whole:
        whole += 1
    inside = fabric.ranks // fabric.domains
    if whole > fabric.domains or accelerators // whole > inside:
        raise RowError(f"{system.name} has no even part of {accelerators} accelerators", "name a larger one")
    ranks = (np.arange(whole)[:, None] * inside + np.arange(accelerators // whole)).ravel()
    return replace(system, fabric=own_part(fabric, ranks).fabric)


def _number(row: Mapping[str, str], key: str) -> int:
    text = row.get(key, "").strip()
    return int(float(text)) if re.fullmatch(r"-?\d+(\.0)?", text) else 0


def plan_of_row(row: Mapping[str, str]) -> Published:
    """What to simulate for a row.

    Parameters
    ----------
    row : mapping
        A row of ``training_steps.csv``.

    Raises
    ------
    RowError
        The row leaves open what a plan needs, or is of a model that is not built here.
    """
    source = row["id"].split("_")[0]
    if source not in RECIPES:
        raise RowError(f"{row['id']} is no row with a plan", f"known are {', '.join(RECIPES)}")
    model = _model(row)
    devices = _number(row, "devices")
    seq = _number(row, "seq") or (2048 if model.name == "gpt3-175b" else 0)
    if not (devices and seq and row["target"]):
        raise RowError(f"{row['id']} does not say the devices, the sequence or the system", "left out")
    if model.positions:
        model = replace(model, positions=seq)
    keys, chip = RECIPES[source](row, model, devices, seq)
    try:
        plan = Plan(seq=seq, precision=_precision(row), **keys)
        plan.check(model, devices)
    except PlanError as error:
        raise RowError(f"{row['id']}: {error.message}", "left out") from error
    measured, derived = _seconds(row, model, plan, devices)
    return Published(row["id"], _system(row), model, plan, measured, derived, chip)


def _model(row: Mapping[str, str]) -> Model:
    name = row["model"]
    if name.startswith("MPT-"):
        return load_model(name.lower())
    if name.startswith("MaxText "):
        return load_model(f"maxtext-{name.split()[1].lower()}")
    if name.startswith("llama3.1-405b-proxy"):
        return replace(load_model("llama3-405b"), layers=_number(row, "layers"))
    if name not in MODELS:
        raise RowError(f"{row['id']}: model {name!r} is not built here", "left out")
    return load_model(MODELS[name])


def _precision(row: Mapping[str, str]) -> str:
    text = row["precision"].lower()
    return PRECISIONS.get(text) or ("fp8" if text.startswith("fp8") else "bf16")


def _system(row: Mapping[str, str]) -> str:
    """The row's target; TPU slices by their shape."""
    target, devices = row["target"], _number(row, "devices")
    if target == "tpu-v5e":
        return "tpu-v5e:16x16" + (f"*{devices // SLICE}" if devices > SLICE else "")
    if target == "tpu-v6e":
        shape = {8: "2x4", 16: "4x4", 32: "4x8", 64: "8x8", 128: "8x16"}.get(devices, "16x16")
        return f"tpu-v6e:{shape}" + (f"*{devices // SLICE}" if devices > SLICE else "")
    if target == "tpu-v7":
        cube = {64: "4x4x4", 128: "4x4x8", 256: "4x8x8"}.get(devices)
        return f"tpu-v7:{cube}" if cube else target
    if target == "tpu-v4":
        chips = 64 if "22B" in row["model"] else 192
        shape = "4x4x4" if chips == 64 else "4x4x12"
        return f"tpu-v4:{shape}" + (f"*{devices // chips}" if devices > chips else "")
    return target


def _seconds(row: Mapping[str, str], model: Model, plan: Plan, devices: int) -> tuple[float, bool]:
    """Measured seconds of a step; from tokens per second, or from FLOP/s by the source's own formula."""
    try:
        return float(row["step_time_s"]), False
    except ValueError:
        pass
    try:
        return plan.tokens / (float(row["tokens_per_s_per_device"]) * devices), True
    except ValueError:
        pass
    try:
        flops = float(row["tflops_per_device"]) * 1e12
    except ValueError as error:
        raise RowError(f"{row['id']} has no measured time", "left out") from error
    # MaxText counts every weight but the embedding, and attention without causality.
    return model.step_flops(plan.seq, plan.tokens, causal=False) / (flops * devices), True


# One function for each source ---------------------------------------------------------------------------


Recipe = tuple[dict[str, Any], dict[str, float] | None]


def _degrees(row: Mapping[str, str], devices: int) -> dict[str, int]:
    found = {axis.lower(): max(_number(row, axis), 1) for axis in ("TP", "PP", "CP", "EP")}
    inner = found["tp"] * found["pp"] * found["cp"]
    if devices % inner:
        raise RowError(f"{row['id']}: its degrees do not divide {devices} devices", "left out")
    return {**found, "dp": devices // inner}


def _megatron(row: Mapping[str, str], model: Model, devices: int, seq: int) -> Recipe:
    keys: dict[str, Any] = dict(_degrees(row, devices))
    if not (_number(row, "global_batch") and _number(row, "micro_batch") and row["TP"]):
        raise RowError(f"{row['id']} does not say its batches or degrees", "left out")
    virtual = _number(row, "VP")
    keys |= {
        "global_batch": _number(row, "global_batch"),
        "micro_batch": _number(row, "micro_batch"),
        "zero": 1,
        "overlap_tp": True,
    }
    if keys["pp"] > 1:
        keys["overlap_pp"] = virtual > 1
        if virtual > 1:
            keys |= {"schedule": "interleaved", "virtual_stages": virtual}
    release = re.search(r"container (\d+(?:\.\d+)+)", row["notes"])
    if release:
        keys |= recipe("megatron-bridge", model.name, row["target"], _precision(row), release[1])
    if _number(row, "FSDP") > 1:
        keys |= {"zero": 3, "reshard": True}
    return keys, None


def _mosaic(row: Mapping[str, str], model: Model, devices: int, seq: int) -> Recipe:
    again = "checkpointing=True" in row["notes"]
    return {
        "dp": devices,
        "zero": 3,
        "global_batch": _number(row, "global_batch"),
        "micro_batch": _number(row, "micro_batch"),
        "recompute": "full" if again else "none",
        "compiled": False,
        "attention": "flash-1",
    }, None


def _titan(row: Mapping[str, str], model: Model, devices: int, seq: int) -> Recipe:
    keys: dict[str, Any] = dict(_degrees(row, devices))
    notes, name = row["notes"], row["id"]
    local = re.search(r"local batch (\d+)", notes)
    batch = _number(row, "global_batch") or (int(local[1]) * keys["dp"] if local else 0)
    if not batch:
        raise RowError(f"{name} does not say its batch", "left out")
    each = batch // keys["dp"]
    keys |= {
        "zero": 3,
        "global_batch": batch,
        "micro_batch": each if keys["pp"] == 1 else max(each // keys["pp"], 1),
        "recompute": "half" if "selective" in notes else "full",
        "compiled": "compile" in name or "8b" not in name or "cp" in name,
        "overlap_tp": "AsyncTP" in notes or "405b" in name,
        "reshard": keys["pp"] == 1,
        "attention": "flash-2",
        "overlap_cp": False,
        "ring": "plain",
    }
    if "interleaved" in notes:
        keys |= {"schedule": "interleaved", "virtual_stages": 2}
    if row["precision"] == "float8":
        keys["parameter_bytes"] = 1.0
    return keys, {"memory_bandwidth": 2.4e12, "clock": ((500.0 - IDLE_W) / (700.0 - IDLE_W)) ** (1.0 / 3.0)}


def _maxtext(row: Mapping[str, str], model: Model, devices: int, seq: int) -> Recipe:
    each = _number(row, "micro_batch")
    if not each:
        raise RowError(f"{row['id']} does not say its batch", "left out")
    shards = _number(row, "FSDP")
    tp = max(_number(row, "TP"), 1)
    # Weights are shared within a slice; a v5e or v6e slice has 256 chips at most.
    slices = max(_number(row, "DP"), devices // SLICE if row["target"] in ("tpu-v5e", "tpu-v6e") else 1, 1)
    data = devices // tp
    shards = data if shards in (-1, 0) else min(shards, data)
    if shards == 1 and devices > 1:
        shards = data // slices
    return {
        "dp": data,
        "tp": tp,
        "zero": 3,
        "shard": shards,
        "micro_batch": each * tp,
        "global_batch": _number(row, "global_batch") or each * devices,
        "recompute": "full",
        "gradient_bytes": 4.0,
        "parameter_bytes": 2.0,
        "overlap_tp": True,
        # The weights of all experts are gathered where the layer's kernel begins, so that nothing hides them.
        "prefetch": 0 if model.experts else 1,
        "overlap_gradients": not model.experts,
    }, None


def _ironwood(row: Mapping[str, str], model: Model, devices: int, seq: int) -> Recipe:
    batch = _number(row, "global_batch")
    choices = recipe("tpu-recipes", model.name, row["target"], _precision(row), "0")
    cp = choices.pop("cp", 1)
    cp = cp if seq > LONG else 1
    if not batch or devices % cp or batch % (devices // cp):
        raise RowError(f"{row['id']} does not say its batch", "left out")
    return {
        "dp": devices // cp,
        "cp": cp,
        "zero": 3,
        "micro_batch": batch // (devices // cp),
        "global_batch": batch,
        **choices,
    }, None


RECIPES = {
    "dgxc": _megatron,
    "mbridge": _megatron,
    "mlm": _megatron,
    "mosaic": _mosaic,
    "titan": _titan,
    "maxtext": _maxtext,
    "tpurec": _maxtext,
    "ironwood": _ironwood,
}
"""What each source's software does where a row says nothing."""
