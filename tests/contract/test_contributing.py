"""The worked examples of the guides run as they are printed."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from malmoi import stages
from malmoi.cli import app
from malmoi.facts import Figure, Figures
from malmoi.files import read_jsonl
from malmoi.formats.folder import save_model
from malmoi.model.config import ModelConfig
from malmoi.model.transformer import LanguageModel
from malmoi.stage import Finished, InputsByRole
from malmoi.tokenizer.bpe import train_bpe
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.workspace.folder import Workspace

ROOT = Path(__file__).parents[2]
GUIDES = ROOT / "docs" / "guides"


def blocks(page: str, language: str) -> list[str]:
    """The blocks of code of one language in a guide."""
    text = (GUIDES / page).read_text(encoding="utf-8")
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block for name, block in found if name == language]


def test_the_examples_of_an_algorithm_and_a_data_format_pass_their_own_tests(tmp_path: Path) -> None:
    source, folder = tmp_path / "src" / "malmoi", tmp_path / "tests"
    shutil.copytree(ROOT / "src" / "malmoi", source)
    folder.mkdir()
    shutil.copy(ROOT / "tests" / "unit" / "conftest.py", folder / "conftest.py")
    algorithm, test_of_algorithm = blocks("add-an-algorithm.md", "python")
    (source / "algorithms" / "ipo.py").write_text(algorithm, encoding="utf-8")
    (folder / "test_ipo.py").write_text(test_of_algorithm, encoding="utf-8")
    parser, entry, test_of_format = blocks("add-a-data-format.md", "python")
    rows, formats = source / "data" / "rows.py", source / "data" / "formats.py"
    rows.write_text(f"{rows.read_text(encoding='utf-8')}\n\n{parser}", encoding="utf-8")
    before, begin, after = formats.read_text(encoding="utf-8").partition("FORMATS = (\n")
    formats.write_text(before + begin + entry + after, encoding="utf-8")
    (folder / "test_stack_exchange.py").write_text(test_of_format, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, folder],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "src")}, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def type_in(line: str, code: int = 0) -> str:
    """Run a command of a guide; what it printed."""
    done = CliRunner().invoke(app, shlex.split(line)[1:])
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture
def example_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The stage of the guide among the stages, its files in the current folder, and a model named sft in `demo`."""
    (source,), (recipe,) = blocks("add-a-stage.md", "python"), blocks("add-a-stage.md", "toml")
    rows, _ = blocks("add-a-stage.md", "")
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "votes.py").write_text(source, encoding="utf-8")
    (tmp_path / "votes.toml").write_text(recipe, encoding="utf-8")
    (tmp_path / "votes.csv").write_text(rows, encoding="utf-8")
    tokenizer = train_bpe(["What is a list? Values in order. A cat."], vocab_size=280)
    shape = ModelConfig(
        vocab_size=tokenizer.vocab_size, n_layer=1, n_embd=16, n_head=2, n_kv_head=1, head_dim=8, n_ff=24, seq_len=96
    )
    torch.manual_seed(1)
    save_model(
        Workspace.open(tmp_path / "demo").models / "sft", LanguageModel(shape), tokenizer, ChatTemplate.default(), {}
    )
    monkeypatch.setattr(stages, "__path__", [*stages.__path__, str(folder)])
    monkeypatch.chdir(tmp_path)
    yield
    stages._load.cache_clear()
    sys.modules.pop("malmoi.stages.votes", None)


@pytest.mark.usefixtures("example_stage")
def test_the_example_stage_is_one_more_file(tmp_path: Path) -> None:
    _, commands = blocks("add-a-stage.md", "")
    listed, ran, runs, traced = map(type_in, commands.splitlines())
    assert re.search(r"^votes +rankings *$", listed, re.MULTILINE)
    assert "2 rankings" in ran
    assert re.search(r"^0001-votes +done +votes", runs, re.MULTILINE)
    assert re.search(r"── policy: .*sft$", traced, re.MULTILINE) and "── votes: 0001-votes" in traced
    (made,) = (tmp_path / "demo" / "runs").glob("*-votes/out/train.jsonl")
    assert [row["answers"][0] for row in read_jsonl(made)] == ["Values in order.", "차례가 있는 값들이야."]
    shown = stages.find_stage("votes").facts(Finished("votes", "0001-votes", made.parents[1], None, InputsByRole()))
    assert shown.sections[0].title == "Votes" and shown.sections[0].blocks == [Figures([Figure("rankings", 2)])]
    (tmp_path / "votes.csv").write_text("prompt,better,worse\nWhat?,,a cat\n", encoding="utf-8")
    assert "votes.csv:2: prompt, better or worse is empty" in type_in("malmoi run votes.toml --workspace demo", code=2)
