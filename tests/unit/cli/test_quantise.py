"""What fewer bits cost is measured, and formats that are not there are refused."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from malmoi.cli import app
from malmoi.formats.folder import save_model
from malmoi.model.config import ModelConfig
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate

pytestmark = pytest.mark.usefixtures("float32")


@pytest.fixture
def wide_folder(tmp_path: Path, tokenizer: Tokenizer, template: ChatTemplate) -> Path:
    """A network whose widths the kernels can read."""
    torch.manual_seed(1)
    shape = ModelConfig(vocab_size=304, n_layer=2, n_embd=64, n_head=2, n_kv_head=1, head_dim=32, n_ff=96, seq_len=128)
    save_model(tmp_path / "wide", LanguageModel(shape), tokenizer, template, {})
    return tmp_path / "wide"


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "held.txt"
    path.write_text("The dog sat on the log. 말모이는 낱말을 모으던 일이다. " * 3, encoding="utf-8")
    return path


def test_int8_takes_fewer_bytes_and_moves_the_answers_little(wide_folder: Path, text: Path) -> None:
    command = ["quantise", str(wide_folder), "--weights", "int8", "--text", str(text), "--json"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    usual, int8 = json.loads(done.stdout)["formats"]
    assert (usual["weights"], int8["weights"]) == ("auto", "int8")
    assert int8["bytes"] < 0.75 * usual["bytes"]
    assert usual["agreement"] == 1.0 and 0.8 < int8["agreement"] <= 1.0
    assert int8["bits_per_byte"] == pytest.approx(usual["bits_per_byte"], rel=0.02)
    assert min(usual["tokens_per_s"], int8["tokens_per_s"]) > 0


@pytest.mark.parametrize(
    ("weights", "says"),
    [("int7", 'did you mean "int'), ("int4", "int4 has groups of 32 inputs")],
)
def test_a_format_that_cannot_be_is_refused_in_one_line(
    policy_folder: Path, text: Path, weights: str, says: str
) -> None:
    done = CliRunner().invoke(app, ["quantise", str(policy_folder), "--weights", weights, "--text", str(text)])
    assert done.exit_code == 2 and says in done.output and done.output.count("\n") == 1


def test_text_too_short_to_measure_on_is_refused(policy_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("One line.", encoding="utf-8")
    done = CliRunner().invoke(app, ["quantise", str(policy_folder), "--text", str(tmp_path / "short.txt")])
    assert done.exit_code == 2 and "--text" in done.output


def test_the_next_line_names_the_workspace_and_the_fastest_format(
    wide_folder: Path, text: Path, tmp_path: Path
) -> None:
    place = tmp_path / "a place"
    command = ["quantise", str(wide_folder), "--weights", "int8", "--text", str(text), "--workspace", str(place)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    said = done.stderr.rsplit("next: ", 1)[1].rstrip()
    assert f"--workspace '{place}'" in said
    assert said.endswith(("--weights auto", "--weights int8"))
