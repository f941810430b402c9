"""Dataflow machines against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

import topo
from topo.training.dataflow import DataflowError, pipeline_finish, static_dataflow
from topo.training.named_models import load_model
from topo.training.plan import Plan
from topo.training.regions import crossings, lay_regions, winding

SMALL = load_model("layers=8,hidden=1024,heads=16,ffn=4096,vocabulary=32000")


def test_pipeline_throughput_is_one_over_the_slowest() -> None:
    service = [1.0, 3.0, 2.0]
    done = pipeline_finish(service, 10, buffer=2)
    assert done[0] == pytest.approx(6.0)
    assert done[-1] == pytest.approx(6.0 + 9 * 3.0)


def test_neighbours_take_turns_without_room() -> None:
    done = pipeline_finish([1.0, 3.0, 2.0], 10, buffer=1)
    assert done[-1] - done[-2] == pytest.approx(3.0 + 2.0)


def test_even_stages_with_any_room() -> None:
    for buffer in (2, 3, 10):
        assert pipeline_finish([2.0] * 5, 7, buffer)[-1] == pytest.approx(2.0 * (5 + 7 - 1))
    with pytest.raises(DataflowError, match="room for 0"):
        pipeline_finish([1.0], 1, 0)


PLAN = Plan(global_batch=64, seq=1024)


def test_static_dataflow_on_a_wafer() -> None:
    """2 L parts of regions and the transfers between them, one micro-batch after the other."""
    still = static_dataflow(SMALL, topo.load("wse3"), PLAN)
    layers = SMALL.layers + 2
    slowest = max(still.service_s, still.crossing_s)
    assert still.step_s - still.update_s == pytest.approx(still.fill_s + 64 * slowest)
    least = (2 * layers - 1) * still.service_s
    assert least < still.fill_s <= least + 2 * (layers - 1) * still.crossing_s * (1 + 1e-9)
    assert still.step_s >= still.bound_s
    changed = static_dataflow(SMALL, topo.load("wse3"), PLAN, changes=3, reconfiguration_s=0.5)
    assert changed.reconfiguration_s == pytest.approx(1.5)
    assert changed.step_s - still.step_s == pytest.approx(1.5 + 3 * still.fill_s)
    assumed = static_dataflow(SMALL, topo.load("wse3"), PLAN, changes=3)
    assert assumed.reconfiguration_s == pytest.approx(3 * 44e9 / 150e9)


def test_without_room_regions_take_turns() -> None:
    roomy = static_dataflow(SMALL, topo.load("wse3"), PLAN, buffer=2)
    tight = static_dataflow(SMALL, topo.load("wse3"), PLAN, buffer=1)
    each = roomy.service_s
    assert tight.step_s - roomy.step_s >= 60 * min(each, roomy.crossing_s)


def test_slow_links_bind() -> None:
    """With links far too slow for the activations every transfer takes the time of its bytes."""
    system = topo.load("dojo:1x1,bandwidth=1GB/s")
    found = static_dataflow(SMALL, system, Plan(global_batch=4, seq=1024, recompute="full"))
    assert found.binds == "link"
    assert found.crossing_s == pytest.approx(found.bound_s / 4, rel=1e-3)
    assert found.crossing_s > 8 * found.service_s
    assert found.bound_s <= found.step_s
    assert found.bottleneck.startswith("link ")


def test_more_changes_than_micro_batches() -> None:
    with pytest.raises(DataflowError, match="at most 63"):
        static_dataflow(SMALL, topo.load("wse3"), PLAN, changes=64)


def test_a_model_that_no_wafer_holds() -> None:
    with pytest.raises(DataflowError, match="stream its weights"):
        static_dataflow(load_model("gpt3-175b"), topo.load("wse3"), Plan(global_batch=64, seq=2048))


# Regions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(6, 9), (5, 7), (1, 8), (2, 3, 4), (12,)])
@pytest.mark.parametrize("height", [1, 2, 3])
def test_the_line_visits_everybody_and_its_neighbours_are_near(shape: tuple[int, ...], height: int) -> None:
    line = winding(shape, height)
    assert sorted(line.tolist()) == list(range(int(np.prod(shape))))
    place = np.stack(np.unravel_index(line, (1, 1, *shape)[-3:]), axis=1)
    assert np.abs(np.diff(place, axis=0)).sum(axis=1).max() <= height + 1


def test_regions_hold_what_their_work_asks_for() -> None:
    fabric = topo.load("dojo").fabric
    regions = lay_regions(fabric, [1.0, 2.0, 1.0, 6.0])
    assert regions.ends.tolist() == pytest.approx([0.0, 15.0, 45.0, 60.0, 150.0])
    held = np.zeros(150)
    for layer, work in enumerate((15, 30, 15, 90)):
        ranks, share = regions.parts(layer)
        assert share.sum() == pytest.approx(1.0)
        held[ranks] += share * work
    assert held == pytest.approx(np.ones(150))
    small = lay_regions(topo.load("wse3:2x2").fabric, [1.0, 1.0, 1.0])
    ranks, share = small.parts(1)
    assert share.tolist() == pytest.approx([0.5, 0.5])


def test_transfers_contend_on_the_links_of_the_mesh() -> None:
    """Four dies in a row, a region each, 2 TB/s: every link carries one activation each way, in its time."""
    fabric = topo.load("mesh:4x1,bandwidth=2TB/s,latency=100ns").fabric
    found = crossings(fabric, lay_regions(fabric, [1.0] * 4), 2e9)
    assert found.forward == pytest.approx((1e-3 + 1e-7,) * 3)
    assert found.backward == pytest.approx((1e-3 + 1e-7,) * 3)
    assert found.link_s == pytest.approx(1e-3)
    # Two regions of two dies: the first sends to the third, the second to the fourth, over one link.
    pair = crossings(fabric, lay_regions(fabric, [1.0] * 2), 2e9)
    assert pair.link_s == pytest.approx(1e-3)
    assert pair.forward == pytest.approx((1e-3 + 2e-7,))


def test_layers_on_the_same_die_send_nothing() -> None:
    fabric = topo.load("mesh:2x1").fabric
    found = crossings(fabric, lay_regions(fabric, [1.0] * 4), 1e6)
    assert found.forward[0] == found.forward[2] == found.backward[0] == 0.0
    assert found.forward[1] > 0


@pytest.mark.parametrize("system", ["wse3*2", "dgx-h100*2", "tpu-v5p:2x2x4"])
def test_any_fabric_can_be_laid_out(system: str) -> None:
    """Regions follow each other from domain to domain; transfers cross the scale-out network there."""
    found = static_dataflow(SMALL, topo.load(system), Plan(global_batch=8, seq=512), check_memory=False)
    assert found.step_s >= found.bound_s > 0
    assert found.crossing_s > 0
