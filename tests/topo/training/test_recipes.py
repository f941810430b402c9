"""What a software's recipes switch on."""

from __future__ import annotations

from topo.training.named_models import names
from topo.training.plan import Plan
from topo.training.recipes import _recipes, recipe


def test_later_releases_launch_all_as_graphs() -> None:
    def graphs(release: str, system: str = "gb200-nvl72*4") -> str:
        found: str = recipe("megatron-bridge", "qwen3-235b-a22b", system, "fp8", release)["graphs"]
        return found

    assert [graphs(release) for release in ("25.11", "26.04.01", "26.06", "26.08")] == [
        "static",
        "static",
        "all",
        "all",
    ]
    assert graphs("26.08", "hgx-b200*8") == "none"


def test_dense_models_have_no_choices_of_experts() -> None:
    assert set(recipe("megatron-bridge", "llama3-70b", "dgx-h100*8", "fp8", "26.02")) == {"gradient_bytes"}


def test_every_rule_is_a_choice_of_a_plan_and_has_a_source() -> None:
    from fnmatch import filter as matching

    for software in _recipes():
        for rule in _recipes()[software]:
            assert rule["source"]
            Plan(**{"ep": 1, **rule["plan"]})
            assert all(matching(names(), pattern) for pattern in rule.get("models", ["*"]))
