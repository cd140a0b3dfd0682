"""Single files of Stable Diffusion come in; a broken, forged or other one is refused in one line."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from malmoi.errors import UserError
from malmoi.files import read_json
from malmoi.formats.header import tensor_names, what_is_wrong
from malmoi.formats.picture_lora import apply_loras
from malmoi.formats.pictures import load_pictures
from malmoi.workspace.folder import Workspace
from malmoi.workspace.transfer import import_model
from tests.ldm_files import write_single
from tests.tiny_pictures import tiny_model, write_tiny_pictures

CONV_IN = "model.diffusion_model.input_blocks.0.0.weight"


@pytest.fixture(scope="module")
def tensors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    path = tmp_path_factory.mktemp("single") / "one.safetensors"
    write_single(path, "1", torch.float16)
    return load_file(path)


def refused(tmp_path: Path, path: Path, prediction: str | None = None) -> str:
    """What is said of it; nothing of it is left in the workspace."""
    with pytest.raises(UserError) as error:
        import_model(tmp_path / "home", str(path), "new", reserved=(), prediction=prediction)
    if (tmp_path / "home").exists():
        assert not list((tmp_path / "home" / "models").glob("*")) and not list((tmp_path / "home" / "runs").glob("*"))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_it_comes_in_as_a_folder_in_its_own_precision(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    path = tmp_path / "My_SD.safetensors"
    save_file(tensors, path)
    arrival = import_model(tmp_path / "home", str(path), reserved=())
    assert arrival.name == "my_sd" and arrival.facts["dtype"] == "F16"
    assert "Stable Diffusion 1.x by its shapes" in arrival.remark and "--prediction v" in arrival.remark
    folder = Workspace.open(tmp_path / "home").models / "my_sd"
    weight = load_pictures(folder, torch.float32).denoiser.state_dict()["conv_in.weight"]
    assert torch.equal(weight, tensors[CONV_IN].float())
    assert len(read_json(folder / "malmoi.json")["sha256"]) == 64


def test_what_a_second_version_predicts_must_be_said(tmp_path: Path) -> None:
    path = tmp_path / "two.safetensors"
    write_single(path, "2", torch.float16)
    assert "does not say what it predicts; add --prediction v" in refused(tmp_path, path)
    assert "expected epsilon or v" in refused(tmp_path, path, "noise")
    arrival = import_model(tmp_path / "home", str(path), reserved=(), prediction="v")
    model = load_pictures(Workspace.open(tmp_path / "home").models / arrival.name)
    assert model.process.prediction == "v" and model.text.captions.pad == "!" and model.size == (192, 192)


def test_an_inpainting_one_is_known_by_its_channels(tmp_path: Path) -> None:
    write_single(tmp_path / "inpaint.safetensors", "1", torch.float16, in_channels=9)
    arrival = import_model(tmp_path / "home", str(tmp_path / "inpaint.safetensors"), reserved=())
    assert arrival.facts["family"] == "StableDiffusionInpaintPipeline"
    assert load_pictures(Path(arrival.facts["path"])).inpaints


def without(name: str) -> Callable[[dict[str, Tensor]], Tensor]:
    return lambda found: found.pop(name)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: found[CONV_IN].__setitem__((0, 0, 0, 0), float("nan")), "has values that are not numbers"),
        (without(CONV_IN), "input_blocks.0.0.weight is missing"),
        (without("model.diffusion_model.middle_block.0.in_layers.2.bias"), "in_layers.2.bias is missing"),
        (lambda found: found.update({CONV_IN: torch.zeros(64, 4, 1, 1)}), "is (64, 4, 1, 1), the rest of the file"),
        (lambda found: found.update({CONV_IN: torch.zeros(64)}), "of another architecture"),
        (lambda found: found.update({CONV_IN + ".lora": torch.zeros(1)}), "weight.lora is unknown"),
        (lambda found: found.update({CONV_IN: found[CONV_IN].int()}), "stored as torch.int32"),
        (
            lambda found: [found.pop(name) for name in list(found) if name.startswith("first_stage_model.")],
            "has no autoencoder",
        ),
        (lambda found: found.update({"conditioner.embedders.0.x": torch.zeros(1)}), "is a Stable Diffusion XL"),
        (
            lambda found: found.update({"cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": torch.zeros(99, 64)}),  # noqa: E501
            "its tokenizer is not known",
        ),
    ],
)  # fmt: skip
def test_a_broken_one_is_refused(
    tmp_path: Path, tensors: dict[str, Tensor], change: Callable[[dict[str, Tensor]], object], said: str
) -> None:
    found = {name: tensor.clone() for name, tensor in tensors.items()}
    change(found)
    save_file(found, tmp_path / "broken.safetensors")
    assert said in refused(tmp_path, tmp_path / "broken.safetensors")


def test_truncated_forged_and_pickled_files_are_refused(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    path = tmp_path / "one.safetensors"
    save_file(tensors, path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert "truncated or not safetensors" in refused(tmp_path, path)
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header[CONV_IN]["shape"] = [2**40, 2**20]
    forged = json.dumps(header).encode()
    path.write_bytes(len(forged).to_bytes(8, "little") + forged + data[8 + length :])
    assert "truncated or not safetensors" in refused(tmp_path, path)
    path.write_bytes((2**60).to_bytes(8, "little") + data[8:])
    assert "truncated or not safetensors" in refused(tmp_path, path)
    path.rename(path.with_suffix(".ckpt"))
    assert "from_single_file(FILE)" in refused(tmp_path, path.with_suffix(".ckpt"))


def test_what_is_said_of_a_folder_is_not_asked_of_the_user(tmp_path: Path) -> None:
    write_tiny_pictures(tmp_path / "tiny")
    assert "folders say it themselves" in refused(tmp_path, tmp_path / "tiny", "v")


def header_of(**rows: object) -> bytes:
    head = json.dumps(rows).encode()
    return len(head).to_bytes(8, "little") + head


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"abc", "has 3 bytes, too few"),
        (b"<!DOCTYPE html><html></html>", "is no safetensors file: it begins with b'<!DOCTYP'"),
        (b"PK\x03\x04" + bytes(40), "is a pickle or an archive, whatever its name says"),
        (header_of(a={})[:12], "ends within its header"),
        ((9).to_bytes(8, "little") + b'{"a":[[[[', "has a broken header"),
        (header_of(a={"dtype": "F32", "shape": [10**6], "data_offsets": [0, 8]}) + bytes(8), "that cannot be"),
        (header_of(a={"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, b=[]) + bytes(8), "says of 'b'"),
        (header_of(a={"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}) + bytes(16), "says of 'a'"),
        (header_of(a={"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}) + bytes(5), "is cut off: 5 of 8 bytes"),
        (header_of(a={"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}) + bytes(9), "belong to no tensor"),
        (header_of(a={"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}) + bytes(8), "it holds 'a'"),
        (header_of(), "it holds no tensors"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_single_file_is_said(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "one.safetensors"
    path.write_bytes(data)
    assert said in refused(tmp_path, path)
    if data[8:10] != b"{}" and "it holds" not in said:  # of a LoRA it says the same
        with pytest.raises(UserError, match=re.escape(said)):
            apply_loras(tiny_model(), [str(path)], "tiny")


def test_a_part_of_a_picture_model_leads_to_its_folder(tmp_path: Path) -> None:
    write_tiny_pictures(tmp_path / "tiny")
    said = refused(tmp_path, tmp_path / "tiny" / "unet" / "diffusion_pytorch_model.safetensors")
    assert said.endswith(f"is one file of a model; give its folder, {tmp_path / 'tiny'}")


def test_whole_files_of_all_types_and_empty_tensors_are_found_whole(tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"
    types = (torch.float64, torch.bfloat16, torch.uint8, torch.bool, torch.float8_e4m3fn, torch.int64)
    save_file({str(i): torch.zeros(i % 3, 2).to(kind) for i, kind in enumerate(types)}, path, {"format": "pt"})
    assert what_is_wrong(path) == "" and len(tensor_names(path)) == len(types)
