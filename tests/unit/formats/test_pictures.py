"""Picture models come in and go out; what cannot be read is refused in one line."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from malmoi.errors import CheckpointError, UserError
from malmoi.files import read_json, write_json
from malmoi.formats.inspect import inspect_model
from malmoi.formats.pictures import load_pictures
from malmoi.workspace.folder import Workspace
from malmoi.workspace.transfer import export_model, import_model
from tests.tiny_pictures import write_tiny_pictures


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_pictures(folder, torch.float32).denoiser.state_dict()


def test_a_picture_model_comes_in_and_goes_out_with_the_same_weights(tmp_path: Path) -> None:
    model = write_tiny_pictures(tmp_path / "tiny")
    (tmp_path / "tiny" / "unet" / "old.bin").write_bytes(b"pickled")
    arrival = import_model(tmp_path / "home", str(tmp_path / "tiny"), "tiny", reserved=())
    n_parameters = sum(weight.numel() for weight in model.denoiser.parameters())
    assert arrival.facts["kind"] == "picture model" and arrival.facts["parameters"] > n_parameters
    here = Workspace.open(tmp_path / "home")
    assert not (here.models / "tiny" / "unet" / "old.bin").exists()
    export_model(here, "tiny", "hf", tmp_path / "out")
    assert inspect_model(tmp_path / "out")["kind"] == "picture model"
    for name, weight in weights_of(tmp_path / "out").items():
        assert torch.equal(weight, model.denoiser.state_dict()[name])
    with pytest.raises(UserError, match="GGUF has no form"):
        export_model(here, "tiny", "gguf", tmp_path / "tiny.gguf")


def test_both_names_of_a_text_encoder_and_a_variant_in_fp16_are_read(tmp_path: Path) -> None:
    write_tiny_pictures(tmp_path / "tiny")
    before = load_pictures(tmp_path / "tiny", torch.float32).embed(["a red circle"]).states
    path = tmp_path / "tiny" / "text_encoder" / "model.safetensors"
    halves = {name.removeprefix("text_model."): one.half() for name, one in load_file(path).items()}
    path.unlink()
    save_file(halves, path.with_name("model.fp16.safetensors"))
    after = load_pictures(tmp_path / "tiny", torch.float32).embed(["a red circle"]).states
    torch.testing.assert_close(after, before, rtol=2e-2, atol=2e-2)


def test_what_is_no_stable_diffusion_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    write_tiny_pictures(folder)
    index = read_json(folder / "model_index.json")
    write_json(folder / "model_index.json", index | {"_class_name": "FluxPipeline"})
    with pytest.raises(CheckpointError, match="is a FluxPipeline"):
        import_model(tmp_path / "home", str(folder), "tiny", reserved=())
    assert not list((tmp_path / "home" / "models").glob("*"))
    write_json(folder / "model_index.json", index)
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="truncated"):
        load_pictures(folder)
    tensors = load_file(_written(path, whole))
    tensors["conv_in.bias"][0] = float("nan")
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match=r"conv_in\.bias has values that are not numbers"):
        load_pictures(folder)
    path.rename(path.with_suffix(".bin"))
    with pytest.raises(CheckpointError, match="pickled weights can run code"):
        load_pictures(folder)


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
