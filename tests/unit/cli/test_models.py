"""`malmoi models`: tables, JSON, and mistakes that end in one line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from malmoi.cli import app
from malmoi.files import read_json
from malmoi.workspace.folder import Workspace
from malmoi.workspace.known import KNOWN, Known
from malmoi.workspace.models import model_folder, model_names
from tests.unit.workspace.arrivals import bring_in, nothing_is_left

pytestmark = pytest.mark.usefixtures("float32")


def spoil_family(folder: Path) -> None:
    config = read_json(folder / "config.json") | {"model_type": "bloom"}
    (folder / "config.json").write_text(json.dumps(config))


def spoil_weights(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:-100])


def spoil_tokenizer(folder: Path) -> None:
    config = read_json(folder / "config.json") | {"vocab_size": 64}
    (folder / "config.json").write_text(json.dumps(config))


def spoil_by_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def spoil_by_nan(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"][0, 0] = float("nan")
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_by_nan, "lm_head.weight has values that are not numbers"),
        (spoil_family, "bloom"),
        (spoil_weights, "truncated or not safetensors"),
        (spoil_tokenizer, "config.json"),
        (spoil_by_pickle, "pickle"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json: no such file"),
        (lambda folder: (folder / "tokenizer_config.json").write_text("{"), "tokenizer_config.json: not valid JSON"),
        (lambda folder: (folder / "config.json").unlink(), "no config.json"),
    ],
)
def test_what_is_broken_or_not_supported_leaves_nothing(
    workspace: Workspace, policy_folder: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(policy_folder)
    done = CliRunner().invoke(app, ["models", "import", str(policy_folder), "--workspace", str(workspace.path)])
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert message in done.stderr
    assert nothing_is_left(workspace)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pull", "smollm2-135"], "did you mean smollm2-135m?"),
        (["pull", "smollm2-135m", "--name", "../x"], "not a model's name"),
        (["import", "nowhere.gguf"], "nowhere.gguf: no such file or folder"),
        (["import", "a/b/c"], "a/b/c: no such file or folder"),
        (["import", "policy", "--revision", "main"], "is on this machine"),
        (["import", "weights.bin"], "weights.bin: pickled weights can run code"),
        (["import", "weights.gguf"], "weights.gguf"),
        (["export", "smol", "--to", "onnx"], "--to 'onnx': not supported; hf, gguf"),
        (["export", "smol", "--dtype", "int3"], "--dtype 'int3'"),
        (["export", "smol", "--to", "gguf", "--quant", "q1"], "--quant 'q1'"),
        (["export", "smol", "--quant", "q8_0"], "--to gguf"),
        (["export", "smo"], 'did you mean "smol"?'),
        (["export", "smol", "--out", "policy"], "exists already"),
        (["show", "ppo"], "no such model here"),
    ],
)
def test_mistakes_end_in_one_line(
    workspace: Workspace, policy_folder: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(policy_folder.parent)
    Path("weights.bin").write_bytes(b"\x80\x04.")
    Path("weights.gguf").write_bytes(b"GGUF\x03\x00\x00\x00" + b"\xff" * 16)
    bring_in(workspace, str(policy_folder), "smol")
    done = CliRunner().invoke(app, ["models", *words, "--workspace", str(workspace.path)])
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.output
    assert message in done.stderr
    assert (policy_folder / "model.safetensors").exists() and model_names(workspace) == ["smol"]


def test_tables_and_json_say_the_same(workspace: Workspace, policy_folder: Path) -> None:
    bring_in(workspace, str(policy_folder), "smol")

    def told(*words: str) -> str:
        done = CliRunner().invoke(app, ["models", *words, "--workspace", str(workspace.path)])
        assert done.exit_code == 0, done.output
        return done.stdout

    [row] = json.loads(told("list", "--json"))
    shown = json.loads(told("show", "smol", "--json"))
    assert row == {key: shown[key] for key in row}
    assert shown["config"] == read_json(policy_folder / "config.json") and shown["made"]["run"] == "0001-import"
    for text in (told("list"), told("show", "smol")):
        assert "smol" in text and row["family"] in text and "0001-import" in text


def test_what_comes_in_and_goes_out_is_told_with_the_next_command(
    workspace: Workspace, policy_folder: Path, reward_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(policy_folder.parent)
    monkeypatch.setitem(KNOWN, "smol", Known(policy_folder.name))

    def told(*words: str) -> list[str]:
        done = CliRunner().invoke(app, ["models", *words, "--workspace", str(workspace.path)])
        assert done.exit_code == 0, done.output
        return done.stdout.splitlines()

    came, then = told("import", "policy", "--name", "smol")
    assert came.startswith("smol  qwen3, ") and came.endswith(f" parameters, from {policy_folder.resolve()}")
    assert then == f"next    malmoi chat smol --workspace {workspace.path}"
    assert told("pull", "smol") == [f"smol is here already, from {policy_folder.resolve()}"]
    assert len(told("import", "reward", "--name", "scorer")) == 1
    assert told("export", "smol")[0].startswith("smol  ")
    config = read_json(model_folder(workspace, "scorer") / "config.json") | {"score_bias": [-0.36941]}
    (model_folder(workspace, "scorer") / "config.json").write_text(json.dumps(config))
    assert "score_bias of config.json (-0.3694); add it to their scores" in told("export", "scorer")[1]
    (workspace.models / "alias").symlink_to((workspace.models / "smol").readlink())
    assert told("remove", "smol") == ["smol is removed; its weights stay, since they have another name or place"]
    assert told("remove", "alias") == ["alias is removed"]
