"""Stable Diffusion 1.x and 2.x in one safetensors file, as LDM's code and many programs save it.

Such a file has only weights. What the networks are is told from names and shapes; what they cannot tell is what every
Stable Diffusion has alike: heads, groups of norms, noise schedule, tokenizer. Source: Rombach et al. 2022
(arXiv:2112.10752), https://github.com/CompVis/stable-diffusion and https://github.com/Stability-AI/stablediffusion.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from malmoi.config import Settings, parse
from malmoi.errors import CheckpointError, ConfigError
from malmoi.formats.folder import read_weights
from malmoi.formats.huggingface import Dtype
from malmoi.formats.ldm_names import (
    CLIP,
    FUSED,
    OPEN_CLIP,
    TEXT,
    UNET,
    VAE,
    numbers_below,
    open_clip_name,
    their_name,
    unet_table,
    vae_table,
)
from malmoi.formats.pictures import ABOUT_IT, channels_last, check_fit, inpaints
from malmoi.image.autoencoder import Autoencoder, AutoencoderConfig
from malmoi.image.captions import Captions
from malmoi.image.model import ClipText, PictureModel
from malmoi.image.schedule import Prediction, Process
from malmoi.image.text_encoder import TextEncoder, TextEncoderConfig
from malmoi.image.unet import WITH_TEXT_DOWN, WITH_TEXT_UP, UNet, UNetConfig

S = TypeVar("S", bound=Settings)
N = TypeVar("N", bound=nn.Module)
SIZES = {("1", "epsilon"): 64, ("1", "v"): 64, ("2", "epsilon"): 64, ("2", "v"): 96}
"""Version and prediction -> sides of the latents that such a model was trained with."""
HEADS_1, HEAD_WIDTH_2, HEAD_WIDTH_TEXT = 8, 64, 64
# Not used, or no weights.
_LEFT_OUT = ("position_ids", "text_projection", "text_projection.weight", "logit_scale", "attn_mask")
_OTHERS = {
    "conditioner.embedders.": "Stable Diffusion XL", "model.diffusion_model.joint_blocks.": "Stable Diffusion 3",
    "model.diffusion_model.double_blocks.": "Flux",
}  # fmt: skip


class Single(NamedTuple):
    """A model of a single file. version: "1" or "2"; dtype: in which its weights are stored"""

    model: PictureModel
    version: str
    dtype: Dtype


class _File(NamedTuple):
    path: Path
    tensors: Mapping[str, Tensor]

    def shape(self, name: str) -> tuple[int, ...]:
        if name not in self.tensors:
            raise CheckpointError(f"{self.path}: {name} is missing; download the file again")
        return tuple(self.tensors[name].shape)

    def side(self, name: str, axis: int = 0) -> int:
        """How long a tensor is along an axis."""
        shape = self.shape(name)
        if axis >= len(shape):
            raise CheckpointError(f"{self.path}: of another architecture: {name} is {shape}")
        return shape[axis]


def read_single(path: Path, prediction: Prediction | None = None, dtype: torch.dtype | None = None) -> Single:
    """A Stable Diffusion of a single file, on this process's device, frozen.

    prediction: what it predicts, which the file does not say; None: the noise, as all published 1.x do
    dtype: of its weights; None: the file's
    Raises CheckpointError for another family, and for missing, truncated, forged or pickled weights; ConfigError for
    a 2.x without `prediction`.
    """
    file = _File(path, read_weights(path))
    _check_family(file)
    version = "2" if any(name.startswith(OPEN_CLIP) for name in file.tensors) else "1"
    if version == "2" and prediction is None:
        raise ConfigError(
            f"{path}: is a Stable Diffusion 2.x, whose file does not say what it predicts; add --prediction v (models "
            "for 768 pixels) or --prediction epsilon (base models, for 512)"
        )
    process = Process("ddpm", prediction or "epsilon")
    unet_config = read_unet_config(file, version, SIZES[version, process.prediction])
    vae_config, text_config = read_vae_config(file), read_text_config(file, version)
    check_fit(path, unet_config, vae_config, text_config)
    stored = _stored(file)
    kept = dtype or getattr(torch, stored)
    unet = _network(file, UNET, unet_names(unet_config), lambda: UNet(unet_config), kept)
    autoencoder = _network(file, VAE, vae_names(vae_config), lambda: Autoencoder(vae_config), kept)
    encoder = _text_encoder(file, version, text_config, kept)
    captions = Captions.of_clip("!") if version == "2" else Captions.of_clip()
    if captions.n_tokens > text_config.vocab_size or captions.length != text_config.max_position_embeddings:
        raise CheckpointError(f"{path}: its text encoder is not that of a Stable Diffusion; its tokenizer is not known")
    side = unet_config.sample_size * autoencoder.factor
    model = PictureModel(
        process, unet, ClipText(captions, encoder), autoencoder, (side, side), vae_config.latent_channels,
        autoencoder.factor, {**ABOUT_IT, "sampler": "dpmpp_2m"}, inpaints=inpaints(unet_config),
    )  # fmt: skip
    return Single(model, version, stored)


def unet_names(config: UNetConfig) -> Callable[[str], str]:
    """Our names of a U-Net's weights -> those in the file, without UNET."""
    table = unet_table(config)
    return lambda name: their_name(name, table)


def vae_names(config: AutoencoderConfig) -> Callable[[str], str]:
    """As `unet_names`, of an autoencoder, without VAE."""
    table = vae_table(config)
    return lambda name: their_name(name, table)


def read_unet_config(file: _File, version: str, sample_size: int) -> UNetConfig:
    """Raises CheckpointError for a file whose U-Net is no Stable Diffusion's."""
    names = {name.removeprefix(UNET) for name in file.tensors if name.startswith(UNET)}
    n_inputs = numbers_below(names, "input_blocks.")
    levels: list[list[int]] = [[]]
    for index in range(1, n_inputs):
        if f"input_blocks.{index}.0.op.weight" in names:
            levels.append([])
        else:
            levels[-1].append(index)
    n_layers = {len(level) for level in levels}
    if len(n_layers) != 1 or n_layers == {0}:
        raise CheckpointError(f"{file.path}: of another architecture: its U-Net's levels differ in depth")
    widths = tuple(file.side(f"{UNET}input_blocks.{level[0]}.0.in_layers.2.weight") for level in levels)
    has_text = [f"input_blocks.{level[0]}.1.norm.weight" in names for level in levels]
    blocks = f"{UNET}middle_block.1.transformer_blocks."
    projection = file.shape(f"{UNET}middle_block.1.proj_in.weight")
    settings: dict[str, Any] = {
        "sample_size": sample_size, "block_out_channels": widths, "layers_per_block": n_layers.pop(),
        "in_channels": file.side(f"{UNET}input_blocks.0.0.weight", 1),
        "out_channels": file.side(f"{UNET}out.2.weight"),
        "down_block_types": [WITH_TEXT_DOWN if has else "DownBlock2D" for has in has_text],
        "up_block_types": [WITH_TEXT_UP if has else "UpBlock2D" for has in has_text[::-1]],
        "cross_attention_dim": file.side(f"{blocks}0.attn2.to_k.weight", 1),
        "attention_head_dim": HEADS_1 if version == "1" else [max(1, width // HEAD_WIDTH_2) for width in widths],
        "transformer_layers_per_block": numbers_below(file.tensors, blocks),
        "use_linear_projection": len(projection) == 2,
    }  # fmt: skip
    return _config(UNetConfig, settings, file)


def read_vae_config(file: _File) -> AutoencoderConfig:
    """Raises CheckpointError for a file whose autoencoder is no Stable Diffusion's."""
    down = f"{VAE}encoder.down."
    n_levels = numbers_below(file.tensors, down)
    settings = {
        "block_out_channels": [file.side(f"{down}{level}.block.0.conv1.weight") for level in range(n_levels)],
        "layers_per_block": numbers_below(file.tensors, f"{down}0.block."),
        "latent_channels": file.side(f"{VAE}post_quant_conv.weight"),
    }
    return _config(AutoencoderConfig, settings, file)


def read_text_config(file: _File, version: str) -> TextEncoderConfig:
    """Raises CheckpointError for a file whose text encoder is no Stable Diffusion's."""
    is_open = version == "2"
    if is_open:
        tokens, places = f"{OPEN_CLIP}token_embedding.weight", f"{OPEN_CLIP}positional_embedding"
        layers, inner = f"{OPEN_CLIP}transformer.resblocks.", "mlp.c_fc.weight"
    else:
        start = _clip_prefix(file)
        tokens, places = (f"{start}embeddings.{name}_embedding.weight" for name in ("token", "position"))
        layers, inner = f"{start}encoder.layers.", "mlp.fc1.weight"
    vocabulary, width = file.side(tokens), file.side(tokens, 1)
    settings = {
        "vocab_size": vocabulary, "hidden_size": width, "max_position_embeddings": file.side(places),
        "intermediate_size": file.side(f"{layers}0.{inner}"),
        "num_hidden_layers": numbers_below(file.tensors, layers) - is_open,
        "num_attention_heads": max(1, width // HEAD_WIDTH_TEXT), "hidden_act": "gelu" if is_open else "quick_gelu",
    }  # fmt: skip
    return _config(TextEncoderConfig, settings, file)


def _config(schema: type[S], settings: Mapping[str, Any], file: _File) -> S:
    try:
        return parse(schema, dict(settings), str(file.path))
    except ConfigError as error:
        raise CheckpointError(f"{error}; it is of another architecture") from None


def _check_family(file: _File) -> None:
    for prefix, family in _OTHERS.items():
        if any(name.startswith(prefix) for name in file.tensors):
            raise CheckpointError(f"{file.path}: is a {family}; Stable Diffusion 1.x and 2.x are read")
    for prefix, part in ((UNET, "denoiser"), (VAE, "autoencoder"), (TEXT, "text encoder")):
        if not any(name.startswith(prefix) for name in file.tensors):
            raise CheckpointError(
                f"{file.path}: has no {part} ({prefix}*); a whole Stable Diffusion 1.x or 2.x is read, in one file"
            )


def _stored(file: _File) -> Dtype:
    """The type of the weights that are used; the wider one, if they have several."""
    used = {one.dtype for name, one in file.tensors.items() if name.startswith((UNET, VAE))}
    if used == {torch.float16}:
        return "float16"
    return "bfloat16" if used == {torch.bfloat16} else "float32"


def _clip_prefix(file: _File) -> str:
    """Newer files of transformers' text encoder leave `text_model.` out."""
    longer = f"{CLIP}text_model."
    return longer if any(name.startswith(longer) for name in file.tensors) else CLIP


def _text_encoder(file: _File, version: str, config: TextEncoderConfig, dtype: torch.dtype) -> TextEncoder:
    if version == "1":
        return _network(file, _clip_prefix(file), lambda name: name, lambda: TextEncoder(config), dtype)
    # Stable Diffusion 2 takes the states of the last layer but one.
    last = f"transformer.resblocks.{config.num_hidden_layers}."
    return _network(file, OPEN_CLIP, open_clip_name, lambda: TextEncoder(config), dtype, last)


def _network(
    file: _File, prefix: str, their: Callable[[str], str], build: Callable[[], N], dtype: torch.dtype,
    unused: str = "\0",
) -> N:  # fmt: skip
    """A network with its part of the file, frozen. unused: beginning of names that are left out"""
    with torch.device("meta"):
        expected = {name: one.shape for name, one in build().state_dict().items()}
    found, used = {}, set()
    for name, shape in expected.items():
        stored = prefix + their(name)
        file.shape(stored)
        tensor = _part(name, file.tensors[stored], shape)
        if tensor.shape != shape:
            raise CheckpointError(
                f"{file.path}: of another architecture: {stored} is {tuple(tensor.shape)}, the rest of the file says "
                f"{tuple(shape)}"
            )
        found[name] = tensor
        used.add(stored)
    for name in file.tensors.keys() - used:
        is_ours = name.startswith(prefix) and not name.startswith(prefix + unused)
        if is_ours and name.removeprefix(prefix).rpartition(".")[2] not in _LEFT_OUT and not name.endswith(_LEFT_OUT):
            raise CheckpointError(f"{file.path}: of another architecture: {name} is unknown")
    return channels_last(file.path, build, found, dtype)


def _part(name: str, tensor: Tensor, shape: torch.Size) -> Tensor:
    """A stored tensor as ours: a third of three that are stored as one, or a convolution of one place as a matrix."""
    for index, part in enumerate(FUSED):
        if f".{part}." in name and tensor.ndim == len(shape) and tensor.shape[0] == 3 * shape[0]:
            return tensor[index * shape[0] : (index + 1) * shape[0]]
    if tensor.ndim == 4 and len(shape) == 2 and tensor.shape[2:] == (1, 1):
        return tensor[:, :, 0, 0]
    return tensor
