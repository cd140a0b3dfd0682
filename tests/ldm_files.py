"""A tiny Stable Diffusion as a single file with LDM's names, for tests: our model, named as its makers name theirs."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from malmoi.formats.ldm import unet_names, vae_names
from malmoi.formats.ldm_names import CLIP, FUSED, OPEN_CLIP, UNET, VAE, open_clip_name
from malmoi.image.autoencoder import Autoencoder, AutoencoderConfig
from malmoi.image.captions import Captions
from malmoi.image.model import ClipText, PictureModel
from malmoi.image.schedule import Process
from malmoi.image.text_encoder import TextEncoder, TextEncoderConfig
from malmoi.image.unet import UNet, UNetConfig
from tests.tiny_pictures import randomise

VAE_CONFIG = AutoencoderConfig(block_out_channels=(32, 32), layers_per_block=1)


def single_model(version: str, in_channels: int = 4) -> PictureModel:
    """Of 128 x 128 pixels (version 2 with v: 192), with norms in 32 groups and CLIP's tokenizer, as every real one."""
    blocks = {
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    }
    unet = UNetConfig(
        sample_size=96 if version == "2" else 64, in_channels=in_channels, block_out_channels=(64, 128),
        layers_per_block=1, cross_attention_dim=64, attention_head_dim=8 if version == "1" else (1, 2),
        use_linear_projection=version == "2", **blocks,
    )  # fmt: skip
    text = TextEncoderConfig(
        hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=1,
        hidden_act="quick_gelu" if version == "1" else "gelu",
    )  # fmt: skip
    networks = UNet(unet), Autoencoder(VAE_CONFIG), TextEncoder(text)
    for index, network in enumerate(networks):
        randomise(network, index)
    captions = Captions.of_clip() if version == "1" else Captions.of_clip("!")
    process = Process("ddpm", "epsilon" if version == "1" else "v")
    side = unet.sample_size * 2
    text_part = ClipText(captions, networks[2])
    return PictureModel(process, networks[0], text_part, networks[1], (side, side), 4, 2, inpaints=in_channels == 9)


def single_tensors(model: PictureModel, version: str) -> dict[str, Tensor]:
    """Its weights as such a file has them."""
    unet, vae, text = model.denoiser, model.autoencoder, model.text
    assert isinstance(unet, UNet) and isinstance(vae, Autoencoder) and isinstance(text, ClipText)
    to_unet, to_vae = unet_names(unet.config), vae_names(vae.config)
    found = {UNET + to_unet(name): tensor for name, tensor in unet.state_dict().items()}
    for name, tensor in vae.state_dict().items():
        is_convolution = ".attentions." in name and tensor.ndim == 2
        found[VAE + to_vae(name)] = tensor[:, :, None, None] if is_convolution else tensor
    states = text.encoder.state_dict()
    if version == "1":
        named = {f"{CLIP}text_model.{name}": tensor for name, tensor in states.items()}
        found |= named | {f"{CLIP}text_model.embeddings.position_ids": torch.arange(77)[None]}
    else:
        parts: dict[str, list[Tensor]] = {}
        for name, tensor in sorted(states.items(), key=lambda item: [part in item[0] for part in FUSED]):
            parts.setdefault(OPEN_CLIP + open_clip_name(name), []).append(tensor)
        found |= {name: torch.cat(tensors) for name, tensors in parts.items()}
        last = {name: tensor for name, tensor in found.items() if ".resblocks.1." in name}
        found |= {name.replace(".resblocks.1.", ".resblocks.2."): -tensor for name, tensor in last.items()}
        found |= {f"{OPEN_CLIP}text_projection": torch.ones(64, 64), f"{OPEN_CLIP}logit_scale": torch.ones(())}
    return {name: tensor.contiguous().clone() for name, tensor in found.items()}


def write_single(path: Path, version: str, dtype: torch.dtype = torch.float32, in_channels: int = 4) -> PictureModel:
    """Write such a file; returns the model that it holds."""
    model = single_model(version, in_channels)
    tensors = {name: one.to(dtype) if one.is_floating_point() else one for name, one in single_tensors(model, version).items()}  # fmt: skip # noqa: E501
    save_file({**tensors, "alphas_cumprod": torch.ones(1000)}, path)
    return model
