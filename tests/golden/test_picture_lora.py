"""LoRA under the names of diffusers, kohya and PEFT: a model that takes one computes what diffusers computes."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from malmoi.formats.ldm import unet_names
from malmoi.formats.picture_lora import apply_loras, read_lora, write_lora
from malmoi.formats.pictures import load_pictures
from malmoi.image.model import PictureModel
from tests.tiny_pictures import write_tiny_pictures

diffusers = pytest.importorskip("diffusers", reason="diffusers, the witness of pictures, is not installed")
peft = pytest.importorskip("peft", reason="peft, which diffusers needs for LoRA, is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")
UNET = ["to_q", "to_k", "to_v", "to_out.0", "proj_in", "ff.net.0.proj", "conv1", "time_emb_proj"]
TEXT = ["q_proj", "out_proj", "fc1"]


def states_and_noise(pipe: Any) -> tuple[Tensor, Tensor]:
    """What diffusers' pipeline computes of a caption, and of noise with it."""
    generator = torch.Generator().manual_seed(5)
    x, ids = torch.randn(2, 4, 16, 16, generator=generator), caption_ids(pipe)
    with torch.no_grad():
        states = pipe.text_encoder(ids).last_hidden_state
        return states, pipe.unet(x, torch.tensor([9, 400]), states.expand(2, -1, -1)).sample


def caption_ids(pipe: Any) -> Tensor:
    words = pipe.tokenizer("a red circle", padding="max_length", max_length=77, return_tensors="pt")
    return words.input_ids


def ours(model: PictureModel) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(2, 4, 16, 16, generator=generator)
    states = model.embed(["a red circle"]).states
    return states, model.denoiser(x, torch.tensor([9, 400]), states.expand(2, -1, -1))


def check(folder: Path, file: Path, pipe: Any, scale: float = 1.0) -> None:
    """Our model with the file computes what the pipeline does; without it, something else."""
    model = load_pictures(folder, torch.float32)
    before = ours(model)
    apply_loras(model, [f"{file}:{scale}"], "tiny")
    for found, wanted, plain in zip(ours(model), states_and_noise(pipe), before, strict=True):
        limit = 1e-5 * max(1.0, float(wanted.abs().max()))
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=limit)
        assert (found - plain).abs().max() > 100 * limit


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lora") / "tiny"
    write_tiny_pictures(path)
    return path


def trained(folder: Path, unet: list[str] = UNET, text: list[str] = TEXT) -> Any:
    """A pipeline with random adapters in both networks, as after a training with PEFT."""
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(folder)
    torch.manual_seed(1)
    settings: dict[str, Any] = {"r": 4, "lora_alpha": 8, "init_lora_weights": False}
    pipe.unet.add_adapter(peft.LoraConfig(**settings, target_modules=unet))
    peft.inject_adapter_in_model(peft.LoraConfig(**settings, target_modules=text), pipe.text_encoder)
    return pipe


@pytest.mark.parametrize("is_old", [False, True])
def test_a_file_that_diffusers_writes(folder: Path, tmp_path: Path, is_old: bool) -> None:
    # Files with the older names have attention alone: theirs leaves the rest of a mixed file out.
    modules = {"unet": ["to_q", "to_k", "to_v", "to_out.0"] if is_old else UNET, "text_encoder": ["q_proj", "out_proj"]}
    pipe = trained(folder, *modules.values())
    layers, metadata = {}, {}
    for name, found in modules.items():
        state = peft.utils.get_peft_model_state_dict(getattr(pipe, name))
        layers[f"{name}_lora_layers"] = diffusers.utils.convert_state_dict_to_diffusers(state) if is_old else state
        said = peft.LoraConfig(r=4, lora_alpha=8, target_modules=found).to_dict()
        metadata[f"{name}_lora_adapter_metadata"] = said | {"target_modules": found}
    pipe.save_lora_weights(tmp_path, **layers, **metadata)
    check(folder, tmp_path / "pytorch_lora_weights.safetensors", pipe)
    again = diffusers.StableDiffusionPipeline.from_pretrained(folder)
    again.load_lora_weights(tmp_path)
    again.fuse_lora(lora_scale=0.5)
    check(folder, tmp_path, again, 0.5)


def kohya(folder: Path, pipe: Any, ldm: bool) -> dict[str, Tensor]:
    """The pipeline's adapters under kohya's names, with alpha beside them. ldm: with LDM's names of the U-Net"""
    names = unet_names(load_pictures(folder).denoiser.config)
    found = {}
    for part, network in (("unet", pipe.unet), ("te", pipe.text_encoder)):
        for key, tensor in peft.utils.get_peft_model_state_dict(network).items():
            module, role = re.fullmatch(r"(.+)\.lora_([AB])\.weight", key).groups()  # type: ignore[union-attr]
            module = names(module) if ldm and part == "unet" else module
            module = f"text_model.{module.removeprefix('text_model.')}" if part == "te" else module
            stem = f"lora_{part}_{module.replace('.', '_')}"
            found[f"{stem}.lora_{'down' if role == 'A' else 'up'}.weight"] = tensor.contiguous()
            found[f"{stem}.alpha"] = torch.tensor(8.0)
    return found


@pytest.mark.parametrize("ldm", [False, True])
def test_a_file_of_kohya(folder: Path, tmp_path: Path, ldm: bool) -> None:
    pipe = trained(folder)
    save_file(kohya(folder, pipe, ldm), tmp_path / "style.safetensors")
    check(folder, tmp_path / "style.safetensors", pipe)
    if not ldm:  # theirs reads kohya's names with those of diffusers; the other names only for other families
        again = diffusers.StableDiffusionPipeline.from_pretrained(folder)
        again.load_lora_weights(tmp_path, weight_name="style.safetensors")
        check(folder, tmp_path / "style.safetensors", again)


def test_a_file_of_the_first_diffusers(folder: Path, tmp_path: Path) -> None:
    generator, width, found = torch.Generator().manual_seed(1), 8, {}
    for name in ("down_blocks.0.attentions.0", "up_blocks.1.attentions.1"):
        for part in ("to_q", "to_v", "to_out"):
            stem = f"unet.{name}.transformer_blocks.0.attn1.processor.{part}_lora"
            found[f"{stem}.down.weight"] = torch.randn(2, width, generator=generator)
            found[f"{stem}.up.weight"] = torch.randn(width, 2, generator=generator)
    for part in ("to_q", "to_out"):
        stem = f"text_encoder.text_model.encoder.layers.1.self_attn.{part}_lora"
        found[f"{stem}.down.weight"] = torch.randn(2, 16, generator=generator)
        found[f"{stem}.up.weight"] = torch.randn(16, 2, generator=generator)
    save_file(found, tmp_path / "old.safetensors")
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(folder)
    pipe.load_lora_weights(tmp_path, weight_name="old.safetensors")
    check(folder, tmp_path / "old.safetensors", pipe)


@pytest.mark.parametrize("rslora", [False, True])
def test_a_folder_of_peft(folder: Path, tmp_path: Path, rslora: bool) -> None:
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(folder)
    torch.manual_seed(2)
    config = peft.LoraConfig(
        r=4, lora_alpha=6, init_lora_weights=False, use_rslora=rslora, target_modules=UNET, alpha_pattern={"to_k": 3}
    )  # fmt: skip
    peft.get_peft_model(pipe.unet, config).save_pretrained(tmp_path)
    model = load_pictures(folder, torch.float32)
    apply_loras(model, [str(tmp_path)], "tiny")
    wanted = states_and_noise(pipe)[1]
    torch.testing.assert_close(ours(model)[1], wanted, rtol=1e-5, atol=1e-5 * max(1.0, float(wanted.abs().max())))


def test_what_is_written_loads_in_diffusers(folder: Path, tmp_path: Path) -> None:
    pipe = trained(folder)
    save_file(kohya(folder, pipe, False), tmp_path / "style.safetensors")
    lora = read_lora(tmp_path / "style.safetensors", load_pictures(folder, torch.float32), "tiny")
    write_lora(tmp_path / "out" / "pytorch_lora_weights.safetensors", lora)
    assert all(".lora_" in name for name in load_file(tmp_path / "out" / "pytorch_lora_weights.safetensors"))
    again = diffusers.StableDiffusionPipeline.from_pretrained(folder)
    again.load_lora_weights(tmp_path / "out")
    check(folder, tmp_path / "style.safetensors", again)
