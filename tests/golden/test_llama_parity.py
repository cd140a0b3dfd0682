"""Our network beside transformers' Llama and Qwen3: the same numbers, the same gradients, the same folders."""

import os
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch
from torch import nn

from malmoi.data.batch import pad
from malmoi.errors import CheckpointError
from malmoi.files import read_json, write_json
from malmoi.formats.folder import load_model, save_model
from malmoi.formats.huggingface import write_config
from malmoi.model.config import ModelConfig
from malmoi.model.scalar_model import ScalarModel
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("default:::transformers.*")

SHAPES = {
    "one head": {"n_head": 1, "n_kv_head": 1, "head_dim": 2, "n_embd": 6, "n_ff": 10, "n_layer": 1},
    "grouped": {"n_head": 4, "n_kv_head": 2, "head_dim": 8, "n_embd": 24, "n_ff": 20, "n_layer": 2},
    "multi-query, narrow": {"n_head": 3, "n_kv_head": 1, "head_dim": 4, "n_embd": 30, "n_ff": 8, "n_layer": 3},
    "all heads, wide": {"n_head": 2, "n_kv_head": 2, "head_dim": 32, "n_embd": 16, "n_ff": 48, "n_layer": 2},
}
MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is a list?"},
    {"role": "assistant", "content": "A list holds values."},
    {"role": "user", "content": "낱말은 무엇인가? 🐈"},
    {"role": "assistant", "content": "말이다.\n"},
]


def shape(name: str, qk_norm: bool, tied: bool, **more: Any) -> ModelConfig:
    given = {"vocab_size": 37, "seq_len": 24, "rope_theta": 500.0, "norm_eps": 1e-5, **SHAPES[name], **more}
    return ModelConfig(qk_norm=qk_norm, tie_embeddings=tied, **given)


def randomised(model: nn.Module, seed: int = 0) -> Any:
    """Large random weights everywhere, norms included, so that no term is too small to be seen."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(1.0 if parameter.ndim == 1 else 0.0, 0.2)
    return model


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("qk_norm", [False, True], ids=["llama", "qwen3"])
@pytest.mark.parametrize("name", SHAPES)
def test_logits_and_gradients_are_those_of_transformers(name: str, qk_norm: bool, tied: bool) -> None:
    config = shape(name, qk_norm, tied)
    ours = randomised(LanguageModel(config))
    family = "Qwen3" if qk_norm else "Llama"
    theirs_config = getattr(transformers, f"{family}Config")(**write_config(config, eos_token_id=0, pad_token_id=36))
    theirs = getattr(transformers, f"{family}ForCausalLM")(theirs_config)
    theirs.load_state_dict(ours.state_dict(), strict=True)

    # Theirs gives the embedding of the pad token (36) no gradient; ours gets none because nothing is trained on it.
    ids = torch.randint(36, (3, config.seq_len), generator=torch.Generator().manual_seed(1))
    targets, mask = ids.roll(-1, dims=1), torch.rand(ids.shape) < 0.6
    logits, their_logits = ours(ids), theirs(ids).logits
    torch.testing.assert_close(logits, their_logits, atol=1e-5, rtol=1e-5)

    (ours.cross_entropy(ids, targets, mask) / mask.sum()).backward()
    nn.functional.cross_entropy(their_logits[mask], targets[mask]).backward()
    their_gradients = {name: p.grad for name, p in theirs.named_parameters()}
    our_gradients = {name: p.grad for name, p in ours.named_parameters()}
    torch.testing.assert_close(our_gradients, their_gradients, atol=1e-5, rtol=1e-4)
    assert sum(p.numel() for p in ours.parameters()) == config.n_parameters()


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("qk_norm", [False, True], ids=["llama", "qwen3"])
def test_transformers_load_our_folder_of_a_language_model(
    tmp_path: Path, tokenizer: Tokenizer, qk_norm: bool, tied: bool
) -> None:
    config = shape("grouped", qk_norm, tied, vocab_size=tokenizer.vocab_size, seq_len=128)
    ours, template = randomised(LanguageModel(config)), ChatTemplate.default()
    save_model(tmp_path / "model", ours, tokenizer, template, {"run": "r1"})

    theirs, report = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not any(report.values()), report
    assert theirs.config.eos_token_id == theirs.generation_config.eos_token_id == tokenizer.end_of_turn_id
    their_tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    encoded = their_tokenizer.apply_chat_template(MESSAGES, return_dict=True, return_assistant_tokens_mask=True)
    ids, trained = template.encode(tokenizer, MESSAGES)
    assert encoded["input_ids"] == ids
    assert [bool(inside) for inside in encoded["assistant_masks"]] == trained
    asked = their_tokenizer.apply_chat_template(MESSAGES[:2], add_generation_prompt=True, return_dict=True)
    assert asked["input_ids"] == template.encode(tokenizer, MESSAGES[:2], add_generation_prompt=True)[0]
    assert their_tokenizer.decode(ids, skip_special_tokens=True) == tokenizer.decode(ids)
    rows = torch.tensor([ids])
    with torch.no_grad():
        torch.testing.assert_close(ours(rows), theirs(rows).logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("qk_norm", "n_heads"), [(False, 1), (True, 1), (False, 3)], ids=["llama", "qwen3", "ensemble"]
)
def test_transformers_load_our_folder_of_a_reward_model(
    tmp_path: Path, tokenizer: Tokenizer, qk_norm: bool, n_heads: int
) -> None:
    config = shape("grouped", qk_norm, tied=False, vocab_size=tokenizer.vocab_size, seq_len=128)
    ours = randomised(ScalarModel(config, n_heads))
    ours.score_bias.copy_(torch.arange(n_heads).view_as(ours.score_bias) + 0.3694)
    save_model(tmp_path / "model", ours, tokenizer, ChatTemplate.default(), {})

    theirs, report = transformers.AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "model", output_loading_info=True
    )
    assert not any(report.values()), report
    rows, lengths = pad([tokenizer.encode(m["content"]) for m in MESSAGES], tokenizer.pad_id)
    with torch.no_grad():
        scores = ours.scores(rows)[torch.arange(len(rows)), lengths - 1]
        their_scores = theirs(rows, attention_mask=(rows != tokenizer.pad_id).long()).logits
    bias = torch.tensor(theirs.config.score_bias)
    torch.testing.assert_close(scores, their_scores + bias, atol=1e-5, rtol=1e-5)
    again = load_model(tmp_path / "model", ScalarModel)
    assert torch.equal(again.score_bias, ours.score_bias) and torch.equal(again.scores(rows), ours.scores(rows))


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("family", ["Llama", "Qwen3"])
def test_we_load_what_transformers_save(tmp_path: Path, family: str, tied: bool) -> None:
    config = shape("grouped", family == "Qwen3", tied, rope_theta=123.0)
    theirs_config = getattr(transformers, f"{family}Config")(**write_config(config, eos_token_id=1, pad_token_id=2))
    theirs = randomised(getattr(transformers, f"{family}ForCausalLM")(theirs_config))
    theirs.save_pretrained(tmp_path)
    ours = load_model(tmp_path)
    assert ours.config == config
    ids = torch.arange(20)[None]
    with torch.no_grad():
        torch.testing.assert_close(ours(ids), theirs(ids).logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": "gpt2"},
        {"hidden_act": "gelu"},
        {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}},
        {"rope_parameters": {"rope_theta": 500.0, "rope_type": "yarn", "factor": 4.0}},
        {"use_sliding_window": True, "sliding_window": 8},
        {"hidden_size": "wide"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_network_that_ours_cannot_be_is_refused(tmp_path: Path, tokenizer: Tokenizer, change: dict[str, Any]) -> None:
    model = LanguageModel(shape("grouped", True, False, vocab_size=tokenizer.vocab_size))
    save_model(tmp_path / "model", model, tokenizer, ChatTemplate.default(), {})
    path = tmp_path / "model" / "config.json"
    write_json(path, read_json(path) | change)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_model(tmp_path / "model")
