"""What a model folder says of sampling: read as transformers reads it, and written by what trains models to answer."""

import json
from pathlib import Path
from typing import Any

import pytest

from malmoi.errors import CheckpointError
from malmoi.files import read_json, write_json
from malmoi.formats.folder import save_model
from malmoi.formats.generation import FILE, greedy_unless_chosen, sampling_defaults
from malmoi.inference.sampling import Sampling
from malmoi.model.transformer import LanguageModel
from malmoi.pipeline.standalone import train
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate

pytestmark = pytest.mark.usefixtures("float32")


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({}, {}),
        ({"eos_token_id": 2, "max_length": 4096}, {}),
        ({"do_sample": True, "temperature": 0.6, "top_p": 0.9}, {"temperature": 0.6, "top_p": 0.9}),
        ({"temperature": 0.6, "top_k": 20.0, "min_p": None}, {"temperature": 0.6, "top_k": 20}),
        ({"do_sample": False, "temperature": 0.6, "max_new_tokens": 9}, {"temperature": 0.0, "max_tokens": 9}),
        ({"do_sample": False}, {"temperature": 0.0}),
    ],
)
def test_the_file_is_read_as_transformers_reads_it(tmp_path: Path, said: dict[str, Any], found: dict[str, Any]) -> None:
    write_json(tmp_path / FILE, said)
    assert sampling_defaults(tmp_path) == found
    Sampling(**found)


def test_a_folder_without_the_file_says_nothing(tmp_path: Path) -> None:
    assert sampling_defaults(tmp_path) == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [("temperature", "hot"), ("temperature", -1), ("top_p", 0), ("top_k", 2.5), ("temperature", True),
     ("max_new_tokens", 0), ("repetition_penalty", float("nan"))],
)  # fmt: skip
def test_a_value_that_cannot_be_used_is_named(tmp_path: Path, name: str, value: Any) -> None:
    (tmp_path / FILE).write_text(json.dumps({name: value}), encoding="utf-8")
    with pytest.raises(CheckpointError, match=f"{FILE}: {name}: must be a"):
        sampling_defaults(tmp_path)


def test_what_makers_chose_is_kept(tokenizer: Tokenizer) -> None:
    chosen = Tokenizer(tokenizer.backend, tokenizer.settings, {"do_sample": True, "temperature": 0.6, "top_p": 0.9})
    assert greedy_unless_chosen(chosen) is chosen
    for unchosen in (tokenizer, Tokenizer(tokenizer.backend, tokenizer.settings, {"eos_token_id": 2})):
        before = dict(unchosen.generation)
        made = greedy_unless_chosen(unchosen).generation_config()
        assert made["do_sample"] is False and "temperature" not in made and unchosen.generation == before
        assert made["eos_token_id"] == unchosen.generation_config()["eos_token_id"]


def test_a_base_model_is_sampled_and_a_trained_assistant_takes_the_likeliest_answer(
    tmp_path: Path, policy: LanguageModel, tokenizer: Tokenizer, template: ChatTemplate
) -> None:
    save_model(tmp_path / "base", policy, tokenizer, template, {})
    assert sampling_defaults(tmp_path / "base") == {"temperature": 1.0}
    row = {"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "The cat."}]}
    (tmp_path / "chats.jsonl").write_text(json.dumps(row), encoding="utf-8")
    config = f'model = "{tmp_path}/base"\ndata = "{tmp_path}/chats.jsonl"\nn_steps = 1\n'
    (tmp_path / "sft.toml").write_text(config, encoding="utf-8")
    train("sft", tmp_path / "sft.toml", [], tmp_path / "sft")
    assert sampling_defaults(tmp_path / "sft/model") == {"temperature": 0.0}
    transformers = pytest.importorskip("transformers")
    theirs = transformers.GenerationConfig.from_pretrained(tmp_path / "sft/model")
    assert theirs.do_sample is False
    assert theirs.eos_token_id == read_json(tmp_path / "base" / FILE)["eos_token_id"]
