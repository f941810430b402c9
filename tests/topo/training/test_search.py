"""The search of plans: what it lists, that its floor is one, and that pruning loses nothing."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

import topo
from topo.errors import TopoError
from topo.training.named_models import load_model
from topo.training.plan import Plan
from topo.training.scout import Scout
from topo.training.search import (
    Job,
    SearchError,
    SearchResult,
    default_batch,
    search,
    simulate_plan,
)
from topo.training.space import Space, families

MODEL = "layers=8,hidden=2048,heads=16"
SPACE = Space(32, micro_batches=(1, 2), virtual_stages=(2,))
BASE = Plan(seq=2048)


def small(jobs: int = 1, system: str = "dgx-h100") -> SearchResult:
    return search(MODEL, topo.load(system), base=BASE, space=SPACE, jobs=jobs)


def test_every_plan_is_legal_and_listed_once() -> None:
    model = load_model(MODEL)
    plans = [plan for family in families(model, 16, BASE, SPACE) for row in family.plans for plan in row]
    assert len(plans) == len(set(plans)) > 100
    for plan in plans:
        plan.check(model, 16)
        assert abs(plan.batch - 32) <= 0.02 * 32
    assert {plan.tp for plan in plans} == {1, 2, 4, 8, 16}
    assert {plan.schedule for plan in plans} == {"1f1b", "gpipe", "interleaved", "zb-h1"}


def test_ways_of_sharding_context_and_uneven_stages_are_listed() -> None:
    model = load_model("layers=8,hidden=2048,heads=16,vocabulary=200000")
    listed = families(model, 16, Plan(seq=4096), SPACE, domain=8)
    plans = [plan for family in listed for row in family.plans for plan in row]
    assert {plan.context for plan in plans if plan.cp > 1} == {"ring", "ulysses"}
    assert {plan.shard for plan in plans if plan.tp == 1 and plan.cp == plan.pp == 1} == {None, 8}
    assert (1, 1, 1, 1, 1, 1, 2, 0) not in {plan.layer_split for plan in plans}
    assert {plan.layer_split for plan in plans if plan.pp == 2 and plan.virtual_stages == 1} == {None, (5, 3)}


@pytest.mark.parametrize(("name", "text"), [("dgx-h100*2", MODEL), ("tpu-v5p:2x2x4", "mixtral-8x7b")])
def test_no_step_is_faster_than_its_floor(name: str, text: str) -> None:
    system, model = topo.load(name), load_model(text)
    scout = Scout(model, system, system.chip, None)
    job = Job(model, system, None)
    listed = families(model, system.accelerators, BASE, Space(64, micro_batches=(1, 2), virtual_stages=(2,)))
    found = [c for f in listed for c in scout.candidates(f)]
    assert found
    checked = 0
    for number, candidate in enumerate(found[:: max(len(found) // 12, 1)]):
        placed = scout.placed(candidate)
        assert all(other.floor_s >= candidate.floor_s for other in placed)
        chosen = placed[number % len(placed)]
        result = simulate_plan(job, chosen.plan, chosen.placement, "isolated")
        if not isinstance(result, str):
            assert result.step_s >= chosen.floor_s * (1 - 1e-9), (chosen.plan.words, chosen.placement)
            checked += 1
    assert checked > 5


def test_pruning_loses_nothing() -> None:
    """Simulating every plan that fits in every placement finds no better one."""
    system, model = topo.load("dgx-h100"), load_model(MODEL)
    job = Job(model, system, None)
    best = float("inf")
    for family in families(model, 8, BASE, SPACE):
        for row in family.plans:
            for plan in row:
                result = simulate_plan(job, plan, "", "isolated")
                if not isinstance(result, str):
                    best = min(best, result.step_s / result.tokens)
    result = small()
    alone = simulate_plan(job, result.best.plan, result.best.result.placement, "isolated")
    assert not isinstance(alone, str)
    assert alone.step_s / alone.tokens <= best * (1 + 0.02)
    assert result.simulated < result.fitting


def test_processes_do_not_change_the_result() -> None:
    one, two = small(1), small(2)
    assert [f.order for f in one.found] == [f.order for f in two.found]
    assert (one.considered, one.fitting, one.simulated) == (two.considered, two.fitting, two.simulated)


def test_pareto_is_not_beaten() -> None:
    result = small()
    for kept in result.pareto:
        for other in result.found:
            faster = other.order[0] < kept.order[0]
            assert not (faster and other.result.memory_bytes <= kept.result.memory_bytes)
    assert result.best in result.pareto


def test_a_model_that_fits_nowhere_is_refused_with_what_is_missing() -> None:
    with pytest.raises(SearchError, match=r"fits on no plan of dgx-h100.*GB too much"):
        search("llama3-405b", topo.load("dgx-h100"), base=Plan(seq=4096), space=Space(8), jobs=1)


def test_a_batch_of_nothing_divides() -> None:
    assert Space(1000).nearest_batch(24) == 1008
    assert Space(10).nearest_batch(24) == 0
    assert default_batch(8192, 576) == 576
    assert default_batch(8192, 10**6) == 512


def test_commands() -> None:
    from topo.cli.group import topo as command

    options = ["--seq", "2048", "--global-batch", "32", "--jobs", "1", "--json"]
    done = CliRunner().invoke(
        command, ["search", MODEL, "--on", "dgx-h100", *options], catch_exceptions=False
    )
    record = json.loads(done.stdout)
    assert record["considered"] > record["fitting"] > 0
    assert record["best"]["step_s"] == record["plans"][0]["step_s"]
    with pytest.raises(TopoError):
        CliRunner().invoke(command, ["search", "nonsense", "--on", "dgx-h100"], catch_exceptions=False)
    pair = ["compare-step", MODEL, "--on", "dgx-h100", "--on", "dgx-h100", *options]
    done = CliRunner().invoke(command, pair, catch_exceptions=False)
    assert len(json.loads(done.stdout)["systems"]) == 2
