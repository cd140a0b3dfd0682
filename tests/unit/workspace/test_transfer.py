"""What comes in is checked, named and recorded, and what goes out is the same model."""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from malmoi.errors import CheckpointError, ConfigError, UserError, WorkspaceError
from malmoi.files import read_json, write_json
from malmoi.formats.folder import load_model, load_text
from malmoi.inference.sampling import Sampling
from malmoi.inference.session import ChatSession
from malmoi.model.scalar_model import ScalarModel
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.models import (
    find_model,
    list_models,
    model_folder,
    model_names,
    remove_model,
    show_model,
)
from malmoi.workspace.transfer import export_model
from tests.unit.workspace.arrivals import bring_in, nothing_is_left

pytestmark = pytest.mark.usefixtures("float32")
GREEDY = Sampling(temperature=0, max_tokens=6)


def says(workspace: Workspace, model: str) -> str:
    session = ChatSession(*find_model(workspace, model), GREEDY, seed=1)
    return "".join(session.answer("What is a cat?"))


def test_a_folder_comes_in_by_name_is_recorded_and_talks(workspace: Workspace, policy_folder: Path) -> None:
    arrival = bring_in(workspace, str(policy_folder), "smol")
    assert (arrival.name, arrival.facts["kind"], arrival.remark, arrival.is_new) == ("smol", "policy", "", True)
    folder = model_folder(workspace, "smol")
    for name in ("model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"):
        assert (folder / name).read_bytes() == (policy_folder / name).read_bytes()
    with Ledger.open(workspace) as ledger:
        lineage = ledger.lineage("models/smol")
    assert (lineage.run.id, lineage.run.stage, lineage.run.status) == ("0001-import", "import", "done")
    assert lineage.run.settings["source"] == read_json(folder / "malmoi.json")["source"] == str(policy_folder.resolve())
    assert read_json(folder / "malmoi.json")["run"] == "0001-import"
    assert says(workspace, "smol") == says(workspace, str(policy_folder))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_what_goes_out_as_a_folder_comes_in_again(
    workspace: Workspace, policy_folder: Path, tmp_path: Path, dtype: str
) -> None:
    bring_in(workspace, str(policy_folder), "first")
    export_model(workspace, "first", "hf", tmp_path / "out", dtype)
    bring_in(workspace, str(tmp_path / "out"), "second")
    first, second = (load_model(model_folder(workspace, name)) for name in ("first", "second"))
    for name, tensor in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], tensor.to(getattr(torch, dtype)).float()), name
    [one, two] = list_models(workspace)
    stored = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}[dtype]
    assert (one["dtype"], two["dtype"], one["parameters"]) == ("F32", stored, two["parameters"])
    assert one["parameters"] == sum(p.numel() for p in first.parameters())
    assert read_json(tmp_path / "out" / "malmoi.json")["run"] == "0001-import"


@pytest.mark.parametrize(("option", "closeness"), [({}, 0.0), ({"dtype": "float16"}, 1e-3), ({"quant": "q8_0"}, 5e-2)])
def test_what_goes_out_as_gguf_comes_in_again(
    workspace: Workspace, policy_folder: Path, tmp_path: Path, option: dict[str, str], closeness: float
) -> None:
    bring_in(workspace, str(policy_folder), "first")
    export_model(workspace, "first", "gguf", tmp_path / "Out.GGUF", **option)
    bring_in(workspace, str(tmp_path / "Out.GGUF"))
    assert model_names(workspace) == ["first", "out"]
    ids = torch.tensor([[3, 100, 200, 299]])
    with torch.no_grad():
        first, second = (load_model(model_folder(workspace, name))(ids) for name in ("first", "out"))
    assert (first - second).abs().max() <= closeness * first.abs().max()
    (old, template), (new, found) = (load_text(model_folder(workspace, name)) for name in ("first", "out"))
    messages = [{"role": "user", "content": "낱말 <|end|>"}, {"role": "assistant", "content": "A cat."}]
    assert template.encode(old, messages) == found.encode(new, messages)
    with Ledger.open(workspace) as ledger:
        digest = ledger.run("0002-import").settings["sha256"]
    assert digest == hashlib.sha256((tmp_path / "Out.GGUF").read_bytes()).hexdigest()


def test_shards_come_in_as_they_are(workspace: Workspace, policy_folder: Path) -> None:
    tensors = load_file(policy_folder / "model.safetensors")
    (policy_folder / "model.safetensors").unlink()
    shard_of = {name: f"model-0000{1 + (i % 2)}-of-00002.safetensors" for i, name in enumerate(sorted(tensors))}
    for shard in set(shard_of.values()):
        save_file({name: tensor for name, tensor in tensors.items() if shard_of[name] == shard}, policy_folder / shard)
    write_json(policy_folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": shard_of})
    (policy_folder / "notes.txt").write_text("mine")
    bring_in(workspace, str(policy_folder), "smol")
    found = model_folder(workspace, "smol")
    assert {path.name for path in found.glob("*.safetensors")} == set(shard_of.values())
    assert not (found / "notes.txt").exists()
    theirs, ours = load_model(policy_folder).state_dict(), load_model(found).state_dict()
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())


def test_a_reward_model_comes_in_goes_out_and_has_no_gguf(
    workspace: Workspace, reward_folder: Path, tmp_path: Path
) -> None:
    assert bring_in(workspace, str(reward_folder), "scorer").facts["kind"] == "reward"
    export_model(workspace, "scorer", "hf", tmp_path / "out")
    score = load_model(reward_folder, ScalarModel).score.weight
    assert torch.equal(load_model(tmp_path / "out", ScalarModel).score.weight, score)
    config = read_json(model_folder(workspace, "scorer") / "config.json")
    write_json(model_folder(workspace, "scorer") / "config.json", config | {"score_bias": [-0.36941]})
    assert export_model(workspace, "scorer", "hf", tmp_path / "shifted").score_bias == pytest.approx([-0.36941])
    assert load_model(tmp_path / "shifted", ScalarModel).score_bias.item() == pytest.approx(-0.36941)
    for wrong in ([1, 2], 3, ["x"], [float("inf")]):
        (tmp_path / "shifted" / "config.json").write_text(json.dumps(config | {"score_bias": wrong}))
        with pytest.raises(CheckpointError, match=r"config\.json: score_bias must be a list of 1 numbers"):
            load_model(tmp_path / "shifted", ScalarModel)
    [row] = list_models(workspace)
    assert row["kind"] == "reward"
    with pytest.raises(UserError, match="no model here yet"):
        find_model(workspace, None)
    with pytest.raises(ConfigError, match="reward model"):
        export_model(workspace, "scorer", "gguf", tmp_path / "out.gguf")


def test_a_model_without_a_template_gets_a_plain_one_and_says_so(workspace: Workspace, policy_folder: Path) -> None:
    (policy_folder / "chat_template.jinja").unlink()
    assert "given a plain one" in bring_in(workspace, str(policy_folder), "bare").remark
    assert ChatTemplate.load(model_folder(workspace, "bare")) == ChatTemplate.plain()
    assert says(workspace, "bare") is not None


NO_NAMES = (
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "/etc",
    "A",
    "a b",
    ".x",
    "-x",
    "é",
    "x" * 101,
    "a\n",
    "a\x00b",
    "sft",
    "base",
)


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_is_no_name_is_refused(workspace: Workspace, policy_folder: Path, name: str) -> None:
    with pytest.raises(WorkspaceError):
        bring_in(workspace, str(policy_folder), name or ".")
    for action in (show_model, remove_model, lambda here, name: export_model(here, name, "hf")):
        with pytest.raises(WorkspaceError):
            action(workspace, name)
    assert nothing_is_left(workspace)


@pytest.mark.parametrize("to", ["hf", "gguf"])
def test_what_could_not_come_in_does_not_go_out(
    workspace: Workspace, policy_folder: Path, tmp_path: Path, to: str
) -> None:
    bring_in(workspace, str(policy_folder), "smol")
    spoil_by_nan(model_folder(workspace, "smol"))
    with pytest.raises(UserError, match=r"lm_head\.weight has values that are not numbers"):
        export_model(workspace, "smol", to, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_name_is_not_given_twice(workspace: Workspace, policy_folder: Path) -> None:
    bring_in(workspace, str(policy_folder), "smol")
    with pytest.raises(WorkspaceError, match="malmoi models remove smol"):
        bring_in(workspace, str(policy_folder), "smol")
    assert [path.name for path in workspace.runs.glob("*import")] == ["0001-import"]


def test_a_link_out_of_the_workspace_is_not_followed(workspace: Workspace, policy_folder: Path) -> None:
    (workspace.models / "outside").symlink_to(policy_folder)
    (workspace.models / "gone").symlink_to("../runs/0009-ppo/out/model")
    for action in (lambda: export_model(workspace, "outside", "hf"), lambda: find_model(workspace, "outside")):
        with pytest.raises(WorkspaceError, match="points outside the workspace"):
            action()
    with pytest.raises(WorkspaceError, match="is gone; malmoi models remove gone"):
        find_model(workspace, "gone")
    errors = {row["name"]: row["error"] for row in list_models(workspace)}
    assert "outside the workspace" in errors["outside"] and "is gone" in errors["gone"]
    assert not remove_model(workspace, "outside")
    assert (policy_folder / "model.safetensors").exists() and model_names(workspace) == ["gone"]
    remove_model(workspace, "gone")
    assert nothing_is_left(workspace)


def test_removing_takes_the_weights_and_leaves_the_ledger(workspace: Workspace, policy_folder: Path) -> None:
    bring_in(workspace, str(policy_folder), "smol")
    (workspace.models / "alias").symlink_to("../runs/0001-import/out/model")
    assert not remove_model(workspace, "smol")
    assert model_folder(workspace, "alias").is_dir()
    assert remove_model(workspace, "alias")
    with Ledger.open(workspace) as ledger:
        assert [run.status for run in ledger.runs()] == ["done"]
        made = ledger.artefacts_of("0001-import")["model"]
    assert not made.path.exists() and nothing_is_left(workspace)
    with pytest.raises(WorkspaceError, match="no such model here; there is none"):
        remove_model(workspace, "alias")


def test_no_model_is_removed_while_a_recipe_reads_it(workspace: Workspace, policy_folder: Path) -> None:
    bring_in(workspace, str(policy_folder), "smol")
    folder = model_folder(workspace, "smol")
    with workspace.keeping(folder), pytest.raises(WorkspaceError, match=r"smol \(0001-import\): is in use by"):
        remove_model(workspace, "smol")
    assert model_folder(workspace, "smol") == folder
    assert remove_model(workspace, "smol")


def spoil_by_nan(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"][0, 0] = float("nan")
    save_file(tensors, folder / "model.safetensors")


def test_what_a_killed_import_left_goes_with_the_next(workspace: Workspace, policy_folder: Path) -> None:
    (workspace.runs / ".incoming-x").mkdir()
    (workspace.runs / ".incoming-x" / "model.gguf").write_bytes(b"half of it")
    bring_in(workspace, str(policy_folder), "smol")
    assert [path.name for path in workspace.runs.iterdir() if path.is_dir()] == ["0001-import"]


SMOLLM2 = Path(os.environ.get("MALMOI_SMOLLM2_GGUF", "no such file"))


def test_a_name_is_taken_once(workspace: Workspace, policy_folder: Path) -> None:
    def bring(_: int) -> str:
        try:
            return bring_in(workspace, str(policy_folder), "smol").name
        except WorkspaceError as error:
            return str(error)

    with ThreadPoolExecutor(3) as pool:
        told = sorted(pool.map(bring, range(3)))
    assert told[0] == "smol" and all(line.startswith("smol: there is such a model") for line in told[1:])
    with Ledger.open(workspace) as ledger:
        assert [run.status for run in ledger.runs()] == ["done"]
