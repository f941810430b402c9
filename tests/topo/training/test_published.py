"""Rows of published runs become the plans that were run."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import topo
from topo.training.plan import Plan
from topo.training.published import RowError, part_of, plan_of_row
from topo.training.step import step

TABLE = Path(topo.__file__).parent / "validation" / "measured" / "training_steps.csv"
ROWS = {row["id"]: row for row in csv.DictReader(TABLE.read_text(encoding="utf-8").splitlines())}


def test_most_rows_with_plans_are_read() -> None:
    read = 0
    for row in ROWS.values():
        try:
            found = plan_of_row(row)
        except RowError as error:
            assert error.hint
            continue
        read += 1
        assert found.measured_s > 0
        assert found.plan.ranks == int(row["devices"])
    assert read > 270


def test_megatron_row() -> None:
    found = plan_of_row(ROWS["dgxc_llama3.1-405b_BF16_512"])
    assert found.plan.words.startswith(
        "tp 8 x cp 2 x pp 8 x dp 4, interleaved v8, ZeRO 1, 64 x 1 sequences of 8192"
    )
    assert (found.system, found.measured_s, found.derived) == ("dgx-h100*64", 19.78, False)


def test_rows_of_other_software() -> None:
    again = plan_of_row(ROWS["mosaic_h100_80gb_30b_2048_8_504_3"])
    assert (again.plan.zero, again.plan.recompute, again.plan.micro_batches) == (3, "full", 21)
    compiled, plain = (
        plan_of_row(ROWS[name]).plan.compiled for name in ("titan_8b_8_fsdp_compile", "titan_8b_8_fsdp")
    )
    assert compiled and not plain
    slices = plan_of_row(ROWS["maxtext_v5e_16B_2x256"])
    assert (slices.system, slices.plan.shards, slices.derived) == ("tpu-v5e:16x16*2", 256, True)


def test_chips_that_differ_from_the_catalogue() -> None:
    found = plan_of_row(ROWS["titan_8b_8_fsdp"])
    chip, own = found.adapted(topo.load(found.system)).chip, topo.load(found.system).chip
    assert chip is not None and own is not None
    assert chip.memory_bandwidth == 2.4e12
    assert 0.8 < chip.peak_flops["bf16"] / own.peak_flops["bf16"] < 0.95


def test_racks_that_are_not_used_whole() -> None:
    system = topo.load("gb200-nvl72*2")
    part = part_of(system, 128)
    assert part.fabric.ranks == 128
    assert part.fabric.domains == 2
    assert part_of(system, 64).fabric.domains == 1
    with pytest.raises(RowError, match="no even part"):
        part_of(system, 146)


def test_a_row_without_a_plan() -> None:
    with pytest.raises(RowError, match="is not built here"):
        plan_of_row(ROWS["ironwood_gemma4-2b_64_bf16_8192_256"])
    with pytest.raises(RowError, match="is not built here"):
        plan_of_row(ROWS["mbridge_26.08_DGX-GB200_DeepSeekV4_Flash_MXFP8_128_2048"])


@pytest.mark.parametrize(
    "name", ["dgxc_llama3.1-8b_BF16_8", "dgxc_llama3.1-70b_FP8_64", "mosaic_a100_80gb_7b_4096_8_256_16"]
)
def test_steps_are_near_the_measured_ones(name: str) -> None:
    found = plan_of_row(ROWS[name])
    system = found.adapted(topo.load(found.system))
    result = step(found.model, system, found.plan, contention="isolated", check_memory=False)
    assert result.step_s == pytest.approx(found.measured_s, rel=0.1)


def test_rows_on_tpu7x() -> None:
    short, long, experts = (
        plan_of_row(ROWS[f"ironwood_{name}"])
        for name in (
            "llama3.1-70b_64_bf16_8192_256",
            "llama3.1-70b_256_bf16_131072_64",
            "deepseek-v3_128_bf16_4096_2048",
        )
    )
    assert (short.system, short.plan.micro_batch, short.plan.cp, short.plan.zero) == ("tpu-v7:4x4x4", 4, 1, 3)
    assert (long.system, long.plan.cp, long.plan.micro_batch) == ("tpu-v7:4x8x8", 4, 1)
    assert (experts.plan.prefetch, experts.plan.overlap_gradients, experts.plan.ep) == (0, False, 1)


def test_choices_of_recipes_follow_chip_and_release() -> None:
    def plan(name: str) -> Plan:
        return plan_of_row(ROWS[f"mbridge_{name}"]).plan

    now, before = (plan(f"{r}_DGX-GB200_DeepSeekV3_MXFP8_256_4096") for r in ("26.08", "26.02"))
    assert (now.graphs, now.overlap_ep, before.graphs, before.overlap_ep) == ("all", True, "static", False)
    assert plan("26.02.01_DGX-B200_GPT_OSS_120B_BF16_64_1280").fused_experts is False
    ring = plan_of_row(ROWS["titan_8b_cp4"]).plan
    assert (ring.ring, ring.overlap_cp) == ("plain", False)
