"""Single files of Stable Diffusion: what we read of them is what diffusers reads, at full size too."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from malmoi.formats.ldm import read_single, unet_names, vae_names
from malmoi.formats.ldm_names import OPEN_CLIP, UNET, VAE, open_clip_name
from malmoi.formats.pictures import save_pictures
from malmoi.image.autoencoder import Autoencoder, AutoencoderConfig
from malmoi.image.text_encoder import TextEncoder, TextEncoderConfig
from malmoi.image.unet import UNet, UNetConfig
from tests.ldm_files import write_single

diffusers = pytest.importorskip("diffusers", reason="diffusers, the witness of pictures, is not installed")
transformers = pytest.importorskip("transformers")
theirs = pytest.importorskip("diffusers.loaders.single_file_utils")
pytestmark = pytest.mark.filterwarnings("ignore")
V2: dict[str, Any] = {
    "cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True
}  # fmt: skip
H = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23, "num_attention_heads": 16}


def shapes(network: torch.nn.Module) -> dict[str, torch.Size]:
    return {name: one.shape for name, one in network.state_dict().items()}


@pytest.mark.parametrize("version", ["1", "2"])
def test_diffusers_reads_the_same_model_from_a_single_file(version: str, tmp_path: Path) -> None:
    path = tmp_path / "whole.safetensors"
    model = write_single(path, version)
    save_pictures(tmp_path / "folder", model)  # tells diffusers what a file of this tiny size is
    kind = diffusers.StableDiffusionPipeline
    pipe = kind.from_single_file(path, config=str(tmp_path / "folder"), local_files_only=True)
    single = read_single(path, "v" if version == "2" else None, torch.float32)
    assert (single.version, single.dtype) == (version, "float32")
    ours = single.model
    assert ours.denoiser.config == model.denoiser.config and ours.text.encoder.config == model.text.encoder.config
    assert ours.process == model.process and ours.size == model.size
    pairs = (ours.denoiser, pipe.unet), (ours.autoencoder, pipe.vae), (ours.text.encoder, pipe.text_encoder)
    for here, there in pairs:
        found = {name.removeprefix("text_model."): one for name, one in there.state_dict().items()}
        state = here.state_dict()
        assert state.keys() == {name for name in found if not name.endswith("position_ids")}
        for name, tensor in state.items():
            torch.testing.assert_close(tensor, found[name], rtol=0, atol=0)
    ids = pipe.tokenizer(["a red circle, 빨간 원"], padding="max_length", max_length=77, return_tensors="pt").input_ids
    assert torch.equal(ours.text.captions.encode(["a red circle, 빨간 원"]), ids)
    with torch.no_grad():
        states = pipe.text_encoder(ids).last_hidden_state
    torch.testing.assert_close(ours.embed(["a red circle, 빨간 원"]).states, states, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("settings", [{}, V2], ids=["1.5", "2.1"])
def test_names_at_full_size_are_those_that_diffusers_converts(settings: dict[str, Any]) -> None:
    with torch.device("meta"):
        ours, vae = UNet(UNetConfig(**settings)), Autoencoder(AutoencoderConfig())
        there = diffusers.UNet2DConditionModel(**{"cross_attention_dim": 768, **settings})
    to_unet, to_vae = unet_names(ours.config), vae_names(vae.config)
    file: dict[str, Tensor] = {UNET + to_unet(name): one for name, one in ours.state_dict().items()}
    found = theirs.convert_ldm_unet_checkpoint(file, {**there.config})
    assert {name: one.shape for name, one in found.items()} == shapes(there)
    file = {VAE + to_vae(name): one for name, one in vae.state_dict().items()}
    converted = theirs.convert_ldm_vae_checkpoint(file, {"down_block_types": [0] * 4, "up_block_types": [0] * 4})
    assert {name: one.shape for name, one in converted.items()} == shapes(vae)


def test_names_of_full_size_text_encoders_are_those_of_transformers() -> None:
    config = transformers.CLIPTextConfig(**H, vocab_size=49408, hidden_act="gelu", projection_dim=512)
    with torch.device("meta"):
        here = TextEncoder(TextEncoderConfig(**H, hidden_act="gelu"))
        there = transformers.CLIPTextModel(config)
        first = TextEncoder(TextEncoderConfig()), transformers.CLIPTextModel(transformers.CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_attention_heads=12))  # fmt: skip # noqa: E501
    file = {}
    for name, one in here.state_dict().items():
        stored = OPEN_CLIP + open_clip_name(name)
        is_fused = ".in_proj_" in stored
        file[stored] = torch.empty(one.shape[0] * (3 if is_fused else 1), *one.shape[1:], device="meta")
    converted = theirs.convert_open_clip_checkpoint(there, file)
    found = {name.removeprefix("text_model."): one.shape for name, one in converted.items()}
    assert found == shapes(here)
    for ours, peer in ((here, there), first):
        assert shapes(ours) == {name.removeprefix("text_model."): size for name, size in shapes(peer).items() if "position_ids" not in name}  # fmt: skip # noqa: E501
