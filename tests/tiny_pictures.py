"""A tiny Stable Diffusion with random weights, for tests: folders as diffusers writes them, without diffusers."""

from pathlib import Path

import torch
from tokenizers import pre_tokenizers
from torch import nn

from malmoi.formats.picture_lora import write_lora
from malmoi.formats.pictures import ABOUT_IT, inpaints, save_pictures
from malmoi.image.autoencoder import Autoencoder, AutoencoderConfig
from malmoi.image.captions import BEGIN, END, Captions
from malmoi.image.lora import Adapter
from malmoi.image.model import ClipText, PictureModel
from malmoi.image.schedule import Process
from malmoi.image.text_encoder import TextEncoder, TextEncoderConfig
from malmoi.image.unet import UNet, UNetConfig

MERGES = [("c", "i"), ("ci", "r"), ("c", "l"), ("cl", "e</w>"), ("cir", "cle</w>"), ("r", "e"), ("re", "d</w>"), ("a", "n"), ("ë", "¹"), ("í", "ķ")]  # fmt: skip # noqa: E501
"""Of a few words; the last two are of Korean letters' bytes."""
UNET = UNetConfig(
    sample_size=16, block_out_channels=(8, 16), layers_per_block=1, cross_attention_dim=16, attention_head_dim=2,
    norm_num_groups=4, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
)  # fmt: skip
VAE = AutoencoderConfig(sample_size=32, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4)


def tiny_captions(merges: list[tuple[str, str]] | None = None) -> Captions:
    """CLIP's tokenizer with a vocabulary of bytes and a few merges."""
    merges = MERGES if merges is None else merges
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges), BEGIN, END]
    return Captions({token: id for id, token in enumerate(tokens)}, merges)


def randomise(network: nn.Module, seed: int) -> None:
    """Weights that keep numbers at about their size, and no weight at zero or one."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in network.named_parameters():
        scale = 0.1 if weight.ndim == 1 else 1.4 / weight[0].numel() ** 0.5
        is_norm = weight.ndim == 1 and name.endswith("weight")
        weight.data = is_norm + scale * torch.randn(weight.shape, generator=generator)
    network.requires_grad_(False).eval()


def write_tiny_lora(path: Path, size: int = 16) -> None:
    """A LoRA of one matrix of the tiny model; another size fits another model."""
    name = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_v"
    write_lora(path, {name: Adapter(torch.ones(2, size), torch.ones(size, 2), 1.0)})


def tiny_model(
    seed: int = 0, process: Process | None = None, unet: UNetConfig = UNET, vae: AutoencoderConfig = VAE,
    text: TextEncoderConfig | None = None,
) -> PictureModel:  # fmt: skip
    """A model of 32 x 32 pixels, 16 x 16 latents."""
    captions = tiny_captions()
    text = text or TextEncoderConfig(
        vocab_size=captions.n_tokens, hidden_size=unet.cross_attention_dim, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2,
    )  # fmt: skip
    denoiser, autoencoder, encoder = UNet(unet), Autoencoder(vae), TextEncoder(text)
    for index, network in enumerate((denoiser, autoencoder, encoder)):
        randomise(network, 3 * seed + index)
    side = unet.sample_size * vae.factor
    about = {**ABOUT_IT, "sampler": "ddim"}
    text_part = ClipText(captions, encoder)
    return PictureModel(
        process or Process(), denoiser, text_part, autoencoder, (side, side), unet.out_channels, vae.factor, about,
        inpaints=inpaints(unet),
    )  # fmt: skip


def write_tiny_pictures(folder: Path, seed: int = 0) -> PictureModel:
    """Write a tiny Stable Diffusion into a folder that does not exist yet; returns the model that it holds."""
    model = tiny_model(seed)
    save_pictures(folder, model)
    return model
