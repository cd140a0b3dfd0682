"""The service with a vLLM server in place of our engine: here a stand-in with our own engine inside."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from malmoi.errors import UserError
from malmoi.formats.folder import load_model, load_text, save_model
from malmoi.model.config import ModelConfig
from malmoi.model.transformer import LanguageModel
from malmoi.serve.start import Options
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.workspace.folder import Workspace
from tests.unit.serve.conftest import Running, new_chat, person, running, say
from tests.vllm_stand_in import VllmStandIn

HOW = {"max_tokens": 24, "temperature": 1.0, "seed": 3}


@pytest.fixture
def stand_in(spoken: Path) -> Iterator[VllmStandIn]:
    with VllmStandIn((Workspace(spoken).models / "tiny").resolve()) as server:
        yield server


def said(server: Running) -> list[dict[str, Any]]:
    """The events of one answer."""
    with person(server) as client:
        return say(client, new_chat(client, sampling=HOW), "the cat sat")


def test_people_get_the_same_words_as_from_our_engine_and_a_lost_server_is_bridged(
    spoken: Path, stand_in: VllmStandIn, speaking: Running
) -> None:
    expected = said(speaking)[-1]["message"]
    with running(Options(spoken, port=0, vllm=stand_in.url)) as server:
        for dies_after in (None, 0):
            stand_in.dies_after, stand_in.dies_at = dies_after, 5
            events = said(server)
            assert events[-1]["message"]["text"] == expected["text"]
            assert "".join(one["text"] for one in events if one["type"] == "text").strip() == expected["text"].strip()
        assert server.state.service.voice.network is None
    assert (stand_in.n_deaths, stand_in.n_loads) == (1, 0)


def test_a_newer_model_is_given_to_the_server(
    tmp_path: Path, spoken: Path, stand_in: VllmStandIn, policy: LanguageModel
) -> None:
    shutil.copytree(spoken, tmp_path / "w")
    workspace = Workspace(tmp_path / "w")
    with running(Options(workspace.path, port=0, vllm=stand_in.url)) as server:
        before = said(server)[-1]["message"]["text"]
        model = load_model(workspace.models / "tiny", LanguageModel)
        with torch.no_grad():
            model.lm_head.weight.mul_(-1)
        save_model(workspace.models / "younger", model, *load_text(workspace.models / "tiny"), {})
        after = said(server)[-1]["message"]
        assert after["answer"]["voice"] == "younger" and after["text"] != before
        assert stand_in.n_loads == 2  # its own folder is another one than the copy
    with running(Options(workspace.path, port=0, model="younger")) as own:
        assert said(own)[-1]["message"]["text"] == after["text"]


def test_a_server_that_goes_away_is_told_and_is_used_again_when_it_is_back(
    spoken: Path, stand_in: VllmStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("malmoi.serve.start.VLLM_PATIENCE_S", 0.2)
    with running(Options(spoken, port=0, vllm=stand_in.url)) as server:
        expected = said(server)[-1]
        stand_in.n_away = 10**6
        ended = said(server)[-1]
        assert (ended["type"], ended["error"]["code"]) == ("error", "model_failed")
        assert stand_in.url not in str(ended)
        stand_in.n_away = 0
        assert said(server)[-1]["message"]["text"] == expected["message"]["text"]


def test_a_server_that_cannot_be_reached_or_has_another_model_ends_the_start_or_the_answer(
    spoken: Path, tmp_path: Path, shape: ModelConfig, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("malmoi.serve.start.VLLM_PATIENCE_S", 0.1)
    with (
        pytest.raises(UserError, match="is it running there"),
        running(Options(spoken, port=0, vllm="http://127.0.0.1:9")),
    ):
        pass
    save_model(tmp_path / "other", LanguageModel(shape), tokenizer, ChatTemplate.default(), {})
    with (
        VllmStandIn(tmp_path / "other", dev=False) as other,
        running(Options(spoken, port=0, vllm=other.url)) as server,
    ):
        (refused,) = said(server)[-1:]
        assert refused["error"]["code"] == "model_failed"
