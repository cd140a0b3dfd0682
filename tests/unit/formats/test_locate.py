"""What people give as a model is found, or they are told what it is and how to mend it."""

import json
import shutil
import zipfile
from functools import partial
from pathlib import Path

import pytest

from malmoi.errors import CheckpointError, UserError, WorkspaceError
from malmoi.files import read_json, write_json
from malmoi.formats.folder import load_model, load_text
from malmoi.formats.gguf.write import export_gguf
from malmoi.formats.locate import explain, locate
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.workspace.folder import Workspace
from malmoi.workspace.models import model_folder, model_names, name_for
from malmoi.workspace.transfer import import_model

pytestmark = pytest.mark.usefixtures("float32")
COMMIT, OTHER = "0123456789abcdef0123456789abcdef01234567", "f" * 40
bring_in = partial(import_model, reserved=())
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 269060552\n"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return Workspace.open(tmp_path / "workspace").path


@pytest.fixture
def cached(tmp_path: Path, policy_folder: Path) -> Path:
    """A model as the hub's own client keeps it: snapshots of links to blobs."""
    folder = tmp_path / "hub" / "models--HuggingFaceTB--SmolLM2-135M-Instruct"
    for commit in (COMMIT, OTHER):
        snapshot = folder / "snapshots" / commit
        snapshot.mkdir(parents=True)
        (folder / "blobs").mkdir(exist_ok=True)
        for number, path in enumerate(sorted(policy_folder.iterdir())):
            blob = folder / "blobs" / f"{number:064x}"
            shutil.copyfile(path, blob)
            (snapshot / path.name).symlink_to(Path("../../blobs") / blob.name)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)
    return folder


@pytest.fixture
def gguf(tmp_path: Path, policy: LanguageModel, tokenizer: Tokenizer, template: ChatTemplate) -> Path:
    path = tmp_path / "files" / "Smol-F32.gguf"
    path.parent.mkdir()
    export_gguf(path, policy, tokenizer, template)
    return path


@pytest.mark.parametrize("within", ["", f"snapshots/{COMMIT}", f"snapshots/{COMMIT}/"])
def test_a_snapshot_of_the_hub_is_named_after_its_model(workspace: Path, cached: Path, within: str) -> None:
    bring_in(workspace, f"{cached}/{within}" if within else str(cached))
    folder = model_folder(Workspace.open(workspace), "smollm2-135m-instruct")
    about = read_json(folder / "malmoi.json")
    assert about["commit"] == COMMIT and about["source"].endswith(f"snapshots/{COMMIT}")
    assert not any(path.is_symlink() for path in folder.iterdir())
    load_model(folder), load_text(folder)


def test_a_snapshot_is_chosen_only_where_it_is_plain_which(cached: Path) -> None:
    assert locate(cached) == cached / "snapshots" / COMMIT
    (cached / "refs" / "main").unlink()
    with pytest.raises(CheckpointError, match=f"holds 2 snapshots; give one of them: {COMMIT}, {OTHER}"):
        locate(cached)
    shutil.rmtree(cached / "snapshots" / COMMIT)
    assert locate(cached) == cached / "snapshots" / OTHER
    with pytest.raises(CheckpointError, match=r"no config\.json.*holds models--HuggingFaceTB--SmolLM2-135M-Instruct"):
        locate(cached.parent)
    with pytest.raises(CheckpointError, match=f"the model is .*{OTHER}"):
        load_model(cached)


def test_a_snapshot_whose_files_are_gone_is_named(cached: Path) -> None:
    snapshot = cached / "snapshots" / COMMIT
    (snapshot / "model.safetensors").resolve().unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors: links to a file that does not exist; download"):
        load_model(locate(cached))
    (snapshot / "config.json").resolve().unlink()
    with pytest.raises(CheckpointError, match=r"config\.json links to a file that does not exist; download"):
        locate(cached)


def test_one_gguf_is_found_in_its_folder_and_without_its_ending(workspace: Path, gguf: Path) -> None:
    (gguf.parent / "mmproj-model.gguf").write_bytes(b"GGUF")
    (gguf.parent / "config.json").write_text('{"model_type": "llama"}')  # as repositories of GGUF files have
    bring_in(workspace, str(gguf.parent))
    bare = gguf.with_name("sha256-" + "0" * 64)
    shutil.copyfile(gguf, bare)
    with pytest.raises(WorkspaceError, match="--name"):
        bring_in(workspace, str(bare))
    bring_in(workspace, str(bare), "blob")
    assert model_names(Workspace.open(workspace)) == ["blob", "smol-f32"]
    shutil.copyfile(gguf, gguf.with_name("Smol-Q8.gguf"))
    (gguf.parent / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"holds Smol-F32\.gguf, Smol-Q8\.gguf; import one of them: malmoi"):
        locate(gguf.parent)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_pointer_is_told_from_its_file(workspace: Path, policy_folder: Path, gguf: Path, name: str) -> None:
    (policy_folder / name).write_bytes(POINTER)
    with pytest.raises(CheckpointError, match=rf"{name}: is a Git LFS pointer.*git lfs pull"):
        bring_in(workspace, str(policy_folder))
    if name != "tokenizer.json":
        with pytest.raises(CheckpointError, match="is a Git LFS pointer"):
            load_model(policy_folder)
    gguf.write_bytes(POINTER)
    with pytest.raises(CheckpointError, match=r"Smol-F32\.gguf: is a Git LFS pointer"):
        bring_in(workspace, str(gguf))


def test_what_is_something_else_is_named(workspace: Path, tmp_path: Path, policy_folder: Path) -> None:
    def says(path: Path) -> str:
        with pytest.raises(UserError) as failure:
            bring_in(workspace, str(path), "x")
        assert "\n" not in str(failure.value)
        return str(failure.value)

    adapter = tmp_path / "adapter"
    adapter.mkdir()
    write_json(adapter / "adapter_config.json", {"base_model_name_or_path": "Qwen/Qwen3-0.6B"})
    assert "is a PEFT adapter of Qwen/Qwen3-0.6B" in says(adapter) and "merge_and_unload" in says(adapter)
    (adapter / "adapter_config.json").write_text("{")
    (adapter / "config.json").write_text("{}")
    assert "is a PEFT adapter of another model" in says(adapter)
    assert "is one file of a model; give its folder" in says(policy_folder / "model.safetensors")
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        archive.writestr("config.json", "{}")
    assert "is an archive; unpack it" in says(tmp_path / "model.zip")
    assert f"no config.json), but holds {adapter.name}, {policy_folder.name}" in says(tmp_path)
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "model_index.json").write_text("{}")
    assert "Stable Diffusion 1.x and 2.x are read" in says(tmp_path / "pipeline")
    (tmp_path / "original").mkdir()
    (tmp_path / "original" / "params.json").write_text("{}")
    (tmp_path / "original" / "consolidated.00.pth").touch()
    assert "maker's own form" in says(tmp_path / "original")
    config = read_json(policy_folder / "config.json") | {"quantization": {"group_size": 64, "bits": 4}}
    (policy_folder / "config.json").write_text(json.dumps(config))
    assert "quantised weights are not read" in says(policy_folder)


def test_weights_under_other_names_are_named(policy_folder: Path) -> None:
    (policy_folder / "model.safetensors").rename(policy_folder / "model-00001-of-00001.safetensors")
    with pytest.raises(CheckpointError, match=r"no such file; model-00001-of-00001\.safetensors .* without model"):
        load_model(policy_folder)
    assert explain(policy_folder.parent / "nowhere") == "is not a model folder (no config.json)"


def test_names_are_never_hashes() -> None:
    cached = f"/home/a/.cache/huggingface/hub/models--Qwen--Qwen3-0.6B/snapshots/{COMMIT}"
    assert (name_for(cached), name_for(cached.rpartition("/snapshots")[0])) == ("qwen3-0.6b", "qwen3-0.6b")
    assert name_for(f"/models/gpt2/{COMMIT[:8]}") == COMMIT[:8]
    for source in (f"/somewhere/{COMMIT}", "/blobs/sha256-" + "a" * 64):
        with pytest.raises(WorkspaceError, match="choose one with --name"):
            name_for(source)
