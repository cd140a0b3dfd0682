import contextlib
import io
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from malmoi.chat import Chat, converse, find_model, model_names, printable
from malmoi.errors import CheckpointError, DataError, UserError
from malmoi.formats.folder import save_model
from malmoi.inference.sampling import Sampling
from malmoi.model.config import ModelConfig
from malmoi.model.transformer import LanguageModel, ScalarModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate

pytestmark = pytest.mark.usefixtures("float32")
SAMPLING = Sampling(temperature=1.0, max_tokens=12)


@pytest.fixture
def models(tmp_path: Path, shape: ModelConfig, tokenizer: Tokenizer, template: ChatTemplate) -> Path:
    """A workspace's models, of random weights."""
    shape = shape.model_copy(update={"seq_len": 64})
    for seed, name in enumerate(("base", "sft", "ppo", "reward")):
        torch.manual_seed(seed)
        model = ScalarModel(shape) if name == "reward" else LanguageModel(shape)
        save_model(tmp_path / "models" / name, model, tokenizer, template, {})
    return tmp_path / "models"


@pytest.fixture
def chat(models: Path) -> Chat:
    return Chat(None, models, SAMPLING, seed=1)


@given(st.text() | st.text(alphabet="\x1b\x07\x9b[2Jm\r\n\t\u202e한"))
def test_nothing_that_steers_a_terminal_gets_through(text: str) -> None:
    shown = printable(text)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)
    assert [c for c in shown if c.isprintable()] == [c for c in text if c.isprintable()]


def test_lines_letters_and_emoji_stay() -> None:
    assert printable("\x1b[31m말모이\x1b[0m\n\t👩\u200d💻\r\x07") == "[31m말모이[0m\n\t👩\u200d💻"


def test_the_default_model_is_the_furthest_on(models: Path) -> None:
    assert model_names(models) == ["base", "sft", "ppo"]
    assert find_model(None, models) == ("ppo", models / "ppo")
    (models / "ppo").rename(models.parent / "elsewhere")
    assert find_model(None, models)[0] == "sft"
    assert find_model(str(models.parent / "elsewhere"), models) == ("elsewhere", models.parent / "elsewhere")


@pytest.mark.parametrize(("name", "message"), [("pop", 'did you mean "ppo"'), ("no/where", "no such model folder")])
def test_an_unknown_model_is_named_with_what_there_is(models: Path, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        find_model(name, models)
    assert "base, sft, ppo" in str(caught.value)


def test_a_workspace_without_models_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="malmoi demo"):
        find_model(None, tmp_path)


def test_a_reward_model_cannot_be_talked_with(models: Path) -> None:
    with pytest.raises(CheckpointError, match="scores answers"):
        Chat("reward", models, SAMPLING)


def test_the_same_seed_gives_the_same_conversation(models: Path) -> None:
    texts = [[list(Chat("sft", models, SAMPLING, seed).answer("cat")) for _ in range(2)] for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_turns_are_kept_and_the_oldest_leave_when_the_context_is_full(chat: Chat) -> None:
    n_dropped = []
    for number in range(8):
        list(chat.answer(f"list {number}"))
        n_dropped.append(chat.n_dropped)
        assert [m["role"] for m in chat.messages] == ["user", "assistant"] * (len(chat.messages) // 2)
        assert chat.messages[-2]["content"] == f"list {number}"
    assert n_dropped[:2] == [0, 0]
    assert any(n_dropped)
    assert len(chat.messages) < 16


@pytest.mark.parametrize(("text", "message"), [("x" * 500, "reads at most"), ("half \udced", "not UTF-8")])
def test_a_message_that_cannot_be_read_changes_nothing(chat: Chat, text: str, message: str) -> None:
    list(chat.answer("cat"))
    before = list(chat.messages)
    with pytest.raises(DataError, match=message):
        list(chat.answer(text))
    assert chat.messages == before


def test_a_stopped_answer_keeps_what_was_said(chat: Chat) -> None:
    with contextlib.closing(chat.answer("cat")) as pieces:
        first = next(pieces)
    assert chat.messages[-1] == {"role": "assistant", "content": first.rstrip()}


def test_commands_switch_models_and_keep_the_conversation(chat: Chat, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["cat", "/model sft", "/model", "/modle", "/model nix", "/help", "", "dog", "/quit", "never"]
    converse(chat, lines, interactive=True)
    out, err = capsys.readouterr()
    assert chat.name == "sft"
    assert [m["content"] for m in chat.messages[::2]] == ["cat", "dog"]
    assert out.startswith("ppo> ")
    assert "sft> " in out
    for words in ("now sft", "talking with sft", "did you mean /model?", "error: nix: no such model", "/reset: forget"):
        assert words in err
    converse(chat, ["/reset"], interactive=True)
    assert chat.messages == []


def test_where_nobody_types_an_error_ends_the_program(chat: Chat, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError):
        converse(chat, ["cat", "/model nix", "dog"], interactive=False)
    assert not capsys.readouterr().out.startswith("ppo> ")
    assert len(chat.messages) == 2


class CtrlC(io.StringIO):
    """An output whose reader presses Ctrl-C at the first piece of an answer."""

    def flush(self) -> None:
        if self.getvalue() and not self.getvalue().endswith("\n"):
            signal.raise_signal(signal.SIGINT)


def test_ctrl_c_stops_the_answer_and_not_the_program(
    chat: Chat, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", CtrlC())
    converse(chat, ["cat", "dog"], interactive=True)
    monkeypatch.undo()
    assert capsys.readouterr().err.count("(stopped)") == 2
    assert [m["content"] for m in chat.messages[::2]] == ["cat", "dog"]


def test_on_a_terminal_ctrl_c_warns_once_and_then_leaves(models: Path) -> None:
    ours, theirs = pty.openpty()
    words = ["chat", "--workspace", str(models.parent), "--max-tokens", "4"]
    child = subprocess.Popen(
        [sys.executable, "-m", "malmoi", *words], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    seen = ""

    def wait_for(pattern: str) -> None:
        nonlocal seen
        until = time.monotonic() + 600
        while not re.search(pattern, seen, re.DOTALL):
            assert time.monotonic() < until, seen
            if select.select([ours], [], [], 0.2)[0]:
                seen += os.read(ours, 4096).decode(errors="replace")

    def press_ctrl_c() -> None:
        time.sleep(0.3)  # readline shows the prompt just before it begins to listen
        child.send_signal(signal.SIGINT)

    try:
        wait_for(r"you> ")
        os.write(ours, "말모이\n".encode())
        wait_for(r"ppo(> |.*without a word).*you> ")
        press_ctrl_c()
        wait_for(r"Ctrl-C again.*you> ")
        press_ctrl_c()
        assert child.wait(600) == 0
    finally:
        child.kill()
        child.wait()
        os.close(ours)
