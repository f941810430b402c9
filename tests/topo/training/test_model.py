"""Parameters and FLOPs against published counts and closed forms."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from topo.training.model import Model, ModelError
from topo.training.named_models import ALIASES, entries, load_model, names, plain_model

PUBLISHED = [name for name in names() if "parameters" in entries()[name]]


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_the_published_ones(name: str) -> None:
    model, published = load_model(name), entries()[name]["parameters"]
    assert model.parameters == pytest.approx(published["value"], rel=published.get("tolerance", 1e-12))
    if "active" in published:
        assert model.active_parameters == pytest.approx(
            published["active"], rel=published["active_tolerance"]
        )


@pytest.mark.parametrize("name", names())
def test_every_entry_has_a_source(name: str) -> None:
    assert len(entries()[name]["source"]) > 10
    assert load_model(name).source


def test_the_models_of_the_field_are_there() -> None:
    wanted = "gpt3-175b llama3-8b llama3-70b llama3-405b llama2-70b mixtral-8x7b mixtral-8x22b deepseek-v3 "
    wanted += "nemotron4-15b nemotron4-340b qwen2.5-72b qwen3-30b-a3b qwen3-235b-a22b grok-1"
    for name in wanted.split():
        assert load_model(name).name == name
    assert all(target in names() for target in ALIASES.values())


def test_llama_layer() -> None:
    assert load_model("llama3-8b").layer_parameters() == 218_112_000


def test_flops_of_llama() -> None:
    """15.01 G in matrices and 2.15 G in causal attention per token, to the rounding of these figures."""
    model = load_model("llama3-8b")
    attention = model.layers * model.attention_flops(8192)
    assert attention == pytest.approx(2.15e9, rel=2e-3)
    assert model.forward_flops(8192) - attention == pytest.approx(15.01e9, rel=1e-3)


def test_megatron_closed_form() -> None:
    """72 B s L h^2 (1 + s / 6h + V / 12Lh) with full attention; 3.386e18 for GPT-3 and 1,536 sequences."""
    model = plain_model({"layers": 96, "hidden": 12288, "heads": 96, "vocabulary": 51200})
    seq, batch = 2048, 1536
    formula = 72 * batch * seq * 96 * 12288**2 * (1 + seq / (6 * 12288) + 51200 / (12 * 96 * 12288))
    assert model.step_flops(seq, batch * seq, causal=False) == pytest.approx(formula, rel=1e-12)
    assert formula == pytest.approx(3.386e18, rel=2e-3)


def test_gpt_parameters_closed_form() -> None:
    model = load_model("gpt3-175b")
    h, layers, vocabulary, seq = 12288, 96, 50257, 2048
    formula = 12 * layers * h**2 * (1 + 13 / (12 * h) + (vocabulary + seq) / (12 * layers * h))
    assert model.parameters == pytest.approx(formula + 2 * h, rel=1e-12)  # the last norm


@pytest.mark.parametrize(
    ("tp", "sequence_parallel", "recompute", "flash", "expected"),
    [
        (1, False, "none", False, 2.87e9),
        (8, False, "none", False, 579e6),
        (8, True, "none", False, 359e6),
        (8, True, "selective", False, 107e6),
        (1, False, "full", False, 50e6),
    ],
)
def test_activation_memory(
    tp: int, sequence_parallel: bool, recompute: str, flash: bool, expected: float
) -> None:
    """Korthikanti et al.: one layer of GPT-3, one sequence of 2,048."""
    found = load_model("gpt3-175b").activation_bytes(
        2048, recompute, seq=2048, tp=tp, sequence_parallel=sequence_parallel, flash=flash
    )
    assert found == pytest.approx(expected, rel=0.01)


def test_each_policy_keeps_less() -> None:
    for name in ("llama3-70b", "gpt3-175b", "deepseek-v3"):
        model = load_model(name)
        kept = [
            model.activation_bytes(4096, policy, seq=4096, flash=False)
            for policy in ("none", "selective", "elementwise", "full")
        ]
        assert sorted(kept, reverse=True) == kept
        assert len(set(kept)) == 4


def test_window_is_the_mean_over_the_sequence() -> None:
    model = plain_model({"layers": 1, "hidden": 64, "heads": 4})
    assert model.mean_context(10, 3) == pytest.approx(sum(min(i + 1, 3) for i in range(10)) / 10)
    assert model.mean_context(10) == pytest.approx(5.5)
    assert model.mean_context(10, causal=False) == 10


def test_an_expert_model_spends_only_its_active_experts() -> None:
    model = load_model("mixtral-8x7b")
    matrices = model.forward_flops(4096) - model.layers * model.attention_flops(4096)
    weights = model.active_parameters - model.embedding_parameters - model.hidden * (2 * model.layers + 1)
    assert matrices == pytest.approx(2 * weights, rel=1e-12)


LLAMA = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "rms_norm_eps": 1e-5,
}


def test_config_from_disk(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(LLAMA))
    for text in (str(path), f"{tmp_path}/"):
        model = load_model(text)
        assert model.parameters == 8_030_261_248
        assert model.name == tmp_path.name
    path.write_text(json.dumps({"text_config": LLAMA}))
    assert load_model(str(path)).layers == 32


@pytest.mark.parametrize("field", ["hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"])
def test_a_missing_field_is_named(tmp_path: Path, field: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({key: value for key, value in LLAMA.items() if key != field}))
    with pytest.raises(ModelError, match=f"has no {field}"):
        load_model(str(path))


def test_an_unknown_type_is_read_and_noted(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(LLAMA | {"model_type": "newcomer"}))
    assert "newcomer" in load_model(str(path)).notes[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("llama3-7b", "did you mean 'llama3-70b'"),
        ("layers=2,hidden=64", "has no heads"),
        ("layers=2,hidden=64,heads=5", "does not split into 5 heads"),
        ("layers=2,hidden=64,heads=4,kv_heads=3", "cannot share 3"),
        ("layers=2,hidden=64,heads=4,wings=2", "'wings' is no size"),
        ("layers=2,hidden=64,heads=4,heads=4", "gives heads twice"),
        ("layers=2,hidden=64,heads=4,gated=maybe", "should be true or false"),
        ("layers=2,hidden=64,heads=4,experts=4", "has experts but no per_token"),
        ("layers=2,hidden=64,heads=4,experts=4,per_token=8,expert_ffn=9", "8 of 4 experts"),
        ("/nowhere/config.json", "cannot be read"),
    ],
)
def test_bad_models_say_what_would_be_right(text: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_model(text)


def test_bad_json(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text("{")
    with pytest.raises(ModelError, match="is no JSON"):
        load_model(str(path))
    path.write_text(json.dumps(LLAMA | {"hidden_size": "wide"}))
    with pytest.raises(ModelError, match="hidden_size is 'wide'"):
        load_model(str(path))


def test_multi_token_prediction_adds_a_layer_and_a_head() -> None:
    with_mtp, without = load_model("deepseek-v3-mtp"), load_model("deepseek-v3")
    assert isinstance(with_mtp, Model)
    extra = with_mtp.forward_flops(4096) - without.forward_flops(4096)
    head = 2 * without.vocabulary * without.hidden
    assert extra > head + without.mlp_flops(True)
