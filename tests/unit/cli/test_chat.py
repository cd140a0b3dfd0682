"""The screen of `malmoi chat`: commands, Ctrl-C, and where nobody types."""

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

from malmoi.cli.answers import Answering
from malmoi.cli.chat import Talk
from malmoi.errors import UserError
from malmoi.formats.folder import save_model
from malmoi.model.config import ModelConfig
from malmoi.model.scalar_model import ScalarModel
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.workspace.folder import Workspace

pytestmark = pytest.mark.usefixtures("float32")
GIVEN = {"temperature": 1.0, "max_tokens": 12}


@pytest.fixture
def workspace(tmp_path: Path, shape: ModelConfig, tokenizer: Tokenizer, template: ChatTemplate) -> Workspace:
    """A workspace with models of random weights, as the runs of a recipe make and name them."""
    workspace = Workspace.open(tmp_path / "workspace")
    shape = shape.model_copy(update={"seq_len": 64})
    for number, name in enumerate(("base", "sft", "reward", "ppo"), start=1):
        torch.manual_seed(number)
        model = ScalarModel(shape) if name == "reward" else LanguageModel(shape)
        save_model(workspace.runs / f"{number:04}-{name}" / "out" / "model", model, tokenizer, template, {})
        (workspace.models / name).symlink_to(f"../runs/{number:04}-{name}/out/model")
    return workspace


@pytest.fixture
def chat(workspace: Workspace) -> Talk:
    answering = Answering.opened(workspace.path, None, no_documents=False, no_record=True)
    return Talk(answering, answering.session(None, GIVEN, 1, "auto", "chat"), GIVEN)


def test_commands_switch_models_and_keep_the_conversation(chat: Talk, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["cat", "/model sft", "/model", "/modle", "/model nix", "/help", "", "dog", "/quit", "never"]
    chat.converse(lines, interactive=True)
    out, err = capsys.readouterr()
    assert chat.session.name == "sft"
    assert [m["content"] for m in chat.session.messages[::2]] == ["cat", "dog"]
    assert out.startswith("ppo> ")
    assert "sft> " in out
    for words in ("now sft", "talking with sft", "did you mean /model?", "error: nix: no such model", "/reset: forget"):
        assert words in err
    chat.converse(["/reset"], interactive=True)
    assert chat.session.messages == []


def test_that_the_context_is_full_is_said_once(chat: Talk, capsys: pytest.CaptureFixture[str]) -> None:
    chat.converse(["cat"] * 6, interactive=True)
    assert capsys.readouterr().err.count("left out from here on") == 1
    chat.converse(["/reset", "cat"], interactive=True)
    assert "left out" not in capsys.readouterr().err
    chat.converse(["cat"] * 6, interactive=True)
    assert capsys.readouterr().err.count("left out from here on") == 1


def test_where_nobody_types_an_error_ends_the_program(chat: Talk, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError):
        chat.converse(["cat", "/model nix", "dog"], interactive=False)
    assert not capsys.readouterr().out.startswith("ppo> ")
    assert len(chat.session.messages) == 2


class CtrlC(io.StringIO):
    """An output whose reader presses Ctrl-C at the first piece of an answer."""

    def flush(self) -> None:
        if self.getvalue() and not self.getvalue().endswith("\n"):
            signal.raise_signal(signal.SIGINT)


def test_ctrl_c_stops_the_answer_and_not_the_program(
    chat: Talk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", CtrlC())
    chat.converse(["cat", "dog"], interactive=True)
    monkeypatch.undo()
    assert capsys.readouterr().err.count("(stopped)") == 2
    assert [m["content"] for m in chat.session.messages[::2]] == ["cat", "dog"]


def test_on_a_terminal_ctrl_c_warns_once_and_then_leaves(workspace: Workspace) -> None:
    ours, theirs = pty.openpty()
    words = ["chat", "--workspace", str(workspace.path), "--max-tokens", "4"]
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
