"""A conversation goes on over turns, repeats with its seed, and gives up its oldest turns when the context is full."""

import contextlib
from pathlib import Path

import pytest
import torch

from malmoi.errors import CheckpointError, DataError
from malmoi.formats.folder import save_model
from malmoi.inference.sampling import Sampling
from malmoi.inference.session import ChatSession
from malmoi.model.config import ModelConfig
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate

pytestmark = pytest.mark.usefixtures("float32")
SAMPLING = Sampling(temperature=1.0, max_tokens=12)


@pytest.fixture
def folder(tmp_path: Path, shape: ModelConfig, tokenizer: Tokenizer, template: ChatTemplate) -> Path:
    """A model of random weights that reads 64 tokens."""
    torch.manual_seed(2)
    model = LanguageModel(shape.model_copy(update={"seq_len": 64}))
    save_model(tmp_path / "ppo", model, tokenizer, template, {})
    return tmp_path / "ppo"


@pytest.fixture
def session(folder: Path) -> ChatSession:
    return ChatSession("ppo", folder, SAMPLING, seed=1)


def test_a_reward_model_cannot_be_talked_with(session: ChatSession, reward_folder: Path) -> None:
    with pytest.raises(CheckpointError, match="scores answers"):
        session.use("reward", reward_folder, SAMPLING)
    assert session.name == "ppo" and list(session.answer("cat"))


def test_the_same_seed_gives_the_same_conversation(folder: Path) -> None:
    def said(seed: int) -> list[str]:
        session = ChatSession("ppo", folder, SAMPLING, seed)
        return ["".join(session.answer("cat")) for _ in range(2)]

    assert said(1) == said(1) != said(2)


def test_turns_are_kept_and_the_oldest_leave_when_the_context_is_full(session: ChatSession) -> None:
    n_dropped = []
    for number in range(8):
        list(session.answer(f"list {number}"))
        n_dropped.append(session.n_dropped)
        assert [m["role"] for m in session.messages] == ["user", "assistant"] * (len(session.messages) // 2)
        assert session.messages[-2]["content"] == f"list {number}"
    assert n_dropped[:2] == [0, 0]
    assert any(n_dropped)
    assert len(session.messages) < 16


@pytest.mark.parametrize(("text", "message"), [("x" * 500, "reads at most"), ("half \udced", "not UTF-8")])
def test_a_message_that_cannot_be_read_changes_nothing(session: ChatSession, text: str, message: str) -> None:
    list(session.answer("cat"))
    before = list(session.messages)
    with pytest.raises(DataError, match=message):
        list(session.answer(text))
    assert session.messages == before


def test_a_stopped_answer_keeps_what_was_said(session: ChatSession) -> None:
    with contextlib.closing(session.answer("cat")) as pieces:
        first = next(pieces)
    assert session.messages[-1] == {"role": "assistant", "content": first.rstrip()}
